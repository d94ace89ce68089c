"""Measuring a model on the splits of a task, for the command line; nothing is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

from sftrl_lite.models.loading import load
from sftrl_lite.planning.fit import check
from sftrl_lite.planning.work import Work
from sftrl_lite.results.ledger import decoding_name
from sftrl_lite.runs.checks import check_words
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.scales import get_scale
from sftrl_lite.tasks.prompts import off_distribution
from sftrl_lite.tasks.registry import budget, check_base, make_task, reported
from sftrl_lite.training.distributed import world
from sftrl_lite.training.engine import check_engine, open_engine
from sftrl_lite.training.evaluate import evaluate


def evaluations(
    o: SimpleNamespace, model: str = "", episodes: int = 0, engine: str = ""
) -> Iterator[str]:
    """Lines of what is measured, split by split; a remark begins with ``note:``.

    Args:
        o: the options of ``eval`` that it shares with runs, by their names in ``Run``.
        model: a folder, a Hub id or ``init``; empty: what the scale starts from.
        episodes: of a split; 0: the scale's.
        engine: what plays in place of the model (``training.engine``); empty: nothing.

    Raises:
        ValueError: an option that is out of range, a model that was made for another task.
        RuntimeError: a model that this machine has no room for, or an engine that is missing.
    """
    row = get_scale(o.scale)
    whole = ["all", "all-rule"] if o.data else reported(o.task)
    real = dict(data=o.data, skip_bad=o.skip_bad, prompt=o.prompt, picture=o.picture)
    judges = {name: make_task(o.task, name, row, **real) for name in o.splits or whole}
    check_base(model, o.task)
    decoding = decoding_name(o.eval_temperature, o.eval_top_p)
    if engine:
        check_engine(engine, o.task)
    model = row.init_for(o.task) if model == "init" else model or row.base_for(o.task)
    if line := off_distribution(model, o.prompt):
        yield f"note: {line}"
    needed = Work(row, o.task, "eval", "none", tiles=o.max_image_tiles, gpus=world())
    together = 0 if engine else check(needed)
    network, processor = load(model, tiles=o.max_image_tiles)
    if o.prompt:
        check_words(processor, model, judges.values())
    playing = open_engine(engine, network, processor, o.task)
    for split, judge in judges.items():
        draw = train_hands if split == "train" else held_out
        many = episodes or int(min(2 * row.eval_episodes, judge.population))
        found, _ = evaluate(
            network,
            processor,
            judge,
            draw(judge, many, o.seed),
            tries=o.tries or budget(o.task, row.rl.tries),
            temperature=o.eval_temperature,
            top_p=o.eval_top_p,
            seed=o.seed,
            max_new_tokens=row.rl.max_new_tokens,
            together=together,
            engine=playing,
        )
        for name, e in found.items():
            interval = f"[{100 * e.low:.1f}, {100 * e.high:.1f}]"
            yield f"{split:10} {name:14} {decoding:7} {100 * e.value:5.1f} % {interval} n={e.n}"
