"""Make the chapters: source/NN_name.py -> NN_name.ipynb, executed, with measured times.

    python notebooks/build.py [NN ...]              all chapters, or those whose name starts so
    python notebooks/build.py --text [NN ...]       renew text and links, keep code and outputs
    python notebooks/build.py --solutions [NN ...]  solutions/NN_name_solutions.ipynb, not executed

A chapter's source is a jupytext py:percent file. @@MINUTES@@ and @@MEMORY@@ become what
the execution here took, @@PLANNED@@ what the chapter's training takes on a T4 by the plan
(python -m sftrl_lite.planning.fit), @@BADGES@@ the links that open this very file elsewhere.
The first code cell gets three lines in front that fetch the course on Colab and Kaggle. These
two need the repository's address, which stands in pyproject.toml.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import re
import resource
import sys
import time
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
TIMES = HERE.parent / "results" / "chapters.csv"
PLANNED = HERE.parent / "results" / "chapters-t4.csv"
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
HOME = PROJECT.get("urls", {}).get("Repository", "")  # the one place that knows the address
PLATFORMS = "package lists of Colab (19 August 2026) and Kaggle (14 May 2026)"  # tests/colab.txt

UNPUBLISHED = """\
*Colab and Kaggle*: no links, because this copy does not say where it is published. Set
`Repository` under `[project.urls]` in `pyproject.toml`, then run
`python notebooks/build.py --text`. Words are explained in `docs/glossary.md`, errors in
`docs/troubleshooting.md`."""
IMPORT = "from sftrl_lite.course import notebook"
MISSING = "  # not found? open the chapter by: make lab"
FOLD = re.compile(r"<details>\s*<summary>Solution</summary>(.*?)</details>\n*", re.DOTALL)
LINK = re.compile(r"\]\((\d\d_\w+\.ipynb)\)")
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def bootstrap(home: str) -> str:
    """Lines that fetch the course on Colab and Kaggle; none without an address."""
    if not home:
        return ""
    return f"""\
import os  # Colab and Kaggle fetch the course here, once; elsewhere nothing happens
if os.getcwd() in ("/content", "/kaggle/working") and not os.path.exists("sftrl_lite"):
    os.environ["GIT_TERMINAL_PROMPT"] = "0"  # nobody is asked for a password
    !test -d {home.rpartition("/")[2]} || git clone -q {home}
    !sh {home.rpartition("/")[2]}/hosted.sh
"""


def badges(file: str, source: str, home: str = HOME) -> str:
    """Links that open ``file`` of this repository on Colab and on Kaggle, source and help.

    Args:
        file, source: paths from the repository's root.
        home: the repository's address; without one a line says where to set it.
    """
    if not home:
        return UNPUBLISHED
    page = f"{home}/blob/main/{file}"
    colab = f"https://colab.research.google.com/github/{page.removeprefix('https://github.com/')}"
    kaggle = f"https://www.kaggle.com/kernels/welcome?src={page}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})\n"
        f"[source]({home}/blob/main/{source}), [glossary]({home}/blob/main/docs/glossary.md),\n"
        f"[troubleshooting]({home}/blob/main/docs/troubleshooting.md);\n"
        f"checked against the {PLATFORMS}"
    )


def fill(notebook: nbformat.NotebookNode, marks: dict[str, str]) -> None:
    """Replace the marks in the markdown cells."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for mark, text in marks.items():
                cell.source = cell.source.replace(f"@@{mark}@@", text)


def planned(chapter: str) -> str:
    """What a chapter's training at ``t4`` takes; none of it has been measured yet."""
    minutes = dict(csv.reader(PLANNED.open())).get(chapter, "")
    return f"At `t4` its training takes {minutes} minutes on a T4 (planned, not measured)."


def marks(source: Path, minutes: str, memory: str) -> dict[str, str]:
    """What stands for the marks in a chapter."""
    links = badges(f"notebooks/{source.stem}.ipynb", f"notebooks/source/{source.name}")
    told = {"MINUTES": minutes, "MEMORY": memory, "PLANNED": planned(source.stem)}
    return told | {"BADGES": links}


