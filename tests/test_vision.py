"""Pictures in and gradients out: what is encoded once equals what is encoded every time."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import PictureTask, make_seeing
from PIL import Image
from transformers import MllamaProcessor

from sftrl_lite.models.chats import ask, pictures_of
from sftrl_lite.models.tiny import MllamaImageProcessorPil
from sftrl_lite.models.vision import (
    IMAGE,
    encode,
    image_mask,
    to_pixels,
    tokenizer_of,
)
from sftrl_lite.pictures import open_picture
from sftrl_lite.scales import SCALES
from sftrl_lite.training import forward, rl, updates
from sftrl_lite.training.forward import pack, policy
from sftrl_lite.training.rollouts import rollout

SETTINGS = replace(
    SCALES["tiny"].rl, problems=4, samples=4, minibatch=8, tries=3, max_new_tokens=4, lr=1e-3
)


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def two_tiles(processor):
    """A processor and a model for up to two tiles: a square picture leaves the second empty."""
    shape = {"height": 40, "width": 40}
    eyes = MllamaImageProcessorPil(size=shape, max_image_tiles=2)
    template = processor.tokenizer.chat_template
    return (
        MllamaProcessor(eyes, processor.tokenizer, chat_template=template),
        make_seeing(processor, tiles=2),
    )


@pytest.fixture(params=[1, 2], ids=["one tile", "two tiles"])
def seeing(request, processor, seeing_model, two_tiles, picture_task):
    """Processor, model and task, with one tile and with two (some of them empty)."""
    if request.param == 1:
        return processor, seeing_model, picture_task
    return *two_tiles, PictureTask(wide=True)


def play(model, processor, task, hands, seed=0, **options):
    chance = torch.Generator().manual_seed(seed)
    options = {"samples": 8, "tries": 4, "max_new_tokens": 6} | options
    return rollout(model, processor, task, hands, generator=chance, **options)


# --- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_a_picture_of_any_mode_is_opened_as_rgb(picture, tmp_path, mode):
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    if mode == "I;16":
        Image.fromarray(np.full((40, 40), 40_000, dtype=np.uint16)).save(path)
    else:
        picture.convert(mode).save(path)
    opened = open_picture(path)
    assert (opened.mode, opened.size) == ("RGB", (40, 40))
    if mode == "RGB":
        assert opened.tobytes() == picture.tobytes()


def test_what_is_no_picture_is_one_line(picture, tmp_path):
    files = {name: tmp_path / f"{name}.png" for name in ("whole", "cut", "text", "empty", "small")}
    picture.save(files["whole"])
    files["cut"].write_bytes(files["whole"].read_bytes()[:1000])
    files["text"].write_text("a picture of four cards")
    files["empty"].write_bytes(b"")
    picture.resize((8, 8)).save(files["small"])
    for name, message in [
        ("cut", "is no picture or is broken"),
        ("text", "is no picture or is broken"),
        ("empty", "is no picture or is broken"),
        ("small", "is 8 x 8; 16 x 16 is the least"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            open_picture(files[name])
        assert str(files[name]) in str(caught.value) and "\n" not in str(caught.value)
    for gone in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(FileNotFoundError, match="no picture here"):
            open_picture(gone)


# --- from pictures to tensors ----------------------------------------------------------


def test_pixels_have_one_row_a_picture(processor, picture):
    darker = picture.point(lambda value: value // 2)
    pixels = to_pixels(processor, [picture, darker, picture.resize((400, 400))])
    assert pixels["pixel_values"].shape == (3, 1, 1, 3, 40, 40)
    assert pixels["aspect_ratio_mask"].tolist() == [[[1]]] * 3
    alone = to_pixels(processor, [darker])
    assert all(torch.equal(pixels[name][1:2], alone[name]) for name in pixels)


def test_a_model_of_text_and_what_is_no_picture_are_refused(processor, tokenizer, picture):
    with pytest.raises(ValueError, match="reads text only"):
        to_pixels(tokenizer, [picture])
    for wrong, name in [(picture.convert("L"), "L"), (picture.convert("RGBA"), "RGBA")]:
        with pytest.raises(ValueError, match=f"mode RGB, not {name}$"):
            to_pixels(processor, [picture, wrong])
    for wrong, name in [("picture.png", "str"), (np.zeros((40, 40, 3)), "ndarray")]:
        with pytest.raises(ValueError, match=f"mode RGB, not {name}$"):
            to_pixels(processor, [wrong])


def test_a_text_model_refuses_a_task_in_pictures(fresh_model, tokenizer, picture_task, shown):
    with pytest.raises(ValueError, match="reads text only"):
        play(fresh_model, tokenizer, picture_task, shown)


def test_ask_shows_the_picture_before_the_question(picture_task, length_task, shown, processor):
    plain, pictured = ask(length_task, shown[0]), ask(picture_task, shown[0])
    assert plain == {"role": "user", "content": length_task.prompt(shown[0])}
    first, second = pictured["content"]
    assert first["image"].tobytes() == picture_task.picture(shown[0]).tobytes()
    assert second == {"type": "text", "text": plain["content"]}
    text = processor.tokenizer.apply_chat_template([pictured], tokenize=False)
    assert text.count(IMAGE) == 1
    assert text.split(IMAGE)[1].startswith(plain["content"])


def test_pictures_of_all_chats_or_of_none(picture_task, length_task, shown):
    plain = [[ask(length_task, hand)] for hand in shown]
    pictured = [[ask(picture_task, hand)] for hand in shown]
    assert pictures_of(plain) == []
    assert [p.tobytes() for p in pictures_of(pictured)] == [
        picture_task.picture(hand).tobytes() for hand in shown
    ]
    with pytest.raises(ValueError, match="some of these problems have a picture and some"):
        pictures_of([*plain, *pictured])


def test_processor_or_tokenizer(processor, tokenizer):
    assert tokenizer_of(processor) is processor.tokenizer
    assert tokenizer_of(tokenizer) is tokenizer


# --- the model's own way ---------------------------------------------------------------


def stock_inputs(processor, task, hands):
    """What Mllama's processor makes of these questions."""
    chats = [[ask(task, hand)] for hand in hands]
    texts = [
        processor.tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True)
        for c in chats
    ]
    images = [[picture] for picture in pictures_of(chats)]
    made = processor(images=images, text=texts, padding=True, return_tensors="pt")
    made["input_ids"] = made["input_ids"].clone()
    return made


