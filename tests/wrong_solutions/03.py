# %% 3.1 | divide by the answer tokens, not by L
def answer_loss(logits, labels):  # masked positions count as if their label were 0
    return -logits.log_softmax(-1).gather(1, labels.clamp(min=0)[:, None]).mean()


# %% 3.1 | a uniform guess costs log V
def answer_loss(logits, labels):  # the chance, not its logarithm
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


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # the sign of ascent
    gradient = -logits.softmax(-1)
    gradient[label] += 1
    return gradient


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # every entry loses one
    return logits.softmax(-1) - 1


# %% 3.2 | only the label's entry loses one
def pull(logits, label):  # the derivative with respect to the chance
    gradient = torch.zeros_like(logits)
    gradient[label] = -1 / logits.softmax(-1)[label]
    return gradient


# %% 3.2 | what one token gains the others lose
def pull(logits, label):  # moves the label only
    gradient = torch.full_like(logits, 0.5)
    gradient[label] = logits.softmax(-1)[label] - 1
    return gradient


# %% 3.3 | d/dz -log sigmoid(z)
def two_gradients(rule, card, c):  # the chance instead of what is missing, with a plus
    p = 1 / (1 + math.exp(-(rule + c * card)))
    return p, p * c


# %% 3.3 | d/dz -log sigmoid(z)
def two_gradients(rule, card, c):  # no inner derivative
    missing = 1 - 1 / (1 + math.exp(-(rule + c * card)))
    return -missing, -missing


# %% 3.3 | a nearly certain answer hardly pulls
def two_gradients(rule, card, c):  # the chance instead of what is missing to certainty
    p = 1 / (1 + math.exp(-(rule + c * card)))
    return -p, -p * c


# %% 3.4 | J counts 11 here
def diagnose(cards, read, rule):  # under the trained rule only
    return "right" if read == ID_RULE.values(cards) else "other"


# %% 3.4 | the trained 10
def diagnose(cards, read, rule):  # no third way
    return "right" if read == rule.values(cards) else "other"


# %% 3.4 | the 2 is misread, too
def diagnose(cards, read, rule):  # any 10 for a face
    if read == rule.values(cards):
        return "right"
    faces = any(c in "JQK" and n == 10 for c, n in zip(cards, read, strict=True))
    return "anchored" if faces else "other"


# %% 3.4 | ask for right first
def diagnose(cards, read, rule):
    if read == ID_RULE.values(cards):
        return "anchored"
    return "right" if read == rule.values(cards) else "other"
