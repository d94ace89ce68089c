"""GeneralPoints in pictures: what is asked, what misreading costs, which splits there are."""

import json
import random

import pytest

from sftrl_lite.models.chats import ask
from sftrl_lite.models.tiny import make_tokenizer
from sftrl_lite.models.vision import IMAGE
from sftrl_lite.runs.recorder import held_out, train_hands
from sftrl_lite.tasks.card_pictures import SUITS, Look
from sftrl_lite.tasks.cards import DEV_RULE, ID_RULE, OOD_RULE, RANKS
from sftrl_lite.tasks.general_points import (
    GeneralPoints,
    general_points,
    vocabulary,
    write_answer,
)
from sftrl_lite.tasks.hands import Hand
from sftrl_lite.tasks.registry import make_task, reported
from sftrl_lite.tasks.verifier import FAILURE, REASONS, REWARDS, SUCCESS, verify_formula
from sftrl_lite.training import compute

CARDS = ("A", "5", "J", "K")  # 1, 5, 10, 10
VISUAL = ("ood-visual", "dev-visual")


def judge(cards, formula="10+10+5-1", feedback="binary", **more):
    answer = json.dumps({"cards": cards, "number": [1, 5, 10, 10], "formula": formula} | more)
    return verify_formula(answer, (1, 5, 10, 10), feedback=feedback, cards=CARDS)


# --- misreading ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "reward"),
    [
        ("10+10+5-1", -2.5),  # right by chance: misread all the same
        ("10+10+5+1", -2.5),
        ("10+10+4", -3.5),
        ("10+10+", -4.5),
    ],
)
def test_misreading_costs_more_on_top_and_never_solves(formula, reward):
    verdict = judge(["A", "5", "J", "2"], formula)
    assert verdict.kind == ("illegal" if formula == "10+10+" else "misread")
    assert verdict.reward == reward
    assert not verdict.solved and verdict.recognised is False
    assert verdict.message == FAILURE


def test_misreading_is_never_a_refuge():
    """For the same formula a misread hand pays 1.5 less, and a solved one far less."""
    for formula in ("10+10+5-1", "10+10+5+1", "10+10+4", "10+10+"):
        right, wrong = judge(list(CARDS), formula), judge(["A"] * 4, formula)
        assert wrong.reward <= right.reward + REWARDS["misread"]


def test_a_hand_read_right_is_judged_as_in_text():
    for formula in ("10+10+5-1", "10+10+5+1", "10+10+4", "10+10+"):
        verdict = judge(list(CARDS), formula)
        text = verify_formula(json.dumps({"formula": formula}), (1, 5, 10, 10))
        assert verdict.recognised is True and text.recognised is None
        assert (verdict.kind, verdict.reward, verdict.solved) == (
            text.kind,
            text.reward,
            text.solved,
        )
    assert judge(list(CARDS)).message == SUCCESS


def test_a_picture_has_no_first_card():
    shuffled = judge(["K", "A", "J", "5"], number=[10, 1, 10, 5])
    assert shuffled.solved and shuffled.recognised and shuffled.read_right
    assert shuffled.read == (10, 1, 10, 5)
    assert not judge(["K", "A", "J", "5"], number=[10, 1, 10, 4]).read_right
    # in text the order counts, as it always did
    answer = json.dumps({"number": [10, 1, 10, 5], "formula": "10+10+5-1"})
    assert not verify_formula(answer, (1, 5, 10, 10)).read_right


@pytest.mark.parametrize(
    "cards",
    [
        None,
        "A5JK",
        7,
        {},
        [],
        ["A", "5", "J"],
        ["A", "5", "J", "K", "K"],
        [["A"]],
        [None] * 4,
        ["a", "5", "J", "K"],
        ["♠A", "5", "J", "K"],
    ],
    ids=str,
)
def test_what_does_not_name_the_cards_is_misread(cards):
    verdict = judge(cards)
    assert verdict.kind == "misread" and verdict.recognised is False


def test_a_number_for_a_card_is_the_card():
    assert judge(["A", 5, "J", "K"]).recognised


def test_no_answer_at_all_is_illegal_and_unread():
    verdict = verify_formula("I see an ace.", (1, 5, 10, 10), cards=CARDS)
    assert (verdict.kind, verdict.recognised, verdict.read) == ("illegal", False, None)
    assert verdict.reward == REWARDS["illegal"] + REWARDS["misread"]


def test_the_reason_is_said_where_reasons_are():
    assert judge(["A"] * 4, feedback="reason").message == REASONS["misread"]
    assert judge(["A"] * 4, feedback="leaky").message == REASONS["misread"]
    assert judge(["A"] * 4, feedback="none").message == ""


# --- the task --------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["id", "ood-rule", "dev-rule", *VISUAL])
def test_splits_shift_one_thing_each(split):
    task = general_points(split, pictures=True)
    rule = {"ood-rule": OOD_RULE, "dev-rule": DEV_RULE}.get(split, ID_RULE)
    suits = {"ood-visual": "red", "dev-visual": "four-colour"}.get(split, "black")
    assert (task.rule, task.look.suits, task.face) == (rule, suits, rule != ID_RULE)
    hand = task.sample(random.Random(0))
    assert set(hand.suits) <= set(SUITS[suits]) and hand.look == task.look
    assert task.picture(hand).size == (224, 224)
    assert task.verify(hand, task.demonstration(hand)).solved
    assert task.verify(hand, task.base_demonstration(hand)).solved


def test_a_look_of_ones_own_keeps_the_suits_of_the_split():
    task = general_points("ood-visual", pictures=True, look=Look("mixed", "jumbo", noise=0))
    assert task.look == Look("red", "jumbo", noise=0)