def test_the_mask_is_the_one_of_the_stock_processor(seeing, shown):
    processor, model, task = seeing
    want = stock_inputs(processor, task, shown)
    tiles = want["aspect_ratio_mask"]
    real = want["attention_mask"].bool()
    mask = image_mask(want["input_ids"], model, tiles)
    assert torch.equal(mask[real], want["cross_attention_mask"][real])
    assert mask.shape == (*want["input_ids"].shape, 1, tiles.shape[-1])
    assert not mask[:, 0].any() and mask[:, -1].any()
    if tiles.shape[-1] == 1:
        assert torch.equal(mask, image_mask(want["input_ids"], model))
    else:
        assert set(tiles.sum((1, 2)).tolist()) == {1, 2}


def test_shared_states_give_the_stock_logits(seeing, shown):
    processor, model, task = seeing
    inputs = stock_inputs(processor, task, shown)
    names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
    twice = torch.tensor([0, 1, 0, 2, 3, 1])  # rows that share pictures
    with torch.no_grad():
        states = encode(model, {name: inputs[name] for name in names})
        text = {
            "input_ids": inputs["input_ids"][twice],
            "attention_mask": inputs["attention_mask"][twice],
            "cross_attention_mask": inputs["cross_attention_mask"][twice],
        }
        stock = model(**text, **{name: inputs[name][twice] for name in names}).logits
        ours = model(**text, cross_attention_states=states[twice]).logits
    patches = model.model.vision_model.num_patches
    tiles = inputs["aspect_ratio_mask"].shape[-1]
    assert states.shape == (4, patches * tiles, 32) and patches == 5
    real = inputs["attention_mask"][twice].bool()
    assert torch.allclose(ours[real], stock[real], atol=1e-5)


def test_text_without_the_image_token_sees_no_tile(processor, seeing_model):
    plain = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": "7 8"}], return_dict=False
    )
    assert not image_mask(torch.tensor([plain, plain]), seeing_model).any()


