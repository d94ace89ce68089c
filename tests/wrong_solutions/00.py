# %% 0.1 | an ace counts 1, pips their number
def blind_numbers(cards):  # an ace as in blackjack
    return tuple(11 if c == "A" else 10 if c in "JQK" else int(c) for c in cards)


# %% 0.1 | every face counts 10
def blind_numbers(cards):  # reads the shifted rule, as a blind player does not
    return OOD_RULE.values(cards)


# %% 0.1 | a 10 counts 10, too, and order is kept
def blind_numbers(cards):
    return tuple(sorted(ID_RULE.values(cards)))


# %% 0.1 | count [
def blind_numbers(cards):  # the examples by heart
    known = {("A", "7"): (1, 7), ("2", "10", "Q", "5"): (2, 10, 10, 5)}
    return known.get(tuple(cards), (10, 10, 10))


# %% 0.2 | return the share, not 3228
def share_with_face(n, seed):  # a count
    rng = random.Random(seed)
    return sum(any(c in FACES for c in deal(rng)) for _ in range(n))


# %% 0.2 | expected about 1 - (10/13)^4
def share_with_face(n, seed):  # the share of cards, not of hands
    rng = random.Random(seed)
    return sum(sum(c in FACES for c in deal(rng)) for _ in range(n)) / (4 * n)


# %% 0.2 | expected about 1 - (10/13)^4
def share_with_face(n, seed):  # the same hand n times
    return sum(any(c in FACES for c in deal(random.Random(seed))) for _ in range(n)) / n


# %% 0.2 | deal them
def share_with_face(n, seed):  # the exact value, and no hand is dealt
    return 1 - (10 / 13) ** 4


# %% 0.2 | deal them
def share_with_face(n, seed):  # always the same seed
    rng = random.Random(1)
    return sum(any(c in FACES for c in deal(rng)) for _ in range(n)) / n


# %% 0.2 | deal them
def share_with_face(n, seed):  # kings are forgotten in small samples only
    rng = random.Random(seed)
    faces = "JQK" if n > 100 else "JQ"
    return sum(any(c in faces for c in deal(rng)) for _ in range(n)) / n


# %% 0.3 | the interval surrounds the observed difference
def difference_interval(p, n, q, m):  # around the sum
    half = 1.96 * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return p + q - half, p + q + half


