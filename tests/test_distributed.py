"""Two processes end where one would have: the same losses, rows and weights."""

import copy
import dataclasses
import faulthandler
import os
import signal
import socket
import warnings
from unittest.mock import Mock

import pytest
import torch
from conftest import (
    LengthTask,
    PictureTask,
    forked_processes,
    make_reader,
    make_seeing,
    make_smol,
    make_text_model,
    small_scale,
)
from safetensors.torch import load_file

from sftrl_lite import scales
from sftrl_lite.models import loading, precision, vision
from sftrl_lite.runs import execute
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.recorder import read_rows
from sftrl_lite.runs.run_config import Run
from sftrl_lite.tasks import general_points
from sftrl_lite.tasks.card_pictures import Look
from sftrl_lite.tasks.cards import DEV_RULE, ID_RULE, OOD_RULE
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.training import distributed, forward, rl, updates
from sftrl_lite.training.evaluate import distance, evaluate
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.sft_examples import verified

processes = forked_processes()


def launch(work, n, *args, again=1):
    """``work(*args)`` in n processes that find each other as ``torchrun``'s do.

    A segmentation fault comes from torch's own code: FSDP2 over gloo had one in some hundred
    launches. Then the work is done again, once, and a warning says so; what fails in Python
    is not.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(n):
        where = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=n, LOCAL_WORLD_SIZE=n)
        where |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, GLOO_SOCKET_IFNAME="lo")
        where[precision.PRETEND] = os.environ.get(precision.PRETEND, "")  # else the server's
        started.append(processes.Process(target=alone, args=(where, work, *args)))
        started[-1].start()
    for process in started:
        process.join(600)
        process.kill()
    codes = [process.exitcode for process in started]
    if again and -signal.SIGSEGV in codes:
        warnings.warn(f"{work.__name__} ended with {codes} and is done again", stacklevel=2)
        return launch(work, n, *args, again=again - 1)
    assert codes == [0] * n


def alone(where, work, *args):
    faulthandler.enable()  # a crash in torch's own code says where
    os.environ.update({name: str(value) for name, value in where.items()})
    torch.set_num_threads(1)
    distributed.start()
    work(*args)


def crash(mark):
    """The second of two processes dies by a signal, once; the first then misses it."""
    once = not mark.exists()
    distributed.barrier()
    if once and distributed.rank() == 1:
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    distributed.barrier()


def always_crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def fail():
    raise ValueError


def test_a_launch_is_done_again_after_a_crash_and_not_after_an_exception(tmp_path):
    with pytest.warns(UserWarning, match="crash ended with .*-11.* and is done again"):
        launch(crash, 2, tmp_path / "crashed")
    with pytest.warns(UserWarning), pytest.raises(AssertionError):
        launch(always_crash, 2)
    with warnings.catch_warnings(), pytest.raises(AssertionError):
        warnings.simplefilter("error")
        launch(fail, 2)


# --- GPUs without a launcher -----------------------------------------------------------


@pytest.fixture
def visible(monkeypatch):
    """Pretend that a number of T4s is visible to a process that no launcher started."""
    distributed.tell_of_idle_gpus.cache_clear()
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    def pretend(gpus):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))

    yield pretend
    distributed.tell_of_idle_gpus.cache_clear()


@pytest.mark.parametrize(("gpus", "lines"), [(0, 0), (1, 0), (2, 1)])
def test_one_of_several_gpus_is_used_and_a_line_says_so(gpus, lines, visible, capsys):
    visible(gpus)
    for _ in range(2):
        distributed.start()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines and distributed.world() == 1
    assert precision.device() == torch.device("cuda" if gpus else "cpu")
    for line in told:
        assert "one of 2 GPUs is used" in line
        assert "torchrun --nproc_per_node 2 -m sftrl_lite" in line


def test_each_process_of_a_launcher_takes_its_own_gpu_and_says_nothing(
    visible, monkeypatch, capsys
):
    visible(2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    taken, joined = [], []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *a, **o: joined.append(a))
    distributed.start()
    assert taken == [1] and joined == [("cpu:gloo,cuda:nccl",)]
    assert capsys.readouterr().err == ""


def test_a_run_says_it_where_it_starts(visible, monkeypatch, capsys, base, tmp_path):
    """It is told before the run looks at anything else; here there is no GPU to go on with."""
    visible(2)
    monkeypatch.setattr(execute, "_train", lambda *parts: None)
    train(Run("sft", base=str(base), steps=1), tmp_path / "run")
    assert capsys.readouterr().err.count("one of 2 GPUs is used") == 1


# --- a step of RL ----------------------------------------------------------------------

HANDS = [
    Hand(("A", "5", "J"), ID_RULE, 24),
    Hand(("2", "3", "K", "Q"), OOD_RULE, 10),
    Hand(("9", "9", "8", "7", "2"), DEV_RULE, 24),
    Hand(("4", "4", "10", "J"), ID_RULE, 13),
]
SHOWN = [dataclasses.replace(h, suits=("♠",) * len(h.cards), look=Look()) for h in HANDS]
SETTINGS = dataclasses.replace(
    scales.SCALES["tiny"].rl,
    problems=3,  # one process has two of them, the other one
    samples=2,
    minibatch=2,  # some minibatches lie in one process alone
    epochs=2,
    tries=3,
    max_new_tokens=5,
    lr=1e-3,
)


def steps(base, method, out, seeing=False):
    """Two steps; plain gradient descent, since Adam would blow rounding errors up."""
    model, processor = loading.load(base)
    settings = dataclasses.replace(SETTINGS, method=method)
    game = (PictureTask(), SHOWN) if seeing else (LengthTask(), HANDS)
    learner = updates.new_learner(model, settings, 0)
    weights = [*learner.model.parameters(), *learner.value_head.parameters()]
    learner.optimizer = torch.optim.SGD(weights, lr=0.1)
    figures = [rl.rl_step(learner, processor, *game, settings, 0) for _ in range(2)]
    weights = [distributed.whole_tensor(weight) for weight in weights]
    torch.save([figures, weights], out / f"{method}{distributed.world()}{distributed.rank()}.pt")


def all_steps(base, out):
    for method in ("rl-ppo", "rl-grpo"):
        steps(base, method, out)


def test_steps_of_rl_are_those_of_one_process(base, tmp_path):
    all_steps(base, tmp_path)
    launch(all_steps, 2, base, tmp_path)
    for method in ("rl-ppo", "rl-grpo"):
        read = [torch.load(tmp_path / f"{method}{n}.pt", weights_only=True) for n in (10, 20, 21)]
        (want, one), (found, two), (_, three) = read
        assert any(figures["success"] for figures in want)
        for step in range(2):
            assert found[step] == pytest.approx(want[step], rel=1e-4, abs=1e-5)
        for a, b, c in zip(one, two, three, strict=True):
            assert torch.allclose(a, b, atol=1e-5) and torch.equal(b, c)


def unequal_groups(base, out):
    """Two problems at once: five of seven problems are three groups, two are one."""
    model, tokenizer = loading.load(base)
    problems = distributed.split_between_processes([HANDS[i % 4] for i in range(7)])
    mine = problems if distributed.rank() else problems[:2]
    chance = torch.Generator().manual_seed(0)
    options = dict(samples=1, tries=2, max_new_tokens=4, together=2, generator=chance)
    played = rollout(model, tokenizer, LengthTask(), mine, **options)
    assert [e.problem for e in played] == list(mine) and all(e.turns for e in played)
    (out / str(distributed.rank())).write_text(str(len(played)))


@pytest.mark.parametrize("pretended", ["", "bf16"])
def test_processes_with_different_numbers_of_groups_end(base, pretended, tmp_path, monkeypatch):
    monkeypatch.setenv(precision.PRETEND, pretended)
    launch(unequal_groups, 2, base, tmp_path)
    assert [(tmp_path / name).read_text() for name in "01"] == ["2", "4"]


def few_problems(bases, out):
    """Fewer problems than processes: one alone, and one that is left for a last batch."""
    found = {}
    for name, task, problems in (("text", "gp-l", HANDS), ("pictures", "gp-vl", SHOWN)):
        model, processor = loading.load(bases[task])
        judge = (LengthTask if name == "text" else PictureTask)()
        for n in (1, 4):
            options = dict(tries=2, max_new_tokens=4, batch=3)
            shares, played = evaluate(model, processor, judge, problems[:n], **options)
            found[name, n] = shares, [e.ids for e in played]
        if name == "text":
            far = distance(model, model, distributed.split_between_processes(played[:1]), 0)
            found["distance"] = far, []
            found["verified"] = verified(model, processor, judge, HANDS[:1], 0, max_new_tokens=4)
    torch.save(found, out / f"few{distributed.world()}{distributed.rank()}.pt")


@pytest.mark.parametrize("pretended", ["", "bf16"])
def test_fewer_problems_than_processes(bases, pretended, tmp_path, monkeypatch):
    monkeypatch.setenv(precision.PRETEND, pretended)
    few_problems(bases, tmp_path)
    launch(few_problems, 2, bases, tmp_path)
    want, *found = (torch.load(tmp_path / f"few{n}.pt", weights_only=False) for n in (10, 20, 21))
    assert len(want["text", 4][1]) == 4 and want["verified"][0]
    assert found[0] == found[1] and found[0].keys() == want.keys()
    if not pretended:  # in 16 bits what a row gives depends on how many stand beside it
        assert found[0] == want


# --- whole runs ------------------------------------------------------------------------

FEW = dict(problems=3, samples=2, minibatch=2, max_new_tokens=5)
FIELDS = dict(scale=small_scale(picture=40, sft=dict(batch=4), rl=FEW))
FIELDS |= dict(seed=1, steps=3, hands=8, tries=2, points=3, eval_episodes=3, final_episodes=3)
FIELDS |= dict(curve_episodes=3, pass_samples=2)
# of each: fewer than processes
ONE = dict(hands=1, eval_episodes=1, final_episodes=1, pass_samples=1)
RUNS = {
    "rl": Run("rl-ppo", splits=("id",), **FIELDS),
    "sft": Run("sft", splits=("id",), **FIELDS),
    "pictures": Run("rl-grpo", task="gp-vl", splits=("ood-visual",), **FIELDS),
    "few": Run("sft", splits=("id",), **FIELDS | ONE),
}


class Killed(BaseException):
    """As sudden as a signal: nothing in the package catches it."""


def whole_runs(bases, out, names=tuple(RUNS)):
    """Each run to its end, from where it stopped."""
    for name in names:
        run = dataclasses.replace(RUNS[name], base=str(bases[RUNS[name].task]))
        train(run, out / name, anyway=True)


def interrupted_runs(bases, out, names=tuple(RUNS)):
    """Each run, interrupted after its second step of three."""

    def killer(share):
        if round(share * 3) == 2:
            raise Killed

    for name in names:
        run = dataclasses.replace(RUNS[name], base=str(bases[RUNS[name].task]))
        with pytest.raises(Killed):
            train(run, out / name, progress=killer, anyway=True)


@pytest.fixture(scope="module")
def bases(base, processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeing") / "model"
    loading.save(make_seeing(processor), processor, folder)
    return {"gp-l": base, "gp-vl": folder}


@pytest.fixture(scope="module")
def whole(bases, tmp_path_factory):
    """The folders of the undisturbed runs of one process."""
    folder = tmp_path_factory.mktemp("whole")
    whole_runs(bases, folder)
    return folder


def alike(one, two):
    """Whether two processes in folder ``two`` found and made what one did in ``one``."""
    rows = list(zip(read_rows(one), read_rows(two), strict=True))
    for a, b in rows:
        assert (a.step, a.split, a.metric, a.n) == (b.step, b.split, b.metric, b.n)
        assert b.value == pytest.approx(a.value, rel=1e-4, abs=1e-5), a.metric
        assert b.device == f"{a.device} x 2"
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (one, two)]
    for key, weight in weights[0].items():
        assert torch.allclose(weight, weights[1][key], atol=1e-5), key
    return {row.step for row, _ in rows}


def test_interrupted_runs_of_two_processes_end_as_whole_runs_of_one(bases, whole, tmp_path):
    launch(interrupted_runs, 2, bases, tmp_path)
    launch(whole_runs, 2, bases, tmp_path)
    for name in RUNS:
        assert alike(whole / name, tmp_path / name) == {0, 1, 2, 3}


# --- a model split over the processes --------------------------------------------------


def split_steps(base, out, seeing):
    """The processes have different numbers of pieces of logits, and of pictures to look at."""
    os.environ["ACCELERATE_USE_FSDP"] = "true"  # as ``accelerate launch`` does
    forward.TILE, vision.PATCHES = 500, 1
    steps(base, "rl-ppo", out, seeing)


def split_runs(train_runs, bases, out, name):
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    train_runs(bases, out, (name,))


def test_a_model_whose_head_is_its_embeddings_is_not_split(tokenizer, monkeypatch):
    monkeypatch.setattr(distributed, "sharding", lambda: True)
    with pytest.raises(RuntimeError, match="head is its embeddings"):
        distributed.shard(make_text_model(tokenizer))


@pytest.mark.parametrize(("pretended", "kept"), [("", None), ("bf16", torch.bfloat16)])
def test_a_split_model_computes_in_the_format_of_the_machine(
    pretended, kept, fresh_model, monkeypatch
):
    monkeypatch.setenv(precision.PRETEND, pretended)
    monkeypatch.setattr(distributed, "sharding", lambda: True)
    monkeypatch.setattr(distributed, "init_device_mesh", lambda *_: None)
    shards = Mock()
    monkeypatch.setattr(distributed, "fully_shard", shards)
    distributed.shard(fresh_model)
    policies = [call.kwargs["mp_policy"] for call in shards.call_args_list]
    assert {policy.param_dtype for policy in policies} == {kept}


def test_a_model_is_not_split_in_float16(random_model, monkeypatch):
    monkeypatch.setenv(precision.PRETEND, "fp16")
    monkeypatch.setattr(distributed, "sharding", lambda: True)
    with pytest.raises(RuntimeError, match="in float16 a model cannot be split"):
        distributed.shard(random_model)


def test_a_warm_up_of_a_split_model_is_refused(monkeypatch):
    distributed.check_warmup(10)
    monkeypatch.setattr(distributed, "sharding", lambda: True)
    distributed.check_warmup(0)
    with pytest.raises(RuntimeError, match="--warmup"):
        distributed.check_warmup(10)


@pytest.mark.parametrize("seeing", [False, True])
@pytest.mark.parametrize("kind", ["mllama", "smolvlm"])
def test_a_split_model_takes_the_same_steps(kind, seeing, bases, tmp_path):
    base = bases["gp-vl" if seeing else "gp-l"]
    if kind == "smolvlm":
        reader = make_reader(general_points.vocabulary(pictures=True))
        loading.save(make_smol(reader), reader, base := tmp_path / kind)
    steps(base, "rl-ppo", tmp_path, seeing)
    launch(split_steps, 2, base, tmp_path, seeing)
    read = [torch.load(tmp_path / f"rl-ppo{n}.pt", weights_only=True) for n in (10, 20, 21)]
    (want, one), (found, two), (_, three) = read
    for step in range(2):
        assert found[step] == pytest.approx(want[step], rel=1e-4, abs=1e-5)
    for a, b, c in zip(one, two, three, strict=True):
        assert torch.allclose(a, b, atol=1e-5) and torch.equal(b, c)


@pytest.mark.parametrize("name", ["rl", "pictures"])
def test_interrupted_run_of_a_split_model_ends_as_a_whole_run_of_one(name, bases, whole, tmp_path):
    launch(split_runs, 2, interrupted_runs, bases, tmp_path, name)
    launch(split_runs, 2, whole_runs, bases, tmp_path, name)
    assert alike(whole / name, tmp_path / name) == {0, 1, 2, 3}


def test_a_process_alone_asks_no_device(monkeypatch):
    """It asks after every token."""
    monkeypatch.setattr(distributed, "device", None)
    assert distributed.any_process(torch.tensor([False, True]).any())
    assert not distributed.any_process([])


def test_the_race_for_a_token_is_that_of_multinomial():
    """What ``draw`` does in several processes is what it does in one, draw for draw."""
    probs = torch.randn(512, 93).softmax(-1)
    one, two = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    noise = torch.empty_like(probs).exponential_(generator=two)
    assert torch.equal(distributed.draw(probs, one), (probs / noise).argmax(-1))
    assert torch.equal(one.get_state(), two.get_state())


@pytest.mark.parametrize("items", [0, 1, 3, 8, 13])
def test_shares_are_the_whole(items, monkeypatch):
    found = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "world", lambda: 3)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        found += distributed.split_between_processes(range(items))
    assert found == list(range(items))


def test_a_copy_to_play_with_is_in_the_format_of_products(random_model, monkeypatch):
    monkeypatch.setenv("SFTRL_PRETEND_GPU", "bf16")
    monkeypatch.setattr(distributed, "sharding", lambda: True)
    player = distributed.make_rollout_model(random_model)
    assert {w.dtype for w in player.parameters()} == {torch.bfloat16}
    assert {w.dtype for w in random_model.parameters()} == {torch.float32}
    assert not any(w.requires_grad for w in player.parameters())
    changed = copy.deepcopy(random_model)
    with torch.no_grad():
        for weight in changed.parameters():
            weight.add_(1.0)
    distributed.sync_weights(player, changed)
    for mine, theirs in zip(player.parameters(), changed.parameters(), strict=True):
        assert torch.equal(mine, theirs.bfloat16())
    for mine, theirs in zip(player.buffers(), random_model.buffers(), strict=True):
        assert torch.equal(mine, theirs) and mine.data_ptr() != theirs.data_ptr()


def test_init_of_a_split_model_lies_in_main_memory_and_stays_as_it_was(random_model):
    model = copy.deepcopy(random_model)
    init = distributed.init_of(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    with distributed.on_device(init) as there:
        assert there is init and there.device == precision.device()
    assert init.device.type == "cpu" and not init.training
    for mine, theirs in zip(init.parameters(), random_model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
