"""slides/: what a deck is made of, pages that need nothing else, and no slide that is cut off."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import test_browser
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("slides_build", ROOT / "slides/build.py")
build = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
spec.loader.exec_module(build)
import fill  # noqa: E402  beside build.py, which says where

DECKS = sorted((ROOT / "slides").glob("[0-9]*.md"))
SOURCES = sorted((ROOT / "notebooks/source").glob("[0-9]*.py"))
WITH_TAG = ("figure", "table", "text", "said", "formula")
TAGS = re.compile(r"^# %%.* tags=\[(.+)\]$", re.MULTILINE)
CODE = re.compile(r"(?s)`[^`]*`|\$[^$]*\$|\{\{[^}]*\}\}")
TYPED = re.compile(r"\d+(\.\d+)?\s?(%|points\b|per cent|nats\b|GiB|TFLOP|seconds\b|seeds\b)")
each = pytest.mark.parametrize("deck", DECKS, ids=lambda d: d.stem)


def calls(text: str) -> list[list[str]]:
    return [call.split() for call in fill.CALL.findall(text)]


def tags(source: Path) -> list[str]:
    return re.findall(r'"([^"]+)"', " ".join(TAGS.findall(source.read_text())))


def built(deck: Path) -> nbformat.NotebookNode:
    return nbformat.read(build.chapter_of(deck), as_version=4)


# --- what is written --------------------------------------------------------------------------


def test_every_chapter_has_a_deck():
    assert [d.stem for d in DECKS] == [s.name[:2] for s in SOURCES]


@each
def test_a_deck_has_8_to_15_slides_with_a_message_and_notes_each(deck):
    slides = build.slides_of(deck.read_text())
    assert 8 <= len(slides) <= 15
    assert len({slide.title for slide in slides}) == len(slides)
    for slide in slides:
        assert len(slide.title.split()) >= 2, f"a title says something: {slide.title}"
        assert slide.body, f"{slide.title}: empty"
        assert len(slide.notes.split()) >= 8, f"{slide.title}: what does the teacher say?"
        blocks = [name for name, *_ in calls(slide.body) if name in fill.BLOCKS]
        assert len(blocks) + ("| --- |" in slide.body) <= 1, f"{slide.title}: one thing a slide"


@each
def test_a_deck_has_a_live_demo_and_what_the_records_say(deck):
    slides = build.slides_of(deck.read_text())
    assert any(slide.title.startswith("Live: ") for slide in slides)
    from sftrl_lite.results import claims

    if int(deck.stem) in {claim.chapter for claim in claims.CLAIMS} | {0, 13}:
        assert any(name in ("claims", "tally") for name, *_ in calls(deck.read_text()))


@each
def test_no_measured_number_is_typed(deck):
    for slide in build.slides_of(deck.read_text()):
        typed = [TYPED.search(CODE.sub("", part)) for part in (slide.title, slide.body)]
        assert not any(typed), f"{slide.title}: {[found[0] for found in typed if found]}"


@each
def test_every_tag_is_in_the_chapters_source_and_on_a_slide(deck):
    (source,) = (s for s in SOURCES if s.name.startswith(deck.stem))
    named = [words[0] for name, *words in calls(deck.read_text()) if name in WITH_TAG]
    kept = tags(source)
    assert set(named) == set(kept) and len(set(kept)) == len(kept)


def test_a_number_that_is_typed_is_noticed():
    assert TYPED.search("RL rises to 84 %") and TYPED.search("by 3.5 points")
    assert not TYPED.search(CODE.sub("", "{{gap sft init id}} of `5 points`, cards 3 5 6"))


# --- what stands for {{...}} ------------------------------------------------------------------


@pytest.fixture
def chapter():
    """A chapter in small, with everything that a slide can show."""
    picture = new_output(
        "display_data",
        {"image/png": "iVBORw0KGgo="},
        metadata={"image/png": {"alt": "A line that rises <fast>."}},
    )
    page = "<div><style>td {}</style><table><tr><td>7</td></tr></table></div>"
    table = new_output("execute_result", {"text/html": page, "text/plain": "7"})
    sentence = new_output("display_data", {"text/markdown": "Solved: **70 -> 80** %."})
    printed = [new_output("stream", text="a < b\n"), new_output("stream", text="c\n")]
    cells = [
        new_markdown_cell("Text.\n\n$$x^2$$\n\n$$y$$", metadata={"tags": ["law"]}),
        new_code_cell("", outputs=[picture, sentence], metadata={"tags": ["rise"]}),
        new_code_cell("", outputs=[table], metadata={"tags": ["seven"]}),
        new_code_cell("", outputs=printed, metadata={"tags": ["said"]}),
    ]
    return new_notebook(cells=cells)


DECK = """# A deck

