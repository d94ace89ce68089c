"""The mathematics of PPO and GRPO by hand, and a training step as a whole."""

import ast
import copy
import inspect
import math
import random
import re
from dataclasses import replace

import pytest
import torch
from conftest import SevenTask, make_episode

from sftrl_lite import seeds
from sftrl_lite.files import ROOT
from sftrl_lite.models import precision
from sftrl_lite.scales import SCALES
from sftrl_lite.training import forward, losses, rl, rollouts, updates
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.sampling import sample_tokens

SETTINGS = replace(
    SCALES["tiny"].rl, problems=4, samples=4, minibatch=8, tries=3, max_new_tokens=4, lr=1e-3
)
METHODS = ["rl-ppo", "rl-grpo"]


# --- advantages ------------------------------------------------------------------------


def test_gae_by_hand():
    # delta = -1 + .5*2 - 1, -1 + .5*4 - 2, 5 - 4 = -1, -1, 1; gamma * lam = 1/4
    advantages, targets = losses.gae([-1, -1, 5], [1, 2, 4], gamma=0.5, lam=0.5)
    assert advantages == [-1 - 0.75 / 4, -1 + 1 / 4, 1]
    assert targets == [-0.1875, 1.25, 5]


def test_gae_between_its_two_ends():
    rewards, values, gamma = [-1.0, -2.0, 5.0], [0.3, -0.7, 2.0], 0.9
    monte_carlo, _ = losses.gae(rewards, values, gamma, lam=1)
    returns = losses.rewards_to_go(rewards, gamma)
    assert monte_carlo == pytest.approx([r - v for r, v in zip(returns, values, strict=True)])
    one_step, _ = losses.gae(rewards, values, gamma, lam=0)
    ahead = [*values[1:], 0.0]
    assert one_step == pytest.approx(
        [r + gamma * n - v for r, n, v in zip(rewards, ahead, values, strict=True)]
    )


def test_rewards_to_go_by_hand():
    assert losses.rewards_to_go([-1, -1, 4], gamma=0.5) == [-0.5, 1.0, 4.0]
    assert losses.rewards_to_go([], gamma=0.5) == []


def test_group_advantages_leave_unplayed_turns_out():
    returns = torch.tensor([[1.0, 4], [3, 99], [5, 8], [2, 6], [2, 9], [2, 0]])
    played = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1], [1, 0], [1, 0]], dtype=torch.bool)
    found = losses.group_advantages(returns, played, group=3)
    # turn 2 of group 1 has the mean of 4 and 8; of group 2 a single sample
    assert found.tolist() == [[-2, -2], [0, 0], [2, 2], [0, 0], [0, 0], [0, 0]]
    scaled = losses.group_advantages(returns, played, group=3, scale=True)
    deviation = (8 / 3) ** 0.5
    assert scaled[:3, 0].tolist() == pytest.approx([-2 / deviation, 0, 2 / deviation], rel=1e-3)
    assert torch.equal(scaled[3:], torch.zeros(3, 2))


def test_a_group_without_variance_or_company_has_no_advantage():
    same = torch.tensor([[0.1], [0.1], [0.1]])
    played = torch.ones(3, 1, dtype=torch.bool)
    for scale in (False, True):
        assert not losses.group_advantages(same, played, 3, scale).any()
        assert not losses.group_advantages(torch.randn(3, 1), played, 1, scale).any()


# --- the objective ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.1, 2.0, 2.2, 2.2),
        (1.5, 2.0, 2.4, 0.0),  # gone up far enough
        (0.5, 2.0, 1.0, 1.0),  # fell although it should rise: full force
        (1.0, -2.0, -2.0, -2.0),
        (0.9, -2.0, -1.8, -1.8),
        (0.5, -2.0, -1.6, 0.0),  # gone down far enough
        (1.5, -2.0, -3.0, -3.0),  # rose although it should fall: full force
    ],
)
def test_clipped_objective(ratio, advantage, value, slope):
    old = torch.tensor(-1.0, dtype=torch.float64)
    logp = (old + torch.tensor(ratio, dtype=torch.float64).log()).requires_grad_()
    gain = losses.clipped_objective(logp, old, torch.tensor(advantage), clip=0.2)
    gain.backward()
    assert gain.item() == pytest.approx(value)
    assert logp.grad.item() == pytest.approx(slope)  # d ratio / d logp = ratio


