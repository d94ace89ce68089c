"""Many runs at once: a table of configurations, done on several processes, resumably.

A sweep file is TOML. Each table is named after its experiment and holds fields of a ``Run``;
a field with a list stands for each of its values, and lists are crossed:

    [[headline]]
    seed = [0, 1, 2]
    method = ["rl-ppo", "sft"]
    final_episodes = 1000

What results/ledger.csv holds already is skipped, what a folder in runs/ holds is continued.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tomllib
from collections.abc import MutableMapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from sftrl_lite.processes import STOPS, deaf, first_line, serve
from sftrl_lite.results import ledger
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.resume import Busy, folder_of
from sftrl_lite.runs.run_config import Run, defaults

DEFAULTS = defaults()
Named = tuple[str, Run]  # an experiment and a run of it


def read_sweep(path: Path) -> list[Named]:
    """The runs that a sweep file describes, in its order, each once.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML, an unknown key or an impossible value; names file and table.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))  # Windows writes a mark first
    except (ValueError, RecursionError) as error:  # also a number or a nesting without end
        raise ValueError(f"{path} is not TOML: {error}") from None
    found: dict[tuple[str, str], Named] = {}
    for experiment, group in tables.items():
        if not isinstance(group, list) or not all(isinstance(table, dict) for table in group):
            raise ValueError(f"{path}: write [[{experiment}]] above the fields of its runs")
        for table in group:
            try:
                for run in expand(table):
                    found.setdefault((experiment, run.hash), (experiment, run))
            except (ValueError, OSError) as error:
                raise ValueError(f"{path}, [[{experiment}]]: {error}") from None
    return list(found.values())


def expand(table: dict[str, Any]) -> list[Run]:
    """All runs of one table: the product of its lists, the first field changing slowest.

    Raises:
        ValueError: unknown key, no method, or a value of the wrong kind.
    """
    if unknown := set(table) - set(DEFAULTS):
        raise ValueError(f"unknown key {min(unknown)!r}; choose {', '.join(DEFAULTS)}")
    if "method" not in table:
        raise ValueError("it names no method")
    lists = [value if isinstance(value, list) else [value] for value in table.values()]
    return [
        Run(**{name: checked(name, value) for name, value in zip(table, chosen, strict=True)})
        for chosen in itertools.product(*lists)
    ]


def checked(name: str, value: Any) -> Any:
    """The value as its field has it: 1 becomes 1.0 where a float belongs, a list a tuple."""
    kind = type(DEFAULTS[name])
    value = float(value) if kind is float and type(value) is int else value
    value = tuple(value) if kind is tuple and isinstance(value, list) else value
    if type(value) is not kind:
        wanted = "list in a list" if kind is tuple else kind.__name__
        raise ValueError(f"{name} is {value!r}; it has to be a {wanted}")
    return value


def missing(wanted: list[Named], record: Path = ledger.LEDGER) -> list[Named]:
    """The runs that are not recorded yet.

    Raises:
        ValueError: the ledger is of another version, or holds runs of one of the experiments
            that the file does not name: figures would mix the two.
    """
    table = ledger.read(record)
    there = set(zip(table["experiment"], table["config_hash"], strict=True))
    named = {(experiment, run.hash) for experiment, run in wanted}
    for experiment in dict.fromkeys(experiment for experiment, _ in wanted):
        if other := sorted(h for name, h in there - named if name == experiment):
            raise ValueError(
                f"{record.name} holds {len(other)} runs of {experiment} with other settings "
                f"({other[0]}, say); rename the experiment or remove those rows"
            )
    return [(experiment, run) for experiment, run in wanted if (experiment, run.hash) not in there]


def sweep(
    path: Path, jobs: int = 1, record: Path = ledger.LEDGER, runs: Path = Path("runs")
) -> tuple[int, int]:
    """Do the missing runs of a sweep file, ``jobs`` runs at a time, one thread each.

    Args:
        record: ledger that finished runs are appended to.
        runs: where the folders of the runs lie.

    Returns:
        how many runs the file names, and how many of them were done now.

    Raises:
        ValueError: see ``read_sweep`` and ``missing``.
        RuntimeError: a run failed, or the sweep was interrupted, or at the end: the folder of a run
            was in use. Finished runs are recorded, the others continue when the sweep is called
            again.
    """
    wanted = read_sweep(path)
    todo = missing(wanted, record)
    if not todo:
        return len(wanted), 0
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    before, finished, stopped, busy = len(wanted) - len(todo), 0, "", ""
    manager = SyncManager(ctx=context)
    with deaf():
        manager.start(serve)
    with (
        manager,
        ProcessPoolExecutor(jobs, context, initializer=_alone) as pool,
        tqdm(total=len(wanted), initial=before, unit="run", desc=path.stem) as bar,
    ):
        shares = manager.dict()
        try:
            with deaf():
                waiting = {pool.submit(_do, *one, runs, record, shares): one for one in todo}
            while waiting and not stopped:
                ready, _ = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                bar.update(before + sum(shares.values()) - bar.n)
                for future in ready:
                    experiment, run = waiting.pop(future)
                    error = future.exception()
                    if isinstance(error, Busy):
                        busy = str(error)
                    elif error:
                        line = first_line(error)
                        stopped = f"{experiment}, {run.method}, seed {run.seed}: {line}"
                    finished += error is None
        except STOPS:
            stopped = "interrupted"
        if stopped:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
    if stopped := stopped or busy:
        done = f"{before + finished} of {len(wanted)} runs are recorded"
        raise RuntimeError(f"{stopped} ({done}; the same command continues)")
    return len(wanted), finished


def _alone() -> None:
    """A worker has one thread and ends with the sweep."""
    serve()
    import torch

    torch.set_num_threads(1)


def _do(
    experiment: str, run: Run, runs: Path, record: Path, shares: MutableMapping[str, float]
) -> None:
    out = runs / folder_of(run, experiment)
    tell = lambda share: shares.update({str(out): share})  # noqa: E731
    # what a table names is meant, also RL of a model that cannot answer (window-left)
    train(run, out, experiment=experiment, progress=tell, record=record, anyway=True)
    tell(1.0)
