"""Prompts from files: learned from examples, filled, refused; training on examples."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sftrl_lite import __main__
from sftrl_lite.models.chats import unreadable
from sftrl_lite.results import ledger
from sftrl_lite.runs.checks import examples, remarks
from sftrl_lite.runs.run_config import Run, command
from sftrl_lite.tasks import prompts, street_answers, verifier
from sftrl_lite.tasks.cards import ID_RULE, OOD_RULE, Rule
from sftrl_lite.tasks.hands import Hand, reserved, solver_formula
from sftrl_lite.tasks.panoramas import DataError
from sftrl_lite.tasks.prompts import Template, off_distribution, read
from sftrl_lite.tasks.registry import TASKS, make_task
from sftrl_lite.tasks.registry import given as given_to
from sftrl_lite.tasks.released_prompts import learn, statements
from sftrl_lite.tasks.sft_data import Demonstration, read_sft_data
from sftrl_lite.training.sft_examples import Given, picture_demonstrations

CARDS_PROMPT = """\
[Game]
Reach {target} with {n} cards. Note that {rule}., and no card may be left over.
Write an equation that gives {target}.

[Cards]
Cards: {cards}

[Form]
{{
  "cards": [w, x, y, z], where {rule}.,
  "formula": 'an equation for {target}',
}}
"""
CARDS_ANSWER = """\
{{
  "cards": {cards},
  "number": {number},
  "formula": "{formula}={target}",
}}"""
SAME = "'J', 'Q', and 'K' count as '{0}'"
EACH = "'J', 'Q', and 'K' count as '{0}', '{1}', and '{2}'"
STREET_PROMPT = """\
[Walk]
1. is the first line to follow; answer one action at a time.
{told}

[Actions]
"turn_direction(x)": x is one of ['north', 'northeast', 'east', 'southeast', 'south', 'southwest', \
'west', 'northwest']

[History]
{history} 

[Form]
{{"current observation": ..., "action": ...}}"""
STREET_ANSWER = """\
{{
  "current observation": "{seen}",
  "current instruction": "{told}",
  "action": "{action}",
}}"""


def row(human, gpt, **more):
    turns = [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}]
    return {"conversations": turns, **more}


def card_row(hand, shown=True, **more):
    values = hand.rule.values("JQK")
    rule = (SAME if len(set(values)) == 1 else EACH).format(*values)
    where = dict(target=hand.target, n=len(hand.cards), rule=rule)
    cards = list(hand.cards) if shown else "in the picture"
    asked = CARDS_PROMPT.format(cards=cards, **where)
    said = dict(cards=list(hand.cards), number=list(hand.numbers), target=hand.target)
    return row(asked, CARDS_ANSWER.format(formula=solver_formula(hand), **said), **more)


def street_row(task, decision):
    own = task.prompt(decision).split("\n")
    told = "\n".join(line for line in own if line[0].isdigit())
    history = "\n".join(line for line in own if line[:2] in ("O_", "A_"))
    answer = json.loads(task.demonstration(decision))
    seen, step, action = answer.values()
    asked = STREET_PROMPT.format(told=told, history=history)
    return row(asked, STREET_ANSWER.format(seen=seen, told=step, action=action))


def hands(n, target=24, rule=ID_RULE, split="train"):
    task = replace(make_task("gp-l", split), rule=rule, target=target)
    return task.draw(random.Random(f"{n}/{target}"), n)


def saved(path, rows):
    path.write_text(json.dumps(rows), "utf-8")
    return path


@pytest.fixture
def card_data(tmp_path):
    return saved(tmp_path / "data.json", [card_row(hand) for hand in hands(40)])


@pytest.fixture
def street_data(tmp_path):
    task = make_task("virl-l", "train")
    rows = [street_row(task, d) for d in task.draw(random.Random(1), 60)]
    return saved(tmp_path / "streets.json", rows)


@pytest.fixture
def call(monkeypatch, capsys):
    """Run ``python -m sftrl_lite ARGS``; exit status, stdout, stderr."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["sftrl_lite", *map(str, args)])
        status = 0
        try:
            __main__.main()
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()

    return run