def test_kl_estimates_against_the_exact_divergence():
    pi = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    far = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    near = torch.tensor([0.51, 0.29, 0.2], dtype=torch.float64)
    for ref in (far, near):
        exact = (pi * (pi / ref).log()).sum().item()
        found = losses.kl_estimates(pi.log(), ref.log())
        assert (pi * found["k1"]).sum().item() == pytest.approx(exact)
        assert (pi * found["k3"]).sum().item() == pytest.approx(exact)
        assert (found["k3"] >= 0).all() and (found["k2"] >= 0).all()
    assert (pi * found["k2"]).sum().item() == pytest.approx(exact, rel=0.02)
    assert (losses.kl_estimates(pi.log(), pi.log())["k3"] == 0).all()


# --- tensors ---------------------------------------------------------------------------


def test_pack_lays_episodes_out():
    batch = forward.pack([make_episode([1.0]), make_episode([-1.0, 5.0])], pad=0)
    assert batch.ids.tolist() == [
        [10, 11, 12, 30, 30, 0, 0, 0, 0],
        [10, 11, 12, 30, 30, 40, 41, 31, 31],
    ]
    assert batch.turn.tolist() == [
        [-1, -1, -1, 0, 0, -1, -1, -1, -1],
        [-1, -1, -1, 0, 0, -1, -1, 1, 1],
    ]
    assert batch.old_logps[1].tolist() == [0, 0, 0, -0.5, -0.5, 0, 0, -1.5, -1.5]
    assert batch.ask[0, 0] == 2 and batch.ask[1].tolist() == [2, 6]
    assert batch.rewards.tolist() == [[1, 0], [-1, 5]]
    assert batch.played.tolist() == [[True, False], [True, True]]
    assert forward.per_turn(batch, batch.old_logps).tolist() == [[-1, 0], [-1, -3]]
    # tokens outside the answers count for nothing
    assert forward.per_turn(batch, torch.ones(2, 9)).tolist() == [[2, 0], [2, 2]]


def test_rows_keep_everything_that_matters(fresh_model):
    episodes = [make_episode([1.0] * n, prompt_len=n + 1) for n in (3, 1, 2)]
    batch = forward.pack(episodes, pad=0)
    part = batch.rows(torch.tensor([2, 1]))
    want = forward.pack([episodes[2], episodes[1]], pad=0)
    for name in ("ids", "turn", "ask", "old_logps", "rewards", "played", "answers"):
        assert torch.equal(getattr(part, name), getattr(want, name)), name
    whole, alone = (forward.policy(fresh_model, b)[0] for b in (batch, part))
    assert torch.allclose(whole[[2, 1], : alone.shape[1]], alone, atol=1e-5)


def test_policy_entropy_and_values(fresh_model):
    torch.manual_seed(0)
    batch = forward.pack([make_episode([1.0]), make_episode([-1.0, 5.0])], pad=0)
    head = forward.ValueHead(32)
    logps, entropy, values = forward.policy(fresh_model, batch, head)
    out = fresh_model(input_ids=batch.ids[1:], output_hidden_states=True)
    want = out.logits[0].log_softmax(-1)
    assert logps[1, 7].item() == pytest.approx(want[6, 31].item(), abs=1e-5)
    spread = -(want[6].exp() * want[6]).sum()
    assert entropy[1, 7].item() == pytest.approx(spread.item(), abs=1e-5)
    assert not logps[batch.turn < 0].any() and not entropy[batch.turn < 0].any()
    state = fresh_model.model(input_ids=batch.ids[1:]).last_hidden_state[0, 6]
    assert values[1, 1].item() == pytest.approx(head(state).item(), abs=1e-5)


