"""notebooks/build.py: links, bootstrap, text renewed without a run, solutions from one source."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks/build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

SOURCES = sorted((ROOT / "notebooks/source").glob("[0-9]*.py"))
BUILT = [s for s in SOURCES if (ROOT / f"notebooks/{s.stem}.ipynb").exists()]
chapters = pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem[:2])
built = pytest.mark.parametrize("source", BUILT, ids=lambda s: s.stem[:2])


def lines(notebook) -> list[tuple[str, list[str]]]:
    """Kind and lines of each cell; outputs and numbers are not compared."""
    return [(cell.cell_type, cell.source.splitlines()) for cell in notebook.cells]


# --- links and bootstrap ----------------------------------------------------------------


ADDRESS = "https://github.com/someone/sftrl-lite"  # as if the repository were published there


@chapters
def test_badges_point_at_this_file(source):
    file = f"notebooks/{source.stem}.ipynb"
    page = build.badges(file, f"notebooks/source/{source.name}", ADDRESS)
    links = re.findall(r"\]\((https://[^)]+)\)", page)
    assert {"colab.research.google.com", "www.kaggle.com"} <= {u.split("/")[2] for u in links}
    own = [u for u in links if "/blob/main/" in u]
    assert len(own) == 5  # twice this file, its source, glossary, troubleshooting
    assert all("/someone/sftrl-lite/blob/main/" in u for u in own)
    named = [u.partition("/blob/main/")[2] for u in own]
    assert named.count(file) == 2
    assert all((ROOT / name).is_file() for name in named if name != file)


def test_without_an_address_there_are_no_links_and_a_line_says_where_to_set_it():
    told = build.badges("a", "b", "")
    assert "](" not in told and "http" not in told and "`pyproject.toml`" in told
    assert max(map(len, told.splitlines())) <= 88 and build.bootstrap("") == ""


@built
def test_a_built_chapter_has_badges_if_and_only_if_there_is_an_address(source):
    page = nbformat.read(ROOT / f"notebooks/{source.stem}.ipynb", as_version=4).cells[0].source
    assert ("colab-badge" in page) == bool(build.HOME) and "OWNER" not in page


def test_the_address_is_written_once():
    kept = [*ROOT.glob("*.*"), ROOT / "Makefile", *ROOT.glob("sftrl_lite/*"), *SOURCES]
    kept += [*ROOT.glob("docs/**/*"), *ROOT.glob("slides/*"), ROOT / "notebooks/build.py"]
    text = (p for p in kept if p.suffix in {".py", ".md", ".toml", ".yml", ".sh", ".cff", ""})
    pages = {p.name: p.read_text() for p in text if p.is_file()}
    assert [name for name, page in pages.items() if "/OWNER/" in page] == []
    named = [name for name, page in pages.items() if build.HOME and build.HOME in page]
    assert named == (["pyproject.toml"] if build.HOME else [])
    assert "[project.urls]" in pages["pyproject.toml"]  # set, or waiting in a comment


def test_bootstrap_is_short_and_leaves_torch_alone():
    cell = build.bootstrap(ADDRESS)
    assert len(cell.splitlines()) <= 5
    assert max(map(len, cell.splitlines())) <= 88
    for text in (cell, *re.findall(r"^[^#].*pip.*", HOSTED.read_text(), re.MULTILINE)):
        assert not re.search(r"torch|numpy|upgrade|-U\b|force|sys\.path", text)


@built
def test_bootstrap_stands_in_the_first_code_cell_only(source):
    cells = build.codes(nbformat.read(ROOT / f"notebooks/{source.stem}.ipynb", as_version=4))
    assert cells[0].source.startswith(build.bootstrap(build.HOME))
    assert not any(re.search(r"\bpip\b|git clone", cell.source) for cell in cells[1:])


HOSTED = ROOT / "hosted.sh"
SHELL = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for _ in range(2):
    assert shell.run_cell({cell!r}).success
import sftrl_lite
print("package", sftrl_lite.WHERE, "torch" in sys.modules)
"""