# --- learning ------------------------------------------------------------------------------


def test_a_card_template_gives_every_example_back(card_data):
    examples = read_sft_data(card_data)
    template, good = learn(examples)
    assert good == len(examples) == 40
    assert "Cards: [{'cards'}]" in template.prompt and "with 4 cards" in template.prompt
    assert template.prompt.count("{target}") == 3 and template.prompt.count("{rule}") == 2
    assert template.same == "'J', 'Q', and 'K' count as '{face}'"
    task = make_task("gp-l", "train", prompt=template)
    for hand, example in zip(hands(40), examples, strict=True):
        assert task.prompt(hand) == example.prompt
        assert task.demonstration(hand) == example.answer
        assert task.verify(hand, example.answer).solved


def test_a_template_announces_rules_that_the_data_never_did(card_data):
    template, _ = learn(read_sft_data(card_data))
    hand = Hand(("A", "2", "J", "Q"), OOD_RULE, 24)
    asked = make_task("gp-l", "ood-rule", prompt=template).prompt(hand)
    assert asked == card_row(hand)["conversations"][0]["value"]
    assert "'11', '12', and '13'." in asked and "'10'" not in asked


def test_data_with_several_rules_and_targets(tmp_path):
    mixed = [*hands(20, 24), *hands(20, 13, Rule(7, 3, 12)), *hands(20, 4)]  # 4 is also a count
    template, good = learn(read_sft_data(saved(tmp_path / "d.json", [*map(card_row, mixed)])))
    assert good == 60 and "with 4 cards" in template.prompt


@pytest.mark.parametrize("task", TASKS)
def test_the_courses_own_prompts_are_learned_and_given_back(task):
    """And with a rule, or words, that the examples do not have."""
    own = make_task(task, "train")
    draw = own.draw(random.Random(3), 30)
    images = (Path("x.png"),) if task == "gp-vl" else ()
    template, good = learn(
        [Demonstration(own.prompt(p), own.demonstration(p), images) for p in draw]
    )
    assert good == 30
    for split in ("id", "ood-rule"):
        plain, other = (make_task(task, split, prompt=prompt) for prompt in (None, template))
        for problem in plain.draw(random.Random(4), 10):
            assert other.prompt(problem) == plain.prompt(problem)
            assert other.demonstration(problem) == plain.demonstration(problem)
            assert other.base_demonstration(problem) == plain.base_demonstration(problem)


def test_a_street_template_gives_every_example_back(street_data):
    examples = read_sft_data(street_data)
    template, good = learn(examples)
    assert good == len(examples) == 60
    assert "one of [{'actions'}]" in template.prompt and "{instructions}\n" in template.prompt
    assert template.prompt.count("{history} \n") == 1 and not template.words
    task = make_task("virl-l", "train", prompt=template)
    for decision, example in zip(
        make_task("virl-l", "train").draw(random.Random(1), 60), examples, strict=True
    ):
        assert task.prompt(decision) == example.prompt
        assert task.demonstration(decision) == example.answer
        assert task.verify(decision, example.answer).solved
    shifted = make_task("virl-l", "ood-rule", prompt=template)
    asked = shifted.prompt(shifted.sample(random.Random(0)))
    assert "['left', 'slightly left', 'slightly right', 'right']" in asked


def test_an_order_of_words_and_numbered_instructions_are_kept(street_data, tmp_path):
    text = street_data.read_text("utf-8").replace("'north', 'northeast'", "'northeast', 'north'")
    rows = json.loads(text)
    for entry in rows:
        asked, said = (turn["value"] for turn in entry["conversations"])
        told = said.partition('instruction": "')[2].partition('"')[0]
        number = next(line for line in asked.split("\n") if line.endswith(f". {told}"))
        entry["conversations"][1]["value"] = said.replace(told, number)
    template, good = learn(read_sft_data(saved(tmp_path / "other.json", rows)))
    assert good == 60 and template.words["absolute"][:2] == ("northeast", "north")
    assert '"{index}. {instruction}"' in template.answer
    file = tmp_path / "prompt.toml"
    template.write(file)
    task = make_task("virl-l", "train", prompt=file)
    decision = task.sample(random.Random(5))
    assert f'"{decision.step.instruction + 1}. ' in task.demonstration(decision)
    assert task.verify(decision, task.demonstration(decision)).read_right


