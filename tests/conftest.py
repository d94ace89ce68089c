"""Shared pieces: a tiny random model, toy tasks, hand-made episodes."""

import os

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import copy
import gc
import multiprocessing
from dataclasses import dataclass, replace

import pytest
import torch
from transformers import (
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    MllamaForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from sftrl_lite.models import loading
from sftrl_lite.models.tiny import make_processor, make_tokenizer, tiny_config
from sftrl_lite.results import ledger
from sftrl_lite.results.measures import decoding_of
from sftrl_lite.runs import checks
from sftrl_lite.scales import get_scale
from sftrl_lite.tasks.base import Verdict
from sftrl_lite.tasks.card_pictures import Look, draw_table
from sftrl_lite.tasks.cards import DEV_RULE, ID_RULE, OOD_RULE
from sftrl_lite.tasks.general_points import prompt, vocabulary
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.verifier import FAILURE, SUCCESS
from sftrl_lite.training.rollouts import Episode, Turn

torch.set_num_threads(1)
gc.freeze()  # what was imported stays; a trainer collects garbage, and would go through it all


def forked_processes():
    """Processes that are forked from one that has imported torch and trl."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sftrl_lite.runs.execute"])
    return context


@pytest.fixture
def quick_processes(monkeypatch):
    """What starts processes forks them, where it can."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = forked_processes()
        monkeypatch.setattr(multiprocessing, "get_context", lambda kind: context)


@pytest.fixture(autouse=True)
def any_model_may_begin_rl(monkeypatch):
    """Random models do not answer in the format, and most tests are not about that."""
    monkeypatch.setattr(checks, "READABLE", 0.0)


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer(vocabulary())


def shrink(config):
    """A config for tests: three layers of width 32."""
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.initializer_range = 32, 64, 0.2
    text.num_hidden_layers, text.cross_attention_layers = 3, [1]
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = 4, 1, 8
    return config


@pytest.fixture(scope="session")
def random_model(tokenizer):
    """Random weights, for reading only; ``fresh_model`` may be trained."""
    torch.manual_seed(0)
    return MllamaForConditionalGeneration(shrink(tiny_config(len(tokenizer)))).eval()


@pytest.fixture
def fresh_model(random_model):
    return copy.deepcopy(random_model)


@pytest.fixture(scope="session")
def base(random_model, tokenizer, tmp_path_factory):
    """The random model in a folder of its own."""
    folder = tmp_path_factory.mktemp("base") / "model"
    loading.save(random_model, tokenizer, folder)
    return folder


# --- and for pictures ------------------------------------------------------------------


@pytest.fixture(scope="session")
def processor():
    """Reads pictures of 40 x 40 and text."""
    return make_processor(make_tokenizer(vocabulary(pictures=True), pictures=True), 40)


def make_seeing(processor, tiles=1):
    """A random model in which pictures matter: all gates open, a lively vision tower."""
    config = shrink(tiny_config(len(processor.tokenizer) - 1, 40))
    config.vision_config.initializer_range = 0.2
    if tiles == 2:
        config.vision_config.max_num_tiles = 2
        config.vision_config.supported_aspect_ratios = [[1, 1], [1, 2], [2, 1]]
    torch.manual_seed(0)
    model = MllamaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "gate" in name and "gate_proj" not in name and weight.numel() == 1:
                weight.fill_(0.5)
            elif "position" in name and "embedding" in name:  # they start at zero
                weight.normal_(0, 0.2)
    return model


IMAGE, END = "<image>", "<end_of_utterance>"
SPECIAL = ["<fake_token_around_image>", IMAGE, "<global-img>", END, "<|im_start|>"]
# a turn is closed by a token and a line break; content is a list of parts, or is not shown
TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:"
    "{% if m['content'][0]['type'] != 'image' %}{{ ' ' }}{% endif %}"
    "{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def make_reader(pieces):
    """A processor as SmolVLM's, with a vocabulary of its own."""
    words = ["User", "Assistant", ":", " ", "\n", *pieces]
    tokenizer = make_tokenizer(words)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.eos_token, tokenizer.chat_template = END, TEMPLATE
    edge = {"longest_edge": 40}
    eyes = SmolVLMImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    return Idefics3Processor(eyes, tokenizer, image_seq_len=4, chat_template=TEMPLATE)


def small_llama(tokenizer, layers, key_value_heads):
    """The numbers of a Llama that is small enough for a test."""
    return dict(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
    )


def make_text_model(tokenizer):
    """A random Llama whose head is its embeddings, as SmolLM2's."""
    torch.manual_seed(0)
    ends = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    sizes = small_llama(tokenizer, layers=3, key_value_heads=2)
    return LlamaForCausalLM(LlamaConfig(**sizes, **ends, tie_word_embeddings=True))


def make_smol(reader):
    """A random SmolVLM in which pictures matter."""
    tokenizer = reader.tokenizer
    text = small_llama(tokenizer, layers=2, key_value_heads=1) | {"model_type": "llama"}
    vision = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=40,
        patch_size=10,
    )
    config = SmolVLMConfig(
        text_config=text,
        vision_config=vision,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = SmolVLMForConditionalGeneration(config).eval()
    for part in (model.model.vision_model, model.model.connector):
        for weight in part.parameters():
            torch.nn.init.normal_(weight, 0, 0.3)
    return model


@pytest.fixture(scope="session")
def seeing_model(processor):
    """Random weights that react to pictures, for reading only."""
    return make_seeing(processor)


@pytest.fixture
def fresh_seeing(seeing_model):
    return copy.deepcopy(seeing_model)


@pytest.fixture(scope="session")
def shown(hands):
    """The hands as pictures; prompts of different lengths, the last two alike but for it."""
    shown = [
        replace(hand, suits=("♠",) * len(hand.cards), look=Look(noise=0), seed=i)
        for i, hand in enumerate(hands)
    ]
    shown[1] = replace(shown[1], target=100)
    return [*shown[:3], replace(shown[0], cards=("Q", "K", "2"))]


@pytest.fixture(scope="session")
def hands():
    """Prompts of different lengths: three rules, two targets, three to five cards."""
    return [
        Hand(("A", "5", "J"), ID_RULE, 24),
        Hand(("2", "3", "K", "Q"), OOD_RULE, 10),
        Hand(("9", "9", "8", "7", "2"), DEV_RULE, 24),
        Hand(("4", "4", "10", "J"), ID_RULE, 13),
    ]


@dataclass
class LengthTask:
    """Solved when the answer's length divides by ``every``; a random model often is."""

    every: int = 3
    over_budget: float = -1.0

    def prompt(self, hand):
        return prompt(hand)

    def picture(self, hand):
        return None

    def metrics(self, hands, episodes):
        return {}

    def verify(self, hand, answer):
        if len(answer) % self.every == 0:
            return Verdict(True, "solved", 5.0, SUCCESS, None)
        # messages differ in their number of tokens, so that cache columns have holes
        message = FAILURE if len(answer) % 2 else "7 8 9"
        return Verdict(False, "wrong_value", -1.0, message, None)


class SevenTask(LengthTask):
    """Never solved; a point for each 7 in the answer. Something a few steps can teach."""

    def verify(self, hand, answer):
        return Verdict(False, "wrong_value", float(answer.count("7")), FAILURE, None)


@dataclass
class PictureTask(LengthTask):
    """The same game with pictures; ``wide`` ones are two tiles."""

    wide: bool = False

    def picture(self, hand):
        picture = draw_table(hand.cards, hand.suits, hand.look, 40, hand.seed)
        return picture.resize((80, 40)) if self.wide and hand.seed % 2 else picture


class PictureSevenTask(PictureTask, SevenTask):
    """A point for each 7, and a picture that does not matter."""

    verify = SevenTask.verify


@pytest.fixture
def picture_task():
    return PictureTask()


@pytest.fixture
def length_task():
    return LengthTask()


@pytest.fixture
def seven_task():
    return SevenTask()


def make_episode(rewards, *, prompt_len=3, answer_len=2, kinds=None, read=None, problem=None):
    """An episode with given rewards; between answers stand two verifier tokens."""
    ids, turns = list(range(10, 10 + prompt_len)), []
    for t, reward in enumerate(rewards):
        kind = kinds[t] if kinds else "wrong_value"
        right = problem is not None and read == problem.numbers
        verdict = Verdict(kind == "solved", kind, reward, "", read, right)
        start = len(ids)
        ids += [30 + t] * answer_len
        turns.append(Turn(start, len(ids), [-0.5 - t] * answer_len, "", verdict, reward))
        if t + 1 < len(rewards):
            ids += [40, 41]
    return Episode(problem, ids, turns)


def small_scale(sft: dict = {}, rl: dict = {}, **fields):  # noqa: B006
    """The tiny row with some fields of its own: for what is tested without any skill."""
    tiny = get_scale("tiny")
    return replace(tiny, sft=replace(tiny.sft, **sft), rl=replace(tiny.rl, **rl), **fields)


def made_up_row(method, seed, point, value, **fields):
    """A ledger row of evaluation number ``point``, ten steps after the one before.

    Decoded as its metric usually is: success, for instance, as in the paper.
    """
    usual = dict(task="gp-l", scale="tiny", tries=5, config_hash="x", commit="x", device="cpu")
    usual["decoding"] = decoding_of(fields["metric"])
    usual |= dict(n=100, low=value - 0.1, high=value + 0.1, minutes=1.0, command="x")
    chosen = dict(method=method, seed=seed, step=10 * point, value=value)
    return ledger.Row(**usual | chosen | fields)
