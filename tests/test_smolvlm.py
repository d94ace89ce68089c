"""The other kind of model: pictures stand among the words, not beside them."""

import copy
import dataclasses

import pytest
import torch
from conftest import (
    END,
    LengthTask,
    PictureSevenTask,
    PictureTask,
    make_reader,
    make_smol,
    small_scale,
)
from transformers import Idefics3Processor

from sftrl_lite import scales
from sftrl_lite.models import chats, loading, precision
from sftrl_lite.models.chats import ask, pictures_of
from sftrl_lite.models.vision import encode, to_pixels
from sftrl_lite.runs.execute import train
from sftrl_lite.runs.run_config import Run
from sftrl_lite.tasks.general_points import vocabulary
from sftrl_lite.training import rl, sft, sft_examples, updates
from sftrl_lite.training.compute import picture_tokens, text_parameters
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.forward import pack, policy
from sftrl_lite.training.rollouts import rollout


@pytest.fixture(scope="module")
def reader():
    return make_reader(vocabulary(pictures=True))


@pytest.fixture(scope="module")
def random_smol(reader):
    return make_smol(reader)


@pytest.fixture(params=[LengthTask, PictureTask], ids=["text", "pictures"])
def task(request):
    return request.param()


def play(model, reader, task, hands, seed=0, **options):
    chance = torch.Generator().manual_seed(seed)
    options = {"samples": 4, "tries": 3, "max_new_tokens": 6} | options
    return rollout(model, reader, task, hands, generator=chance, **options)


def test_the_prompt_is_the_stock_processors(reader, task, shown):
    asked = [[ask(task, hand)] for hand in shown]
    ours = chats.prompts(reader, asked)
    texts = [chats.render(reader, chat, prompt=True) for chat in asked]
    assert all(hand_text.endswith("Assistant:") for hand_text in texts)
    assert all(task.prompt(hand) in text for hand, text in zip(shown, texts, strict=True))
    pictures = [[picture] for picture in pictures_of(asked)] or None
    stock = reader(text=texts, images=pictures, add_special_tokens=False)["input_ids"]
    assert ours == [list(row) for row in stock]


def test_cached_log_probabilities_are_those_of_the_stock_model(random_smol, reader, task, shown):
    episodes = play(random_smol, reader, task, shown, samples=8)
    assert {len(e.turns) for e in episodes} == {1, 2, 3}
    batch = pack(episodes, reader.tokenizer.pad_token_id)
    with torch.no_grad():
        assert (policy(random_smol, batch)[0] - batch.old_logps).abs().max() < 1e-4
    image = random_smol.config.image_token_id
    for episode in episodes[::3]:  # and with its own pixels, the stock way
        said = [i for turn in episode.turns for i in episode.ids[turn.start : turn.end]]
        if image in said:
            continue
        with torch.no_grad():
            ids = torch.tensor([episode.ids])
            logits = random_smol(input_ids=ids, **(episode.pixels or {})).logits[0].log_softmax(-1)
        for turn in episode.turns:
            rows = logits[turn.start - 1 : turn.end - 1]
            chosen = rows.gather(1, ids[0, turn.start : turn.end, None])[:, 0]
            assert torch.allclose(chosen, torch.tensor(turn.logps), atol=1e-4)


def test_an_image_token_that_the_model_says_is_a_word(random_smol, reader, shown):
    task = PictureTask()
    (episode,) = play(random_smol, reader, task, shown[:1], samples=1, tries=1)
    end = episode.turns[0].end
    episode.ids[end - 1] = random_smol.config.image_token_id
    with torch.no_grad():
        logps = policy(random_smol, pack([episode], 0))[0]
    assert logps.isfinite().all() and logps[0, end - 1] < 0


def test_the_picture_matters(random_smol, reader, shown):
    same_words = [shown[0], shown[3]]
    one, two = play(random_smol, reader, PictureTask(), same_words, samples=1, temperature=0)
    assert one.ids[: one.turns[0].start] == two.ids[: two.turns[0].start]
    assert one.turns[0].logps != two.turns[0].logps


def test_the_next_turn_goes_on_as_the_template_would(random_smol, reader, task, shown):
    tokenizer = reader.tokenizer
    end, (reply,) = chats.replies(reader, ["7 8"])
    assert tokenizer.decode([end]) == END
    assert tokenizer.decode(reply) == "\nUser: 7 8<end_of_utterance>\nAssistant:"
    for episode in play(random_smol, reader, task, shown):
        for turn, after in zip(episode.turns, episode.turns[1:], strict=False):
            between = episode.ids[turn.end : after.start]
            assert episode.ids[turn.end - 1] == end or between[0] == end
            assert tokenizer.decode(between).removeprefix(END).startswith("\nUser: ")