@pytest.mark.parametrize(
    ("text", "rule", "wording", "same"),
    [
        ("J, Q and K count as 10.", (10, 10, 10), "J, Q and K count as {jack}, {queen} and {king}",
         "J, Q and K count as {face}"),
        ("J, Q and K are worth 11, 12 and 13", (11, 12, 13),
         "J, Q and K are worth {jack}, {queen} and {king}", ""),
        ("J=7, Q=3, K=12;", (7, 3, 12), "J={jack}, Q={queen}, K={king}", ""),
    ],
)  # fmt: skip
def test_statements_of_a_rule(text, rule, wording, same):
    ((piece, found, *said),) = statements(text)
    assert found == Rule(*rule) and said == [wording, same] and text.startswith(piece)


# --- files ---------------------------------------------------------------------------------


def test_a_file_gives_the_template_back(card_data, tmp_path):
    template, _ = learn(read_sft_data(card_data))
    template = replace(template, messages={"failure": "No.", "illegal": "What?\nJSON, please."})
    template.write(tmp_path / "p.toml")
    assert read(tmp_path / "p.toml") == template
    assert '  "cards": [w, x, y, z], where' in (tmp_path / "p.toml").read_text()  # unescaped
    with pytest.raises(FileExistsError, match=r"p\.toml exists"):
        template.write(tmp_path / "p.toml")


TEXT = st.text(st.characters(exclude_categories=("Cs",)))


@settings(max_examples=80, deadline=None)
@given(prompt=TEXT, retry=TEXT.filter(bool), said=TEXT)
def test_any_text_survives_a_file(prompt, retry, said, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "p.toml"
    template = Template(prompt, retry=retry, messages={"failure": said})
    if prompt:
        template.write(path)
        assert read(path) == template


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompt = ", "is not TOML"),
        ("prompt = " + "[" * 2_000 + "]" * 2_000, "is not TOML"),
        ("prompt = " + "9" * 5_000, "is not TOML"),
        ('retry = "x"', "it has no prompt"),
        ('prompt = "x"\nprompts = "y"', "unknown key 'prompts'; choose prompt, answer"),
        ("prompt = 3", "prompt is 3; it has to be a str"),
        ('prompt = "x"\n[messages]\nshrug = "y"', "messages.shrug is no text for one of failure"),
        ('prompt = "x"\n[words]\nabsolute = ["north"]', "words.absolute does not name each of"),
        ('prompt = "x"\n[words]\nroman = ["x"]', "words.roman does not name each of absolute"),
        ('prompt = "{cards} {target}"', "its prompt has no place {rule}; task gp-l needs it"),
        ('prompt = "{rule} {target}"', "its prompt has no place {cards}; task gp-l needs it"),
        ('prompt = "{cards} {rule} {target}"\nanswer = "{cards}"', "answer has no place {number}"),
        ('prompt = "{cards} {rule} {target}"\nretry = "again"', "its retry has no place {message}"),
        ('prompt = "{cards} {rule} {target}"\nrule = "{jack}"', "its rule has no place {queen}"),
        ('prompt = "{cards} {rule} {target}"\nsame = "10"', "its same has no place {face}"),
    ],
)  # fmt: skip
def test_bad_prompt_files_are_one_line(text, says, tmp_path, call):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    for verb in ("sft", "rl", "eval"):
        status, _, err = call(verb, "--prompt", path)
        assert status == 2 and err.startswith(f"error: {path}") and says in err
        assert len(err.splitlines()) == 1


def test_the_mark_that_windows_writes_first_is_passed_over(tmp_path):
    (tmp_path / "p.toml").write_text('\ufeffprompt = "x"', "utf-8")
    assert read(tmp_path / "p.toml") == Template("x")


