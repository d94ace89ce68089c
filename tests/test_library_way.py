"""trl's GRPOTrainer on our episodes: it plays the same game and it learns."""

from dataclasses import replace

import pytest
import torch

from sftrl_lite.library_way import make_rollout, make_trainer, train_with_trl
from sftrl_lite.scales import SCALES
from sftrl_lite.verifier import REWARDS

SETTINGS = replace(
    SCALES["tiny"].rl, problems=4, samples=4, minibatch=8, tries=3, max_new_tokens=4, lr=1e-3
)


def test_episodes_are_ours(fresh_model, tokenizer, length_task, hands, tmp_path):
    trainer = make_trainer(fresh_model, tokenizer, length_task, hands, SETTINGS, tmp_path, 0, 1)
    chats = [[{"role": "user", "content": length_task.prompt(h)}] for h in hands * 8]
    torch.manual_seed(0)
    played = make_rollout(length_task, hands, SETTINGS)(chats, trainer)
    tries = set()
    for i, (said, own) in enumerate(zip(played["completion_ids"], played["env_mask"], strict=True)):
        assert len(said) == len(own) and own[0] == own[-1] == 1
        # cut the answers out again and judge them anew
        starts = [0] + [k + 1 for k in range(len(own) - 1) if own[k : k + 2] == [0, 1]]
        points, verdict = 0.0, None
        for start in starts:
            assert verdict is None or not verdict.solved
            end = own.index(0, start) if 0 in own[start:] else len(own)
            answer = tokenizer.decode(said[start:end], skip_special_tokens=True)
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


def test_it_learns(fresh_model, tokenizer, seven_task, hands, tmp_path):
    settings = replace(SETTINGS, samples=32, minibatch=64, tries=1, lr=3e-3)
    rewards = train_with_trl(fresh_model, tokenizer, seven_task, hands, settings, tmp_path, 0, 25)
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 1.0
