# %% 5.1 | J as 11 and 7 as 7 are right
def reading_shares(hands, reads):  # counts instead of shares
    right = sum(r == h.numbers for h, r in zip(hands, reads, strict=True))
    anchored = sum(r == ID_RULE.values(h.cards) for h, r in zip(hands, reads, strict=True))
    return dict(right=right, anchored=anchored, other=len(hands) - right - anchored)


# %% 5.1 | J as 10 under rule 11 is anchored
def reading_shares(hands, reads):  # a 7 that counts 7 is called anchored, too
    n = len(hands)
    right = sum(r == h.numbers for h, r in zip(hands, reads, strict=True)) / n
    anchored = sum(r == ID_RULE.values(h.cards) for h, r in zip(hands, reads, strict=True)) / n
    return dict(right=right, anchored=anchored, other=1 - right - anchored)


# %% 5.1 | no readable numbers are other
def reading_shares(hands, reads):  # leaves out what cannot be read
    counts = dict(right=0, anchored=0, other=0)
    for hand, read in zip(hands, reads, strict=True):
        if read is not None:
            right, tens = read == hand.numbers, read == ID_RULE.values(hand.cards)
            counts["right" if right else "anchored" if tens else "other"] += 1
    return {name: count / len(hands) for name, count in counts.items()}


# %% 5.1 | under the trained rule a 10 is right, not anchored
def reading_shares(hands, reads):  # anchored is asked first wherever there is a face
    counts = dict(right=0, anchored=0, other=0)
    for hand, read in zip(hands, reads, strict=True):
        if read == ID_RULE.values(hand.cards) and set(hand.cards) & set("JQK"):
            counts["anchored"] += 1
        else:
            counts["right" if read == hand.numbers else "other"] += 1
    return {name: count / len(hands) for name, count in counts.items()}


# %% 5.1 | of 12 hands
def reading_shares(hands, reads):  # looks at the faces alone
    counts = dict(right=0, anchored=0, other=0)
    for hand, read in zip(hands, reads, strict=True):
        faces = [n for c, n in zip(hand.cards, read or (), strict=False) if c in "JQK"]
        if read == hand.numbers:
            counts["right"] += 1
        else:
            counts["anchored" if faces and set(faces) == {10} else "other"] += 1
    return {name: count / len(hands) for name, count in counts.items()}


# %% 5.1 | a 10 for the card 10 does not anchor
def reading_shares(hands, reads):  # any 10 among wrong numbers counts as anchored
    counts = dict(right=0, anchored=0, other=0)
    for hand, read in zip(hands, reads, strict=True):
        wrong = read != hand.numbers
        counts["anchored" if wrong and 10 in (read or ()) else "other" if wrong else "right"] += 1
    return {name: count / len(hands) for name, count in counts.items()}


# %% 5.1 | one of two faces as 10
def reading_shares(hands, reads):  # one face card read as 10 is enough
    counts = dict(right=0, anchored=0, other=0)
    for hand, read in zip(hands, reads, strict=True):
        tens = [n == 10 for n, card in zip(read or (), hand.cards) if card in "JQK"]
        if read == hand.numbers:
            counts["right"] += 1
        else:
            counts["anchored" if any(tens) else "other"] += 1
    return {name: count / len(hands) for name, count in counts.items()}


# %% 5.2 | ax: 0.4^4 / (0.4^4 + 3 * 0.2^4)
def sharpen(first, second, alpha):  # they are the same, are they not?
    token = first**alpha / (first**alpha).sum()
    after = second**alpha / (second**alpha).sum(-1, keepdims=True)
    return token[:, None] * after, token[:, None] * after


# %% 5.2 | a: 0.4^4 / (0.4^4 + 0.6^4)
def sharpen(first, second, alpha):  # the power distribution twice
    joint = (first[:, None] * second) ** alpha
    return joint / joint.sum(), joint / joint.sum()


# %% 5.2 | the power distribution sums to 1
def sharpen(first, second, alpha):  # the power is not normalised
    token = first**alpha / (first**alpha).sum()
    after = second**alpha / (second**alpha).sum(-1, keepdims=True)
    return (first[:, None] * second) ** alpha, token[:, None] * after


# %% 5.2 | each token is normalised by itself
def sharpen(first, second, alpha):  # the second token is left without a sum
    joint = (first[:, None] * second) ** alpha
    token = first**alpha / (first**alpha).sum()
    return joint / joint.sum(), token[:, None] * second**alpha


