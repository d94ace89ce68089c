"""From results/ledger.csv to the pages: figure, tables, sentence. Nothing is typed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from sftrl_lite import ledger, plots
from sftrl_lite.claims import (
    BARS,
    PAPER,
    TRIES,
    best_start,
    claims_table,
    compare,
    costs,
    measured,
    option,
    times,
)
from sftrl_lite.headline import SHOWN, figure, sentence
from sftrl_lite.intervals import Tested
from sftrl_lite.models import ROOT

FIGURE = ROOT / "results" / "headline.svg"
LEDGER_PAGE = ROOT / "results" / "README.md"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
SWEEPS = ROOT / "results" / "sweeps"
PREFACE = """Written by `python -m sftrl_lite report` from [`ledger.csv`](ledger.csv): {rows}
measured values of {runs} runs. Every table and figure of this repository is drawn from that file.
Each run is done again by its command, with `--seed` and one of the seeds beside it; a whole
experiment by the command above its table. Minutes are the sum over seeds, evaluations included,
one core a run, on machines that did other work as well."""
CLAIMED = """What was published about SFT and RL, and what the recorded tiny runs say to it: a
difference paired by seed with its 95 % interval, which holds the noise of seeds and of problems
(`sftrl_lite/claims.py`; chapter 13 reads it). The verdict follows from the interval alone; `open`:
it holds zero. `p (Holm)` is corrected for the number of recorded claims, and `after Holm` is what
the verdict becomes at 5 %. `Init at its best temperature` was picked among four after looking,
which favours Init."""
DECODED = """Answers are sampled as in the paper, at temperature 0.6 with top_p 0.9; greedy is
temperature 0. `Init at its best temperature` is picked after looking; its temperature stands beside
it.""".replace("\n", " ")
COLUMNS = {
    ("success@1", "train"): "training hands, first try",
    ("success@5", "id"): "ID, five tries",
    ("success@1", "id"): "ID, first try",
    ("success@1", "id", "0"): "ID, greedy first try",
    ("success@5", "ood-rule"): "OOD, five tries",
    ("success@1", "ood-rule"): "OOD, first try",
    ("success@1", "ood-rule", "0"): "OOD, greedy first try",
    ("read", "ood-rule"): "OOD, numbers read",
}
PICTURES = {
    ("success@1", "train"): "training hands, first try",
    ("success@5", "id"): "ID (black), five tries",
    ("success@5", "ood-visual"): "red, five tries",
    ("success@1", "ood-visual"): "red, first try",
    ("success@1", "ood-visual", "0"): "red, greedy first try",
    ("success@5", "ood-rule"): "11-12-13, five tries",
    ("success@1", "ood-rule"): "11-12-13, first try",
    ("success@1", "ood-rule", "0"): "11-12-13, greedy first try",
    ("recognised", "id"): "cards recognised, black",
    ("recognised", "ood-visual"): "cards recognised, red",
}
STREETS = {
    ("success@1", "train"): "training steps, first try",
    ("per_step", "id"): "ID, per step",
    ("route", "id"): "ID, whole routes",
    ("per_step", "ood-rule"): "rule OOD, per step",
    ("success@1", "ood-rule", "0"): "rule OOD, greedy first try",
    ("walk_per_step", "ood-rule"): "rule OOD, per step until the walk fails",
    ("route", "ood-rule"): "rule OOD, whole routes",
}
STREET_VIEWS = {
    ("success@1", "train"): "training steps, first try",
    ("per_step", "id"): "ID, per step",
    ("route", "ood-visual"): "unseen cities, whole routes",
    ("per_step", "ood-visual"): "unseen cities, per step",
    ("success@1", "ood-visual", "0"): "unseen cities, greedy first try",
    ("recognised", "ood-visual"): "unseen cities, recognised",
    ("per_step", "ood-rule"): "rule OOD, per step",
    ("success@1", "ood-rule", "0"): "rule OOD, greedy first try",
}
SHIFTS = {"ood-rule": "shifted rule", "ood-visual": "visual shift"}
JUDGED = {
    "success@1": "first try",
    "success@5": "five tries",
    "per_step": "per step",
    "route": "whole routes",
}
PAIRS = {  # what is compared: a method, and another one, its Init, or Init's best temperature
    "RL - Init": ("rl-ppo", "init"),
    "RL - Init at its best temperature": ("rl-ppo", "best"),
    "SFT - Init": ("sft", "init"),
    "RL - SFT": ("rl-ppo", "sft"),
    "SFT at 1e-3 - Init": ("sft-pushed", "init"),
    "SFT on own verified answers - SFT": ("sft-verified", "sft"),
    "SFT on varied rules - SFT": ("sft-varied", "sft"),
    "RL with random reward - Init": ("rl-random", "init"),
}
COSTS = {
    "flops_paper": "training TFLOP, paper's count",
    "flops_cache": "with a KV cache",
    "updates": "gradient updates",
    "minutes": "minutes",
    "seeds": "seeds",
}
Columns = Mapping[tuple[str, ...], str]  # metric, split and, if not the paper's, decoding


# --- tables -------------------------------------------------------------------------------


def markdown(table: pd.DataFrame, first: str) -> str:
    """A text table for a README; ``first`` heads the column of row names."""
    head = [first, *map(str, table.columns)]
    rows = [
        [str(name), *map(str, row)] for name, row in zip(table.index, table.values, strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main_table(rows: pd.DataFrame, columns: Columns = COLUMNS) -> pd.DataFrame:
    """Init, methods and controls at equal compute: per cent with 95 % intervals.

    Args:
        columns: (metric, split) or (metric, split, decoding), and its name in the table.
    """
    parts = {}
    for key, name in columns.items():
        metric, split, decoding = (*key, PAPER)[:3]
        one = plots.summary_table(rows, [metric], [split], decoding)
        if (metric, split) in one:
            parts[name] = one[metric, split]
            if len(key) == 3:  # a column of one decoding holds no best one
                parts[name] = parts[name].drop(plots.BEST, errors="ignore")
    wide = pd.DataFrame(parts, columns=list(columns.values()))
    order = [plots.INIT, plots.BEST, *(look[3] for look in plots.LOOKS.values())]
    wide = wide.reindex([who for who in order if who in wide.index]).fillna("–")
    seeds = {plots.LOOKS[m][3]: part["seed"].nunique() for m, part in rows.groupby("method")}
    return wide.assign(seeds=[seeds.get(who, max(seeds.values())) for who in wide.index])


def gap(
    rows: pd.DataFrame, split: str, a: str, b: str, metric: str, decoding: str = PAPER
) -> Tested | None:
    """A metric of method ``a`` minus ``b`` at the end, in points, paired by seed.

    Args:
        b: another method, ``init`` (where a's runs started) or ``best`` (the same at its best
            temperature, picked after looking).

    Returns:
        None where that is not recorded.
    """
    end = measured(rows, metric, a, split, "end", decoding)
    if b == "best":
        other = best_start(rows, metric, a, split)
    elif b == "init":
        other = measured(rows, metric, a, split, "start", decoding)
    else:
        other = measured(rows, metric, b, split, "end", decoding)
    found = compare([end], [other])
    return times(found, 100) if found else None


def in_words(found: Tested | None) -> str:
    """A difference and its interval as a table shows them."""
    return f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]" if found else "–"


def gap_table(rows: pd.DataFrame, shifts: Mapping[str, str]) -> pd.DataFrame:
    """Methods against Init and each other, in points, a column a shift.

    Args:
        shifts: splits and the metric that counts there.
    """
    lines = {}
    for name, (a, b) in PAIRS.items():
        found = {
            f"{SHIFTS.get(split, split)}, {JUDGED.get(metric, metric)}": (
                gap(rows, split, a, b, metric)
            )
            for split, metric in shifts.items()
        }
        if any(found.values()):
            seeds = max(one.n for one in found.values() if one)
            lines[name] = {shift: in_words(one) for shift, one in found.items()} | {"seeds": seeds}
    return pd.DataFrame(lines, dtype=object).T


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What the runs of each method took, means over seeds."""
    spent = costs(rows)
    spent[["flops_paper", "flops_cache"]] /= 1e12
    order = [method for method in plots.LOOKS if method in spent.index]
    spent = spent.loc[[*order, *(name for name in spent.index if name not in order)]]
    styles = ("{:.2f}", "{:.2f}", "{:.0f}", "{:.1f}", "{:.0f}")
    shown = {
        told: spent[name].map(style.format)
        for (name, told), style in zip(COSTS.items(), styles, strict=True)
    }
    names = [plots.LOOKS[name][3] if name in plots.LOOKS else name for name in spent.index]
    return pd.DataFrame(shown).set_axis(names)


