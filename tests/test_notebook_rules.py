"""What holds for every built chapter. Each test says which failure it prevents."""

import ast
import base64
import builtins
import csv
import io
import re
import runpy
import symtable
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

from sftrl_lite.planning.estimates import CHAPTERS as TRAINING
from sftrl_lite.planning.estimates import MINUTES

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
each = pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem[:2] for path in CHAPTERS])

RUNTIME = re.compile(
    r"^> \*\*Runtime\*\* at `tiny`: ([\d.]+) minutes on two CPU cores, [\d.]+ GiB", re.M
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HOME = re.compile(r"(?<![\w.:/])(/(home|root|tmp|work|mnt|Users|var/folders)/|[A-Z]:\\\w)")
RELATIVE = re.compile(r"""["']((?:\.{1,2}|data|results|runs)/[^\s"']*)["']""")
SECRET = re.compile(
    r"\bhf_[A-Za-z]{30,}|\bgh[pousr]_\w{30,}|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|(?i:\b(api_?key|passw(or)?d|token)\s*=\s*[\"'][^\"'\s]{8,})"
)


@cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [output for cell in cells(path, "code") for output in cell.outputs]


def prose(path: Path) -> str:
    """All markdown, without code fences."""
    return "\n\n".join(FENCE.sub("", cell.source) for cell in cells(path, "markdown"))


def words(path: Path) -> list[str]:
    """Everything readable: sources and outputs, without the bytes of pictures."""
    found = [cell.source for cell in read(path).cells]
    for output in outputs(path):
        found += [output.get("text", "")]
        found += [t for k, t in output.get("data", {}).items() if k.startswith("text/")]
    return [re.sub(r"base64,[A-Za-z0-9+/=]+", "", text) for text in found]


class Pictures(HTMLParser):
    """The attributes of all pictures of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag in ("img", "svg"):
            self.found.append(dict(attrs))


def unbound(code: str, known: set[str]) -> set[str]:
    """Global names that a cell uses and nothing binds; adds to ``known`` what it binds."""
    python = TransformerManager().transform_cell(code)  # magics and shell lines become calls
    tables = [symtable.symtable(python, "cell", "exec")]
    known |= {s.get_name() for s in tables[0].get_symbols() if s.is_assigned() or s.is_imported()}
    used = set()
    for table in tables:  # grows on the way
        tables += table.get_children()
        top = table.get_type() == "module"
        used |= {
            s.get_name()
            for s in table.get_symbols()
            if s.is_referenced() and (top or s.is_global())
        }
    return used - known


def opening(path: Path) -> str:
    """The markdown before the first code cell."""
    first = [cell.cell_type for cell in read(path).cells].index("code")
    return "\n\n".join(cell.source for cell in read(path).cells[:first])


def source_cells(path: Path) -> list[nbformat.NotebookNode]:
    """What notebooks/build.py makes of the chapter's source, before it is executed."""
    pytest.importorskip("jupytext")
    build = runpy.run_path(str(ROOT / "notebooks" / "build.py"))
    return build["convert"](ROOT / "notebooks" / "source" / f"{path.stem}.py").cells


# --- a file that opens everywhere ---------------------------------------------------------


def test_there_are_chapters():
    # Prevents: a renamed folder makes every rule below pass on nothing.
    assert CHAPTERS


@each
def test_is_a_valid_notebook(path):
    # Prevents: "Unreadable notebook" in JupyterLab, an empty page on GitHub.
    nbformat.validate(read(path))


@each
def test_is_small(path):
    # Prevents: GitHub's "Sorry, something went wrong", and minutes of loading in Colab.
    assert path.stat().st_size <= 2**20, f"{path.stat().st_size / 2**20:.1f} MB"


@each
def test_holds_no_widget_state(path):
    # Prevents: "Error displaying widget" for readers without the kernel that made it.
    assert "widgets" not in read(path).metadata
    assert not [o for o in outputs(path) if any("widget" in k for k in o.get("data", {}))]


@each
def test_holds_no_path_of_a_machine(path):
    # Prevents: cells that run on their author's machine only, and outputs that name it.
    assert not [found[0] for text in words(path) if (found := HOME.search(text))]


@each
def test_opens_from_any_folder(path):
    # Prevents: FileNotFoundError where JupyterLab, Colab or nbmake start elsewhere.
    for cell in cells(path, "code"):
        assert not RELATIVE.findall(cell.source), "begin at sftrl_lite.models.ROOT"


@each
def test_holds_no_secret(path):
    # Prevents: a token that was pasted once and can be read by everybody for ever.
    assert not [found[0][:6] for text in words(path) if (found := SECRET.search(text))]


# --- executed, from top to bottom, as its source says -------------------------------------


@each
def test_was_executed_in_order(path):
    # Prevents: outputs that a run from the top would not give.
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))


