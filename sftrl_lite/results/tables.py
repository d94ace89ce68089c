"""Tables of the report: results, gaps, costs, tries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sftrl_lite.results import plots
from sftrl_lite.results.intervals import Tested
from sftrl_lite.results.ledger import PAPER
from sftrl_lite.results.measures import TRIES, best_start, compare, costs, measured, option, times

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
    "minutes": "minutes (median)",
    "seeds": "seeds",
}
Columns = Mapping[tuple[str, ...], str]  # metric, split and, if not the paper's, decoding


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
    seeds = {plots.LOOKS[str(m)][3]: part["seed"].nunique() for m, part in rows.groupby("method")}
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
    """What the runs of each method took, as ``measures.costs`` counts it."""
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


DESIGNS = {  # of the streets' text base, as ``pretrain --task`` names them
    "virl-l": "shipped: five kinds of words for turns, equally often",
    "virl-l-rare": "compass points in 12 of 16 chats",
    "virl-l-rarer": "compass points in 80 of 84 chats",
    "virl-l-form": "nine of ten students write the action first, the demonstrations last",
}


def designs_table(path: Path) -> str:
    """results/bases_tried.csv: per-step success under the development rule, by design and method.

    Of each design, method and rate: at step 0 and at the last step, the mean over the seeds.
    """
    rows = pd.read_csv(path)
    rows = rows[(rows["metric"] == "per_step") & rows["split"].isin(["train", "dev-rule"])]
    last = rows["step"] == rows.groupby(["design", "method"])["step"].transform("max")
    start = rows[(rows["step"] == 0) & (rows["split"] == "dev-rule")].groupby("design")["value"]
    by = ["design", "method", "lr"]
    table = rows[last].pivot_table(index=by, columns="split", values="value")
    table["seeds"] = rows[last].groupby(by)["seed"].nunique()
    table = table.reset_index()
    table["Init"] = table["design"].map(start.mean())
    table["base"] = table["design"].map(DESIGNS)
    table["order"] = table["design"].map(list(DESIGNS).index)
    table = table.sort_values(["order", "method", "lr"], ascending=[True, False, True])
    table["method"] = table["method"].map({"sft": "SFT", "rl-ppo": "RL (PPO)"})
    for name in ("Init", "dev-rule", "train"):
        table[name] = (100 * table[name]).map("{:.1f}".format)
    table["lr"] = table["lr"].map("{:g}".format)
    names = {"dev-rule": "development rule, per step", "train": "training steps", "lr": "rate"}
    shown = ["base", "method", "lr", "train", "Init", "dev-rule", "seeds"]
    table = table[shown].rename(columns=names | {"Init": "Init, development rule"})
    return markdown(table.set_index("base"), "base")


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
        metric: what is judged; braces are replaced by the run's own budget.
    """
    lines: dict[str, dict[str, Any]] = {}
    seeds: dict[str, set[int]] = {}
    for (regime, tries), part in regimes(rows).groupby(["regime", "tries"], sort=False):
        found = gap(part, "ood-rule", "rl-ppo", "init", metric.format(tries))
        line = lines.setdefault(str(regime), {})
        line[f"{tries} {'try' if tries == 1 else 'tries'}"] = in_words(found)
        many = seeds.setdefault(str(regime), set())
        many.add(part["seed"].nunique())
        line["seeds"] = " to ".join(map(str, dict.fromkeys((min(many), max(many)))))
    table = pd.DataFrame(lines, dtype=object).T.fillna("–")
    budgets = sorted(set(table.columns) - {"seeds"}, key=lambda name: int(name.split()[0]))
    return table.reindex(columns=[*budgets, "seeds"])
