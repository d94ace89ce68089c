"""Things to play with that compute: power, memory, training step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import ipywidgets as w
import numpy as np
import pandas as pd

from sftrl_lite.course import notebook
from sftrl_lite.course.widgets import BOX, picture_html, present, without_tags
from sftrl_lite.results import plots, recognition_plots
from sftrl_lite.results.intervals import power
from sftrl_lite.results.memory_plots import PARTS
from sftrl_lite.results.names import CARDS

# --- a training, step by step ------------------------------------------------------------


def training_html(points: pd.DataFrame, share: float) -> str:
    """The curves as far as ``share`` of the training, their numbers as alternative text."""
    drawn = notebook.picture(recognition_plots.moment(points, share))
    return picture_html(drawn, recognition_plots.moment_words(points, share), width=840)


def training_table(points: pd.DataFrame) -> str:
    """What the slider would show, all of it: a row an evaluation, per cent and intervals."""
    rows = []
    for method, run in points.groupby("method", sort=False):
        for _, part in run.groupby("share"):
            share = part["share"].iloc[0]
            cells = [plots.LOOKS[str(method)][3], f"{100 * share:.0f} %"]
            for _, row in part.iterrows():
                interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
                cells.append(f"{100 * row['mean']:.1f} {interval}")
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = ["method", "of its training", *map(CARDS.get, points["split"].unique())]
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def training_slider(table: pd.DataFrame) -> None:
    """Drag over a training, or press the arrow keys; SFT and RL part under both rules.

    Args:
        table: rows in the form of the ledger, of one seed or several.

    Raises:
        ValueError: no success of SFT or RL in the table.
    """
    points = recognition_plots.progress(table)
    marks = np.linspace(0, 1, points.groupby(["method", "split"]).size().max()).tolist()
    draw = cache(lambda share: training_html(points, share))  # half a second a figure
    page = w.HTML(draw(0))
    slider = w.SelectionSlider(
        options=[(f"{100 * mark:.0f} %", mark) for mark in marks], description="Training"
    )
    slider.observe(lambda change: setattr(page, "value", draw(change["new"])), "value")
    still = draw(1) + training_table(points)
    present(w.VBox([slider, page]), still, recognition_plots.moment_words(points, 1))


# --- how many episodes it takes ----------------------------------------------------------


def power_html(share: float, gain: float, episodes: int, seeds: int, spread: float) -> str:
    """What a comparison can see: its power, and the episodes for 80 %. All in per cent."""
    p1, p2 = share / 100, min(max((share + gain) / 100, 0.0), 1.0)
    seen = partial(power, p1, p2, seeds=seeds, spread=spread / 100)
    here = seen(episodes)
    enough = next((n for n in SIZES if seen(n) >= 0.8), None)
    needed = f"{enough:,} episodes per seed" if enough else "no number of episodes: more seeds"
    bar = (
        f'<span style="display:inline-block;height:1em;background:#0072B2;'
        f'width:{max(300 * here, 1):.0f}px"></span>'
    )
    return (
        f"<p>{share:g} % against {100 * p2:g} %, {episodes:,} episodes, {seeds} seed(s) a side, "
        f"{spread:g} points from seed to seed</p><p>{bar} seen in {100 * here:.0f} of 100 "
        f"repetitions; for 80 of 100 it takes {needed}</p>"
    )


SIZES = [round(10 ** (i / 20)) for i in range(20, 121)]  # 10 to a million episodes


def power_calculator(share: float = 11.5, gain: float = 3.5) -> None:
    """Choose a share, a gain, episodes, seeds and their spread; see whether it would be seen."""
    wide = dict(style={"description_width": "9em"}, layout=w.Layout(width="32em"))
    fields = (
        w.FloatSlider(share, min=0.5, max=99.5, step=0.5, description="Init solves, %", **wide),
        w.FloatSlider(gain, min=-30, max=30, step=0.5, description="true gain, points", **wide),
        w.SelectionSlider(options=[50, 100, 234, 500, 1000, 2000, 5000, 20000], value=234, **wide),
        w.IntSlider(1, min=1, max=20, description="seeds a side", **wide),
        w.FloatSlider(0, min=0, max=10, step=0.5, description="spread of seeds, points", **wide),
    )
    fields[2].description = "episodes per seed"
    page = w.HTML()

    def draw(*_: object) -> None:
        page.value = power_html(*(field.value for field in fields))

    for field in fields:
        field.observe(draw, "value")
    draw()
    cases = [(234, 1, 0), (1000, 1, 0), (1000, 3, 0), (1000, 3, 3), (20000, 3, 3), (1000, 20, 3)]
    still = "<hr>".join(power_html(share, gain, *case) for case in cases)
    present(w.VBox([*fields, page]), still, without_tags(still))


# --- what goes with forgetting -----------------------------------------------------------


def explorer(points: pd.DataFrame, picture_of: Callable[[str, str], tuple[str, str]]) -> None:
    """Choose what is drawn against what.

    Args:
        points: one run per row; its number columns can be chosen.
        picture_of: names of two columns to a picture as HTML and a sentence about it.
    """
    names = list(points.select_dtypes("number").columns)
    across = w.Dropdown(options=names, value=names[0], description="across")
    up = w.Dropdown(options=names, value=names[-1], description="up")
    page = w.HTML()

    def draw(*_: object) -> None:
        page.value = "".join(picture_of(across.value, up.value))

    across.observe(draw, "value")
    up.observe(draw, "value")
    draw()
    said = [picture_of(name, names[-1])[1] for name in names[:-1]]
    still = "".join(picture_of(names[0], names[-1])) + "<hr>" + "<br>".join(said)
    present(w.VBox([w.HBox([across, up]), page]), still, " ".join(said))


# --- memory of the full model ------------------------------------------------------------


def memory_html(parts: dict[str, float], gpus: dict[str, float]) -> str:
    """One bar of memory by part, and which GPUs have room for it."""
    total, scale = sum(parts.values()), 100 / max(*gpus.values(), sum(parts.values()))
    bar = "".join(
        f'<span title="{name}: {gib:.1f} GiB" style="display:inline-block;height:22px;'
        f'width:{gib * scale:.2f}%;background:{PARTS[name][0]}"></span>'
        for name, gib in parts.items()
    )
    rows = "".join(
        f'<tr><td><span style="{BOX}background:{PARTS[name][0]}">&nbsp;</span></td>'
        f"<td>{name}</td><td>{gib:.1f} GiB</td></tr>"
        for name, gib in parts.items()
        if gib >= 0.05
    )
    room = [f"{name} {'yes' if total + 1 <= size else 'no'}" for name, size in gpus.items()]
    told = f"<p><b>{total:.1f} GiB</b>, and 1 for CUDA. Fits: {', '.join(room)}.</p>"
    return f'<div style="white-space:nowrap">{bar}</div>{told}<table>{rows}</table>'


def memory_view(
    plans: dict[tuple[str, str, int, int], dict[str, float]], gpus: dict[str, float]
) -> None:
    """Choose mode, adapter, tiles and batch; see the memory by part and what it fits on.

    Args:
        plans: GiB by part, by (mode, adapter, tiles, batch).
        gpus: GiB by name.
    """

    def choices(place: int, mode: str | None = None) -> list:
        return list(dict.fromkeys(key[place] for key in plans if mode in (None, key[0])))

    page = w.HTML()
    mode = w.ToggleButtons(options=choices(0), description="Mode")
    adapter = w.ToggleButtons(options=choices(1), description="Adapter")
    tiles = w.SelectionSlider(options=choices(2), description="Tiles")
    batch = w.SelectionSlider(options=choices(3, mode.value), description="Batch")

    def draw(*_: object) -> None:
        page.value = memory_html(plans[mode.value, adapter.value, tiles.value, batch.value], gpus)

    def changed(_: object) -> None:
        batch.options = choices(3, mode.value)
        draw()

    mode.observe(changed, "value")
    for field in (adapter, tiles, batch):
        field.observe(draw, "value")
    draw()
    shown = {key: page for key, page in plans.items() if key[2:] == next(iter(plans))[2:]}
    still = "".join(
        f"<p>{key[0]}, {key[1]}, tiles {key[2]}, batch {key[3]}</p>{memory_html(p, gpus)}"
        for key, p in shown.items()
    )
    present(w.VBox([mode, adapter, tiles, batch, page]), still, without_tags(still))
