"""The site's pages say what the package has, and its settings build without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes

ROOT = Path(__file__).parents[1]
PYTHON = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
GLOSSARY = (ROOT / "docs/glossary.md").read_text()


@pytest.mark.parametrize("column", ["metric", "split", "method"])
def test_the_glossary_explains_every_name_of_the_ledger(column):
    ledger = pd.read_csv(ROOT / "results/ledger.csv", usecols=[column])
    explained = set(re.findall(r"`([^`]+)`", GLOSSARY))
    assert set(ledger[column]) <= explained


def test_the_glossary_explains_each_name_once_in_a_line():
    names = re.findall(r"^\| (.+?) \| (.+) \|$", GLOSSARY, re.MULTILINE)
    words = [word for left, _ in names for word in left.split(", ") if "---" not in word]
    assert len(words) == len(set(words)) + 2  # "Name" heads three tables
    assert all(meaning.strip() for _, meaning in names)


def test_every_module_has_its_place_on_an_api_page():
    pages = "\n".join(p.read_text() for p in sorted((ROOT / "docs/api").glob("*.md")))
    shown = re.findall(r"automodule:: sftrl_lite\.([\w.]+)", pages)
    files = (p.relative_to(ROOT / "sftrl_lite") for p in (ROOT / "sftrl_lite").rglob("[!_]*.py"))
    modules = {".".join(p.with_suffix("").parts) for p in files}
    assert sorted(shown) == sorted(modules)


def test_every_page_is_in_the_sites_list():
    listed = (ROOT / "docs/index.md").read_text("utf-8").splitlines()
    pages = {p.relative_to(ROOT / "docs").with_suffix("") for p in (ROOT / "docs").rglob("*.md")}
    assert {str(page.as_posix()) for page in pages} - {"index"} <= set(listed)


def test_the_page_of_files_names_what_exists_and_every_room():
    page = (ROOT / "docs/files.md").read_text("utf-8")
    (tree,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    rooms = re.findall(r"^\| `([\w/]+)` \|", page, re.MULTILINE)
    named = [line.split()[0] for line in tree.splitlines()] + rooms
    assert all((ROOT / name).exists() for name in named)
    inside = {p.parent.relative_to(ROOT).as_posix() + "/" for p in ROOT.glob("sftrl_lite/*/*.py")}
    assert set(rooms) == inside | {"sftrl_lite/"}


PARTS = ("Keep", "Skip", "Ask", "Wrong answers")


def test_the_plan_names_chapters_that_exist():
    plan = (ROOT / "docs/teaching.md").read_text()
    exercises = re.findall(r"(?:exercises? |and |[(,] ?|to )(\d+\.\d+)(?=[ ,);:.]|$)", plan)
    sources = sorted((ROOT / "notebooks/source").glob("[0-9]*.py"))
    source = "".join(p.read_text("utf-8") for p in sources)
    assert len(exercises) > 30 and all(f"### Exercise {e}:" in source for e in exercises)
    headings = re.findall(r"^### (\d+)\. (.+)$", plan, re.MULTILINE)
    assert [int(number) for number, _ in headings] == [int(p.name[:2]) for p in sources]
    for part in re.split(r"^### \d+", plan, flags=re.MULTILINE)[1:]:
        assert all(f"**{word}**" in part for word in PARTS)


def test_the_home_page_has_the_figure_the_questions_the_table_and_a_way_to_start():
    page = (ROOT / "docs/index.md").read_text("utf-8")
    order = ["headline.svg", "{.button}", 'start-after: "## Chapters"', "short:begin", "{toctree}"]
    assert sorted(order, key=page.index) == order
    readme = (ROOT / "README.md").read_text("utf-8")
    questions = re.findall(r"^\| \d\d \| .+ \| (.+\?) \|$", readme, re.MULTILINE)
    assert len(questions) == len([*(ROOT / "notebooks/source").glob("[0-9]*.py")])


def test_the_settings_build_a_page_and_an_executed_chapter(tmp_path):
    (tmp_path / "index.md").write_text(
        "# Top\n\nInline $x^2$.\n\n$$\\frac{a}{b}$$\n\n```{toctree}\nchapter\n```\n"
    )
    figure = new_output("display_data", {"text/html": '<img alt="a line" src="data:,">'})
    rows = new_output("display_data", {"text/html": f"<table>{'<tr><td>7</td></tr>' * 40}</table>"})
    lines = [new_output("stream", text=f"line {n} <\n") for n in range(60)]
    cells = [new_markdown_cell("# Chapter\n\n## Part"), new_code_cell("1 / 0", outputs=[figure])]
    cells += [new_code_cell("2", outputs=lines), new_code_cell("3", outputs=[*lines[:9], rows])]
    (tmp_path / "chapter.ipynb").write_text(writes(new_notebook(cells=cells, metadata=PYTHON)))
    settings = "include_patterns=index.md,chapter.ipynb", "root_doc=index", "html_extra_path="
    options = [part for setting in settings for part in ("-D", setting)]
    command = [sys.executable, "-m", "sphinx", "-qW", "-c", ROOT / "docs", *options]
    done = subprocess.run([*command, tmp_path, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    top = (tmp_path / "out/index.html").read_text()
    assert re.findall(r'<math[^>]*display="(\w+)"', top) == ["inline", "block"]
    assert not re.search(r'<(?:script|link)[^>]*(?:src|href)="https?:', top)
    chapter = (tmp_path / "out/chapter.html").read_text()
    assert 'alt="a line"' in chapter and "ZeroDivisionError" not in chapter
    folded = re.findall(r"<details><summary>(.*?)</summary>", chapter)
    assert folded == ["line 0 &lt; … (60 lines)", "Table of 39 rows"]
    assert all("</div>" not in part for part in re.findall(r"</summary>(.{40})", chapter))
    assert chapter.count("</details>") == 2
    assert chapter.count("line 59") == 1 and chapter.count("line 8") == 2
    for page in (top, chapter):
        assert page.count('type="search"') == 1
        assert "OWNER" not in page and "github.com" not in page.partition("<footer")[0]
    assert (tmp_path / "out/search.html").exists()
