"""Imitation: what is learned from, by which loss, and that it is learned."""

import copy
import json

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from trl import SFTConfig

from sftrl_lite.models import adapters, precision
from sftrl_lite.models.vision import image_mask, to_pixels
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.scales import SFTSettings, in_one_pass
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training import sft, sft_examples
from sftrl_lite.training.sft import PenaltyTrainer, train_sft
from sftrl_lite.training.sft_examples import (
    Collator,
    demonstrations,
    picture_demonstrations,
    verified,
)


@pytest.fixture(scope="module")
def task():
    return general_points("id", pictures=True, size=40)


@pytest.fixture(scope="module")
def four(task):
    return train_hands(task, 4, seed=0)


@pytest.fixture(scope="module")
def demonstrated(processor, task, four):
    return picture_demonstrations(processor, task, four)


def test_demonstrations_are_the_answers_to_the_pictures(processor, task, four, demonstrated):
    data, pixels = demonstrated
    tokenizer = processor.tokenizer
    assert list(data["picture"]) == [0, 1, 2, 3]
    want = to_pixels(processor, [task.picture(hand) for hand in four])
    assert torch.equal(pixels["pixel_values"], want["pixel_values"])
    for hand, row in zip(four, data, strict=True):
        said = [i for i in row["labels"] if i != -100]
        answer = tokenizer.decode(said)
        assert answer == task.demonstration(hand) + tokenizer.eos_token
        assert json.loads(answer.removesuffix(tokenizer.eos_token))["cards"] == list(hand.cards)


def test_a_long_walk_is_imitated_to_its_end(fresh_model, tokenizer, tmp_path, monkeypatch):
    """trl's own limit would cut the one answer off and drop the other row."""
    seen, collate = [], Collator.__call__

    def looking(self, rows):
        seen.extend((len(row["input_ids"]), sum(x >= 0 for x in row["labels"])) for row in rows)
        return collate(self, rows)

    monkeypatch.setattr(Collator, "__call__", looking)
    rows = [
        {"input_ids": [5] * n, "labels": [-100] * (n - 20) + [5] * 20, "picture": 0}
        for n in (1030, 1200)
    ]
    settings = SFTSettings(lr=1e-3, batch=2, hands=2)
    data = Dataset.from_list(rows)
    train_sft(fresh_model, tokenizer, data, settings, tmp_path, 0, steps=1, progress=False)
    assert sorted(seen) == [(1030, 20), (1200, 20)]


def test_labels_are_the_answer_alone(processor, task, four, demonstrated):
    data, _ = demonstrated
    image = processor.tokenizer.convert_tokens_to_ids("<|image|>")
    for row in data:
        first = next(i for i, label in enumerate(row["labels"]) if label != -100)
        assert all(label == -100 for label in row["labels"][:first])
        assert row["labels"][first:] == row["input_ids"][first:]
        assert row["input_ids"].count(image) == 1 and image not in row["labels"]
        prompt = processor.tokenizer.decode(row["input_ids"][:first])
        assert task.prompt(four[0]) in prompt
        assert prompt.endswith("assistant<|end_header_id|>\n\n")


def test_other_answers_can_be_shown(processor, task, four):
    data, _ = picture_demonstrations(processor, task, four, task.base_demonstration)
    said = [i for i in data[0]["labels"] if i != -100]
    assert processor.tokenizer.decode(said).startswith(task.base_demonstration(four[0]))


def test_a_batch_has_its_pictures_and_masks(processor, seeing_model, demonstrated):
    data, pixels = demonstrated
    pad = processor.tokenizer.pad_token_id
    rows = [data[2], data[0], {**data[1], "input_ids": data[1]["input_ids"][:9]}]
    rows[2]["labels"] = data[1]["labels"][:9]
    batch = Collator(seeing_model, pad, pixels)(rows)
    width = max(len(row["input_ids"]) for row in rows)
    assert batch["input_ids"].shape == batch["labels"].shape == (3, width)
    assert batch["pixel_values"].shape == (3, 1, 1, 3, 40, 40)
    for i, picture in enumerate((2, 0, 1)):
        assert torch.equal(batch["pixel_values"][i], pixels["pixel_values"][picture])
    assert batch["attention_mask"].sum(1).tolist() == [len(row["input_ids"]) for row in rows]
    assert (batch["labels"][2, 9:] == -100).all() and (batch["input_ids"][2, 9:] == pad).all()
    mask = image_mask(batch["input_ids"], seeing_model)
    assert torch.equal(batch["cross_attention_mask"], mask)
    # and the model takes it: the loss is that of the answers alone
    with torch.no_grad():
        found = seeing_model(**batch)
    chosen = found.logits[:, :-1].log_softmax(-1)
    labels = batch["labels"][:, 1:]
    own = labels != -100
    want = -chosen.gather(-1, labels.clamp(min=0)[..., None])[..., 0][own].mean()
    assert found.loss.item() == pytest.approx(want.item(), rel=1e-4)


