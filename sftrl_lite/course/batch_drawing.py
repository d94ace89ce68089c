"""A drawing of packed episodes: which tokens are actions, where values are read, rewards."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sftrl_lite.training.forward import Batch

GIVEN, ACTION, PADDING = "#D9D9D9", "#9ECAE9", "#FFFFFF"


def spans(turns: list[int]) -> list[tuple[str, int, int]]:
    """A row of ``Batch.turn`` in pieces: what each is, its first token, the one after its last.

    >>> spans([-1, -1, 0, 0, -1, 1, -1])
    [('prompt', 0, 2), ('answer 1', 2, 4), ('message', 4, 5), ('answer 2', 5, 6), ('padding', 6, 7)]
    """
    cuts = [i for i in range(1, len(turns)) if turns[i] != turns[i - 1]]
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(turns)], strict=True):
        name = "message" if start else "prompt"
        if turns[start] >= 0:
            name = f"answer {turns[start] + 1}"
        elif end == len(turns):
            name = "padding"
        found.append((name, start, end))
    return found


def batch_drawing(batch: Batch) -> Figure:
    """Episodes as rows: on the left tokens (B, L) and ``ask``, on the right rewards (B, T)."""
    rows, length = batch.turn.shape
    turns = batch.rewards.shape[1]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(8.5, 0.9 + 0.5 * rows), width_ratios=(5, 0.4 + 0.4 * turns), sharey=True
    )
    for i, row in enumerate(batch.turn.tolist()):
        for name, start, end in spans(row):
            draw_span(left, i, name, start, end)
        places, paid = batch.ask[i].tolist(), batch.rewards[i].tolist()
        for t, played in enumerate(batch.played[i].tolist()):
            right.text(t, i, f"{paid[t]:+g}" if played else "–", ha="center", va="center")
            if played:
                left.plot(places[t] + 0.5, i - 0.42, "v", color="#D55E00", clip_on=False)
    left.set(xlim=(0, length), xlabel=f"token, 0 to {length - 1}: L = {length}", title="ids")
    left.set(yticks=range(rows), ylabel=f"episode: B = {rows}", ylim=(rows - 0.5, -0.7))
    right.set(title="rewards", xlim=(-0.5, turns - 0.5), xlabel=f"turn: T = {turns}")
    right.set_xticks(range(turns), [str(t + 1) for t in range(turns)])
    for axes in (left, right):
        axes.grid(False)
    return fig


def draw_span(axes: Axes, row: int, name: str, start: int, end: int) -> None:
    """One piece of an episode, with its name if there is room."""
    colour = ACTION if name.startswith("answer") else PADDING if name == "padding" else GIVEN
    hatch = "///" if name == "padding" else None
    axes.barh(row, end - start, 0.6, start, color=colour, edgecolor="#555555", hatch=hatch)
    if end - start > 8 and name != "padding":
        axes.text((start + end) / 2, row, name, ha="center", va="center", fontsize=9)
