"""Make the chapters: source/NN_name.py -> NN_name.ipynb, executed, with measured times.

    python notebooks/build.py [NN ...]     all chapters, or those whose name starts so

A chapter's source is a jupytext py:percent file. @@MINUTES@@ and @@MEMORY@@ become what
the execution here took, @@BADGES@@ the links that open this very file elsewhere.
"""

from __future__ import annotations

import csv
import os
import resource
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
TIMES = HERE.parent / "results" / "chapters.csv"


def badges(name: str) -> str:
    """Links to this file; the repository's address is set in pyproject.toml only."""
    return f"[This chapter's source](source/{name}.py)"


def fill(notebook: nbformat.NotebookNode, marks: dict[str, str]) -> None:
    """Replace the marks in the markdown cells."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for mark, text in marks.items():
                cell.source = cell.source.replace(f"@@{mark}@@", text)


def convert(source: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook, not executed, marks still in place."""
    notebook = jupytext.read(source)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
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
    fill(
        notebook,
        {
            "MINUTES": f"{max(minutes, 0.5):.1f} minutes",
            "MEMORY": f"{memory:.1f} GiB",
            "BADGES": badges(source.stem),
        },
    )
    nbformat.write(notebook, HERE / f"{source.stem}.ipynb")
    rows = dict(csv.reader(TIMES.open())) if TIMES.exists() else {"chapter": "minutes"}
    rows[source.stem] = f"{minutes:.2f}"
    with TIMES.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows.items())


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:]) or ("",)
    chapters = [p for p in sorted((HERE / "source").glob("[0-9]*.py")) if p.name.startswith(wanted)]
    for chapter in tqdm(chapters, "chapters"):
        build(chapter)