def codes(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def convert(source: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook, not executed, marks still in place.

    Raises:
        ValueError: the first code cell does not import what sets a chapter up.
    """
    notebook = jupytext.read(source)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        tags = cell.metadata.get("tags")  # by which slides/NN.md names a cell
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    first = codes(notebook)[0]
    if IMPORT not in first.source:
        raise ValueError(f"{source.name}: the first code cell must say {IMPORT!r}")
    first.source = bootstrap(HOME) + first.source.replace(IMPORT, IMPORT + MISSING, 1)
    return notebook


def execute(notebook: nbformat.NotebookNode) -> tuple[float, float]:
    """Run all cells in notebooks/; minutes and GiB (the largest process) that it took."""
    os.environ["SFTRL_STATIC"] = "1"  # widgets as plain HTML, readable without a kernel
    began = time.time()
    NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": HERE}}).execute()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times that would change at every build
        if cell.cell_type == "code":  # drop what is left of progress bars, and warnings
            bar = "application/vnd.jupyter.widget-view+json"
            kept = (o for o in cell.outputs if bar not in o.get("data", {}))
            cell.outputs = [o for o in kept if o.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    return (time.time() - began) / 60, peak


def build(source: Path) -> None:
    """Convert, execute, fill in what was measured, write the notebook."""
    notebook = convert(source)
    minutes, memory = execute(notebook)
    fill(notebook, marks(source, f"{max(minutes, 0.5):.1f} minutes", f"{memory:.1f} GiB"))
    nbformat.write(notebook, HERE / f"{source.stem}.ipynb")
    rows = dict(csv.reader(TIMES.open())) if TIMES.exists() else {"chapter": "minutes"}
    rows[source.stem] = f"{minutes:.2f}"
    with TIMES.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows.items())


def text(source: Path) -> nbformat.NotebookNode:
    """The built chapter with the text of its source as it is now; outputs and times stay.

    Raises:
        ValueError: the code has changed since, so that the chapter must be executed.
    """
    built = nbformat.read(HERE / f"{source.stem}.ipynb", as_version=4)
    notebook = convert(source)

    def bare(cell: nbformat.NotebookNode) -> str:
        return cell.source.replace(MISSING, "")

    old, new = codes(built), codes(notebook)
    first = bare(old[0])[bare(old[0]).find(IMPORT) :]  # whatever bootstrap it was built with
    if [first, *map(bare, old[1:])] != [bare(new[0])[len(bootstrap(HOME)) :], *map(bare, new[1:])]:
        raise ValueError(f"{source.name}: its code has changed, build it without --text")
    for cell, done in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    notebook.metadata = built.metadata
    page = "\n".join(cell.source for cell in built.cells if cell.cell_type == "markdown")
    minutes, memory = re.search(r"\*\*Runtime\*\*.*?([\d.]+ minutes).*?([\d.]+ GiB)", page).groups()
    fill(notebook, marks(source, minutes, memory))
    return notebook


def solved(stub: str, solution: str) -> str:
    """A stub's cell with the solution in it; what else the cell holds stays, as do docstrings."""
    lines, answer = stub.splitlines(), solution.splitlines()
    bodies = {n.name: n for n in ast.parse(solution).body if hasattr(n, "name")}
    for node in reversed(ast.parse(stub).body):
        if (found := bodies.pop(getattr(node, "name", None), None)) is None:
            continue
        start = min([found.lineno, *(d.lineno for d in found.decorator_list)]) - 1
        own = answer[start : found.end_lineno]
        if ast.get_docstring(node) and not ast.get_docstring(found):
            doc = node.body[0]
            at = found.body[0].lineno - 1 - start
            own[at:at] = lines[doc.lineno - 1 : doc.end_lineno]
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        lines[first : node.end_lineno] = own
        answer[start : found.end_lineno] = []
    known = {line for line in lines if line.startswith(("import ", "from "))}
    helpers = "\n".join(line for line in answer if line not in known).strip()
    return (helpers + "\n\n\n" if helpers else "") + "\n".join(lines)


def solutions(source: Path) -> nbformat.NotebookNode:
    """The chapter with every exercise solved, for teachers; not executed."""
    notebook = convert(source)
    stub = None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            stub = cell if "raise NotImplementedError" in cell.source else stub
        elif fold := FOLD.search(cell.source):
            stub.source = solved(stub.source, "\n\n".join(FENCE.findall(fold[1])))
            cell.source = FOLD.sub("", cell.source)
        cell.source = LINK.sub(r"](../\1)", cell.source)  # from one folder further down
    title = notebook.cells[0]
    title.source = title.source.replace("\n", " (solutions)\n", 1)
    title.source = re.sub(r"> \*\*Runtime\*\*.*\n\n", "", title.source)
    file = f"notebooks/solutions/{source.stem}_solutions.ipynb"
    fill(notebook, {"BADGES": badges(file, f"notebooks/source/{source.name}")})
    return notebook


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=[""], help="chapters whose name starts so")
    parser.add_argument("--text", action="store_true", help="renew text, keep code and outputs")
    parser.add_argument("--solutions", action="store_true", help="the teachers' versions")
    asked = parser.parse_args()
    chapters = sorted((HERE / "source").glob("[0-9]*.py"))
    chapters = [c for c in chapters if c.name.startswith(tuple(asked.names))]
    for chapter in tqdm(chapters, "chapters"):
        try:
            if asked.solutions:
                folder = HERE / "solutions"
                folder.mkdir(exist_ok=True)
                nbformat.write(solutions(chapter), folder / f"{chapter.stem}_solutions.ipynb")
            elif asked.text and (HERE / f"{chapter.stem}.ipynb").exists():
                nbformat.write(text(chapter), HERE / f"{chapter.stem}.ipynb")
            elif asked.text:
                print(f"{chapter.stem}: not built yet")
            else:
                build(chapter)
        except (OSError, ValueError) as error:
            sys.exit(f"build: {error}")