def test_a_few_steps_lower_the_loss_and_train_the_eyes(
    fresh_seeing, seeing_model, processor, demonstrated, tmp_path
):
    data, pixels = demonstrated
    losses = train_sft(
        fresh_seeing,
        processor.tokenizer,
        data,
        SFTSettings(lr=5e-3, batch=4, hands=4),
        tmp_path,
        0,
        steps=20,
        progress=False,
        pixels=pixels,
    )
    assert len(losses) == 2 and losses[1] < 0.8 * losses[0]
    before = dict(seeing_model.named_parameters())
    moved = {n for n, p in fresh_seeing.named_parameters() if not torch.equal(p, before[n])}
    for eye in ("vision_model.patch_embedding.weight", "multi_modal_projector.weight"):
        assert f"model.{eye}" in moved


def test_copies_of_checkpoints_are_left_alone(fresh_model, tokenizer, tmp_path):
    copies = {"checkpoint-old2", "checkpoint-2-copy", "checkpoint-copy-2", "checkpoint-²"}
    for name in copies:
        (tmp_path / name).mkdir()
    text = general_points("id")
    data, settings = demonstrations(text, train_hands(text, 2, seed=0)), SFTSettings(1e-3, 2, 2)
    given = fresh_model, tokenizer, data, settings, tmp_path, 0
    for steps in (2, 3):  # the second goes on from the first
        train_sft(*given, steps=steps, save_every=1, progress=False)
        assert {p.name for p in tmp_path.iterdir()} == copies | {f"checkpoint-{steps}"}


def test_the_last_checkpoint_is_that_of_the_largest_number(tmp_path):
    for end in ("9", "10", "8", "old11"):
        (tmp_path / f"checkpoint-{end}").mkdir()
    assert sft.last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_the_steps_of_a_long_training_are_not_written_down():
    class Many(list):
        def __iter__(self):
            raise MemoryError("too many")

    assert 3 in sft.AtSteps(Many([3]), print).steps
    assert 10**11 in sft.AtSteps(range(1, 10**12), print).steps


@pytest.mark.parametrize("pretended", ["", "bf16"])
def test_the_penalty_adds_the_distance_to_init(
    pretended, random_model, fresh_model, tokenizer, monkeypatch
):
    """As on a GPU no logits are computed of what stands before the answers."""
    monkeypatch.setenv(precision.PRETEND, pretended)
    with torch.no_grad():
        fresh_model.lm_head.weight.add_(0.3 * torch.randn_like(fresh_model.lm_head.weight))
    text = general_points("id")
    data = demonstrations(text, train_hands(text, 2, seed=0))
    chats = [row["prompt"] + row["completion"] for row in data]
    coded = tokenizer.apply_chat_template(
        chats,
        return_dict=True,
        return_tensors="pt",
        padding=True,
        return_assistant_tokens_mask=True,
    )
    own = torch.as_tensor(coded["assistant_masks"]).bool()
    inputs = {"input_ids": coded["input_ids"], "attention_mask": coded["attention_mask"]}
    inputs["labels"] = coded["input_ids"].masked_fill(~own, -100)
    logps, there = (
        model(**{k: v for k, v in inputs.items() if k != "labels"}).logits[:, :-1].log_softmax(-1)
        for model in (fresh_model, random_model)
    )
    answer, said = own[:, 1:], inputs["input_ids"][:, 1:, None]
    nll = -logps.gather(-1, said)[..., 0][answer].mean()
    kl = (there.exp() * (there - logps)).sum(-1)[answer].mean()
    trainer = object.__new__(PenaltyTrainer)
    trainer.accelerator = Accelerator(cpu=True)
    for init, penalty in ((random_model, kl), (fresh_model, 0.0)):
        trainer.init = init
        loss, outputs = trainer.compute_loss(fresh_model, dict(inputs), return_outputs=True)
        assert float(loss) == pytest.approx(float(nll + penalty), rel=1e-4)
        first = int(answer.any(0).nonzero()[0]) if pretended else 0
        assert outputs.logits.shape[1] == answer.shape[1] + 1 - first
    assert float(kl) > 0.01


