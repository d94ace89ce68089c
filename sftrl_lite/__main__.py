"""Command line: ``python -m sftrl_lite COMMAND --help``."""

from __future__ import annotations

from sftrl_lite.processes import listen, one_line

if __name__ == "__main__":
    listen()  # what is imported below takes a second or two

import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from sftrl_lite.runs.options import listed, takes
from sftrl_lite.runs.run_config import METHODS, Run
from sftrl_lite.scales import get_scale

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="SFT memorizes, RL generalizes: from a laptop CPU to Llama-3.2-11B-Vision.",
)

Out = Annotated[Path | None, typer.Option(help="output folder; continued if it exists")]
Engine = Annotated[str, typer.Option(help="vllm: plays tasks in text; rl, eval; empty: our own")]


@app.command("sft", help="Supervised fine-tuning on correct answers under one rule.")
@app.command("rl", help="Reinforcement learning with verification iterations.")
@takes()
def train_command(
    context: typer.Context,
    out: Out = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="rl: also if answers are out of format")
    ] = False,
    engine: Engine = "",
    report_to: Annotated[str, typer.Option(help="also tell tensorboard, trackio or wandb")] = "",
    transcripts: Annotated[
        int, typer.Option(help="every so many steps the same few answers; 0: none")
    ] = 0,
    checkpoints: Annotated[int, typer.Option(help="models to keep, of the last evaluations")] = 1,
    push_to_hub: Annotated[
        str, typer.Option(help="upload the result there, as ME/NAME; private")
    ] = "",
    price: Annotated[float, typer.Option(min=0, help="dollars a GPU hour, for the estimate")] = 0.0,
    experiment: Annotated[str, typer.Option(help="name in the ledger; default: the method")] = "",
    record: Annotated[bool, typer.Option(help="append the result to results/ledger.csv")] = False,
    **given: Any,
) -> None:
    from tqdm.auto import tqdm

    from sftrl_lite.results import ledger, plots
    from sftrl_lite.runs import watch
    from sftrl_lite.runs.checks import remarks
    from sftrl_lite.runs.execute import train
    from sftrl_lite.runs.headline import BAR
    from sftrl_lite.runs.resume import folder_of
    from sftrl_lite.runs.run_config import rl_settings, settings_of
    from sftrl_lite.training import distributed

    verb = str(context.info_name)
    family = [name for name in METHODS if name.startswith(verb)]
    given = listed(**given)
    given["method"] = given["method"] or family[0]
    if given["method"] not in family:
        raise ValueError(f"unknown method {given['method']!r}; choose {', '.join(family)}")
    if engine and verb == "sft":
        raise ValueError("SFT does not sample while it trains; --engine is for rl and eval")
    if engine and record:
        raise ValueError("--record keeps what its command gives again; an engine does not")
    run, seen = Run(**given), watch.Watch(report_to, transcripts, checkpoints)
    if push_to_hub:
        watch.check_push(push_to_hub)
    out = out or Path("runs") / folder_of(run, experiment)
    distributed.start()
    for line in remarks(run) if distributed.is_main() else ():
        typer.echo(f"note: {line}", err=True)
    if distributed.is_main() and not (out / "model").is_dir():
        filled = run.filled()
        typer.echo(watch.configuration({"out": str(out), **filled.plain()} | settings_of(filled)))
        settings = rl_settings(filled) if verb == "rl" else None
        typer.echo(watch.outlook(filled, settings, price))
    with tqdm(total=1.0, desc=run.method, bar_format=BAR, disable=not distributed.is_main()) as bar:
        show = lambda share: bar.update(share - bar.n)  # noqa: E731
        go = partial(train, run, out, experiment=experiment, anyway=anyway, engine=engine)
        go(progress=show, record=ledger.LEDGER if record else None, watch=seen)
    if not distributed.is_main():
        return
    rows, splits = ledger.read(out / "rows.csv"), run.filled().splits
    decoding = ledger.decoding_name(run.eval_temperature, run.eval_top_p)
    typer.echo(plots.summary_table(rows, splits=splits, decoding=decoding).to_string())
    typer.echo(f"rows: {out / 'rows.csv'}   model: {out / 'model'}")
    if push_to_hub:
        typer.echo(f"pushed: {watch.push(out / 'model', push_to_hub)}")


