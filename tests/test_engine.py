"""A text model out of a model that sees, and an engine in place of the decoder."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import make_reader, make_smol
from safetensors.torch import load_file
from test_cli import call  # noqa: F401
from transformers import AutoConfig, LlamaForCausalLM

from sftrl_lite.models import adapters, precision
from sftrl_lite.models.chats import end_of_turn, stop_tokens
from sftrl_lite.scales import RLSettings
from sftrl_lite.tasks.general_points import vocabulary
from sftrl_lite.training import engine
from sftrl_lite.training.decoding import Decoder, generate
from sftrl_lite.training.engine import (
    VLLM,
    open_engine,
    text_config,
    text_weights,
    write_text,
)
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.rl import rl_step
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.updates import new_learner


def llama(model):
    """The text model, built from what an engine would get."""
    made = LlamaForCausalLM(text_config(model)).eval()
    missing, unexpected = made.load_state_dict(dict(text_weights(model)), strict=False)
    assert not missing and not unexpected
    return made


def wear_lora(model):
    """An adapter that changes something: B starts at zero."""
    adapters.add(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(0, 0.1)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("kind", ["mllama", "mllama that sees", "smolvlm"])
def test_the_text_model_gives_the_same_logits(kind, lora, random_model, seeing_model):
    smol = make_smol(make_reader(vocabulary())) if kind == "smolvlm" else None
    made = {"mllama": random_model, "mllama that sees": seeing_model, "smolvlm": smol}[kind]
    model = copy.deepcopy(made)
    plain = llama(model)
    if lora:
        wear_lora(model)
    words = model.lm_head.weight.shape[0]
    ids = torch.randint(words - 1, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(input_ids=ids).logits
        assert ours.std() > 0.1
        torch.testing.assert_close(llama(model)(input_ids=ids).logits, ours, rtol=1e-4, atol=1e-4)
        assert torch.allclose(plain(input_ids=ids).logits, ours, atol=1e-3) != lora


def test_layers_are_left_out_and_numbered_anew(random_model):
    names = [name for name, _ in text_weights(random_model)]
    assert text_config(random_model).num_hidden_layers == 2  # the middle one of three looks
    assert {name.split(".")[2] for name in names if ".layers." in name} == {"0", "1"}
    assert not any("cross" in name for name in names)
    there = dict(text_weights(random_model))
    assert there["model.embed_tokens.weight"].shape == there["lm_head.weight"].shape


def test_a_folder_is_written_that_loads(fresh_model, tmp_path, monkeypatch):
    monkeypatch.setenv(precision.PRETEND, "bf16")
    write_text(fresh_model, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.dtype) == ("llama", torch.bfloat16)
    made = LlamaForCausalLM.from_pretrained(tmp_path)
    head = fresh_model.lm_head.weight
    torch.testing.assert_close(made.lm_head.weight, head.bfloat16(), rtol=2**-7, atol=0)
    assert not torch.equal(made.lm_head.weight, head.bfloat16())  # some are rounded the other way


def test_four_bits_are_refused(fresh_model):
    fresh_model.is_loaded_in_4bit = True
    with pytest.raises(ValueError, match="16 bits"):
        dict(text_weights(fresh_model))


# --- playing -----------------------------------------------------------------------------


class StandIn:
    """An engine made of the package's own decoder: a new one for each round of answers."""

    def __init__(self, model, tokenizer):
        self.model, self.pad, self.loads, self.seeds = model, tokenizer.pad_token_id, 0, []
        self.ends = torch.tensor(stop_tokens(model, end_of_turn(tokenizer)))

    def generate(self, prompts, max_new_tokens, temperature, top_p, seed):
        self.seeds.append(seed)
        decoder, dice = Decoder(self.model, self.pad), torch.Generator().manual_seed(seed)
        logits = decoder.take(prompts)
        return generate(decoder, logits, self.ends, max_new_tokens, temperature, dice, top_p)

    def load(self, model):
        self.loads += 1
        self.model = copy.deepcopy(model).eval()


def test_greedy_episodes_are_those_without_an_engine(random_model, tokenizer, length_task, hands):
    ways = dict(samples=2, tries=4, max_new_tokens=6, temperature=0.0)
    args = (random_model, tokenizer, length_task, hands)
    ours = rollout(*args, **ways)
    theirs = rollout(*args, **ways, engine=StandIn(random_model, tokenizer))
    assert {len(e.turns) for e in ours} != {1}  # some heard the verifier
    assert [e.ids for e in theirs] == [e.ids for e in ours]
    for one, other in zip(ours, theirs, strict=True):
        assert [t.reward for t in one.turns] == [t.reward for t in other.turns]
        for t, s in zip(one.turns, other.turns, strict=True):
            assert (t.start, t.end, t.answer) == (s.start, s.end, s.answer)
            assert t.logps == pytest.approx(s.logps, abs=1e-4)