def test_ppo_targets_ignore_turns_that_were_not_played():
    batch = forward.pack(
        [make_episode([1.0]), make_episode([-1.0, 5.0]), make_episode([2.0])], pad=0
    )
    values = torch.tensor([[0.5, 77.0], [1.0, 2.0], [0.0, -33.0]])
    advantages, targets = rl.ppo_targets(batch, values, gamma=1.0, lam=1.0)
    assert targets.tolist() == [[1, 0], [4, 5], [2, 0]]
    assert advantages[~batch.played].tolist() == [0, 0]
    real = advantages[batch.played]
    assert real.mean().item() == pytest.approx(0, abs=1e-6)
    assert real.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    raw = torch.tensor([0.5, 3.0, 3.0, 2.0])  # return minus value
    assert torch.allclose(real, (raw - raw.mean()) / raw.std(correction=0), atol=1e-4)


def test_ppo_targets_of_a_single_turn_are_numbers():
    batch = forward.pack([make_episode([1.0])], pad=0)
    advantages, targets = rl.ppo_targets(batch, torch.zeros(1, 1), 0.9, 0.95)
    assert advantages.tolist() == [[0]] and targets.tolist() == [[1]]


# --- gradients -------------------------------------------------------------------------


def loss_of(method, model, batch, head=None, temperature=1.0, value_coef=0.5):
    """The loss of a batch that has its advantages."""
    head = head if method == "rl-ppo" else None
    logps, _, values = forward.policy(model, batch, head, temperature=temperature)
    return rl.METHODS[method](
        batch, logps, values, replace(SCALES["tiny"].rl, clip=0.2, value_coef=value_coef)
    )[0]


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.05, 1.5])
def test_losses_pass_gradcheck(ratio):
    """Inside the clip, at its middle and on both sides outside; turns that were not played."""
    made = torch.Generator().manual_seed(0)
    old, gains, targets = (torch.randn(3, 2, generator=made, dtype=torch.double) for _ in range(3))
    played = torch.tensor([[True, True], [True, False], [True, True]])
    new = (old + math.log(ratio)).requires_grad_()
    values = torch.zeros_like(old).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda n, v: losses.ppo_loss(n, old, v, gains, targets, played, 0.1, 0.5), (new, values)
    )
    assert torch.autograd.gradcheck(lambda n: losses.grpo_loss(n, old, gains, played, 0.1), new)


@pytest.mark.parametrize("method", METHODS)
def test_loss_gradient_against_finite_differences(method, fresh_model, monkeypatch):
    # float() stands in the code for "at least float32": here it means float64
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.manual_seed(0)
    model, head = fresh_model.double(), forward.ValueHead(32).double()
    batch = forward.pack([make_episode([1.0]), make_episode([-1.0, 5.0])], pad=0)
    batch.rewards = batch.rewards.double()
    with torch.no_grad():
        batch.old_logps = forward.policy(model, batch)[0]  # on-policy: every ratio is 1
    advantages = torch.tensor([[0.7, 0.0], [-1.3, 0.4]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0], [-2.0, 5.0]], dtype=torch.float64)

    batch.advantages, batch.targets = advantages, targets

    def loss():
        return loss_of(method, model, batch, head)

    loss().backward()
    weights = [model.lm_head.weight, model.model.language_model.layers[0].mlp.up_proj.weight]
    if method == "rl-ppo":
        weights.append(head.layers[0].weight)
    for weight in weights:
        for at in weight.grad.abs().flatten().topk(3).indices.tolist():
            kept, step, around = weight.data.view(-1)[at].item(), 1e-4, []
            with torch.no_grad():
                for side in (kept + step, kept - step):
                    weight.view(-1)[at] = side
                    around.append(loss().item())
                weight.view(-1)[at] = kept
            slope = (around[0] - around[1]) / (2 * step)
            assert slope == pytest.approx(weight.grad.view(-1)[at].item(), rel=5e-3)