def test_places_depend_on_the_task(tmp_path):
    cards, streets = "{cards} {rule} {target}", "{instructions} {actions} {history}"
    for task, wrong, says in [
        ("gp-vl", cards, "a place {cards}; task gp-vl shows them"),
        ("virl-l", cards, "no place {instructions}; task virl-l needs it"),
        ("gp-l", streets, "no place {cards}"),
    ]:
        with pytest.raises(ValueError, match="this template: its prompt has ") as error:
            make_task(task, prompt=Template(wrong))
        assert says in str(error.value)
    make_task("virl-vl", prompt=Template(streets))
    with pytest.raises(FileNotFoundError, match=r"none\.toml is missing"):
        make_task("gp-l", prompt=tmp_path / "none.toml")


def test_values_are_put_in_at_once_and_other_braces_stay():
    template = Template("{\"a\": {x}} {'cards'} {target}", same="")
    assert template.fill(cards=("A", "{target}"), target=24) == "{\"a\": {x}} 'A', '{target}' 24"


def test_answers_stay_readable():
    keys = {"current observation": "{observation}", "action": "{action}"}
    template = Template("", json.dumps(keys))
    said = template.reply(observation='"Ö" \\ bar', instruction="", index="1", action="stop()")
    assert json.loads(said) == {"current observation": '"Ö" \\ bar', "action": "stop()"}
    assert "Ö" in said


# --- what the verifier says ----------------------------------------------------------------


def test_messages_and_retries():
    said = {"failure": "No!", "illegal": "Not JSON.", "solved": "Yes."}
    template = Template("{cards} {rule} {target}", messages=said, retry="Before: {message} Again:")
    hand = Hand(("A", "5", "J", "K"))
    right = json.dumps({"formula": "5+10+10-1=24"})
    for feedback, wrong, solved in [
        ("binary", "Before: No! Again:", "Yes."),
        ("reason", "Before: Not JSON. Again:", "Yes."),
        ("none", "", ""),
    ]:
        plain = make_task("gp-l", feedback=feedback)
        task = replace(plain, template=template)
        assert task.verify(hand, "hm").message == wrong
        assert task.verify(hand, right).message == solved
        assert replace(task.verify(hand, "hm"), message="") == replace(
            plain.verify(hand, "hm"), message=""
        )
    short = json.dumps({"formula": "5+10=24"})
    leaky = make_task("gp-l", feedback="leaky", prompt=replace(template, retry="{message}"))
    assert "Numbers not used: [1, 10]" in leaky.verify(hand, short).message
    walk = make_task("virl-l", prompt=Template("{instructions} {actions} {history}", messages=said))
    decision = walk.sample(random.Random(0))
    assert walk.verify(decision, "hm").message == "No!"


def test_every_kind_of_verdict_can_be_named():
    kinds = {"failure", *verifier.REASONS, *street_answers.REASONS} - {"over_budget"}
    assert set(prompts.KINDS) == kinds


# --- the commands --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["card_data", "street_data"])
def test_the_command_writes_a_file_that_runs_take(kind, request, tmp_path, call):
    data, out = request.getfixturevalue(kind), tmp_path / "prompt.toml"
    status, said, _ = call("prompt", "--from", data, "--out", out)
    assert status == 0 and f"{out}: gives " in said and "back verbatim" in said
    template = read(out)
    assert template.messages["failure"].startswith("You failed this trial")
    assert "over_budget" not in template.messages
    status, _, err = call("prompt", "--from", data, "--out", out)
    assert status == 2 and err == f"error: {out} exists; choose another --out\n"
    # the tiny models know too few words for it, and say so before they train
    task = "gp-l" if kind == "card_data" else "virl-l"
    status, _, err = call("eval", "--task", task, "--prompt", out, "--episodes", 2)
    assert status == 2 and "cannot read this prompt: it has no token for '['" in err
    assert len(err.splitlines()) == 1