def test_the_generator_chooses_the_seeds(random_model, tokenizer, length_task, hands):
    def play(seed):
        player, chance = StandIn(random_model, tokenizer), torch.Generator().manual_seed(seed)
        ways = dict(tries=3, max_new_tokens=6, generator=chance, engine=player)
        return rollout(random_model, tokenizer, length_task, hands, **ways), player.seeds

    (one, seeds), (same, again), (_, others) = play(0), play(0), play(1)
    assert [e.ids for e in one] == [e.ids for e in same]
    assert seeds == again != others and len(set(seeds)) == len(seeds) > 1


def test_an_evaluation_by_an_engine_is_the_same(random_model, tokenizer, length_task, hands):
    args, ways = (random_model, tokenizer, length_task, hands), dict(temperature=0.0, tries=3)
    ours, _ = evaluate(*args, **ways)
    theirs, _ = evaluate(*args, **ways, engine=StandIn(random_model, tokenizer))
    assert theirs == ours


def test_rl_hands_its_weights_over_and_looks_back(fresh_model, tokenizer, length_task, hands):
    player = StandIn(fresh_model, tokenizer)
    settings = RLSettings(method="rl-grpo", problems=2, samples=4, minibatch=8, lr=1e-2, tries=2)
    learner = new_learner(fresh_model, settings, 0)
    for _ in range(2):
        stats = rl_step(learner, tokenizer, length_task, hands, settings, 0, engine=player)
        assert stats["kl"] == pytest.approx(0, abs=1e-5)  # one update: the old policy is its own
    assert player.loads == 2
    moved = [
        not torch.equal(a, b)
        for a, b in zip(player.model.parameters(), fresh_model.parameters(), strict=True)
    ]
    assert any(moved)  # the second update came after the second load
    assert len(player.seeds) >= 2


def test_pictures_are_refused(seeing_model, processor, picture_task, shown):
    with pytest.raises(ValueError, match="pictures"):
        rollout(seeing_model, processor, picture_task, shown, engine=StandIn)


# --- vLLM, as its documentation says it is called ------------------------------------------


@pytest.fixture
def vllm(monkeypatch):
    """A module with the names that are used, which notes how it is called."""
    seen = SimpleNamespace(calls=[])

    class LLM:
        def __init__(self, **options):
            seen.options = options

        def generate(self, prompts, sampling, use_tqdm):
            seen.prompts, seen.sampling = prompts, sampling
            found = [{7: SimpleNamespace(logprob=-1.0)}, {2: SimpleNamespace(logprob=-0.5)}]
            one = SimpleNamespace(token_ids=(7, 2), logprobs=found)
            return [SimpleNamespace(outputs=[one]) for _ in prompts]

        def collective_rpc(self, method, kwargs):
            seen.calls.append((method, kwargs))

        def reset_prefix_cache(self):
            seen.calls.append("reset")

    module = SimpleNamespace(LLM=LLM, SamplingParams=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (60, 80))
    monkeypatch.setattr(engine, "find_spec", lambda name: name)
    return seen


def test_vllm_is_asked_for_tokens(vllm, fresh_model, tokenizer):
    player = open_engine("vllm", fresh_model, tokenizer, "gp-l", 0.5)
    assert isinstance(player, VLLM) and vllm.options["gpu_memory_utilization"] == 0.375
    answers, logps = player.generate([[1, 5], [1, 5]], 9, 0.6, 0.9, 40)
    assert answers == [[7, 2]] * 2 and logps == [[-1.0, -0.5]] * 2
    assert vllm.prompts == [{"prompt_token_ids": [1, 5]}] * 2
    assert [s.seed for s in vllm.sampling] == [40, 41]  # samples of a problem differ
    first = vllm.sampling[0]
    assert (first.max_tokens, first.temperature, first.top_p, first.logprobs) == (9, 0.6, 0.9, 0)
    assert first.stop_token_ids == stop_tokens(fresh_model, end_of_turn(tokenizer))
    with torch.no_grad():
        fresh_model.lm_head.weight.fill_(0.25)
    player.load(fresh_model)
    (method, kwargs), reset = vllm.calls
    assert (method, reset) == ("reload_weights", "reset")
    there = load_file(f"{kwargs['weights_path']}/model.safetensors")
    assert (there["lm_head.weight"] == 0.25).all()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["eval", "--engine", "tgi"], "unknown engine 'tgi'; choose vllm"),
        (["eval", "--engine", "vllm"], "needs vLLM: pip install 'sftrl-lite[engine]'"),
        (["eval", "--task", "gp-vl", "--engine", "vllm"], "gp-vl shows pictures"),
        (["rl", "--engine", "vllm", "--steps", "1"], "needs vLLM: pip install"),
        (["rl", "--engine", "vllm", "--record"], "--record keeps what its command gives again"),
        (["sft", "--engine", "vllm"], "SFT does not sample while it trains"),
    ],
)
def test_what_cannot_be_is_one_line(call, args, says, monkeypatch):  # noqa: F811
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    status, _, err = call(*args)
    assert status == 2 and says in err
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