@pytest.fixture
def published(tmp_path):
    """A repository to clone that holds hosted.sh and a package of one line."""
    home = tmp_path / "published" / "sftrl-lite"
    (home / "sftrl_lite").mkdir(parents=True)
    (home / "sftrl_lite/__init__.py").write_text("WHERE = __file__\n")
    (home / "constraints.txt").touch()
    script = HOSTED.read_text("utf-8")
    assert "python -m pip install" in script
    (home / "hosted.sh").write_text(script.replace("python -m pip install", "true"), "utf-8")
    git = ["git", "-C", home, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "published"]):
        subprocess.run([*git, *command], check=True)
    return home


def first_cell(folder: Path, home: Path | str, times: int = 1) -> subprocess.CompletedProcess:
    """Run the bootstrap twice in a kernel's shell that starts in ``folder``, as Colab's does."""
    cell = build.bootstrap(str(home)).replace("/content", str(folder))
    python = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{python}:{os.environ['PATH']}", "PYTHONPATH": ""}
    env |= {"PIP_NO_INDEX": "1", "IPYTHONDIR": str(folder.parent / "ipython")}
    command = [sys.executable, "-c", SHELL.format(cell=cell)]
    outputs = [
        subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        for _ in range(times)
    ]
    return outputs[-1]


def test_bootstrap_fetches_once(tmp_path, published):
    content = tmp_path / "content"
    content.mkdir()
    for _ in range(2):  # a second kernel in the same folder finds the course there
        done = first_cell(content, published)
        assert done.returncode == 0, done.stderr
        where = content / "sftrl-lite" / "sftrl_lite" / "__init__.py"
        found = Path(re.search(r"package (\S+) False", done.stdout)[1])
        assert found.resolve() == where
        assert "already exists" not in done.stdout + done.stderr
    assert (content / "sftrl_lite").is_symlink()


def test_bootstrap_does_nothing_elsewhere(tmp_path):
    space = {}
    exec(build.bootstrap(ADDRESS).replace("!", "raise SystemExit #"), space)


def test_without_network_the_reason_is_one_line(tmp_path):
    content = tmp_path / "content"
    content.mkdir()
    done = first_cell(content, tmp_path / "nowhere")
    fatal = [line for line in (done.stdout + done.stderr).splitlines() if "fatal" in line]
    assert done.returncode != 0 and len(fatal) == 2  # the cell was run twice
    assert not (content / "sftrl_lite").exists()