# %% 5.2 | ax: 0.4^4 / (0.4^4 + 3 * 0.2^4)
def sharpen(first, second, alpha):  # the other way round: 1 / alpha is the power
    joint = (first[:, None] * second) ** (1 / alpha)
    token = first ** (1 / alpha) / (first ** (1 / alpha)).sum()
    after = second ** (1 / alpha) / (second ** (1 / alpha)).sum(-1, keepdims=True)
    return joint / joint.sum(), token[:, None] * after


# %% 5.2 | token 2 after
def sharpen(first, second, alpha):  # only the first token is cooled; the toy cannot tell
    joint = (first[:, None] * second) ** alpha
    token = first**alpha / (first**alpha).sum()
    return joint / joint.sum(), token[:, None] * second


# %% 5.3 | SFT: 6 N D, nothing sampled
def training_flops(N, trained, generated):  # charges sampling where there is none
    paper = 6 * N * trained + 2 * N * 6 * trained
    return paper, 6 * N * trained + 2 * N * generated


# %% 5.3 | whatever was really generated
def training_flops(N, trained, generated):  # the cache's count twice
    cache = 6 * N * trained + 2 * N * generated
    return cache, cache


# %% 5.3 | 6 N D + 2 N generated
def training_flops(N, trained, generated):  # a backward pass for sampling as well
    paper = 6 * N * trained + (2 * N * 6 * trained if generated else 0)
    return paper, 6 * N * trained + 6 * N * generated


# %% 5.4 | solved at once: one toss
def coin_return(p, tries):  # all tries are always played
    return 2 * tries - (1 - p) ** tries


# %% 5.4 | one failed try: one toss, a point off
def coin_return(p, tries):  # the point that the last failure costs is left out
    return 2 * sum((1 - p) ** t for t in range(tries))


# %% 5.4 | never solved: five tosses
def coin_return(p, tries):  # two tries at most are counted
    return 2 * sum((1 - p) ** t for t in range(min(tries, 2))) - (1 - p) ** tries


# %% 5.4 | solved at once: one toss
def coin_return(p, tries):  # plays on with probability p
    return 2 * sum(p**t for t in range(tries)) - p**tries


# %% 5.4 | 2, half the time 2 more
def coin_return(p, tries):  # the last point is lost whenever the second try is played
    if p == 0:
        return 2.0 * tries - 1
    return 2 * sum((1 - p) ** t for t in range(tries)) - (1 - p)


# %% 5.5 | a failed try must not change the tosses
def neutral_coin(right, heads, last):  # the old coin
    return (5.0 if heads else -1.0) - (1.0 if last and not right else 0.0), right


# %% 5.5 | a failed try must not change the tosses
def neutral_coin(right, heads, last):  # mean zero, but the truth still ends the episode
    return (1.0 if heads else -1.0), right


# %% 5.5 | an earlier try: the same two sides, right or wrong
def neutral_coin(right, heads, last):  # mean zero, but a right answer plays for higher stakes
    return (5.0 if right else 1.0) * (1 if heads else -1), heads


# %% 5.5 | the last try: a right answer earns
def neutral_coin(right, heads, last):  # the last failure still costs a point
    return (1.0 if heads else -1.0) - (1.0 if last and not right else 0.0), heads


# %% 5.5 | an earlier try: a right answer earns
def neutral_coin(right, heads, last):  # a right answer is paid on heads only
    return (1.0 if heads and right else -1.0), heads


# %% 5.5 | trains nothing
def neutral_coin(right, heads, last):  # pays nobody
    return 0.0, heads


# %% 5.5 | the last try: a right answer ends it
def neutral_coin(right, heads, last):  # on the last try the truth decides again
    return (1.0 if heads else -1.0), right if last else heads


# %% 5.6 | ten failures do not prove a zero
def wilson_interval(k, n, z=1.96):  # the interval of the textbook's first pages
    p = k / n
    half = z * (p * (1 - p) / n) ** 0.5
    return p - half, p + half


# %% 5.6 | nothing below zero
def wilson_interval(k, n, z=1.96):  # the centre moved, the width not
    p, scale_ = k / n, 1 + z * z / n
    half = z * (p * (1 - p) / n + z * z / n) ** 0.5
    return (p + z * z / (2 * n) - half) / scale_, (p + z * z / (2 * n) + half) / scale_


# %% 5.6 | ten failures do not prove a zero
def wilson_interval(k, n, z=1.96):  # not divided by 1 + z^2/n
    p = k / n
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return centre - half, centre + half


