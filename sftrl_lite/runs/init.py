"""The shared Init: a first SFT of a base, up to a stated level, once for all runs of a task.

SFT and RL are compared from one Init (paper, section 4). A base that never answers in the format
gives RL nothing to select from (paper, figure 9), and one that is nearly perfect leaves nothing to
learn. So the first SFT goes on until few answers are out of the format and a fair share is right,
measured on training problems that it does not train on; the reported tests are never looked at.

    runs/init-SCALE-TASK/          the model, and init.json: how it was made, the level it has
    runs/init-SCALE-TASK.making/   where the making is: killed, it goes on from here
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sftrl_lite.files import check_summed, full_disk_in_one_line, remove, whole, write_summed
from sftrl_lite.models.checkpoints import check_sums, read_object, write_sums
from sftrl_lite.models.loading import save
from sftrl_lite.models.precision import threads_of
from sftrl_lite.models.vision import Processor, tokenizer_of
from sftrl_lite.planning.fit import check
from sftrl_lite.planning.workload import work_of
from sftrl_lite.runs.resume import claim
from sftrl_lite.runs.run_config import Run
from sftrl_lite.runs.weights import load_init
from sftrl_lite.scales import InitSettings, SFTSettings
from sftrl_lite.seeds import seed_all, stream
from sftrl_lite.tasks.base import Measurable, Problem
from sftrl_lite.tasks.registry import budget, check_base
from sftrl_lite.training import distributed
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.sft import last_checkpoint, train_sft
from sftrl_lite.training.sft_examples import training_rows

LEVEL = ("step", "format_error", "success")
Level = dict[str, float]  # of these names
FILE = "init.json"


def first_sft(run: Run) -> Run:
    """The run that makes an Init: SFT of the scale's base, at the rate of its first SFT.

    Where all weights are trained at a scale that is meant for an adapter, the rate is that of SFT:
    an adapter needs a hundred times more.
    """
    scale = run.scale
    whole_model = (run.adapter or scale.adapter) == "none" != scale.adapter
    base = scale.init_for(run.task) if run.base == "init" else run.base
    return replace(
        run,
        method="sft",
        base=base or scale.pretrained_for(run.task),
        lr=run.lr or (scale.lr(run.task, "sft") if whole_model else scale.init.lr),
        steps=run.steps or scale.init.most,
        hands=run.hands or min(scale.sft.hands, scale.init.most * scale.init.batch),
        eval_episodes=scale.init.problems,
        final_episodes=scale.init.problems,
    ).filled()


def make_init(
    run: Run,
    folder: Path | None = None,
    goal: InitSettings | None = None,
    progress: Callable[[Level], None] = lambda level: None,
) -> dict[str, Any]:
    """Make the Init that ``run`` describes, or go on making it, or say what was made.

    Args:
        run: scale, task, seed, base, rate, steps at most, adapter, vision; see ``first_sft``.
        folder: where it is kept; ``runs/init-SCALE-TASK``, where runs find it, if not given.
        goal: the level to reach; the scale's if not given.
        progress: told each measured level.

    Returns:
        what ``init.json`` holds: settings, the level that was reached (shares of answers and of
        episodes), ``steps``, all measured levels, and whether the goal was ``reached``.

    Raises:
        ValueError: the folder holds an Init of other settings, or something else.
        RuntimeError: the model does not fit this machine.
    """
    run, scale = first_sft(run), run.scale
    goal, folder = goal or scale.init, folder or scale.init_folder(run.task)
    distributed.start()
    if distributed.broadcast((folder / FILE).is_file()):
        return made_before(run, folder, goal)
    if distributed.broadcast(folder.exists()):
        wrong = f"{folder} holds no Init ({FILE} is missing)"
        raise ValueError(f"{wrong}; choose another --out or move it away")
    making, main = folder.with_name(folder.name + ".making"), distributed.is_main()
    with (  # no name for the lock: an error that a notebook keeps would hold the folder
        claim(run, making) if main else nullcontext(),
        full_disk_in_one_line(folder),
        threads_of(scale),
    ):
        report = _make(run, making, folder, goal, progress)
    if main:
        remove(making)
    distributed.barrier()
    return report


def made_before(run: Run, folder: Path, goal: InitSettings) -> dict[str, Any]:
    """What ``init.json`` says.

    Raises:
        ValueError: it is damaged, or was made with other settings.
    """
    check_sums(folder)
    report = read_object(folder / FILE)
    made = report.get("hash"), report.get("goal")
    if made != (run.hash, json.loads(json.dumps(asdict(goal)))):
        raise ValueError(f"{folder} holds an Init of other settings; choose another --out")
    return report


def _make(
    run: Run,
    making: Path,
    folder: Path,
    goal: InitSettings,
    progress: Callable[[Level], None],
) -> dict[str, Any]:
    seed_all(run.seed)
    check_base(run.base, run.task)
    check(work_of(run, "sft"))
    model, processor = load_init(run)
    rollout_model, task = distributed.make_rollout_model(model), run.make("train")
    mine, fresh = task.half(1), task.half(2)
    problems = mine.draw(stream(run.seed, "init"), run.hands)
    asked = fresh.draw(stream(run.seed, "init level"), goal.problems)
    levels = read_levels(making)

    def reached(step: int) -> bool:
        """Measure the level after a step; whether training may end."""
        if not distributed.broadcast(step in {known["step"] for known in levels}):
            distributed.sync_weights(rollout_model, model)
            levels.append({"step": step} | level(run, rollout_model, processor, fresh, asked))
            if distributed.is_main():
                write_summed(making / "levels.json", json.dumps(levels).encode())
            progress(levels[-1])
        return meets(next(known for known in levels if known["step"] == step), goal)

    # killed between its last measurement and the end: no step more
    end = int(levels[-1]["step"]) if levels and meets(levels[-1], goal) else run.steps
    if not reached(0):
        data, pixels = training_rows(processor, task, problems)
        train_sft(
            model,
            tokenizer_of(processor),
            data,
            SFTSettings(run.lr, goal.batch, run.hands),
            making / "trainer",
            run.seed,
            steps=end,
            hook=reached,
            at=[*range(goal.every, end, goal.every), end],
            save_every=goal.every,
            progress=False,
            pixels=pixels,
        )
    distributed.sync_weights(rollout_model, model)
    report = {"hash": run.hash, **run.plain(), "goal": asdict(goal)}
    report |= {**levels[-1], "steps": levels[-1]["step"], "levels": levels}
    report |= {"temperature": run.scale.rl.temperature}
    report["reached"] = meets(levels[-1], goal)
    if distributed.is_main():
        with whole(folder) as draft:
            save(rollout_model, processor, draft)
            (draft / FILE).write_text(json.dumps(report, indent=1), "utf-8")
            write_sums(draft)
    return report


def read_levels(making: Path) -> list[Level]:
    """What was measured before a kill."""
    path, advice = making / "levels.json", f"delete {making} to start again"
    wrong = f"{path} is damaged or missing; {advice}"
    if not path.exists():
        if last_checkpoint(making / "trainer"):
            raise ValueError(wrong)
        return []
    check_summed(path, advice)
    try:
        found = json.loads(path.read_text("utf-8"))
        plain = [{name: float(known[name]) for name in LEVEL} for known in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(wrong) from None
    return [known | {"step": int(known["step"])} for known in plain]


def level(
    run: Run,
    model: PreTrainedModel,
    processor: Processor,
    task: Measurable[Problem],
    problems: Sequence[Problem],
) -> Level:
    """Shares of illegal answers and of solved problems, played as RL plays."""
    s = run.scale.rl
    found, _ = evaluate(
        model,
        processor,
        task,
        problems,
        tries=budget(run.task, run.tries),
        temperature=s.temperature,
        top_p=1.0,
        max_new_tokens=s.max_new_tokens,
        seed=run.seed,
    )
    return {name: found[name].value for name in ("format_error", "success")}


def meets(level: Level, goal: InitSettings) -> bool:
    """Whether a level is high enough; training further could only leave the window."""
    return level["format_error"] < goal.format_error and level["success"] >= goal.success[0]


def verdict(report: dict[str, Any]) -> str:
    """What was made, in a sentence, and what to think of it."""
    low, high = report["goal"]["success"]
    said = (
        f"{report['base']} after {report['steps']} steps of SFT: format errors "
        f"{report['format_error']:.0%}, success {report['success']:.0%}"
    )
    if not report["reached"]:
        wrong = f"the goal was format errors under {report['goal']['format_error']:.0%}"
        return f"{said}; {wrong}, success from {low:.0%} on. Give it more --steps or another --lr"
    if report["success"] > high:
        less = "; measure more often (--every)" if report["steps"] else ""
        return f"{said}, over {high:.0%}: little is left to learn{less}"
    return f"{said}: a level that RL can start from"
