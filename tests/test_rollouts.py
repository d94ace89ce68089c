"""Batched multi-turn play against the same thing done slowly."""

import copy
import gc
import math
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch
from conftest import LengthTask, PictureTask, make_seeing
from scipy.stats import chisquare
from transformers.cache_utils import DynamicLayer

from sftrl_lite.models import precision, vision
from sftrl_lite.models.chats import replies
from sftrl_lite.models.tiny import make_processor, make_tokenizer
from sftrl_lite.results.ledger import PAPER, decoding_name
from sftrl_lite.tasks.general_points import vocabulary
from sftrl_lite.tasks.verifier import REWARDS
from sftrl_lite.training import rollouts, static_decoding
from sftrl_lite.training.decoding import Decoder, RoomyLayer
from sftrl_lite.training.evaluate import evaluate
from sftrl_lite.training.forward import pack, policy
from sftrl_lite.training.rollouts import rollout
from sftrl_lite.training.sampling import nucleus, sample_tokens
from sftrl_lite.training.static_decoding import StaticDecoder


def play(model, tokenizer, task, hands, seed=0, **options):
    chance = torch.Generator().manual_seed(seed)
    options = {"samples": 4, "tries": 4, "max_new_tokens": 6} | options
    return rollout(model, tokenizer, task, hands, generator=chance, **options)


def ids(episodes):
    return [episode.ids for episode in episodes]


@pytest.fixture
def episodes(random_model, tokenizer, length_task, hands):
    return play(random_model, tokenizer, length_task, hands, samples=8)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_cached_log_probabilities_are_those_of_a_full_pass(
    temperature, random_model, tokenizer, length_task, hands
):
    chosen = dict(samples=8, temperature=temperature)
    episodes = play(random_model, tokenizer, length_task, hands, **chosen)
    # what the check is about: uneven prompts, rows that left early, late turns
    assert len({e.turns[0].start for e in episodes}) > 1
    assert {len(e.turns) for e in episodes} == {1, 2, 3, 4}
    batch = pack(episodes, tokenizer.pad_token_id)
    logps = policy(random_model, batch, temperature=temperature)[0]
    assert (logps - batch.old_logps).abs().max() < 1e-4
    other = policy(random_model, batch, temperature=0.5)[0]
    assert (other - batch.old_logps).abs().max() > 0.1
    for episode in episodes:  # and alone, without any padding
        with torch.no_grad():
            logits = random_model(input_ids=torch.tensor([episode.ids])).logits[0]
        for turn in episode.turns:
            rows = (logits[turn.start - 1 : turn.end - 1] / temperature).log_softmax(-1)
            chosen = rows.gather(1, torch.tensor(episode.ids[turn.start : turn.end])[:, None])
            assert torch.allclose(chosen[:, 0], torch.tensor(turn.logps), atol=1e-4)


def test_an_episode_ends_when_solved_or_out_of_tries(episodes, hands):
    assert len(episodes) == 8 * len(hands)
    assert [e.problem for e in episodes] == [hand for hand in hands for _ in range(8)]
    for episode in episodes:
        *before, last = episode.turns
        assert not any(turn.verdict.solved for turn in before)
        assert last.verdict.solved or len(episode.turns) == 4
        assert last.end == len(episode.ids)  # nothing is written after the last answer
        assert all(turn.reward == turn.verdict.reward for turn in before)
        fine = 0 if last.verdict.solved else REWARDS["over_budget"]
        assert last.reward == last.verdict.reward + fine


def test_one_try_and_another_reward(random_model, tokenizer, length_task, hands):
    for episode in play(
        random_model, tokenizer, length_task, hands, tries=1, reward=lambda verdict: 7.0
    ):
        assert len(episode.turns) == 1
        assert episode.turns[0].reward == (7.0 if episode.solved else 6.0)


