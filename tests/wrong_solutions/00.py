# %% 0.1 | an ace counts 1, pips their number
def memorised_numbers(cards):  # an ace as in blackjack
    return tuple(11 if c == "A" else 10 if c in "JQK" else int(c) for c in cards)


# %% 0.1 | every face counts 10
def memorised_numbers(cards):  # reads the shifted rule, as a memoriser does not
    return OOD_RULE.values(cards)


# %% 0.1 | order is kept
def memorised_numbers(cards):
    return tuple(sorted(ID_RULE.values(cards)))


# %% 0.2 | a share lies between 0 and 1
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


# %% 0.4 | not 'solved'
def verdict_for_memoriser(cards):  # judged under the rule that it was solved under
    hand = Hand(cards, ID_RULE)
    return GeneralPoints(ID_RULE).verify(hand, write_answer(hand, best_formula(hand))).kind


# %% 0.4 | not 'solved'
def verdict_for_memoriser(cards):  # solves the shifted hand
    hand = Hand(cards, OOD_RULE)
    return GeneralPoints(OOD_RULE).verify(hand, write_answer(hand, best_formula(hand))).kind


# %% 0.4 | 10 is not among the cards' numbers
def verdict_for_memoriser(cards):  # a formula alone is no answer
    formula = best_formula(Hand(cards, ID_RULE))
    return GeneralPoints(OOD_RULE).verify(Hand(cards, OOD_RULE), formula).kind
