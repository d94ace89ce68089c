"""A slider over the sampling temperatures at which the ends of the runs were measured."""

from __future__ import annotations

from functools import cache

import ipywidgets as w
import pandas as pd

from sftrl_lite.course import notebook
from sftrl_lite.course.widgets import picture_html, present
from sftrl_lite.results import tables, temperature_plots
from sftrl_lite.results.names import CARDS
from sftrl_lite.results.plots import INIT, LABELS, TEMPERATURES, per_cent

METRIC, METHODS = "success@1", ("rl-ppo", "sft")
RULES = {"shifted rule": "ood-rule", "trained rule": "id"}


def compared(table: pd.DataFrame, split: str, decoding: str) -> pd.DataFrame:
    """Init and the methods at one temperature, in words: a row each.

    Columns: ``solved``, in per cent; ``against Init`` at the same temperature and ``against Init
    at its best``, in points; all with 95 % intervals.
    """
    points = temperature_plots.by_temperature(table, METRIC, split, METHODS)
    rows = {}
    for _, row in points[points["decoding"] == decoding].iterrows():
        who, others = row["who"], {"against Init": "init", "against Init at its best": "best"}
        found = {"solved": f"{per_cent(row['mean'], row['low'], row['high'])} %"}
        for name, other in others.items():
            gap = None if who == INIT else tables.gap(table, split, who, other, METRIC, decoding)
            found[name] = tables.in_words(gap)
        rows[LABELS.get(who, INIT)] = found
    return pd.DataFrame(rows).T


def compared_words(rows: pd.DataFrame, split: str, decoding: str) -> str:
    """The table of ``compared`` as sentences."""
    said = []
    for who, row in rows.iterrows():
        ends = [f"{row[name]} points {name}" for name in rows.columns[1:] if row[name] != "–"]
        said.append(", ".join([f"{who} {row['solved']}", *ends]))
    return f"{named(decoding)}, {CARDS[split]}, first try: {'; '.join(said)}."


def moment(table: pd.DataFrame, split: str, decoding: str) -> str:
    """The curves with one temperature marked, and the models compared there, as a page."""
    rows = compared(table, split, decoding)
    figure = temperature_plots.temperature_curve(table, METRIC, split, METHODS)
    figure.axes[0].axvline(TEMPERATURES[decoding], color="#222222", lw=9, alpha=0.15, zorder=0)
    words = compared_words(rows, split, decoding)
    drawn = picture_html(notebook.picture(figure), words, width=620)
    return f"<p>{named(decoding)}, points with 95 % intervals</p>{drawn}{as_html(rows)}"


def as_html(rows: pd.DataFrame) -> str:
    """A table as a widget shows it, where JupyterLab's own look of tables does not reach."""
    return rows.to_html(border=0, col_space="11em", justify="left")


def named(decoding: str) -> str:
    """A decoding as a sentence begins."""
    words = "Greedy decoding" if decoding == "0" else f"Temperature {TEMPERATURES[decoding]:g}"
    return f"{words}, top_p 0.9" if "/" in decoding else words


def temperature_slider(table: pd.DataFrame) -> None:
    """Drag over the recorded temperatures: what is left of a method's lead over Init.

    Args:
        table: rows in the form of the ledger, of one seed or several; the ends of runs are used.

    Raises:
        ValueError: no success of SFT or RL in the table.
    """
    points = temperature_plots.by_temperature(table, METRIC, "ood-rule", METHODS)
    decodings = [way for way in TEMPERATURES if way in set(points["decoding"])]
    draw = cache(lambda split, decoding: moment(table, split, decoding))  # a second a figure
    rule = w.ToggleButtons(options=RULES, description="Rule")
    ways = [(f"{TEMPERATURES[way]:g}", way) for way in decodings]
    slider = w.SelectionSlider(options=ways, value=decodings[-1], description="Temperature")
    slider.style.description_width = "7em"
    page = w.HTML()

    def show(*_: object) -> None:
        page.value = draw(rule.value, slider.value)

    rule.observe(show, "value")
    slider.observe(show, "value")
    show()
    at = {way: compared(table, "ood-rule", way) for way in decodings}
    told = [compared_words(rows, "ood-rule", way) for way, rows in at.items()]
    finding = temperature_plots.temperature_alt(table, METRIC, "ood-rule", METHODS)
    whole = pd.concat({named(way): rows for way, rows in at.items()})
    still = page.value.partition("<table")[0] + as_html(whole)
    present(w.VBox([rule, slider, page]), still, " ".join([finding, *told]))
