"""From results/ledger.csv to the pages: figure, tables, sentence. Nothing is typed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pandas as pd

from sftrl_lite.files import ROOT
from sftrl_lite.results import ledger, plots
from sftrl_lite.results.claims import BARS, claims_table
from sftrl_lite.results.headline_figure import SHOWN, figure, sentence, verdict
from sftrl_lite.results.measures import TRIES, option
from sftrl_lite.results.pretrained import AT, BAR, NAME, PREFIX, with_pretrained, with_seeds
from sftrl_lite.results.tables import (
    COLUMNS,
    JUDGED,
    PAIRS,
    PICTURES,
    STREET_VIEWS,
    STREETS,
    Columns,
    cost_table,
    designs_table,
    gap,
    gap_table,
    in_words,
    main_table,
    markdown,
    tries_table,
)

FIGURE = ROOT / "results" / "headline.svg"
LEDGER_PAGE = ROOT / "results" / "README.md"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
SWEEPS = ROOT / "results" / "sweeps"
PREFACE = """Written by `python -m sftrl_lite report` from [`ledger.csv`](ledger.csv): {rows}
measured values of {runs} runs. Every table and figure of this repository is drawn from that file.
Each run is done again by its command, with `--seed` and one of the seeds beside it; a whole
experiment by the command above its table. Minutes are the sum over seeds, evaluations included,
one core per run, on machines that did other work as well."""
CLAIMED = """What was published about SFT and RL, and what the recorded tiny runs say to it: a
difference paired by seed with its 95 % interval, which includes the noise of seeds and of problems
(`sftrl_lite/results/claims.py`; chapter 13 reads it). The verdict follows from the interval
alone; `open`: it includes zero (+5 points for random rewards). `p (Holm)` is corrected for the
number of recorded claims, and `after Holm` is what the verdict becomes at 5 %. `Init at its best
temperature` was picked among four after looking, which favours Init. The column `SmolLM2-135M` puts
the claims about streets in text to a pretrained language model (scale `small`, chapter 9)."""
SHORT = ("SFT - Init", "RL - Init", "RL - Init at its best temperature")
DECODED = """Answers are sampled as in the paper, at temperature 0.6 with top_p 0.9; greedy is
temperature 0. `Init at its best temperature` is picked after looking; its temperature stands beside
it.""".replace("\n", " ")


def made_by(experiments: Iterable[str]) -> str:
    """The command that makes some experiments again."""
    wanted, all_files = set(experiments), sorted(SWEEPS.glob("*.toml"))
    files = [path for path in all_files if wanted & set(tomllib.loads(path.read_text("utf-8")))]
    return ", ".join(f"`python -m sftrl_lite sweep results/sweeps/{path.name}`" for path in files)


def missing(experiments: Iterable[str], rows: pd.DataFrame) -> list[str]:
    """A sentence about experiments without rows, if there are any."""
    lost = [name for name in experiments if name not in set(rows["experiment"])]
    return [f"Not recorded yet: {made_by(lost)} ({', '.join(lost)})."] if lost else []


def task_block(
    name: str, columns: Columns, what: str, at: str = "at equal training compute"
) -> str:
    """Results of a task: its table, differences under its shifts, costs, how to make them.

    Args:
        name: prefix of its experiments ``headline``, ``push``, ``controls`` and, for cards in
            text, ``grpo``.
        columns: as for ``main_table``.
        what: what the columns mean, a sentence.
        at: when the methods are compared.
    """
    parts = [f"{name}{part}" for part in ("headline", "push", "controls")]
    parts = [part for part in parts if made_by([part])] + ([] if name else ["grpo"])
    rows = recorded(*parts)
    if rows.empty:
        return missing(parts, rows)[0]
    shifts = {s: metric for _, run, s, metric in (*BARS.values(), BAR) if run == parts[0]}
    most = rows[(rows["metric"] == "success") & (rows["split"] != "train")]["n"].max()
    gaps = gap_table(rows, shifts)
    return "\n\n".join(
        [
            markdown(main_table(rows, columns), at),
            f"Per cent with 95 % intervals over seeds and problems; up to {most:.0f} held-out "
            f"problems per seed and split. {what} {DECODED}",
            *([markdown(gaps, "difference in points, paired by seed")] if len(gaps) else []),
            markdown(cost_table(rows), "cost, mean over seeds"),
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
            "Points over Init under the shifted rule, with 95 % intervals: over seeds and "
            "problems, over problems alone where a single seed is recorded.",
            markdown(spent.rename(columns={"seeds": "runs"}), "cost, mean over runs"),
            *missing(TRIES, rows),
            f"Made by {made_by(TRIES)}.",
        ]
    )


def short_block() -> str:
    """The README's table: what SFT and RL did under each shift of the paper."""
    lines, parts = {}, list(dict.fromkeys(run for _, run, _, _ in BARS.values()))
    rows = recorded(*parts)
    for what, (_, experiment, split, metric) in BARS.items():
        part = rows[rows["experiment"] == experiment]
        found = {name: gap(part, split, *PAIRS[name], metric) for name in SHORT}
        if any(found.values()):
            seeds = max(one.n for one in found.values() if one)
            told = {name: in_words(one) for name, one in found.items()}
            lines[f"{what}: {JUDGED[metric]}"] = told | {"seeds": seeds}
    table = [markdown(pd.DataFrame(lines, dtype=object).T, "points under a shift")] if lines else []
    return "\n\n".join([*table, *missing(parts, rows)])


