"""Files and folders that appear whole or not at all, whatever stops the process.

A process can be killed, and a disk can be full, in the middle of any write. So everything that
a later start relies on is written beside its place and then renamed, which is one act.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no room: on the disk, in the quota, in a file
TORCH_FULL = ("unexpected pos ", "PytorchStreamWriter failed")  # torch's words for the same
SUM = ".sha256"  # ends the name of a file that holds another's sum
SEAL = 32  # bytes of a SHA-256


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write to the draft that this gives; at the end it becomes ``path``, a file or a folder.

    What stood there is replaced; where that is a link, what it leads to. If writing fails the draft
    is removed and ``path`` is as before. The content is on the disk before the name is, so that a
    power cut leaves no empty file.
    """
    path = Path(os.path.realpath(path))  # renamed onto, a link would be lost
    # NAME.old may be somebody's own copy: these are names that nobody gives
    draft, before = (path.with_name(f".{path.name}{end}") for end in (".part", ".old"))
    if before.exists() and not path.exists():  # of a process that was killed, as is the draft
        os.rename(before, path)
    remove(draft)
    remove(before)
    try:
        yield draft
        sync(draft)
        if not (draft.is_dir() and path.is_dir()):
            os.replace(draft, path)
        elif not _exchange(draft, path):  # a folder cannot be renamed onto another
            os.rename(path, before)
            os.rename(draft, path)
            remove(before)
        _sync(path.parent)
    finally:
        remove(draft)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one act; False where the system or its disk cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return library.renamex_np(*names, 2) == 0  # RENAME_SWAP
        here = -100  # AT_FDCWD
        return library.renameat2(here, names[0], here, names[1], 2) == 0  # RENAME_EXCHANGE
    except (AttributeError, OSError, TypeError):  # no such function, no such library: Windows
        return False


def sync(path: Path) -> None:
    """Have a file, or a folder with all that is in it, written to the disk."""
    for inside in path.rglob("*") if path.is_dir() else ():
        _sync(inside)
    _sync(path)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows opens no folder
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a network disk may not know it for folders
            raise
    finally:
        os.close(number)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists() or path.is_symlink():
        path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as whole as ``whole`` makes it."""
    with whole(path) as draft:
        draft.write_bytes(content)


def write_summed(path: Path, content: bytes) -> None:
    """Write a file that ``check_summed`` can check, as whole as ``whole`` makes it.

    ``NAME.sha256`` beside it lists what it was and what it is to be: killed between the two
    writes, it is one of them.
    """
    with whole(path) as draft:
        draft.write_bytes(content)
        sums = [sha256(file) for file in (path, draft) if file.exists()]
        with whole(path.with_suffix(SUM)) as note:
            note.write_text("\n".join(sums), "utf-8")


def check_summed(path: Path, advice: str) -> None:
    """Whether a file is what ``write_summed`` wrote, as far as that is noted.

    Args:
        advice: what to do if it is not.

    Raises:
        ValueError: it has changed since.
    """
    note = path.with_suffix(SUM)
    if path.is_file() and note.is_file() and sha256(path).encode() not in note.read_bytes().split():
        raise ValueError(f"{path} is damaged ({note.name} has another SHA-256); {advice}")


def seal(path: Path) -> None:
    """Add a file's SHA-256 at its end. torch reads such a file as if it were not there."""
    found = bytes.fromhex(sha256(path))
    with path.open("ab") as file:
        file.write(found)


def is_sealed(path: Path) -> bool:
    """Whether a file is, to the last bit, what ``seal`` saw."""
    found, left = hashlib.sha256(), path.stat().st_size - SEAL
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 2**20))):
            found.update(block)
            left -= len(block)
        return file.read() == found.digest()


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's content as it is now, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path | str) -> str:
    """SHA-256 of a file's content, kept until the file changes: a large one takes seconds."""
    about = os.stat(path)
    return _digest(os.path.realpath(path), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _digest(path: str, changed: int, size: int) -> str:
    return sha256(path)


@contextmanager
def damage_in_one_line(path: Path, advice: str) -> Iterator[None]:
    """Whatever a library says to a damaged file, say it in one line.

    Args:
        advice: what to do about it. It is not given where the file may be whole.

    Raises:
        ValueError: ``path`` is damaged.
        OSError: it cannot be read.
        MemoryError, torch.OutOfMemoryError: there is no room for it.
    """
    import torch  # late: most of what needs this module does without it

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a broken file makes its reader raise almost anything
        raise ValueError(f"{path} is damaged; {advice}") from error


@contextmanager
def full_disk_in_one_line(folder: Path) -> Iterator[None]:
    """Whatever a library says when the disk is full, say it in one line.

    torch and safetensors write by themselves and raise errors of their own in which the
    system's reason is kept as text, or is the error that theirs came from.

    Raises:
        OSError: there is no room for what is being written to ``folder``.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            number = getattr(cause, "errno", None)
            words = [*TORCH_FULL, *(f"(os error {n})" for n in FULL)]
            if number in FULL or any(word in str(cause) for word in words):
                raise OSError(
                    f"{folder}: no room left on the disk; what was done stays, "
                    f"make room and start the same command again"
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise
