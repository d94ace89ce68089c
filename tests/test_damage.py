"""Every file of every folder that is read, damaged in every way: one line, and nothing lost."""

import shutil
from dataclasses import replace

import pytest
import torch
from conftest import small_scale
from test_street_data import fabricate

from sftrl_lite import __main__
from sftrl_lite.files import check_summed, digest, seal
from sftrl_lite.models import adapters, loading
from sftrl_lite.results import ledger
from sftrl_lite.runs import execute, init
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.recorder import Recorder
from sftrl_lite.runs.run_config import Run
from sftrl_lite.runs.watch import Log, Watch
from sftrl_lite.tasks.panoramas import Panoramas, read_mapping
from sftrl_lite.tasks.street_data import read_streets

FEW = dict(problems=2, samples=2, minibatch=2, max_new_tokens=4)
SMALL = small_scale(sft=dict(batch=4), rl=FEW)
GOAL = replace(SMALL.init, every=1, most=3, batch=4, problems=2)
FIELDS = dict(
    scale=SMALL, seed=1, steps=3, tries=1, hands=4, points=1, eval_episodes=1, final_episodes=1
)
FIELDS |= dict(pass_samples=0, curve_episodes=1, splits=("id",))


class Stopped(BaseException):
    """Where a run is killed, in the middle of it."""


