"""An answer is the same object however it is written and whatever stands around it.

``python tests/test_answers.py N`` compares N problems of each task in every way: answers, seconds.
"""

import json
import random
import re
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftrl_lite.tasks.base import MAX_ANSWER, read_answer
from sftrl_lite.tasks.general_points import general_points, write_answer
from sftrl_lite.tasks.hands import solver_formula
from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.solver import random_formula
from sftrl_lite.tasks.verifier import verify_formula

NUMBERS = (10, 5, 1, 10)
PAGE = (Path(__file__).parents[1] / "docs/answers.md").read_text("utf-8")
SAID = r"\(6 \cdot 4\) {x: [1}, \"{'formula': '5-1', 'action': 'stop()'}\" // no, it's \\"
TRICKY = json.dumps("{x}: [1, \"{'formula': '5-1'}\" // no, it's }\\")


def shapes(answer):
    """Ways to write an answer object, by name."""
    plain, lines = json.dumps(answer), json.dumps(answer, indent=2)
    first, rest = plain[:1], plain[1:]
    pairs = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in answer.items()]
    cut = lines.removesuffix("}").rstrip()
    names = re.sub(r'"(\w+)":', r"\1:", plain)
    return {
        "lines": lines,
        "compact": json.dumps(answer, separators=(",", ":")),
        "Python": repr(answer),
        "trailing commas": lines.replace("\n}", ",\n}").replace("]", ",]"),
        "skeleton": "{\n" + "".join(f"  {pair},\n" for pair in pairs) + "}",
        "bare names": names,
        "bare ranks": re.sub(r'"([AJQK]|\d+)"', r"\1", plain),
        "tuples": plain.replace("[", "(").replace("]", ")"),
        "comments": "{ // so\n" + " /* , } */\n, # {\n".join(pairs) + "// }\n}",
        "other fields": f'{{"sure": True, "why": None, "p": -1.5e-3, "x": {{}}, {rest}',
        "nested": f'{first}"steps": [{{"a": [{{}}, {{"b": 1}}]}}, []], {rest}',
        "nested before it": f'{first}"steps": {{"formula": "1+1", "action": "stop()"}}, {rest}',
        "inside another": f'{{"answer": {plain}, "end": true}}',
        "in a list": f"[{plain}]",
        "tricky string": f'{first}"thoughts": {TRICKY}, {rest}',
        "raw string": f'{first}"thoughts": "{SAID}", {rest}',
        "raw line break": f'{first}"thoughts": "one\ntwo\t\r\nthree", {rest}',
        "apostrophe": f"{first}'thoughts': 'it's Joe's', {rest}",
        "no closing brace": cut,
        "no closing brace, but a comma": f"{cut},",
        "said twice": f'{first}"formula": "1+1", "action": "stop()", {rest}',
        "escaped": plain.replace("+", "\\u002b").replace("a", "\\u0061"),
    }


WRONG = '{"formula": "1+1", "action": "stop()"}'
AROUND = {
    "nothing": ("", ""),
    "blanks": ("\n\n \t", "  \r\n"),
    "prose": ("It's easy: ", "\n\nThat's all, isn't it?"),
    "fence": ("Sure!\n```json\n", "\n```\nDone."),
    "fence alone": ("```\n", "\n```"),
    "braces": ("Let S = {a, b} and {x: ", " done {:-)} }"),
    "unclosed": ('I {think "that [', ' so { "it (is'),
    "quotes": ('He said: "', "\", and 'left'."),
    "LaTeX": (r"\[ \boxed{\text{", r"}} \] \frac{1}{2}"),
    "tags": ("<think>{no}</think><answer>", "</answer>"),
    "wrong first": (f"{WRONG} is wrong, so ", ""),
    "wrong fence first": (f"```json\n{WRONG}\n```\nNo:\n```json\n", "\n```"),
    "object after": ("", ' {"confidence": 0.9}'),
    "inside": ('{"a": {"b": [1, ', "]}, 2: 3}"),
    "mark": ("\ufeff", "\u200b"),
    "comment": ("// {\n/* [ */ ", " # }"),
}


