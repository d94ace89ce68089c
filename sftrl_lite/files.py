"""Files and folders that appear whole or not at all, whatever stops the process.

A process can be killed, and a disk can be full, in the middle of any write. So everything that
a later start relies on is written beside its place and then renamed, which is one act.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no room: on the disk, in the quota, in a file


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write to the draft that this gives; at the end it becomes ``path``, a file or a folder.

    What stood there is replaced. If writing fails the draft is removed and ``path`` is as before.
    """
    draft = path.with_name(path.name + ".part")
    remove(draft)  # of a process that was killed
    try:
        yield draft
        if draft.is_dir():  # a folder cannot be renamed onto another
            remove(path)
        os.replace(draft, path)
    except BaseException:
        remove(draft)
        raise


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def digest(path: Path | str) -> str:
    """SHA-256 of a file's content, kept until the file changes: a large one takes seconds."""
    about = os.stat(path)
    return _digest(os.path.realpath(path), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _digest(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def full_disk_in_one_line(folder: Path) -> Iterator[None]:
    """Whatever a library says when the disk is full, say it in one line.

    torch and safetensors write by themselves and raise errors of their own in which the
    system's reason stands as text, or is the error that theirs came from.

    Raises:
        OSError: there is no room for what is being written to ``folder``.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            number = getattr(cause, "errno", None)
            if number in FULL or any(f"(os error {n})" in str(cause) for n in FULL):
                raise OSError(
                    f"{folder}: no room left on the disk; what was done stays, "
                    f"make room and start the same command again"
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise
