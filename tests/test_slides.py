"""slides/build.py: what becomes a slide, and pages that need nothing else."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("slides_build", ROOT / "slides/build.py")
build = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
spec.loader.exec_module(build)

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
each = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem[:2])


@pytest.fixture
def chapter():
    """A chapter in small, with everything that becomes a slide."""
    figure = new_output(
        "display_data",
        {"image/png": "iVBORw0KGgo="},
        metadata={"image/png": {"alt": "A line that rises <fast>."}},
    )
    table = new_output("execute_result", {"text/html": "<table><tr><td>7</td></tr></table>"})
    sentence = new_output("display_data", {"text/markdown": "Solved: **70** %."})
    return new_notebook(
        cells=[
            new_markdown_cell("# 3. A title\n\nA claim\non two lines.\n\n> **Runtime** 1 minute"),
            new_markdown_cell("## What you will be able to do\n\n- Run it.\n- Read it.\n  Or not."),
            new_markdown_cell(
                "## An idea\n\nFirst one. Then [more](01_a.ipynb).\n\n$$x^2$$\n\n```\n## code\n```"
            ),
            new_code_cell("", outputs=[new_output("stream", text="a < b\n"), table]),
            new_markdown_cell("## The figure\n\nIt rises."),
            new_code_cell("", outputs=[figure, sentence]),
            new_markdown_cell(
                "## Exercises\n\n### Exercise 3.1: one\n\nDifficulty ●○○○○ · 5 minutes\n\n"
                "<details><summary>Solution</summary>\n\nsecret\n\n</details>\n\n"
                "## What it means, and what it does not\n\nMuch. More.\n\nIt does *not* show:\n\n"
                "- *That a*. Because.\n- *That b*.\n\n## A place to play\n\nPlay.\n\n"
                "## Further reading\n\n- [Paper](https://example.org) (5 minutes)"
            ),
        ]
    )


def test_what_becomes_a_slide(chapter):
    made = build.slides_of(chapter)
    titles = ["3. A title", "What you will be able to do", "An idea", "The figure", "The figure"]
    titles += ["Exercises", "What it means, and what it does not", "Further reading"]
    assert [slide.title for slide in made] == titles
    claim, goals, idea, rises, figure, exercises, meaning, reading = (s.body for s in made)
    assert "A claim" in claim and "Runtime" not in claim and "Runtime" in made[0].notes
    assert goals.count("<li>") == 2 and "Or not" not in goals
    assert (
        "First one." in idea
        and "01_a" not in idea
        and 'display="block"' in idea
        and "<td>7" in idea
    )
    assert "It rises." in rises and "<img" not in rises
    assert 'alt="A line that rises &lt;fast&gt;."' in figure and "<strong>70</strong>" in figure
    assert "Exercise 3.1: one (difficulty ●○○○○, 5 minutes)" in exercises
    assert meaning.index("not</em> show") < meaning.index("That a") and "Because" not in meaning
    assert "https://example.org" in reading
    assert not any("secret" in slide.body + slide.notes for slide in made)


def test_printed_text_is_escaped_when_there_is_no_table(chapter):
    chapter.cells[3].outputs.pop()
    assert "<pre>a &lt; b\n</pre>" in build.slides_of(chapter)[2].body


@each
def test_a_deck_holds_the_chapters_own_figures_and_needs_no_network(path):
    notebook = nbformat.read(path, as_version=4)
    slides = build.slides_of(notebook)
    page = build.page(slides[0].title, slides)
    wanted = [
        p
        for s in build.sections(notebook)
        if not s.title.endswith(build.SKIPPED)
        for p in build.pictures(s)
    ]
    head, _, body = page.partition("<body>")
    body = body.partition("<script>")[0]
    sources = re.findall(r'<img alt="[^"]{10,}" src="(data:image/[a-z]+;base64,[^"]+)"', body)
    assert wanted and [source for source, _ in wanted] == sources
    assert len(sources) == body.count("<img ")
    assert not re.search(r'\bsrc="(?!data:)|<link|<iframe', body)
    assert not re.search(r"@import|<link|<script", head)
    assert all(slide.body.strip() and slide.title for slide in slides)
    assert "@@" not in body and "$$" not in body
    assert len(page) < 4_000_000


@pytest.mark.skipif(not any(map(shutil.which, build.CHROMIUM)), reason="Chromium is not installed")
def test_pdf(tmp_path, chapter):
    chromium = next(filter(None, map(shutil.which, build.CHROMIUM)))
    slides = build.slides_of(chapter)
    build.to_pdf(build.page("t", slides, live=False), tmp_path / "t.pdf", chromium)
    data = (tmp_path / "t.pdf").read_bytes()
    assert data.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", data)) == len(slides)


def test_a_failed_print_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"printed no t\.pdf"):
        build.to_pdf("", tmp_path / "t.pdf", shutil.which("true"))