def hand_answers(n, rng):
    """Hands with answers of all kinds: solved, wrong values, wrong numbers, illegal."""
    task = general_points("id")
    for _ in range(n):
        hand = task.sample(rng)
        formula = rng.choice(
            [
                solver_formula(hand),
                random_formula(hand.numbers, rng),
                random_formula(hand.numbers[1:], rng),
                "1++1",
                random_formula(hand.numbers, rng).replace("*", "×").replace("-", " − "),
            ]
        )
        yield task, hand, json.loads(write_answer(hand, formula))


def walk_answers(n, rng):
    """Decisions with right actions, wrong ones, other words and no action at all."""
    task = navigation("ood-rule")
    for _ in range(n):
        decision = task.sample(rng)
        answer = json.loads(task.demonstration(decision))
        other = ["turn_direction(left)", "turn_direction(north)", "forward()", "stop()", "run()"]
        answer["action"] = rng.choice([answer["action"], rng.choice(other)])
        yield task, decision, answer


def compared(answers, n, seed=0):
    """Every shape in every surrounding against the plain object, for n problems.

    Returns:
        how many texts were judged, those that were judged otherwise, and the kinds of verdicts.
    """
    count, other, kinds = 0, [], set()
    for task, problem, answer in answers(n, random.Random(seed)):
        wanted = task.verify(problem, json.dumps(answer))
        kinds.add(wanted.kind)
        for shape, text in shapes(answer).items():
            for around, (before, after) in AROUND.items():
                count += 1
                if task.verify(problem, before + text + after) != wanted:
                    other.append((shape, around, before + text + after))
    return count, other, kinds


@pytest.mark.parametrize("answers", [hand_answers, walk_answers])
def test_every_shape_in_every_surrounding_is_the_plain_object(answers):
    count, other, kinds = compared(answers, 12)
    assert other == [] and len(kinds) >= 3 and count > 12 * 300


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.text("abc_ \"'\\{}", max_size=4),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text("a1 {}[]()\"'\\/#:,\n", max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("k"), inner),
            max_leaves=6,
        ),
        max_size=4,
    ),
    st.sampled_from(list(AROUND.values())),
)
def test_json_in_a_text_is_what_json_alone_is(fields, around):
    """The reader of a text and the library's reader of JSON agree on all JSON."""
    answer = {**fields, "formula": "1+2"}
    assert read_answer(json.dumps(answer).join(around)) == answer