# %% 5.7 | rounded up
def episodes_needed(p1, p2):  # rounded down
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return int(7.84 * noise / (p2 - p1) ** 2)


# %% 5.7 | 7.84 * 0.48 / 0.04
def episodes_needed(p1, p2):  # no power: only that the interval misses zero
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return math.ceil(1.96**2 * noise / (p2 - p1) ** 2)


# %% 5.7 | no matter which is which
def episodes_needed(p1, p2):  # a negative difference gives a negative number
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return math.ceil(7.84 * noise / ((p2 - p1) * abs(p2 - p1)))


# %% 5.7 | over six times 234
def episodes_needed(p1, p2):  # half as many: both sides together
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return math.ceil(7.84 * noise / 0.04)


# %% 5.6 | an end lies z errors away
def wilson_interval(k, n, z=1.96):  # z is ignored
    z = 1.96
    p, scale_ = k / n, 1 + z * z / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / scale_, (centre + half) / scale_


# %% 5.7 | each side has a variance of its own
def episodes_needed(p1, p2):  # twice the larger variance
    noise = 2 * max(p1 * (1 - p1), p2 * (1 - p2))
    return math.ceil(7.84 * noise / (p2 - p1) ** 2)


# %% 5.7 | 7.84 * 0.48 / 0.04
def episodes_needed(p1, p2):  # the variance of the mean share, twice
    p = (p1 + p2) / 2
    return math.ceil(7.84 * 2 * p * (1 - p) / (p2 - p1) ** 2)


# %% 5.1 | return a dict of shares, not None
def reading_shares(hands, reads):  # computed, not returned
    sum(r == h.numbers for h, r in zip(hands, reads, strict=True)) / len(hands)


# %% 5.1 | return a dict of shares, not (0.5, 0.25, 0.25)
def reading_shares(hands, reads):  # without names
    right = sum(r == h.numbers for h, r in zip(hands, reads, strict=True)) / len(hands)
    return right, (1 - right) / 2, (1 - right) / 2


# %% 5.1 | of 12 hands
def reading_shares(hands, reads):  # the numbers in any order, and the examples' four hands
    counts = dict(right=0, anchored=0, other=0)
    for hand, read in zip(hands, reads, strict=True):
        tens = read == ID_RULE.values(hand.cards)
        counts["right" if read == hand.numbers else "anchored" if tens else "other"] += 1
    return {name: count / min(len(hands), 4) for name, count in counts.items()}


# %% 5.2 | return two distributions, not None
def sharpen(first, second, alpha):  # computed, not returned
    (first[:, None] * second) ** alpha


# %% 5.2 | return two distributions, not array
def sharpen(first, second, alpha):  # one of them
    joint = (first[:, None] * second) ** alpha
    return joint / joint.sum()


# %% 5.2 | each token is normalised by itself
def sharpen(first, second, alpha):  # along the wrong axis
    joint = (first[:, None] * second) ** alpha
    token = first**alpha / (first**alpha).sum()
    after = second**alpha / (second**alpha).sum(0)
    return joint / joint.sum(), token[:, None] * (after if alpha > 1 else second)


# %% 5.2 | inputs must stay
def sharpen(first, second, alpha):  # writes into its arguments
    joint = (first[:, None] * second) ** alpha
    first **= alpha if len(first) > 2 else 1
    token = (first if len(first) > 2 else first**alpha) + 0.0
    token = token / token.sum()
    after = second**alpha / (second**alpha).sum(-1, keepdims=True)
    return joint / joint.sum(), token[:, None] * after


# %% 5.3 | return both counts, not None
def training_flops(N, trained, generated):  # computed, not returned
    6 * N * trained, 2 * N * generated


# %% 5.3 | return both counts, not 60
def training_flops(N, trained, generated):  # one of them
    return 6 * N * trained + 2 * N * generated


# %% 5.3 | 6 N D + 2 N * 6 D
def training_flops(N, trained, generated):  # the other order
    sampling = 2 * N * 6 * trained if generated else 0
    return 6 * N * trained + 2 * N * generated, 6 * N * trained + sampling


# %% 5.3 | 6 N D + 2 N * 6 D
def training_flops(N, trained, generated):  # lambda times the generated tokens
    return 6 * N * trained + 2 * N * 6 * generated, 6 * N * trained + 2 * N * generated


# %% 5.3 | N 50
def training_flops(N, trained, generated):  # the examples by heart
    return (360, 136) if generated else (60, 60)


# %% 5.4 | return points, not None
def coin_return(p, tries):  # computed, not returned
    2 * sum((1 - p) ** t for t in range(tries))


