"""The site: executed chapters, text pages and API pages. ``make docs`` builds it with Sphinx.

Its source folder is the repository's root, so that every page links as it does on GitHub.
"""

import html
import sys
import tomllib
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # autodoc reads this checkout
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOME = PROJECT.get("urls", {}).get("Repository", "")  # none: no buttons that lead to it

LONGEST = 18  # lines of a printed output or a table that a page shows unfolded

project = "SFT memorises, RL generalises"
author = copyright = "The sftrl-lite authors"
root_doc = "docs/index"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
include_patterns = ["docs/**", "notebooks/[0-9]*.ipynb", "CONTRIBUTING.md", "CHANGELOG.md"]
include_patterns += ["CODE_OF_CONDUCT.md", "results/README.md", "results/coverage.md"]
exclude_patterns = [
    ".*",
    ".venv",
    "_build",
    "runs",
    "data",
    "results/sweeps",
    "tests",
    "sftrl_lite",
]

nb_execution_mode = "off"  # the chapters are executed, by notebooks/build.py
nb_merge_streams = True  # what a loop prints is one block
myst_enable_extensions = ["attrs_inline", "dollarmath", "html_image"]
myst_heading_anchors = 3
myst_dmath_allow_labels = False
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = project
html_theme_options = {"use_download_button": True, "show_toc_level": 2}
if HOME:
    html_theme_options |= {
        "repository_url": HOME,
        "use_repository_button": True,
        "use_source_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }
html_sidebars = {"**": ["navbar-logo.html", "sbt-sidebar-nav.html"]}  # the search is above the page
html_extra_path = ["site"]  # index.html, which leads from the top to docs/index.html
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False


def math(self, node: nodes.Element, display: str) -> None:
    """TeX as MathML, which browsers show without a script."""
    tag = "div" if display == "block" else "span"
    self.body.append(f'<{tag} class="math">{convert(node.astext(), display=display)}</{tag}>')
    raise nodes.SkipNode


def fold(app, doctree: nodes.document, docname: str) -> None:
    """Long printed outputs and tables of a chapter are folded behind a line."""
    outputs = [c for c in doctree.findall(nodes.container) if "cell_output" in c["classes"]]
    for block in [b for output in outputs for b in output.findall(nodes.Text)]:
        block = block.parent
        rows, text = block.astext().count("<tr"), block.astext().strip()
        if isinstance(block, nodes.raw) and rows > LONGEST:
            told = f"Table of {rows - 1} rows"
        elif isinstance(block, nodes.literal_block) and text.count("\n") >= LONGEST:
            told = f"{html.escape(text.splitlines()[0][:60])} … ({text.count(chr(10)) + 1} lines)"
        else:
            continue
        start = nodes.raw("", f"<details><summary>{told}</summary>", format="html")
        end = nodes.raw("", "</details>", format="html")
        block.parent.replace(block, [start, block.deepcopy(), end])


def setup(app) -> None:
    """Equations need no network; long outputs are folded."""
    app.connect("doctree-resolved", fold)
    app.add_html_math_renderer(
        "mathml",
        (lambda self, node: math(self, node, "inline"), None),
        (lambda self, node: math(self, node, "block"), None),
    )


html_math_renderer = "mathml"
