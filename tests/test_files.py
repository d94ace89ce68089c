"""Files and folders are the old ones or the new ones, whatever stops the writing."""

import os
from pathlib import Path

import pytest

from sftrl_lite import files
from sftrl_lite.files import is_sealed, remove, seal, whole


class Stopped(BaseException):
    """The process is killed here: nothing that follows runs."""


def folder(path, word):
    path.mkdir()
    for name in "ab":
        (path / name).write_text(word)


def word_of(path):
    """The word that all files of a folder hold."""
    (word,) = {(path / name).read_text() for name in "ab"}
    return word


def write(path, word):
    with whole(path) as draft:
        folder(draft, word)


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_folder_that_is_replaced_is_the_old_or_the_new(exchange, at, tmp_path, monkeypatch):
    """Killed at each touch; where folders cannot change places, the next start mends."""
    path, touched = tmp_path / "best", 0
    write(path, "old")

    def stopping(inner):
        def outer(*args, **options):
            nonlocal touched
            touched += 1
            if touched >= at:  # nothing at all after that moment
                raise Stopped
            return inner(*args, **options)

        return outer

    with monkeypatch.context() as patch:
        if not exchange:
            patch.setattr(files, "_exchange", lambda one, other: False)
        for module, name in [(files, "remove"), (os, "rename"), (os, "replace"), (files, "_sync")]:
            patch.setattr(module, name, stopping(getattr(module, name)))
        killed = False
        try:
            write(path, "new")
        except Stopped:
            killed = True
    if exchange:
        assert word_of(path) in ("old", "new")
    elif not path.exists():
        assert word_of(path.with_name(".best.old")) == "old"
    with pytest.raises(ZeroDivisionError), whole(path):
        raise ZeroDivisionError  # another start, which fails: the old or the new one is there
    assert word_of(path) in (("old", "new") if killed else ("new",))
    write(path, "newest")
    assert word_of(path) == "newest" and [p.name for p in tmp_path.iterdir()] == ["best"]


WAYS = {"file": (Path.write_text, Path.read_text), "folder": (folder, word_of)}


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize(("make", "read"), WAYS.values(), ids=WAYS)
def test_copies_that_somebody_keeps_beside_it_survive(make, read, present, tmp_path, monkeypatch):
    """As after ``mv ledger.csv ledger.csv.old``, which a message advises."""
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for name in ("x", "x.old", "x.part")[not present :]:
        make(tmp_path / name, name)
    with whole(tmp_path / "x") as draft:
        make(draft, "new")
    found = {path.name: read(path) for path in tmp_path.iterdir()}
    assert found == {"x": "new", "x.old": "x.old", "x.part": "x.part"}


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize(("make", "read"), WAYS.values(), ids=WAYS)
def test_what_a_link_leads_to_is_replaced(make, read, exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    link, there = tmp_path / "x", tmp_path / "large" / "x"
    there.parent.mkdir()
    link.symlink_to(there)  # to nothing yet
    for word in ("old", "new"):
        with whole(link) as draft:
            make(draft, word)
        assert link.is_symlink() and read(there) == word
    assert [*there.parent.iterdir()] == [there] and {*tmp_path.iterdir()} == {link, there.parent}
    remove(link)
    assert [*tmp_path.iterdir()] == [there.parent] and read(there) == "new"


def test_folders_change_places_in_one_act(tmp_path):
    folder(tmp_path / "one", "1")
    folder(tmp_path / "other", "2")
    if not files._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system or its disk cannot")
    assert word_of(tmp_path / "one") == "2" and word_of(tmp_path / "other") == "1"
    assert not files._exchange(tmp_path / "one", tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 2**20, 2**20 + 7])
def test_any_bit_of_a_sealed_file_counts(size, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(size))
    assert not is_sealed(path)  # nobody has sealed it
    seal(path)
    content = path.read_bytes()
    assert is_sealed(path) and content[:size] == bytes(size)
    for place in {0, size // 2, size, size + 31}:
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        assert not is_sealed(path)
    for other in (content[:-1], content + b"x", b""):
        path.write_bytes(other)
        assert not is_sealed(path)
