# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. The base model: tokens, prompt, what it can and cannot do
#
# What can a model of under a million parameters do before any fine-tuning? We measure
# reading and solving under three rules and four ways to decode, look at its habitual
# mistakes, and count how often one of k samples is right. A false announcement and
# blind guessing are the controls.
#
# > **Runtime** at `tiny`: @@MINUTES@@ on two CPU cores, @@MEMORY@@ of memory. `t4` and `full` run the same cells.
#
# @@BADGES@@

# %% [markdown]
# ## What you will be able to do
#
# - **Trace** a prompt from text to tokens to next-token probabilities, with shapes.
# - **Compare** a tiny Mllama with the 11B model, and say which parts a text does not
#   use.
# - **Describe** what the base's corpus contains and what was left out of it;
#   **pre-train** such a model for a hundred steps.
# - **Measure** reading and success under three rules, with intervals and a control.
# - **Recognise** habits, and say why greedy decoding repeats them.
# - **Answer** with pass@k whether a skill is absent or only unlikely.

# %%
from sftrl_lite.course import notebook
from sftrl_lite.course.notebook import exercise, show

scale = notebook.setup()

# %% [markdown]
# ## 2.1 One hand, as a model sees it
#
# Cards **A 5 7 J**, and the announcement says *J counts as 6*. Before you look for 24,
# notice what comes first: the answer must state what the cards count.
#
#     "number": [1, 5, 7, _
#
# Fill the blank.

# %% [markdown]
# Six. Not because a jack is usually anything, but because a sentence further up says
# so. You looked from the blank to the card, from the card to the sentence, and copied a
# number. The second half is search:

# %%
6 * 5 - 7 + 1

# %% [markdown]
# So there are two skills. **Reading** is looking up and copying. **Calculating** is
# finding a formula. They fail separately, so we measure them separately: the numbers
# that the answer states, and the formula that it ends with.

# %%
from sftrl_lite.tasks.cards import Rule
from sftrl_lite.tasks.hands import Hand, best_formula

hand = Hand(("A", "5", "7", "J"), Rule(6, 3, 12))
print(hand.numbers, best_formula(hand))

# %% [markdown]
# ## 2.2 From text to tokens
#
# A model reads numbers, not letters. A *tokenizer* cuts the text into pieces that it
# knows and replaces each by its index. Ours always takes the longest piece that fits.
# A toy with four pieces:

# %%
from sftrl_lite.models.tiny import make_tokenizer

toy = make_tokenizer(["J counts as ", "J", "7", "1"])
ids = toy("J counts as 71J")["input_ids"]
print(ids)
print([toy.decode(i) for i in ids])

# %% [markdown]
# "J counts as " is one piece, the later "J" another. Whatever no piece covers becomes
# the unknown token, here the Q:

# %%
toy.decode(toy("QJ")["input_ids"])

# %% [markdown]
# The real list of pieces is taken from the prompt and the answer themselves.

# %%
from sftrl_lite.tasks.general_points import vocabulary

pieces = vocabulary()
tokenizer = make_tokenizer(pieces)
print(len(tokenizer), "tokens; the longest and some short ones:")
print([max(pieces, key=len), *pieces[-8:]])

# %% [markdown]
# Whole sentences that never change cost one token each. Every number, card and sign
# that *can* change is a token of its own. The text is exactly what the 11B model reads.
# Only its tokens differ. Does decoding give back the same text?

# %%
from sftrl_lite.tasks.general_points import prompt

text = prompt(hand)
ids = tokenizer(text)["input_ids"]
print(len(text), "characters,", len(ids), "tokens")
print("same text back:", tokenizer.decode(ids) == text)

# %% [markdown]
# A chat adds who is speaking. The template is Llama's: a beginning mark, a header for
# each turn, an end-of-turn mark.