def test_losses_on_policy_by_hand(fresh_model):
    batch = forward.pack([make_episode([1.0], answer_len=1), make_episode([-1.0, 5.0])], pad=0)
    with torch.no_grad():
        batch.old_logps = forward.policy(fresh_model, batch)[0]
    advantages = torch.tensor([[3.0, 9.0], [-1.0, 2.0]])
    # one token, two and two: a token counts once however long its answer is
    batch.advantages = advantages
    grpo = loss_of("rl-grpo", fresh_model, batch)
    assert grpo.item() == pytest.approx(-(3 - 1 - 1 + 2 + 2) / 5, abs=1e-5)
    head = forward.ValueHead(32)
    batch.targets = forward.policy(fresh_model, batch, head)[2].detach() + 2
    ppo = loss_of("rl-ppo", fresh_model, batch, head)
    assert ppo.item() == pytest.approx(0.5 * 4 - (3 - 1 + 2) / 3, abs=1e-5)


# --- one policy: that of the temperature -----------------------------------------------


def every_answer(model, temperature):
    """One episode for each token that can be answered to one prompt, and their probabilities."""
    words = model.lm_head.weight.shape[0]
    episodes = [make_episode([1.0], answer_len=1) for _ in range(words)]
    for token, episode in enumerate(episodes):
        episode.ids[-1] = token
    batch = forward.pack(episodes, pad=0)
    with torch.no_grad():
        batch.old_logps = forward.policy(model, batch, temperature=temperature)[0]
    return batch, batch.old_logps.sum(1).exp()


def expected_gradient(model, batch, shares, method, temperature):
    """The gradient of the method's loss if each answer comes as often as its share; on-policy.

    The mean over a batch weighs its episodes alike, so that a share times their number stands
    in the place of a constant advantage of 1.
    """
    with torch.no_grad():
        batch.old_logps = forward.policy(model, batch, temperature=temperature)[0]
    batch.advantages = batch.targets = (shares * len(shares))[:, None]
    model.zero_grad()
    loss_of(method, model, batch, forward.ValueHead(32), temperature, value_coef=0.0).backward()
    return model.lm_head.weight.grad.norm().item()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("temperature", "wrong"), [(0.2, 1.0), (1.0, 0.2)])
def test_a_constant_advantage_moves_nothing(method, temperature, wrong, fresh_model):
    """sum_a pi(a) grad log pi(a) = 0, over all answers; and not with the policy of another T."""
    batch, shares = every_answer(fresh_model, temperature)
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert shares.max() < 0.9  # there is a choice
    right = expected_gradient(fresh_model, batch, shares, method, temperature)
    other = expected_gradient(fresh_model, batch, shares, method, wrong)
    assert right < 1e-4 < 0.1 < other
    # the same from what is really sampled
    logits = fresh_model(input_ids=batch.ids[:1]).logits[0, 2].detach()
    chance, n = torch.Generator().manual_seed(0), 200_000
    tokens, logps = sample_tokens(logits.repeat(n, 1), temperature, chance)
    assert torch.allclose(logps.exp(), shares[tokens], atol=1e-4)
    drawn = torch.bincount(tokens, minlength=len(shares)) / n
    noise = expected_gradient(fresh_model, batch, drawn, method, temperature)
    biased = expected_gradient(fresh_model, batch, drawn, method, wrong)
    assert noise < 0.1 * biased and biased == pytest.approx(other, rel=0.1)


