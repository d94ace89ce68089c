"""Every exercise of every chapter: complete, undone as shipped, solved by its solution."""

import ast
import contextlib
import io
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")

SOURCES = sorted((Path(__file__).parents[1] / "notebooks/source").glob("*.py"))
HEADING = re.compile(r"### Exercise (\d+\.\d+): \S")
DIFFICULTY = re.compile(r"^Difficulty [●○]{5} · \d+ minutes?$", re.MULTILINE)
FENCED_OR_HEADING = re.compile(r"^```.*?^```|^#{1,3} ", re.MULTILINE | re.DOTALL)
DETAILS = r"<details>\s*<summary>{}</summary>(.*?)</details>"
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


@dataclass
class Exercise:
    """What one heading announces, as text."""

    chapter: str
    name: str
    imports: str  # of all code cells before it
    text: str  # markdown up to the next heading
    code: list[str]  # code cells up to the next heading

    def fold(self, title: str) -> str:
        """The body of a ``<details>`` block, empty if there is none."""
        found = re.search(DETAILS.format(title), self.text, re.DOTALL)
        return found[1].strip() if found else ""

    @property
    def solution(self) -> str:
        """All code blocks of the solution."""
        return "\n\n".join(PYTHON.findall(self.fold("Solution")))


def imports(code: str) -> str:
    """The import statements of a cell; IPython's magics are left out."""
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
    nodes = ast.parse("\n".join(lines)).body
    return "\n".join(ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))


def sections(markdown: str) -> list[str]:
    """A markdown cell cut before each heading; a # inside a code fence is no heading."""
    starts = [m.start() for m in FENCED_OR_HEADING.finditer(markdown) if m[0].startswith("#")]
    cuts = [0, *starts, len(markdown)]
    return [markdown[a:b] for a, b in pairwise(cuts) if a < b]


def read(path: Path) -> list[Exercise]:
    """The exercises of a chapter, in order."""
    known, found, current = [], [], None
    for cell in jupytext.read(path, fmt="py:percent").cells:
        if cell.cell_type == "code":
            if current:
                current.code.append(cell.source)
            known.append(imports(cell.source))
            continue
        for text in sections(cell.source):
            if heading := HEADING.match(text):
                current = Exercise(path.stem, heading[1], "\n".join(filter(None, known)), text, [])
                found.append(current)
            elif text.startswith("#"):
                current = None
            elif current:
                current.text += "\n" + text
    return found


EXERCISES = [exercise for path in SOURCES for exercise in read(path)]
each = pytest.mark.parametrize(
    "exercise", EXERCISES, ids=[f"{e.chapter[:2]}-{e.name}" for e in EXERCISES]
)


def run(*cells: str) -> str:
    """Execute cells in one fresh namespace; returns what the last one printed."""
    space = {"__name__": "__exercise__"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells[:-1]:
            exec(compile(cell, "<cell>", "exec"), space)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(cells[-1], "<test>", "exec"), space)
    return printed.getvalue().strip()


@pytest.mark.skipif(not SOURCES, reason="no chapters here")
def test_there_are_exercises():
    assert EXERCISES


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_numbers_follow_the_chapter(path):
    names = [e.name for e in read(path)]
    assert names == [f"{int(path.stem[:2])}.{k}" for k in range(1, len(names) + 1)]


@each
def test_is_complete(exercise):
    assert DIFFICULTY.search(exercise.text), "a line: Difficulty ●●○○○ · 5 minutes"
    stub, test = exercise.code[:2]
    assert "raise NotImplementedError" in stub and '"""' in stub
    assert re.search(rf"with (notebook\.)?exercise\(\"{re.escape(exercise.name)}\"\)", test)
    assert "assert " in test
    assert exercise.fold("Hint")
    assert exercise.solution and "NotImplementedError" not in exercise.solution


@each
def test_stub_is_typed_and_explained(exercise):
    stub = ast.parse(exercise.code[0])
    defined = [n for n in ast.walk(stub) if isinstance(n, ast.FunctionDef) and n.name != "__init__"]
    assert defined
    for function in defined:
        names = [a for a in function.args.args if a.arg != "self"]
        assert function.returns is not None and all(a.annotation for a in names)
    assert all(ast.get_docstring(function) for function in defined)


@each
def test_as_shipped_it_is_not_done(exercise):
    printed = run(exercise.imports, *exercise.code[:2])
    assert printed == f"Exercise {exercise.name}: not done yet."


@each
def test_solution_passes(exercise):
    printed = run(exercise.imports, exercise.code[0], exercise.solution, exercise.code[1])
    assert printed == f"Exercise {exercise.name}: passed."


# --- wrong solutions --------------------------------------------------------------------

WRONG = Path(__file__).parent / "wrong_solutions"
HEADER = re.compile(r"^# %% (\d+\.\d+) \| (.+)$", re.MULTILINE)


def wrong_solutions(path: Path) -> list[tuple[str, str, str]]:
    """Exercise, part of the expected message and code of each block of a file."""
    parts = HEADER.split(path.read_text(encoding="utf-8"))[1:]
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))


MISTAKES = [mistake for path in sorted(WRONG.glob("*.py")) for mistake in wrong_solutions(path)]
BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


@pytest.mark.parametrize(
    ("name", "message", "code"), MISTAKES, ids=[f"{n}: {m}" for n, m, _ in MISTAKES]
)
def test_a_wrong_solution_fails_with_a_message_that_teaches(name, message, code):
    exercise = BY_NAME[name]
    printed = run(exercise.imports, exercise.code[0], code, exercise.code[1])
    assert printed.startswith(f"Exercise {name}: not right yet. ")
    assert message in printed


@each
def test_there_are_eight_wrong_solutions(exercise):
    mine = {code for name, _, code in MISTAKES if name == exercise.name}
    assert len(mine) >= 8