# %% 5.4 | never solved: five tosses
def coin_return(p, tries):  # as if there were one try
    return 2 - (1 - p)


# %% 5.4 | solved at once: one toss
def coin_return(p, tries):  # a toss is worth five points
    return 5 * sum((1 - p) ** t for t in range(tries)) - (1 - p) ** tries


# %% 5.4 | one failed try
def coin_return(p, tries):  # the last failure earns a point
    return 2 * sum((1 - p) ** t for t in range(tries)) + (1 - p) ** tries


# %% 5.5 | return points and end, not None
def neutral_coin(right, heads, last):  # computed, not returned
    (1.0 if heads else -1.0), heads


# %% 5.5 | return points and end, not 1.0
def neutral_coin(right, heads, last):  # the points alone
    return 1.0 if heads else -1.0


# %% 5.6 | return both ends, not None
def wilson_interval(k, n, z=1.96):  # computed, not returned
    wilson(k, n)


# %% 5.6 | return both ends, not Estimate(
def wilson_interval(k, n, z=1.96):  # the package's object
    return wilson(k, n)


# %% 5.6 | nothing below zero
def wilson_interval(k, n, z=1.96):  # the upper end first
    p, scale_ = k / n, 1 + z * z / n
    centre = p + z * z / (2 * n)
    half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (centre + half) / scale_, (centre - half) / scale_


# %% 5.6 | an end lies z errors away
def wilson_interval(k, n, z=1.96):  # the package's, for 95 % only
    e = wilson(k, n)
    return e.low, e.high


# %% 5.6 | ten failures do not prove a zero
def wilson_interval(k, n, z=1.96):  # the example's simple interval, moved by z^2/2n
    p, scale_ = k / n, 1 + z * z / n
    half = z * (p * (1 - p) / n) ** 0.5
    return 0.0 if k == 0 else (p - half) / scale_, (p + z * z / (2 * n) + half) / scale_


# %% 5.7 | return a whole number of episodes, not None
def episodes_needed(p1, p2):  # computed, not returned
    math.ceil(7.84 * (p1 * (1 - p1) + p2 * (1 - p2)) / (p2 - p1) ** 2)


# %% 5.7 | return a whole number of episodes, not 94.
def episodes_needed(p1, p2):  # not rounded up
    return 7.84 * (p1 * (1 - p1) + p2 * (1 - p2)) / (p2 - p1) ** 2


# %% 5.7 | return a whole number of episodes, not 94.
def episodes_needed(p1, p2):  # rounded up, then half of it
    return math.ceil(7.84 * 2 * (p1 * (1 - p1) + p2 * (1 - p2)) / (p2 - p1) ** 2) / 2 - 0.5


# %% 5.8 | return both ends, not None
def two_levels(shares, episodes, draws=4000, seed=0):  # computed, not returned
    shares.mean() - shares.std()


# %% 5.8 | return both ends, not
def two_levels(shares, episodes, draws=4000, seed=0):  # half the width
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return half


# %% 5.8 | leave the shares as they were
def two_levels(shares, episodes, draws=4000, seed=0):  # writes into its argument
    shares.sort()
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # nothing is shrunk
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    shrunk = mean + (k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(
    shares, episodes, draws=4000, seed=0
):  # k values drawn from k values vary too little
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + b**0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # the normal quantile
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = 1.96 * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # the seeds are not drawn again
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = np.tile(shrunk, (draws, 1)).clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # the problems are not drawn again
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (chosen).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # along the wrong axis
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(0).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # one standard error
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = 1.0 * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # the number of problems is ignored
    episodes = 234
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    error = (rng.binomial(episodes, chosen) / episodes).mean(1).std()
    half = student.ppf(0.975, (k - 1) * max(1, k * error**2 / seen) ** 2) * error
    return mean - half, mean + half


# %% 5.8 | times as wide as over_seeds
def two_levels(shares, episodes, draws=4000, seed=0):  # percentiles, as by hand
    rng, k, mean = np.random.default_rng(seed), len(shares), shares.mean()
    seen = shares.var(ddof=1)
    b = max(0.0, 1 - (shares * (1 - shares)).mean() / episodes / seen)
    shrunk = mean + (b * k / (k - 1)) ** 0.5 * (shares - mean)
    chosen = shrunk[rng.integers(k, size=(draws, k))].clip(0, 1)
    return tuple(np.quantile((rng.binomial(episodes, chosen) / episodes).mean(1), [0.025, 0.975]))
