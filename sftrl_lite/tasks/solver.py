"""Exact solver for "make the target from these numbers, each used once".

Every value is a reduced fraction kept as a pair ``(numerator, denominator)``:
floats would miss 8/(3-8/3) = 24, and pairs are faster than ``fractions.Fraction``.
A multiset of numbers is solved once and remembered, the last thousands of them.
"""

from __future__ import annotations

import random
from functools import cache, lru_cache
from itertools import combinations
from math import gcd

Pair = tuple[int, int]  # a reduced fraction, denominator > 0
Term = tuple[str, int]  # a formula and its precedence: 0 for + -, 1 for * /, 2 a number
PRECEDENCE = {"+": 0, "-": 0, "*": 1, "/": 1}


def combine(op: str, a: Pair, b: Pair) -> Pair | None:
    """Exact ``a op b``; None for a division by zero or an unknown operator."""
    (p, q), (r, s) = a, b
    if op == "+":
        n, d = p * s + r * q, q * s
    elif op == "-":
        n, d = p * s - r * q, q * s
    elif op == "*":
        n, d = p * r, q * s
    elif op == "/" and r:
        n, d = (p * s, q * r) if r > 0 else (-p * s, -q * r)
    else:
        return None
    g = gcd(n, d)
    return n // g, d // g


def write(op: str, a: Term, b: Term) -> Term:
    """Join two formulas with the fewest parentheses."""
    level = PRECEDENCE[op]
    left = f"({a[0]})" if a[1] < level else a[0]
    # a-(b+c) and a/(b*c) need parentheses on the right even at equal precedence
    tight = b[1] == level and op in "-/"
    right = f"({b[0]})" if b[1] < level or tight else b[0]
    return left + op + right, level


@cache
def splits(n: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """All ways to part positions 0..n-1 into two non-empty groups (unordered)."""
    everything = frozenset(range(n))
    halves = []
    for size in range(1, n // 2 + 1):
        for left in combinations(range(n), size):
            if 2 * size == n and 0 not in left:
                continue
            halves.append((left, tuple(sorted(everything - set(left)))))
    return tuple(halves)


@lru_cache(maxsize=2048)
def reachable(numbers: tuple[int, ...]) -> dict[Pair, Term]:
    """Each value that the sorted ``numbers`` can make, with one formula for it."""
    if len(numbers) == 1:
        return {(numbers[0], 1): (str(numbers[0]), 2)}
    found: dict[Pair, Term] = {}
    for left, right in splits(len(numbers)):
        a_terms = reachable(tuple(numbers[i] for i in left))
        b_terms = reachable(tuple(numbers[i] for i in right))
        for a, a_term in a_terms.items():
            for b, b_term in b_terms.items():
                for op, x, x_term, y, y_term in (
                    ("+", a, a_term, b, b_term),
                    ("*", a, a_term, b, b_term),
                    ("-", a, a_term, b, b_term),
                    ("-", b, b_term, a, a_term),
                    ("/", a, a_term, b, b_term),
                    ("/", b, b_term, a, a_term),
                ):
                    value = combine(op, x, y)
                    if value is not None and value not in found:
                        found[value] = write(op, x_term, y_term)
    return found


@lru_cache(maxsize=2048)  # four cards from 1 to 13 lie in 1,820 ways
def _solutions(numbers: tuple[int, ...], target: int) -> tuple[str, ...]:
    goal = (target, 1)
    if len(numbers) == 1:
        return (str(target),) if numbers[0] == target else ()
    found: dict[str, None] = {}
    for left, right in splits(len(numbers)):
        a_terms = reachable(tuple(numbers[i] for i in left))
        b_terms = reachable(tuple(numbers[i] for i in right))
        for a, a_term in a_terms.items():
            # Solve a op b = goal for b instead of trying every b: this is the speed.
            for op, a_first, b in (
                ("+", True, combine("-", goal, a)),
                ("*", True, combine("/", goal, a)),
                ("-", True, combine("-", a, goal)),
                ("-", False, combine("+", goal, a)),
                ("/", True, combine("/", a, goal)),
                ("/", False, combine("*", goal, a)),
            ):
                if b is None or (b_term := b_terms.get(b)) is None:
                    continue
                if op == "/" and (b if a_first else a)[0] == 0:
                    continue
                pair = (a_term, b_term) if a_first else (b_term, a_term)
                found.setdefault(write(op, *pair)[0])
    if len(numbers) > 4:
        reachable.cache_clear()  # what four and five numbers make takes megabytes a set
    return tuple(found)


def solutions(numbers: tuple[int, ...] | list[int], target: int = 24) -> tuple[str, ...]:
    """Formulas over ``numbers`` (each used once) that make ``target`` exactly.

    Not every rewriting is listed, but the result is empty only when there is none.
    The order is fixed and does not depend on the order of ``numbers``.
    """
    return _solutions(tuple(sorted(numbers)), target)


def solvable(numbers: tuple[int, ...] | list[int], target: int = 24) -> bool:
    """Whether ``target`` can be made at all."""
    return bool(solutions(numbers, target))


def random_formula(numbers: tuple[int, ...] | list[int], rng: random.Random) -> str:
    """A random formula that uses each of ``numbers`` once: what a guess looks like.

    It may divide by zero or hit the target by luck; callers that need a wrong
    answer check it with the verifier.
    """
    terms: list[Term] = [(str(n), 2) for n in numbers]
    rng.shuffle(terms)
    while len(terms) > 1:
        a, b = (terms.pop(rng.randrange(len(terms))) for _ in range(2))
        terms.append(write(rng.choice("+-*/"), a, b))
    return terms[0][0]