@each
def test_shows_no_error(path):
    # Prevents: a learner who sees a traceback or a warning and thinks that it is theirs.
    bad = [o for o in outputs(path) if o.output_type == "error" or o.get("name") == "stderr"]
    assert not bad


@each
def test_says_what_its_source_says(path):
    # Prevents: a correction of one of the two files that the next build undoes.
    source, built = source_cells(path), read(path).cells
    assert [c.cell_type for c in built] == [c.cell_type for c in source]
    for number, (ours, theirs) in enumerate(zip(source, built, strict=True)):
        pattern = re.sub(r"@@[A-Z]+@@", ".+", re.escape(ours.source))
        assert re.fullmatch(pattern, theirs.source, re.DOTALL), f"cell {number}"


@each
def test_names_are_bound_before_they_are_used(path):
    # Prevents: NameError on a fresh kernel, from a name that only a later cell binds.
    known = {*dir(builtins), "display", "get_ipython", "__name__"}
    for number, cell in enumerate(cells(path, "code"), 1):
        assert not unbound(cell.source, known), f"code cell {number}"


@pytest.mark.parametrize(
    "code, missing",
    [
        ("a = 1\nprint(a)", set()),
        ("print(a)", {"a"}),
        ("def f(x):\n    return x + late", {"late"}),
        ("if True:\n    !ls\n[i for i in range(3)]", set()),
        ("from os import path as p\nclass A:\n    b = p\nA().b", set()),
    ],
)
def test_unbound_names_are_found(code, missing):
    assert unbound(code, {*dir(builtins), "get_ipython"}) == missing


# --- its form -----------------------------------------------------------------------------


@each
def test_has_one_title_and_no_gap_in_its_headings(path):
    # Prevents: a broken outline, for the table of contents and for screen readers.
    levels = [len(h) for h in re.findall(r"^(#+) ", prose(path), re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels)), levels


@each
def test_begins_with_objectives(path):
    # Prevents: an hour spent before one knows what the chapter was for.
    _, _, after = opening(path).partition("## What you will be able to do\n")
    assert 3 <= len(re.findall(r"^- \S", after.partition("\n#")[0], re.MULTILINE)) <= 6


@each
def test_says_how_long_it_takes(path):
    # Prevents: a lesson planned for ten minutes that runs for forty.
    (told,) = RUNTIME.findall(opening(path))
    measured = dict(csv.reader((ROOT / "results" / "chapters.csv").open()))[path.stem]
    assert float(told) == pytest.approx(max(float(measured), 0.5), abs=0.06)


@each
def test_says_what_its_training_takes_on_a_t4(path):
    # Prevents: a session on Colab that ends before the chapter does; a plan read as a measurement.
    planned = dict(csv.reader(MINUTES.open()))
    assert planned.keys() == {"chapter", *TRAINING}
    if path.stem not in planned:
        assert "on a T4" not in opening(path)
        return
    told = f"takes {planned[path.stem]} minutes on a T4 (planned, not measured)"
    assert told in opening(path)
    (nine,) = (path for path in CHAPTERS if path.stem.startswith("09"))
    tables = [o.data["text/html"] for o in outputs(nine) if "text/html" in o.get("data", {})]
    (table,) = (table for table in tables if path.stem in table)  # as chapter 9 computed it
    assert f"<td>{planned[path.stem]}</td>" in table


