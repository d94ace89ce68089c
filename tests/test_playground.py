"""The playground: small trainings by the package's own steps, and what it says about them."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import make_episode

from sftrl_lite.course import playground, playground_view
from sftrl_lite.course.playground import CASES, DEFAULT, TABLES, Curve, Paid, Settings, train
from sftrl_lite.tasks.general_points import GeneralPoints, write_answer
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.verifier import REWARDS
from sftrl_lite.training import losses, rl

BRIEF = dict(steps=2, every=1, tests=2)
HAND = Hand(("3", "3", "8", "K"))


@pytest.fixture
def small(monkeypatch):
    """Steps of four episodes."""
    monkeypatch.setattr(playground, "EPISODES", 4)
    return replace(DEFAULT, group=2)


def curve(*shares, error=0.0, steps=(0, 4)):
    """A curve of the same shares under both rules."""
    pairs = zip(steps, shares, strict=True)
    return Curve([{"step": n, "id": x, "ood-rule": x, "format_error": error} for n, x in pairs])


# --- what trains -----------------------------------------------------------------------


@pytest.mark.parametrize("method", playground_view.METHODS.values())
def test_each_method_trains_and_grows_its_curve(method, small, base):
    seen = []
    done = train(
        replace(small, method=method), lambda c: seen.append(len(c.rows)), base=base, **BRIEF
    )
    assert seen == [1, 2, 3] and done.steps == [0, 1, 2] and not done.broke
    assert all(0 <= share <= 1 for split in playground.RULES for share in done.share(split))
    assert ("grad_norm" in done.rows[-1]) == (method != "sft")


def test_the_same_settings_give_the_same_curve(small, base):
    runs = [train(replace(small, seed=seed), base=base, **BRIEF).rows for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("method", ["rl-ppo", "sft"])
def test_a_rate_that_breaks_the_weights_ends_it_with_a_sentence(method, small, base):
    chosen = replace(small, method=method, lr=1e20)
    done = train(chosen, base=base, steps=4, every=1, tests=2)
    assert 1 <= done.broke <= 3 and done.rows[-1]["step"] < done.broke
    said = playground_view.outcome(chosen, done, curve(0.3, 0.6))
    assert said.startswith(f"Diverged: after step {done.broke} ") and "1e+20" in said


def test_settings_reach_the_packages_step():
    chosen = Settings("rl-grpo", 1e-3, 0.1, 3, 4, 0.7).for_rl()
    assert (chosen.method, chosen.lr, chosen.clip, chosen.tries) == ("rl-grpo", 1e-3, 0.1, 3)
    assert (chosen.problems, chosen.samples, chosen.temperature) == (8, 4, 0.7)
    assert chosen.minibatch == 16  # two updates
    assert Settings("rl-reinforce").for_rl().minibatch == playground.EPISODES  # one


@pytest.mark.parametrize("name", TABLES)
def test_a_table_pays_by_the_kind_of_an_answer(name):
    table, task = TABLES[name], GeneralPoints()
    paid = Paid(task, table)
    for formula, kind in {
        "3+3+8+10": "solved",
        "3+3+8*10": "wrong_value",
        "1": "wrong_numbers",
    }.items():
        verdict = paid.verify(HAND, write_answer(HAND, formula))
        assert (verdict.kind, verdict.reward) == (kind, table[kind])
    assert paid.verify(HAND, "hello").reward == table["illegal"]
    assert paid.over_budget == table["over_budget"] and paid.prompt(HAND) == task.prompt(HAND)
    assert set(table) == set(REWARDS) - {"misread"}


# --- REINFORCE ---------------------------------------------------------------------------


def test_reinforce_is_the_unclipped_first_update_of_ppo():
    batch = rl.pack([make_episode([1.0, 5.0]), make_episode([-1.0])], 0)
    settings = Settings("rl-reinforce").for_rl()
    batch = rl.with_advantages(batch, settings)
    played = batch.advantages[batch.played]
    assert batch.advantages[:, 0].sum().abs() < 1e-6 and played.abs().max() > 1
    logps = batch.old_logps.clone().requires_grad_()
    ours, moved = rl.reinforce(batch, logps, None, settings)
    (slope,) = torch.autograd.grad(ours, logps)
    new, old = (rl.per_turn(batch, x) for x in (logps, batch.old_logps))
    zero = torch.zeros_like(batch.advantages)
    rest = batch.advantages, zero, batch.played, math.inf, 0.0
    (clipless,) = torch.autograd.grad(losses.ppo_loss(new, old, zero, *rest), logps)
    assert torch.allclose(slope, clipless) and slope.abs().sum() > 0
    assert moved[:2].tolist() == [0, 0]  # the policy that played is the policy still


# --- what is said ------------------------------------------------------------------------


def test_a_collapse_is_said_with_its_first_suspect():
    said = playground_view.outcome(replace(DEFAULT, lr=2e-3), curve(0.3, 0.02, error=0.6), DEFAULTS)
    assert said.startswith("Collapsed. After step 4: 2 %") and "60 % of the answers" in said
    assert "10 times the default's" in said
    low = playground_view.outcome(DEFAULT, curve(0.3, 0.02), DEFAULTS)
    assert low.startswith("Collapsed.") and "times" not in low


DEFAULTS = curve(0.3, 0.6)


def test_a_difference_that_is_noise_is_called_noise():
    said = playground_view.outcome(DEFAULT, curve(0.3, 0.62), DEFAULTS)
    assert said.startswith("After step 4: 62 % under the trained rule (before 30 %)")
    assert "trained rule: within noise of it (+2 points [" in said
    assert "above it (+35 points" in playground_view.outcome(DEFAULT, curve(0.3, 0.95), DEFAULTS)


def test_a_curve_is_named_by_what_differs():
    assert playground_view.chosen_words(DEFAULT) == "default, live"
    named = playground_view.chosen_words(replace(DEFAULT, method="rl-grpo", lr=1e-3, clip=math.inf))
    assert named == "method GRPO, lr 0.001, clip inf"


# --- what is recorded ----------------------------------------------------------------------


def test_the_record_holds_all_cases_whole():
    found = playground.recorded()
    assert list(found) == list(CASES)
    steps = list(range(0, playground.STEPS + 1, playground.EVERY))
    assert all(case.steps == steps for case in found.values())
    starts = {case.share(split)[0] for case in found.values() for split in ("id",)}
    assert len(starts) == 1  # one base
    assert "reward" in found["GRPO"].rows[-1] and "reward" not in found["SFT"].rows[-1]


def test_a_record_is_written_and_read_again(small, base, tmp_path, monkeypatch):
    monkeypatch.setattr(playground, "CASES", {"one": small, "two": replace(small, method="sft")})
    monkeypatch.setattr(playground, "train", lambda s: train(s, base=base, **BRIEF))
    playground.record(tmp_path / "record.csv")
    found = playground.recorded(tmp_path / "record.csv")
    assert list(found) == ["one", "two"] and found["one"].steps == [0, 1, 2]


# --- the widget ----------------------------------------------------------------------------


@pytest.fixture
def live(monkeypatch):
    """The widget instead of its display: fields by name, button, page; still picture, words."""
    made = []
    monkeypatch.setattr(playground_view, "present", lambda *given: made.append(given))
    playground_view.playground()
    box, still, words = made[-1]
    *fields, button, page = box.children
    return {field.description: field for field in fields}, button, page, still, words


def test_a_click_trains_with_what_is_chosen_and_draws_on_the_way(live, monkeypatch):
    fields, button, page, *_ = live
    asked, pages = [], []

    def trained(settings, tell):
        asked.append(settings)
        assert button.disabled
        tell(curve(0.3, 0.4))
        pages.append(page.value)
        return curve(0.3, 0.01, 0.0, steps=(0, 4, 8))

    monkeypatch.setattr(playground_view, "train", trained)
    fields["Learning rate"].value, fields["Method"].value = 5e-3, "rl-grpo"
    fields["Clip"].value, fields["Episodes per hand"].value = math.inf, 32
    button.click()
    assert asked == [replace(DEFAULT, method="rl-grpo", lr=5e-3, clip=math.inf, group=32)]
    assert "After step 4: 40 %" in pages[0] and "Collapsed. After step 8" in page.value
    assert not button.disabled and button.description == "Train"


def test_a_training_that_is_interrupted_leaves_the_button_ready(live, monkeypatch):
    _, button, *_ = live

    def interrupted(settings, tell):
        raise KeyboardInterrupt

    monkeypatch.setattr(playground_view, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        button.click()
    assert not button.disabled


def test_the_still_shows_every_recorded_curve_and_its_outcome(live):
    *_, still, words = live
    assert all(f'<th scope="row">{name}</th>' in still for name in CASES)
    assert "rate 2e-3: " in words and still.count("<img alt=") == 1