def test_examples_that_do_not_fit(card_data, tmp_path, call):
    rows = json.loads(card_data.read_text())
    rows[7]["conversations"][0]["value"] = rows[7]["conversations"][0]["value"].replace(
        "Note", "So"
    )
    odd, out = saved(tmp_path / "odd.json", rows), tmp_path / "p.toml"
    status, _, err = call("prompt", "--from", odd, "--out", out)
    assert status == 2 and err.startswith(f"error: {odd}, entry 7: its prompt has \"So that 'J'")
    assert len(err.splitlines()) == 1 and not out.exists()
    status, said, _ = call("prompt", "--from", odd, "--out", out, "--skip-bad")
    assert status == 0 and "gives 39 of 40 examples" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda asked, said: (asked, "I do not know"), "neither a formula nor an action"),
        (lambda asked, said: (asked, said.replace("=24", "")), "formula has no right-hand side"),
        (lambda asked, said: (asked.replace("count as", "are"), said), 'prompt has "are \'10'),
        (lambda asked, said: (asked.replace("'10'", "'ten'"), said), "states no rule for J, Q"),
        (lambda asked, said: (asked.replace("Cards: [", "Cards: [*"), said), "prompt has \"*'"),
        (lambda asked, said: (asked.replace("', '", "' '"), said), "does not list the cards"),
        (lambda asked, said: (asked, said.replace('"cards"', '"card"')), "does not list the cards"),
        (lambda asked, said: (asked, ""), "conversations[1].value is not text"),
    ],
)  # fmt: skip
def test_bad_examples_are_named(change, says, card_data, tmp_path, call):
    rows = json.loads(card_data.read_text())
    rows[3] = row(*change(*(turn["value"] for turn in rows[3]["conversations"])))
    status, _, err = call("prompt", "--from", saved(card_data, rows), "--out", tmp_path / "p.toml")
    assert status == 2 and f"{card_data}, entry 3: " in err and says in err
    assert len(err.splitlines()) == 1


def test_a_prompt_decides_the_hash_and_where_it_lies_does_not(tmp_path):
    (tmp_path / "there").mkdir()
    paths = [tmp_path / "a.toml", tmp_path / "there/b.toml", tmp_path / "c.toml"]
    for path, prompt in zip(paths, ("{cards}", "{cards}", "Cards: {cards}"), strict=True):
        path.write_text(f'prompt = "{prompt} {{rule}} {{target}}"')
    one, same, other = (Run("sft", prompt=str(path)).hash for path in paths)
    assert one == same and len({one, other, Run("sft").hash}) == 3
    assert "--prompt" in command(Run("sft", prompt=str(paths[0])), "x")


def test_a_released_init_asked_in_our_words_is_off_distribution():
    for base in ("tianzhechu/GP-L-Init", "models/VIRL-VL-Init/", "GP-VL-Init"):
        line = off_distribution(base, "")
        assert line.startswith(f"{base} was trained on other prompts") and "\n" not in line
        assert not off_distribution(base, "prompt.toml")
    for base in ("data/tiny-gp-l", "meta-llama/Llama-3.2-11B-Vision-Instruct", "runs/MY-GP-L-Init"):
        assert not off_distribution(base, "")
    (line,) = remarks(Run("rl-ppo", scale="full", base="init", hands=8))
    assert "tianzhechu/GP-L-Init was trained" in line
    assert remarks(Run("rl-ppo", base="init")) == []  # of the tiny scale, which is ours


# --- training on examples ------------------------------------------------------------------


def own_rows(task_name, n):
    """Examples in the words that tiny models know."""
    task = make_task(task_name, "train")
    return [row(task.prompt(p), task.demonstration(p)) for p in task.draw(random.Random(2), n)]