@each
def test_cells_are_short_and_narrow(path):
    # Prevents: cells that nobody reads, and a horizontal scroll bar on a laptop.
    for number, cell in enumerate(cells(path, "code"), 1):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, f"code cell {number} has {len(lines)} lines"
        wide = [line for line in lines if len(line) > 88]
        assert not wide, f"code cell {number}: {wide[0]}"


@each
def test_has_the_sections_that_a_course_needs(path):
    # Prevents: a chapter without practice, without its limits, or without a way on.
    headings = re.findall(r"^## (?:\d+\.\d+ )?(.+)$", prose(path), re.MULTILINE)
    wanted = ["A place to (play|look)", "What it means, and what it does not", "Further reading"]
    for title in wanted:
        assert [h for h in headings if re.fullmatch(title, h)], title
    assert len(re.findall(r"^### Exercise ", prose(path), re.MULTILINE)) >= 4
    links = re.split(r"^- ", prose(path).partition("## Further reading")[2], flags=re.MULTILINE)[1:]
    assert 3 <= len(links) <= 6 and all(re.search(r"\d+ minutes", link) for link in links)


@each
def test_pictures_are_described(path):
    # Prevents: figures that are nothing to a reader who cannot see them.
    pages = [cell.source for cell in cells(path, "markdown")]
    for output in outputs(path):
        data = output.get("data", {})
        pages.append(data.get("text/html", ""))
        drawn = [kind for kind in data if kind.startswith("image/")]
        if drawn:
            told = output.metadata.get(drawn[0], {}).get("alt", "")
            assert len(told.split()) >= 5, "show it by notebook.figure(fig, alt=...)"
    pictures = [picture for page in pages for picture in Pictures(page).found]
    told = [picture.get("alt") or picture.get("aria-label") or "" for picture in pictures]
    told += re.findall(r"!\[([^\]]*)\]\(", prose(path))
    assert all(len(text.split()) >= 3 for text in told), told
    assert pictures, "a chapter shows at least its figure"


@each
def test_pictures_are_opaque(path):
    # Prevents: black letters on the dark page of a reader in dark mode.
    for output in outputs(path):
        if png := output.get("data", {}).get("image/png"):
            picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
            assert picture.getchannel("A").getextrema()[0] == 255


CHANGING = {"append", "extend", "insert", "pop", "remove", "update", "add", "clear", "step"}


def own_lines(code: str) -> Iterator[ast.AST]:
    """What a cell holds outside of functions and classes: what those do, a call does."""
    todo = list(ast.parse(code).body)
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
            yield node