def test_entropy_is_that_of_the_sampled_policy(fresh_model):
    batch, shares = every_answer(fresh_model, 0.2)
    spread = forward.policy(fresh_model, batch, temperature=0.2)[1][0].sum().item()
    assert spread == pytest.approx(-(shares * shares.log()).sum().item(), rel=1e-4)
    assert spread < 0.7 * forward.policy(fresh_model, batch)[1][0].sum().item()


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_both_methods_sample_and_learn_at_one_temperature(
    method, temperature, pictures, request, tokenizer, hands, monkeypatch
):
    """Every answer's ratio is 1 in the first pass: the policy that is trained is the one played."""
    named = ("fresh_seeing", "processor", "picture_task", "shown")
    model, reader, task, problems = (
        map(request.getfixturevalue, named)
        if pictures
        else (request.getfixturevalue("fresh_model"), tokenizer, SevenTask(), hands)
    )
    asked, learnt, real_policy, real_rollout = [], [], forward.policy, rollouts.rollout

    def policy(*args, **kwargs):
        given = inspect.signature(real_policy).bind(*args, **kwargs).arguments
        found = real_policy(*args, **kwargs)
        if torch.is_grad_enabled():
            learnt.append((given["temperature"], found[0].detach(), given["batch"].old_logps))
        return found

    def play(*args, **kwargs):
        asked.append(kwargs["temperature"])
        return real_rollout(*args, **kwargs)

    monkeypatch.setattr(rl, "policy", policy)
    monkeypatch.setattr(rl, "rollout", play)
    settings = replace(SETTINGS, method=method, temperature=temperature, minibatch=16)
    rl.rl_step(updates.new_learner(model, settings, 0), reader, task, problems, settings, 0)
    assert asked == [temperature] and {one[0] for one in learnt} == {temperature}
    for _, now, before in learnt:
        assert (now - before).abs().max() < 1e-4


# --- a whole step ----------------------------------------------------------------------


def train(model, tokenizer, task, hands, settings, steps, seed=0, resume_at=None):
    learner = updates.new_learner(copy.deepcopy(model), settings, seed)
    figures = []
    for step in range(steps):
        if step == resume_at:  # a new process: nothing but the saved state survives
            saved = copy.deepcopy(
                (learner.model, learner.value_head, learner.optimizer.state_dict(), learner.step)
            )
            random.seed(99)
            torch.manual_seed(99)
            learner = updates.new_learner(saved[0], settings, seed=98)
            learner.value_head.load_state_dict(saved[1].state_dict())
            learner.optimizer.load_state_dict(saved[2])
            learner.step = saved[3]
        figures.append(rl.rl_step(learner, tokenizer, task, hands, settings, seed))
    return learner, figures


def same(one, two):
    parts = zip(
        [*one.model.parameters(), *one.value_head.parameters()],
        [*two.model.parameters(), *two.value_head.parameters()],
        strict=True,
    )
    return all(torch.equal(a, b) for a, b in parts)


def test_rates_fall_along_a_cosine(random_model):
    """By hand: all of it at first, half in the middle, none at the end and later."""
    settings = replace(SETTINGS, lr=1e-3, value_lr=1e-2, cosine=4)
    learner, found = updates.new_learner(random_model, settings, 0), []
    for learner.step in range(6):
        learner.set_rates(settings)
        found.append([group["lr"] for group in learner.optimizer.param_groups])
    halves = math.sqrt(0.5) / 2
    shares = [1.0, 0.5 + halves, 0.5, 0.5 - halves, 0.0, 0.0]
    assert found == [[pytest.approx(s * 1e-3), pytest.approx(s * 1e-2)] for s in shares]


def test_a_step_is_taken_at_the_rates_of_the_cosine(random_model, tokenizer, length_task, hands):
    """Once they are zero, nothing moves."""
    settings = replace(SETTINGS, problems=3, samples=4, minibatch=6, cosine=2)
    args = (random_model, tokenizer, length_task, hands, settings)
    two, three = train(*args, 2)[0], train(*args, 3)[0]
    assert same(two, three)
    assert not same(train(*args, 1)[0], two)
    steady = replace(settings, cosine=0)
    assert not same(two, train(random_model, tokenizer, length_task, hands, steady, 2)[0])