def test_answers_end_at_end_of_turn_or_are_cut_and_closed(tokenizer, episodes):
    eot, cut = tokenizer.eos_token_id, 0
    for episode in episodes:
        for turn in episode.turns:
            answer = episode.ids[turn.start : turn.end]
            assert len(answer) == len(turn.logps) <= 6
            assert eot not in answer[:-1]
            said = answer[:-1] if answer[-1] == eot else answer
            assert turn.answer == tokenizer.decode(said)  # special tokens and all
            if answer[-1] != eot:
                assert len(answer) == 6
                if turn is not episode.turns[-1]:
                    cut += 1
                    assert episode.ids[turn.end] == eot
    assert cut


def test_the_tokens_are_the_chat_template_of_the_messages(
    random_model, tokenizer, length_task, hands
):
    special, checked = set(tokenizer.all_special_ids) | {4, 5}, 0
    for episode in play(random_model, tokenizer, length_task, hands, samples=16):
        chat = [{"role": "user", "content": length_task.prompt(episode.problem)}]
        said = []
        for turn in episode.turns:
            chat += [
                {"role": "assistant", "content": turn.answer},
                {"role": "user", "content": turn.verdict.message},
            ]
            said += episode.ids[turn.start : turn.end]
        plain = [i for i in said if i != tokenizer.eos_token_id]
        if special & set(plain):  # a random model also writes headers
            continue
        checked += len(episode.turns) > 1
        text = tokenizer.apply_chat_template(chat[:-1], tokenize=False)
        closing = "" if episode.ids[-1] == tokenizer.eos_token_id else tokenizer.eos_token
        assert tokenizer.decode(episode.ids) + closing == text
    assert checked > 3


def test_greedy_play_draws_nothing(random_model, tokenizer, length_task, hands):
    one = play(random_model, tokenizer, length_task, hands, seed=1, temperature=0)
    two = play(random_model, tokenizer, length_task, hands, seed=2, temperature=0)
    assert ids(one) == ids(two)
    assert ids(one)[0] == ids(one)[3]  # all samples of a problem agree


def test_a_seed_replays_the_batch(random_model, tokenizer, length_task, hands):
    one, two, other = (
        play(random_model, tokenizer, length_task, hands, seed=seed) for seed in (1, 1, 2)
    )
    assert ids(one) == ids(two) != ids(other)
    assert [t.logps for e in one for t in e.turns] == [t.logps for e in two for t in e.turns]


def test_a_batch_plays_as_its_rows_would_alone(random_model, tokenizer, length_task, hands):
    options = dict(samples=1, temperature=0, tries=5)
    together = play(random_model, tokenizer, length_task, hands, **options)
    alone = [play(random_model, tokenizer, length_task, [h], **options)[0] for h in hands]
    assert ids(together) == ids(alone)


def test_sampling_follows_the_tempered_policy():
    logits = torch.tensor([[2.0, 1.0, 0.0]]).repeat(20_000, 1)
    chance = torch.Generator().manual_seed(0)
    tokens, logps = sample_tokens(logits, 0.5, chance)
    share = torch.bincount(tokens, minlength=3) / len(tokens)
    assert torch.allclose(share, (logits[0] / 0.5).softmax(-1), atol=0.01)
    assert torch.allclose(logps, (logits[0] / 0.5).log_softmax(-1)[tokens])


# --- decoding --------------------------------------------------------------------------


def smallest_set(probs, top_p):
    """Tokens from the likeliest on, until together they reach ``top_p``; in plain Python."""
    kept, reached = [], 0.0
    for token in sorted(range(len(probs)), key=lambda token: -probs[token]):
        if reached >= top_p:
            break
        kept.append(token)
        reached += probs[token]
    return {token: probs[token] / reached for token in kept}


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.5, 0.9, 0.99])
def test_a_nucleus_is_the_smallest_set_that_reaches_its_share(top_p):
    chance = torch.Generator().manual_seed(0)
    rows = (3 * torch.randn(200, 40, generator=chance, dtype=torch.float64)).softmax(-1)
    sizes = set()
    for row, kept in zip(rows.tolist(), nucleus(rows, top_p).tolist(), strict=True):
        found = {token: share for token, share in enumerate(kept) if share > 0}
        assert found == pytest.approx(smallest_set(row, top_p))
        sizes.add(len(found))
    assert sizes == {1} if top_p == 0.01 else len(sizes) > 1


