"""The judge of GeneralPoints: exact, safe on any text, fast enough for training.

Rewards follow Chu et al. 2025, appendix A.3. Three things differ from the code that
was released with the paper, each on purpose: values are exact fractions, so
8/(3-8/3) is 24; one answer gets one verdict instead of a sum of penalties; and what
the message gives away is a setting (``feedback``) instead of always a hint.

Nothing here evaluates or recurses on model text. A formula becomes a template
("(7+5)*2" -> "(0+0)*0"), the template becomes a postfix program that is remembered,
and the program runs on pairs of integers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from os.path import commonprefix
from types import MappingProxyType
from typing import BinaryIO

from sftrl_lite.tasks.base import FEEDBACK, Verdict, read_answer
from sftrl_lite.tasks.cards import parse_rule
from sftrl_lite.tasks.solver import PRECEDENCE, Pair, combine, solutions

REWARDS = MappingProxyType(
    {
        "solved": 5.0,
        "wrong_value": -1.0,
        "over_budget": -1.0,
        "misread": -1.5,
        "wrong_numbers": -2.0,
        "illegal": -3.0,
    }
)
SUCCESS = "Correct solution."  # the paper's two messages, figures 11 to 14
FAILURE = "You failed this trial because your formula is incorrect."
REASONS = MappingProxyType(
    {
        "solved": SUCCESS,
        "wrong_value": "The formula is legal but does not make the target.",
        "over_budget": "No tries are left.",
        "misread": "The cards were not read correctly.",
        "wrong_numbers": "The formula does not use each card exactly once.",
        "illegal": "The answer holds no legal formula.",
    }
)
HINTS = (" Numbers not used:", " It begins well:")
MESSAGES = (FAILURE, *REASONS.values(), *HINTS)  # every wording a model can meet
MAX_FORMULA = 200
MAX_CARDS = 6  # verify_lines only: a leaky hint solves the hand, 6 cards take 0.1 to 1 s
MAX_LINE = 1_000_000  # bytes of a line that verify_lines reads

NUMBER = re.compile(r"(0|[1-9][0-9]*)")
TOKEN = re.compile(r"[0-9]+|[-+*/()]")
CLAIM = re.compile(r" *(-?(?:0|[1-9][0-9]*)) *")
SIGNS = str.maketrans("×÷−", "*/-")
BREAKS = str.maketrans("\t\r\n", "   ")  # a long formula may be written on two lines


@lru_cache(maxsize=4096)
def postfix(template: str) -> tuple[str, ...] | None:
    """Program of a template such as ``(0+0)*0``; None if it is no legal formula.

    "0" stands for the next number, "zero" for the left side of a leading minus. A minus
    may lead the formula or a parenthesis, as in school: (-3+11)*3; 3*-8 is illegal. This
    makes no further hand solvable, since -a+b is b-a.
    """
    program: list[str] = []
    waiting: list[str] = []
    before = "("
    # "1 0" and "* *" stay illegal without their spaces: two numbers or signs in a row
    for token in template.replace(" ", ""):
        operand_due = before in "(+-*/"
        if token in "0(":
            if not operand_due:
                return None
            (program if token == "0" else waiting).append(token)
        elif token == ")":
            while waiting and waiting[-1] != "(":
                program.append(waiting.pop())
            if operand_due or not waiting:
                return None
            waiting.pop()
        elif token in PRECEDENCE:
            if operand_due:
                if token != "-" or before != "(":
                    return None
                program.append("zero")
            while waiting and PRECEDENCE.get(waiting[-1], -1) >= PRECEDENCE[token]:
                program.append(waiting.pop())
            waiting.append(token)
        else:
            return None
        before = token
    if before in "(+-*/" or "(" in waiting:
        return None
    return (*program, *reversed(waiting))


def _value(program: tuple[str, ...], numbers: list[int]) -> Pair | None:
    """Exact result of a program; None for a division by zero."""
    stack: list[Pair] = []
    upcoming = iter(numbers)
    for step in program:
        if step == "0":
            stack.append((next(upcoming), 1))
        elif step == "zero":
            stack.append((0, 1))
        else:
            right = stack.pop()
            result = combine(step, stack[-1], right)
            if result is None:
                return None
            stack[-1] = result
    return stack[0]


def _judge(formula: object, numbers: tuple[int, ...], target: int) -> tuple[str, list[int]]:
    """Kind of a formula, and the numbers it uses (empty where its syntax is illegal)."""
    if not isinstance(formula, str) or len(formula) > MAX_FORMULA:
        return "illegal", []
    if not formula.isascii():
        formula = formula.translate(SIGNS)
    if not formula.isprintable():
        formula = formula.translate(BREAKS)
    left, equals, right = formula.partition("=")
    claim = CLAIM.fullmatch(right) if equals else None
    # No digit survives the split, so "0" can only stand for a number
    parts = NUMBER.split(left)
    program = postfix("0".join(parts[::2]))
    if program is None or (equals and claim is None):
        return "illegal", []
    used = list(map(int, parts[1::2]))
    # Before the value, so that only formulas over the hand's own cards are computed
    if sorted(used) != sorted(numbers):
        return "wrong_numbers", used
    value = _value(program, used)
    if value is None:
        return "illegal", used
    met = value == (target, 1) and (claim is None or int(claim[1]) == target)
    return "solved" if met else "wrong_value", used


def _hint(
    kind: str, formula: object, used: list[int], numbers: tuple[int, ...], target: int
) -> str:
    """What the released code tells the model: numbers under the rule, a correct start."""
    missing = list((Counter(numbers) - Counter(used)).elements())
    if kind == "wrong_numbers" and missing:
        return f"{REASONS[kind]}{HINTS[0]} {missing}"
    if kind == "wrong_value" and isinstance(formula, str):
        written = TOKEN.findall(formula.translate(SIGNS).partition("=")[0])
        found = map(TOKEN.findall, solutions(numbers, target))
        shared = (commonprefix([written, tokens]) for tokens in found)  # noqa: RUF071, not paths
        if start := max(shared, key=len, default=[]):
            return f"{REASONS[kind]}{HINTS[1]} {''.join(start)}"
    return REASONS[kind]


def ranks(cards: object) -> list[str] | None:
    """The cards that an answer names, sorted; None if they are no list of words and numbers.

    What stands in a list in a list may be deeper than ``str`` can go.
    """
    if not isinstance(cards, list) or any(isinstance(card, (list, dict)) for card in cards):
        return None
    return sorted(map(str, cards))


def verify_formula(
    answer: str,
    numbers: tuple[int, ...],
    target: int = 24,
    feedback: str = "binary",
    cards: tuple[str, ...] | None = None,
) -> Verdict:
    """Judge a whole answer (JSON with the key ``formula``) for a hand.

    The right-hand side is optional; one that names another target is a wrong value.
    Signs may be + - * / or × ÷ −, spaces are allowed, numbers are plain integers.

    Args:
        answer: the model's text.
        numbers: what the cards count, in the order in which they lie.
        target: number to make.
        feedback: one of ``FEEDBACK``; sets the message, never the reward.
        cards: the ranks in the picture, where there is one. An answer whose ``cards`` are
            others, in any order, has misread the hand: it is not solved, and costs 1.5
            on top of what its formula costs (paper, appendix A.3; the released code pays
            1.5 instead of the formula's cost, which makes misreading a refuge).

    Raises:
        TypeError: the answer is not a str.
        ValueError: unknown feedback mode.
    """
    if not isinstance(answer, str):
        raise TypeError(f"an answer is a str, not {type(answer).__name__}")
    if feedback not in FEEDBACK:
        raise ValueError(f"unknown feedback {feedback!r}; choose {', '.join(FEEDBACK)}")
    found = read_answer(answer) or {}
    formula = found.get("formula")
    kind, used = _judge(formula, numbers, target)
    listed, seen, read = found.get("number"), found.get("cards"), None
    if isinstance(listed, list) and set(map(type, listed)) <= {int}:  # a bool is no number
        read = tuple(listed)
    reward, recognised = REWARDS[kind], None
    if cards is not None:
        recognised = ranks(seen) == sorted(cards)
        if not recognised:
            reward = REWARDS["misread"] + min(reward, REWARDS["wrong_value"])
            kind = kind if kind == "illegal" else "misread"
    solved = kind == "solved"
    if feedback == "binary":
        message = SUCCESS if solved else FAILURE
    elif feedback == "reason":
        message = REASONS[kind]
    else:
        message = "" if feedback == "none" else _hint(kind, formula, used, numbers, target)
    right = read == tuple(numbers)
    if cards is not None and read is not None:  # a picture has no first card
        right = sorted(read) == sorted(numbers)
    return Verdict(solved, kind, reward, message, read, right, recognised)


def read_lines(stream: BinaryIO | None) -> Iterator[bytes]:
    """Lines as they come; of one beyond ``MAX_LINE`` just so much that it is seen to be.

    Raises:
        ValueError: there is no stream: standard input is closed.
    """
    if stream is None:
        raise ValueError("standard input is closed; give it JSON lines, as in `< answers.jsonl`")
    while line := stream.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE + 1)


def _verify_line(line: bytes, feedback: str) -> dict:
    """Judge one input line; raises ValueError or TypeError with one clear sentence."""
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE:,} bytes")
    try:
        job = json.loads(line.decode("utf-8-sig"))  # Windows writes a mark first
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(job, dict) or not {"cards", "rule", "answer"} <= job.keys():
        raise ValueError("needs an object with cards, rule and answer")
    cards, rule, target = job["cards"], job["rule"], job.get("target", 24)
    if ranks(cards) is None or not 1 <= len(cards) <= MAX_CARDS:
        raise ValueError(f"cards must be a list of 1 to {MAX_CARDS} ranks")
    if not (isinstance(rule, str) and type(target) is int):
        raise ValueError("rule must be text and target a whole number")
    numbers = parse_rule(rule).values([str(card) for card in cards])
    verdict = verify_formula(job["answer"], numbers, target, feedback)
    return {key: getattr(verdict, key) for key in ("solved", "kind", "reward", "message")}


def verify_lines(lines: Iterable[bytes], feedback: str = "binary") -> Iterator[str]:
    """Judge JSON lines for ``python -m sftrl_lite verify``; blank lines are skipped.

    Each input line is ``{"cards": ["A", "5", "J", "K"], "rule": "10", "answer": "..."}``
    with an optional ``target``, as UTF-8 whatever the locale. A line that cannot be read gives
    ``{"error": "line 3: ..."}`` and the run goes on. Nothing is kept of the lines before.

    Raises:
        ValueError: unknown feedback mode, before the first line is read.
    """
    if feedback not in FEEDBACK:
        raise ValueError(f"unknown feedback {feedback!r}; choose {', '.join(FEEDBACK)}")
    for i, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield json.dumps(_verify_line(line, feedback))
        except (TypeError, ValueError) as error:
            yield json.dumps({"error": f"line {i}: {error}"})
