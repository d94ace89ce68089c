"""A run from Init to its last step: SFT or RL, recorded on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sftrl_lite.files import full_disk_in_one_line, remove
from sftrl_lite.models.loading import save
from sftrl_lite.models.precision import threads_of
from sftrl_lite.models.vision import Processor, tokenizer_of
from sftrl_lite.planning.fit import check
from sftrl_lite.planning.workload import work_of
from sftrl_lite.results import ledger
from sftrl_lite.runs.checks import check_format, check_words, examples
from sftrl_lite.runs.controls import Answered, Coin, EachItsOwn, vary_rules
from sftrl_lite.runs.recorder import Recorder, due, read_rows, train_hands
from sftrl_lite.runs.resume import CHECKPOINT, check_kept, claim, is_done, resume, suspend
from sftrl_lite.runs.run_config import Progress, Run, rl_settings, settings_of
from sftrl_lite.runs.watch import SHOWN, Log, Watch
from sftrl_lite.runs.weights import load_init
from sftrl_lite.scales import SFTSettings
from sftrl_lite.seeds import seed_all, stream
from sftrl_lite.tasks.base import Measurable, Playable, Problem, Task, Teachable
from sftrl_lite.tasks.registry import check_base
from sftrl_lite.training import distributed
from sftrl_lite.training.compute import flops, picture_tokens
from sftrl_lite.training.engine import TRAINING, check_engine, open_engine
from sftrl_lite.training.health import check_health
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.sft import between_checkpoints, train_sft
from sftrl_lite.training.sft_examples import Given, training_rows, verified
from sftrl_lite.training.updates import new_learner


def train(
    run: Run,
    out: Path,
    *,
    experiment: str = "",
    progress: Progress = lambda share: None,
    record: Path | None = None,
    watch: Watch | None = None,
    anyway: bool = False,
    engine: str = "",
) -> list[ledger.Row]:
    """Do the run in folder ``out``, or continue it, or return what it found.

    Args:
        experiment: name in the ledger; the method's name if empty.
        progress: called with the share that is done, 0 to 1.
        record: ledger to append to once the run is complete.
        watch: what is written down and told on the way, beside ``steps.csv``.
        anyway: let RL begin also with a model that cannot answer in the format.
        engine: plays RL's episodes in training (``engine.ENGINES``); evaluations do not use it.
            Other random numbers, so another run with the same hash: not for the ledger.

    Raises:
        ValueError: ``out`` holds something else, a run with another configuration, or one that
            another number of processes began; or transcripts are asked of a file of answers.
        RuntimeError: RL was to begin with a model that cannot answer in the format.
            Also: something in ``out`` is damaged.
        DivergedError: losses, weights or logits are no finite numbers any more.
        PermissionError: ``out`` cannot be written.
        OSError: the disk is full.

    Several processes (``distributed``) train one run; ``out`` must be a folder that all see.
    """
    if run.imitates_file and watch and watch.transcripts:
        raise ValueError(f"{run.data} holds answers, not problems to try; leave out --transcripts")
    run, experiment = run.filled(), experiment or run.method
    distributed.start()
    main = distributed.is_main()
    with (  # no name for the lock: what still holds a name holds the folder
        claim(run, out) if main else nullcontext(),
        full_disk_in_one_line(out),
        threads_of(run.scale),
    ):
        if main:
            check_kept(out)
            read_rows(out)  # raises if they are damaged
        if not distributed.broadcast(main and is_done(out)):
            _train(run, out, experiment, progress, watch or Watch(), anyway, engine)
        if record and main:
            ledger.append(read_rows(out), record)
        for leftover in (CHECKPOINT, "trainer") if main else ():
            remove(out / leftover)
    distributed.barrier()
    return read_rows(out)


def _train(
    run: Run,
    out: Path,
    experiment: str,
    progress: Progress,
    watch: Watch,
    anyway: bool,
    engine: str,
) -> None:
    seed_all(run.seed)
    check_base(run.base, run.task)
    distributed.check_warmup(run.warmup)
    if engine:
        check_engine(engine, run.task)
    mode = "sft" if run.method.startswith("sft") else "rl"
    together = check(work_of(run, mode))
    model, processor = load_init(run)
    check_health(model, 0)
    task = run.make("train")
    if run.prompt:
        check_words(processor, run.base, map(run.make, ("train", *run.splits)))
    few = 1 if run.imitates_file else run.hands
    hands = train_hands(task.half(1) if run.fresh else task, few, run.seed)
    recorder = Recorder(run, out, experiment, model, processor, hands, together)
    taught: Task[Any] | Given = task
    if run.imitates_file:
        taught, hands = Given(recorder.pictured), examples(run, processor)
    recorder.kept = watch.checkpoints
    log = Log(out, watch, run.plain() | settings_of(run))
    parts, told = (run, out, model, processor), (recorder, log, progress)
    if mode == "sft":
        _train_sft(*parts, taught, hands, *told)
    else:
        _train_rl(*parts, task, hands, *told, anyway, engine)
    log.close()
    distributed.sync_weights(recorder.rollout_model, model)
    if distributed.is_main():
        save(recorder.rollout_model, processor, out / "model")


def look(
    step: int,
    run: Run,
    recorder: Recorder,
    log: Log,
    task: Measurable[Problem],
    hands: Sequence[Problem],
) -> None:
    """Write down greedy answers to the same few training problems, where it is time to."""
    if log.due(step):
        distributed.sync_weights(recorder.rollout_model, recorder.model)
        plain = dict(tries=run.tries, temperature=0.0, top_p=1.0)
        log.look(step, task, recorder.play(recorder.rollout_model, task, hands[:SHOWN], **plain)[1])


def _train_sft(
    run: Run,
    out: Path,
    model: PreTrainedModel,
    processor: Processor,
    task: Task[Any] | Given,
    hands: Sequence[Any],
    recorder: Recorder,
    log: Log,
    progress: Progress,
) -> None:
    batch, sampled, shown = run.scale.sft.batch, 0, None
    schedule = run.schedule or run.scale.sft.schedule
    penalised = run.method == "sft-kl"
    taught: Teachable[Any] = task
    answer: Callable[[Any], str] | None = None
    if not isinstance(task, Given):  # a file's examples have no verifier, and one answer each
        shown = task, hands
        if run.method == "sft-varied":
            taught, hands = EachItsOwn(), vary_rules(task, hands, run.seed, 20 * len(hands))
        elif run.method == "sft-verified":
            longest = run.scale.rl.max_new_tokens
            with distributed.on_device(recorder.init) as start:
                hands, sampled = verified(
                    start, processor, task, hands, run.seed, max_new_tokens=longest
                )
            taught = Answered(task)
        elif run.method == "sft-own":
            answer = task.base_demonstration
    data, pixels = training_rows(processor, taught, hands, answer)
    tokens = sum(map(len, data["input_ids"])) / len(data)
    if pixels is not None:
        tokens += picture_tokens(model)

    budget = run.tflop * 1e12 / recorder.parameters - 2 * sampled
    steps = run.steps or max(round(budget / ((6 + 2 * penalised) * batch * tokens)), 1)

    def hook(step: int) -> None:
        clock[0] += step > 0
        progress(step / steps)
        if step == 0 or due((step - 1) / steps, step / steps, run.points):
            seen = round(step * batch * tokens)
            costs = flops(recorder.parameters, seen, read=sampled + penalised * seen)
            recorder.note(step, costs | {"updates": step}, end=step in (0, steps))
        if shown:
            look(step, run, recorder, log, *shown)

    def tell(step: int, figures: dict[str, float]) -> None:
        """A row for every ten steps: their means, evaluations among their seconds."""
        seconds = (time.time() - clock[1]) / max(clock[0], 1)
        clock[:] = 0, time.time()
        log.step(step, figures | {"seconds": seconds, "tokens": round(batch * tokens)})

    clock = [0, time.time()]  # steps since the last row, and when that was
    recorder.rollout_model = distributed.make_rollout_model(model)
    if not distributed.broadcast(bool(read_rows(out))):
        hook(0)
    clock[1] = time.time()
    with distributed.on_device(recorder.init) if penalised else nullcontext() as init:
        train_sft(
            model,
            tokenizer_of(processor),
            data,
            SFTSettings(run.lr, batch, run.hands, schedule),
            out / "trainer",
            run.seed,
            steps=steps,
            hook=hook,
            at=range(1, steps + 1),
            save_every=between_checkpoints(steps),
            progress=False,
            pixels=pixels,
            loss="dft" if run.method == "sft-dft" else "nll",
            init=init,
            tell=tell,
        )


def _train_rl(
    run: Run,
    out: Path,
    model: PreTrainedModel,
    processor: Processor,
    task: Task[Problem],
    hands: Sequence[Problem],
    recorder: Recorder,
    log: Log,
    progress: Progress,
    anyway: bool,
    engine: str,
) -> None:
    settings = replace(rl_settings(run), together=recorder.together)
    if (few := min(settings.problems, len(hands))) < (many := distributed.world()):
        raise ValueError(f"{few} problems per step are too few for {many} processes")
    if run.warmup and not (out / CHECKPOINT).exists():
        warm_up(run, out, model, processor, task, hands)
    if run.fresh:
        hands = train_hands(task.half(2), run.hands, run.seed)
    begun = (out / CHECKPOINT).exists() or read_rows(out)
    asked_for = anyway or run.load_format == "dummy"  # random weights answer nothing, as is known
    if not distributed.broadcast(bool(asked_for or begun)):
        check_format(run, model, processor, task, hands)
    learner = new_learner(model, settings, run.seed)
    recorder.rollout_model = learner.rollout_model
    playing = open_engine(engine, learner.rollout_model, processor, run.task, TRAINING)
    trained, generated, signals = resume(learner, out, run.steps)
    log.check(learner.step)
    updates = -(-min(settings.problems, len(hands)) * settings.samples // settings.minibatch)
    updates *= settings.epochs

    def spent() -> dict[str, float]:
        passes = run.scale.passes(run.task)
        return flops(recorder.parameters, trained, generated, passes=passes)

    def share() -> float:
        """How much of the run is done."""
        tflop = spent()["flops_paper"] / 1e12
        return learner.step / run.steps if run.steps else tflop / run.tflop

    def note(end: bool, more: dict[str, float]) -> None:
        counted = spent() | {"updates": updates * learner.step}
        recorder.note(learner.step, counted | more, end)

    if learner.step == 0:
        note(end=True, more={})
        look(0, run, recorder, log, task, hands)
    while (before := share()) < 1:
        judge: Playable[Problem] = task
        if run.method == "rl-random":
            # each process has a coin; so this control alone depends on their number
            judge = Coin(task, stream(run.seed, "coin", learner.step, distributed.rank()))
        began = time.time()
        stats = rl_step(learner, processor, judge, hands, settings, run.seed, engine=playing)
        took = dict(seconds=time.time() - began, tokens=stats["trained"] + stats["generated"])
        log.step(learner.step, stats | took)
        trained += int(stats["trained"])
        generated += int(stats["generated"])
        signals.append(stats["signal"])
        after = share()
        progress(min(after, 1.0))
        if due(before, min(after, 1.0), run.points):
            note(after >= 1, {"signal": sum(signals) / len(signals)})
            signals.clear()
        look(learner.step, run, recorder, log, task, hands)
        if due(before, min(after, 1.0), run.points) or learner.step % 10 == 0:
            suspend(learner, out, trained, generated, signals)


def warm_up(
    run: Run,
    out: Path,
    model: PreTrainedModel,
    processor: Processor,
    task: Teachable[Problem],
    hands: Sequence[Problem],
) -> None:
    """SFT of ``model`` in place, as the method ``sft`` does it; interrupted, it starts again."""
    data, pixels = training_rows(processor, task, hands)
    settings = SFTSettings(run.warmup_lr, run.scale.sft.batch, run.hands)
    train_sft(
        model,
        tokenizer_of(processor),
        data,
        settings,
        out / "trainer",
        run.seed,
        steps=run.warmup,
        progress=False,
        pixels=pixels,
    )