def test_the_token_that_reaches_the_share_is_the_last_that_is_kept():
    probs = torch.tensor([[1 / 16, 1 / 2, 1 / 16, 1 / 4, 1 / 8], [0, 0, 1, 0, 0]])
    assert nucleus(probs, 0.5).tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]
    third = 1 / 3
    assert nucleus(probs, 0.51)[0].tolist() == pytest.approx([0, 2 * third, 0, third, 0])
    assert nucleus(probs, 0.75)[0].tolist() == pytest.approx([0, 2 * third, 0, third, 0])
    assert nucleus(probs, 0.875)[0].count_nonzero() == 3
    assert nucleus(probs, 0.9375)[0].count_nonzero() == 4  # of equals the first
    assert nucleus(probs, 0.9375)[0, 2] == 0
    assert torch.equal(nucleus(probs, 1.0), probs)


def test_the_papers_decoding_draws_as_often_as_its_probabilities_say():
    logits, n = torch.tensor([1.2, -0.4, 0.9, 0.1, -3.0, 0.5, 1.0, -1.0]), 20_000
    probs = [math.exp(x / 0.6) for x in logits.tolist()]
    probs = [p / sum(probs) for p in probs]
    wanted = smallest_set(probs, 0.9)
    assert 1 < len(wanted) < len(probs)
    tokens, logps = sample_tokens(
        logits.repeat(n, 1), 0.6, torch.Generator().manual_seed(0), top_p=0.9
    )
    counts = torch.bincount(tokens, minlength=len(probs)).tolist()
    assert {token for token, count in enumerate(counts) if count} == set(wanted)
    seen, expected = zip(*((counts[t], n * share) for t, share in wanted.items()), strict=True)
    assert chisquare(seen, expected).pvalue > 0.01
    whole = chisquare(seen, [sum(seen) / len(seen)] * len(seen))  # that would show a difference
    assert whole.pvalue < 1e-6
    # the log-probability is that of the policy at this temperature, its tail uncut
    assert logps.exp().tolist() == pytest.approx([probs[token] for token in tokens], rel=1e-4)


@pytest.mark.parametrize("top_p", [0.1, 1.0])
def test_at_temperature_zero_the_likeliest_token_is_taken(top_p):
    logits = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    chance = torch.Generator().manual_seed(1)
    before = chance.get_state()
    tokens, logps = sample_tokens(logits, 0, chance, top_p)
    assert tokens.tolist() == [max(range(9), key=row.__getitem__) for row in logits.tolist()]
    assert torch.equal(logps, logits.log_softmax(-1).max(-1).values)
    assert torch.equal(chance.get_state(), before)  # nothing was drawn


def test_a_nucleus_reaches_the_whole_game(random_model, tokenizer, length_task, hands):
    """With a tiny share only the likeliest token is left: as greedy, whatever the seed."""
    greedy = ids(play(random_model, tokenizer, length_task, hands, temperature=0))
    for together in (0, 4):
        options = dict(temperature=1.0, top_p=1e-6, seed=5, together=together)
        assert ids(play(random_model, tokenizer, length_task, hands, **options)) == greedy
    whole = play(random_model, tokenizer, length_task, hands, temperature=1.0, seed=5)
    assert ids(whole) != greedy