A claim.

Notes: Say hello to everybody in the room.

## It rises: {{said rise}}

{{figure rise}}

Words under it.

Notes: Ask why.
"""


def test_a_deck_is_cut_at_its_headings():
    first, second = build.slides_of(DECK)
    assert (first.title, first.body) == ("A deck", "A claim.")
    assert second.body == "{{figure rise}}\n\nWords under it." and second.notes == "Ask why."


def test_outputs_take_the_place_of_their_names(chapter):
    page = build.page(DECK, chapter)
    assert "<h2>It rises: Solved: 70 → 80 %.</h2>" in page
    assert 'alt="A line that rises &lt;fast&gt;." src="data:image/png;base64,iVBORw0KGgo="' in page
    assert page.count("<section") == 2 and "{{" not in page.partition("<script>")[0]
    shown = fill.fill("<p>{{formula law 2}}</p><p>{{table seven}}</p><p>{{text said}}</p>", chapter)
    assert "<mi>y</mi>" in shown and "<mi>x</mi>" not in shown
    assert "<td>7</td>" in shown and "style>" not in shown and "<p>" not in shown
    assert "a &lt; b\nc</pre>" in shown


@pytest.mark.parametrize(
    "call, words",
    {
        "figure nothing": "0 cells are tagged 'nothing'",
        "figure seven": "'seven' shows 0 of: figure",
        "formula law 3": "'law' shows 2 of: formula",
        "chart rise": "cannot be filled in",
        "figure": "cannot be filled in",
        "solved sft id one two three": "cannot be filled in",
    }.items(),
)
def test_what_cannot_be_filled_in_is_told(chapter, call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fill.fill(f"{{{{{call}}}}}", chapter)


def test_numbers_come_from_the_ledger(chapter):
    from sftrl_lite.results import plots, report

    rows = report.recorded("headline")
    assert fill.fill("{{finding ood-rule}}", chapter) == plots.finding(
        rows, "success@1", "ood-rule"
    )
    assert re.fullmatch(r"\d+% → \d+%", fill.fill("{{solved sft id}}", chapter))
    assert re.fullmatch(r"[+-].+\] points", fill.fill("{{gap rl-ppo sft ood-rule}}", chapter))
    assert fill.fill("{{solved sft id success@1 nowhere}}", chapter) == "not recorded yet"


def test_long_lines_and_many_rows_get_smaller_type():
    sizes = [fill.size(n, m, most=40, least=10) for n, m in ((10, 1), (100, 1), (10, 30), (999, 1))]
    assert sizes == [f'style="font-size: {n}px"' for n in (40, 19, 10, 10)]


# --- the pages --------------------------------------------------------------------------------


@each
def test_a_deck_is_filled_in_and_needs_no_network(deck):
    page = build.page(deck.read_text(), built(deck))
    head, _, body = page.partition("<body>")
    body = body.partition("<script>")[0]
    assert not re.search(r'\bsrc="(?!data:)|<link|<iframe', body)
    assert not re.search(r"@import|<link|<script", head)
    assert len(re.findall(r'<img alt="[^"]{10,}" src="data:', body)) == body.count("<img ")
    assert "{{" not in body and "$$" not in body and not re.search(r"\bnan\b *[%<]", body)
    assert len(page) < 4_000_000


OVER = """(sheets) => [...document.querySelectorAll('section')].map((slide, i) => {
  if (!sheets) Reveal.slide(i);
  const page = slide.getBoundingClientRect();
  const low = slide.querySelector('footer').getBoundingClientRect().top;
  const out = [];
  for (const part of slide.querySelectorAll('h2, h2 *, .body *')) {
    const box = part.getBoundingClientRect();
    if (!box.width || part.matches('mspace')) continue;
    const right = page.left + 1240;
    const beyond = box.left < page.left || box.top < page.top || box.right > right;
    if (beyond || box.bottom > low || part.scrollWidth > part.clientWidth + 1 && part.clientWidth
        && getComputedStyle(part).overflowX != 'visible') out.push(part.tagName);
    if (part.innerText && parseFloat(getComputedStyle(part).fontSize) < 14
        && !part.closest('math')) out.push('small ' + part.tagName);
  }
  for (const picture of slide.querySelectorAll('img')) {
    const box = picture.getBoundingClientRect();
    if (!picture.naturalWidth || box.width < 300 && box.height < 300) out.push('small picture');
  }
  return [slide.querySelector('h2').innerText, page.width, page.height, out];
})"""


def cut_off(page, sheets: bool) -> list:
    """Slides of the page that Chromium shows on which something sticks out or is too small."""
    measured = page.evaluate(OVER, sheets)
    assert measured and all(slide[1:3] == [1280, 720] for slide in measured)
    return [(title, out) for title, _, _, out in measured if out]


@pytest.fixture(scope="module")
def screen():
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: the extra browser")
    if not (chromium := test_browser.find_chromium()):
        pytest.skip("no Chromium in the path; CHROMIUM=... names one")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=test_browser.FLAGS.split())
        yield browser.new_page(viewport={"width": 1280, "height": 720})
        browser.close()


@pytest.mark.browser
@each
def test_no_slide_is_cut_off_on_the_screen_or_on_paper(deck, screen, tmp_path):
    text, chapter = deck.read_text(), built(deck)
    slides, target = build.slides_of(text), tmp_path / "deck.html"
    for live in (True, False):
        target.write_text(build.page(text, chapter, live))
        screen.emulate_media(media="screen" if live else "print")
        screen.goto(target.as_uri())
        assert not cut_off(screen, sheets=not live)
    paper = screen.pdf(prefer_css_page_size=True, print_background=True)
    sheets = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert len(re.findall(rb"/Type /Page\b", paper)) == len(slides)
    assert {(round(float(w)), round(float(h))) for w, h in sheets} == {(960, 540)}  # points


@pytest.mark.browser
def test_a_slide_that_is_too_full_is_noticed(screen, chapter, tmp_path):
    full = "# A deck\n\nShort.\n\n## Too much\n\n" + "- A line of text.\n" * 20
    for live in (True, False):
        (tmp_path / "deck.html").write_text(build.page(full, chapter, live))
        screen.emulate_media(media="screen" if live else "print")
        screen.goto((tmp_path / "deck.html").as_uri())
        assert [title for title, _ in cut_off(screen, sheets=not live)] == ["Too much"]


@pytest.mark.skipif(not any(map(shutil.which, build.CHROMIUM)), reason="Chromium is not installed")
def test_pdf(tmp_path, chapter):
    chromium = next(filter(None, map(shutil.which, build.CHROMIUM)))
    build.to_pdf(build.page(DECK, chapter, live=False), tmp_path / "t.pdf", chromium)
    data = (tmp_path / "t.pdf").read_bytes()
    assert data.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", data)) == 2


def test_a_failed_print_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"printed no t\.pdf"):
        build.to_pdf("", tmp_path / "t.pdf", shutil.which("true"))