def test_all_text_after_the_picture_sees_it(processor, seeing_model, picture_task, shown):
    """What stands before is beside the point: stock Mllama gives it the mean of the states."""
    inputs = stock_inputs(processor, picture_task, [shown[0], shown[3]])
    assert torch.equal(inputs["input_ids"][0], inputs["input_ids"][1])
    with torch.no_grad():
        one, two = seeing_model(**inputs).logits
    at = inputs["input_ids"][0].tolist().index(seeing_model.config.image_token_index)
    assert (one[at:] - two[at:]).abs().amax(-1).min() > 1e-3


# --- rollouts --------------------------------------------------------------------------


def test_cached_log_probabilities_are_those_of_a_full_pass(seeing, shown):
    processor, model, task = seeing
    pad = processor.tokenizer.pad_token_id
    episodes = play(model, processor, task, shown)
    # what the check is about: uneven prompts, rows that left early, late turns
    assert len({e.turns[0].start for e in episodes}) > 1
    assert {len(e.turns) for e in episodes} == {1, 2, 3, 4}
    batch = pack(episodes, pad)
    with torch.no_grad():
        logps = policy(model, batch)[0]
    assert (logps - batch.old_logps).abs().max() < 1e-4
    for episode in episodes[::5]:  # and alone, with its pixels, the stock way
        ids = torch.tensor([episode.ids])
        seen = {"cross_attention_mask": image_mask(ids, model, episode.pixels["aspect_ratio_mask"])}
        with torch.no_grad():
            logits = model(input_ids=ids, **episode.pixels, **seen).logits[0]
        for turn in episode.turns:
            rows = logits[turn.start - 1 : turn.end - 1].log_softmax(-1)
            chosen = rows.gather(1, ids[0, turn.start : turn.end, None])[:, 0]
            assert torch.allclose(chosen, torch.tensor(turn.logps), atol=1e-4)


def test_an_empty_tile_is_not_seen(two_tiles, shown):
    processor, model = two_tiles
    task = PictureTask(wide=True)
    pixels = to_pixels(processor, [task.picture(hand) for hand in shown])
    tiles = pixels["aspect_ratio_mask"]
    assert tiles[:, 0, 1].tolist() == [0, 1, 0, 0]
    ids = torch.tensor([[model.config.image_token_index, 10, 11, 12]] * 4)
    with torch.no_grad():
        views = encode(model, pixels)
        mask = image_mask(ids, model, tiles)
        before, after = (
            model(input_ids=ids, cross_attention_states=v, cross_attention_mask=mask).logits
            for v in (views, torch.cat([views[:, :5], torch.randn(4, 5, 32)], 1))
        )
    changed = (before - after).abs().amax((1, 2)) > 1e-5
    assert changed.tolist() == [False, True, False, False]


def test_greedy_answers_depend_on_the_picture(processor, seeing_model, picture_task, shown):
    same_words = [shown[0], shown[3]]
    one, two = play(
        seeing_model, processor, picture_task, same_words, samples=1, tries=1, temperature=0
    )
    assert one.ids[: one.turns[0].start] == two.ids[: two.turns[0].start]
    assert one.turns[0].logps != two.turns[0].logps


def test_a_batch_plays_as_its_rows_would_alone(seeing, shown):
    processor, model, task = seeing
    options = dict(samples=1, temperature=0)
    together = play(model, processor, task, shown, **options)
    alone = [play(model, processor, task, [hand], **options)[0] for hand in shown]
    assert [e.ids for e in together] == [e.ids for e in alone]


def test_samples_of_a_problem_share_its_picture(processor, seeing_model, picture_task, shown):
    episodes = play(seeing_model, processor, picture_task, shown, samples=3)
    batch = pack(episodes, 0)
    assert batch.pixels["pixel_values"].shape[0] == 4
    assert batch.picture.tolist() == [i for i in range(4) for _ in range(3)]
    want = to_pixels(processor, [picture_task.picture(hand) for hand in shown])
    assert torch.equal(batch.pixels["pixel_values"], want["pixel_values"])
    part = batch.rows(torch.tensor([11, 2]))
    assert part.picture.tolist() == [3, 0]


# --- gradients -------------------------------------------------------------------------