def regimes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the runs with several budgets, with ``regime``: base, temperature, message, length.

    With one try no message is ever read, so its runs count for every kind of message.
    """
    rows = rows[rows["experiment"].isin(TRIES) & (rows["method"] == "rl-ppo")]
    base = option(rows, "base").map(lambda name: Path(name).name)
    warm = option(rows, "temperature").astype(float).replace(0, 1).map("T {:g}".format)
    length = option(rows, "steps").map(lambda n: "equal compute" if n == "0" else "equal steps")
    said = option(rows, "feedback").replace("0", "binary")
    parts = []
    for kind in dict.fromkeys(["binary", *said]):
        here = (said == kind) | (rows["tries"] == 1)
        names = base + ", " + warm + f", {kind}, " + length
        parts.append(rows[here].assign(regime=names[here]))
    return pd.concat(parts)


def tries_table(rows: pd.DataFrame, metric: str = "success@{}") -> pd.DataFrame:
    """OOD growth over Init, in points: a line a regime, a column a budget of tries.

    Args:
        metric: what is judged; braces stand for the run's own budget.
    """
    lines = {}
    for (regime, tries), part in regimes(rows).groupby(["regime", "tries"], sort=False):
        found = gap(part, "ood-rule", "rl-ppo", "init", metric.format(tries))
        line = lines.setdefault(regime, {"seeds": 0})
        line[f"{tries} {'try' if tries == 1 else 'tries'}"] = in_words(found)
        line["seeds"] = max(line["seeds"], part["seed"].nunique())
    table = pd.DataFrame(lines, dtype=object).T.fillna("–")
    budgets = sorted(set(table.columns) - {"seeds"}, key=lambda name: int(name.split()[0]))
    return table.reindex(columns=[*budgets, "seeds"])


# --- pages --------------------------------------------------------------------------------


def made_by(experiments: Iterable[str]) -> str:
    """The command that makes some experiments again."""
    wanted, all_files = set(experiments), sorted(SWEEPS.glob("*.toml"))
    files = [path for path in all_files if wanted & set(tomllib.loads(path.read_text()))]
    return ", ".join(f"`python -m sftrl_lite sweep results/sweeps/{path.name}`" for path in files)


def missing(experiments: Iterable[str], rows: pd.DataFrame) -> list[str]:
    """A sentence about experiments without rows, if there are any."""
    lost = [name for name in experiments if name not in set(rows["experiment"])]
    return [f"Not recorded yet: {made_by(lost)} ({', '.join(lost)})."] if lost else []


def task_block(name: str, columns: Columns, what: str) -> str:
    """Results of a task: its table, differences under its shifts, costs, how to make them.

    Args:
        name: prefix of its experiments ``headline``, ``push``, ``controls`` and, for cards in
            text, ``grpo``.
        columns: as for ``main_table``.
        what: what the columns stand for, a sentence.
    """
    parts = [f"{name}{part}" for part in ("headline", "push", "controls")]
    parts += [] if name else ["grpo"]
    rows = recorded(*parts)
    if rows.empty:
        return missing(parts, rows)[0]
    shifts = {s: metric for _, run, s, metric in BARS.values() if run == parts[0]}
    most = rows[(rows["metric"] == "success") & (rows["split"] != "train")]["n"].max()
    gaps = gap_table(rows, shifts)
    return "\n\n".join(
        [
            markdown(main_table(rows, columns), "at equal training compute"),
            f"Per cent with 95 % intervals over seeds and problems; up to {most:.0f} held-out "
            f"problems a seed and split. {what} {DECODED}",
            *([markdown(gaps, "difference in points, paired by seed")] if len(gaps) else []),
            markdown(cost_table(rows), "what it took, mean over seeds"),
            *missing(parts, rows),
            f"Made by {made_by(set(rows['experiment']))}, written here by "
            "`python -m sftrl_lite report`.",
        ]
    )


def tries_block() -> str:
    """Results of RL with several budgets of tries."""
    rows = recorded(*TRIES)
    if rows.empty:
        return missing(TRIES, rows)[0]
    length = option(rows, "steps").map(lambda n: "equal compute" if n == "0" else "equal steps")
    spent = cost_table(rows.assign(method=length + ", tries " + rows["tries"].astype(str)))
    readings = {"success@{}": "at its own budget", "success@1": "at the first try"}
    return "\n\n".join(
        [
            *(
                markdown(tries_table(rows, m), f"OOD growth, {name}")
                for m, name in readings.items()
            ),
            "Points over Init under the shifted rule, paired by seed, with 95 % intervals.",
            markdown(spent.rename(columns={"seeds": "runs"}), "what it took, mean over runs"),
            *missing(TRIES, rows),
            f"Made by {made_by(TRIES)}.",
        ]
    )


def block() -> str:
    """The README's results, from the ledger alone."""
    head = recorded("headline")
    what = "ID and OOD are the trained and the shifted rule."
    return "\n\n".join([*([sentence(head)] if len(head) else []), task_block("", COLUMNS, what)])


