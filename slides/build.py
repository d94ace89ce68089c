"""Make the decks: slides/NN.md and chapter NN -> one self-contained HTML file and a PDF.

    python slides/build.py [NN ...]     all decks, or those whose number starts so

A deck is written by hand in ``slides/NN.md``; figures, tables and formulas come from the tagged
cells of the built chapter, numbers from its outputs or from results/ (``fill.py``). A page holds
reveal.js and all pictures; equations are MathML. Chromium prints the PDF, where there is one.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import sphinx_revealjs  # of which only the copy of reveal.js is used
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))
from fill import fill  # noqa: E402

NOTEBOOKS = HERE.parent / "notebooks"
OUT = HERE.parent / "_build" / "slides"
REVEAL = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
COURSE = "SFT memorises, RL generalises"

markdown = MarkdownIt("commonmark").enable("table")
markdown.use(
    dollarmath_plugin,
    renderer=lambda text, how: convert(text, display="block" if how["display_mode"] else "inline"),
)


@dataclass
class Slide:
    """Markdown of a title, a body and the notes for the teacher."""

    title: str
    body: str
    notes: str


def slides_of(deck: str) -> list[Slide]:
    """The slides of a deck's text: a heading each, notes behind a line that begins with Notes."""
    parts = re.split(r"^#{1,2} (.+)$", deck, flags=re.MULTILINE)[1:]
    made = []
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        body, _, notes = text.partition("\nNotes: ")
        made.append(Slide(title.strip(), body.strip(), notes.strip()))
    return made


def section(slide: Slide, number: int, chapter: nbformat.NotebookNode) -> str:
    """HTML of a slide; the first is the deck's title."""
    kind = "title" if number == 1 else "message"
    title = fill(markdown.renderInline(slide.title), chapter)
    body = fill(markdown.render(slide.body), chapter)
    notes = fill(markdown.render(slide.notes), chapter)
    return (
        f'<section class="{kind}">\n<h2>{title}</h2>\n<div class="body">\n{body}</div>\n'
        f"<footer><span>{COURSE}</span><span>{number}</span></footer>\n"
        f'<aside class="notes">{notes}</aside>\n</section>'
    )


def page(deck: str, chapter: nbformat.NotebookNode, live: bool = True) -> str:
    """One HTML file with everything in it: the deck, or the same pages for printing."""
    slides = slides_of(deck)
    dist = REVEAL / "dist"
    style = [dist / "reset.css", dist / "reveal.css" if live else HERE / "print.css"]
    css = "\n".join(path.read_text() for path in (*style, HERE / "house.css"))
    script = [dist / "reveal.js", REVEAL / "plugin/notes/notes.js", HERE / "start.js"]
    code = "\n".join(f"<script>{path.read_text()}</script>" for path in script) if live else ""
    body = "\n".join(section(slide, i + 1, chapter) for i, slide in enumerate(slides))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(slides[0].title)}</title>\n<style>{css}</style>\n</head>\n<body>\n"
        f'<div class="reveal"><div class="slides">\n{body}\n</div></div>\n{code}\n</body></html>\n'
    )


def to_pdf(page: str, target: Path, chromium: str) -> None:
    """Print a page, one slide a sheet.

    Raises:
        RuntimeError: Chromium wrote no file.
    """
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sheets = Path(folder) / "sheets.html"
        sheets.write_text(page)
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
        options += ["--disable-background-networking", "--disable-sync", "--no-first-run"]
        command = [chromium, *options, "--no-pdf-header-footer", f"--print-to-pdf={target}"]
        subprocess.run([*command, sheets.as_uri()], capture_output=True, timeout=300)
    if not target.exists():
        raise RuntimeError(f"{chromium} printed no {target.name}")


def chapter_of(deck: Path) -> Path:
    """The built chapter of a deck.

    Raises:
        FileNotFoundError: it is not built.
    """
    found = sorted(NOTEBOOKS.glob(f"{deck.stem}_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"chapter {deck.stem} is not built: notebooks/build.py makes it")
    return found[0]


def main(names: tuple[str, ...]) -> None:
    """Write the decks, and PDFs if Chromium is there."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    OUT.mkdir(parents=True, exist_ok=True)
    for deck in tqdm([d for d in sorted(HERE.glob("[0-9]*.md")) if d.name.startswith(names)]):
        try:
            path = chapter_of(deck)
            text, chapter = deck.read_text(), nbformat.read(path, as_version=4)
            target = OUT / f"{path.stem}.html"
            target.write_text(page(text, chapter))
            if chromium:
                to_pdf(page(text, chapter, live=False), target.with_suffix(".pdf"), chromium)
        except (OSError, ValueError) as error:
            sys.exit(f"slides/{deck.name}: {error}")
    if not chromium:
        print("no PDF: Chromium is not installed")
    print(f"slides in {OUT.relative_to(HERE.parent)}: open one, S shows the speaker notes")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("",))