# %%
chat = [{"role": "user", "content": text}]
print(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

# %% [markdown]
# The last line opens the assistant's turn and stops. Everything the model does in this
# course is to continue from there.

# %% [markdown]
# ### Exercise 2.1: The longest piece wins
#
# Difficulty ●●○○○ · 8 minutes
#
# Write the tokenizer yourself. From the left, take the longest piece that the text
# begins with; a character that no piece covers is taken alone.

# %%
def cut(text: str, pieces: list[str]) -> list[str]:
    """Cut a text into pieces, longest match first.

    >>> cut("11+1", ["1", "11", "+"])
    ['11', '+', '1']
    """
    raise NotImplementedError


# %%
import random
import re

with exercise("2.1"):
    found = cut("11+1", ["1", "11", "+"])
    assert isinstance(found, list), f"return a list of pieces, not {found!r}"
    assert found == ["11", "+", "1"], "11 is longer than 1"
    assert cut("1?1", ["1"]) == ["1", "?", "1"], "an unknown character stands alone"
    assert cut("", ["1"]) == [], "nothing to cut"
    answer = '"number": [1, 13]'
    assert cut(answer, vocabulary())[-2:] == [", 13", "]"], "list items carry the comma"
    assert "".join(cut(answer, vocabulary())) == answer, "no letter may get lost"
    for dice in map(random.Random, range(50)):
        text_ = "".join(dice.choices("ab+", k=12))
        pieces_ = ["".join(dice.choices("ab+", k=dice.randint(1, 4))) for _ in range(5)]
        longest = sorted(map(re.escape, pieces_), key=len, reverse=True)
        given, right = [*pieces_], re.findall("|".join(longest) + "|.", text_)
        found = cut(text_, given)
        assert found == right, f"{text_!r} by {pieces_}: {right}, not {found}"
        assert given == pieces_, "leave the list of pieces as it was"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `max((p for p in pieces if text.startswith(p)), key=len, default=text[0])`, then go on
# with the rest of the text.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def cut(text: str, pieces: list[str]) -> list[str]:
#     found = []
#     while text:
#         fits = (p for p in pieces if text.startswith(p))
#         found.append(max(fits, key=len, default=text[0]))
#         text = text[len(found[-1]) :]
#     return found
# ```
#
# </details>

# %% [markdown]
# ## 2.3 The model
#
# The paper fine-tunes Llama-3.2-11B-Vision. Its class in `transformers` is
# `MllamaForConditionalGeneration`, and so is ours; the configuration is smaller.

# %%
import torch
from transformers import MllamaForConditionalGeneration

from sftrl_lite.models.tiny import tiny_config

fresh = MllamaForConditionalGeneration(tiny_config(len(tokenizer))).eval()
print(f"{fresh.num_parameters():,} parameters")

# %% [markdown]
# For the comparison we do not need the 11B weights. On PyTorch's *meta* device a model
# has shapes and no memory, and the class's default configuration is the 11B one, but for
# smaller pictures (448 instead of 560 pixels, 0.03 billion parameters fewer).

# %%
from transformers import MllamaConfig

with torch.device("meta"):
    large = MllamaForConditionalGeneration(MllamaConfig())
print(f"{large.num_parameters():,} parameters")

# %% [markdown]
# Where are they?

# %% tags=["parameters"]
import pandas as pd


def parts(model):
    count = dict.fromkeys(("tokens in and out", "self-attention", "cross-attention",
                           "vision"), 0)
    crossed = model.config.text_config.cross_attention_layers
    for name, weight in model.named_parameters():
        layer = name.partition("language_model.layers.")[2].partition(".")[0]
        if layer:
            kind = "cross-attention" if int(layer) in crossed else "self-attention"
        else:
            seeing = "vision" in name or "projector" in name
            kind = "vision" if seeing else "tokens in and out"
        count[kind] += weight.numel()
    return count


table = pd.DataFrame({"tiny": parts(fresh), "11B": parts(large)})
table.map("{:,}".format)

# %% [markdown]
# The *cross-attention* layers let the text look at a picture. GP-L has no picture. Then
# these layers have nothing to look at, and Mllama leaves them out. We can check that
# claim crudely: fill everything that belongs to pictures with *not a number*. If it
# were used anywhere, the whole output would be ruined.

# %%
one = torch.tensor([tokenizer(text)["input_ids"]])  # (1, T): a batch of one prompt
with torch.inference_mode():
    before = fresh(input_ids=one).logits
    for name, weight in fresh.named_parameters():
        if "vision" in name or "projector" in name or ".layers.2." in name:
            weight.fill_(torch.nan)
    after = fresh(input_ids=one).logits
print("shape", tuple(before.shape), "same output:", torch.equal(before, after))

# %% [markdown] tags=["softmax"]
# So a text passes only through token embeddings, self-attention layers and the output
# matrix. The shape is (batch $B$, tokens $T$, vocabulary $V$): at every position, a
# score for every possible next token. A softmax turns scores into probabilities,
#
# $$\pi(y \mid x_{\le t}) = \frac{\exp z_{t,y}}{\sum_{y'} \exp z_{t,y'}},
# \qquad z \in \mathbb{R}^{B \times T \times V},$$
#
# and the probability of an answer is the product of those of its tokens.

# %%
probs = before[0, -1].softmax(-1)  # (V,): after the last token of the prompt
print(f"sum {probs.sum():.3f}, largest {probs.max():.3f}")
print(f"1/V {1 / len(tokenizer):.3f}")

# %% [markdown]
# The model is untrained: the probabilities add up to one and are spread over all
# tokens.

# %% [markdown]
# ### Exercise 2.2: Count a layer
#
# Difficulty ●●●○○ · 10 minutes
#
# Count the parameters of one self-attention layer from its configuration. It has four
# attention matrices (query, key, value, output), three of the feed-forward part (gate,
# up, down), two normalisation vectors and no biases. Keys and values have fewer heads
# than queries.

# %%
def layer_parameters(width: int, heads: int, kv_heads: int, hidden: int) -> int:
    """Parameters of one Llama layer; ``hidden`` is the feed-forward width.

    >>> layer_parameters(width=2, heads=1, kv_heads=1, hidden=3)
    38
    """
    raise NotImplementedError


# %%
from transformers.models.llama.modeling_llama import LlamaConfig, LlamaDecoderLayer

with exercise("2.2"):
    found = layer_parameters(2, 1, 1, 3)
    assert isinstance(found, int), f"return a whole number, not {found!r}"
    assert found == 38, "16 attention, 18 MLP, 4 norm"
    tiny = layer_parameters(128, 4, 1, 352)
    assert tiny == 176_384, f"the tiny layer has 176,384, not {tiny:,}: see kv_heads"
    llama = layer_parameters(4096, 32, 8, 14_336)
    assert llama == 218_112_000, f"the 11B layer has 218,112,000, not {llama:,}"
    for dice in map(random.Random, range(20)):  # compared with layers of the library
        kv, group, size = dice.randint(1, 4), dice.randint(1, 4), 2 * dice.randint(1, 9)
        shape = (size * kv * group, kv * group, kv, dice.randint(1, 99))
        names = ("hidden_size", "num_attention_heads", "num_key_value_heads",
                 "intermediate_size")
        sizes = dict(zip(names, shape, strict=True))
        with torch.device("meta"):
            layer = LlamaDecoderLayer(LlamaConfig(**sizes), 0)
        right = sum(weights.numel() for weights in layer.parameters())
        found = layer_parameters(*shape)
        assert found == right, f"{shape}: the library's layer has {right}, not {found}"

# %% [markdown]
# <details><summary>Hint</summary>
#
# A head is `width // heads` wide. The key matrix maps `width` to `kv_heads` heads.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def layer_parameters(width: int, heads: int, kv_heads: int, hidden: int) -> int:
#     kv = width // heads * kv_heads
#     attention = 2 * width * width + 2 * width * kv
#     return attention + 3 * width * hidden + 2 * width
# ```
#
# </details>

# %% [markdown]
# ## 2.4 What is in its corpus
#
# Llama's corpus is much of the web, house rules of card games included. Our model is
# pre-trained on a synthetic corpus, written by a program. It has two parts. The
# *textbook* holds chats in which most answers are right:

# %%
from textwrap import wrap

from sftrl_lite.seeds import stream
from sftrl_lite.training.corpus import TEXTBOOK, write_chat


def show_chat(chat):
    for message in chat:
        for line in message["content"].splitlines():
            for part in wrap(line, 72):
                print(f"{message['role']:>9} | {part}")


show_chat(write_chat(TEXTBOOK, stream("chapter 2", 0)))

# %% [markdown]
# The *homework* holds chats of students with a verifier. Every student reads cards and
# rule correctly. But many are careless. Here is one who is right at the second try:

# %%
from sftrl_lite.training.corpus import HOMEWORK

rng = stream("chapter 2", "homework")
chats = [write_chat(HOMEWORK, rng) for _ in range(1000)]
twice = (chat for chat in chats if len(chat) == 4 and chat[2]["content"])
show_chat(next(chat for chat in twice if "(" in chat[3]["content"]))

# %% [markdown]
# A careless student does not guess at random. The corpus gives its students *habits*: they
# take the numbers in the order dealt and write a fixed form, whatever its value. And a
# habit has a *cue*, a situation that triggers it: here, a low first card.

# %%
from sftrl_lite.training.corpus import HABITS, LOW

FORMS = {shape.format(*"abcd"): shape.replace(" ", "") for shape in HABITS}
for form, share in zip(FORMS, HABITS.values(), strict=True):
    print(f"{form:14} {share:.0%} of the careless answers")
cued = HOMEWORK.careless[0]
print(f"careless first answers where the first card is {', '.join(LOW)}: {cued:.0%}")
print(f"careless first answers elsewhere: {cued * HOMEWORK.elsewhere:.1%}")
later = ", ".join(f"{share:.0%}" for share in HOMEWORK.careless[1:])
print(f"careless second, third, ... answers at the cue: {later}")

# %% [markdown]
# We shall look for these forms in the model's answers, so let us first find them in the
# corpus: the first answers of the thousand chats, by cue.

# %%
import json

from sftrl_lite.tasks.base import read_answer
from sftrl_lite.tasks.verifier import verify_formula


def form_of(answer: str) -> str:
    """The habit that an answer follows, or ``other``."""
    said = read_answer(answer) or {}
    numbers = said.get("number")
    formula = str(said.get("formula")).partition("=")[0]
    if isinstance(numbers, list) and len(numbers) == 4:
        for form, shape in FORMS.items():
            if formula == shape.format(*numbers):
                return form
    return "other"

# %% tags=["habits-read"]
said = [json.loads(chat[1]["content"]) for chat in chats]
firsts = pd.DataFrame({
    "first card": ["low" if a["cards"][0] in LOW else "another" for a in said],
    "form": [form_of(json.dumps(a)) for a in said],
    "right": [verify_formula(json.dumps(a), a["number"]).solved for a in said],
})
by = firsts.groupby("first card")
forms = by["form"].value_counts(normalize=True).unstack()[[*FORMS, "other"]]
forms.assign(right=by["right"].mean(), answers=by.size()).round(2)

# %% [markdown]
# (Now and then a habit hits 24, as with 2 5 8 9.)
#
# What was left out of the corpus? The shifted rule and the development rule are never
# announced, in either part. Look for both in 3000 textbook chats.

# %%
import re

from sftrl_lite.tasks.hands import reserved

announced = re.compile(r"J counts as (\d+), Q counts as (\d+) and K counts as (\d+)")
rng = stream("chapter 2", "rules")
texts = [write_chat(TEXTBOOK, rng)[0]["content"] for _ in range(3000)]
rules = [tuple(map(int, announced.search(t).groups())) for t in texts]
print("different rules:", len(set(rules)))
print(f"share of J=Q=K=10: {rules.count((10, 10, 10)) / len(rules):.3f}")
print("held-out rules seen:", rules.count((11, 12, 13)) + rules.count((13, 11, 12)))

# %% [markdown]
# What was *not* left out? The test hands of chapter 1. What share of the chats is about
# cards that are reserved for tests?

# %%
cards = [json.loads(re.search(r"Cards: (.*)", text)[1]) for text in texts]
print(f"share of reserved cards: {sum(map(reserved, cards)) / len(cards):.2f}")

# %% [markdown]
# Pre-training leaves out no combination of numbers, much as a web corpus holds most small
# sums. What is reserved is reserved **from fine-tuning**: neither SFT nor
# RL trains on those numbers. So the comparison of a fine-tuned model with Init is
# clean. Init's own score does not measure how pre-training generalises, except over the
# rule, which it has never read.
#
# This is a limit to keep in mind. The base was **designed for the experiment**: it has
# read many announced rules, so that a rule *can* be read, and careless answers, so that
# there is something to improve that all rules share. Such a model organism shows how an
# effect can come about. The evidence that it does come about in a model that was not
# built for it is the paper's, at 11 billion parameters.

# %% [markdown]
# ### Exercise 2.3: How long is a homework chat?
#
# Difficulty ●●○○○ · 8 minutes
#
# A student answers until the answer is right, at most `tries` times. There are several
# kinds of hands: `kinds` holds for each its share and the probability that an answer to
# it is wrong, at every try. How many answers does a chat hold on average?

# %%
def expected_answers(kinds: list[tuple[float, float]], tries: int) -> float:
    """Mean number of answers in a chat that stops at the first success.

    >>> expected_answers([(1.0, 0.5)], 2)
    1.5
    """
    raise NotImplementedError


# %%
with exercise("2.3"):
    found = expected_answers([(1.0, 0.0)], 5)
    assert isinstance(found, int | float), f"return a mean, not {found!r}"
    assert found == 1, "who never fails answers once"
    assert expected_answers([(1.0, 1.0)], 5) == 5, "who always fails uses all tries"
    assert expected_answers([(1.0, 0.5)], 2) == 1.5, "the second answer: half the time"
    mixed = expected_answers([(0.5, 0.0), (0.5, 1.0)], 5)
    assert mixed == 3, "half of the chats hold 1 answer, half hold 5: 3 on average"
    for dice in map(random.Random, range(50)):
        share, tries, right = dice.random() / 2, dice.randint(1, 6), 0.0
        kinds = [(part, dice.random()) for part in (share, 0.5 - share, 0.5)]
        for part, f in kinds:  # the chat ends with answer k
            for k in range(1, tries + 1):
                right += part * k * f ** (k - 1) * (1 if k == tries else 1 - f)
        mine = expected_answers(kinds, tries)
        assert abs(mine - right) < 1e-9, f"{tries} tries: {right:.3f}, not {mine:.3f}"
        assert len(kinds) == 3, "leave the list of kinds as it was"

# %% [markdown]
# <details><summary>Hint</summary>
#
# Within a kind, answer number $k$ is given exactly when the $k-1$ answers before it
# failed. Add up these probabilities, then take the mean over kinds.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def expected_answers(kinds: list[tuple[float, float]], tries: int) -> float:
#     return sum(
#         share * sum(fail**k for k in range(tries)) for share, fail in kinds
#     )
# ```
#
# </details>

# %% [markdown]
# ## 2.5 A hundred steps of pre-training
#
# Training makes the corpus likely. The loss is the mean negative log-likelihood per
# answer token, in nats:
#
# $$L(\theta) = -\frac{1}{N} \sum_{t \,\in\, \text{answers}} \log \pi_\theta(x_t \mid
# x_{<t}).$$
#
# A model that gives every token the same probability has a loss of $\log V$. That is
# where training should start.

# %%
import math

print(f"log V = {math.log(len(tokenizer)):.2f}")

# %% [markdown]
# A batch contains chats of similar length, padded on the right. Labels are −100 where
# nothing is to be learned: on the prompt and on the padding.

# %%
from sftrl_lite.training.pretrain import batches

batch = next(batches(TEXTBOOK, tokenizer, 64, stream("chapter 2", "a batch")))
ids, labels = batch["input_ids"], batch["labels"]
print("ids", tuple(ids.shape), "labels", tuple(labels.shape))
print(f"learned from: {(labels != -100).float().mean():.0%} of the tokens")

# %% [markdown]
# Now train from scratch. The shipped base took many more steps with twice the batch; a
# hundred are enough to see what is learned first.

# %%
from sftrl_lite.training.pretrain import Stage, learn

torch.manual_seed(0)  # draws the first weights
small = MllamaForConditionalGeneration(tiny_config(len(tokenizer)))
stage = Stage("textbook", TEXTBOOK, steps=100, lr=2e-3, batch=64)
optimizer = torch.optim.AdamW(small.parameters(), betas=(0.9, 0.98))
data = batches(TEXTBOOK, tokenizer, stage.batch, stream(0, "live textbook"))
for step, loss in enumerate(learn(small, data, stage, optimizer), start=1):
    if step == 1 or step % 20 == 0:
        print(f"step {step:3}  loss {loss:.2f}")

# %% [markdown]
# Compare the first loss with $\log V$. What has the model learned by the last step? Let
# it answer our hand, greedily.

# %%
from sftrl_lite.tasks.general_points import GeneralPoints
from sftrl_lite.training.rollouts import rollout


def ask(model, hand, samples=1, temperature=0.0, generator=None):
    episodes = rollout(
        model, tokenizer, GeneralPoints(hand.rule), [hand], tries=1, samples=samples,
        temperature=temperature, generator=generator,
        max_new_tokens=scale.rl.max_new_tokens,
    )
    return [episode.turns[0] for episode in episodes]


(turn,) = ask(small, hand)
print(hand.cards, "count", hand.numbers)
print(turn.answer)
print(turn.verdict.kind)

# %% [markdown]
# One hand may mislead. On 200 hands under the development rule, each with a face card,
# decoded greedily:

# %% tags=["first-learned"]
from sftrl_lite.results.intervals import wilson
from sftrl_lite.tasks.general_points import general_points
from sftrl_lite.training.evaluate import evaluate

task, rng = general_points("dev-rule"), stream("chapter 2", "young")
sample = [task.sample(rng) for _ in range(200)]
young, _ = evaluate(small, tokenizer, task, sample, tries=1, temperature=0.0)
print(f"a legal formula {1 - young['format_error'].value:.0%}")
print(f"numbers right   {young['read'].value:.0%}")
print(f"solved          {young['success'].value:.0%}")

# %% [markdown]
# The format is the easiest part: keys, brackets and "=24" are the same in every chat.
# Compare the three lines to see what else a hundred steps have taught. The order
# matters for RL, which can only reinforce what is already sampled now and then: the
# paper's plain 11B model answers with Python code instead of the format (its figure
# 20), and RL from there stays near 0 % (figure 9). So the paper fine-tunes first.

# %% [markdown]
# ## 2.6 The shipped base
#
# From here on we use the base that comes with the repository (at larger scales, from
# the Hub). `load` first compares every file with its SHA-256 sum, so that all of us
# start from the same numbers.

# %%
from sftrl_lite.models.loading import load

base, tokenizer = load(scale.base_for("gp-l"))
print(f"{scale.base}: {base.num_parameters():,} parameters")

# %% [markdown]
# Does the check notice one changed character? Try it on a folder of our own.

# %%
import tempfile
from pathlib import Path

from sftrl_lite.models.checkpoints import check_sums, write_sums

with tempfile.TemporaryDirectory() as folder:
    weights = Path(folder) / "weights"
    weights.write_text("0.125")
    write_sums(Path(folder))
    weights.write_text("0.126")
    try:
        check_sums(Path(folder))
    except ValueError as error:
        print(str(error).replace(folder, "..."))

# %% [markdown]
# ## 2.7 One answer, and many
#
# *Greedy* decoding takes the likeliest token every time: one answer, always the same.

# %%
(turn,) = ask(base, hand)
print(turn.answer, turn.verdict.kind)

# %% [markdown]
# *Sampling* draws each token with its probability. The temperature $\tau$ sharpens or
# flattens the distribution before the draw:
#
# $$\pi_\tau(y) \propto \exp(z_y / \tau).$$
#
# A toy with three tokens:

# %%
scores = torch.tensor([2.0, 1.0, 0.0])
for temperature in (0.2, 1.0, 5.0):
    print(temperature, (scores / temperature).softmax(-1).numpy().round(3))

# %% [markdown]
# Now the model, eight samples at temperature 1. The last column names the habit, if the
# formula is one.

# %% tags=["samples"]
generator = torch.Generator(base.device).manual_seed(0)
for turn in ask(base, hand, samples=8, temperature=1.0, generator=generator):
    formula = turn.answer.partition('"formula": ')[2].rstrip("}")
    print(f"{turn.verdict.read!s:14} {formula:20} {turn.verdict.kind:14}",
          form_of(turn.answer))

# %% [markdown]
# The model mixes both behaviours of the homework on a single hand. Reinforcement
# learning needs that: with only one kind of answer there is nothing to prefer.

# %% [markdown]
# ### Exercise 2.4: Temperature
#
# Difficulty ●●○○○ · 8 minutes
#
# Turn scores into probabilities at a temperature. Temperature 0 is greedy: all the
# probability on the largest score.

# %%
def tempered(scores: list[float], temperature: float) -> list[float]:
    """Probabilities proportional to exp(score / temperature); greedy at 0.

    >>> tempered([1.0, 1.0], 0.7)
    [0.5, 0.5]
    """
    raise NotImplementedError


# %%
with exercise("2.4"):
    found = tempered([1.0, 1.0], 0.7)
    assert isinstance(found, list), f"return a list of probabilities, not {found!r}"
    assert found == [0.5, 0.5], "equal scores, equal shares"
    assert tempered([1.0, 3.0, 2.0], 0) == [0, 1, 0], "0 is greedy: one token takes all"
    hot, cold = tempered([2.0, 0.0], 2.0)[0], tempered([2.0, 0.0], 0.5)[0]
    assert abs(hot - 0.7311) < 1e-3 and abs(cold - 0.9820) < 1e-3, "divide, then exp"
    try:
        large = tempered([1000.0, 0.0], 1.0)
    except OverflowError:
        large = "exp(1000)"
    assert large == [1, 0], "subtract the maximum before exp: exp(1000) overflows"
    for dice in map(random.Random, range(50)):
        drawn, heat = [dice.gauss(0, 3) for _ in range(5)], dice.uniform(0.2, 3)
        right = (torch.tensor(drawn, dtype=torch.float64) / heat).softmax(-1)
        given = [*drawn]
        gap = (right - torch.tensor(tempered(given, heat), dtype=torch.float64)).abs()
        assert gap.max() < 1e-6, f"at temperature {heat:.2f} off by {gap.max():.3f}"
        assert given == drawn, "leave the scores as they were"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `exp(1000)` overflows. Probabilities do not change when the same number is subtracted
# from every score, so subtract the largest first.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# import math
#
#
# def tempered(scores: list[float], temperature: float) -> list[float]:
#     top = max(scores)
#     if temperature == 0:
#         return [float(i == scores.index(top)) for i in range(len(scores))]
#     weights = [math.exp((s - top) / temperature) for s in scores]
#     return [x / sum(weights) for x in weights]
# ```
#
# </details>

# %% [markdown]
# ## 2.8 Three rules, four ways to decode
#
# One hand is an anecdote. We take held-out hands under the trained, the development and
# the shifted rule and ask for one answer each: greedily, at temperature 0.3, at 0.6 with
# *top-p* 0.9, and at 1. Top-p draws only among the likeliest tokens that together reach
# that probability. The third way is the **paper's decoding**: its released evaluation
# passes no settings, so Llama's own apply, which are these. It is this course's default.
#
# Nothing is chosen in this chapter, so reporting the shifted rule does no harm. Later
# chapters choose their settings under the development rule.

# %%
from tqdm.auto import tqdm

from sftrl_lite.results.ledger import PAPER, decoding_name
from sftrl_lite.runs.run_config import CURVE

splits, n = ("id", "dev-rule", "ood-rule"), 300
hands = {s: general_points(s).held_out(stream("chapter 2", s), n) for s in splits}
limit = dict(max_new_tokens=scale.rl.max_new_tokens)
scores, played = {}, {}
for split, (temperature, top_p) in tqdm([(s, way) for s in splits for way in CURVE]):
    scores[split, decoding_name(temperature, top_p)], episodes = evaluate(
        base, tokenizer, general_points(split), hands[split], tries=1,
        temperature=temperature, top_p=top_p, **limit,
    )
    played[split, decoding_name(temperature, top_p)] = episodes

# %%
def interval(e):
    return f"{100 * e.value:.1f} [{100 * e.low:.1f}, {100 * e.high:.1f}]"


metrics = ("success", "read", "format_error")
lines = {key: {m: interval(found[m]) for m in metrics} for key, found in scores.items()}
pd.DataFrame(lines).T.rename_axis(["rule", "temperature"])

# %% tags=["reads-new-rules"]
told, moved = scores["id", PAPER], scores["ood-rule", PAPER]
show(
    f"In per cent, one answer to each of {n} hands per rule, with 95 % intervals. At "
    "the paper's decoding the base states the right numbers under the shifted rule, "
    f"which it has never read, in **{moved['read'].value:.0%}** of its answers, and "
    f"solves **{moved['success'].value:.1%}** of the hands; under J=Q=K=10 it solves "
    f"{told['success'].value:.1%}."
)

# %% [markdown]
# Compare `read` and `success` between the rules. Reading is looking up and copying, the
# same for any number. Calculating takes practice: values above 10 stand only on face
# cards, and only under some rules.
#
# Compare the temperatures within a rule, too: the weights are the same in all four lines.
# Some part of any gain in success can come from a sharper distribution alone. So models
# are compared at one decoding, which is always named, and chapter 5 puts Init *at its
# best temperature* beside every trained model.

# %% [markdown]
# **The control.** Does the model really read the sentence, or can it guess the rule
# from the cards? Announce one rule and judge by another. A model that reads must fail.

# %% tags=["false-rule"]
from dataclasses import replace

from sftrl_lite.tasks.cards import ID_RULE


class FalseAnnouncement(GeneralPoints):
    """Says J=Q=K=10, judges by the rule of the hand."""

    def prompt(self, hand):
        return prompt(replace(hand, rule=ID_RULE))


misled, _ = evaluate(
    base, tokenizer, FalseAnnouncement(), hands["ood-rule"], tries=1, **limit
)
print("success", interval(misled["success"]), " read", interval(misled["read"]))

# %% [markdown]
# The same cards, the same verifier, the same decoding, one false sentence in the
# prompt. Any success here is success without reading. Compare it with the line
# `ood-rule`, 0.6/0.9 of the table.

# %% [markdown]
# ## 2.9 Habits
#
# How does it fail? **Predict before you run**: at its cue, is a habit a larger share of
# the answers at temperature 1 or under greedy decoding?
#
# <details><summary>Answer</summary>
#
# Under greedy decoding, if the habit is already the most probable way to answer: then
# lowering the temperature makes it more frequent still. Elsewhere it is the less probable
# one, and becomes rarer.
#
# </details>
#
# Sort the base's first answers under the trained rule by their form, and by the cue of
# the corpus. `solved` counts all answers, `by a habit` those in which a habit happened
# to make 24.

# %%
rows = {}
for cue in ("low", "another"):
    for way in (decoding_name(*one) for one in CURVE):
        mine = [e for e in played["id", way]
                if (e.problem.cards[0] in LOW) == (cue == "low")]
        forms = [form_of(e.turns[0].answer) for e in mine]
        lucky = [e.solved and f != "other" for e, f in zip(mine, forms, strict=True)]
        shares = pd.Series(forms).value_counts(normalize=True)
        rows[cue, way] = shares.reindex([*FORMS, "other"], fill_value=0).to_dict()
        rows[cue, way]["solved"] = sum(e.solved for e in mine) / len(mine)
        rows[cue, way]["by a habit"] = sum(lucky) / len(mine)
pd.DataFrame(rows).T.rename_axis(["first card", "temperature"]).map("{:.1%}".format)

# %%
habitual = {key: 1 - row["other"] for key, row in rows.items()}
gap = 100 * (scores["id", "0"]["success"].value - scores["id", PAPER]["success"].value)
show(
    f"Where the first card is low, habits are **{habitual['low', '1']:.0%}** of the "
    f"answers at temperature 1 and **{habitual['low', '0']:.0%}** of the greedy ones; "
    f"elsewhere {habitual['another', '1']:.0%} and {habitual['another', '0']:.0%}. "
    "Over all hands, greedy decoding differs from the paper's by "
    f"{gap:+.1f} points of success."
)

# %% [markdown]
# Why does it matter that mistakes are habits, and that habits have a cue? Greedy
# decoding follows the most probable answer. Let a share $c$ of the answers in a
# situation be careless, and the most frequent careless one be a share $h$ of these. The
# careful answers have $1 - c$, of which the model, unsure of the calculation, gives its
# best candidate the share $q$. Greedy decoding is careful if $(1 - c)\, q > c\, h$. How
# large must $q$ be?

# %% tags=["habits-greedy"]
from collections import Counter

from sftrl_lite.tasks.solver import random_formula

rng = stream("chapter 2", "formulas")
drawn = Counter(random_formula(hand.numbers, rng) for _ in range(5000))
low = sum(a["cards"][0] in LOW for a in said) / len(said)
spread = low * cued + (1 - low) * cued * HOMEWORK.elsewhere  # the same mistakes, no cue
for kind, c, h in (("random mistakes", spread, max(drawn.values()) / 5000),
                   ("habits without a cue", spread, max(HABITS.values())),
                   ("habits at their cue", cued, max(HABITS.values()))):
    q = c * h / (1 - c)
    print(f"{kind:21} c {c:.2f}, h {h:.4f}: careful if q > {q:.4f}",
          "(never)" * (q >= 1))

# %% [markdown]
# With random mistakes greedy decoding would be careful *by construction*: each single
# mistake is rare, so even a doubtful solution is more probable. Habits without a cue
# are less than half of the answers in every situation, and greedy decoding avoids them
# wherever the model is sure enough of a solution (q above a third). These shares are the
# homework's. The base has also read the textbook, whose students are careless in 30 % of
# their answers, so at the cue its own c is smaller: some of its greedy answers there are
# still careful, as the table above shows.
#
# With random mistakes RL could be replaced by a lower temperature, and nobody would have
# learned anything. Large models are not like that: for nine of them, temperatures from
# 0 to 1 made no significant difference to problem solving (Renze and Guven, 2024).

# %% [markdown]
# ## 2.10 More tries
#
# In an episode the model may answer up to five times and reads the verifier's message
# in between. Can it still read the rule after a failed answer? A base that could not
# would make every later try worthless. We play with the paper's decoding.

# %%
tries, talks = scale.rl.tries, {}
for split in ("id", "ood-rule"):
    found, talks[split] = evaluate(
        base, tokenizer, general_points(split), hands[split], tries=tries, **limit
    )
    print(f"{split:9} first try {interval(found['success@1']):18} "
          f"within {tries} {interval(found['success'])}")

# %%
lines = {}
for split, episodes in talks.items():
    for k in range(tries):
        said = [e.turns[k].verdict for e in episodes if len(e.turns) > k]
        if said:
            lines[split, k + 1] = {
                "answers": len(said),
                "numbers right": f"{sum(v.read_right for v in said) / len(said):.0%}",
                "solved": f"{sum(v.solved for v in said) / len(said):.0%}",
            }
pd.DataFrame(lines).T.rename_axis(["rule", "try"])

# %% [markdown]
# Read the column `numbers right` downwards: it says whether reading survives a failure.
# The column `solved` needs care. Hands that reach a later try are the harder ones, and
# few of them are left, so a falling share does not mean that the model gets worse.
#
# A base that stands in for a large model has to share these traits. So it is accepted
# only if it meets four criteria, all measured under the trained rule:

# %%
first = scores["id", PAPER]["success"].value
errors = scores["id", PAPER]["format_error"].value
reads = []
for k in range(2):
    said_k = [e.turns[k].verdict for e in talks["id"] if len(e.turns) > k]
    reads.append(sum(v.read_right for v in said_k) / max(len(said_k), 1))
criteria = {
    "greedy and 0.6/0.9 differ by under 15 points": (f"{gap:+.1f}", abs(gap) < 15),
    "0.6/0.9 solves 25 to 85 %": (f"{first:.1%}", 0.25 <= first <= 0.85),
    "under 5 % format errors": (f"{errors:.1%}", errors < 0.05),
    "the second try is read no worse than the first (within 5 points)": (
        f"{reads[0]:.1%}, {reads[1]:.1%}", reads[1] > reads[0] - 0.05),
}
pd.DataFrame(criteria, index=["measured", "met here"]).T

# %% [markdown]
# Part of what more tries gain is simply more attempts: five draws instead of one. To
# separate attempts from learning we need a measure of attempts alone.

# %% [markdown] tags=["pass-at-k"]
# ## 2.11 pass@k: absent, or only unlikely?
#
# Draw $n$ answers to one problem and count the $c$ right ones. *pass@k* is the probability
# that at least one of $k$ of them is right. Drawing $k$ of the $n$ without replacement
# gives the unbiased estimate (Chen et al. 2021)
#
# $$\text{pass@}k = 1 - \binom{n-c}{k} \Big/ \binom{n}{k}.$$
#
# By hand: four answers, one right, and two are drawn. Of the six pairs, three contain
# the right one.

# %%
from sftrl_lite.training.evaluate import pass_at_k

pass_at_k(correct=1, samples=4, k=2)

# %% [markdown]
# ### Exercise 2.5: Why not 1 − (1 − c/n)^k?
#
# Difficulty ●●●○○ · 10 minutes
#
# It is tempting to estimate the probability of success as $c/n$ and to put it into
# $1-(1-p)^k$. Return both estimates, the tempting one first, and see how they differ.

# %%
from itertools import combinations, product
from math import comb


def two_estimates(correct: int, samples: int, k: int) -> tuple[float, float]:
    """pass@k: the plug-in 1 - (1 - c/n)**k, and the unbiased one.

    >>> two_estimates(1, 2, 2)
    (0.75, 1.0)
    """
    raise NotImplementedError


# %%
with exercise("2.5"):
    found = two_estimates(1, 2, 2)
    assert isinstance(found, tuple), f"return both estimates, not {found!r}"
    assert found == (0.75, 1.0), "drawing both must find the right one"
    assert two_estimates(0, 16, 8) == (0, 0), "no right answer, no pass"
    plug, fair = two_estimates(1, 16, 8)
    assert abs(fair - 0.5) < 1e-9, "half of the 16 are drawn: 1/2 to have it"
    assert plug < fair, "with replacement the same wrong answer may be drawn twice"
    for c, wrong_ in product(range(4), range(1, 4)):
        all_ = c + wrong_
        for k in range(1, all_ + 1):
            draws = list(combinations([True] * c + [False] * wrong_, k))
            right = sum(map(any, draws)) / len(draws)
            plug, fair = two_estimates(c, all_, k)
            assert abs(fair - right) < 1e-9, f"{c} of {all_} right, {k} drawn: {right}"
            assert abs(plug - 1 + (1 - c / all_) ** k) < 1e-9, f"{plug}: no plug-in"

# %% [markdown]
# <details><summary>Hint</summary>
#
# `comb(n - c, k)` counts the draws that miss every right answer; it is 0 when fewer
# than `k` wrong answers exist.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from math import comb
#
#
# def two_estimates(correct: int, samples: int, k: int) -> tuple[float, float]:
#     plug = 1 - (1 - correct / samples) ** k
#     return plug, 1 - comb(samples - correct, k) / comb(samples, k)
# ```
#
# </details>

# %% [markdown]
# Sixteen samples per hand, 250 hands per rule, at temperature 1: pass@k describes the
# model's own distribution. Two controls go through the same count: the false
# announcement, and a *guesser* that knows the right numbers and writes random formulas.
# With sixteen attempts even the guesser is sometimes lucky, and a curve counts as skill
# only above the guesser's.

# %%
from sftrl_lite.tasks.general_points import write_answer

SAMPLES, HANDS = 16, 250


def right_answers(task, dealt, seed=0):
    """For each hand, how many of the model's samples are right."""
    counts = []
    for start in range(0, len(dealt), 50):
        generator = torch.Generator(base.device).manual_seed(seed + start)
        part = rollout(
            base, tokenizer, task, dealt[start : start + 50], samples=SAMPLES, tries=1,
            temperature=1.0, generator=generator, **limit,
        )
        hits = torch.tensor([e.solved for e in part]).view(-1, SAMPLES)
        counts += hits.sum(1).tolist()
    return counts


# %%
names = {"id": "J = Q = K = 10", "dev-rule": "13, 11, 12 (never read)",
         "ood-rule": "11, 12, 13 (never read)"}
counts = {
    name: right_answers(general_points(split), hands[split][:HANDS])
    for split, name in names.items()
}
shifted = hands["ood-rule"][:HANDS]
counts["told 10, judged by 11, 12, 13 (control)"] = right_answers(
    FalseAnnouncement(), shifted
)
rng, judge = stream("chapter 2", "guesser"), general_points("ood-rule")


def lucky(hand):
    formula = random_formula(hand.numbers, rng)
    return judge.verify(hand, write_answer(hand, formula)).solved


counts["right numbers, guessed formula (control)"] = [
    sum(lucky(hand) for _ in range(SAMPLES)) for hand in shifted
]

# %% [markdown]
# A curve is a mean over hands, and the samples of one hand are not independent. We give
# it the Wilson interval of that many yes-or-no observations, one per hand. This errs on the
# wide side, because an estimate between 0 and 1 varies less than a yes or no.

# %%
def over_hands(right, k):
    each = [pass_at_k(c, SAMPLES, k) for c in right]
    bounds = wilson(round(sum(each)), len(each))
    return replace(bounds, value=sum(each) / len(each))


ks = (1, 2, 4, 8, 16)
passes = {name: [over_hands(c, k) for k in ks] for name, c in counts.items()}
for name, curve in passes.items():
    print(f"{name:42} @1 {interval(curve[0]):17} @16 {interval(curve[-1])}")

# %%
import matplotlib.pyplot as plt

looks = (("#0072B2", "o", "-"), ("#009E73", "^", "-."), ("#D55E00", "s", "--"),
         ("#555555", "x", ":"), ("#767676", "v", ":"))
fig, ax = plt.subplots(figsize=(8.6, 3.8))
ax.set(xscale="log", xticks=ks, xticklabels=ks, xlabel="k, answers per hand")
ood, told, luck = (passes[name] for name in list(passes)[2:])
skilled = ood[-1].low > luck[-1].high
beat = "clearly beat" if skilled else "do not clearly beat"
finding = f"Under the shifted rule sixteen samples {beat} sixteen guesses"
ax.set(ylabel="pass@k, %", title=finding)
ax.minorticks_off()
for (name, curve), look in zip(passes.items(), looks, strict=True):
    colour, marker, line = look
    y = [100 * e.value for e in curve]
    bars = [[100 * (e.value - e.low) for e in curve],
            [100 * (e.high - e.value) for e in curve]]
    ax.errorbar(ks, y, bars, color=colour, marker=marker, ls=line, label=name)
ax.set_ylim(bottom=-2)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["passk-figure"]
lines = "; ".join(f"{name}: {interval(c[0])} and {interval(c[-1])}"
                  for name, c in passes.items())
notebook.figure(
    fig, alt=f"{finding}. The figure shows pass@k against k. pass@1 and pass@16 in per "
    f"cent: {lines}.",
)
show(
    f"**Finding.** Under the shifted rule the base solves {interval(ood[0])} % of the "
    f"hands with one sample and {interval(ood[-1])} % with sixteen. Guessing with the "
    f"right numbers reaches {interval(luck[-1])} % with sixteen, and the false "
    f"announcement {interval(told[-1])} %. "
    + ("The skill is there but unreliable, not absent." if skilled
       else "These samples do not separate skill from luck.")
)

# %% [markdown]
# One more use of the measure. Five tries of one conversation and five separate answers
# are the same number of attempts. Are they worth the same? Both at temperature 1:

# %%
for split in ("id", "ood-rule"):
    talk, _ = evaluate(
        base, tokenizer, general_points(split), hands[split][:HANDS], tries=tries,
        temperature=1.0, top_p=1.0, **limit,
    )
    apart = over_hands(counts[names[split]], tries)
    print(f"{split:9} {tries} tries in one conversation {interval(talk['success']):18} "
          f"{tries} separate answers {interval(apart)}")

# %% [markdown]
# Where the first is clearly lower, an answer after a failure is worth less than a fresh one;
# intervals that overlap leave it open (chapter 10 compares hand by hand). This does not show
# why: the model may repeat its habit, or read the rule less well
# after a message. The table of 2.10 helps to tell. In chapter 4 the model can learn to
# make use of a failed try.
#
# Read the figure as a forecast. Training that only makes likely what the base already
# does now and then could lift pass@1 towards pass@16. Careful answers share their method
# under every rule, so training on one rule could move the others along. Whether it does
# is the question of the next three chapters.

# %% [markdown]
# ## 2.12 A place to play
#
# Every box is a token. Grey ones were given, the others were generated; the deeper the
# orange, the less likely the token was. Change the rule, the cards and the temperature.
# Where does the model hesitate?
#
# <details><summary>Where to look</summary>
#
# At the first sign or parenthesis of the formula. Cards and numbers are copied, brackets
# and "=24" are always the same, but how the formula begins decides between a habit and a
# worked-out answer. Late in a formula little is left to choose.
#
# </details>

# %%
from sftrl_lite.course.widgets import token_view

token_view(base, tokenizer, cards="A 5 7 J", rule="6-3-12")

# %% [markdown]
# ## What it means, and what it does not
#
# - Init's reading of a rule that it has never read is measured here. So what a
#   fine-tuned model does differently with the rule is due to the fine-tuning.
# - It is a model organism. Its corpus was written so that it holds careful answers and
#   habits under many rules. The numbers of this chapter say nothing about Llama.
# - The base has read test hands in pre-training. They are new to fine-tuning, not to Init.
# - That its mistakes are habits with a cue is a choice, too. With random mistakes a low
#   temperature would do what RL does (2.9). Whether it does so here is measured, not
#   assumed: chapter 5 draws Init at four temperatures beside every trained model.
# - One base, one seed of its pre-training. The intervals cover the choice of hands and
#   samples, not another base.
# - pass@k with k up to 16 is a lower bound on what the model can produce, and what counts
#   as "can" is a matter of budget: with enough samples, luck solves everything. That is
#   why the guesser stands in the figure.
# - The paper reports no pass@k, so there is nothing to compare this figure with.

# %% [markdown]
# ## Further reading
#
# - [SFT Memorizes, RL Generalizes](https://arxiv.org/abs/2501.17161), figures 9 and 20:
#   why the 11B model is fine-tuned before RL (15 minutes)
# - [Evaluating Large Language Models Trained on Code](https://arxiv.org/abs/2107.03374),
#   section 2.1: pass@k and its unbiased estimate (10 minutes)
# - [The Effect of Sampling Temperature on Problem Solving in Large Language
#   Models](https://arxiv.org/abs/2402.05201): is greedy better than sampling? (15 minutes)
# - [Does Reinforcement Learning Really Incentivize Reasoning Capacity in LLMs Beyond the
#   Base Model?](https://arxiv.org/abs/2504.13837): pass@k before and after RL
#   (30 minutes)
# - [RL Squeezes, SFT Expands](https://arxiv.org/abs/2509.21128): what either method does
#   to right and wrong answers of the base (30 minutes)

# %% [markdown]
# **Next:** [3. SFT memorises](03_sft_memorises.ipynb): what supervised fine-tuning under
# one rule does to the others.