@pytest.mark.parametrize(("method", "cosine"), [("rl-ppo", 0), ("rl-grpo", 0), ("rl-ppo", 4)])
def test_a_seed_replays_training_also_after_a_resume(
    method, cosine, random_model, tokenizer, length_task, hands
):
    sizes = dict(problems=3, samples=4, minibatch=6, epochs=2)
    settings = replace(SETTINGS, method=method, cosine=cosine, **sizes)
    args = (random_model, tokenizer, length_task, hands, settings, 3)
    whole, figures = train(*args)
    again, _ = train(*args)
    resumed, later = train(*args, resume_at=2)
    other, _ = train(*args, seed=1)
    assert same(whole, again)
    assert same(whole, resumed) and figures == later
    assert not same(whole, other)
    assert whole.step == 3


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_a_minibatch_add_up(
    method, random_model, tokenizer, length_task, hands, monkeypatch
):
    weights = []
    for size in (1000, 3):
        monkeypatch.setattr(forward, "PART", size)
        settings = replace(SETTINGS, method=method, minibatch=16)
        learner = updates.new_learner(copy.deepcopy(random_model), settings, 0)
        # plain gradient descent: Adam would blow rounding errors up
        learner.optimizer = torch.optim.SGD(
            [*learner.model.parameters(), *learner.value_head.parameters()], lr=0.1
        )
        rl.rl_step(learner, tokenizer, length_task, hands, settings, 0)
        weights.append([*learner.model.parameters(), *learner.value_head.parameters()])
        assert not torch.allclose(learner.model.lm_head.weight, random_model.lm_head.weight)
    for one, two in zip(*weights, strict=True):
        assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("method", ["rl-ppo", "rl-grpo"])
def test_the_first_ratio_is_one_in_16_bits(
    method, random_model, tokenizer, length_task, hands, monkeypatch
):
    """S10: old log-probabilities of the decoder differ from the update's by rounding."""
    monkeypatch.setenv(precision.PRETEND, "bf16")
    model, found = copy.deepcopy(random_model), []
    clipped, pack = losses.clipped_objective, forward.pack

    def packed(*args):
        batch = pack(*args)
        found.append(batch.old_logps.clone())
        return batch

    def noted(logp, old_logp, *rest):
        found.append((logp - old_logp).detach())
        return clipped(logp, old_logp, *rest)

    monkeypatch.setattr(rl, "pack", packed)
    monkeypatch.setattr(losses, "clipped_objective", noted)
    small = dict(method=method, problems=3, samples=4, minibatch=12, epochs=1, max_new_tokens=6)
    settings = replace(SETTINGS, **small)
    rl.rl_step(updates.new_learner(model, settings, 0), tokenizer, length_task, hands, settings, 0)
    sampled, *ratios = found
    assert len(ratios) == 1 and ratios[0].abs().max() == 0
    with torch.no_grad():
        chance = torch.Generator().manual_seed(0)
        options = dict(samples=4, max_new_tokens=6, generator=chance)
        batch = pack(rollout(random_model, tokenizer, length_task, hands, **options), 0)
        apart = (forward.policy(random_model, batch)[0] - batch.old_logps).abs().max()
    assert apart > 1e-3 and sampled.abs().sum() > 0


def test_logits_in_pieces_are_the_logits(fresh_model, monkeypatch):
    """Log-probabilities, entropies and gradients, whatever fits into one piece."""
    batch, found = forward.pack([make_episode([1.0] * n) for n in (3, 1, 2)], pad=0), []
    for tile in (forward.TILE, 3 * fresh_model.lm_head.weight.shape[0]):
        monkeypatch.setattr(forward, "TILE", tile)
        logps, entropy, _ = forward.policy(fresh_model, batch, temperature=0.5)
        fresh_model.zero_grad()
        (logps.sum() * 0.1).backward()
        weight = fresh_model.lm_head.weight.grad.clone()
        found.append((logps.detach(), entropy, weight))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5) and one.abs().max() > 0


