"""Files that only grow, line by line, and a note beside each of what was written.

steps.csv      one line per step
steps.sha256   how many bytes of it were written, and their SHA-256
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sftrl_lite.files import SUM

AGAIN = "delete this folder to start the run again"


def whole_lines(path: Path) -> list[str]:
    """The lines of a file that only grows; what a kill left of another one does not count.

    Raises:
        ValueError: it is no text; names the file.
    """
    content = path.read_bytes() if path.exists() else b""
    try:
        return content[: content.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is damaged: no text; {AGAIN}") from None


class GrowingFile:
    """A file that one process adds lines to; nothing is changed before the first of them.

    ``lines`` are those that it had.

    Raises:
        ValueError: it is no text, or not what was written before; names the file.
    """

    def __init__(self, path: Path):
        self.path, self.note = path, path.with_suffix(SUM)
        self.lines = whole_lines(path)
        content = "".join(f"{line}\n" for line in self.lines).encode()
        self._check(content)
        self.size, self.sum, self.trimmed = len(content), hashlib.sha256(content), False

    def _check(self, content: bytes) -> None:
        if not self.note.exists():
            return
        size, _, found = self.note.read_text("utf-8", "replace").partition(" ")
        if not size.isdecimal() or len(found) != 64:
            raise ValueError(f"{self.note} is damaged; {AGAIN}")
        begin = content[: int(size)]
        if len(begin) < int(size) or hashlib.sha256(begin).hexdigest() != found:
            raise ValueError(
                f"{self.path} is damaged ({self.note.name} has another SHA-256); {AGAIN}"
            )

    def add(self, text: str) -> None:
        """Write one or more whole lines, with their line breaks."""
        self._trim()
        content = text.encode()
        with self.path.open("ab") as file:
            file.write(content)
        self.size += len(content)
        self.sum.update(content)
        self._tell()

    def close(self) -> None:
        """Leave whole lines and a note of all of them, whatever a kill had left."""
        if self.path.exists():
            self._trim()
            self._tell()

    def _trim(self) -> None:
        """Cut off half a line that a kill left."""
        if not self.trimmed and self.path.exists():
            os.truncate(self.path, self.size)
        self.trimmed = True

    def _tell(self) -> None:
        """Write the note; renamed, so never half of it, and not waited for: it comes every step."""
        draft = self.note.with_name(self.note.name + ".part")
        draft.write_text(f"{self.size} {self.sum.hexdigest()}", "utf-8")
        os.replace(draft, self.note)
