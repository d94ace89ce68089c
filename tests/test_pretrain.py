"""The base's corpus says what its card promises, and its making can be interrupted."""

import json
import random
from contextlib import contextmanager

import pytest
import torch

from sftrl_lite import corpus as reading
from sftrl_lite import models, pretrain
from sftrl_lite.corpus import HOMEWORK, PICTURE_HOMEWORK, TEXTBOOK, Corpus, write_chat
from sftrl_lite.general_points import vocabulary
from sftrl_lite.models import make_tokenizer
from sftrl_lite.pretrain import Stage, make_base, newborn
from sftrl_lite.vision import pictures_of

RULE = "J counts as {}, Q counts as {} and K counts as {}"


def chats(corpus, n, seed=0):
    rng = random.Random(seed)
    return [write_chat(corpus, rng) for _ in range(n)]


def test_the_held_out_rules_never_occur():
    prompts = [chat[0]["content"] for chat in chats(TEXTBOOK, 3000)]
    assert not any(RULE.format(11, 12, 13) in p for p in prompts)
    assert not any(RULE.format(13, 11, 12) in p for p in prompts)
    common = sum(RULE.format(10, 10, 10) in p for p in prompts) / len(prompts)
    assert 0.12 < common < 0.19


def test_textbook_answers_are_solved_at_once():
    for chat in chats(TEXTBOOK, 200):
        assert [m["role"] for m in chat] == ["user", "assistant"]


def test_students_read_right_and_guess_as_often_as_stated():
    written = chats(HOMEWORK, 1500)
    firsts = [json.loads(chat[1]["content"]) for chat in written]
    for chat, answer in zip(written, firsts, strict=True):
        words = chat[0]["content"]
        values = {f: int(words.split(f"{f} counts as ")[1].split()[0].strip(",.")) for f in "JQK"}
        pips = {str(i): i for i in range(2, 11)} | {"A": 1} | values
        assert answer["number"] == [pips[card] for card in answer["cards"]]
    solved = sum(len(chat) == 2 for chat in written) / len(written)
    assert 1 - HOMEWORK.guess - 0.05 < solved < 1 - HOMEWORK.guess + 0.08  # some guesses hit
    assert max(len(chat) for chat in written) == 2 * HOMEWORK.tries


def test_every_chat_is_covered_by_the_tokenizer():
    tokenizer = make_tokenizer(vocabulary())
    for chat in chats(HOMEWORK, 500):
        ids = tokenizer.apply_chat_template(chat, return_dict=False)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(chat, tokenize=False)


@contextmanager
def interrupted_after(steps, monkeypatch):
    """Pre-training stops in its step number ``steps``, as if by Ctrl-C."""
    real, seen = pretrain.learn, []

    def interrupted(*args):
        for loss in real(*args):
            seen.append(loss)
            if len(seen) == steps:
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(pretrain, "learn", interrupted)
    yield
    monkeypatch.setattr(pretrain, "learn", real)


def test_an_interrupted_pretraining_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    stages = (Stage("a", TEXTBOOK, 3, 1e-3, 4), Stage("b", Corpus(guess=0.5, tries=2), 5, 1e-3, 4))
    whole = make_base(tmp_path / "whole", seed=1, threads=1, stages=stages)

    with interrupted_after(3 + 4, monkeypatch), pytest.raises(KeyboardInterrupt):
        make_base(tmp_path / "cut", seed=1, threads=1, stages=stages)
    assert not (tmp_path / "cut").exists()
    again = make_base(tmp_path / "cut", seed=1, threads=1, stages=stages)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_shipped_base_is_whole_and_knows_its_corpus():
    folder = models.ROOT / "data" / "tiny-gp-l"
    model, tokenizer = models.load(folder)
    assert tokenizer.get_vocab() == make_tokenizer(vocabulary()).get_vocab()
    assert sum(f.stat().st_size for f in folder.iterdir()) < 10e6
    assert sum(p.numel() for p in model.parameters()) < 1e6


# --- the base for pictures -------------------------------------------------------------


def test_the_newborn_that_sees_reads_text_as_its_parent_does():
    model, processor = newborn("gp-vl")
    parent, old = models.load(models.ROOT / pretrain.GROWS_FROM["gp-vl"])
    chat = chats(HOMEWORK, 1, seed=4)[0]
    ids = old.apply_chat_template(chat, return_dict=False)
    new = processor.tokenizer.apply_chat_template(chat, return_dict=False)
    assert processor.tokenizer.decode(new) == old.decode(ids)
    pieces = old.convert_ids_to_tokens(range(len(old)))
    columns = torch.tensor(processor.tokenizer.convert_tokens_to_ids(pieces))
    with torch.no_grad():
        want = parent(input_ids=torch.tensor([ids])).logits
        found = model(input_ids=torch.tensor([new])).logits[..., columns]
    assert torch.allclose(found, want, atol=1e-5)
    assert columns.tolist() != list(range(len(old)))  # else there would be nothing to map


def test_the_newborn_that_sees_has_its_gates_half_open():
    model, _ = newborn("gp-vl")
    gates = {n: p for n, p in model.named_parameters() if "cross_attn" in n and "gate" in n}
    assert {name.rsplit(".", 1)[-1]: gate.tolist() for name, gate in gates.items()} == {
        "cross_attn_attn_gate": [0.5],
        "cross_attn_mlp_gate": [0.5],
    }


def test_students_misread_pictures_as_often_as_stated(monkeypatch):
    seen = []  # the hands, in the place of their pictures
    monkeypatch.setattr(reading.GeneralPoints, "picture", lambda task, hand: seen.append(hand))
    calm = Corpus(guess=0.5, tries=1, suits=("black", "red"), misread=PICTURE_HOMEWORK.misread)
    rng, wrong, n = random.Random(0), 0, 300
    for _ in range(n):
        cards = json.loads(write_chat(calm, rng)[1]["content"])["cards"]
        others = sum(a != b for a, b in zip(cards, seen.pop().cards, strict=True))
        assert others <= 1  # one card for another, never more
        wrong += others
    assert 0.75 * calm.misread < wrong / n < 1.25 * calm.misread


def test_picture_chats_show_their_hand():
    written = chats(PICTURE_HOMEWORK, 5)
    assert {picture.size for picture in pictures_of(written)} == {(pretrain.PICTURE_SIZE,) * 2}
    assert all("Cards:" not in chat[0]["content"][1]["text"] for chat in written)


def test_an_interrupted_pretraining_on_pictures_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    monkeypatch.setattr(pretrain, "SEE_STEPS", 1)
    corpus = Corpus(guess=0.5, tries=2, suits=("black", "red"), misread=0.3)
    stages = (Stage("a", corpus, 2, 1e-3, 2), Stage("b", corpus, 3, 1e-3, 2))
    whole = make_base(tmp_path / "whole", "gp-vl", seed=1, threads=1, stages=stages)

    with interrupted_after(2 + 3, monkeypatch), pytest.raises(KeyboardInterrupt):
        make_base(tmp_path / "cut", "gp-vl", seed=1, threads=1, stages=stages)
    again = make_base(tmp_path / "cut", "gp-vl", seed=1, threads=1, stages=stages)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