def test_parts_are_bounded_by_episodes_and_by_tokens(monkeypatch):
    """Every row once, short ones first; a row that alone is too long still has its part."""
    episodes = [make_episode([1.0] * n, prompt_len=2) for n in (3, 1, 2, 1, 3)]
    batch, rows = forward.pack(episodes, 0), torch.tensor([0, 1, 2, 3, 4])
    long = [len(e.ids) for e in episodes]
    assert sorted(set(long)) == [4, 8, 12]
    for part, tokens, want in (
        (16, 10**9, [[1, 3, 2, 0, 4]]),
        (2, 10**9, [[1, 3], [2, 0], [4]]),
        (16, 24, [[1, 3, 2], [0, 4]]),
        (16, 23, [[1, 3], [2], [0], [4]]),
        (16, 3, [[1], [3], [2], [0], [4]]),
    ):
        monkeypatch.setattr(forward, "PART", part)
        monkeypatch.setattr(forward, "TOKENS", tokens)
        assert [p.tolist() for p in forward.parts(batch, rows)] == want
    assert forward.parts(batch, rows[:0]) == ()


def test_step_reports_what_happened(random_model, tokenizer, length_task, hands):
    settings = replace(SETTINGS, epochs=2)
    _, (figures,) = train(random_model, tokenizer, length_task, hands, settings, 1)
    # the first pass of a step draws before it trains: play the same episodes again
    rng = seeds.stream(0, "rl", 0)
    chance = torch.Generator().manual_seed(rng.getrandbits(60))
    chosen = rng.sample(list(hands), 4)
    episodes = rollout(
        random_model,
        tokenizer,
        length_task,
        chosen,
        samples=4,
        tries=3,
        max_new_tokens=4,
        generator=chance,
    )
    turns = [turn for episode in episodes for turn in episode.turns]
    assert figures["success"] == sum(e.solved for e in episodes) / 16
    assert figures["success_first"] == sum(e.turns[0].verdict.solved for e in episodes) / 16
    assert figures["reward"] == pytest.approx(sum(turn.reward for turn in turns) / 16)
    assert figures["answers"] == len(turns)
    paid = [sum(t.reward for t in e.turns) for e in episodes]
    differ = [len(set(paid[i : i + 4])) > 1 for i in range(0, 16, 4)]
    assert figures["signal"] == sum(differ) / 4
    assert figures["updates"] == 2 * 16 / 8
    assert figures["generated"] == sum(len(turn.logps) for turn in turns)
    assert figures["trained"] == 2 * sum(len(e.ids) for e in episodes)


@pytest.mark.parametrize("method", METHODS)
def test_signal_is_the_share_of_problems_whose_samples_differ(
    method, fresh_model, tokenizer, length_task, hands, monkeypatch
):
    """Five problems, three samples each: of two of them the samples differ in what they earn."""
    paid = [
        ([1.0], [1.0], [1.0]),
        ([-1.0, 5.0], [4.0], [-1.0, -1.0, 6.0]),  # 4 each, by other ways
        ([-1.0], [-1.0], [1.0]),
        ([-1.0, -2.0], [-3.0], [-1.0, -2.0]),
        ([5.0], [-1.0, -2.0], [5.0]),
    ]
    episodes = [make_episode(rewards) for problem in paid for rewards in problem]
    monkeypatch.setattr(rl, "rollout", lambda *args, **kwargs: episodes)
    settings = replace(SETTINGS, method=method, problems=5, samples=3, minibatch=4, epochs=3)
    learner = updates.new_learner(fresh_model, settings, 0)
    figures = rl.rl_step(learner, tokenizer, length_task, [*hands, hands[0]], settings, 0)
    assert figures["signal"] == 2 / 5
    assert figures["updates"] == 3 * 4  # fifteen episodes in fours