def test_decodings_have_short_names():
    named = {decoding_name(*way): way for way in ((0,), (0, 0.5), (1,), (1.0, 1), (0.3, 0.95))}
    assert list(named) == ["0", "1", "0.3/0.95"]
    assert decoding_name(0.6, 0.9) == PAPER == "0.6/0.9"


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (dict(temperature=-0.1), "temperature is -0.1; it has to lie between 0 and 10"),
        (dict(temperature=11), "temperature is 11; it has to lie between 0 and 10"),
        (dict(temperature=math.nan), "temperature is nan; it has to lie between 0 and 10"),
        (dict(top_p=0), "top_p is 0; it has to be above 0 and at most 1"),
        (dict(top_p=1.5), "top_p is 1.5; it has to be above 0 and at most 1"),
        (dict(top_p=math.nan), "top_p is nan; it has to be above 0 and at most 1"),
    ],
)
def test_impossible_decodings_are_one_line(way, says, random_model, tokenizer, length_task, hands):
    with pytest.raises(ValueError) as named:
        decoding_name(**{"temperature": 1.0} | way)
    with pytest.raises(ValueError) as played:
        play(random_model, tokenizer, length_task, hands, **way)
    with pytest.raises(ValueError) as measured:
        evaluate(random_model, tokenizer, length_task, hands, **way)
    assert {str(error.value) for error in (named, played, measured)} == {says}


def test_replies_continue_the_chat(tokenizer):
    end, (reply,) = replies(tokenizer, ["7 8"])
    assert end == tokenizer.eos_token_id
    head = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    before = tokenizer.apply_chat_template(head, return_dict=False)
    after = tokenizer.apply_chat_template(
        [*head, {"role": "user", "content": "7 8"}], add_generation_prompt=True, return_dict=False
    )
    assert before + reply == after


def test_roomy_layer_is_the_stock_layer():
    torch.manual_seed(0)
    ours, stock = RoomyLayer(), DynamicLayer()
    for step, (rows, width) in enumerate([(3, 5), (3, 1), (6, 1), (6, 9), (3, 1), (3, 1)]):
        keys, values = torch.randn(2, rows, 2, width, 4)
        for got, want in zip(ours.update(keys, values), stock.update(keys, values), strict=True):
            assert torch.equal(got, want)
        if step == 1:
            ours.batch_repeat_interleave(2)
            stock.batch_repeat_interleave(2)
        if step == 3:
            ours.batch_select_indices(torch.tensor([0, 3, 5]))
            stock.batch_select_indices(torch.tensor([0, 3, 5]))
        assert torch.equal(ours.keys, stock.keys) and torch.equal(ours.values, stock.values)
        assert ours.get_seq_length() == stock.get_seq_length()


def test_decoder_forgets_dropped_rows_only(random_model, tokenizer):
    rows = [[1, 8, 9], [1, 8, 9, 10, 11], [1, 12]]
    with torch.no_grad():
        decoder = Decoder(random_model, tokenizer.pad_token_id)
        decoder.feed(rows)
        decoder.keep([2, 0])
        logits = decoder.feed([[13, 14], [15]])
        for i, row in enumerate(([1, 12, 13, 14], [1, 8, 9, 15])):
            want = random_model(input_ids=torch.tensor([row])).logits[0, -1]
            assert torch.allclose(logits[i], want, atol=1e-4)


@pytest.fixture(params=["text", "pictures", "two tiles"])
def game(request, tokenizer, hands):
    """Model, reader, task and problems."""
    if request.param == "text":
        return request.getfixturevalue("random_model"), tokenizer, LengthTask(), hands
    tiles = 2 if request.param == "two tiles" else 1
    processor = make_processor(make_tokenizer(vocabulary(pictures=True), pictures=True), 40)
    processor.image_processor.max_image_tiles = tiles
    shown = request.getfixturevalue("shown")
    return make_seeing(processor, tiles), processor, PictureTask(wide=tiles == 2), shown


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("step, reply", [(8, 48), (8, 0), (256, 48)])
def test_a_static_cache_plays_the_same(game, temperature, step, reply, monkeypatch):
    """Through several turns: rows are repeated, leave early, and the room grows on the way."""
    monkeypatch.setattr(static_decoding, "STEP", step)
    monkeypatch.setattr(rollouts, "REPLY", reply)  # none: the room turns out too small
    options = dict(samples=3, tries=4, temperature=temperature, seed=2)
    plain, static = play(*game, **options), play(*game, **options, static=True)
    assert max(len(e.turns) for e in plain) > 2 and len({len(e.turns) for e in plain}) > 1
    assert ids(plain) == ids(static)
    for one, other in zip(plain, static, strict=True):
        for a, b in zip(one.turns, other.turns, strict=True):
            assert a.logps == pytest.approx(b.logps, abs=1e-4)