def ledger_page() -> str:
    """results/README.md: every configuration that was run, and what it took.

    A run's minutes are those until its last row, evaluations included.
    """
    rows = ledger.read()
    claims = claims_table(rows).set_index("claim")
    parts = ["# The ledger", PREFACE.format(rows=len(rows), runs=rows["config_hash"].nunique())]
    parts += ["## Claims", CLAIMED, markdown(claims, "claim")]
    rows["command"] = rows["command"].str.replace(r" --seed \d+", "", regex=True)
    for experiment, part in rows.groupby("experiment", sort=False):
        ends = part.groupby(["command", "config_hash"], sort=False)["minutes"].max()
        by = part.groupby("command", sort=False)
        table = pd.DataFrame(
            {
                "seeds": by["seed"].unique().map(lambda s: ", ".join(map(str, sorted(s)))),
                "rows": by.size(),
                "minutes": ends.groupby("command", sort=False).sum().map("{:.1f}".format),
                "device": by["device"].unique().map(", ".join),
                "commit": by["commit"].unique().map(", ".join),
            }
        )
        table.index = table.index.map("`{}`".format)
        parts += [f"## {experiment}", f"Made by {made_by([experiment])}.", markdown(table, "run")]
    return "\n\n".join(parts) + "\n"


def recorded(*experiments: str) -> pd.DataFrame:
    """Ledger rows of some experiments; SFT at the pushed rate gets a name of its own."""
    rows = ledger.read()
    rows = rows[rows["experiment"].isin(experiments)].copy()
    rows.loc[rows["experiment"].str.endswith("push"), "method"] = "sft-pushed"
    return rows


