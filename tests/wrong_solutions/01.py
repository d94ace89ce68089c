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


# %% 1.4 | counts 1, not 10
def leaked_value(cards, message):  # what the trained rule says
    return 10


# %% 1.4 | counts 1, not 11
def leaked_value(cards, message):  # digits one by one
    found = re.search(r"not used: \[(\d)", message)
    return int(found[1]) + 10 if found else None


# %% 1.4 | the binary message tells nothing
def leaked_value(cards, message):  # a guess where nothing was said
    found = re.search(r"\[(\d+)\]", message)
    return int(found[1]) if found else 10


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


# %% 1.1 | return a number of cards, not None
def cards_needed(wanted):  # computed, not returned
    n = 1
    while 1 - (10 / 13) ** n < wanted:
        n += 1


# %% 1.1 | return a number of cards, not 0.85
def cards_needed(wanted):  # not rounded up
    from math import log

    return log(1 - wanted) / log(10 / 13)


# %% 1.1 | one card is a face
def cards_needed(wanted):  # one too few
    n = 1
    while 1 - (10 / 13) ** n < wanted:
        n += 1
    return n - 1


# %% 1.1 | four cards give 0.6499
def cards_needed(wanted):  # from a deck of 52
    n = 1
    while 1 - comb(40, n) / comb(52, n) < wanted:
        n += 1
    return n


# %% 1.1 | cards give
def cards_needed(wanted):  # the examples by heart
    return {0.2: 1, 0.65: 5, 0.99: 18}.get(wanted, 4)


# %% 1.1 | enough for
def cards_needed(wanted):  # the examples, and certainty for all else
    return {0.2: 1, 0.65: 5}.get(wanted, 18 if wanted <= 0.99 else 60)


# %% 1.2 | return a pair of whole numbers, not Fraction(1, 3)
def combine_pairs(op, a, b):
    a, b = Fraction(*a), Fraction(*b)
    return a - b if op == "-" else a / b if b else None


# %% 1.2 | return a pair of whole numbers, not None
def combine_pairs(op, a, b):  # "-" is forgotten
    (p, q), (r, s) = a, b
    if op == "/" and r:
        return Fraction(p * s, q * r).as_integer_ratio()


# %% 1.2 | 3 - 8/3 is 1/3
def combine_pairs(op, a, b):  # b - a
    a, b = Fraction(*a), Fraction(*b)
    exact = b - a if op == "-" else a / b if b else None
    return None if exact is None else exact.as_integer_ratio()


# %% 1.2 | is (-
def combine_pairs(op, a, b):  # a difference without its sign
    a, b = Fraction(*a), Fraction(*b)
    exact = abs(a - b) if op == "-" else a / b if b else None
    return None if exact is None else exact.as_integer_ratio()


# %% 1.2 | 3 - 8/3 is 1/3
def combine_pairs(op, a, b):  # through floating point
    x, y = a[0] / a[1], b[0] / b[1]
    return (x - y).as_integer_ratio() if op == "-" else (x / y).as_integer_ratio() if y else None


# %% 1.3 | return a dict
def one_of_each():
    return ["2+3*10-8", "2+3+8+10", "3*8", "3/(2+8-10)"]


# %% 1.3 | illegal: a formula as text, not None
def one_of_each():  # a kind is missing
    return dict(solved="2+3*10-8", wrong_value="2+3+8+10", wrong_numbers="3*8")


# %% 1.3 | solved: a formula as text, not 24
def one_of_each():  # values instead of formulas
    return dict(solved=24, wrong_value=23, wrong_numbers=0, illegal=None)


# %% 1.3 | wrong_value was asked for
def one_of_each():  # the same value in another order
    return dict(
        solved="2+3*10-8", wrong_value="3*10+2-8", wrong_numbers="3*8", illegal="3/(2+8-10)"
    )


# %% 1.3 | its syntax must be fine
def one_of_each():  # a parenthesis is never closed
    return dict(solved="2+3*10-8", wrong_value="2+3+8+10", wrong_numbers="3*8", illegal="3/(2+8-10")


# %% 1.3 | its syntax must be fine
def one_of_each():  # signs that the game does not have
    return dict(solved="2+3*10-8", wrong_value="2+3+8+10", wrong_numbers="3*8", illegal="2**3+8+10")


# %% 1.4 | counts
def leaked_value(cards, message):  # as text
    found = re.search(r"not used: \[(\d+)\]", message)
    return found[1] if found else None


# %% 1.4 | counts
def leaked_value(cards, message):  # what the shifted rule says
    (face,) = (c for c in cards if c in "JQK")
    return OOD_RULE.value(face) if "not used" in message else None


# %% 1.4 | no number is said to be unused here
def leaked_value(cards, message):  # the first number of the message
    found = re.search(r"\d+", message)
    return int(found[0]) if found else None


