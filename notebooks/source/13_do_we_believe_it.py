# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 13. Do we believe it?
#
# The paper's main contrast, RL above SFT, survives a recomputation from counts; RL's
# gain over Init on cards under a shifted rule is within the noise of its episodes. We
# ask the same questions of our own ledger, separate the variance between seeds from the
# variance between problems, and end with a table of which claims hold at this size,
# before and after a correction for multiple testing.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells.
#
# @@BADGES@@
#
# ## What you will be able to do
#
# - Check whether a printed percentage can come from a count at all.
# - Compute a confidence interval for the *difference* of two shares.
# - Say what multiple testing does to p-values, and correct for it.
# - Plan an experiment: how many episodes, how many seeds, and what more of each would
#   gain.
# - Separate the variance between problems from that between seeds in recorded runs.
# - Judge a claim by its interval and not by the taller bar.

# %%
from sftrl_lite.course import notebook

scale = notebook.setup()

# %% [markdown]
# ## 27 or 35 of 234
#
# The paper's Init solves 11.5 % of the hands under the shifted rule, its RL 15.0 %.
# With 234 episodes each, as in the released evaluation scripts, that is 27 and 35
# hands: a difference of eight hands. A share $p$ of $n$ episodes has the standard error
# $\sqrt{p (1 - p) / n}$, and the variances of independent shares add:

# %% tags=["noise"]
import math

n, init, rl = 234, 27, 35
errors = [math.sqrt(k / n * (1 - k / n) / n) for k in (init, rl)]
gap, noise = (rl - init) / n, math.hypot(*errors)
print(f"gap {100 * gap:.1f} points, its standard error {100 * noise:.1f} points")
print(f"the gap is {gap / noise:.1f} standard errors")

# %% [markdown]
# Two *equal* methods show a gap of at least one standard error in about one comparison
# of three. Nothing is wrong with the paper's number, but on its own it does not support
# the word "improves". Is the evidence for the other claims stronger? We first ask which
# counts are behind the bars.
#
# ## Can a percentage be a count?
#
# With 234 episodes a share can be 26 / 234 = 11.1 % or 27 / 234 = 11.5 %, never 11.2 %.
# Checking printed means against the possible ones is called the GRIM test (Brown and
# Heathers, 2017). It needs only the printed number.
#
# ### Exercise 13.1: possible counts
#
# Difficulty ●●○○○ · 6 minutes
#
# Return all counts $k$ of $n$ that print as the given percentage, rounded to one decimal.

# %%
def possible_counts(percent: float, n: int) -> list[int]:
    """Counts that print as ``percent``: ``possible_counts(33.3, 3)`` is ``[1]``."""
    raise NotImplementedError

# %%
import random