@pytest.mark.parametrize("task", ["gp-l", "virl-l"])
def test_sft_on_a_file(task, tmp_path, call):
    data = saved(tmp_path / "data.json", own_rows(task, 70))
    few = dict(task=task, data=data, steps=1, points=1, splits="id", out=tmp_path / "run")
    few |= {"final-episodes": 6, "pass-samples": 0, "curve-episodes": 6}
    flags = [part for name, value in few.items() for part in (f"--{name}", value)]
    status, out, err = call("sft", *flags)
    assert status == 0 and "note:" not in err and "id" in out
    rows = ledger.read(tmp_path / "run" / "rows.csv")
    assert set(rows["step"]) == {0, 1} and rows["command"].str.contains(f"--data {data}").all()
    measured = rows[rows["decoding"] != ""]
    assert set(measured["split"]) == {"id"} and (rows["metric"] == "flops_paper").any()
    again = call("sft", *flags)  # and it is done
    assert again[0] == 0
    saved(data, own_rows(task, 71))
    status, _, err = call("sft", *flags)
    assert status == 2 and "holds a run with other settings" in err


def test_a_run_draws_its_examples(tmp_path, tokenizer):
    data = saved(tmp_path / "data.json", own_rows("gp-l", 5))
    found, left = given_to(str(data), "gp-l")
    assert left == 0 and [e.entry for e in found] == [0, 1, 2, 3, 4]
    run = Run("sft", data=str(data), hands=3).filled()
    drawn = examples(run, tokenizer)
    assert len(drawn) == 3 and set(drawn) < set(found)
    assert drawn == examples(run, tokenizer) and drawn != examples(replace(run, seed=1), tokenizer)


def test_examples_of_test_cards_are_left_out(tmp_path):
    kept, tested = hands(3), make_task("gp-l", "id").draw(random.Random(0), 2)
    assert all(reserved(hand.cards) for hand in tested)
    data = saved(tmp_path / "d.json", [card_row(hand) for hand in (*tested, *kept)])
    found, left = given_to(str(data), "gp-l")
    assert left == 2 and [e.entry for e in found] == [2, 3, 4]
    lines = remarks(Run("sft", data=str(data)))
    assert lines[0] == f"{data}: 2 examples of test cards are left out"
    assert "has other prompts than evaluations ask" in lines[1] and len(lines) == 2
    prompt = tmp_path / "p.toml"
    learn(found)[0].write(prompt)
    assert remarks(Run("sft", data=str(data), prompt=str(prompt))) == lines[:1]


@pytest.mark.parametrize("depth", [1, 3_000])
def test_examples_with_lists_for_cards_are_left_out_or_named(depth, tmp_path):
    rows = [card_row(hand) for hand in hands(2)]
    nested = "[" * depth + "]" * depth
    rows.insert(1, row("ask", f'{{"cards": [{nested}], "formula": "10+10+5-1"}}'))
    data = str(saved(tmp_path / "d.json", rows))
    with pytest.raises(
        DataError, match=r"d\.json, entry 1: cards holds a list or an object; write"
    ):
        given_to(data, "gp-l")
    with pytest.warns(UserWarning, match="entry 1: cards holds a list"):
        found, left = given_to(data, "gp-l", skip_bad=True)
    assert left == 0 and [e.entry for e in found] == [0, 2]
    data = str(saved(tmp_path / "e.json", rows[1:2]))
    with pytest.warns(UserWarning), pytest.raises(DataError, match=r"e\.json: no usable entry"):
        given_to(data, "gp-l", skip_bad=True)


def test_words_that_a_model_cannot_read(card_data, tokenizer, tmp_path, call):
    assert unreadable(tokenizer, "24 Uhr") == "U" and unreadable(tokenizer, "24") == ""
    status, _, err = call("sft", "--data", card_data, "--steps", 1, "--out", tmp_path / "run")
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.startswith("error")]
    assert status == 2 and len(lines) == 1
    assert "entry " in lines[0] and "data/tiny-gp-l has no token for '['" in lines[0]
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sft", "--data", "none.json"], "none.json is missing"),
        (["rl", "--data", "DATA"], "answers to imitate; sft, sft-dft, sft-kl can, not rl-ppo"),
        (["sft", "--method", "sft-own", "--data", "DATA"], "can, not sft-own"),
        (["eval", "--data", "DATA"], "answers to imitate, no problems; only sft trains on it"),
        (["sft", "--picture", "film"], "unknown picture 'film'; choose release"),
        (["sft", "--picture", "release"], "task gp-l shows no pictures"),
    ],
)  # fmt: skip
def test_bad_flags_are_one_line(args, says, card_data, call):
    status, _, err = call(*(str(card_data) if arg == "DATA" else arg for arg in args))
    assert status == 2 and says in err and len(err.splitlines()) == 1


