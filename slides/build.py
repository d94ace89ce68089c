"""Make slides of the built chapters: one self-contained HTML file each, and a PDF.

    python slides/build.py [NN ...]     all chapters that are built, or those that start so

Nothing is written by hand. A chapter's claim, objectives, first sentences, equations, figures,
tables, exercises and conclusions become slides, the whole text of a section its speaker
notes (press S). The pages hold reveal.js and all pictures; equations are MathML. The PDF is
printed by Chromium, where there is one.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import sphinx_revealjs  # of which only the copy of reveal.js is used
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
OUT = HERE.parent / "_build" / "slides"
REVEAL = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")

SKIPPED = ("Exercises", "A place to play")
FENCE_OR_HEADING = re.compile(r"^```.*?^```$|^(#{1,3}) ([^\n]+)$", re.MULTILINE | re.DOTALL)
EQUATION = re.compile(r"\$\$.+?\$\$", re.DOTALL)
TABLE = re.compile(r"(?:^\|.*\|$\n?){3,}", re.MULTILINE)
BULLET = re.compile(r"^- (.+(?:\n(?:  .*|$))*)", re.MULTILINE)
SENTENCE = re.compile(r"(?s).+?[.?!:][*)”\"]*(?=\s+[A-Z*`$“(\d]|\s*$)")
BLANK = re.compile(r"\n\s*\n")
NO_PROSE = re.compile(r"[|<>#-]|\$\$|```|\d+\. ")
FACTS = re.compile(r"### (Exercise \d+\.\d+: .+)\n+(Difficulty [●○]+) · (\d+ minutes?)")
MOST_ROWS, MOST_LINES = 11, 9  # of a table, of a printed output on a slide

markdown = MarkdownIt("commonmark").enable("table")
markdown.use(
    dollarmath_plugin,
    renderer=lambda text, how: convert(text, display="block" if how["display_mode"] else "inline"),
)


@dataclass
class Section:
    """A heading, the text under it, and what its code cells showed."""

    title: str
    text: str = ""
    outputs: list[nbformat.NotebookNode] = field(default_factory=list)


@dataclass
class Slide:
    """HTML of a title, a body and notes."""

    title: str
    body: str
    notes: str = ""


def render(text: str) -> str:
    """Markdown to HTML; badges, links between chapters and folded hints do not go on a slide."""
    text = re.sub(r"(?s)<details>.*?</details>|\[!\[.*?\]\(.*?\)\]\(.*?\)\n", "", text)
    return markdown.render(re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text))


def sections(notebook: nbformat.NotebookNode) -> list[Section]:
    """The chapter cut at its headings; the first section is the title."""
    found = [Section("")]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found[-1].outputs += cell.outputs
            continue
        start = 0
        for match in FENCE_OR_HEADING.finditer(cell.source):
            if match[1]:
                found[-1].text += cell.source[start : match.start()] + "\n\n"
                found.append(Section(match[2]))
                start = match.end()
        found[-1].text += cell.source[start:] + "\n\n"
    return found[1:]


def opening(text: str, most: int = 0) -> str:
    """The first sentence of the first paragraph of prose, and more up to ``most`` characters."""
    prose = (p for p in BLANK.split(text.strip()) if not NO_PROSE.match(p))
    first, *rest = SENTENCE.findall(next(prose, "")) or [""]
    for sentence in rest:
        if len(first) + len(sentence) > most:
            break
        first += sentence
    return first


def outline(text: str) -> str:
    """The first sentence of each paragraph and of each bullet."""
    lines = []
    for block in BLANK.split(BULLET.sub(lambda b: f"- {opening(b[1])}", text).strip()):
        lines.append(block if block.startswith("- ") else opening(block))
    return "\n\n".join(lines)


def pictures(section: Section) -> list[tuple[str, str]]:
    """(Address that holds the picture itself, alternative text) of each figure."""
    kinds = ("image/png", "image/jpeg")
    drawn = [(o, kind) for o in section.outputs for kind in kinds if kind in o.get("data", {})]
    return [(f"data:{kind};base64,{o.data[kind]}", o.metadata[kind]["alt"]) for o, kind in drawn]


def shown(section: Section) -> str:
    """The first table, or else a short printed output."""
    for output in section.outputs:
        page = output.get("data", {}).get("text/html", "")
        if "<table" in page and page.count("<tr") <= MOST_ROWS and "<img" not in page:
            return page
    printed = [o.text for o in section.outputs if o.output_type == "stream"]
    for text in ("".join(printed), *printed):
        if 0 < len(text.splitlines()) <= MOST_LINES:
            return f"<pre>{html.escape(text)}</pre>"
    return ""


def said(section: Section) -> str:
    """Sentences whose numbers the chapter computed."""
    texts = (o.get("data", {}).get("text/markdown", "") for o in section.outputs)
    return render("\n\n".join(filter(None, texts)))


def section_slides(section: Section) -> list[Slide]:
    """One slide for the idea, then the figures."""
    notes = render(section.text)
    if section.title.startswith(("What it means", "What you will")):
        return [Slide(section.title, render(outline(section.text)), notes)]
    if section.title == "Further reading":
        return [
            Slide(section.title, render("\n".join(b[0] for b in BULLET.finditer(section.text))))
        ]
    parts = [opening(section.text, most=260)]
    found = [*EQUATION.finditer(section.text), *TABLE.finditer(section.text)]
    parts += [m[0] for m in sorted(found, key=lambda m: m.start())[:1]]  # whichever comes first
    body = render("\n\n".join(parts)) + ("" if pictures(section) else said(section))
    return [Slide(section.title, body + shown(section), notes), *figure_slides(section)]


def figure_slides(section: Section) -> list[Slide]:
    """One slide for each figure; beside the last one what the chapter says about it."""
    slides = []
    for source, alt in pictures(section):
        image = f'<img alt="{html.escape(alt)}" src="{source}">'
        slides.append(Slide(section.title, image, f"<p>{html.escape(alt)}</p>"))
    if slides:
        slides[-1].body += said(section)
    return slides


def slides_of(notebook: nbformat.NotebookNode) -> list[Slide]:
    """All slides of a chapter, in the order of its sections."""
    title, *rest = sections(notebook)
    claim, _, after = title.text.strip().partition("\n\n")
    made = [Slide(title.title, render(claim), render(after))]
    exercises, topic = [], title.title
    for section in rest:
        if section.title.startswith("Exercise "):
            facts = FACTS.match(f"### {section.title}\n\n{section.text.strip()}")
            exercises.append(f"- {facts[1]} ({facts[2].lower()}, {facts[3]})")
            section.title = topic  # a chapter may go on after an exercise without a heading
            made += figure_slides(section)
        elif not section.title.endswith(SKIPPED) and section.text.strip():
            topic = section.title
            made += section_slides(section)
    at = next((i for i, s in enumerate(made) if s.title.startswith("What it means")), len(made))
    made.insert(at, Slide("Exercises", render("\n".join(exercises))))
    return made


def page(title: str, slides: list[Slide], live: bool = True) -> str:
    """One HTML file with everything in it: the deck, or the same pages for printing."""
    dist = REVEAL / "dist"
    style = [dist / "reset.css", dist / "theme/white.css", HERE / "house.css"]
    style.insert(1, dist / "reveal.css" if live else HERE / "print.css")
    css = "\n".join(path.read_text() for path in style)
    css = re.sub(r"@import url\(\./fonts.*?\);", "", css)  # the house style names system fonts
    script = [dist / "reveal.js", REVEAL / "plugin/notes/notes.js", HERE / "start.js"]
    code = "\n".join(f"<script>{path.read_text()}</script>" for path in script) if live else ""
    body = "\n".join(
        f"<section>\n<h2>{markdown.renderInline(s.title)}</h2>\n{s.body}\n"
        f'<aside class="notes">{s.notes}</aside>\n</section>'
        for s in slides
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{css}</style>\n</head>\n<body>\n"
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


def main(names: tuple[str, ...]) -> None:
    """Write the decks, and PDFs if Chromium is there."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    OUT.mkdir(parents=True, exist_ok=True)
    chapters = [p for p in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if p.name.startswith(names)]
    for chapter in tqdm(chapters, "slides"):
        slides = slides_of(nbformat.read(chapter, as_version=4))
        deck, title = OUT / f"{chapter.stem}.html", slides[0].title
        deck.write_text(page(title, slides))
        if chromium:
            to_pdf(page(title, slides, live=False), deck.with_suffix(".pdf"), chromium)
    if not chromium:
        print("no PDF: Chromium is not installed")
    print(f"slides in {OUT.relative_to(HERE.parent)}: open one, S shows the speaker notes")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("",))