def blocks() -> dict[str, str]:
    """What stands between the marks of README.md and docs/results.md, by the marks' name.

    Raises:
        ValueError: the ledger is empty.
    """
    if ledger.read().empty:
        raise ValueError(f"results/ledger.csv holds no rows yet; {made_by(['headline'])}")
    shown = recorded("headline", "push")
    absent = missing(["headline"], shown)
    alt = "" if absent else plots.alt_text(shown, **SHOWN)
    steps = "Per step, every answer counts, two tries a step; a route needs all its steps."
    return {
        "figure": absent[0] if absent else f"![{alt}](results/{FIGURE.name})",
        "results": block(),
        "tries": tries_block(),
        "pictures": task_block("vl-", PICTURES, "ID and OOD are black and red suits."),
        "streets": task_block("virl-l-", STREETS, steps),
        "street-views": task_block("virl-vl-", STREET_VIEWS, steps),
    }


def fill(text: str, content: dict[str, str]) -> str:
    """A page with its marked parts written anew.

    Raises:
        ValueError: a mark without its other end, or with a name that nothing stands for.
    """
    for name in re.findall("<!-- ([a-z-]+):begin -->", text):
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if name not in content or end not in text:
            raise ValueError(f"the page has lost its mark {end}, or nothing is called {name}")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n{content[name]}\n{end}{after}"
    return text


def write_report() -> None:
    """Put the recorded results into their pages, draw README's figure, write the ledger's page."""
    content = blocks()
    for page in PAGES:
        page.write_text(fill(page.read_text(), content))
    LEDGER_PAGE.write_text(ledger_page())
    rows = recorded("headline", "push")
    if missing(["headline"], rows):
        return
    drawn = figure(rows, methods=("rl-ppo", "sft", "sft-pushed"))
    with plots.plt.style.context(plots.STYLE):  # its hash salt: the same rows, the same bytes
        drawn.savefig(FIGURE, metadata={"Date": None})