def test_rows_without_an_episode_change_nothing(game):
    options = dict(samples=2, tries=3, temperature=1.0, static=True)
    assert ids(play(*game, **options, together=23)) == ids(play(*game, **options))


def test_a_static_room_is_of_few_shapes(random_model):
    decoder = StaticDecoder(random_model, 0, rows=6, columns=1000)
    with torch.no_grad():
        decoder.take([[5] * 200, [6] * 90], times=2)
        decoder.keep([0, 3])
        shapes, layer = set(), decoder.room.layers[0]
        address = layer.keys.data_ptr()
        for _ in range(350):
            logits = decoder.append(torch.tensor([[7], [8]]), torch.ones(2, 1, dtype=torch.long))
            shapes.add(tuple(layer.keys.shape))
    assert len(logits) == 2 and {shape[2] for shape in shapes} == {256, 512, 1000 + 24}
    assert {shape[0] for shape in shapes} == {6}  # dropped rows stay, so that the shape does
    assert layer.keys.data_ptr() == address and decoder.room is static_decoding.ROOMS[random_model]


def test_positions_of_new_tokens_are_contiguous(random_model):
    """A slice of all positions has a stride that grows, and CUDA graphs are recorded anew."""
    for decoder in (Decoder(random_model, 0), StaticDecoder(random_model, 0, 2, 30)):
        decoder.take([[5, 6, 7], [5]])
        found = decoder.grow(torch.tensor([[1], [1]]))
        assert found.tolist() == [[3], [1]] and found.is_contiguous() and found.stride() == (1, 1)


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_ten_groups_compile_few_shapes(kind, game, monkeypatch):
    """B3 and the graphs: 16-bit products over float32 weights, groups one after the other."""
    compiled = []

    def backend(graph, inputs):
        compiled.append([tuple(x.shape) for x in inputs if hasattr(x, "shape")])
        return graph.forward

    monkeypatch.setenv(precision.PRETEND, kind)
    as_gpu = replace(precision.hardware(), compiler=dict(backend=backend, dynamic=False))
    for module in rollouts, static_decoding:
        monkeypatch.setattr(module, "hardware", lambda: as_gpu)
    monkeypatch.setattr(static_decoding, "STEP", 32)
    torch._dynamo.reset()
    model, processor, task, problems = game
    many = [problems[i % len(problems)] for i in range(29)]
    options = dict(samples=1, tries=5, max_new_tokens=12, together=3)
    for _ in range(2):  # a second rollout compiles nothing new
        episodes = play(model, processor, task, many, **options)
        widths = max(len(e.ids) for e in episodes)
        shapes = {32 * 2**k for k in range(8) if 16 * 2**k < widths}
        assert 1 <= len(compiled) <= len(shapes) + 1 <= 5
    assert len(episodes) == 29 and max(len(e.turns) for e in episodes) == 5
    assert static_decoding.ROOMS[model].layers[0].dtype == precision.FORMATS[kind]


def test_each_model_has_compilations_of_its_own(game, monkeypatch):
    """Many models in one process (a notebook, a sweep) do not use up torch's limit."""
    monkeypatch.setenv(precision.PRETEND, "bf16")
    monkeypatch.setattr(static_decoding, "COMPILATIONS", 2)
    model, processor, task, problems = game
    twins = [copy.deepcopy(model) for _ in range(4)]  # all alive at once
    for twin in twins:
        episodes = play(twin, processor, task, problems[:2], tries=1, max_new_tokens=2)
        assert episodes and twin in static_decoding.COMPILED


def test_a_room_dies_with_its_model(random_model, tokenizer, length_task, hands):
    twin = copy.deepcopy(random_model)
    play(twin, tokenizer, length_task, hands, static=True)
    assert twin in static_decoding.ROOMS
    gone = weakref.ref(twin)
    del twin
    gc.collect()
    assert gone() is None


