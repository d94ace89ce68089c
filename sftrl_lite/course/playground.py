"""A playground: choose the settings of a small training, train it live, hold it against another.

What trains is a shipped tiny base that seldom solves a hand at its first try, by the package's
own ``rl_step`` and ``train_sft``; half a minute on one core. The curves to compare with are
recorded: ``python -m sftrl_lite.course.playground`` makes ``results/playground.csv`` again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from sftrl_lite.files import ROOT, whole
from sftrl_lite.models.loading import load
from sftrl_lite.models.vision import tokenizer_of
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.scales import RLSettings, SFTSettings
from sftrl_lite.tasks.base import Verdict
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.tasks.verifier import REWARDS
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.health import DivergedError
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.sft import train_sft
from sftrl_lite.training.sft_examples import training_rows
from sftrl_lite.training.updates import new_learner

BASE = "data/tiny-gp-l-hasty"
STEPS, EVERY = 32, 4  # of a training, and between two evaluations
EPISODES = 32  # of a step: episodes of RL, demonstrations of SFT
TESTS = 100  # fresh hands of an evaluation, under each rule
RULES = {"id": "trained rule", "ood-rule": "shifted rule"}
RECORD = ROOT / "results" / "playground.csv"
KINDS = ("solved", "wrong_value", "wrong_numbers", "illegal", "over_budget")
TABLES = {  # points of an answer by its kind
    "the paper's": {kind: REWARDS[kind] for kind in KINDS},
    "right 1, all else 0": {kind: float(kind == "solved") for kind in KINDS},
    "any legal formula 1": {kind: float(kind in KINDS[:3]) for kind in KINDS},
}


@dataclass(frozen=True)
class Settings:
    """What can be chosen; SFT uses rate and seed alone."""

    method: str = "rl-ppo"  # rl-grpo, rl-reinforce, sft
    lr: float = 2e-4
    clip: float = 0.2
    tries: int = 1
    group: int = 8  # episodes per hand, of ``EPISODES``
    temperature: float = 1.0  # of sampling in training
    rewards: str = "the paper's"  # a key of TABLES
    seed: int = 0

    def for_rl(self) -> RLSettings:
        """These as ``rl_step`` takes them: REINFORCE makes one update per step, the others two."""
        return RLSettings(
            lr=self.lr,
            problems=EPISODES // self.group,
            samples=self.group,
            minibatch=EPISODES if self.method == "rl-reinforce" else EPISODES // 2,
            method=self.method,
            tries=self.tries,
            clip=self.clip,
            temperature=self.temperature,
        )


DEFAULT = Settings()
CASES = {  # what is recorded, and shown where no kernel runs
    "default: PPO, rate 2e-4": DEFAULT,
    "rate 2e-3": replace(DEFAULT, lr=2e-3),
    "REINFORCE": replace(DEFAULT, method="rl-reinforce"),
    "GRPO": replace(DEFAULT, method="rl-grpo"),
    "any legal formula pays": replace(DEFAULT, rewards="any legal formula 1"),
    "SFT": replace(DEFAULT, method="sft"),
}


@dataclass
class Curve:
    """A training: a row an evaluation, and the step after which it computed no numbers any more."""

    rows: list[dict[str, float]] = field(default_factory=list)
    broke: int = 0

    @property
    def steps(self) -> list[float]:
        return [row["step"] for row in self.rows]

    def share(self, split: str) -> list[float]:
        """Share solved at the first try under a rule, evaluation by evaluation."""
        return [row[split] for row in self.rows]


@dataclass(frozen=True)
class Paid:
    """A task whose answers earn the points of another table."""

    task: Any
    table: Mapping[str, float]

    @property
    def over_budget(self) -> float:
        return self.table["over_budget"]

    def prompt(self, problem: Any) -> str:
        return self.task.prompt(problem)

    def picture(self, problem: Any) -> Image.Image | None:
        return self.task.picture(problem)

    def verify(self, problem: Any, answer: str) -> Verdict:
        verdict = self.task.verify(problem, answer)
        return replace(verdict, reward=self.table[verdict.kind])


def train(
    settings: Settings,
    tell: Callable[[Curve], object] = lambda curve: None,
    steps: int = STEPS,
    every: int = EVERY,
    tests: int = TESTS,
    base: str | Path = BASE,
) -> Curve:
    """Train the base for ``steps`` and evaluate it every so many.

    Args:
        tell: called with the curve so far after each evaluation.
        tests: fresh hands of an evaluation, under each rule.

    Returns:
        its curve: by step the shares solved at the first try under both rules, the share of
        answers out of the format under the shifted one, and of RL what ``rl_step`` returns. A
        training whose weights or probabilities overflow ends early, and says where.
    """
    model, tokenizer = load(base)
    task = general_points("train")
    hands = train_hands(task, 300, settings.seed)
    fresh = {split: held_out(general_points(split), tests, 0) for split in RULES}
    curve = Curve()

    def look(step: int, figures: Mapping[str, float]) -> None:
        """Evaluate if it is time to."""
        if step % every == 0 or step == steps:
            row: dict[str, float] = {"step": step}
            for split, asked in fresh.items():
                found, _ = evaluate(model, tokenizer, general_points(split), asked, tries=1)
                row[split] = found["success@1"].value
                row["format_error"] = found["format_error"].value  # at last the shifted rule's
            curve.rows.append(row | dict(figures))
            tell(curve)

    look(0, {})
    try:
        if settings.method == "sft":
            data, _ = training_rows(tokenizer, task, hands)
            how, at = SFTSettings(settings.lr, EPISODES, len(hands)), range(1, steps + 1)
            more: dict[str, Any] = dict(hook=partial(look, figures={}), at=at, progress=False)
            with tempfile.TemporaryDirectory() as out:
                more |= dict(out=Path(out), seed=settings.seed, steps=steps)
                train_sft(model, tokenizer_of(tokenizer), data, how, **more)
            return curve
        chosen, paid = settings.for_rl(), Paid(task, TABLES[settings.rewards])
        learner = new_learner(model, chosen, settings.seed)
        for step in range(1, steps + 1):
            look(step, rl_step(learner, tokenizer, paid, hands, chosen, settings.seed))
    except DivergedError as error:
        curve.broke = error.step
    except RuntimeError as error:
        if "probability tensor" not in str(error):  # torch's complaint about what it shall sample
            raise
        curve.broke = int(curve.rows[-1]["step"]) + 1
    return curve


# --- recorded curves ---------------------------------------------------------------------

SHOWN = ("step", *RULES, "format_error", "reward", "kl", "clipped", "entropy", "grad_norm")


def record(path: Path = RECORD) -> None:
    """Train all cases and write their curves down."""
    curves = {}
    for name, settings in tqdm(CASES.items(), unit="case"):
        curves[name] = pd.DataFrame(train(settings).rows).reindex(columns=SHOWN)
    table = pd.concat(curves, names=["case"]).reset_index("case")
    with whole(path) as draft:
        table.to_csv(draft, index=False, float_format="%.6g", lineterminator="\n")


def recorded(path: Path = RECORD) -> dict[str, Curve]:
    """The curves of the cases."""
    table = pd.read_csv(path)
    found: dict[str, Curve] = {}
    for row in table.to_dict("records"):
        here = {str(name): value for name, value in row.items() if not pd.isna(value)}
        found.setdefault(here.pop("case"), Curve()).rows.append(here)
    return found


if __name__ == "__main__":
    record()