def examples(heading):
    """Examples of a table of the page."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| [^`|]+ \| `(.+)` \|$", part, re.MULTILINE)
    return [cell.replace("⏎", "\n").replace("\\|", "|") for cell in cells]


def test_the_page_says_what_is_read():
    read, refused = examples("Read"), examples("Not read")
    assert (len(read), len(refused)) == (PAGE.count("\n| ") - 4 - len(refused), 16)
    assert [text for text in read if not verify_formula(text, NUMBERS).solved] == []
    assert [text for text in refused if verify_formula(text, NUMBERS).kind != "illegal"] == []
    assert f"{MAX_ANSWER:,} characters" in PAGE


IN_A_STRING = [  # %s: the string
    *('{"answer": %s}', "{answer: %s", '{"answer": %s Done.', '{"answer": %s8, 9', "[%s]"),
    *("{%s: 1}", '{"formula": "1+1", "note": %s}', '{"formula": "1+1", "note": %s'),
    *('{"thoughts": %s, "formula": (10+10)*(5-1)}', '{"a": [{"b": %s}], "formula": (10+10)*(5-1)}'),
    *('{"formula": "1+1" , "x": +5, "note": %s}', '{"formula": "1+1" ; "note": %s}'),
    *('{"x": 8/3, "note": %s, "y": 1}', '{"x": [8/3, %s], "y": 1}', '{"x": (8/3), "y": (%s, 1)}'),
    *('{"x": "say "hi" there", "note": %s}', '{"x": http://a.b, "note": %s}', '{"x": "a" + %s}'),
    *('{"x": {“a”: 1}, "note": %s // so\n}', '{"x": +5, "a": [1, {"b": +5, "c": [%s]}]}'),
]


@pytest.mark.parametrize("outer", IN_A_STRING)
@pytest.mark.parametrize("quotes", ["\"'", "'\""])
def test_an_object_in_a_string_is_text(outer, quotes):
    mark, other = quotes
    inner = "{'formula': '10+10+5-1'}".replace("'", other)
    assert verify_formula(f"It says {mark}{inner}{mark}", NUMBERS).solved  # prose, no object
    for said in (inner, f"maybe {inner}?", f"{{x: [{inner}", f"{inner} or {inner}"):
        for before, after in (("", ""), AROUND["prose"], AROUND["fence"], AROUND["inside"]):
            text = before + outer.replace("%s", mark + said + mark) + after
            assert not verify_formula(text, NUMBERS).solved, text


@pytest.mark.parametrize(
    "before",
    [
        *('{"x": +5} No: ', '{"x": +5 No: ', '{"formula": "1+1 no, ', '{"n": 8/3, "x": "1+1 no. '),
        *('print("', "\\boxed{", '\\boxed{"', "{x: it's so ", "I {think it can't be: "),
    ],
)
def test_an_object_after_a_broken_one_is_read(before):
    after = " isn't 'it' \"so\"" if before[-1] == " " else '")'
    assert verify_formula(before + '{"formula": "10+10+5-1"}' + after, NUMBERS).solved


def test_a_formula_with_an_expression_after_it_is_illegal():
    more_strings = ('+"+1"', ' "+1"', '.replace("1", "5")')
    for more in (*more_strings, " * 2", " - 1", "*2", " %(1)", " ** 2", "−1"):
        for end in ("}", ', "x": 1}', "\n}"):
            text = '{"number": [10], "formula": "10+10+5-1"' + more + end
            assert verify_formula(text, NUMBERS).kind == "illegal", text
    for more in ("", " - Done.", "\n- Done.", ' "Done"', "; Done", " * Done *", "\n.", " 24"):
        assert verify_formula('{"formula": "10+10+5-1"' + more, NUMBERS).solved, more


@pytest.mark.parametrize(
    "piece",
    [
        *("{", "[", "(", "{}", "{'", '{"', "{/*", "{//{\n", "[1,", '{"a":', "{a ", '"', "'a", "\\"),
        *(
            "{b:1 //{b:1\n,",
            "{b:1,c:1 //{b:1\n,",
            '{"a":\'{"b":\',',
            '{"formula":"1"} ',
            "{:",
            "{#",
        ),
        *('{"\\"', "/*", "{a:b,", "{'a':'b'c'd", "{formula:", "((((1,"),
        *("{a:+", '{a:+,"', "{a:+,'b\"", "{a:1,+", '{"a":+,"b":"{', "{{[", '{a:1,+("', "{a:+,''"),
    ],
)
def test_text_that_is_built_to_be_slow_is_judged_quickly(piece):
    for start in ("", '{"formula": ', '{"formula": "', "{'formula': '", '{"formula": "1", '):
        text = (start + piece * MAX_ANSWER)[: MAX_ANSWER - 10]
        began = time.process_time()
        for hostile in (text, text + "formula", text + '"}', text[: len(text) // 2] + "}" * 9_000):
            assert not verify_formula(hostile, NUMBERS).solved
        assert time.process_time() - began < 4.0


def test_blanks_after_a_name_are_not_passed_again_and_again():
    def seconds(text):
        began = time.process_time()
        assert read_answer(text) is None
        return time.process_time() - began

    start = "{x:" * 2_000 + "{}, a"
    slow, quick = start + " " * 13_000 + "formula", start + " formula"
    assert min(seconds(slow) for _ in range(5)) < 3 * min(seconds(quick) for _ in range(5))


if __name__ == "__main__":
    for answers in (hand_answers, walk_answers):
        began = time.process_time()
        count, other, kinds = compared(answers, int(sys.argv[1]), seed=1)
        took = time.process_time() - began
        print(f"{answers.__name__}: {count:,} answers in {took:.0f} s of a processor, ", end="")
        print(f"{len(kinds)} kinds of verdicts, {len(other)} disagreements")
        for shape, around, text in other[:5]:
            print(f"{shape}, {around}: {text!r}")
