"""From results/ledger.csv to the pages: figure, tables, sentence. Nothing is typed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pandas as pd

from sftrl_lite import ledger, plots
from sftrl_lite.claims import claims_table
from sftrl_lite.headline import sentence
from sftrl_lite.intervals import student_interval
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
difference by seed with its 95 % interval over seeds, and a verdict from that interval alone
(`sftrl_lite/claims.py`; chapter 13 reads it). `open`: the interval holds zero."""
COLUMNS = {
    ("success@1", "train"): "training hands, 1 try",
    ("success", "id"): "ID",
    ("success", "ood-rule"): "OOD",
    ("greedy", "ood-rule"): "OOD greedy, 1 try",
    ("read", "ood-rule"): "OOD numbers read",
}


def markdown(table: pd.DataFrame, first: str) -> str:
    """A text table for a README; ``first`` heads the column of row names."""
    head = [first, *map(str, table.columns)]
    rows = [
        [str(name), *map(str, row)] for name, row in zip(table.index, table.values, strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main_table(rows: pd.DataFrame, columns: dict[tuple[str, str], str] = COLUMNS) -> pd.DataFrame:
    """Init, methods and controls at equal compute: per cent with 95 % intervals.

    Args:
        columns: (metric, split) and the name that it has in the table.
    """
    metrics, splits = (sorted(set(part)) for part in zip(*columns, strict=True))
    wide = plots.summary_table(rows, metrics, splits)
    return wide[list(columns)].set_axis(list(columns.values()), axis=1)


def tries_table(rows: pd.DataFrame) -> pd.DataFrame:
    """OOD growth over Init by training budget: at its own budget, and at 5 tries.

    Growth is paired within a seed (same hands before and after); intervals are
    Student's over seeds.
    """
    rows = plots.with_points(rows[rows["experiment"] == "tries"])
    rows = rows[rows["split"] == "ood-rule"]
    out = {}
    for tries, part in rows.groupby("tries"):
        line = {}
        for label, metric in (("own budget", f"success@{tries}"), ("5 tries", "success@5")):
            one = part[part["metric"] == metric].pivot(
                index="seed", columns="point", values="value"
            )
            growth = 100 * (one.iloc[:, -1] - one.iloc[:, 0])
            low, high = student_interval(growth.to_numpy())
            line[f"OOD growth at {label}"] = f"{growth.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        out[f"{tries} {'try' if tries == 1 else 'tries'}"] = line
    return pd.DataFrame(out).T


def difference(
    rows: pd.DataFrame, split: str, a: str, b: str, metric: str = "success"
) -> tuple[float, float, float]:
    """A metric of method ``a`` minus method ``b`` (or ``init``) at the end, in points.

    Paired within a seed: both were measured on the same hands. Mean and Student's 95 %
    interval over seeds.
    """
    part = rows[(rows["metric"] == metric) & (rows["split"] == split)]
    ends = {}
    for method in {a, b} - {"init"}:
        one = plots.with_points(part[part["method"] == method])
        wide = one.pivot(index="seed", columns="point", values="value")
        ends[method] = wide.iloc[:, -1]
        ends.setdefault("init", wide.iloc[:, 0])
    gap = (100 * (ends[a] - ends[b])).dropna()
    return gap.mean(), *student_interval(gap.to_numpy())


def gap_list(rows: pd.DataFrame, split: str, metric: str = "success") -> str:
    """RL and SFT against Init and each other on a split, in words."""
    pairs = [("RL - Init", "rl-ppo", "init"), ("SFT - Init", "sft", "init")]
    pairs += [("RL - SFT", "rl-ppo", "sft"), ("SFT at 1e-3 - Init", "sft-pushed", "init")]
    return "; ".join(
        "{} {:+.1f} [{:+.1f}, {:+.1f}]".format(name, *difference(rows, split, a, b, metric))
        for name, a, b in pairs
        if a in set(rows["method"])
    )


PICTURES = {
    ("success@1", "train"): "training hands, 1 try",
    ("success", "id"): "ID (black)",
    ("success", "ood-visual"): "visual OOD (red)",
    ("success", "ood-rule"): "rule OOD (11-12-13)",
    ("greedy", "ood-visual"): "red, greedy, 1 try",
    ("recognised", "id"): "cards recognised, black",
    ("recognised", "ood-visual"): "cards recognised, red",
}
STREETS = {
    ("success@1", "train"): "training steps, 1 try",
    ("per_step", "id"): "ID, per step",
    ("per_step", "ood-rule"): "rule OOD, per step",
    ("walk_per_step", "ood-rule"): "the same until the walk fails",
    ("route", "id"): "ID, whole routes",
    ("route", "ood-rule"): "rule OOD, whole routes",
}
STREET_VIEWS = {
    ("success@1", "train"): "training steps, 1 try",
    ("per_step", "id"): "ID, per step",
    ("per_step", "ood-visual"): "unseen cities, per step",
    ("route", "ood-visual"): "unseen cities, whole routes",
    ("per_step", "ood-rule"): "rule OOD, per step",
    ("recognised", "ood-visual"): "unseen cities, recognised",
}


def task_block(name: str, columns: dict[tuple[str, str], str], what: str) -> str:
    """Results of another task: its table, its shifts, how to make them.

    Args:
        name: experiments are ``NAME-headline``, ``NAME-push`` and ``NAME-controls``.
        columns: as for ``main_table``; the first one of each shifted split is compared.
        what: what ID and OOD stand for, a sentence.
    """
    parts = [f"{name}-{part}" for part in ("headline", "push", "controls")]
    rows = recorded(*parts)
    head = rows[rows["experiment"] == parts[0]]
    if head.empty:
        return f"Not recorded yet: {made_by(parts)}."
    made = set(rows["experiment"])
    shifts = {split: metric for metric, split in reversed(columns) if "ood" in split}
    main = rows[rows["experiment"].isin(parts[:2])]
    names = {"ood-rule": "Shifted rule", "ood-visual": "Visual shift"}
    gaps = [f"{names[s]}: {gap_list(main, s, metric)}" for s, metric in shifts.items()]
    seeds, episodes = head["seed"].nunique(), int(head[head["metric"] == "success"]["n"].max())
    return "\n\n".join(
        [
            markdown(main_table(rows, columns), "at equal training compute"),
            f"Per cent with 95 % intervals over {seeds} seeds, {episodes} held-out problems a seed "
            f"and split. {what} Differences in points, paired by seed. {'. '.join(gaps)}.",
            f"Made by {made_by(made)}.",
        ]
    )


def block() -> str:
    """The README's results, from the ledger alone."""
    rows = ledger.read()
    main = recorded("headline", "push", "controls", "grpo")
    head = rows[rows["experiment"] == "headline"]
    gaps = gap_list(head, "ood-rule")
    seeds = head["seed"].nunique()
    episodes = int(head[head["metric"] == "success"]["n"].max())
    return "\n\n".join(
        [
            sentence(head),
            markdown(main_table(main), "at equal training compute"),
            f"Per cent with 95 % intervals over {seeds} seeds; ID and OOD are solving within five "
            f"tries at temperature 1, on {episodes} held-out hands a seed and rule. "
            f"OOD differences in points, paired by seed: {gaps}.",
            f"Made by {made_by(['headline'])}, written here by `python -m sftrl_lite report`.",
        ]
    )


def made_by(experiments: Iterable[str]) -> str:
    """The command that makes some experiments again."""
    wanted, all_files = set(experiments), sorted(SWEEPS.glob("*.toml"))
    files = [path for path in all_files if wanted & set(tomllib.loads(path.read_text()))]
    return ", ".join(f"`python -m sftrl_lite sweep results/sweeps/{path.name}`" for path in files)


def ledger_page() -> str:
    """results/README.md: every configuration that was run, and what it took.

    A run's minutes are those until its last row, evaluations included.
    """
    rows = ledger.read()
    rows["command"] = rows["command"].str.replace(r" --seed \d+", "", regex=True)
    parts = ["# The ledger", PREFACE.format(rows=len(rows), runs=rows["config_hash"].nunique())]
    parts += ["## Claims", CLAIMED, markdown(claims_table(rows).set_index("claim"), "claim")]
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
        ValueError: the ledger has no headline yet.
    """
    rows = ledger.read()
    if "headline" not in set(rows["experiment"]):
        raise ValueError(f"results/ledger.csv holds no headline yet; {made_by(['headline'])}")
    alt = plots.alt_text(recorded("headline", "push"))
    steps = "Per step, every answer counts, two tries a step; a route needs all its steps."
    tries = f"{markdown(tries_table(rows), 'trained with')}\n\nMade by {made_by(['tries'])}."
    return {
        "figure": f"![{alt}](results/{FIGURE.name})",
        "results": block(),
        "tries": tries,
        "pictures": task_block("vl", PICTURES, "ID and OOD are solving within five tries."),
        "streets": task_block("virl-l", STREETS, steps),
        "street-views": task_block("virl-vl", STREET_VIEWS, steps),
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
    methods = ("rl-ppo", "sft", "sft-pushed")
    drawn = plots.curves(recorded("headline", "push"), methods=methods)
    with plots.plt.style.context(plots.STYLE):  # its hash salt: the same rows, the same bytes
        drawn.savefig(FIGURE, metadata={"Date": None})
