"""The verifier: named attacks, an independent judge, random junk."""

import json
import random
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sftrl_lite.tasks.base import FEEDBACK, MAX_ANSWER, read_answer
from sftrl_lite.tasks.cards import RANKS
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.verifier import (
    FAILURE,
    MAX_LINE,
    REASONS,
    REWARDS,
    SUCCESS,
    read_lines,
    verify_formula,
    verify_lines,
)

ROOT = Path(__file__).parents[1]
NUMBERS = (10, 5, 1, 10)


def kind_of(formula, numbers=NUMBERS, target=24):
    return verify_formula(json.dumps({"formula": formula}), numbers, target).kind


@pytest.mark.parametrize(
    ("formula", "kind"),
    [
        ("10+10+5-1", "solved"),
        ("10+10+5-1=24", "solved"),
        (" ( 10 + 10 ) + 5 - 1 = 24 ", "solved"),
        ("((((10))))+10+(5-1)", "solved"),
        ("-1+5+10+10", "solved"),
        ("10+10-(-5+1)", "solved"),
        ("10+10+5−1", "solved"),
        ("10*10+5-1", "wrong_value"),
        ("10×10÷5−1=24", "wrong_value"),
        ("10+10+5-1=23", "wrong_value"),
        ("10+10+5-1=-24", "wrong_value"),
        ("10*10+5-1=104", "wrong_value"),
        ("24", "wrong_numbers"),
        ("10+10+4", "wrong_numbers"),
        ("10+10+5-1+0", "wrong_numbers"),
        ("10+10+5-1-1+1", "wrong_numbers"),
        ("10+10+5", "wrong_numbers"),
        ("10+10+51", "wrong_numbers"),
        ("5/(10-10)", "wrong_numbers"),
        ("9" * 200, "wrong_numbers"),
        ("1/(10-10)+5", "illegal"),
        ("5/(10-10)/1", "illegal"),
        ("10+10+5-1=24.0", "illegal"),
        ("10+10+5-1=024", "illegal"),
        ("10+10+5-1=", "illegal"),
        ("10+10+5-1=24=24", "illegal"),
        ("10+10+5-1=2 4", "illegal"),
        ("10.0+10+5-1", "illegal"),
        ("1e1+10+5-1", "illegal"),
        ("23.9999999999999999", "illegal"),
        ("10**10**10", "illegal"),
        ("10* *10", "illegal"),
        ("10//5", "illegal"),
        ("10+10+05-1", "illegal"),
        ("1 0+10+5-1", "illegal"),
        ("(10+10+5-1", "illegal"),
        ("10+10+5-1)", "illegal"),
        (")10+10+5-1(", "illegal"),
        ("10+10+5-1()", "illegal"),
        ("(10)(10)+5-1", "illegal"),
        ("10+10+5-", "illegal"),
        ("10+10--5-1", "illegal"),
        ("+10+10+5-1", "illegal"),
        ("10+10*-5", "illegal"),
        ("", "illegal"),
        (" ", "illegal"),
        ("=24", "illegal"),
        ("١٠+10+5-1", "illegal"),
        ("10+1０+5-1", "illegal"),
        ("10+10+5-1\n", "solved"),
        ("10 +\r\n\t10+5-1\n=\n24", "solved"),
        ("1\n0+10+5-1", "illegal"),
        ("10+10+5-1\v", "illegal"),
        ("10+10+5-1\u2028", "illegal"),
        ("10_0+5", "illegal"),
        ("N+N+N-N", "illegal"),
        ("zero+10+10+5-1", "illegal"),
        ("__import__('os').getpid()", "illegal"),
        ("(" * 10_000 + "10" + ")" * 10_000, "illegal"),
        ("(" * 99 + "10" + ")" * 99, "wrong_numbers"),
        ("(" * 90 + "10" + ")" * 90 + "+10+5-1", "solved"),
        ("(-" * 60, "illegal"),
        ("10+10+5-1".ljust(200), "solved"),
        ("10+10+5-1".ljust(201), "illegal"),
        (None, "illegal"),
        (24, "illegal"),
        (["10+10+5-1"], "illegal"),
    ],
)
def test_formula(formula, kind):
    verdict = verify_formula(json.dumps({"formula": formula}), NUMBERS)
    assert verdict.kind == kind
    assert verdict.reward == REWARDS[kind]
    assert verdict.solved == (kind == "solved")