with notebook.exercise("13.1"):
    assert isinstance(possible_counts(33.3, 3), list), "a list of counts"
    assert possible_counts(33.3, 3) == [1], "1 of 3 prints as 33.3"
    assert possible_counts(50.0, 3) == [], "nothing of 3 is a half"
    assert possible_counts(11.5, 234) == [27], "the paper's Init on GP-L"
    assert possible_counts(11.2, 234) == [], "its Init on GP-VL is no count of 234"
    assert len(possible_counts(0.1, 10_000)) > 1, "many episodes: several counts fit"
    assert possible_counts(66.7, 3) == [2], "2 of 3 is rounded up"
    assert possible_counts(100.0, 3) == [3], "all of 3 is a count"
    assert possible_counts(0.0, 3) == [0], "none of 3 is a count, too"
    for total in (7, 18, 234, 9999, *random.Random(13).choices(range(30, 400), k=4)):
        for k in range(0, total + 1, total // 7):
            shown = round(100 * k / total, 1)
            true = [j for j in range(total + 1) if round(100 * j / total, 1) == shown]
            found = possible_counts(shown, total)
            assert found == true, f"all counts that print as {shown} % of {total}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Try all `k` from 0 to `n`; compare `round(100 * k / n, 1)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def possible_counts(percent: float, n: int) -> list[int]:
#     return [k for k in range(n + 1) if round(100 * k / n, 1) == percent]
# ```
#
# </details>
#
# These are the bars whose number of episodes can be inferred (sections 5.1 and 5.2,
# figures 6 and 7; 18 is the number of routes in the unseen cities):

# %% tags=["counts"]
import pandas as pd

BARS = pd.DataFrame(
    [
        ("GP-L", "rule", 234, 11.5, 15.0, 3.4),
        ("GP-VL", "rule", 234, 11.2, 14.2, 5.6),
        ("GP-VL", "visual", 234, 23.6, 41.2, 13.7),
        ("V-IRL-VL", "visual", 18, 16.7, 77.8, 11.1),
    ],
    columns=["task", "shift", "n", "Init", "RL", "SFT"],
)

def nearest(percent: float, n: int) -> str:
    """The nearest count, marked where it would print as another percentage."""
    k = round(percent * n / 100)
    return f"{k}" if round(100 * k / n, 1) == percent else f"{k} (no count)"

shown = BARS.copy()
for who in ("Init", "RL", "SFT"):
    shown[who] = [nearest(p, n) for p, n in zip(BARS[who], BARS["n"], strict=True)]
shown

# %% [markdown] tags=["newcombe"]
# Several bars of GP-VL are not counts of 234: they were smoothed (the appendix mentions
# a Savitzky-Golay filter), or come from another number of episodes. We continue with the
# nearest counts, and remember that this is our reconstruction, not the paper's data. The
# two V-IRL bars under a shifted *rule* are missing here, because they count steps, and
# the number of steps is not reported.
#
# ## A difference, with its interval
#
# Overlapping intervals do not imply "no difference", and disjoint ones are more than a
# significant difference requires. What we want is *one* interval for $p_1 - p_2$.
# Newcombe (1998) builds it from the two Wilson intervals $[l_i, u_i]$ of chapter 5:
#
# $$
# \Big[\, d - \sqrt{(p_1 - l_1)^2 + (u_2 - p_2)^2},\;\;
# d + \sqrt{(u_1 - p_1)^2 + (p_2 - l_2)^2} \,\Big], \quad d = p_1 - p_2 .
# $$
#
# ### Exercise 13.2: the interval of a difference
#
# Difficulty ●●○○○ · 6 minutes
#
# `wilson(k, n)` has `.value`, `.low` and `.high`. Note the crosswise pairs: the
# difference is smallest where the first share is low *and* the second is high.

# %%
from sftrl_lite.results.intervals import wilson


def gap_interval(k1: int, n1: int, k2: int, n2: int) -> tuple[float, float]:
    """Ends of the 95 % interval of k1/n1 - k2/n2: (56, 70, 48, 80) is (0.05, 0.33)."""
    raise NotImplementedError

# %%
from sftrl_lite.results.intervals import difference

with notebook.exercise("13.2"):
    both = gap_interval(56, 70, 48, 80)
    assert isinstance(both, tuple) and len(both) == 2, "a pair, the two ends"
    low, high = both
    assert abs(low - 0.0524) < 1e-3, "Newcombe's own example begins at 0.0524"
    assert abs(high - 0.3339) < 1e-3, "and ends at 0.3339"
    low, high = gap_interval(35, 234, 27, 234)
    assert low < 0 < high, "the paper's +3.5 points include zero"
    draw = random.Random(0)
    for _ in range(50):
        n1, n2 = draw.randint(5, 300), draw.randint(5, 300)
        counts = draw.randint(0, n1), n1, draw.randint(0, n2), n2
        low, high = gap_interval(*counts)
        true = difference(*counts)
        same = abs(low - true.low) < 1e-9 and abs(high - true.high) < 1e-9
        told = f"as the package, for {counts}: {true.low:+.3f} to {true.high:+.3f}"
        assert same, told

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.hypot(a, b)` is the root of the squares' sum.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def gap_interval(k1: int, n1: int, k2: int, n2: int) -> tuple[float, float]:
#     one, two = wilson(k1, n1), wilson(k2, n2)
#     d = one.value - two.value
#     down = math.hypot(one.value - one.low, two.high - two.value)
#     up = math.hypot(one.high - one.value, two.value - two.low)
#     return d - down, d + up
# ```
#
# </details>
#
# Here are all twelve comparisons, with Fisher's exact p:

# %%
from sftrl_lite.results.intervals import p_value

PAIRS = [("RL", "Init"), ("SFT", "Init"), ("RL", "SFT")]
lines = []
for bar in BARS.to_dict("records"):
    for a, b in PAIRS:
        counts = [round(bar[who] * bar["n"] / 100) for who in (a, b)]
        both = counts[0], bar["n"], counts[1], bar["n"]
        d = difference(*both)
        lines.append((bar["task"], bar["shift"], f"{a} - {b}", 100 * d.value,
                      100 * d.low, 100 * d.high, p_value(*both)))
names = ["task", "shift", "comparison", "gap", "low", "high", "p"]
paper = pd.DataFrame(lines, columns=names)
paper.round(dict(gap=1, low=1, high=1, p=5))

# %% tags=["firm"]
firm = paper[paper["p"] < 0.05]
by = firm.groupby("comparison").size()
notebook.show(
    f"Taken one by one at the 5 % level: RL - SFT is clear in {by.get('RL - SFT', 0)} "
    f"of 4 shifts, SFT - Init in {by.get('SFT - Init', 0)}, RL - Init in "
    f"{by.get('RL - Init', 0)}. The +3.5 points on GP-L have p = {paper['p'][0]:.2f}."
)

# %% [markdown]
# ## Multiple testing
#
# Twelve tests at 5 % are twelve opportunities for a false alarm. And watching a training
# run means testing every checkpoint. Let a method be *exactly* as good as Init, and
# evaluate it at $K$ checkpoints with 234 episodes each. How often is at least one of
# them significantly different from Init, and by how much does the best one exceed the
# truth?
#
# **Predict, then run.** What is the false-alarm rate with 20 checkpoints: 5 %, about
# 45 %, or $1 - 0.95^{20} = 64$ %?
#
# <details><summary>Answer</summary>
#
# About 45 %. It would be 64 % if the twenty tests were independent, but all of them are
# against the same evaluation of Init: where that one is unlucky, many tests alarm
# together, and elsewhere none does.
#
# </details>

# %% tags=["looks"]
import numpy as np

rng = np.random.default_rng(0)
truth, worlds = 0.115, 4000
for looks in (1, 2, 5, 10, 20):
    start = rng.binomial(n, truth, (worlds, 1)) / n
    seen = rng.binomial(n, truth, (worlds, looks)) / n
    spread = np.sqrt((start * (1 - start) + seen * (1 - seen)) / n)
    alarm = (abs(seen - start) > 1.96 * spread).any(1).mean()
    best = 100 * (seen.max(1).mean() - truth)
    print(f"{looks:2} looks: false alarm {alarm:.0%}, best {best:+.1f} points")

# %% [markdown]
# The last column misleads even without a test: reporting the best checkpoint, selected
# on the reported split, gains about as much as the +3.5 above. This is why our settings
# were chosen on other splits, and the number of steps was fixed in advance.
#
# After $m$ tests, p-values can be corrected. Holm (1979): sort them; multiply the
# smallest by $m$, the next by $m - 1$, and so on; a corrected value is never below the
# one before it, and never above 1.
#
# ### Exercise 13.3: Holm's correction
#
# Difficulty ●●●○○ · 8 minutes
#
# Return the corrected p-values, in the order in which they were given.

# %%
def corrected(p_values: list[float]) -> list[float]:
    """Corrected p, in the given order: [0.01, 0.04, 0.03] -> [0.03, 0.06, 0.06]."""
    raise NotImplementedError

# %%
from sftrl_lite.results.intervals import holm

with notebook.exercise("13.3"):
    found = corrected([0.01, 0.04, 0.03])
    assert isinstance(found, list) and len(found) == 3, "a list, one value for each p"
    assert abs(found[0] - 0.03) < 1e-9, "the smallest of three is multiplied by 3"
    assert abs(found[2] - 0.06) < 1e-9, "the next one by 2"
    assert abs(found[1] - 0.06) < 1e-9, "0.04 * 1 may not fall below 0.06"
    assert corrected([0.5, 0.9]) == [1.0, 1.0], "no p-value is above 1"
    assert corrected([0.6, 0.9]) == [1.0, 1.0], "no p-value is above 1"
    assert corrected([0.9, 0.02]) == [0.9, 0.04], "in the given order"
    assert corrected([0.02]) == [0.02], "one look needs no correction"
    for seed in range(20):
        draw = random.Random(seed)
        p_values = [draw.random() ** 3 for _ in range(draw.randint(2, 12))]
        found, true = corrected(given := p_values[:]), holm(p_values)
        same = all(abs(a - b) < 1e-12 for a, b in zip(found, true, strict=True))
        assert same, "as the package, for any number of p-values"
        assert given == p_values, "the caller's p-values stay as they were"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `order = sorted(range(m), key=lambda i: p_values[i])`, then one loop with a running
# maximum.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def corrected(p_values: list[float]) -> list[float]:
#     m, so_far, out = len(p_values), 0.0, [0.0] * len(p_values)
#     for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
#         so_far = max(so_far, min(1.0, (m - rank) * p_values[i]))
#         out[i] = so_far
#     return out
# ```
#
# </details>

# %%
paper["corrected"] = holm(paper["p"].tolist())
left = paper[paper["corrected"] < 0.05]
for row in left.itertuples():
    print(f"{row.task:9} {row.shift:6} {row.comparison:10} p {row.corrected:.2g}")
print(f"{len(left)} of {len(paper)} comparisons survive, {len(firm)} did before")

# %% [markdown] tags=["two-noises"]
# ## Variance between seeds
#
# So far one training run stood for *the* method. Another seed gives another run. Let
# $\sigma_s$ be the standard deviation of the true share between seeds; the share that we
# observe has the variance
#
# $$\sigma_s^2 + \frac{p (1 - p)}{n}.$$
#
# The second term shrinks with more problems, the first does not. With several seeds the
# first can be estimated: the observed variance minus the second term. The intervals of
# this repository include both sources: they come from a hierarchical bootstrap, which
# resamples seeds, and problems within each seed. How much does each source contribute?
# The table shows RL and SFT at their last step, under the paper's shifts and at the
# paper's decoding:

# %%
from sftrl_lite.results import claims, ledger, measures, plots, report, tables
from sftrl_lite.results.intervals import over_seeds, power, seed_spread

rows = ledger.read()
rows = rows[rows["scale"] == scale.name]
spreads = {}
for what, (_, experiment, split, metric) in claims.BARS.items():
    part = rows[rows["experiment"] == experiment]
    for method in ("rl-ppo", "sft"):
        end = measures.measured(part, metric, method, split)
        if len(end) < 2:
            continue
        seen = over_seeds(end["value"], measures.problems(end))
        between, within = seed_spread(end["value"].tolist(), int(end["n"].mean()))
        share = between**2 / (between**2 + within**2)
        spreads[what, plots.LOOKS[method][3]] = {
            "seeds": f"{len(end)}", "mean": f"{100 * seen.value:.1f}",
            "between seeds": f"{100 * between:.1f}",
            "within a seed": f"{100 * within:.1f}",
            "variance from seeds": f"{share:.0%}",
            "half-width": f"{50 * (seen.high - seen.low):.1f}"}
for text in report.missing({bar[1] for bar in claims.BARS.values()}, rows):
    notebook.show(text)
pd.DataFrame(spreads).T

# %% [markdown]
# `between` and `within` are standard deviations in points: between seeds, and what the
# problems alone would give. Where most of the variance comes from seeds, more test
# problems gain nothing. A standard deviation is poorly estimated from a few seeds (zero
# means "too small to see beside the problems"), but planning needs only its order of
# magnitude. One caveat for streets: `per_step` treats every answer as independent, and
# the answers of one walk are not, so the second source is somewhat larger than stated.
#
# ### Exercise 13.4: plan an experiment
#
# Difficulty ●●●○○ · 10 minutes
#
# Two methods have true shares $p_1, p_2$; each is trained with $s$ seeds and tested on $n$
# episodes per seed; the standard deviation between seeds is $\sigma$. The difference is
# detected with
#
# $$\text{power} \approx \Phi\!\left(\frac{|p_1 - p_2|}{\tau} - 1.96\right), \qquad
# \tau^2 = \frac{1}{s} \left( \frac{p_1 (1 - p_1) + p_2 (1 - p_2)}{n} + 2 \sigma^2
# \right).$$
#
# Write it. Then ask what more episodes gain when seeds differ.
#
# <details><summary>Answer</summary>
#
# Less and less: with $n \to \infty$ the variance $\tau^2$ falls to $2 \sigma^2 / s$ and no
# further. Beyond $n \approx p (1 - p) / \sigma^2$ (625 episodes for $p$ near a half and
# $\sigma$ of 2 points) seeds contribute more variance than episodes do.
#
# </details>

# %%
from scipy.stats import norm


def seen_with(p1: float, p2: float, n: int, seeds: int, spread: float) -> float:
    """Probability to detect the gap: ``seen_with(0.1, 0.2, 200, 1, 0.0)`` is 0.81."""
    raise NotImplementedError

# %%
with notebook.exercise("13.4"):
    assert isinstance(seen_with(0.1, 0.2, 200, 1, 0.0), float), "one number"
    assert abs(seen_with(0.1, 0.2, 200, 1, 0.0) - 0.81) < 0.01, "two shares, no seeds"
    assert seen_with(0.115, 0.15, 234, 1, 0.0) < 0.25, "the paper could hardly see +3.5"
    more_seeds = seen_with(0.115, 0.15, 1000, 4, 0.02)
    more_episodes = seen_with(0.115, 0.15, 4000, 1, 0.02)
    assert more_seeds > 2 * more_episodes, "the same 4000 episodes, spread over seeds"
    limit = seen_with(0.115, 0.15, 10**9, 1, 0.02)
    assert limit < 0.3, "no number of episodes replaces a second seed"
    four = seen_with(0.1, 0.2, 200, 4, 0.05)
    assert abs(four - 0.716) < 0.01, "the variance is divided by the seeds"
    for seed in range(50):
        draw = random.Random(seed)
        p1, p2, spread = draw.random(), draw.random(), draw.uniform(0, 0.1)
        case, seeds = (p1, p2, draw.randint(20, 400)), draw.randint(1, 6)
        true = power(*case, seeds=seeds, spread=spread)  # counts both directions
        same = true < 0.5 or abs(seen_with(*case, seeds, spread) - true) < 1e-3
        assert same, f"as the package, for shares {p1:.2f} and {p2:.2f}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `norm.cdf` is $\Phi$.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def seen_with(p1: float, p2: float, n: int, seeds: int, spread: float) -> float:
#     episodes = (p1 * (1 - p1) + p2 * (1 - p2)) / n
#     tau = math.sqrt((episodes + 2 * spread**2) / seeds)
#     return float(norm.cdf(abs(p1 - p2) / tau - 1.96))
# ```
#
# </details>
#
# What can eight seeds detect? The table has the smallest true difference around 50 % that
# is detected with probability 0.8, with 500 problems per seed, for a standard deviation of
# 0, 2 and 4 points between seeds. The last column is for one claim among all of ours,
# where Holm's correction requires $p < 0.05 / m$ of the clearest.

# %% tags=["power"]
def smallest(seeds: int, spread: float, alpha: float = 0.05) -> str:
    """The smallest gap, in points, that is detected with probability 0.8."""
    for gap in np.arange(0.001, 0.8, 0.001):
        ends = 0.5 - gap / 2, 0.5 + gap / 2
        if power(*ends, 500, alpha, seeds, spread) > 0.8:
            return f"{100 * gap:.1f}"
    return "–"

plan, m = {}, len(claims.CLAIMS)
for seeds in (1, 3, 5, 8, 16):
    line = {f"sd {100 * sd:.0f}": smallest(seeds, sd) for sd in (0.0, 0.02, 0.04)}
    line[f"sd 2, one of {m} claims"] = smallest(seeds, 0.02, 0.05 / m)
    plan[f"{seeds} seeds"] = line
pd.DataFrame(plan).T

# %% [markdown]
# Compare with the standard deviations and differences of our tables: a claim whose
# expected difference is smaller than its line needs more seeds, not a better test. The
# formula takes $\sigma$ as known; it has to be estimated, so real power is somewhat lower.
#
# ## A place to play
#
# The same calculation with sliders. Begin with the paper's case and find a design that
# detects it: first with more episodes, then with a standard deviation of three points
# between seeds.
#
# <details><summary>What you should find</summary>
#
# Without variance between seeds, more episodes are enough: about 1600 on each side for
# a power of 0.8. With three points between seeds no number of episodes is enough: the
# power approaches a limit below 0.2 for one seed, and only more seeds raise it.
#
# </details>

# %%
from sftrl_lite.course.calculators import power_calculator

power_calculator()

# %% [markdown]
# ## The figure of this chapter
#
# The left panel shows the paper's comparisons, recomputed from the likely counts of one
# run; where the number of answers is not known, a cross shows the difference without an
# interval. The right panel shows the same comparisons in this repository, with tiny
# models, several seeds, and intervals over seeds and problems. Our side has one line
# more: RL against Init *at its best temperature*, the control without any training.
# Sizes cannot be compared between the two sides; what can be compared is which
# intervals are clear of zero.

# %%
HERE = {("GP-L", "rule"): "cards in text, rule",
        ("GP-VL", "rule"): "cards in pictures, rule",
        ("GP-VL", "visual"): "cards in pictures, red suits",
        ("V-IRL-L", "rule"): "streets in text, rule",
        ("V-IRL-VL", "rule"): "streets in pictures, rule",
        ("V-IRL-VL", "visual"): "streets in pictures, unseen cities"}
WHO = {"RL": "rl-ppo", "SFT": "sft", "Init": "init", "Init at best T": "best"}
OURS, NOTHING = [*PAIRS, ("RL", "Init at best T")], (float("nan"),) * 3
lines, seeds = [], {0}
for (task, shift), name in HERE.items():
    _, experiment, split, metric = claims.BARS[name]
    part = rows[rows["experiment"] == experiment]
    for a, b in OURS:
        d = tables.gap(part, split, WHO[a], WHO[b], metric)
        found = (d.value, d.low, d.high) if d else NOTHING
        seeds |= {d.n} if d else set()
        lines.append((task, shift, f"{a} - {b}", *found))
ours = pd.DataFrame(lines, columns=names[:-1])

# %%
STEPS = {"V-IRL-L": (80.8, 91.8, 1.3), "V-IRL-VL": (35.7, 45.0, 2.5)}  # Init, RL, SFT
only_gaps = pd.DataFrame(
    [(task, "rule", f"{a} - {b}", bar[a] - bar[b])
     for task, values in STEPS.items()
     for bar in [dict(zip(("Init", "RL", "SFT"), values, strict=True))]
     for a, b in PAIRS], columns=names[:4])
theirs = pd.concat([paper[names[:-1]], only_gaps])
theirs = ours[names[:3]].merge(theirs, "left", on=names[:3])  # in the order of ours

# %%
import matplotlib.pyplot as plt

COLOURS = {"RL - Init": "#0072B2", "SFT - Init": "#D55E00", "RL - SFT": "#555555",
           "RL - Init at best T": "#56B4E9"}

def forest(axis, table: pd.DataFrame, title: str) -> None:
    """One line a comparison: gap and interval; hollow where it includes zero."""
    for y, row in enumerate(table.itertuples()):
        colour = COLOURS[row.comparison]
        known = row.low == row.low  # not a number: a gap without an interval
        fill = colour if row.low > 0 or row.high < 0 else "white"
        axis.plot([row.low, row.high], [y, y], color=colour, lw=2)
        axis.plot(row.gap, y, "o" if known else "x", color=colour, mfc=fill)
    labels = [f"{r.task} {r.shift}: {r.comparison}" for r in table.itertuples()]
    axis.set_yticks(range(len(table)), labels)
    axis.axvline(0, color="#222222", lw=1)
    axis.set(title=title, xlabel="points", ylim=(len(table) - 0.5, -0.5))
    axis.grid(True, axis="x")

def in_words(table: pd.DataFrame) -> str:
    """The lines of a forest as text."""
    said = [f"{r.task} {r.shift} {r.comparison} {r.gap:+.1f} "
            f"[{r.low:+.1f}, {r.high:+.1f}]" for r in table.dropna().itertuples()]
    return "; ".join(said) or "not recorded yet"

# %% tags=["forest-figure"]
def clear(table: pd.DataFrame, comparison: str, sign: int) -> str:
    """In how many shifts an interval lies on the claimed side of zero."""
    part = table[table["comparison"] == comparison].dropna()
    good = (part["low"] > 0) if sign > 0 else (part["high"] < 0)
    return f"{good.sum()} of {len(part)}" if len(part) else "not measured"

SIDES = {"RL - Init": ("RL above Init", 1), "SFT - Init": ("SFT below Init", -1),
         "RL - SFT": ("RL above SFT", 1),
         "RL - Init at best T": ("RL above Init at its best temperature", 1)}
told = [f"{name} {clear(theirs, what, sign)} / {clear(ours, what, sign)}"
        for what, (name, sign) in SIDES.items()]
said = "Clear of zero on the claimed side, paper / here: " + "; ".join(told) + "."
title = (f"RL above SFT is clear in {clear(theirs, 'RL - SFT', 1)} shifts of the paper "
         f"and {clear(ours, 'RL - SFT', 1)} here; RL above Init in "
         f"{clear(theirs, 'RL - Init', 1)} and {clear(ours, 'RL - Init', 1)}")
fig, axes = plt.subplots(1, 2, figsize=(11, 7.5), sharey=True)
forest(axes[0], theirs, "paper (11 B), one run")
forest(axes[1], ours, f"here (tiny), up to {max(seeds)} seeds")
fig.suptitle(title, fontsize=11, fontweight="bold")
notebook.figure(fig, alt=f"{title}. {said} Differences in points. Paper: "
                f"{in_words(theirs)}. Here: {in_words(ours)}.")
notebook.show(said)

# %% [markdown]
# ## What was chosen on what
#
# An interval says nothing about how its experiment was chosen. The ledger shows it, as
# far as runs are recorded: which splits each experiment was evaluated on, with how many
# seeds and runs. Learning rates come from the experiments called `sweep`, on the
# *training* problems of a seed that is not reported, with a development shift beside
# it.

# %%
by = rows[rows["split"] != "train"].groupby("experiment", sort=False)
looks = pd.DataFrame({
    "splits looked at": by["split"].unique().map(lambda s: ", ".join(sorted(s))),
    "seeds": by["seed"].unique().map(lambda s: ", ".join(map(str, sorted(s)))),
    "runs": by["config_hash"].nunique(),
    "evaluations": by[["config_hash", "step"]].apply(
        lambda part: len(part.drop_duplicates())),
} if len(rows) else {})
looks

# %% [markdown]
# Three choices are not in the ledger. The *base* was designed for this course: its
# mistakes are systematic, because with random ones greedy decoding hides every
# difference (chapter 2). The analysis of chapters 10 to 12 was planned after a first
# headline had been seen; its settings (a third of the compute, 500 problems) were fixed
# before it ran and not tuned, for any method. And all recordings replace an earlier set
# with four flaws: test hands shared their numbers with training hands, answers were
# sampled at temperature 1 instead of as in the paper, the random-reward control paid
# for failing, and intervals over three seeds left out the variance between problems. So
# the hypotheses were not formed blind, and every repetition of an experiment is another
# look. On the other hand, no learning rate of the tiny models but one was chosen on a reported seed,
# and every sign is reported as it came out. The exception is RL on cards in pictures: it
# was lowered from 1e-4 to 3e-5 because one of the eight reported seeds collapsed at
# 1e-4, on its training hands (`vl-rl-push` keeps those runs). The results hold for
# these bases; only other bases can show how far they extend.
#
# ## Which claims hold here?
#
# Each line is a difference paired by seed, with an interval that includes both sources
# of variance, and a verdict that follows from the interval alone
# (`sftrl_lite/results/claims.py`): *holds* if it lies on the claimed side of zero,
# *fails* if it lies on the other, else *open*; with too few seeds (`measures.FEWEST`)
# there is no verdict. `p` is the p-value of no difference. For random rewards, +5 points
# take the place of zero. `chapter` says where its figure is.
#
# Every 95 % interval is another opportunity for a false alarm. So we apply Holm's
# correction to our own claims: `p (Holm)` is corrected for the number of claims that
# have a verdict, and `after Holm` is what the verdict becomes at 5 %.

# %%
judged = claims.claims_table(rows)
with pd.option_context("display.max_colwidth", None):
    display(judged.set_index("claim"))

# %% tags=["survivors"]
DECIDED = ["holds", "fails"]
looked = judged["verdict"].isin([*DECIDED, "open"])
before = judged["verdict"].isin(DECIDED)
after = judged["after Holm"].isin(DECIDED)
print(f"{after.sum()} of {before.sum()} clear verdicts survive {looked.sum()} tests; "
      f"{(~looked).sum()} of {len(judged)} claims are not recorded or have few seeds")
for row in judged[before & ~after].itertuples():
    print(f"no longer clear: {row.claim} ({row.verdict} before)")

# %% [markdown]
# ## What it means, and what it does not
#
# *In the paper, the contrast is established and the gain is not.* That SFT ends below RL
# at equal compute is clear in all four shifts whose counts can be inferred. That RL ends above its
# Init under a shifted *rule* is, for cards, within the noise of one run and 234 episodes.
# Under the *visual* shift it is clear.
#
# *At this size* the sentence under the figure says in how many shifts each side of the
# contrast is clear, and whether RL also beats an Init that is only sampled at a better
# temperature. The tiny bases contain careful behaviour that can be selected, by design.
#
# The control matters for large models, too. Sampling from a sharpened distribution of the
# base, without training, nearly matches RL on several single-shot benchmarks ([Karan and
# Du, 2025](https://arxiv.org/abs/2510.14901)). A gain over Init at one temperature does
# not show that RL taught anything that sampling could not have found.
#
# What this chapter does *not* show:
#
# - *That a claim which fails here is false.* Models of about a million parameters,
#   each pre-trained on one synthetic task, show mechanisms. An open verdict is an open question.
# - *That eight seeds are enough.* The tables above show what they can detect, and how
#   much of it is left after a correction for all claims. More seeds are one line of
#   TOML for `python -m sftrl_lite sweep`.
# - *That all tests are counted.* Holm's correction is over the claims of the table.
#   Chapter 10 asks many questions of its own, and the live runs of the chapters are tests,
#   too.
# - *That our counts are the paper's.* They are inferred from printed percentages.
#
# ## Further reading
#
# - Chu et al. (2025), [SFT Memorizes, RL
#   Generalizes](https://arxiv.org/abs/2501.17161), figures 5 to 7 and appendix C.3
#   (15 minutes).
# - Newcombe (1998), [Interval estimation for the difference between independent
#   proportions](https://doi.org/10.1002/%28SICI%291097-0258%2819980430%2917%3A8%3C873%3A%3AAID-SIM779%3E3.0.CO%3B2-I)
#   (20 minutes).
# - Brown and Heathers (2017), [The GRIM test](https://doi.org/10.1177/1948550616673876)
#   (15 minutes).
# - Agarwal et al. (2021), [Deep Reinforcement Learning at the Edge of the Statistical
#   Precipice](https://arxiv.org/abs/2108.13264) (20 minutes).
# - Jin et al. (2025), [RL Fine-Tuning Heals OOD Forgetting in
#   SFT](https://arxiv.org/abs/2509.12235), and Lin et al. (2025), [Debunk the Myth of
#   SFT Generalization](https://arxiv.org/abs/2510.00237): the claims of the table
#   (40 minutes).
