"""The playground as a widget: settings, a button, curves, and a sentence about what came of it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import ipywidgets as w
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sftrl_lite.course import notebook
from sftrl_lite.course.playground import (
    CASES,
    DEFAULT,
    RULES,
    STEPS,
    TABLES,
    TESTS,
    Curve,
    Settings,
    recorded,
    train,
)
from sftrl_lite.course.widgets import picture_html, present
from sftrl_lite.results.intervals import Estimate, difference
from sftrl_lite.results.plots import STYLE, direction, legend_below

METHODS = {"PPO": "rl-ppo", "GRPO": "rl-grpo", "REINFORCE": "rl-reinforce", "SFT": "sft"}
RATES = (1e-5, 3e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
CLIPS = (0.02, 0.05, 0.1, 0.2, 0.5, float("inf"))
GROUPS = (2, 4, 8, 16, 32)
LINES = (  # colour, marker, line; the first is the curve that others are held against
    ("#555555", "", "--"),
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "-"),
    ("#009E73", "^", "-"),
    ("#CC79A7", "D", "-"),
    ("#E69F00", "v", "-"),
)


def curves_figure(curves: Mapping[str, Curve]) -> Figure:
    """Success at the first try against steps, a panel per rule; the first curve is dashed."""
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(RULES), figsize=(7.4, 3.1), sharey=True)
        for axis, (split, rule) in zip(axes, RULES.items(), strict=True):
            for (name, curve), (colour, marker, line) in zip(curves.items(), LINES, strict=False):
                look: dict[str, Any] = dict(color=colour, marker=marker, ls=line, mec="white")
                axis.plot(curve.steps, curve.share(split), label=name, **look)
            axis.set_title(f"fresh hands, {rule}")
            axis.set(xlabel="step", ylabel="solved at the first try")
            axis.set(xlim=(-1, STEPS + 1), ylim=(-0.02, 1.02))
            axis.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
            axis.label_outer()
        legend_below(figure)
    return figure


WAYS = {1: "above", -1: "below", 0: "within noise of"}


def gap_of(a: float, b: float, tests: int = TESTS) -> Estimate:
    """The difference of two shares of as many hands."""
    return difference(round(a * tests), tests, round(b * tests), tests)


def against(a: float, b: float) -> str:
    """Two shares compared, in words."""
    gap = gap_of(a, b)
    points = f"{100 * gap.value:+.0f} points [{100 * gap.low:+.0f}, {100 * gap.high:+.0f}]"
    return f"{WAYS[direction(gap)]} it ({points})"


def outcome(settings: Settings, curve: Curve, default: Curve) -> str:
    """What came of a training, in a sentence or two: the finding first."""
    if curve.broke:
        return (
            f"Diverged: after step {curve.broke} the model computes no numbers any more. Its "
            f"updates were too large; lower the learning rate of {settings.lr:g}."
        )
    first, last = curve.rows[0], curve.rows[-1]
    ends = ", ".join(
        f"{100 * last[s]:.0f} % under the {rule} (before {100 * first[s]:.0f} %)"
        for s, rule in RULES.items()
    )
    said = f"After step {last['step']:.0f}: {ends}."
    if last["id"] < first["id"] / 2:
        said = (
            f"Collapsed. {said} {100 * last['format_error']:.0f} % of the answers are no legal "
            f"formula."
        )
        if settings.lr > DEFAULT.lr:
            said += (
                f" The rate is {settings.lr / DEFAULT.lr:g} times the default's: lower it first."
            )
        return said
    same = [row for row in default.rows if row["step"] == last["step"]]
    if same and last["step"] and curve is not default:
        at = "; ".join(f"{rule}: {against(last[s], same[0][s])}" for s, rule in RULES.items())
        said += f" Against the default at that step, {at}."
    return said


def figures_words(curve: Curve) -> str:
    """What the newest step tells about itself; SFT tells its format errors alone."""
    row = curve.rows[-1]
    forms = {
        "format_error": "format errors {:.0%}",
        "reward": "reward per episode {:+.2f}",
        "kl": "KL of the update {:.3g} nats",
        "clipped": "{:.0%} outside the clip",
        "entropy": "entropy {:.3f} nats per token",
        "grad_norm": "gradient norm {:.1f}",
    }
    return ", ".join(form.format(row[name]) for name, form in forms.items() if name in row)


def page_html(name: str, settings: Settings, curve: Curve, default: Curve) -> str:
    """The curve beside the default's, and what came of it."""
    said = outcome(settings, curve, default)
    drawn = notebook.picture(curves_figure({"default (recorded)": default, name: curve}))
    words = html.escape(f"{said} {figures_words(curve)}")
    return f"{picture_html(drawn, said, width=760)}<p>{words}</p>"


