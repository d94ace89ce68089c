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


# %% 5.2 | half of the pairs hold it
def chance_of_one(correct, samples, k):  # puts samples back
    return 1 - (1 - correct / samples) ** k


# %% 5.2 | nothing right, nothing to find
def chance_of_one(correct, samples, k):  # the chance to find none
    return math.comb(samples - correct, k) / math.comb(samples, k)


# %% 5.2 | half of the pairs hold it
def chance_of_one(correct, samples, k):  # all k right
    return math.comb(correct, k) / math.comb(samples, k)


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


# %% 5.4 | ten failures do not prove a zero
def wilson_interval(k, n, z=1.96):  # the interval of the textbook's first pages
    p = k / n
    half = z * (p * (1 - p) / n) ** 0.5
    return p - half, p + half


# %% 5.4 | nothing below zero
def wilson_interval(k, n, z=1.96):  # the centre moved, the width not
    p, scale_ = k / n, 1 + z * z / n
    half = z * (p * (1 - p) / n + z * z / n) ** 0.5
    return (p + z * z / (2 * n) - half) / scale_, (p + z * z / (2 * n) + half) / scale_


# %% 5.4 | ten failures do not prove a zero
def wilson_interval(k, n, z=1.96):  # not divided by 1 + z^2/n
    p = k / n
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return centre - half, centre + half


# %% 5.5 | rounded up
def episodes_needed(p1, p2):  # rounded down
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return int(7.84 * noise / (p2 - p1) ** 2)


# %% 5.5 | 7.84 * 0.48 / 0.04
def episodes_needed(p1, p2):  # no power: only that the interval misses zero
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return math.ceil(1.96**2 * noise / (p2 - p1) ** 2)


# %% 5.5 | no matter which is which
def episodes_needed(p1, p2):  # a negative difference gives a negative number
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return math.ceil(7.84 * noise / ((p2 - p1) * abs(p2 - p1)))


# %% 5.5 | over six times 234
def episodes_needed(p1, p2):  # half as many: both sides together
    noise = p1 * (1 - p1) + p2 * (1 - p2)
    return math.ceil(7.84 * noise / 0.04)