@pytest.mark.parametrize("method", METHODS)
def test_training_raises_the_reward(method, random_model, tokenizer, seven_task, hands):
    settings = replace(
        SETTINGS, method=method, samples=32, minibatch=64, tries=1, max_new_tokens=4, lr=3e-3
    )
    _, figures = train(random_model, tokenizer, seven_task, hands, settings, 25)
    rewards = [f["reward"] for f in figures]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 1.0


CHAPTER_4 = ROOT / "notebooks/source/04_rl_with_verification_iterations.py"


def written_in_chapter_4(*names):
    """Functions that the chapter writes, with everything that it imports and defines for them."""
    tree, space = ast.parse(CHAPTER_4.read_text("utf-8")), {}
    kept = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    kept += [functions[name] for name in names]
    exec(compile(ast.Module(kept, []), CHAPTER_4.name, "exec"), space)
    return [space[name] for name in names]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("plain", [True, False], ids=["gradient descent", "Adam"])
def test_the_step_that_chapter_4_writes_is_the_packages(
    method, plain, random_model, tokenizer, length_task, hands
):
    """Two steps, each of two epochs of two minibatches: the same weights, to rounding."""
    names = "play", "text_step", "returns", "by_gae", "ppo", "by_group", "grpo"
    _, text_step, _, by_gae, ppo, by_group, grpo = written_in_chapter_4(*names)
    credit, loss = (by_gae, ppo) if method == "rl-ppo" else (by_group, grpo)
    settings = replace(SETTINGS, method=method, epochs=2, temperature=0.8)
    found = []
    for chapters in (True, False):
        learner = updates.new_learner(copy.deepcopy(random_model), settings, 0)
        weights = [*learner.model.parameters(), *learner.value_head.parameters()]
        if plain:  # Adam blows rounding errors of small gradients up
            learner.optimizer = torch.optim.SGD(weights, lr=0.1)
        for _ in range(2):
            args = learner, tokenizer, length_task, hands, settings, 3
            text_step(*args, credit, loss) if chapters else rl.rl_step(*args)
        found.append(torch.cat([w.detach().flatten() for w in weights]))
        assert learner.step == 2
    start = updates.new_learner(copy.deepcopy(random_model), settings, 0)
    before = [*start.model.parameters(), *start.value_head.parameters()]
    moved = found[1] - torch.cat([w.detach().flatten() for w in before])
    apart = found[0] - found[1]
    assert moved.norm() > 1e-2
    if plain:
        assert apart.abs().max() < 1e-5
    assert apart.norm() < 1e-2 * moved.norm()


def test_the_step_of_chapter_4_is_short():
    tree = ast.parse(CHAPTER_4.read_text("utf-8"))
    lines = [
        node.end_lineno - node.lineno + 1
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in ("play", "text_step")
    ]
    assert len(lines) == 2 and sum(lines) <= 36


def test_chapter_4_has_introduced_each_name_of_the_step_that_it_prints():
    chapter = CHAPTER_4.read_text("utf-8")
    before = chapter[: chapter.index("inspect.getsource(rl_step)")]
    tree = ast.parse(inspect.getsource(rl.rl_step))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {re.sub(r"\[.*\]$", "", name) for name in called} - {"len", "updates.append"}
    names -= {"learner.model.train"}  # torch's own
    assert len(names) > 10
    for name in names:
        assert f"`{name}`" in before, f"chapter 4 has not introduced {name}"


def test_a_step_fits_on_a_screen():
    tree = ast.parse(inspect.getsource(rl.rl_step)).body[0]
    assert tree.end_lineno - tree.body[1].lineno < 25  # below its docstring