@app.command("init")
@takes(
    "task",
    "scale",
    "seed",
    "base",
    "data",
    "skip_bad",
    "adapter",
    "vision",
    "max_image_tiles",
    "load_format",
)
def init_command(
    out: Annotated[
        Path | None, typer.Option(help="default: runs/init-SCALE-TASK, where runs find it")
    ] = None,
    lr: Annotated[float, typer.Option(help="learning rate; 0: the scale's for its Init")] = 0.0,
    steps: Annotated[int, typer.Option(help="steps at most; 0: the scale's")] = 0,
    every: Annotated[int, typer.Option(help="steps between measurements; 0: the scale's")] = 0,
    success: Annotated[float, typer.Option(help="share solved to reach; 0: the scale's")] = 0.0,
    format_error: Annotated[
        float, typer.Option(help="share of answers out of the format to get below; 0: the scale's")
    ] = 0.0,
    **given: Any,
) -> None:
    """Make the Init that SFT and RL share: a first SFT up to a level of format and success."""
    from sftrl_lite.runs.init import make_init, verdict
    from sftrl_lite.training import distributed

    usual = get_scale(given["scale"]).init
    asked: dict[str, Any] = dict(every=every, format_error=format_error)
    asked["success"] = success and (success, max(success, usual.success[1]))
    if every < 0 or not all(0 <= share <= 1 for share in (format_error, success)):
        raise ValueError("every is a number of steps, success and format_error are shares, 0 to 1")
    goal = replace(usual, **{name: x for name, x in asked.items() if x})
    run = Run("sft", lr=lr, steps=steps, **given)

    def tell(level: dict[str, float]) -> None:
        shares = f"format errors {level['format_error']:.0%}, success {level['success']:.0%}"
        if distributed.is_main():
            typer.echo(f"step {level['step']:5}  {shares}")

    report = make_init(run, out, goal, tell)
    if distributed.is_main():
        typer.echo(verdict(report))


@app.command("sweep")
def sweep_command(
    file: Annotated[Path, typer.Argument(help="a table of runs, as results/sweeps/gp-l.toml")],
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, one core each")] = 1,
) -> None:
    """Do every run of a table and record it; runs that are recorded are skipped."""
    from sftrl_lite.runs.checks import remarks
    from sftrl_lite.runs.sweep import read_sweep, sweep

    for line in dict.fromkeys(line for _, run in read_sweep(file) for line in remarks(run)):
        typer.echo(f"note: {line}", err=True)
    named, done = sweep(file, jobs)
    typer.echo(f"{file}: {named} runs, {named - done} recorded before, {done} now")


@app.command("eval")
@takes(
    "task",
    "scale",
    "seed",
    "tries",
    "splits",
    "data",
    "skip_bad",
    "max_image_tiles",
    "eval_temperature",
    "eval_top_p",
    "prompt",
    "picture",
)
def evaluate_command(
    model: Annotated[
        str,
        typer.Option(help="a model folder, a Hub id or init; empty: what the scale starts from"),
    ] = "",
    episodes: Annotated[int, typer.Option(help="episodes of a split; 0: the scale's")] = 0,
    engine: Engine = "",
    **given: Any,
) -> None:
    """Measure a model on in-distribution and shifted problems.

    With --data every route of the folder is walked. For a model that was trained on it:
    --splits id,ood-rule, the routes that training leaves out.
    """
    from sftrl_lite.runs.evaluation import evaluations

    if min(given["tries"], episodes) < 0:
        raise ValueError("--tries and --episodes cannot be negative")
    for line in evaluations(SimpleNamespace(**listed(**given)), model, episodes, engine):
        typer.echo(line, err=line.startswith("note: "))