def test_a_demonstration_is_the_prompt_and_the_answer(reader, task, shown):
    asked = [ask(task, shown[0])]
    chat = [*asked, {"role": "assistant", "content": "7+8"}]
    (row,) = chats.demonstrated(reader, [chat])
    (prompt,) = chats.prompts(reader, [asked])
    start = len(prompt)
    assert row["input_ids"][:start] == prompt and row["labels"][:start] == [-100] * start
    assert reader.tokenizer.decode(row["labels"][start:]) == " 7+8" + END


@pytest.mark.parametrize("method", ["rl-ppo", "rl-grpo"])
def test_a_step_of_rl_trains_text_and_eyes(random_smol, reader, method, shown):
    model, few = copy.deepcopy(random_smol), dict(problems=4, samples=4, minibatch=8)
    small = dict(tries=2, max_new_tokens=4, lr=1e-3, method=method)
    settings = dataclasses.replace(scales.SCALES["tiny"].rl, **few, **small)
    learner = updates.new_learner(model, settings, 0)
    stats = rl.rl_step(learner, reader, PictureSevenTask(), shown, settings, seed=1)
    before = dict(random_smol.named_parameters())
    moved = {n for n, w in model.named_parameters() if not torch.equal(w, before[n])}
    assert "model.text_model.layers.0.self_attn.q_proj.weight" in moved
    assert "model.connector.modality_projection.proj.weight" in moved
    assert "model.vision_model.embeddings.patch_embedding.weight" in moved
    assert stats["generated"] > stats["answers"]


@pytest.mark.parametrize("name", ["rl", "sft"])
def test_it_trains_with_checkpointed_layers(random_smol, reader, name, shown, tmp_path):
    """The same weights as without them."""
    task, tiny, ended = PictureSevenTask(), scales.SCALES["tiny"], []
    few = dict(problems=4, samples=2, minibatch=4, tries=2, max_new_tokens=4, lr=1e-3)
    settings = dataclasses.replace(tiny.rl, **few)
    for checkpointed in (False, True):
        model = copy.deepcopy(random_smol)
        learner = updates.new_learner(model, settings, 0)
        if checkpointed:
            precision.checkpoint_layers(model)
        assert precision.checkpointed(model) == checkpointed
        if name == "rl":
            rl.rl_step(learner, reader, task, shown, settings, seed=1)
        else:
            data, pixels = sft_examples.picture_demonstrations(
                reader, task, shown, lambda problem: "7+8"
            )
            how = scales.SFTSettings(lr=1e-2, batch=2, hands=len(shown))
            out, options = tmp_path / str(checkpointed), dict(steps=2, progress=False)
            sft.train_sft(model, reader.tokenizer, data, how, out, 0, pixels=pixels, **options)
        ended.append(model.state_dict())
    before, (stored, again) = random_smol.state_dict(), ended
    assert not torch.equal(stored["lm_head.weight"], before["lm_head.weight"])
    for key, weight in stored.items():
        assert torch.allclose(again[key], weight, atol=1e-5), key


@pytest.fixture
def base(random_smol, reader, tmp_path):
    loading.save(random_smol, reader, tmp_path / "base")
    return tmp_path / "base"


def test_it_is_loaded_as_it_was_saved(random_smol, base, reader, task, shown):
    model, processor = loading.load(base)
    assert type(processor) is Idefics3Processor and type(model) is type(random_smol)
    asked = [[ask(task, hand)] for hand in shown]
    assert chats.prompts(processor, asked) == chats.prompts(reader, asked)
    if pictures := pictures_of(asked):
        one, two = (to_pixels(p, pictures) for p in (processor, reader))
        assert torch.equal(encode(model, one), encode(random_smol, two))
    found, _ = evaluate(model, processor, task, shown, max_new_tokens=4)
    assert found["success"].n == 4
    with pytest.raises(ValueError, match="reads pictures of 1 to 1 tiles, not 4"):
        loading.load(base, tiles=4)


def test_compute_counts_the_text_model(random_smol):
    assert not random_smol.config.tie_word_embeddings
    parts = random_smol.model.text_model, random_smol.lm_head
    text = sum(weight.numel() for part in parts for weight in part.parameters())
    assert text_parameters(random_smol) == text_parameters(random_smol, pictures=True) == text
    assert picture_tokens(random_smol) > 0


@pytest.mark.parametrize("method", ["sft", "rl-ppo"])
@pytest.mark.parametrize(("name", "adapter"), [("gp-l", "none"), ("gp-vl", "lora")])
def test_a_whole_run(base, name, adapter, method, tmp_path):
    few = dict(problems=2, samples=2, minibatch=2, tries=2, max_new_tokens=5)
    fields = dict(scale=small_scale(picture=40, sft=dict(batch=2), rl=few))
    fields |= dict(steps=1, hands=4, points=1, eval_episodes=2, final_episodes=2, splits=("id",))
    fields |= dict(curve_episodes=1, pass_samples=2)
    run = Run(method, task=name, base=str(base), adapter=adapter, **fields)
    rows = train(run, tmp_path / "run")
    assert {row.step for row in rows} == {0, 1}
    loading.load(tmp_path / "run" / "model")
