"""Links of all pages and chapters: files and headings exist, addresses are well formed."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
SKIPPED = {"build", "_build", "runs", "node_modules"}
PAGES = sorted(
    path
    for pattern in ("*.md", "[0-9]*.ipynb")
    for path in ROOT.rglob(pattern)
    if not any(
        part in SKIPPED or (part[0] == "." and part != ".github")
        for part in path.relative_to(ROOT).parts
    )
)
HTML_LINK = re.compile(r"""(?:href|src)=["']([^"']+)""")


@cache
def tokens(page: Path) -> list[Token]:
    """A page as markdown tokens, inline ones among them."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    blocks = MarkdownIt("commonmark").enable("table").parse(text)
    return [token for block in blocks for token in (block, *(block.children or []))]


def links(page: Path) -> list[str]:
    found = []
    for token in tokens(page):
        found += [str(v) for k, v in (token.attrs or {}).items() if k in ("href", "src")]
        if token.type.startswith("html"):
            found += HTML_LINK.findall(token.content)
    return found


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    found, after = [], False
    for token in tokens(page):
        if after:
            words = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]|\]\([^)]*\)", "", token.content))
            found.append(words.strip().lower().replace(" ", "-"))
        after = token.type == "heading_open"
    return {f"{name}-{k}" if k else name for name in found for k in range(found.count(name))}


def fault(page: Path, link: str) -> str:
    """What is wrong with a link; an empty string if nothing is."""
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return "" if "@" in parts.path else "no address"
    if parts.scheme or parts.netloc:
        good = parts.scheme in ("http", "https") and re.fullmatch(
            r"[\w-]+(\.[\w-]+)+", parts.netloc
        )
        return "" if good and not re.search(r"[\s<>]", link) else "not an address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file"
    if parts.fragment and target.suffix in (".md", ".ipynb"):
        return "" if unquote(parts.fragment).lower() in anchors(target) else "no such heading"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links(page):
    faults = {link: fault(page, link) for link in links(page)}
    assert not {link: why for link, why in faults.items() if why}


def test_faults_are_found(tmp_path):
    page = ROOT / "README.md"
    good = ["LICENSE", "notebooks", "#chapters", "data/README.md#data", "https://a.org/b#c"]
    assert [link for link in good if fault(page, link)] == []
    for link, why in {
        "LICENCE": "no such file",
        "../elsewhere.md": "no such file",
        "#no-such": "no such heading",
        "data/README.md#code": "no such heading",
        "http://a b.org": "not an address",
        "https:/a.org": "not an address",
        "htps://a.org": "not an address",
    }.items():
        assert fault(page, link) == why, link


def test_pages_are_found():
    assert {ROOT / "README.md", ROOT / "data" / "README.md"} <= set(PAGES)
    assert len(links(ROOT / "README.md")) > 10
