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


# %% 3.3 | exp of the mean nats a token
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