@app.command("prompt")
@takes("skip_bad")
def prompt_command(
    source: Annotated[Path, typer.Option("--from", help="SFT data in the released form")],
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("prompt.toml"),
    **given: Any,
) -> None:
    """Write the prompts of SFT data to a file for --prompt, checked on every example."""
    from sftrl_lite.tasks.released_prompts import write_prompts

    good, of = write_prompts(source, out, **given)
    typer.echo(f"{out}: gives {good} of {of} examples back verbatim")


@app.command()
@takes("scale", "seed")
def run(out: Path = Path("runs/headline"), **given: Any) -> None:
    """The headline experiment: one Init, SFT against RL; table, figure, sentence."""
    from sftrl_lite.results import plots
    from sftrl_lite.results.headline_figure import figure, sentence
    from sftrl_lite.runs.headline import headline, headline_answers

    table = headline(out=out, **given)
    typer.echo(headline_answers(out=out, **given))
    figure(table).savefig(out / "headline.png")
    typer.echo(plots.summary_table(table).to_string())
    typer.echo(sentence(table))
    typer.echo(f"figure: {out / 'headline.png'}")


@app.command()
@takes("task", "seed")
def pretrain(
    out: Out = None,
    threads: Annotated[
        int, typer.Option(help="CPU threads; numbers depend on it in the last digits")
    ] = 2,
    **given: Any,
) -> None:
    """Train a tiny base model from scratch (12 to 20 minutes on one core), and check it."""
    from sftrl_lite.models.loading import load
    from sftrl_lite.training.pretrain import criteria, make_base

    task = given["task"]
    folder = out or Path("runs") / f"tiny-{task}"
    make_base(folder, threads=threads, **given)
    found = criteria(*load(str(folder)), "-".join(task.split("-")[:2]))
    typer.echo(", ".join(f"{name} {share:.1%}" for name, share in found.items()))


@app.command()
@takes("scale", "task", "adapter", "vision", "max_image_tiles")
def plan(
    mode: Annotated[str, typer.Option(help="sft, rl or eval")] = "sft",
    batch: Annotated[
        int, typer.Option(help="sft: answers in a pass; else: episodes at once; 0: the scale's")
    ] = 0,
    gpus: Annotated[int, typer.Option(help="a full training is sharded over them")] = 1,
    prompt_tokens: Annotated[
        int, typer.Option(help="of a prompt, without its picture; 0: those of the task's own")
    ] = 0,
    answer_tokens: Annotated[
        int, typer.Option(help="of a sampled answer; 0: the longest that the scale allows")
    ] = 0,
    together: Annotated[
        int, typer.Option(help="episodes at once; 0: as many as fit, if --memory is known")
    ] = 0,
    memory: Annotated[float, typer.Option(help="GiB of a GPU; 0: this machine's")] = 0.0,
    **given: Any,
) -> None:
    """Predict memory and compute of a step; nothing is loaded or downloaded."""
    from sftrl_lite.planning.fit import advice, fitting, here, kept_or_made
    from sftrl_lite.planning.work import Work

    tiles = given.pop("max_image_tiles")
    given |= dict(prompt_tokens=prompt_tokens, answer_tokens=answer_tokens, together=together)
    work = Work(mode=mode, tiles=tiles, batch=batch, gpus=gpus, **given)
    memory = memory or here()
    found = fitting(work, memory or math.inf, kept_or_made)
    typer.echo(found)
    if memory and (line := advice(found, memory, kept_or_made)):
        typer.echo(f"this GPU is too small: {line}")


@app.command()
def report() -> None:
    """Write the recorded results (results/ledger.csv) into README.md and its figure."""
    from sftrl_lite.results.report import write_report

    write_report()


@app.command()
@takes("feedback")
def verify(**given: Any) -> None:
    """Judge JSON lines from standard input: one verdict per line on standard output."""
    from sftrl_lite.tasks.verifier import read_lines, verify_lines

    for line in verify_lines(read_lines(sys.stdin.buffer if sys.stdin else None), **given):
        typer.echo(line)


def main() -> None:
    """Run a command; an expected error is one line, not a traceback."""
    with one_line():
        app()


if __name__ == "__main__":
    main()