def carried_on(code: str) -> set[str]:
    """Names of earlier cells that a cell changes where they are: twice gives something else."""
    bound, changed = set(), set()
    for node in own_lines(code):
        place = None
        if isinstance(
            node, ast.Assign | ast.AnnAssign | ast.For | ast.comprehension | ast.withitem
        ):
            into = getattr(node, "targets", None) or [
                getattr(node, "target", None) or getattr(node, "optional_vars", None)
            ]
            bound |= {name.id for t in into if t for name in ast.walk(t) if type(name) is ast.Name}
        elif isinstance(node, ast.AugAssign):
            place = node.target
        elif isinstance(node, ast.Delete):
            place = node.targets[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            place = node.func.value if node.func.attr in CHANGING else None
            if node.func.attr == "reset" and isinstance(node.func.value, ast.Name):
                bound.add(node.func.value.id)
        while isinstance(place, ast.Attribute | ast.Subscript):
            place = place.value
        changed |= {place.id} if isinstance(place, ast.Name) else set()
    return changed - bound


def made_of_itself(code: str) -> set[str]:
    """Names of earlier cells that a cell gives a value made of their old one."""
    bound, found = set(), set()
    for line in ast.parse(code).body:
        if isinstance(line, ast.Assign):
            new = {name.id for t in line.targets for name in stored(t)}
            old = {node.id for node in ast.walk(line.value) if isinstance(node, ast.Name)}
            found |= (new & old) - bound - {name.id for name in stored(line.value)}
        bound |= {name.id for name in stored(line)}
    return found


def stored(node: ast.AST) -> list[ast.Name]:
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    return [name for name in names if isinstance(name.ctx, ast.Store)]


@each
def test_a_cell_that_is_run_twice_starts_anew(path):
    """Read from the code: executing all cells twice would double what the chapters take."""
    cells = [code for code in map(plain, read(path).cells) if code]
    assert not set().union(*map(carried_on, cells), *map(made_of_itself, cells))


DICE = {"Random", "default_rng", "Generator", "manual_seed", "stream", "batches"}


def made_here(code: str) -> set[str]:
    """Names of the random generators that a cell makes."""
    found = set()
    for node in (node for node in own_lines(code) if isinstance(node, ast.Assign)):
        for names in node.targets:
            pairs = [(names, node.value)]
            if isinstance(names, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(names.elts, node.value.elts, strict=False))
            for name, value in pairs:
                made = value.func if isinstance(value, ast.Call) else None
                word = getattr(made, "attr", getattr(made, "id", ""))
                found |= {name.id} if isinstance(name, ast.Name) and word in DICE else set()
    return found


def drawn_from_before(cells: list[str]) -> set[str]:
    """Random generators that a cell uses and an earlier one made: twice draws something else."""
    before, found = set(), set()
    for code in cells:
        nodes = list(ast.walk(ast.parse(code)))
        named = [n for n in nodes if isinstance(n, ast.Name)]
        given = {n.arg for n in nodes if isinstance(n, ast.arg)}
        bound = {n.id for n in named if isinstance(n.ctx, ast.Store)}
        found |= (before & {n.id for n in named}) - given - bound
        before |= made_here(code)
    return found


@each
def test_a_cell_makes_the_generators_that_it_draws_from(path):
    assert not drawn_from_before([plain(c) for c in read(path).cells if c.cell_type == "code"])


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["r = Random(0)", "x = r.random()"], {"r"}),
        (["r = stream(0)", "x = r.random()"], {"r"}),
        (["n, r = 1, random.Random(0)", "def f():\n    return r.random()"], {"r"}),
        (["g = torch.Generator(d).manual_seed(0)", "rollout(generator=g)"], {"g"}),
        (["r = default_rng(0)", "r = default_rng(1)\nr.normal()"], set()),
        (["r = Random(0)", "def f(r):\n    return r.random()"], set()),
        (["r = Random(0)\nr.random()", "x = 1"], set()),
    ],
)
def test_what_a_cell_draws_from(cells, names):
    assert drawn_from_before(cells) == names


def plain(cell: nbformat.NotebookNode) -> str:
    return TransformerManager().transform_cell(cell.source) if cell.cell_type == "code" else ""


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("x += 1", {"x"}),
        ("x.y[0].append(1)", {"x"}),
        ("for i in a:\n    env.step(i)", {"env"}),
        ("env.reset()\nenv.step(1)", set()),
        ("x = 0\nx += 1\nfound = []\nfound.append(x)", set()),
        ("def f():\n    x.append(1)", set()),
        ("with a as b:\n    b.update(c)", set()),
    ],
)
def test_what_a_cell_carries_on(code, names):
    assert carried_on(code) == names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("x = concat([x, y])", {"x"}),
        ("x, y = y, 1", {"y"}),
        ("x = {x: 1 for x in y}", set()),
        ("x = f()\nx = x[x > 1]", set()),
        ("def f(x):\n    x = x + 1\n    return x", set()),
    ],
)
def test_what_a_cell_makes_of_itself(code, names):
    assert made_of_itself(code) == names
