"""The headline experiment: from one Init, SFT on one core and RL on the other."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from sftrl_lite.models.precision import hardware
from sftrl_lite.processes import deaf, first_line, serve
from sftrl_lite.results import ledger, plots
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.follow import answers_text, latest
from sftrl_lite.runs.run_config import Run
from sftrl_lite.runs.watch import Watch
from sftrl_lite.scales import Scale, get_scale

BAR = "{desc:>10} {percentage:3.0f}%|{bar}| {elapsed} done, {remaining} left{postfix}"
WATCH = Watch(doubling=True)


def _worker(
    name: str, run: Run, out: Path, messages: Queue[Any], experiment: str, record: Path | None
) -> None:
    serve()
    import torch

    torch.set_num_threads(1)  # two processes on two cores: more threads only collide
    try:
        tell = lambda share: messages.put((name, share))  # noqa: E731
        train(run, out, experiment=experiment, progress=tell, record=record, watch=WATCH)
        messages.put((name, "done"))
    except Exception as error:
        messages.put((name, error))


def side_by_side(
    runs: dict[str, Run],
    out: Path,
    experiment: str = "",
    record: Path | None = None,
    look: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Do several runs, one process each, with a progress bar each that tells the newest step.

    On a CPU all at once; on a GPU one after the other, since two may not fit into its memory.
    The answers to the same few problems are written down at steps 0, 1, 2, 4, 8, ... (``watch``).

    Args:
        runs: a label and a run each; run ``name`` lives in folder ``out / name``.
        look: called about once a second while they run, and when all are done.

    Returns:
        all rows as a table in the form of the ledger.

    Raises:
        RuntimeError: a run failed; the message is its own.
        ValueError: a run cannot begin, as where its Init was not made.
    """
    for run in runs.values():
        run.filled()  # raises before any process is started
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    workers = {
        name: context.Process(
            target=_worker, args=(name, run, out / name, messages, experiment, record), daemon=True
        )
        for name, run in runs.items()
    }
    bars = {
        name: tqdm(total=1.0, desc=name, position=i, bar_format=BAR, dynamic_ncols=True)
        for i, name in enumerate(runs)
    }
    waiting, failed = set(runs), None
    at_once = 1 if hardware().gpu else len(workers)
    later = list(workers.values())
    try:
        with deaf():
            for worker in later[:at_once]:
                worker.start()
        del later[:at_once]
        while waiting and failed is None:
            look()
            try:
                name, news = messages.get(timeout=1)
            except queue.Empty:
                dead = [n for n in waiting if workers[n].pid and not workers[n].is_alive()]
                failed = f"{dead[0]}: the process died" if dead and messages.empty() else None
                continue
            if isinstance(news, Exception):
                failed = f"{name}: {first_line(news)}"
                continue
            bars[name].set_postfix_str(latest(out / name), refresh=False)
            bars[name].update((1.0 if news == "done" else news) - bars[name].n)
            if news == "done":
                waiting.discard(name)
                if later:
                    workers[name].join()  # and with it goes its memory
                    with deaf():
                        later.pop(0).start()
    finally:  # also where Ctrl-C ends the waiting
        for worker in (worker for worker in workers.values() if worker.pid):
            if waiting:
                worker.terminate()
            worker.join()
        for bar in bars.values():
            bar.close()
    look()
    if failed:
        raise RuntimeError(failed)
    return pd.concat([ledger.read(out / name / "rows.csv") for name in runs], ignore_index=True)


def headline_runs(seed: int = 0, scale: Scale | str | None = None) -> dict[str, Run]:
    """SFT and RL (PPO) from the same Init on the same hands, by method."""
    scale = get_scale(scale)
    few = scale.eval_episodes * 3 // 5  # leaves time for training
    options: dict[str, Any] = dict(points=2, eval_episodes=few, curve_episodes=few, pass_samples=0)
    return {m: Run(m, seed=seed, scale=scale, **options) for m in ("sft", "rl-ppo")}


def headline_folder(
    seed: int = 0, scale: Scale | str | None = None, out: Path | str = "runs/headline"
) -> Path:
    """Where the runs of the headline lie, each in a folder of its method's name.

    Runs of a row that was shortened have a place of their own.
    """
    scale = get_scale(scale)
    whole = scale.tflop == get_scale(scale.name).tflop
    name = scale.name if whole else f"{scale.name}-{scale.tflop:g}tflop"
    return Path(out) / f"{name}-seed{seed}"


def headline(
    seed: int = 0, scale: Scale | str | None = None, out: Path | str = "runs/headline"
) -> pd.DataFrame:
    """SFT and RL (PPO) from the same Init on the same hands; rows of both.

    Args:
        seed: chooses training hands, held-out hands and samples.
        scale: a row of the table of scales, or its name.
        out: folder of the two runs; a second call continues or only reads it.
    """
    where = headline_folder(seed, scale, out)
    return side_by_side(headline_runs(seed, scale), where, "headline")


def headline_answers(
    seed: int = 0, scale: Scale | str | None = None, out: Path | str = "runs/headline"
) -> str:
    """What both answered to the same training problems at steps 0, 1, 2, 4, 8, ..., as signs."""
    where = headline_folder(seed, scale, out)
    return answers_text({plots.LABELS[m]: where / m for m in headline_runs(seed, scale)})