def test_dft_listens_less_to_rare_tokens(fresh_model, tokenizer, tmp_path):
    text = general_points("id")
    data = demonstrations(text, train_hands(text, 4, seed=0))
    moved = {}
    for loss in ("nll", "dft"):
        model = copy.deepcopy(fresh_model)
        settings = SFTSettings(lr=1e-3, batch=4, hands=4)
        losses = train_sft(
            model,
            tokenizer,
            data,
            settings,
            tmp_path / loss,
            0,
            steps=10,
            progress=False,
            loss=loss,
        )
        moved[loss] = losses[0]
    assert 0 < moved["dft"] < 0.5 * moved["nll"]


def test_own_answers_are_the_verified_ones(random_model, tokenizer, length_task, hands):
    pairs, tokens = verified(
        random_model, tokenizer, length_task, hands, seed=0, samples=4, max_new_tokens=6
    )
    again = verified(
        random_model, tokenizer, length_task, hands, seed=0, samples=4, max_new_tokens=6
    )
    assert (pairs, tokens) == again and tokens >= len(hands) * 4
    assert 0 < len(pairs) < 4 * len(hands)
    assert all(length_task.verify(hand, answer).solved for hand, answer in pairs)


def test_a_gpu_takes_a_batch_in_equal_passes():
    assert [in_one_pass(batch, on_gpu=True) for batch in (128, 32, 12, 7, 11)] == [8, 8, 6, 7, 1]
    assert in_one_pass(64, on_gpu=False) == 64


def test_one_process_takes_one_of_several_gpus(fresh_model, tokenizer, monkeypatch, tmp_path):
    """Two visible GPUs without a launcher, as on Kaggle: trl refuses to split a batch over them."""
    setup = SFTConfig.__post_init__

    def two_visible(config):
        setup(config)
        config._n_gpu = 2

    monkeypatch.setattr(SFTConfig, "__post_init__", two_visible)
    task = general_points("id")
    data = demonstrations(task, train_hands(task, 4, seed=0))
    settings = SFTSettings(lr=1e-3, batch=2, hands=4)
    assert train_sft(fresh_model, tokenizer, data, settings, tmp_path, 0, steps=10, progress=False)


@pytest.mark.parametrize("loss", ["nll", "dft", "penalty"])
def test_passes_add_up_to_the_batch(
    fresh_model, random_model, tokenizer, loss, monkeypatch, tmp_path
):
    task = general_points("id")
    problems, ended = train_hands(task, 6, seed=0), []
    # answers of very different lengths: a mean of the passes' means would be another number
    answer = lambda p: task.base_demonstration(p) * (1 + 3 * (p == problems[0]))  # noqa: E731
    data = demonstrations(task, problems, answer)
    for rows in (6, 2):
        monkeypatch.setattr(sft, "in_one_pass", lambda batch, on_gpu, rows=rows: rows)
        model = copy.deepcopy(fresh_model)
        losses = train_sft(
            model,
            tokenizer,
            data,
            SFTSettings(lr=1e-3, batch=6, hands=6),
            tmp_path / str(rows),
            0,
            steps=10,
            progress=False,
            loss="dft" if loss == "dft" else "nll",
            init=random_model if loss == "penalty" else None,
        )
        ended.append((losses, model.state_dict()))
    (one, whole), (two, parts) = ended
    assert two == pytest.approx(one, rel=1e-4)
    for name, weight in whole.items():
        assert torch.allclose(parts[name], weight, atol=1e-5), name


def test_pixels_that_are_not_kept_are_made_again(
    processor, seeing_model, task, four, demonstrated, monkeypatch
):
    data, kept = demonstrated
    monkeypatch.setattr(sft_examples, "KEPT", 0)
    again, draw = picture_demonstrations(processor, task, four)
    assert callable(draw) and again.to_list() == data.to_list()
    rows, pad = [data[i] for i in (2, 0, 2)], processor.tokenizer.pad_token_id
    want, found = (Collator(seeing_model, pad, pixels)(rows) for pixels in (kept, draw))
    assert want.keys() == found.keys()
    for name, tensor in want.items():
        assert torch.equal(found[name], tensor), name


def test_text_resumes_with_its_digits_beside_a_frozen_tower_in_16_bits(
    fresh_model, tokenizer, tmp_path
):
    task = general_points("id")
    data = demonstrations(task, train_hands(task, 2, seed=0))
    adapters.freeze_vision(fresh_model)
    fresh_model.model.vision_model.bfloat16()
    trained, resumed = fresh_model, copy.deepcopy(fresh_model)
    how, options = SFTSettings(lr=1e-4, batch=2, hands=2), dict(save_every=1, progress=False)
    for model in (trained, resumed):  # the second finds the checkpoint of the first
        train_sft(model, tokenizer, data, how, tmp_path, 0, steps=1, **options)
    for (name, one), two in zip(trained.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two) and one.dtype == two.dtype, name