def flip(data):
    """The eighth bit of a byte in the middle: in a text it is no letter any more."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 128]) + data[middle + 1 :]


WAYS = {
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "wrong type": lambda data: b"[[null]]\n",
    "flipped": flip,
    "absent": lambda data: None,
}


def files_of(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def check(folder, read, tmp_path, spared=(), fine=()):
    """Damage each file of a copy of ``folder`` in each way and read it; one line names the file.

    Args:
        spared: what nobody reads; fine: damages that change nothing, as ``FILE WAY``.
    """
    silent = set()
    for path in files_of(folder):
        name = path.relative_to(folder)
        if name.parts[0] in spared:
            continue
        for way, damage in WAYS.items():
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            (copy / name).unlink()
            if (content := damage(path.read_bytes())) is not None:
                (copy / name).write_bytes(content)
            before = {p: p.read_bytes() for p in files_of(copy)}
            try:
                read(copy)
            except (ValueError, RuntimeError, OSError) as error:
                line = str(error)
                assert "\n" not in line and len(line) < 600, (name, way, line)
                # libraries do not say which file of a folder they could not read
                assert name.name in line or f"{(copy / name).parent}: " in line, (name, way, line)
                assert before == {p: p.read_bytes() for p in files_of(copy)}, (name, way)
            else:
                silent.add(f"{name} {way}")
    assert silent <= set(fine)


# --- models ----------------------------------------------------------------------------


def load(folder):
    loading.load(folder)


UNSUMMED = ["SHA256SUMS absent"]  # then it is as from the Hub, and whole


def test_a_model_with_sums(base, tmp_path):
    check(base, load, tmp_path, fine=UNSUMMED)


def test_a_downloaded_model(seeing_model, processor, tmp_path):
    """Without sums a flipped weight is just another one, and what is optional may be absent."""
    folder = tmp_path / "m"
    loading.save(seeing_model, processor, folder)
    (folder / "SHA256SUMS").unlink()
    optional = ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"]
    optional += ["processor_config.json"]  # then it reads text, and refuses pictures
    fine = [f"{name} absent" for name in optional]
    fine += [f"chat_template.jinja {way}" for way in WAYS] + ["model.safetensors flipped"]
    check(folder, load, tmp_path, fine=fine)


def test_an_adapter(base, tmp_path):
    model, processor = loading.load(base, "lora")
    loading.save(model, processor, tmp_path / "a")
    check(tmp_path / "a", load, tmp_path, fine=UNSUMMED)
    (tmp_path / "a" / "SHA256SUMS").unlink()
    config = tmp_path / "a" / "adapter_config.json"
    for wrong in ('{"r": 16, "lora_alpha": 32, "target_modules": "(a+)+$"}', '{"r": -1}', "[]"):
        config.write_text(wrong)
        with pytest.raises(ValueError, match=r"adapter_config\.json is damaged"):
            load(tmp_path / "a")


def test_an_adapter_that_names_itself(base, tmp_path):
    model, processor = loading.load(base, "lora")
    folder = tmp_path / "a"
    model.name_or_path = str(folder)
    adapters.save(model, folder)
    processor.save_pretrained(folder)
    with pytest.raises(ValueError, match="an adapter that has itself for a base"):
        loading.load(folder)


# --- runs ------------------------------------------------------------------------------


@pytest.fixture
def cut(base, tmp_path, monkeypatch):
    """A run that was killed after its second step and its second checkpoint."""
    monkeypatch.setattr(execute, "due", lambda before, after, points: True)
    suspend = execute.suspend

    def stop(learner, *args):
        suspend(learner, *args)
        if learner.step == 2:
            raise Stopped

    def make(method):
        run, out = Run(method, base=str(base), **FIELDS), tmp_path / "runs" / "r"

        def tell(share):
            if method == "sft" and share == 1:
                raise Stopped

        with monkeypatch.context() as patch, pytest.raises(Stopped):
            patch.setattr(execute, "suspend", stop)
            train(run, out, progress=tell, anyway=True, watch=Watch(transcripts=1))
        assert (out / "checkpoint.pt").exists() or list(out.glob("trainer/checkpoint-2"))
        return run, out

    return make


UNREAD = ("best", "best.json")  # by a run that goes on
UNNOTED = ["rows.sha256 absent", "steps.sha256 absent", "transcripts.sha256 absent"]


@pytest.mark.parametrize("method", ["rl-ppo", "sft"])
def test_a_run_that_goes_on(method, cut, tmp_path):
    run, out = cut(method)
    # without a checkpoint it starts again, and comes to the same numbers
    fine = ["checkpoint.pt absent", *UNNOTED]
    check(out, lambda copy: train(run, copy, anyway=True), tmp_path / "runs", UNREAD, fine)
    train(run, out, anyway=True)


def test_a_run_that_is_done(base, tmp_path):
    run, out = Run("sft", base=str(base), **FIELDS), tmp_path / "r"
    train(run, out)
    check(
        out,
        lambda copy: train(run, copy),
        tmp_path,
        (*UNREAD, "steps.csv", "steps.sha256"),
        UNNOTED,
    )
    shutil.rmtree(out / "model")
    (out / "model").mkdir()
    with pytest.raises(OSError, match=r"model: no checkpoint here .SHA256SUMS is missing"):
        train(run, out)
    assert list((out / "model").iterdir()) == []


def other_digits(path, every=1):
    """The content of a file with another digit, for some of its digits."""
    content = path.read_bytes()
    for place in [i for i, byte in enumerate(content) if chr(byte).isdigit()][::every]:
        yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def refused(path, read, every=1):
    """Whether each other digit is noticed, with a line that names the file or its folder."""
    before = path.read_bytes()
    for content in other_digits(path, every):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            read()
        said = str(caught.value)
        assert path.name in said or f"{path.parent} " in said, said
        assert path.read_bytes() == content
    path.write_bytes(before)


def test_another_digit_in_what_a_run_goes_on_from(cut):
    """It is a number like any other, so that nothing but a sum can tell."""
    run, out = cut("rl-ppo")
    for name, every in (("rows.csv", 211), ("config.json", 1)):
        refused(out / name, lambda: train(run, out, anyway=True), every)
    for name, every in (("steps.csv", 5), ("transcripts.jsonl", 99)):
        refused(out / name, lambda: Log(out, Watch(), {}), every)
    train(run, out, anyway=True)
    (measured,) = out.parent.glob("init-*.csv")
    other = Run("rl-ppo", base=run.base, **FIELDS | {"lr": 1e-5})
    refused(measured, lambda: train(other, out.parent / "other", anyway=True), 499)


def test_any_bit_of_a_checkpoint(cut):
    run, out = cut("rl-ppo")
    path = out / "checkpoint.pt"
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 9):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged; delete it"):
            train(run, out, anyway=True)
    path.write_bytes(content)
    state = torch.load(path, weights_only=True)
    for counts in ([10**9, 1, 1], [1, -1, 1], [1, 1], "abc", [1.5, 1, 1]):
        torch.save(state | {"counts": counts}, path)
        seal(path)
        with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged; delete it"):
            train(run, out, anyway=True)


def test_what_was_measured_of_init(base, tmp_path):
    train(Run("sft", base=str(base), **FIELDS), tmp_path / "a")
    (path,) = tmp_path.glob("init-*.csv")
    for way in ("emptied", "wrong type", "flipped"):
        content = path.read_bytes()
        path.write_bytes(WAYS[way](content))
        with pytest.raises(ValueError, match=f"{path.name} is"):
            train(Run("sft", base=str(base), **FIELDS | {"lr": 1e-5}), tmp_path / "b")
        path.write_bytes(content)


def test_two_runs_that_measure_init_at_once(base, tmp_path, monkeypatch):
    """The second is as far while the first still measures; what it wrote stays."""
    inner, kept = Recorder.measured, []

    def measured(self, end):
        found = inner(self, end)
        if not kept:
            kept.append(None)
            train(Run("sft", base=str(base), **FIELDS | {"lr": 1e-5}), tmp_path / "b")
            kept[:] = [path.read_bytes() for path in tmp_path.glob("init-*.csv")]
        return found

    monkeypatch.setattr(Recorder, "measured", measured)
    train(Run("sft", base=str(base), **FIELDS), tmp_path / "a")
    (path,) = tmp_path.glob("init-*.csv")
    assert [path.read_bytes()] == kept
    check_summed(path, "")


def test_an_init_and_its_making(base, tmp_path, monkeypatch):
    run = Run("sft", base=str(base), scale=replace(SMALL, init=GOAL))
    made = tmp_path / "init"
    init.make_init(run, made)
    check(made, lambda copy: init.make_init(run, copy), tmp_path)
    refused(made / "init.json", lambda: init.make_init(run, made), 9)

    def tell(level):
        if level["step"] == 2:
            raise Stopped

    with pytest.raises(Stopped):
        init.make_init(run, tmp_path / "other", progress=tell)
    making = tmp_path / "other.making"
    assert list((making / "trainer").glob("checkpoint-*"))

    def go_on(copy):
        shutil.rmtree(making)
        copy.rename(making)
        try:
            init.make_init(run, tmp_path / "other")
            shutil.rmtree(tmp_path / "other")
            making.mkdir()
        finally:
            making.rename(copy)
            making.mkdir()

    refused(making / "levels.json", lambda: init.read_levels(making))
    kept = making.rename(tmp_path / "kept")
    making.mkdir()
    check(kept, go_on, tmp_path, fine=["config.json absent", "levels.sha256 absent"])


# --- data ------------------------------------------------------------------------------


def look(folder):
    found = read_streets(folder)
    for number in range(len(found.panoramas.ids)):
        found.panoramas.read(number)


def test_a_folder_of_routes(tmp_path):
    folder = fabricate(tmp_path / "routes")
    for path in sorted((folder / "street_views").iterdir())[4:]:
        path.rename(tmp_path / path.name)  # two panoramas stand for all
    kept = {path.name.split(".")[0] for path in (folder / "street_views").iterdir()}

    def look(folder):
        found = read_streets(folder, pictures=False)
        mapping = read_mapping(folder / "gps_pano_mapping.pkl")
        numbers = [i for i, pano in enumerate(mapping.values()) if pano in kept]
        panoramas = Panoramas(folder, tuple(mapping), tuple(mapping.values()))
        assert len([panoramas.read(number) for number in numbers]) == 2 and found.routes

    pictures = [f"street_views/{pano}.jpg flipped" for pano in kept]  # a few other pixels
    check(folder, look, tmp_path, fine=pictures)


def test_a_sweep_file_and_the_ledger(tmp_path, monkeypatch, capsys):
    """As the command line says it: one line, exit 2."""
    sweep, record = tmp_path / "s.toml", tmp_path / "ledger.csv"
    sweep.write_text('[[a]]\nmethod = "sft"\nsteps = 1\n')
    record.write_text(ledger.text([]))
    monkeypatch.setattr("sys.argv", ["sftrl_lite", "sweep", str(sweep)])
    monkeypatch.setattr("sftrl_lite.runs.sweep.sweep.__defaults__", (1, record, tmp_path / "runs"))
    for path in (sweep, record):
        content = path.read_bytes()
        for way, damage in WAYS.items():
            if (path, way) in {(sweep, "emptied"), (record, "absent"), (record, "cut")}:
                continue  # no runs; a first ledger; a header alone
            path.unlink()
            if (damaged := damage(content)) is not None:
                path.write_bytes(damaged)
            before = path.exists() and digest(path)
            with pytest.raises(SystemExit) as stop:
                __main__.main()
            said = capsys.readouterr().err
            assert stop.value.code == 2 and path.name in said and said.count("\n") == 1, (way, said)
            assert (path.exists() and digest(path)) == before
            path.write_bytes(content)