def test_answers_end_at_any_stop_token_of_the_model(random_model, tokenizer, length_task, hands):
    """Llama names three of them; only one ends a turn of its template."""
    options = dict(samples=8, tries=2, max_new_tokens=6)
    before = play(random_model, tokenizer, length_task, hands, **options)
    said = Counter(i for e in before for t in e.turns for i in e.ids[t.start : t.end - 1])
    word = next(i for i, _ in said.most_common() if i != tokenizer.eos_token_id)
    config = copy.deepcopy(random_model.generation_config)
    try:
        random_model.generation_config.eos_token_id = [tokenizer.eos_token_id, word]
        episodes = play(random_model, tokenizer, length_task, hands, **options)
    finally:
        random_model.generation_config = config
    ended = 0
    for episode in episodes:
        for turn in episode.turns:
            answer = episode.ids[turn.start : turn.end]
            assert word not in answer[:-1]
            if answer[-1] == word and turn is not episode.turns[-1]:
                ended += 1  # the chat goes on as its template says
                assert episode.ids[turn.end] == tokenizer.eos_token_id
    assert ended


def test_groups_play_what_one_batch_plays(game):
    """Greedy answers do not depend on who plays at the same time."""
    options = dict(samples=2, tries=3, temperature=0)
    assert ids(play(*game, **options, together=3)) == ids(play(*game, **options))


# --- rows that are free, and memory that is -------------------------------------------


def played_with(monkeypatch, game, **options):
    """Episodes, and how many tokens were decoded one after the other."""
    steps, append = [0], Decoder.append

    def counted(self, ids, fresh, **seen):
        steps[0] += ids.dim() == 2 and ids.shape[1] == 1
        return append(self, ids, fresh, **seen)

    monkeypatch.setattr(Decoder, "append", counted)
    episodes = play(*game, **options)
    monkeypatch.setattr(Decoder, "append", append)
    return episodes, steps[0]


@pytest.mark.parametrize("step", [16, 256])
def test_a_free_row_takes_the_next_problem(game, step, monkeypatch):
    """Greedy episodes stay what they are, and fewer tokens are decoded one after the other."""
    monkeypatch.setattr(static_decoding, "STEP", step)
    model, processor, task, problems = game
    many = model, processor, task, [problems[i % len(problems)] for i in range(17)]
    options = dict(samples=1, tries=5, max_new_tokens=12, temperature=0)
    alone = play(*many, **options)
    uneven = len({len(e.turns) for e in alone}) > 1  # they end at different times
    assert uneven or alone[0].pixels
    waited, slow = played_with(monkeypatch, many, **options, together=3)
    refilled, fast = played_with(monkeypatch, many, **options, together=3, static=True)
    assert ids(refilled) == ids(waited) == ids(alone)
    assert [e.problem for e in refilled] == many[3]
    assert fast < slow if uneven else fast <= slow


def test_an_episode_in_a_row_of_another_is_one_of_the_policy(game):
    """Log-probabilities of sampled answers are those of the update's full pass."""
    model, processor, task, problems = game
    many = [problems[i % len(problems)] for i in range(9)]
    episodes = play(
        model, processor, task, many, samples=2, tries=4, max_new_tokens=9, together=5, static=True
    )
    assert len(episodes) == 18 and {len(e.turns) for e in episodes} > {1, 4}
    batch = pack(episodes, vision.tokenizer_of(processor).pad_token_id)
    with torch.no_grad():
        logps = policy(model, batch)[0]
    assert (logps - batch.old_logps).abs().max() < 1e-4


def test_a_seed_replays_rows_that_are_refilled(game):
    options = dict(samples=2, together=4, static=True)
    one, two, other = (play(*game, **options, seed=seed) for seed in (1, 1, 2))
    assert ids(one) == ids(two) != ids(other)