class Private(BaseHTTPRequestHandler):
    """A server that wants a password, as it also does where there is no such repository."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="private"')
        self.end_headers()

    def log_message(self, *args):
        pass


def test_a_private_repository_asks_for_no_password(tmp_path):
    content, server = tmp_path / "content", HTTPServer(("127.0.0.1", 0), Private)
    content.mkdir()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = first_cell(content, f"http://127.0.0.1:{server.server_port}/team/sftrl-lite")
    server.shutdown()
    assert done.returncode != 0 and "terminal prompts disabled" in done.stdout + done.stderr


def test_an_old_python_is_told(monkeypatch):
    code = (ROOT / "sftrl_lite/__init__.py").read_text()
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(ImportError, match=r"^sftrl_lite needs Python 3\.11 or newer.*$"):
        exec(compile(code, "__init__.py", "exec"), {})


def test_the_first_line_that_can_fail_says_what_to_do():
    first = build.codes(build.convert(SOURCES[0]))[0].source
    first = first.removeprefix(build.bootstrap(build.HOME))
    assert first.splitlines()[0].endswith("# not found? open the chapter by: make lab")


# --- one source -------------------------------------------------------------------------


@chapters
def test_a_cell_keeps_its_tags_and_nothing_else(source):
    kept = [cell.metadata for cell in build.convert(source).cells]
    assert all(set(metadata) <= {"tags"} for metadata in kept)
    named = [tag for metadata in kept for tag in metadata.get("tags", [])]
    assert sorted(named) == sorted(
        re.findall(r'^# %%.* tags=\["(.+?)"\]$', source.read_text(), re.M)
    )


@built
def test_built_chapter_has_its_source_text_and_code(source):
    path = ROOT / f"notebooks/{source.stem}.ipynb"
    fresh, kept = build.text(source), nbformat.read(path, as_version=4)
    assert lines(fresh) == lines(kept), f"python notebooks/build.py --text {source.stem[:2]}"
    assert fresh == kept


def test_text_is_renewed_and_changed_code_is_refused(tmp_path, monkeypatch):
    if not BUILT:
        pytest.skip("no chapter is built")
    source, chapter = BUILT[0], tmp_path / f"{BUILT[0].stem}.ipynb"
    chapter.write_text((ROOT / "notebooks" / chapter.name).read_text())
    monkeypatch.setattr(build, "HERE", tmp_path)
    edited = tmp_path / source.name
    edited.write_text(source.read_text().replace("# ## Exercises", "# ## To do"))
    renewed = build.text(edited)
    before = nbformat.read(chapter, as_version=4)
    assert "## To do" in str(renewed) and "@@" not in renewed.cells[0].source
    assert [c.outputs for c in build.codes(renewed)] == [c.outputs for c in build.codes(before)]
    edited.write_text(source.read_text().replace("setup()", "setup(seed=1)"))
    with pytest.raises(ValueError, match="code has changed"):
        build.text(edited)


def test_a_chapter_must_set_itself_up(tmp_path):
    source = tmp_path / "99_none.py"
    source.write_text("# %% [markdown]\n# # 99\n\n# %%\nprint()\n")
    with pytest.raises(ValueError, match=r"99_none\.py: the first code cell"):
        build.convert(source)


@chapters
def test_solutions_are_what_the_source_makes(source):
    path = ROOT / f"notebooks/solutions/{source.stem}_solutions.ipynb"
    assert path.exists(), "python notebooks/build.py --solutions"
    kept = nbformat.read(path, as_version=4)
    assert kept == build.solutions(source), "python notebooks/build.py --solutions"


@chapters
def test_solutions_hold_every_answer_and_no_stub(source):
    solved, shipped = build.solutions(source), build.convert(source)
    stubs = [c for c in build.codes(shipped) if "raise NotImplementedError" in c.source]
    text = "\n".join(c.source for c in solved.cells)
    assert stubs and "NotImplementedError" not in text and "<summary>Solution" not in text
    for stub in stubs:
        answer = next(c for c in solved.cells if c.id == stub.id)
        for node in ast.parse(stub.source).body:
            assert getattr(node, "name", "") in answer.source
            if isinstance(node, ast.FunctionDef):
                assert ast.get_docstring(node) in ast.get_docstring(
                    next(
                        n
                        for n in ast.parse(answer.source).body
                        if getattr(n, "name", "") == node.name
                    )
                )


def test_a_solution_keeps_docstring_imports_and_helpers():
    stub = (
        'import random\n\ndef f(x: int) -> int:\n    """Twice x."""\n    raise NotImplementedError'
    )
    answer = "import random\nfrom math import pi\n\ndef g(x):\n    return x\n\n"
    answer += "def f(x):\n    return g(2 * x)"
    made = build.solved(stub, answer)
    assert made.count("import random") == 1
    space = {}
    exec(made, space)
    assert space["f"](4) == 8 and space["f"].__doc__ == "Twice x."
    assert {"random", "pi", "g"} <= space.keys()


def test_no_solutions_without_a_chapter():
    made = {p.stem for p in (ROOT / "notebooks/solutions").glob("*.ipynb")}
    assert made <= {f"{s.stem}_solutions" for s in SOURCES}
