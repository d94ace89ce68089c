"""What stands for ``{{...}}`` on a slide: outputs of the chapter, and numbers from results/."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import cache

import nbformat
import pandas as pd
from latex2mathml.converter import convert

from sftrl_lite.results import claims, plots, report, tables
from sftrl_lite.results.measures import measured

CALL = re.compile(r"\{\{(.+?)\}\}")
EQUATION = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
CELL = re.compile(r"(?s)<(t[hd])[^>]*>(.*?)</t[hd]>")
TAG = re.compile(r"<(?!mspace)[^>]*>")
PICTURES = ("image/png", "image/jpeg")
Notebook = nbformat.NotebookNode
Cell = nbformat.NotebookNode

WIDTH, HEIGHT = 1152, 430  # of a slide's body in pixels, less a line of text below a block


def size(characters: float, lines: float, most: int, least: int, em: float = 0.6) -> str:
    """The largest type in which a block of so many characters and lines fits a slide.

    Args:
        em: width of a character by the height of the type.
    """
    fits = min(WIDTH / (em * max(characters, 1)), HEIGHT / (1.4 * max(lines, 1)))
    return f'style="font-size: {max(least, min(most, int(fits)))}px"'


# --- outputs of the chapter, by the tag of a cell -------------------------------------------


def tagged(chapter: Notebook, tag: str) -> Cell:
    """The cell with this tag.

    Raises:
        ValueError: no cell has it, or several.
    """
    found = [cell for cell in chapter.cells if tag in cell.metadata.get("tags", [])]
    if len(found) != 1:
        raise ValueError(f"{len(found)} cells are tagged {tag!r}, not one; is the chapter built?")
    return found[0]


def choose(found: list[str], what: str, tag: str, number: str) -> str:
    """One of several outputs of a kind, counted from 1.

    Raises:
        ValueError: there are fewer.
    """
    if int(number) > len(found):
        raise ValueError(f"the cell tagged {tag!r} shows {len(found)} of: {what}")
    return found[int(number) - 1]


def data(chapter: Notebook, tag: str) -> list[dict[str, str]]:
    """What a cell displayed, by MIME type."""
    return [output.get("data", {}) for output in tagged(chapter, tag).outputs]


def figure(chapter: Notebook, tag: str, number: str = "1") -> str:
    """A picture with its alternative text, as large as the slide has room."""
    shown = []
    for output in tagged(chapter, tag).outputs:
        for kind in PICTURES:
            if kind in output.get("data", {}):
                alt = html.escape(output.metadata[kind]["alt"])
                source = f"data:{kind};base64,{output.data[kind]}"
                shown.append(f'<div class="figure"><img alt="{alt}" src="{source}"></div>')
    return choose(shown, "figure", tag, number)


def table(chapter: Notebook, tag: str, number: str = "1") -> str:
    """A table as the chapter shows it."""
    pages = [shown.get("text/html", "") for shown in data(chapter, tag)]
    return sized(choose([page for page in pages if "<table" in page], "table", tag, number))


def sized(page: str) -> str:
    """A table without its own style, in type as large as its columns and rows admit."""
    bare = page[page.index("<table") : page.rindex("</table>") + len("</table>")]
    rows = [CELL.findall(row) for row in re.findall(r"(?s)<tr.*?</tr>", bare)]
    wider = {"th": 1.12, "td": 1.0}  # bold type
    widths: dict[int, float] = {}
    for row in rows:
        for column, (kind, cell) in enumerate(row):
            width = wider[kind] * len(html.unescape(cell)) + 2
            widths[column] = max(widths.get(column, 0), width)
    fitting = size(sum(widths.values()), 1.35 * len(rows), most=27, least=18, em=0.54)
    return bare.replace("<table", f"<table {fitting}", 1)


def text(chapter: Notebook, tag: str) -> str:
    """Everything that a cell printed, or its value."""
    outputs = tagged(chapter, tag).outputs
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    values = [shown["text/plain"] for shown in data(chapter, tag) if "text/plain" in shown]
    shown = choose([part for part in (printed, *values) if part], "text", tag, "1")
    lines = shown.rstrip().splitlines()
    fitting = size(max(map(len, lines)) + 4, len(lines), most=28, least=17)
    return f"<pre {fitting}>{html.escape(shown.rstrip())}</pre>"


def said(chapter: Notebook, tag: str, number: str = "1") -> str:
    """A sentence whose numbers the chapter computed."""
    sentences = [shown["text/markdown"] for shown in data(chapter, tag) if "text/markdown" in shown]
    plain = re.sub(r"[*`]", "", choose(sentences, "sentence", tag, number))
    return html.escape(plain.replace("->", "→"))


def formula(chapter: Notebook, tag: str, number: str = "1") -> str:
    """A display equation of a text cell."""
    found = EQUATION.findall(tagged(chapter, tag).source)
    drawn = convert(choose(found, "formula", tag, number), display="block")
    letters = len(html.unescape(re.sub("<mspace[^>]*>", "   ", TAG.sub("", drawn))))
    letters += drawn.count("<mo")  # signs stand a little apart
    return f'<div class="formula" {size(letters, 3, most=46, least=27)}>{drawn}</div>'


# --- numbers from results/ --------------------------------------------------------------------


@cache
def recorded(experiment: str) -> pd.DataFrame:
    """Rows of the ledger; one reading serves all decks."""
    return report.recorded(experiment)


@cache
def judged() -> pd.DataFrame:
    """All claims with their verdicts; one bootstrap serves all decks."""
    return claims.claims_table()


def solved(
    _: Notebook,
    method: str,
    split: str,
    metric: str = "success@1",
    experiment: str = "headline",
) -> str:
    """A share before and after training, mean over seeds, in per cent."""
    rows = recorded(experiment)
    ends = [measured(rows, metric, method, split, at)["value"].mean() for at in ("start", "end")]
    return "not recorded yet" if any(map(pd.isna, ends)) else "{:.0%} → {:.0%}".format(*ends)


def gap(
    _: Notebook, a: str, b: str, split: str, metric: str = "success@1", experiment: str = "headline"
) -> str:
    """A difference in points with its 95 % interval; b is a method, ``init`` or ``best``."""
    found = tables.gap(recorded(experiment), split, a, b, metric)
    return f"{tables.in_words(found)} points" if found else "not recorded yet"


def finding(
    _: Notebook, split: str, metric: str = "success@1", experiment: str = "headline"
) -> str:
    """Which of RL and SFT ends above or below Init, by the intervals."""
    return plots.finding(recorded(experiment), metric, split) or "not recorded yet"


def of_chapters(*chapters: str) -> pd.DataFrame:
    """Claims of these chapters, or all."""
    numbers = [int(chapter) for chapter in chapters]
    return judged()[judged()["chapter"].isin(numbers)] if numbers else judged()


def count(_: Notebook, verdict: str, *chapters: str) -> str:
    """How many claims (of chapters) have a verdict after Holm's correction."""
    kept = of_chapters(*chapters)
    return f"{(kept['after Holm'] == verdict).sum()} of {len(kept)}"