def test_the_rewards_are_the_papers():
    kinds = ("solved", "wrong_value", "over_budget", "misread", "wrong_numbers", "illegal")
    assert [REWARDS[kind] for kind in kinds] == [5, -1, -1, -1.5, -2, -3]
    with pytest.raises(TypeError):
        REWARDS["illegal"] = 5


def test_correct_fractions_are_accepted():
    assert kind_of("8/(3-8/3)=24", (3, 3, 8, 8)) == "solved"
    assert kind_of("4/(1-5/6)=24", (1, 4, 5, 6)) == "solved"
    assert kind_of("8/(3-8/3)", (3, 3, 8, 8), target=23) == "wrong_value"


@pytest.mark.parametrize(
    "text",
    [
        '{"cards": ["K", "5", "A", "J"], "number": [10, 5, 1, 10], "formula": "10+10+5-1=24"}',
        '{"cards": ["K", "5"], "number": [10, 5, 1, 10,], "formula": "10+10+5-1=24",}',
        "{'cards': ['K', '5'], 'number': [10, 5, 1, 10], 'formula': '10+10+5-1=24'}",
        "{'note': \"it's\", 'number': [10, 5, 1, 10], 'formula': '10+10+5-1=24'\n,\n}",
        'Sure!\n```json\n{"number": [10, 5, 1, 10], "formula": "10+10+5-1=24"}\n```\nDone {:-)}',
        '{"formula": "1+1"} no, {"number": [10, 5, 1, 10], "formula": "10+10+5-1"} {"formula": "1',
        '{"answer": {"number": [10, 5, 1, 10], "formula": "10+10+5-1"}}',
        '{"formula": "1"} {} {"number": [10, 5, 1, 10], "formula": "10+10+5\\u22121"} {"a": 1}',
    ],
)
def test_json_as_models_write_it(text):
    verdict = verify_formula(text, NUMBERS)
    assert verdict.kind == "solved"
    assert verdict.read == NUMBERS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10+10+5-1",
        "{",
        "{}",
        "null",
        '"formula"',
        '["formula"]',
        '{"formula": }',
        '{"number": [10, 5, 1, 10]}',
        '{"formula": "10+10+5-1',
        "[" * 15_000,
        '{"formula": ' + "[" * 15_000,
    ],
)
def test_no_answer_object(text):
    assert read_answer(text) is None
    assert verify_formula(text, NUMBERS).kind == "illegal"


@pytest.mark.parametrize("number", ["[1, true]", "[1.0]", '"10"', "null", '["10"]', "[[1]]", "1e5"])
def test_an_unreadable_number_list_is_none(number):
    answer = '{"number": ' + number + ', "formula": "10+10+5-1"}'
    verdict = verify_formula(answer, NUMBERS)
    assert verdict.read is None and verdict.solved


def test_text_beyond_the_cap_is_not_read():
    good = '{"formula": "10+10+5-1"}'
    assert verify_formula(good.ljust(MAX_ANSWER), NUMBERS).solved
    assert verify_formula(good.ljust(MAX_ANSWER + 1), NUMBERS).kind == "illegal"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "{" * 20_000,
        "{}" * 10_000,
        "{'" * 10_000,
        '{"' + '\\"' * 9_990,
        "{" + "'" * 19_998 + "}",
        "{" + ", " * 9_990 + "}",
        '{"formula": "' + "-(" * 9_990 + '"}',
        '{"formula": ' + "[" * 19_900 + "}",
        '{"formula": ' + "9" * 15_000 + "}",
        '{"a":' * 4_000,
    ],
)
def test_hostile_text_is_judged_quickly(text):
    start = time.perf_counter()
    assert verify_formula(text, NUMBERS).kind == "illegal"
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize("depth", [900, 1_000, 3_000, 9_000])
@pytest.mark.parametrize("after", ["", " Done."])
def test_cards_of_any_depth_are_no_cards(depth, after):
    text = f'{{"cards": {"[" * depth}{"]" * depth}, "formula": "10+10+5-1"}}{after}'
    verdict = verify_formula(text, NUMBERS, cards=("10", "5", "A", "10"))
    assert (verdict.kind, verdict.recognised) == ("misread", False)
    assert verify_formula(text, NUMBERS).solved  # no picture: nobody asks for the cards


