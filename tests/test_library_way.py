"""trl's GRPOTrainer on our episodes: it plays the same game and it learns."""

from dataclasses import replace

import pytest
import torch
from conftest import PictureSevenTask
from trl import GRPOConfig

from sftrl_lite.models import chats
from sftrl_lite.models.chats import ask
from sftrl_lite.models.vision import image_mask, to_pixels
from sftrl_lite.scales import SCALES
from sftrl_lite.tasks.verifier import REWARDS
from sftrl_lite.training.trl_grpo import (
    TILES,
    make_rollout,
    make_trainer,
    train_with_trl,
)

SETTINGS = replace(
    SCALES["tiny"].rl, problems=4, samples=4, minibatch=8, tries=3, max_new_tokens=4, lr=1e-3
)


def test_episodes_are_ours(fresh_model, tokenizer, length_task, hands, tmp_path):
    trainer = make_trainer(fresh_model, tokenizer, length_task, hands, SETTINGS, tmp_path, 0, 1)
    asked = [[{"role": "user", "content": length_task.prompt(h)}] for h in hands * 8]
    torch.manual_seed(0)
    played = make_rollout(length_task, hands, SETTINGS)(asked, trainer)
    tries = set()
    for i, (said, own) in enumerate(zip(played["completion_ids"], played["env_mask"], strict=True)):
        assert len(said) == len(own) and own[0] == own[-1] == 1
        # cut the answers out again and judge them anew
        starts = [0] + [k + 1 for k in range(len(own) - 1) if own[k : k + 2] == [0, 1]]
        points, verdict = 0.0, None
        for start in starts:
            assert verdict is None or not verdict.solved
            end = own.index(0, start) if 0 in own[start:] else len(own)
            answer = chats.answer_text(tokenizer, said[start:end], (tokenizer.eos_token_id,))
            verdict = length_task.verify(hands[i % len(hands)], answer)
            points += verdict.reward
        assert verdict.solved or len(starts) == 3
        fine = 0 if verdict.solved else REWARDS["over_budget"]
        assert played["points"][i] == pytest.approx(points + fine)
        tries.add(len(starts))
    assert tries == {1, 2, 3}


def test_one_number_a_step_and_weights_that_move(
    random_model, fresh_model, tokenizer, length_task, hands, tmp_path
):
    settings = replace(SETTINGS, epochs=2)
    rewards = train_with_trl(fresh_model, tokenizer, length_task, hands, settings, tmp_path, 0, 3)
    assert len(rewards) == 3 and all(-4 <= r <= 5 for r in rewards)
    before, after = random_model.lm_head.weight, fresh_model.lm_head.weight
    assert not torch.equal(before, after)


def test_one_process_takes_one_of_several_gpus(
    fresh_model, tokenizer, length_task, hands, monkeypatch, tmp_path
):
    """Two visible GPUs without a launcher, as on Kaggle: trl refuses to split a batch over them."""
    setup = GRPOConfig.__post_init__

    def two_visible(config):
        setup(config)
        config._n_gpu = 2

    monkeypatch.setattr(GRPOConfig, "__post_init__", two_visible)
    game = fresh_model, tokenizer, length_task, hands
    assert make_trainer(*game, SETTINGS, tmp_path, 0, 1).args.train_batch_size == SETTINGS.minibatch


def test_it_learns(fresh_model, tokenizer, seven_task, hands, tmp_path):
    settings = replace(SETTINGS, samples=32, minibatch=64, tries=1, lr=3e-3)
    rewards = train_with_trl(fresh_model, tokenizer, seven_task, hands, settings, tmp_path, 0, 25)
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 1.0


# --- pictures --------------------------------------------------------------------------


def test_log_probabilities_and_loss_see_the_picture(
    fresh_seeing, processor, picture_task, shown, tmp_path
):
    """Prompts padded on the left, rows cut into parts: the numbers of a plain full pass."""
    trainer = make_trainer(fresh_seeing, processor, picture_task, shown, SETTINGS, tmp_path, 0, 1)
    torch.manual_seed(0)
    rows = [trainer.train_dataset[i % 4] for i in range(16)]
    chats = [[ask(picture_task, hand)] for hand in shown * 4]
    for row, chat in zip(rows, chats, strict=True):  # lossless on its way through the data set
        assert row["image"].tobytes() == chat[0]["content"][0]["image"].tobytes()
    fresh_seeing.train()
    output = trainer._generate_and_score_completions(rows)
    fresh_seeing.eval()
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
    real = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
    assert not real.all()
    pixels = to_pixels(processor, [picture_task.picture(hand) for hand in shown])
    for name in pixels:
        assert torch.equal(output[name], torch.cat([pixels[name]] * 4))
    keep = output["completion_ids"].shape[1]
    trainer.tiles = {name: output[name] for name in TILES}
    with torch.no_grad():
        found, _, _ = trainer._get_per_token_logps_and_entropies(
            fresh_seeing, ids, real, keep, batch_size=5, pixel_values=output["pixel_values"]
        )
        for i in range(16):
            row = ids[i][real[i] == 1][None]
            seen = {name: pixels[name][i % 4 : i % 4 + 1] for name in pixels}
            seen["cross_attention_mask"] = image_mask(row, fresh_seeing)
            logits = fresh_seeing(input_ids=row, **seen).logits[0, :-1].log_softmax(-1)
            said = int(output["completion_mask"][i].sum())
            want = logits[-said:].gather(1, row[0, -said:, None])[:, 0]
            assert torch.allclose(found[i, :said], want, atol=1e-4)
            sampled = output["old_per_token_logps"][i, :said]  # with trl's own arguments
            assert torch.allclose(sampled, want, atol=1e-4)


def test_each_prompt_is_judged_by_its_own_hand(
    fresh_seeing, processor, picture_task, shown, tmp_path
):
    """The first and the last are asked in the same words: only the picture tells them apart."""
    judged = []

    class Noting(type(picture_task)):
        def verify(self, hand, answer):
            judged.append(hand)
            return super().verify(hand, answer)

    task, settings = Noting(), replace(SETTINGS, tries=1)
    trainer = make_trainer(fresh_seeing, processor, task, shown, settings, tmp_path, 0, 1)
    order = [shown[i] for i in (3, 0, 2, 0, 3)]
    played = make_rollout(task, shown, settings)([[ask(task, hand)] for hand in order], trainer)
    assert judged == order
    assert len(played["points"]) == 5 and len(played["aspect_ratio_ids"]) == 5


def test_a_step_on_pictures_trains_the_eyes(
    seeing_model, fresh_seeing, processor, picture_task, shown, tmp_path
):
    settings = replace(SETTINGS, epochs=2)
    rewards = train_with_trl(fresh_seeing, processor, picture_task, shown, settings, tmp_path, 0, 1)
    assert len(rewards) == 1
    before = dict(seeing_model.named_parameters())
    moved = {n for n, p in fresh_seeing.named_parameters() if not torch.equal(p, before[n])}
    for part in ("lm_head.weight", "model.vision_model.patch_embedding.weight"):
        assert part in moved
    assert "model.multi_modal_projector.weight" in moved


def test_it_learns_with_pictures(fresh_seeing, processor, shown, tmp_path):
    settings = replace(SETTINGS, samples=16, minibatch=64, tries=1, lr=5e-3)
    task = PictureSevenTask()
    rewards = train_with_trl(fresh_seeing, processor, task, shown, settings, tmp_path, 0, 15)
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.5