def small_line() -> str:
    """The README's line on the pretrained language model."""
    _, run, split, metric = BAR
    rows = recorded(run)
    if rows.empty:
        return missing([run], rows)[0]
    told = []
    for where, words in (("id", "trained words"), (split, "relative words")):
        found = {name: gap(rows, where, *PAIRS[name], metric) for name in SHORT}
        gaps = [f"{name} {with_seeds(one)}" for name, one in found.items() if one]
        told.append(f"with the {words} {', '.join(gaps)}")
    return (
        f"The same question put to {NAME}-Instruct, which nobody made for this course, {AT} "
        f"(streets in text, fresh routes, per step): {'; '.join(told)}."
    )


def verdict_block() -> str:
    """The sentence below the README's figure."""
    head = recorded("headline")
    return verdict(head) if len(head) else missing(["headline"], head)[0]


def block() -> str:
    """Results of cards in text, from the ledger alone."""
    head = recorded("headline")
    what = "ID and OOD are the trained and the shifted rule."
    return "\n\n".join([*([sentence(head)] if len(head) else []), task_block("", COLUMNS, what)])


def ledger_page() -> str:
    """results/README.md: every configuration that was run, and its cost.

    A run's minutes are those until its last row, evaluations included.
    """
    rows = ledger.read()
    claims = with_pretrained(claims_table(rows), rows).set_index("claim")
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
        parts += [
            f"## {experiment}",
            f"Made by {made_by([str(experiment)])}.",
            markdown(table, "run"),
        ]
    return "\n\n".join(parts) + "\n"


def recorded(*experiments: str) -> pd.DataFrame:
    """Ledger rows of some experiments; SFT at the pushed rate gets a name of its own."""
    rows = ledger.read()
    rows = rows[rows["experiment"].isin(experiments)].copy()
    rows.loc[rows["experiment"].str.endswith("push"), "method"] = "sft-pushed"
    return rows


def blocks() -> dict[str, str]:
    """The text between the marks of README.md and docs/results.md, by the marks' name.

    Raises:
        ValueError: the ledger is empty.
    """
    if ledger.read().empty:
        raise ValueError(f"results/ledger.csv holds no rows yet; {made_by(['headline'])}")
    shown = recorded("headline", "push")
    absent = missing(["headline"], shown)
    alt = "" if absent else plots.alt_text(shown, **SHOWN)
    steps = "Per step, every answer counts, two tries per step; a route needs all its steps."
    return {
        "figure": absent[0] if absent else f"![{alt}](results/{FIGURE.name})",
        "verdict": verdict_block(),
        "short": short_block(),
        "results": block(),
        "tries": tries_block(),
        "pictures": task_block("vl-", PICTURES, "ID and OOD are black and red suits."),
        "streets": task_block("virl-l-", STREETS, steps),
        "designs": designs_table(ROOT / "results" / "bases_tried.csv"),
        "small": task_block(PREFIX, STREETS, steps, AT),
        "small-line": small_line(),
        "street-views": task_block("virl-vl-", STREET_VIEWS, steps),
    }


def fill(text: str, content: dict[str, str]) -> str:
    """A page with its marked parts replaced.

    Raises:
        ValueError: a mark without its other end, or with an unknown name.
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
        page.write_text(fill(page.read_text("utf-8"), content), "utf-8", newline="\n")
    LEDGER_PAGE.write_text(ledger_page(), "utf-8", newline="\n")
    rows = recorded("headline", "push")
    if missing(["headline"], rows):
        return
    drawn = figure(rows, methods=("rl-ppo", "sft", "sft-pushed"))
    with plots.plt.style.context(plots.STYLE):  # its hash salt: the same rows, the same bytes
        drawn.savefig(FIGURE, metadata={"Date": None})