def test_rows_do_not_see_what_they_held_before(random_model):
    """A row that is lent again begins at column 0; rows come to different columns."""
    decoder = StaticDecoder(random_model, 0, rows=2, columns=100)
    with torch.no_grad():
        decoder.take([[5, 6, 7, 8, 9], [6]])
        decoder.append(torch.tensor([[7], [8]]), torch.ones(2, 1, dtype=torch.long))
        decoder.keep([1])  # row 0 is free
        logits = decoder.take([[9, 8, 7]])
        assert decoder.live == [1, 0]
        alone = random_model(input_ids=torch.tensor([[9, 8, 7]])).logits[0, -1]
        assert torch.allclose(logits[0], alone, atol=1e-5)
        both = decoder.feed([[10, 11, 12], [13]])
        for row, found in zip(([6, 8, 10, 11, 12], [9, 8, 7, 13]), both, strict=True):
            alone = random_model(input_ids=torch.tensor([row])).logits[0, -1]
            assert torch.allclose(found, alone, atol=1e-5)


def test_episodes_at_once_are_a_power_of_two_that_fits(random_model, monkeypatch):
    for module in rollouts, static_decoding:
        monkeypatch.setattr(module, "ROOMS", {})
    token, picture = static_decoding.cache_bytes(random_model.config, 2)
    row = (1000 + 2 * 100) * token + 2 * picture + 20 * random_model.config.text_config.vocab_size

    def at_once(rows, episodes):
        free = None if rows is None else (lambda: int(rows * row / rollouts.FILLED) + 1)
        answer = replace(precision.hardware(), format=torch.bfloat16)
        answer = replace(answer, free=free) if free else answer
        for module in rollouts, static_decoding:
            monkeypatch.setattr(module, "hardware", lambda: answer)
        return rollouts.episodes_at_once(random_model, 100, 1000, episodes)

    assert at_once(None, 1000) == rollouts.TOGETHER == 64  # nobody knows
    assert at_once(1000, 512) == rollouts.MOST == 256
    assert [at_once(1000, n) for n in (3, 64, 65, 128, 129)] == [64, 64, 128, 128, 256]
    assert [at_once(n, 512) for n in (255, 128, 63, 9, 0)] == [128, 128, 32, 8, 1]


def test_a_rollout_asks_for_free_memory_on_a_gpu_alone(
    random_model, tokenizer, length_task, hands, monkeypatch
):
    asked, made = [], []

    def free():
        asked.append(1)
        return 10**5

    class Noted(StaticDecoder):
        def __init__(self, model, pad, rows, columns):
            made.append(rows)
            super().__init__(model, pad, rows, columns)

    monkeypatch.setattr(rollouts, "StaticDecoder", Noted)
    options = dict(samples=2, tries=2, temperature=0)
    plain = play(random_model, tokenizer, length_task, hands, **options)
    monkeypatch.setenv(precision.PRETEND, "bf16")
    as_gpu = replace(precision.hardware(), format=torch.float32, compiler=None, free=free)
    for module in rollouts, static_decoding:
        monkeypatch.setattr(module, "hardware", lambda: as_gpu)
    monkeypatch.setattr(precision, "hardware", lambda: as_gpu)
    found = play(random_model, tokenizer, length_task, hands, **options)
    assert asked and made[0] < 8 and ids(found) == ids(plain)
    asked.clear()
    play(random_model, tokenizer, length_task, hands, **options, together=6)
    assert made[-1] == 6 and not asked  # who says how many is not asked again


def test_a_model_on_the_cpu_is_played_as_there_beside_a_gpu(
    random_model, tokenizer, length_task, hands, monkeypatch
):
    """A cache in the GPU's format would not fit its float32 queries."""
    plain = play(random_model, tokenizer, length_task, hands, temperature=0)
    beside = replace(precision.hardware(), device=torch.device("cuda"), gpu=True)
    beside = replace(beside, format=torch.float16)
    for module in rollouts, static_decoding:
        monkeypatch.setattr(module, "hardware", lambda: beside)
    assert ids(play(random_model, tokenizer, length_task, hands, temperature=0)) == ids(plain)