@pytest.mark.parametrize("answer", [None, 24, b"{}", {"formula": "24"}])
def test_an_answer_is_text(answer):
    with pytest.raises(TypeError, match="an answer is a str, not"):
        verify_formula(answer, NUMBERS)


@settings(max_examples=300, deadline=None)
@given(formula=oracle.FORMULAS, shift=st.sampled_from([0, 0, 0, 1]), claim=st.booleans())
def test_random_formulas_are_judged_as_the_oracle_does(formula, shift, claim):
    numbers = oracle.numbers_in(formula)
    numbers[0] += shift
    value = oracle.compute(formula)
    # Aim at the formula's own value where it can be a target, so that "solved" occurs
    target = int(value) if value is not None and value.denominator == 1 else 24
    written = f"{formula}={target}" if claim else formula
    assert kind_of(written, tuple(numbers), target) == oracle.judge(formula, numbers, target)
    assert kind_of(f"{formula}={target + 1}", tuple(numbers), target) != "solved"


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from([*"12+-*/()", "1", "2", " ", "=3"]), max_size=9))
@example(["1", "+", "2", "=3"])
def test_what_passes_as_legal_is_legal_python_too(pieces):
    formula = "".join(pieces)
    kind = kind_of(formula, (1, 2), 3)
    if kind != "illegal":
        left = formula.partition("=")[0].strip()
        assert oracle.judge(left, (1, 2), 3) in (kind, "solved")


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), st.text("{}[]\"',:formula 0123+-*/()=\\", max_size=200)))
def test_junk_never_raises(text):
    for feedback in FEEDBACK:
        verdict = verify_formula(text, NUMBERS, feedback=feedback)
        assert verdict.kind == "illegal"


@settings(max_examples=200, deadline=None)
@given(cards=st.lists(st.sampled_from(RANKS), min_size=4, max_size=4), seed=st.integers(0, 99))
def test_written_answers_are_read_back(cards, seed):
    hand = Hand(tuple(cards))
    formula = "+".join(map(str, random.Random(seed).sample(hand.numbers, 4)))
    text = write_answer(hand, formula)
    assert read_answer(text) == {
        "cards": cards,
        "number": list(hand.numbers),
        "formula": f"{formula}=24",
    }
    verdict = verify_formula(text, hand.numbers)
    assert verdict.read == hand.numbers
    assert verdict.solved == (sum(hand.numbers) == 24)


def test_demonstrations_are_solved():
    task, rng = GeneralPoints(), random.Random(0)
    for hand in (task.sample(rng) for _ in range(50)):
        assert task.verify(hand, task.demonstration(hand)).solved


def message(formula, feedback):
    return verify_formula(json.dumps({"formula": formula}), NUMBERS, feedback=feedback).message


def test_messages():
    assert message("10+10+5-1", "none") == message("24", "none") == ""
    assert message("10+10+5-1", "binary") == "Correct solution."
    for wrong in ("24", "10*10+5-1", "10/"):
        assert message(wrong, "binary") == FAILURE
    for formula, kind in (("24", "wrong_numbers"), ("10*10*5-1", "wrong_value"), ("", "illegal")):
        assert message(formula, "reason") == REASONS[kind]
    assert not any(c.isdigit() for text in REASONS.values() for c in text)
    with pytest.raises(ValueError, match="choose none, binary, reason, leaky"):
        message("24", "chatty")


