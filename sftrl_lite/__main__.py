"""Command line: ``python -m sftrl_lite COMMAND --help``."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="SFT memorizes, RL generalizes: from a laptop CPU to Llama-3.2-11B-Vision.",
)

Method = Annotated[
    str,
    typer.Option(
        help="sft, sft-varied, sft-own, sft-dft, sft-kl, sft-verified; rl-ppo, rl-grpo, rl-random"
    ),
]
Scale = Annotated[str, typer.Option(envvar="SFTRL_SCALE", help="tiny, t4 or full")]
Task = Annotated[str, typer.Option(help="cards: gp-l, in pictures gp-vl; streets: virl-l, virl-vl")]
Seed = Annotated[int, typer.Option(help="chooses problems, order and samples")]
Out = Annotated[Path | None, typer.Option(help="output folder; continued if it exists")]
Base = Annotated[str, typer.Option(help="a folder, a Hub id or init (the paper's); empty: scale's")]
Lr = Annotated[float, typer.Option(help="learning rate; 0: the scale's")]
Steps = Annotated[int, typer.Option(help="training steps; 0: until --tflop is spent")]
Tflop = Annotated[float, typer.Option(help="training compute, paper's count; 0: the scale's")]
Tries = Annotated[int, typer.Option(help="verification budget; 0: the scale's")]
Hands = Annotated[int, typer.Option(help="training problems; 0: the scale's")]
Feedback = Annotated[str, typer.Option(help="none, binary, reason or leaky")]
Record = Annotated[bool, typer.Option(help="append the result to results/ledger.csv")]
Points = Annotated[int, typer.Option(help="evaluations after step 0")]
Episodes = Annotated[int, typer.Option(help="episodes at an evaluation; 0: the scale's")]
Final = Annotated[int, typer.Option(help="the same at the first and last evaluation")]
EvalTries = Annotated[
    str, typer.Option(help="budgets to evaluate with, as 1,3,5; default: --tries")
]
Splits = Annotated[
    str, typer.Option(help="id, ood-rule, ood-visual, dev-rule, dev-visual; default: reported ones")
]
Data = Annotated[
    str, typer.Option(help="streets: a folder of real routes, as VLN_mini; sft: or a data.json")
]
Prompt = Annotated[str, typer.Option(help="a file of prompts (TOML), in place of the course's")]
Picture = Annotated[str, typer.Option(help="release: layout, size and noise of the paper's")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="leave bad entries of --data out")]
Adapter = Annotated[str, typer.Option(help="lora, qlora or none: all weights; empty: the scale's")]
Vision = Annotated[str, typer.Option(help="frozen or trained; empty: the scale's")]
Tiles = Annotated[int, typer.Option(help="most tiles of a picture; 0: the model's own")]
LoadFormat = Annotated[str, typer.Option(help="dummy: random weights, for memory and speed")]
Warmup = Annotated[int, typer.Option(help="rl: steps of SFT before it")]
WarmupLr = Annotated[float, typer.Option(help="learning rate of that SFT; 0: the scale's")]
PassSamples = Annotated[int, typer.Option(help="answers a hand for pass@k; 0: no pass@k")]
EvalTemperature = Annotated[float, typer.Option(help="of evaluations; 0: greedy")]
EvalTopP = Annotated[float, typer.Option(help="evaluations sample within this probability")]
Curve = Annotated[int, typer.Option(help="episodes for each other temperature, at both ends")]
Temperature = Annotated[float, typer.Option(help="rl: of sampling in training; 0: the scale's")]
Fresh = Annotated[bool, typer.Option("--fresh", help="rl: other problems than the warm-up's")]
Problems = Annotated[int, typer.Option(help="rl: problems a step; 0: the scale's")]
Samples = Annotated[int, typer.Option(help="rl: episodes a problem; 0: the scale's")]
Minibatch = Annotated[int, typer.Option(help="rl: episodes a gradient step; 0: the scale's")]
Anyway = Annotated[bool, typer.Option("--anyway", help="rl: also if answers are out of format")]
Engine = Annotated[str, typer.Option(help="vllm: plays tasks in text; rl, eval; empty: our own")]
ReportTo = Annotated[str, typer.Option(help="also tell tensorboard, trackio or wandb")]
Transcripts = Annotated[int, typer.Option(help="every so many steps the same few answers; 0: none")]
Checkpoints = Annotated[int, typer.Option(help="models to keep, of the last evaluations")]
PushToHub = Annotated[str, typer.Option(help="upload the result there, as ME/NAME; private")]
Price = Annotated[float, typer.Option(min=0, help="dollars a GPU hour, for the estimate")]
Schedule = Annotated[str, typer.Option(help="sft: constant or cosine; empty: the scale's")]
Experiment = Annotated[str, typer.Option(help="name in the ledger; default: the method")]


@app.command("sft", help="Supervised fine-tuning on correct answers under one rule.")
@app.command("rl", help="Reinforcement learning with verification iterations.")
def train_command(
    context: typer.Context,
    method: Method = "",
    scale: Scale = "tiny",
    task: Task = "gp-l",
    seed: Seed = 0,
    out: Out = None,
    base: Base = "",
    lr: Lr = 0.0,
    steps: Steps = 0,
    tflop: Tflop = 0.0,
    tries: Tries = 0,
    hands: Hands = 0,
    feedback: Feedback = "binary",
    points: Points = 4,
    eval_episodes: Episodes = 0,
    final_episodes: Final = 0,
    eval_tries: EvalTries = "",
    splits: Splits = "",
    data: Data = "",
    skip_bad: SkipBad = False,
    adapter: Adapter = "",
    vision: Vision = "",
    max_image_tiles: Tiles = 0,
    load_format: LoadFormat = "",
    warmup: Warmup = 0,
    warmup_lr: WarmupLr = 0.0,
    pass_samples: PassSamples = 16,
    eval_temperature: EvalTemperature = 0.6,
    eval_top_p: EvalTopP = 0.9,
    curve_episodes: Curve = 300,
    temperature: Temperature = 0.0,
    fresh: Fresh = False,
    prompt: Prompt = "",
    picture: Picture = "",
    schedule: Schedule = "",
    problems: Problems = 0,
    samples: Samples = 0,
    minibatch: Minibatch = 0,
    anyway: Anyway = False,
    engine: Engine = "",
    report_to: ReportTo = "",
    transcripts: Transcripts = 0,
    checkpoints: Checkpoints = 1,
    push_to_hub: PushToHub = "",
    price: Price = 0.0,
    experiment: Experiment = "",
    record: Record = False,
) -> None:
    from tqdm.auto import tqdm

    from sftrl_lite.results import ledger, plots
    from sftrl_lite.runs import watch
    from sftrl_lite.runs.checks import remarks
    from sftrl_lite.runs.execute import train
    from sftrl_lite.runs.headline import BAR
    from sftrl_lite.runs.resume import folder_of
    from sftrl_lite.runs.run_config import METHODS, Run, rl_settings, settings_of
    from sftrl_lite.training import distributed

    family = [name for name in METHODS if name.startswith(context.info_name)]
    method = method or family[0]
    if method not in family:
        raise ValueError(f"unknown method {method!r}; choose {', '.join(family)}")
    if engine and context.info_name == "sft":
        raise ValueError("SFT does not sample while it trains; --engine is for rl and eval")
    if engine and record:
        raise ValueError("--record keeps what its command gives again; an engine does not")
    if not re.fullmatch(r"(\d+(,\d+)*)?", eval_tries, re.ASCII):
        raise ValueError(f"--eval-tries is {eval_tries!r}; write it as 1,3,5")
    run = Run(
        method,
        seed,
        task,
        scale,
        base,
        lr,
        steps,
        tries,
        hands,
        tflop,
        feedback,
        points,
        eval_episodes,
        final_episodes,
        eval_tries=tuple(int(n) for n in eval_tries.split(",") if n),
        splits=tuple(name for name in splits.split(",") if name),
        data=data,
        skip_bad=skip_bad,
        adapter=adapter,
        vision=vision,
        max_image_tiles=max_image_tiles,
        load_format=load_format,
        warmup=warmup,
        warmup_lr=warmup_lr,
        pass_samples=pass_samples,
        eval_temperature=eval_temperature,
        eval_top_p=eval_top_p,
        curve_episodes=curve_episodes,
        temperature=temperature,
        fresh=fresh,
        prompt=prompt,
        picture=picture,
        schedule=schedule,
        problems=problems,
        samples=samples,
        minibatch=minibatch,
    )
    seen = watch.Watch(report_to, transcripts, checkpoints)
    if push_to_hub:
        watch.check_push(push_to_hub)
    out = out or Path("runs") / folder_of(run, experiment)
    distributed.start()
    for line in remarks(run) if distributed.main() else ():
        typer.echo(f"note: {line}", err=True)
    if distributed.main() and not (out / "model").is_dir():
        filled = run.filled()
        typer.echo(watch.configuration({"out": str(out), **asdict(filled)} | settings_of(filled)))
        settings = rl_settings(filled) if context.info_name == "rl" else None
        typer.echo(watch.outlook(filled, settings, price))
    with tqdm(total=1.0, desc=method, bar_format=BAR, disable=not distributed.main()) as bar:
        show = lambda share: bar.update(share - bar.n)  # noqa: E731
        target = ledger.LEDGER if record else None
        options = dict(progress=show, record=target, watch=seen, anyway=anyway, engine=engine)
        train(run, out, experiment=experiment, **options)
    if not distributed.main():
        return
    table = ledger.read(out / "rows.csv")
    typer.echo(plots.summary_table(table).to_string())
    typer.echo(f"rows: {out / 'rows.csv'}   model: {out / 'model'}")
    if push_to_hub:
        typer.echo(f"pushed: {watch.push(out / 'model', push_to_hub)}")


@app.command("init")
def init_command(
    scale: Scale = "tiny",
    task: Task = "gp-l",
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="default: runs/init-SCALE-TASK, where runs find it")
    ] = None,
    base: Base = "",
    lr: Annotated[float, typer.Option(help="learning rate; 0: the scale's for its Init")] = 0.0,
    steps: Annotated[int, typer.Option(help="steps at most; 0: the scale's")] = 0,
    every: Annotated[int, typer.Option(help="steps between measurements; 0: the scale's")] = 0,
    success: Annotated[float, typer.Option(help="share solved to reach; 0: the scale's")] = 0.0,
    format_error: Annotated[
        float, typer.Option(help="share of answers out of the format to get below; 0: the scale's")
    ] = 0.0,
    data: Data = "",
    skip_bad: SkipBad = False,
    adapter: Adapter = "",
    vision: Vision = "",
    max_image_tiles: Tiles = 0,
    load_format: LoadFormat = "",
) -> None:
    """Make the Init that SFT and RL share: a first SFT up to a level of format and success."""
    from sftrl_lite.runs.init import make_init, verdict
    from sftrl_lite.runs.run_config import Run
    from sftrl_lite.scales import get_scale
    from sftrl_lite.training import distributed

    given = dict(every=every, format_error=format_error)
    given["success"] = success and (success, max(success, get_scale(scale).init.success[1]))
    if min(every, format_error, success) < 0 or max(format_error, success) > 1:
        raise ValueError("every is a number of steps, success and format_error are shares, 0 to 1")
    goal = replace(get_scale(scale).init, **{name: x for name, x in given.items() if x})
    run = Run(
        "sft",
        seed,
        task,
        scale,
        base,
        lr,
        steps,
        data=data,
        skip_bad=skip_bad,
        adapter=adapter,
        vision=vision,
        max_image_tiles=max_image_tiles,
        load_format=load_format,
    )

    def tell(level: dict[str, float]) -> None:
        shares = f"format errors {level['format_error']:.0%}, success {level['success']:.0%}"
        if distributed.main():
            typer.echo(f"step {level['step']:5}  {shares}")

    report = make_init(run, out, goal, tell)
    if distributed.main():
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
def evaluate_command(
    model: Annotated[
        str,
        typer.Option(help="a model folder, a Hub id or init; empty: what the scale starts from"),
    ] = "",
    scale: Scale = "tiny",
    task: Task = "gp-l",
    seed: Seed = 0,
    tries: Tries = 0,
    episodes: Episodes = 0,
    splits: Splits = "",
    data: Data = "",
    skip_bad: SkipBad = False,
    max_image_tiles: Tiles = 0,
    eval_temperature: EvalTemperature = 0.6,
    eval_top_p: EvalTopP = 0.9,
    prompt: Prompt = "",
    picture: Picture = "",
    engine: Engine = "",
) -> None:
    """Measure a model on in-distribution and shifted problems.

    With --data every route of the folder is walked. For a model that was trained on it:
    --splits id,ood-rule, the routes that training leaves out.
    """
    from sftrl_lite.models.loading import load
    from sftrl_lite.results.ledger import decoding_name
    from sftrl_lite.runs.checks import check_words
    from sftrl_lite.runs.recorder import held_out
    from sftrl_lite.scales import get_scale
    from sftrl_lite.tasks.prompts import off_distribution
    from sftrl_lite.tasks.registry import budget, check_base, make_task, reported
    from sftrl_lite.training.engine import check_engine, open_engine
    from sftrl_lite.training.evaluate import evaluate

    row = get_scale(scale)
    whole = ["all", "all-rule"] if data else reported(task)
    named = [name for name in splits.split(",") if name] or whole
    real = dict(data=data, skip_bad=skip_bad, prompt=prompt, picture=picture)
    judges = {name: make_task(task, name, scale, **real) for name in named}
    check_base(model, task)
    if engine:
        check_engine(engine, task)
    model = row.init_for(task) if model == "init" else model or row.base_for(task)
    if line := off_distribution(model, prompt):
        typer.echo(f"note: {line}", err=True)
    network, tokenizer = load(model, tiles=max_image_tiles)
    if prompt:
        check_words(tokenizer, model, judges.values())
    decoding = decoding_name(eval_temperature, eval_top_p)
    player = open_engine(engine, network, tokenizer, task)
    for split, judge in judges.items():
        hands = held_out(judge, episodes or min(2 * row.eval_episodes, judge.population), seed)
        found, _ = evaluate(
            network,
            tokenizer,
            judge,
            hands,
            tries=tries or budget(task, row.rl.tries),
            temperature=eval_temperature,
            top_p=eval_top_p,
            seed=seed,
            max_new_tokens=row.rl.max_new_tokens,
            engine=player,
        )
        for name, e in found.items():
            interval = f"[{100 * e.low:.1f}, {100 * e.high:.1f}]"
            typer.echo(
                f"{split:10} {name:14} {decoding:7} {100 * e.value:5.1f} % {interval} n={e.n}"
            )


@app.command("prompt")
def prompt_command(
    source: Annotated[Path, typer.Option("--from", help="SFT data in the released form")],
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("prompt.toml"),
    skip_bad: SkipBad = False,
) -> None:
    """Write the prompts of SFT data to a file for --prompt, checked on every example."""
    from sftrl_lite.tasks import navigation, verifier
    from sftrl_lite.tasks.prompts import KINDS
    from sftrl_lite.tasks.released_prompts import learn
    from sftrl_lite.tasks.sft_data import read_sft_data

    examples = read_sft_data(source, skip_bad)
    try:
        template, good = learn(examples, skip_bad)
    except ValueError as error:
        raise ValueError(f"{source}, {error}") from None
    spoken = navigation if "{history}" in template.prompt else verifier
    said = {"failure": spoken.FAILURE, **spoken.REASONS}
    messages = {kind: text for kind, text in said.items() if kind in KINDS}  # to be edited
    replace(template, messages=messages).write(out)
    typer.echo(f"{out}: gives {good} of {len(examples)} examples back letter by letter")


@app.command()
def run(scale: Scale = "tiny", seed: Seed = 0, out: Path = Path("runs/headline")) -> None:
    """The headline experiment: one Init, SFT against RL; table, figure, sentence."""
    from sftrl_lite.results import plots
    from sftrl_lite.results.headline_figure import figure, sentence
    from sftrl_lite.runs.headline import headline

    table = headline(seed, scale, out)
    figure(table).savefig(out / "headline.png")
    typer.echo(plots.summary_table(table).to_string())
    typer.echo(sentence(table))
    typer.echo(f"figure: {out / 'headline.png'}")


@app.command()
def pretrain(
    task: Task = "gp-l",
    out: Out = None,
    seed: Seed = 0,
    threads: Annotated[
        int, typer.Option(help="CPU threads; numbers depend on it in the last digits")
    ] = 2,
) -> None:
    """Make a tiny base model from nothing (12 to 20 minutes on one core), and check it."""
    from sftrl_lite.models.loading import load
    from sftrl_lite.training.pretrain import criteria, make_base

    folder = out or Path("runs") / f"tiny-{task}"
    make_base(folder, task, seed, threads)
    found = criteria(*load(str(folder)), task.removesuffix("-hasty"))
    typer.echo(", ".join(f"{name} {share:.1%}" for name, share in found.items()))


@app.command()
def plan(
    scale: Scale = "tiny",
    task: Task = "gp-l",
    mode: Annotated[str, typer.Option(help="sft, rl or eval")] = "sft",
    adapter: Adapter = "",
    vision: Vision = "",
    max_image_tiles: Tiles = 0,
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
) -> None:
    """Predict memory and compute of a step; nothing is loaded or downloaded."""
    from sftrl_lite.planning.fit import advice, fitting, here
    from sftrl_lite.planning.workload import Work

    lengths = dict(prompt_tokens=prompt_tokens, answer_tokens=answer_tokens, together=together)
    work = Work(scale, task, mode, adapter, vision, max_image_tiles, batch, gpus, **lengths)
    memory = memory or here()
    found = fitting(work, memory or math.inf)
    typer.echo(found)
    if memory and (line := advice(found, memory)):
        typer.echo(f"this GPU is too small: {line}")


@app.command()
def report() -> None:
    """Write the recorded results (results/ledger.csv) into README.md and its figure."""
    from sftrl_lite.results.report import write_report

    write_report()


@app.command()
def verify(feedback: Feedback = "binary") -> None:
    """Judge JSON lines from standard input: one verdict a line on standard output."""
    from sftrl_lite.tasks.verifier import verify_lines

    for line in verify_lines(sys.stdin, feedback):
        typer.echo(line)


def main() -> None:
    """Run a command; an expected error is one line, not a traceback."""
    try:
        app()
    except (ValueError, RuntimeError, OSError) as error:
        typer.echo(f"error: {str(error).splitlines()[0]}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
