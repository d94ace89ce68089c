"""A base's making can be interrupted, and the shipped bases are what they say."""

import errno
import random
from contextlib import contextmanager

import pytest
import torch
from filelock import FileLock

from sftrl_lite import files
from sftrl_lite.models import loading
from sftrl_lite.models.chats import pictures_of
from sftrl_lite.models.tiny import make_tokenizer
from sftrl_lite.tasks.general_points import vocabulary
from sftrl_lite.training import corpus, pretrain
from sftrl_lite.training.corpus import (
    HOMEWORK,
    PICTURE_HOMEWORK,
    TEXTBOOK,
    Corpus,
    write_chat,
)
from sftrl_lite.training.pretrain import Stage, make_base, newborn


def chats(corpus, n, seed=0):
    rng = random.Random(seed)
    return [write_chat(corpus, rng) for _ in range(n)]


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
    careless = Corpus(careless=(0.5,), tries=2)
    stages = (Stage("a", TEXTBOOK, 3, 1e-3, 4), Stage("b", careless, 5, 1e-3, 4))
    whole = make_base(tmp_path / "whole", seed=1, threads=1, stages=stages)

    with interrupted_after(3 + 4, monkeypatch), pytest.raises(KeyboardInterrupt):
        make_base(tmp_path / "cut", seed=1, threads=1, stages=stages)
    assert not (tmp_path / "cut").exists()
    again = make_base(tmp_path / "cut", seed=1, threads=1, stages=stages)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """A call that was interrupted after a checkpoint: where, and with what."""
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 1)
    given = dict(threads=1, stages=(Stage("a", TEXTBOOK, 2, 1e-3, 4),))
    with interrupted_after(2, monkeypatch), pytest.raises(KeyboardInterrupt):
        make_base(tmp_path / "cut", seed=1, **given)
    return tmp_path / "cut", given


def test_the_checkpoint_of_another_task_or_seed_is_refused_and_kept(cut):
    out, given = cut
    path = out.with_name("cut.checkpoint.pt")
    before = path.read_bytes()
    for task, seed in (("gp-l", 2), ("gp-l-hasty", 1)):
        with pytest.raises(ValueError, match=r"pt is of --task gp-l --seed 1; go on with these"):
            make_base(out, task, seed, **given)
    assert path.read_bytes() == before
    make_base(out, seed=1, **given)
    assert not path.exists()


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("large"), OSError(5, "I/O error")],
)
def test_a_checkpoint_that_may_be_whole_is_not_called_damaged(error, cut, monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(type(error)) as caught:
        make_base(cut[0], seed=1, **cut[1])
    said = str(caught.value)
    assert "damaged" not in said and "delete" not in said
    assert not isinstance(error, OSError) or "cut.checkpoint.pt cannot be read: I/O error" in said


def test_a_full_disk_is_one_line(cut, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pretrain, "seal", full)
    with pytest.raises(OSError, match="cut: no room left on the disk; what was done stays"):
        make_base(cut[0], seed=1, **cut[1])


@pytest.mark.parametrize("name", ["runs", "file"])
def test_something_else_is_never_replaced(name, tmp_path):
    (tmp_path / "runs").mkdir()
    for own in ("runs/thesis.txt", "file"):
        (tmp_path / own).write_text("years of work")
    with pytest.raises(ValueError, match=f"{name} holds something else; choose another --out"):
        make_base(tmp_path / name, stages=())
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {tmp_path / "runs/thesis.txt", tmp_path / "file"}


def test_an_empty_folder_and_a_base_are_replaced(tmp_path):
    (tmp_path / "base").mkdir()
    for _ in range(2):
        make_base(tmp_path / "base", stages=())
        loading.load(tmp_path / "base")


def test_a_folder_in_use_is_refused(tmp_path):
    says = "base is in use by another process; wait for it or stop it"
    with FileLock(tmp_path / "base.lock"), pytest.raises(ValueError, match=says):
        make_base(tmp_path / "base", stages=())
    make_base(tmp_path / "base", stages=())


def test_the_shipped_base_is_whole_and_knows_its_corpus():
    folder = files.ROOT / "data" / "tiny-gp-l"
    model, tokenizer = loading.load(folder)
    assert tokenizer.get_vocab() == make_tokenizer(vocabulary()).get_vocab()
    assert sum(f.stat().st_size for f in folder.iterdir()) < 10e6
    assert sum(p.numel() for p in model.parameters()) < 1e6


# --- the base for pictures -------------------------------------------------------------


def test_the_newborn_that_sees_reads_text_as_its_parent_does():
    model, processor = newborn("gp-vl")
    parent, old = loading.load(files.ROOT / pretrain.GROWS_FROM["gp-vl"])
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


def test_picture_chats_show_their_hand():
    written = chats(PICTURE_HOMEWORK, 5)
    assert {picture.size for picture in pictures_of(written)} == {(corpus.PICTURE_SIZE,) * 2}
    assert all("Cards:" not in chat[0]["content"][1]["text"] for chat in written)


def test_an_interrupted_pretraining_on_pictures_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    monkeypatch.setattr(pretrain, "SEE_STEPS", 1)
    corpus = Corpus(careless=(0.5,), tries=2, suits=("black", "red"), misread=(0.3,))
    stages = (Stage("a", corpus, 2, 1e-3, 2), Stage("b", corpus, 3, 1e-3, 2))
    whole = make_base(tmp_path / "whole", "gp-vl", seed=1, threads=1, stages=stages)

    with interrupted_after(2 + 3, monkeypatch), pytest.raises(KeyboardInterrupt):
        make_base(tmp_path / "cut", "gp-vl", seed=1, threads=1, stages=stages)
    again = make_base(tmp_path / "cut", "gp-vl", seed=1, threads=1, stages=stages)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