@pytest.mark.parametrize("split", [*VISUAL, "test"])
def test_text_has_no_visual_splits(split):
    known = f"unknown split '{split}'; choose train, id, ood-rule, dev-rule"
    with pytest.raises(ValueError, match=known):
        general_points(split)
    with pytest.raises(ValueError, match="unknown split"):
        make_task("gp-l", split)


def test_tasks_by_name():
    task = make_task("gp-vl", "ood-visual", "tiny", feedback="reason")
    assert (task.size, task.feedback, task.look.suits) == (80, "reason", "red")
    assert make_task("gp-vl", scale="full").size == 560
    assert make_task("gp-l").look is None
    assert reported("gp-vl") == ("id", "ood-rule", "ood-visual")
    assert reported("gp-l") == ("id", "ood-rule")


def test_the_words_do_not_give_the_cards_away():
    task, rng = general_points("id", pictures=True), random.Random(1)
    hands = [task.sample(rng) for _ in range(50)]
    assert len({task.prompt(hand) for hand in hands}) == 1
    words = task.prompt(hands[0])
    assert "in the picture" in words and "Cards:" not in words
    assert '"' not in words
    for rule in (OOD_RULE, DEV_RULE):
        assert task.prompt(Hand(CARDS, rule, look=Look())) != words


def test_text_hands_have_no_picture_and_draw_as_before():
    text, pictured = general_points("id"), general_points("id", pictures=True)
    hand = text.sample(random.Random(3))
    assert text.picture(hand) is None
    assert hand.suits == () and hand.look is None
    assert hand.cards == pictured.sample(random.Random(3)).cards


def test_the_visual_shift_shows_the_same_held_out_hands():
    splits = ("id", "ood-visual", "dev-visual")
    tasks = [general_points(split, pictures=True) for split in splits]
    train = train_hands(general_points("train", pictures=True), 300, seed=1)
    drawn = [held_out(task, 40, 1) for task in tasks]
    cards = [[hand.cards for hand in hands] for hands in drawn]
    assert cards[0] == cards[1] == cards[2]
    assert not {tuple(sorted(c)) for c in cards[0]} & {tuple(sorted(h.cards)) for h in train}
    for hands, task in zip(drawn, tasks, strict=True):
        assert {suit for hand in hands for suit in hand.suits} == set(SUITS[task.look.suits])
    assert held_out(tasks[1], 40, 1) == drawn[1]


# --- the tokenizer ---------------------------------------------------------------------


def test_the_vocabulary_of_pictures_only_adds():
    text, both = vocabulary(), vocabulary(pictures=True)
    assert set(text) < set(both)
    assert not any("picture" in piece for piece in text)
    sizes = [len(make_tokenizer(v, p)) for v, p in ((text, False), (both, True))]
    added = sizes[1] - sizes[0]
    assert 1 < added < 10


def test_no_chat_about_a_picture_has_unknown_pieces():
    tokenizer, rng = make_tokenizer(vocabulary(pictures=True), pictures=True), random.Random(2)
    assert tokenizer.convert_tokens_to_ids(IMAGE) == len(tokenizer) - 1
    for split in ("id", "ood-rule", *VISUAL):
        for feedback in ("binary", "reason", "leaky"):
            task = GeneralPoints(
                rule=general_points(split, pictures=True).rule, look=Look(), feedback=feedback
            )
            for _ in range(20):
                hand = task.sample(rng)
                misread = Hand(tuple(rng.choices(RANKS, k=4)), hand.rule)
                answer = write_answer(misread, "1+1+1+1")
                chat = [ask(task, hand), {"role": "assistant", "content": answer}]
                chat.append({"role": "user", "content": task.verify(hand, answer).message})
                ids = tokenizer.apply_chat_template(chat, return_dict=False)
                assert tokenizer.unk_token_id not in ids
                assert ids.count(len(tokenizer) - 1) == 1
                assert tokenizer.decode(ids) == tokenizer.apply_chat_template(chat, tokenize=False)


# --- compute ---------------------------------------------------------------------------


def test_what_a_picture_costs_by_hand(seeing_model):
    """Width 32, three layers of which the middle one looks, 93 words; one tower of width 64."""
    words = seeing_model.config.text_config.vocab_size
    block = 2 * 32 * 32 + 2 * 32 * 8 + 3 * 32 * 64  # q and o, k and v of one head of 8, mlp
    text = (words + 8) * 32 + words * 32 + 32  # embeddings (8 spare rows), head, last norm
    text += 2 * (block + 2 * 32)  # two norms to a layer
    looking = block + 2 * 32 + 2 * 8 + 2  # its norms of queries and keys, its gates
    assert compute.text_parameters(seeing_model) == text
    assert compute.text_parameters(seeing_model, pictures=True) == text + looking
    layer = 4 * 64 * 64 + 2 * 64 * 256 + 256 + 64 + 4 * 64
    tower = 64 * 3 * 20 * 20 + 64 + 4 * 64  # patches, class, norms before and after
    tower += 5 * 64 + 1 + 2 * (5 * 64)  # places of the patches, their gate, and by aspect ratio
    tower += 2 * (2 * 64 + 1)  # places of the tiles, before and after
    tower += 2 * layer + layer + 2  # the last is the global one, with two gates
    projector = 128 * 32 + 32
    through = tower + projector
    assert sum(p.numel() for p in seeing_model.parameters()) == text + looking + through
    # four patches and the class: five passes through the tower, one look of the text at them
    assert compute.picture_tokens(seeing_model) == round(5 * through / (text + looking))