def test_answers_of_a_file_cannot_be_tried(card_data, call):
    status, _, err = call("sft", "--data", card_data, "--steps", 1, "--transcripts", 1)
    assert status == 2 and "leave out --transcripts" in err.splitlines()[-1]


# --- pictures ------------------------------------------------------------------------------


def picture(path, size=40, form=None):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (size, size), "green").save(path, form)
    return path


def test_examples_with_pictures(tmp_path, processor):
    picture(tmp_path / "cards/1.png")
    picture(tmp_path / "cards/2.jpg")
    rows = [
        card_row(hand, shown=False, image=image)
        for hand, image in zip(hands(2), ("cards/1.png", ["cards/2.jpg"]), strict=True)
    ]
    for entry in rows:
        entry["conversations"][0]["value"] = "<image>\n" + entry["conversations"][0]["value"]
    data = saved(tmp_path / "d.json", rows)
    found, _ = given_to(str(data), "gp-vl")
    assert [e.images for e in found] == [
        (tmp_path / "cards/1.png",),
        (tmp_path / "cards/2.jpg",),
    ]
    template, good = learn(found)
    assert good == 2 and "Cards: in the picture" in template.prompt
    make_task("gp-vl", prompt=template)
    shown, pixels = picture_demonstrations(processor, Given(pictures=True), found)
    assert len(shown) == 2 and len(pixels["pixel_values"]) == 2


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("cards/none.png", "image none.png is missing"),
        ("cards/text.png", "image text.png is no JPEG or PNG"),
        ("cards/other.png", "image other.png is no JPEG or PNG"),
        ("cards/small.png", "image small.png is smaller than 16 x 16"),
        ("../1.png", "image '../1.png' lies outside the file's folder"),
        ("/1.png", "image '/1.png' lies outside"),
        (["cards/1.png", "cards/1.png"], "2 pictures; a task with pictures shows one"),
        ([], "1 markers <image> for 0 pictures"),
        ([3], "image is not a path or a list of paths"),
        ({"path": "x"}, "image is not a path or a list of paths"),
    ],
)
def test_bad_pictures(image, says, tmp_path):
    picture(tmp_path / "cards/1.png")
    picture(tmp_path / "cards/small.png", 9)
    picture(tmp_path / "cards/other.png", form="GIF")
    (tmp_path / "cards/text.png").write_text("no picture")
    rows = [row("<image>\nq", "a", image="cards/1.png"), row("<image>\nq", "a", image=image)]
    if isinstance(image, list) and len(image) == 2:
        rows[1]["conversations"][0]["value"] = "<image>\n<image>\nq"
    path = saved(tmp_path / "d.json", rows)
    with pytest.raises(DataError) as error:
        read_sft_data(path, pictures=True)
    assert str(error.value).startswith(f"{path}, entry 1: ") and says in str(error.value)
    with pytest.warns(UserWarning, match="entry 1"):
        assert len(read_sft_data(path, skip_bad=True, pictures=True)) == 1


def test_pictures_as_in_the_release():
    cards = make_task("gp-vl", "id", picture="release")
    look = cards.look
    assert (cards.size, look.layout, look.noise, look.suits) == (1200, "row", 0, "black")
    shown = cards.picture(cards.sample(random.Random(0)))
    assert shown.size == (1200, 1200)
    views = make_task("virl-vl", "id", picture="release")
    shown = views.picture(views.sample(random.Random(0)))
    assert shown.size == (2405, 2405)
    black = [shown.getpixel((x, 10)) == (0, 0, 0) for x in range(1199, 1207)]
    assert black == [False, *[True] * 5, False, False] and shown.getpixel((10, 1202)) == (0, 0, 0)
    assert Run("sft", task="gp-vl", picture="release").make("ood-visual").look.suits == "red"