def claims_of(_: Notebook, *chapters: str) -> str:
    """The claims of these chapters: what was measured, and the verdict after Holm's correction."""
    shown = of_chapters(*chapters)[["claim", "measured here", "after Holm"]]
    return sized(shown.to_html(index=False, border=0, classes="claims"))


def tally(_: Notebook) -> str:
    """All claims by chapter and verdict after Holm's correction."""
    verdict, chapter = judged()["after Holm"], judged()["chapter"]
    wide = pd.crosstab(chapter, verdict, margins=True, margins_name="all")
    return sized(wide.rename_axis(index=None, columns="chapter").to_html(border=0))


FILLS: dict[str, Callable[..., str]] = {
    "figure": figure,
    "table": table,
    "text": text,
    "said": said,
    "formula": formula,
    "solved": solved,
    "gap": gap,
    "finding": finding,
    "count": count,
    "claims": claims_of,
    "tally": tally,
}
BLOCKS = ("figure", "table", "text", "formula", "claims", "tally")  # one of them a slide


def fill(page: str, chapter: Notebook) -> str:
    """HTML with every ``{{name words}}`` replaced.

    Raises:
        ValueError: an unknown name, a missing tag or output, words that do not fit.
    """

    def one(call: re.Match[str]) -> str:
        name, *words = html.unescape(call[1]).split()
        try:
            return FILLS[name](chapter, *words)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{call[0]} cannot be filled in: {error}") from None

    return CALL.sub(one, re.sub(r"<p>(\{\{\w+[^}]*\}\})</p>", unwrapped, page))


def unwrapped(call: re.Match[str]) -> str:
    """A block that stands alone needs no paragraph around it."""
    return call[1] if call[1][2:].split()[0].strip("}") in BLOCKS else call[0]
