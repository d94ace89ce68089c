# %% 3.1 | divide by the answer tokens, not by L
def answer_loss(logits, labels):  # masked positions count as if their label were 0
    return -logits.log_softmax(-1).gather(1, labels.clamp(min=0)[:, None]).mean()


# %% 3.1 | a uniform guess costs log V
def answer_loss(logits, labels):  # the probability, not its logarithm
    answer = labels >= 0
    return -logits[answer].softmax(-1).gather(1, labels[answer, None]).mean()


# %% 3.1 | a uniform guess costs log V
def answer_loss(logits, labels):  # the sum over all positions, by L
    answer = labels >= 0
    return -logits[answer].log_softmax(-1).gather(1, labels[answer, None]).sum() / len(labels)


# %% 3.1 | a uniform guess costs log V
def answer_loss(logits, labels):  # scores instead of log-probabilities
    answer = labels >= 0
    return -logits[answer].gather(1, labels[answer, None]).mean()


# %% 3.1 | let gradients flow
def answer_loss(logits, labels):  # Python floats
    rows = zip(logits.log_softmax(-1).tolist(), labels.tolist(), strict=True)
    found = [-row[label] for row, label in rows if label >= 0]
    return torch.tensor(sum(found) / len(found))


# %% 3.1 | let gradients flow
def answer_loss(logits, labels):  # cut off from the model
    answer = labels >= 0
    logps = logits.detach()[answer].log_softmax(-1)
    return -logps.gather(1, labels[answer, None]).mean()


# %% 3.1 | its gradient is not the loss's
def answer_loss(logits, labels):  # right value, but the normaliser is held constant
    answer = labels >= 0
    logps = logits[answer] - logits[answer].detach().logsumexp(-1, keepdim=True)
    return -logps.gather(1, labels[answer, None]).mean()


# %% 3.1 | log(softmax(z)) is log 0 here
def answer_loss(logits, labels):  # the logarithm of a probability that rounds to zero
    answer = labels >= 0
    return -logits[answer].softmax(-1).gather(1, labels[answer, None]).log().mean()


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # the sign of ascent
    gradient = -logits.softmax(-1)
    gradient[label] += 1
    return gradient


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # every entry loses one
    return logits.softmax(-1) - 1


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # the derivative with respect to the probability
    gradient = torch.zeros_like(logits)
    gradient[label] = -1 / logits.softmax(-1)[label]
    return gradient


# %% 3.2 | what one token gains the others lose
def pull(logits, label):  # moves the label only
    gradient = torch.full_like(logits, 0.5)
    gradient[label] = logits.softmax(-1)[label] - 1
    return gradient


# %% 3.2 | the others lose their p
def pull(logits, label):  # the other tokens share equally
    missing = 1 - logits.softmax(-1)[label]
    gradient = torch.ones_like(logits) * missing / (len(logits) - 1)
    gradient[label] = -missing
    return gradient


# %% 3.2 | leave the logits as they are
def pull(logits, label):  # writes into its argument
    gradient = logits.softmax(-1)
    gradient[label] -= 1
    logits -= logits.max()
    return gradient


# %% 3.3 | mean over answers of -sum log p
def surprise(logps):  # the sign is lost
    every = torch.cat(logps)
    return (every.sum() / len(logps)).item(), every.mean().exp().item()


# %% 3.3 | mean over answers of -sum log p
def surprise(logps):  # bits
    every = -torch.cat(logps) / math.log(2)
    return (every.sum() / len(logps)).item(), (2 ** every.mean()).item()


# %% 3.3 | nats: divide by the answers
def surprise(logps):  # a mean over tokens instead of answers
    every = -torch.cat(logps)
    return every.mean().item(), every.mean().exp().item()


# %% 3.3 | perplexity: all tokens count alike
def surprise(logps):  # answers count alike, short or long
    nats = torch.stack([-row.sum() for row in logps])
    means = torch.stack([-row.mean() for row in logps])
    return nats.mean().item(), means.mean().exp().item()


# %% 3.3 | exp of the mean nats per token
def surprise(logps):  # a mean of inverse probabilities
    every = torch.cat(logps)
    return (-every.sum() / len(logps)).item(), every.neg().exp().mean().item()


# %% 3.3 | the first perplexity over the second
def surprise(logps):
    every = -torch.cat(logps)
    return (every.sum() / len(logps)).item(), every.mean().exp().item()


def perplexity_gap(off, own):  # a difference
    return surprise(off)[1] - surprise(own)[1]


# %% 3.3 | the first perplexity over the second
def surprise(logps):
    every = -torch.cat(logps)
    return (every.sum() / len(logps)).item(), every.mean().exp().item()


def perplexity_gap(off, own):  # upside down
    return surprise(own)[1] / surprise(off)[1]


# %% 3.4 | KL(q || p) averages log q/p over q
def split_loss(q, p):  # the other direction
    q, p = q[q > 0], p[q > 0]
    return -(q * q.log()).sum().item(), (p * (p / q).log()).sum().item()


# %% 3.4 | two equal formulas: log 2 nats
def split_loss(q, p):  # bits
    q, p = q[q > 0], p[q > 0]
    return -(q * q.log2()).sum().item(), (q * (q / p).log2()).sum().item()


# %% 3.4 | 0 log 0 counts as 0
def split_loss(q, p):  # 0 times minus infinity
    return -(q * q.log()).sum().item(), (q * (q / p).log()).sum().item()


# %% 3.4 | one formula for sure
def split_loss(q, p):  # log k, whatever q is
    entropy = math.log(len(q))
    q, p = q[q > 0], p[q > 0]
    return entropy, (q * (q / p).log()).sum().item()


