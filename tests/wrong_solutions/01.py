# %% 1.1 | one card is a face with probability 3/13
def cards_needed(wanted):  # counts from four cards on, as in a hand
    n = 4
    while 1 - (10 / 13) ** n < wanted:
        n += 1
    return n


# %% 1.1 | four cards give 0.6499
def cards_needed(wanted):  # rounds to the nearest instead of up
    from math import log

    return max(1, round(log(1 - wanted) / log(10 / 13)))


# %% 1.1 | the probability of NO face shrinks by 10/13
def cards_needed(wanted):  # adds probabilities, and stops at certainty
    from math import ceil

    return ceil(wanted / (3 / 13)) + (wanted > 0.5) * 2


# %% 1.2 | 3 - 8/3 is 1/3
def combine_pairs(op, a, b):  # subtracts numerators and denominators
    (p, q), (r, s) = a, b
    return (p - r, q - s) if op == "-" else (p * s, q * r)


# %% 1.2 | 8 / (1/3) is 24, reduced
def combine_pairs(op, a, b):  # multiplies instead of dividing
    (p, q), (r, s) = a, b
    n, d = (p * s - r * q, q * s) if op == "-" else (p * r, q * s)
    return n // gcd(n, d), d // gcd(n, d)


# %% 1.2 | keep denominators positive
def combine_pairs(op, a, b):
    (p, q), (r, s) = a, b
    n, d = (p * s - r * q, q * s) if op == "-" else (p * s, q * r)
    return (n // gcd(n, d), d // gcd(n, d)) if d else None


# %% 1.2 | nothing divides by zero
def combine_pairs(op, a, b):
    (p, q), (r, s) = a, b
    n, d = (p * s - r * q, q * s) if op == "-" else (p * s, q * r)
    g = gcd(n, d) if d >= 0 else -gcd(n, d)
    return n // g, d // g


# %% 1.2 | 1/2 - 1/6 is 1/3, reduced
def combine_pairs(op, a, b):  # "-" is left as it comes, only "/" is reduced
    (p, q), (r, s) = a, b
    if op == "-":
        return p * s - r * q, q * s
    n, d = p * s, q * r
    if d == 0:
        return None
    g = gcd(n, d) if d > 0 else -gcd(n, d)
    return n // g, d // g


# %% 1.2 | (0) / (7/4) is (0, 1)
def combine_pairs(op, a, b):  # reduces by 2, 3 and 5 only
    (p, q), (r, s) = a, b
    n, d = (p * s - r * q, q * s) if op == "-" else (p * s, q * r)
    if d == 0:
        return None
    n, d = (n, d) if d > 0 else (-n, -d)
    for prime in (2, 3, 5):
        while n % prime == 0 and d % prime == 0:
            n, d = n // prime, d // prime
    return n, d


# %% 1.3 | solved was asked for
def one_of_each():  # does not come out
    return dict(solved="2*3+8+10-1", wrong_value="2+3+8+10", wrong_numbers="3*8", illegal="+")


# %% 1.3 | wrong_numbers was asked for
def one_of_each():  # all four cards, wrong result
    return dict(
        solved="2+3*10-8", wrong_value="2+3+8+10", wrong_numbers="2*3*8*10", illegal="3/(2+8-10)"
    )


# %% 1.3 | illegal: use 2, 3, 8, 10 once each
def one_of_each():  # illegal, but not with the cards
    return dict(solved="2+3*10-8", wrong_value="2+3+8+10", wrong_numbers="3*8", illegal="import os")


# %% 1.4 | counts 11, not
def leaked_value(cards, message):  # what the trained rule says
    return 10


# %% 1.4 | counts 13, not 11
def leaked_value(cards, message):  # digits one by one
    found = re.search(r"not used: \[(\d)", message)
    return int(found[1]) + 10 if found else None


# %% 1.4 | the binary message tells nothing
def leaked_value(cards, message):  # a guess where nothing was said
    found = re.search(r"\[(\d+)\]", message)
    return int(found[1]) if found else 10


# %% 1.5 | -1 + 0.5 * 5 is 1.5
def reward_to_go(rewards, gamma=0.9):  # no discount
    return [sum(rewards[i:]) for i in range(len(rewards))]


# %% 1.5 | -1 + 0.5 * 5 is 1.5
def reward_to_go(rewards, gamma=0.9):  # from the front: the return so far
    total, values = 0.0, []
    for reward in rewards:
        total = reward + gamma * total
        values.append(total)
    return values


# %% 1.5 | no discount: sums
def reward_to_go(rewards, gamma=0.9):  # looks one try ahead only
    ahead = [*rewards[1:], 0.0]
    return [r + gamma * n for r, n in zip(rewards, ahead, strict=True)]


# %% 1.5 | one try is worth its own reward
def reward_to_go(rewards, gamma=0.9):  # discounts the try itself as well
    return [
        sum(gamma ** (k + 1) * r for k, r in enumerate(rewards[i:])) for i in range(len(rewards))
    ]


# %% 1.5 | two tries on: 0.5 * 0.5 * 4
def reward_to_go(rewards, gamma=0.9):  # discounts the future once, however far it is
    return [
        sum((gamma if k else 1) * r for k, r in enumerate(rewards[i:])) for i in range(len(rewards))
    ]


# %% 1.5 | try 1 of
def reward_to_go(rewards, gamma=0.9):  # sees three tries ahead
    return [
        sum(gamma**k * r for k, r in enumerate(rewards[i : i + 4])) for i in range(len(rewards))
    ]


# %% 1.6 | three calls, two answers
COIN = random.Random(0)


def is_test(cards):  # a coin, tossed anew at every call
    return COIN.random() < 1 / 2


# %% 1.6 | in another order
def is_test(cards):  # by the numbers as they lie
    return random.Random(f"split/{ID_RULE.values(cards)}").random() < 1 / 3


# %% 1.6 | counts like
def is_test(cards):  # by the cards
    return random.Random(f"split/{sorted(cards)}").random() < 1 / 3


# %% 1.6 | counts like
def is_test(cards):  # by the numbers under another rule
    return random.Random(f"split/{sorted(OOD_RULE.values(cards))}").random() < 1 / 3


# %% 1.6 | is not about a third
def is_test(cards):  # half of them
    return random.Random(f"split/{sorted(ID_RULE.values(cards))}").random() < 1 / 2


# %% 1.6 | of the hands with a
def is_test(cards):  # whatever holds a small ace or a two: other hands than those of training
    numbers = ID_RULE.values(cards)
    return 1 in numbers and sum(numbers) < 28