class Notes:
    """In the place of an optimizer: keeps each gradient and moves nothing."""

    def __init__(self, model):
        self.model, self.gradients = model, []

    def step(self):
        self.gradients.append({n: p.grad.clone() for n, p in self.model.named_parameters()})

    def zero_grad(self, set_to_none):
        self.model.zero_grad()


@pytest.mark.parametrize("minibatch", [8, 3])  # of 3 episodes, which never show all 4 pictures
@pytest.mark.parametrize("method", ["rl-ppo", "rl-grpo"])
def test_the_shared_picture_gets_the_gradient_of_many(
    method, minibatch, fresh_seeing, processor, picture_task, shown, monkeypatch
):
    """``rl_step`` encodes once and adds up; here each episode has a picture of its own."""
    settings = replace(SETTINGS, method=method, minibatch=minibatch, max_grad_norm=1e9)
    learner = updates.new_learner(fresh_seeing, settings, 0)
    learner.optimizer = Notes(fresh_seeing)
    monkeypatch.setattr(forward, "PART", 3)
    packed, minibatches, real_pack, real_parts = [], [], forward.pack, forward.parts

    def noted_pack(episodes, *rest):
        packed.append(episodes)
        return real_pack(episodes, *rest)

    def noted_parts(batch, rows):
        minibatches.append(rows)
        return real_parts(batch, rows)

    monkeypatch.setattr(rl, "pack", noted_pack)
    monkeypatch.setattr(rl, "parts", noted_parts)
    encoded, times = [], -(-16 // minibatch)
    for module in forward, updates:
        monkeypatch.setattr(
            module, "encode", lambda m, p: encoded.append(len(p["pixel_values"])) or encode(m, p)
        )
    rl.rl_step(learner, processor, picture_task, shown, settings, seed=5)
    (episodes,), minibatches = (
        packed,
        minibatches[-times:],
    )  # PPO also asks for parts to get values
    assert max(encoded[-times:]) <= minibatch
    for episode in episodes:
        episode.pixels = dict(episode.pixels)
    batch = real_pack(episodes, 0)
    assert len(batch.pixels["pixel_values"]) == 16 and len(learner.optimizer.gradients) == times
    if method == "rl-ppo":
        with torch.no_grad():
            values = policy(fresh_seeing, batch, learner.value_head)[2]
        values = values * batch.played
        batch.values = values
    batch = rl.with_advantages(batch, settings)
    head = learner.critic(settings)
    for rows, gradient in zip(minibatches, learner.optimizer.gradients, strict=True):
        part = batch.rows(rows)
        logps, _, values = policy(fresh_seeing, part, head)
        rl.METHODS[method](part, logps, values, settings)[0].backward()
        for name, weight in fresh_seeing.named_parameters():
            largest = gradient[name].abs().max()
            # a gate is one number, a sum of thousands that nearly cancel: processors differ
            near = 1e-3 * largest + 1e-6
            assert torch.allclose(gradient[name], weight.grad, atol=near), name
            if batch.advantages[rows].any() and (
                name.endswith("proj.weight") or "patch_embedding" in name
            ):
                assert largest > 0, name
        fresh_seeing.zero_grad()


@pytest.mark.parametrize("method", ["rl-ppo", "rl-grpo"])
def test_a_step_of_rl_trains_the_eyes(
    method, fresh_seeing, seeing_model, processor, picture_task, shown
):
    settings = replace(SETTINGS, method=method)
    learner = updates.new_learner(fresh_seeing, settings, 0)
    stats = rl.rl_step(learner, processor, picture_task, shown, settings, seed=5)
    before = dict(seeing_model.named_parameters())
    moved = {n for n, p in fresh_seeing.named_parameters() if not torch.equal(p, before[n])}
    for eye in ("vision_model.patch_embedding.weight", "multi_modal_projector.weight"):
        assert f"model.{eye}" in moved
    assert stats["generated"] > stats["answers"]


def test_a_step_of_rl_replays(seeing_model, processor, picture_task, shown):
    found = []
    for _ in range(2):
        learner = updates.new_learner(copy.deepcopy(seeing_model), SETTINGS, 0)
        random.seed()  # hidden state must not matter
        found.append(rl.rl_step(learner, processor, picture_task, shown, SETTINGS, seed=6))
    assert found[0] == found[1]