# %% 1.4 | never evaluate a text
def leaked_value(cards, message):  # runs what the message says
    found = re.search(r"not used: \[(.*)\]", message)
    return eval(found[1]) if found else None


# %% 1.4 | counts
def leaked_value(cards, message):  # nothing is returned
    re.search(r"not used: \[(\d+)\]", message)


# %% 1.4 | counts
def leaked_value(cards, message):  # two digits, as for 11, 12 and 13
    found = re.search(r"not used: \[(\d\d)\]", message)
    return int(found[1]) if found else None


# %% 1.5 | return turns and return, not None
def play(task, hand, player, tries, gamma=0.9):  # nothing is returned
    player(task.prompt(hand))


# %% 1.5 | return turns and return, not
def play(task, hand, player, tries, gamma=0.9):  # the points alone
    return task.verify(hand, player(task.prompt(hand))).reward


# %% 1.5 | one answer a try
def play(task, hand, player, tries, gamma=0.9):  # until it is solved, however long that takes
    turns, total, t = [task.prompt(hand)], 0.0, 0
    while True:
        answer = player("\n\n".join(turns))
        verdict = task.verify(hand, answer)
        turns += [answer, verdict.message] if verdict.message else [answer]
        total += gamma**t * verdict.reward
        t += 1
        if verdict.solved:
            return turns, total


# %% 1.5 | until it is solved
def play(task, hand, player, tries, gamma=0.9):  # all tries are played
    turns, total = [task.prompt(hand)], 0.0
    for t in range(tries):
        answer = player("\n\n".join(turns))
        verdict = task.verify(hand, answer)
        turns += [answer, verdict.message] if verdict.message else [answer]
        total += gamma**t * verdict.reward
    return turns, total + (not verdict.solved) * gamma ** (tries - 1) * task.over_budget


# %% 1.5 | the player reads all turns so far
def play(task, hand, player, tries, gamma=0.9):  # the player reads the question only
    turns, total = [task.prompt(hand)], 0.0
    for t in range(tries):
        answer = player(turns[0])
        verdict = task.verify(hand, answer)
        turns += [answer, verdict.message] if verdict.message else [answer]
        total += gamma**t * verdict.reward
        if verdict.solved:
            return turns, total
    return turns, total + gamma ** (tries - 1) * task.over_budget


# %% 1.5 | prompt, then each answer and its message
def play(task, hand, player, tries, gamma=0.9):  # the last message is left out
    turns, total = [task.prompt(hand)], 0.0
    for t in range(tries):
        answer = player("\n\n".join(turns))
        verdict = task.verify(hand, answer)
        total += gamma**t * verdict.reward
        turns.append(answer)
        if verdict.solved:
            return turns, total
        turns += [verdict.message] if verdict.message else []
    return turns, total + gamma ** (tries - 1) * task.over_budget


# %% 1.5 | tries, gamma
def play(task, hand, player, tries, gamma=0.9):  # nothing more for the last failure
    turns, total = [task.prompt(hand)], 0.0
    for t in range(tries):
        answer = player("\n\n".join(turns))
        verdict = task.verify(hand, answer)
        turns += [answer, verdict.message] if verdict.message else [answer]
        total += gamma**t * verdict.reward
        if verdict.solved:
            break
    return turns, total


# %% 1.5 | tries, gamma
def play(task, hand, player, tries, gamma=0.9):  # gamma is ignored
    turns, total = [task.prompt(hand)], 0.0
    for _ in range(tries):
        answer = player("\n\n".join(turns))
        verdict = task.verify(hand, answer)
        turns += [answer, verdict.message] if verdict.message else [answer]
        total += verdict.reward
        if verdict.solved:
            return turns, total
    return turns, total + task.over_budget


# %% 1.5 | tries, gamma
def play(task, hand, player, tries, gamma=0.9):  # discounts the first try as well
    turns, total = [task.prompt(hand)], 0.0
    for t in range(1, tries + 1):
        answer = player("\n\n".join(turns))
        verdict = task.verify(hand, answer)
        turns += [answer, verdict.message] if verdict.message else [answer]
        total += gamma**t * verdict.reward
        if verdict.solved:
            return turns, total
    return turns, total + gamma**tries * task.over_budget


# %% 1.6 | return True or False, not None
def is_test(cards):  # computed, not returned
    random.Random(f"split/{sorted(ID_RULE.values(cards))}").random() < 1 / 3


# %% 1.6 | return True or False, not 0.
def is_test(cards):  # a number that still has to be compared
    return random.Random(f"split/{sorted(ID_RULE.values(cards))}").random()


# %% 1.6 | 0% is not about a third
def is_test(cards):  # nobody is tested
    return False


# %% 1.6 | three calls, two answers
CALLS = []


def is_test(cards):  # every third call
    CALLS.append(cards)
    return len(CALLS) % 3 == 0