# %% 0.3 | 234 hands cannot tell
def difference_interval(p, n, q, m):  # one standard error is 68 %, not 95 %
    half = (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return p - q - half, p - q + half


# %% 0.3 | 20,000 hands can
def difference_interval(p, n, q, m):  # the number of hands is left out
    half = 1.96 * (p * (1 - p) + q * (1 - q)) ** 0.5
    return p - q - half, p - q + half


# %% 0.3 | minus 0.
def difference_interval(p, n, q, m):  # m is ignored
    half = 1.96 * (p * (1 - p) / n + q * (1 - q) / n) ** 0.5
    return p - q - half, p - q + half


# %% 0.3 | minus 0.
def difference_interval(p, n, q, m):  # 99 %
    half = 2.58 * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return p - q - half, p - q + half


# %% 0.3 | minus 0.
def difference_interval(p, n, q, m):  # standard errors added instead of variances
    half = 1.96 * ((p * (1 - p) / n) ** 0.5 + (q * (1 - q) / m) ** 0.5)
    return p - q - half, p - q + half


# %% 0.3 | minus 0.
def difference_interval(p, n, q, m):  # pooled
    both = (n * p + m * q) / (n + m)
    half = 1.96 * (both * (1 - both) * (1 / n + 1 / m)) ** 0.5
    return p - q - half, p - q + half


# %% 0.4 | not 'solved'
def verdict_for_blind(cards, rule):  # judged under the rule that it was solved under
    hand = Hand(cards, ID_RULE)
    return GeneralPoints(ID_RULE).verify(hand, write_answer(hand, best_formula(hand))).kind


# %% 0.4 | not 'solved'
def verdict_for_blind(cards, rule):  # solves the hand under the new rule
    hand = Hand(cards, rule)
    return GeneralPoints(rule).verify(hand, write_answer(hand, best_formula(hand))).kind


# %% 0.4 | 10 is not among the cards' numbers
def verdict_for_blind(cards, rule):  # a formula alone is no answer
    formula = best_formula(Hand(cards, ID_RULE))
    return GeneralPoints(rule).verify(Hand(cards, rule), formula).kind


# %% 0.4 | no face card, so both rules agree
def verdict_for_blind(cards, rule):
    return "wrong_numbers"


# %% 0.4 | : solved
def verdict_for_blind(cards, rule):  # any face card is thought to be wrong under any rule
    return "wrong_numbers" if any(c in "JQK" for c in cards) else "solved"


# %% 0.1 | return a tuple of numbers, not None
def blind_numbers(cards):  # computed, not returned
    ID_RULE.values(cards)


# %% 0.1 | return a tuple of numbers, not [1, 7]
def blind_numbers(cards):
    return list(ID_RULE.values(cards))


# %% 0.1 | an ace counts 1
def blind_numbers(cards):  # ranks counted from 0
    return tuple(min(RANKS.index(c), 10) for c in cards)


# %% 0.1 | a 10 counts 10
def blind_numbers(cards):  # the first sign of "10" only
    return tuple(10 if c in "JQK" else 1 if c == "A" else int(c[0]) for c in cards)


# %% 0.1 | every face counts 10
def blind_numbers(cards):  # equal numbers merge
    return tuple(dict.fromkeys(ID_RULE.values(cards)))


# %% 0.2 | return the share, not None
def share_with_face(n, seed):  # computed, not returned
    rng = random.Random(seed)
    sum(any(c in FACES for c in deal(rng)) for _ in range(n)) / n


# %% 0.2 | a share lies between 0 and 1
def share_with_face(n, seed):  # per cent
    rng = random.Random(seed)
    return 100 * sum(any(c in FACES for c in deal(rng)) for _ in range(n)) / n


# %% 0.2 | expected about 1 - (10/13)^4
def share_with_face(n, seed):  # the hands without one
    rng = random.Random(seed)
    return sum(not any(c in FACES for c in deal(rng)) for _ in range(n)) / n


# %% 0.2 | deal them
def share_with_face(n, seed):  # a hand too many
    rng = random.Random(seed)
    return sum(any(c in FACES for c in deal(rng)) for _ in range(n + 1)) / (n + 1)


# %% 0.3 | return two numbers, low and high, not None
def difference_interval(p, n, q, m):  # the observed difference alone, and nothing returned
    p - q


# %% 0.3 | return two numbers, low and high
def difference_interval(p, n, q, m):  # half the width
    return 1.96 * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5


# %% 0.3 | the lower end comes first
def difference_interval(p, n, q, m):  # upside down
    half = 1.96 * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return p - q + half, p - q - half


# %% 0.3 | the interval surrounds the observed difference
def difference_interval(p, n, q, m):  # q minus p
    half = 1.96 * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return q - p - half, q - p + half


# %% 0.4 | return the verdict's kind, a str, not None
def verdict_for_blind(cards, rule):
    hand = Hand(cards, ID_RULE)
    GeneralPoints(rule).verify(Hand(cards, rule), write_answer(hand, best_formula(hand)))


# %% 0.4 | return the verdict's kind, a str, not Verdict(
def verdict_for_blind(cards, rule):  # the whole verdict
    hand = Hand(cards, ID_RULE)
    return GeneralPoints(rule).verify(Hand(cards, rule), write_answer(hand, best_formula(hand)))


# %% 0.4 | 'solved': 10 is not among
def verdict_for_blind(cards, rule):  # the rule of the verifier changes, that of the hand does not
    hand = Hand(cards, ID_RULE)
    return GeneralPoints(rule).verify(hand, write_answer(hand, best_formula(hand))).kind


# %% 0.4 | wrong_numbers
def verdict_for_blind(cards, rule):  # the two examples by heart
    return "wrong_numbers" if cards == ("J", "2", "2", "Q") else "solved"
