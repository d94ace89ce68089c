"""Writes the layout in CONTRIBUTING.md: a line for each module, the first sentence it says.

python docs/layout.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"(?<=```text\n)sftrl_lite/.*?(?=```)", re.DOTALL)


def says(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0].rstrip(":")


def layout(package: Path = ROOT / "sftrl_lite") -> str:
    """The package as a tree: a folder stands before its modules, both with what they say."""
    rows = [(f"{package.name}/", package / "__init__.py")]
    rows += [(f"  {p.name}", p) for p in sorted(package.glob("*.py")) if p.stem != "__init__"]
    for room in sorted(path.parent for path in package.glob("*/__init__.py")):
        rows.append((f"  {room.name}/", room / "__init__.py"))
        rows += [(f"    {p.name}", p) for p in sorted(room.glob("*.py")) if p.stem != "__init__"]
    wide = max(len(name) for name, _ in rows)
    return "".join(f"{name:{wide}}  {says(path)}\n" for name, path in rows)


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: layout(), page), "utf-8")