def test_the_leaky_message_gives_numbers_and_a_correct_start():
    assert message("5+10", "leaky").endswith("Numbers not used: [10, 1]")
    assert message("10+10+5-1-1", "leaky") == REASONS["wrong_numbers"]  # none is missing
    assert message("10+10+(5-1", "leaky") == message("5/", "leaky") == REASONS["illegal"]
    hint = message("10 + 10+5*1", "leaky")
    assert hint == message("10 + 10+5*1", "leaky")
    start = hint.rpartition(": ")[2]
    assert start and "10+10+5*1".startswith(start) and start != "10+10+5*1"
    assert message("10+10+5-1", "leaky") == "Correct solution."


def test_verify_lines_reports_the_line_and_goes_on():
    good = {"cards": ["A", "5", "J", "K"], "rule": "10", "answer": '{"formula": "10+10+5-1"}'}
    lines = [
        json.dumps(good),
        "",
        "{oops",
        json.dumps(good | {"rule": "11-12-13"}),
        json.dumps(good | {"target": 25}),
        json.dumps(good | {"cards": ["A", "5", "J", "Joker"]}),
        json.dumps(good | {"cards": ["A"] * 60}),
        json.dumps(good | {"rule": 10}),
        json.dumps(good | {"answer": 7}),
        json.dumps({"cards": []}),
        "[" * 100_000,
        *('{"answer": "", "rule": "10", "cards": [' + "[" * n + "]" * n + "]}" for n in (1, 900)),
    ]
    out = [json.loads(line) for line in verify_lines(line.encode() for line in lines)]
    assert out[0] == {"solved": True, "kind": "solved", "reward": 5, "message": "Correct solution."}
    kinds = [line.get("kind") for line in out[:4]]
    assert kinds == ["solved", None, "wrong_numbers", "wrong_value"]
    errors = [line["error"] for line in out if "error" in line]
    numbers = (3, 6, 7, 8, 9, 10, 11, 12, 13)
    assert [error.split(":")[0] for error in errors] == [f"line {n}" for n in numbers]
    assert {error.partition(": ")[2] for error in errors[-2:]} == {
        "cards must be a list of 1 to 6 ranks"
    }
    assert list(verify_lines([])) == []
    with pytest.raises(ValueError, match="feedback"):
        list(verify_lines([], "chatty"))


def test_verify_lines_reads_bytes_whatever_they_are():
    job = {"cards": ["A", "6", "A", "4"], "rule": "10", "answer": '{"formula": "6×4×1×1=24"}'}
    good = json.dumps(job, ensure_ascii=False).encode()
    latin, long = good.replace("×".encode(), b"\xd7"), good.ljust(MAX_LINE + 1)
    lines = [
        b"\xef\xbb\xbf" + good,
        latin,
        good,
        good.decode().encode("utf-16"),
        long,
        good + b"\r",
    ]
    out = [json.loads(line) for line in verify_lines(read_lines(BytesIO(b"\n".join(lines))))]
    assert out.count({"solved": True, "kind": "solved", "reward": 5, "message": SUCCESS}) == 3
    errors = {line["error"] for line in out if "error" in line}
    assert errors >= {"line 2: not UTF-8", "line 4: not UTF-8"}  # UTF-16 holds a line break, too
    assert any(error.endswith(f"longer than {MAX_LINE:,} bytes") for error in errors)
    assert out[-1]["solved"]


def test_a_line_without_an_end_is_not_kept():
    class Endless:
        left = 300

        def readline(self, most):
            self.left -= 1
            return b"x" * most if self.left > 0 else b""

    assert [len(line) for line in read_lines(Endless())] == [MAX_LINE + 1]


def test_a_house_rule_a_line_takes_no_more_memory():
    """Six cards and the message that solves the hand, in a process of its own."""
    code = """
import json, resource
from sftrl_lite.tasks.verifier import verify_lines
job, used = {"cards": ["A", "3", "5", "7", "J", "K"]}, []
for k in range(2, 9):
    job |= {"rule": f"9-12-{k}", "answer": json.dumps({"formula": f"1+3+5+7-9*{k}"})}
    (line,) = verify_lines([json.dumps(job).encode()], "leaky")
    assert "It begins well" in line, line
    used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
assert used[-1] < used[1] + 30, used
"""
    pytest.importorskip("resource", reason="Windows does not tell it so")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
