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