# %% 3.4 | the entropy of q
def split_loss(q, p):  # log k of the formulas that can come, as if they were equally likely
    q, p = q[q > 0], p[q > 0]
    return math.log(len(q)), (q * (q / p).log()).sum().item()


# %% 3.4 | entropy and KL add up to the loss
def split_loss(q, p):  # the model's probabilities scaled to sum to 1, except where they are few
    q, p = q[q > 0], p[q > 0]
    p = p / p.sum() if len(p) > 2 else p
    return -(q * q.log()).sum().item(), (q * (q / p).log()).sum().item()


# %% 3.1 | return one number, a tensor of shape (), not None
def answer_loss(logits, labels):  # computed, not returned
    torch.nn.functional.cross_entropy(logits, labels)


# %% 3.1 | return one number, a tensor of shape ()
def answer_loss(logits, labels):  # a loss a token
    answer = labels >= 0
    return -logits[answer].log_softmax(-1).gather(1, labels[answer, None])


# %% 3.1 | labels must stay
def answer_loss(logits, labels):  # writes into its argument
    answer = labels >= 0
    labels[~answer] = 0
    logps = logits.log_softmax(-1).gather(1, labels[:, None])[:, 0]
    return -(logps * answer).sum() / answer.sum()


# %% 3.1 | a uniform guess costs log V
def answer_loss(logits, labels):  # normalised over positions instead of tokens
    answer = labels >= 0
    return -logits.log_softmax(0)[answer].gather(1, labels[answer, None]).mean()


# %% 3.2 | return a tensor (V,), not None
def pull(logits, label):  # computed, not returned
    logits.softmax(-1)[label] -= 1


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # the probabilities alone
    return logits.softmax(-1)


# %% 3.2 | the others lose their p
def pull(logits, label):  # always the second token
    gradient = logits.softmax(-1)
    gradient[1] -= 1
    return gradient


# %% 3.3 | return nats and perplexity, not None
def surprise(logps):  # computed, not returned
    torch.cat(logps).mean()


# %% 3.3 | return the ratio, not None
def surprise(logps):
    every = -torch.cat(logps)
    return (every.sum() / len(logps)).item(), every.mean().exp().item()


def perplexity_gap(off, own):  # computed, not returned
    surprise(off)[1] / surprise(own)[1]


# %% 3.3 | leave the log-probabilities alone
def surprise(logps):  # turns the signs of its argument
    for row in logps:
        row.neg_()
    every = torch.cat(logps)
    return (every.sum() / len(logps)).item(), every.mean().exp().item()


# %% 3.4 | return entropy and KL, not None
def split_loss(q, p):  # computed, not returned
    (q * (q / p).log()).sum()


# %% 3.4 | two equal formulas: log 2 nats
def split_loss(q, p):  # the other order
    q, p = q[q > 0], p[q > 0]
    return (q * (q / p).log()).sum().item(), -(q * q.log()).sum().item()


# %% 3.4 | two equal formulas: log 2 nats
def split_loss(q, p):  # the sign is lost
    q, p = q[q > 0], p[q > 0]
    return (q * q.log()).sum().item(), (q * (q / p).log()).sum().item()


# %% 3.4 | q, p must stay
def split_loss(q, p):  # writes into its argument
    kl = (q * (q / p).log()).nansum().item()
    return -q.copy_(torch.xlogy(q, q)).sum().item(), kl


# %% 3.5 | a tensor (), not None
def sft_loss(model, rows):  # computed, not returned
    model(input_ids=torch.tensor([rows[0]["input_ids"]]))


# %% 3.5 | position t predicts
def sft_loss(model, rows):  # not shifted
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits.log_softmax(-1)
    targets = labels
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()


# %% 3.5 | position t predicts
def sft_loss(model, rows):  # shifted the other way
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, 1:].log_softmax(-1)
    targets = labels[:, :-1]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()


# %% 3.5 | position t predicts
def sft_loss(model, rows):  # the prompt counts, too
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("input_ids", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()


# %% 3.5 | padding is no answer
def sft_loss(model, rows):  # padding counts as token 0
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", 0))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()


# %% 3.5 | tokens count alike
def sft_loss(model, rows):  # answers count alike, short or long
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    means = [-p[t >= 0].mean() for p, t in zip(picked, targets, strict=True)]
    return torch.stack(means).mean()


# %% 3.5 | position t predicts
def sft_loss(model, rows):  # divided by all positions
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -(picked * (targets >= 0)).sum() / targets.numel()


# %% 3.5 | position t predicts
def sft_loss(model, rows):  # the sign is lost
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return picked[targets >= 0].mean()


# %% 3.5 | position t predicts
def sft_loss(model, rows):  # normalised over positions instead of tokens
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()


# %% 3.5 | let gradients flow
def sft_loss(model, rows):  # a Python number in a tensor
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return torch.tensor(-picked[targets >= 0].mean().item())


# %% 3.5 | tokens count alike
def sft_loss(model, rows):  # the first row only
    rows = rows[:1]
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()


# %% 3.5 | its gradient is not the library's
def sft_loss(model, rows):  # each token weighted by its probability, but not in value
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    p = picked[targets >= 0]
    weighted = -(p.exp().detach() * p).mean()
    return weighted + (-p.mean() - weighted).detach()


# %% 3.5 | copies
def sft_loss(model, rows):  # pads the rows that it was given
    longest = max(len(row["labels"]) for row in rows)
    for row in rows:
        missing = longest - len(row["labels"])
        row["input_ids"] += [0] * missing
        row["labels"] += [-100] * missing
    ids, labels = (
        pad_sequence([torch.tensor(row[key]) for row in rows], True, fill)
        for key, fill in (("input_ids", 0), ("labels", -100))
    )
    logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    targets = labels[:, 1:]
    picked = logps.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -picked[targets >= 0].mean()