def finding(curves: Mapping[str, Curve]) -> str:
    """Which curves end above or below the first, or within noise of it, under the trained rule."""
    (_, default), *others = curves.items()
    ways: dict[str, list[str]] = {way: [] for way in WAYS.values()}
    for name, curve in others:
        gap = gap_of(curve.share("id")[-1], default.share("id")[-1])
        ways[WAYS[direction(gap)]].append(name)
    ends = "; ".join(f"{way} it {', '.join(names)}" for way, names in ways.items() if names)
    return f"At the end, trained rule, against the default: {ends}."


def still_html() -> tuple[str, str]:
    """All recorded curves with their outcomes, as a page and in words."""
    curves = recorded()
    default = next(iter(curves.values()))
    said = {name: outcome(CASES[name], curve, default) for name, curve in curves.items()}
    words = f"{finding(curves)} " + " ".join(f"{name}: {text}" for name, text in said.items())
    drawn = picture_html(notebook.picture(curves_figure(curves)), words, width=760)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(text)}</td></tr>'
        for name, text in said.items()
    )
    return f"<p>{html.escape(finding(curves))}</p>{drawn}<table>{rows}</table>", words


def chosen_words(settings: Settings) -> str:
    """The choices that differ from the default, as a name for a curve."""
    names = {value: name for name, value in METHODS.items()}
    changed = {f.name: v for f in fields(Settings) if (v := getattr(settings, f.name)) != f.default}
    changed = {n: names.get(v, v) if n == "method" else v for n, v in changed.items()}
    return ", ".join(f"{name} {value}" for name, value in changed.items()) or "default, live"


def playground() -> None:
    """Choose method, rate, clip, tries, group, temperature and rewards; train; compare.

    A click trains for half a minute on one core, and the curve grows meanwhile. SFT uses the
    rate alone, REINFORCE has no clip.
    """
    default = next(iter(recorded().values()))
    wide: dict[str, Any] = dict(style={"description_width": "11em"}, layout=w.Layout(width="34em"))
    clips = [("none" if clip == float("inf") else f"{clip:g}", clip) for clip in CLIPS]
    rates = [(f"{rate:g}", rate) for rate in RATES]
    choices = {
        "method": w.ToggleButtons(options=METHODS, description="Method", style=wide["style"]),
        "lr": w.SelectionSlider(options=rates, description="Learning rate", **wide),
        "clip": w.SelectionSlider(options=clips, description="Clip", **wide),
        "tries": w.IntSlider(min=1, max=5, description="Tries", **wide),
        "group": w.SelectionSlider(options=GROUPS, description="Episodes per hand", **wide),
        "temperature": w.FloatSlider(min=0.2, max=2, step=0.1, description="Temperature", **wide),
        "rewards": w.Dropdown(options=list(TABLES), description="Reward table", **wide),
        "seed": w.BoundedIntText(min=0, max=999, description="Seed", **wide),
    }
    for name, field in choices.items():
        field.value = getattr(DEFAULT, name)
    button = w.Button(description="Train", button_style="primary")
    page = w.HTML(page_html("default (recorded)", DEFAULT, default, default))

    def clicked(_: w.Button) -> None:
        settings = Settings(**{name: field.value for name, field in choices.items()})
        button.disabled, button.description = True, "Training ..."
        name = chosen_words(settings)
        try:
            done = train(settings, lambda curve: draw(name, settings, curve))
            draw(name, settings, done)
        finally:
            button.disabled, button.description = False, "Train"

    def draw(name: str, settings: Settings, curve: Curve) -> None:
        page.value = page_html(name, settings, curve, default)

    button.on_click(clicked)
    present(w.VBox([*choices.values(), button, page]), *still_html())
