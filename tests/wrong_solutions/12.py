# %% 12.1 | the wrong half goes
def least_kl(p, s):  # bits
    pairs = [(s, p), (1 - s, 1 - p)]
    return sum(new * math.log2(new / old) for new, old in pairs if new > 0)


# %% 12.1 | the wrong half goes
def least_kl(p, s):  # the other direction, from Init to what is new
    pairs = [(s, p), (1 - s, 1 - p)]
    return sum(old * math.log(old / new) for new, old in pairs if new > 0)


# %% 12.1 | no change, no distance
def least_kl(p, s):  # always to perfection
    return -math.log(p)


# %% 12.1 | getting worse is a way, too
def least_kl(p, s):  # the wrong answers are left out
    return s * math.log(s / p)


# %% 12.2 | a wrong answer teaches nothing
def accepted(task, hands, answers):  # a verdict is an object: it is always true
    return [
        (hand, answer)
        for hand, said in zip(hands, answers, strict=True)
        for answer in said
        if task.verify(hand, answer)
    ]


# %% 12.2 | an answer weighs as often as it was sampled
def accepted(task, hands, answers):  # each answer once
    return [
        (hand, answer)
        for hand, said in zip(hands, answers, strict=True)
        for answer in dict.fromkeys(said)
        if task.verify(hand, answer).solved
    ]


# %% 12.2 | an answer weighs as often as it was sampled
def accepted(task, hands, answers):  # one right answer a hand
    found = []
    for hand, said in zip(hands, answers, strict=True):
        right = [answer for answer in said if task.verify(hand, answer).solved]
        found += [(hand, answer) for answer in right[:1]]
    return found


# %% 12.2 | a hand without a right answer is out
def accepted(task, hands, answers):  # something of every hand
    found = []
    for hand, said in zip(hands, answers, strict=True):
        right = [answer for answer in said if task.verify(hand, answer).solved]
        found += [(hand, answer) for answer in right or said[:1]]
    return found


# %% 12.2 | the given task judges
def accepted(task, hands, answers):  # one judge for everything
    return [
        (hand, answer)
        for hand, said in zip(hands, answers, strict=True)
        for answer in said
        if general_points("id").verify(hand, answer).solved
    ]


# %% 12.2 | the given task judges
def accepted(task, hands, answers):  # sorted by the answer
    found = [
        (hand, answer)
        for hand, said in zip(hands, answers, strict=True)
        for answer in said
        if task.verify(hand, answer).solved
    ]
    return sorted(found, key=lambda pair: len(pair[0].cards))


# %% 12.3 | autograd disagrees on nll
def gradient(z, y, p0, loss):  # uphill: the gradient of log p, not of the loss
    p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        return onehot + p0 - 2 * p
    return (onehot - p) * (p[y] if loss == "dft" else 1)


# %% 12.3 | autograd disagrees on dft
def gradient(z, y, p0, loss):  # differentiates the factor that is held constant
    p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        return 2 * p - onehot - p0
    return (p - onehot) * (p[y] * (1 + p[y].log()) if loss == "dft" else 1)


# %% 12.3 | autograd disagrees on dft
def gradient(z, y, p0, loss):  # every logit with its own probability
    p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        return 2 * p - onehot - p0
    return (p - onehot) * (p if loss == "dft" else 1)


# %% 12.3 | autograd disagrees on kl
def gradient(z, y, p0, loss):  # the penalty alone
    p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        return p - p0
    return (p - onehot) * (p[y] if loss == "dft" else 1)


# %% 12.3 | autograd disagrees on kl
def gradient(z, y, p0, loss):  # KL in the other direction
    p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        apart = (p / p0).log()
        return p - onehot + p * (apart - (p * apart).sum())
    return (p - onehot) * (p[y] if loss == "dft" else 1)


# %% 12.5 | half way
def at_level(task, other, level):  # the first checkpoint that is there: no line between
    return next((o for t, o in zip(task, other) if t >= level), math.nan)


# %% 12.5 | half way
def at_level(task, other, level):  # the end of the run
    return other[-1] if max(task) >= level else math.nan


# %% 12.5 | it never gets there
def at_level(task, other, level):  # the end stands for what was not reached
    return float(np.interp(level, task, other))


# %% 12.5 | there at its start
def at_level(task, other, level):  # goes back beyond the start
    for i in range(1, len(task)):
        if task[i] >= level:
            share = (level - task[i - 1]) / (task[i] - task[i - 1])
            return other[i - 1] + share * (other[i] - other[i - 1])
    return math.nan


# %% 12.5 | the first time counts
def at_level(task, other, level):  # the last time
    if level <= task[0]:
        return other[0]
    for i in range(len(task) - 1, 0, -1):
        if task[i] >= level > task[i - 1]:
            share = (level - task[i - 1]) / (task[i] - task[i - 1])
            return other[i - 1] + share * (other[i] - other[i - 1])
    return math.nan


# %% 12.5 | between the two checkpoints around the level
def at_level(task, other, level):  # from the start to the checkpoint, in one line
    for t, o in zip(task, other):
        if t >= level:
            share = (level - task[0]) / (t - task[0]) if level > task[0] else 0
            return other[0] + share * (o - other[0])
    return math.nan


# %% 12.6 | right by the old rule
def fake_share(hands, answers):  # the rule that the prompt says
    hits = [
        verify_formula(answer, hand.numbers, hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.6 | right by the new rule only
def fake_share(hands, answers):  # either rule will do
    hits = [
        any(
            verify_formula(answer, rule.values(hand.cards), hand.target).solved
            for rule in (ID_RULE, OOD_RULE)
        )
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.6 | a share
def fake_share(hands, answers):  # a count
    return sum(
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
    )


# %% 12.6 | no old answer to A A J K
def fake_share(hands, answers):  # of all hands
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
    ]
    return sum(hits) / len(hits)


# %% 12.6 | no old answer to A A J K
def fake_share(hands, answers):  # of hands that the new rule can solve
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(hand.numbers, hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.6 | right by both is right by the old
def fake_share(hands, answers):  # by the old rule and not by the new one
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        and not verify_formula(answer, hand.numbers, hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.6 | sixty hands
def fake_share(hands, answers):  # only jacks count 10
    old = [tuple(10 if c == "J" else n for c, n in zip(h.cards, h.numbers)) for h in hands]
    hits = [
        verify_formula(answer, numbers, hand.target).solved
        for hand, answer, numbers in zip(hands, answers, old, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.1 | both terms, with their signs
def least_kl(p, s):  # only the right answers count
    return abs(s * math.log(s / p)) if s else 0.0


# %% 12.1 | the hand above
def least_kl(p, s):  # the example's value
    return math.log(2)


# %% 12.1 | one number
def least_kl(p, s):  # its two terms
    pairs = [(s, p), (1 - s, 1 - p)]
    return [new * math.log(new / old) if new > 0 else 0.0 for new, old in pairs]


# %% 12.1 | the wrong half goes
def least_kl(p, s):  # with the wrong sign
    pairs = [(s, p), (1 - s, 1 - p)]
    return sum(new * math.log(old / new) for new, old in pairs if new > 0)


# %% 12.2 | a list of pairs
def accepted(task, hands, answers):  # the answers without their hands
    return [
        answer
        for hand, said in zip(hands, answers, strict=True)
        for answer in said
        if task.verify(hand, answer).solved
    ]


# %% 12.2 | a list of pairs
def accepted(task, hands, answers):  # by hand, as a dictionary
    return {
        hand: [answer for answer in said if task.verify(hand, answer).solved]
        for hand, said in zip(hands, answers, strict=True)
    }


# %% 12.2 | stay as they were
def accepted(task, hands, answers):  # takes the answers out of the caller's lists
    found = []
    for hand, said in zip(hands, answers, strict=True):
        while said:
            answer = said.pop(0)
            if task.verify(hand, answer).solved:
                found.append((hand, answer))
    return found


# %% 12.2 | an answer weighs as often as it was sampled
def accepted(task, hands, answers):  # the last answer is forgotten
    return [
        (hand, answer)
        for hand, said in zip(hands, answers, strict=True)
        for answer in said[:-1]
        if task.verify(hand, answer).solved
    ]


# %% 12.3 | one number for each logit
def gradient(z, y, p0, loss):  # at the demonstrated token only
    p = z.softmax(-1)
    if loss == "kl":
        return 2 * p[y] - 1 - p0[y]
    return (p[y] - 1) * (p[y] if loss == "dft" else 1)


# %% 12.3 | autograd disagrees on nll
def gradient(z, y, p0, loss):  # the logits are not turned into probabilities
    p, onehot = z, F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        return 2 * p - onehot - p0
    return (p - onehot) * (p[y] if loss == "dft" else 1)


# %% 12.3 | autograd disagrees on dft
def gradient(z, y, p0, loss):  # the name of the loss is ignored
    return z.softmax(-1) - F.one_hot(torch.tensor(y), len(z))


# %% 12.3 | the caller's tensors stay as they were
def gradient(z, y, p0, loss):  # computes in the caller's tensor
    p, onehot = z.softmax(-1), F.one_hot(torch.tensor(y), len(z))
    if loss == "kl":
        found = 2 * p - onehot - p0
        p0 += onehot
        return found
    return (p - onehot) * (p[y] if loss == "dft" else 1)


# %% 12.4 | a scalar tensor
def penalised(model, init, input_ids, labels, weight):  # a Python number: no gradient
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    kl = (there.exp() * (there - logps)).sum(-1)[learned].mean()
    return float(F.nll_loss(logps[learned], labels[:, 1:][learned]) + weight * kl)


# %% 12.4 | a scalar tensor
def penalised(model, init, input_ids, labels, weight):  # one loss for each token
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    nll = F.nll_loss(logps[learned], labels[:, 1:][learned], reduction="none")
    return nll + weight * (there.exp() * (there - logps)).sum(-1)[learned]


# %% 12.4 | SFT alone
def penalised(model, init, input_ids, labels, weight):  # each token predicts itself
    logps = model(input_ids=input_ids).logits.log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits.log_softmax(-1)
    learned = labels != -100
    kl = (there.exp() * (there - logps)).sum(-1)[learned].mean()
    return F.nll_loss(logps[learned], labels[learned]) + weight * kl


# %% 12.4 | SFT alone
def penalised(model, init, input_ids, labels, weight):  # the prompt is learned, too
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    kl = (there.exp() * (there - logps)).sum(-1).mean()
    return F.nll_loss(logps.flatten(0, 1), input_ids[:, 1:].flatten()) + weight * kl


# %% 12.4 | SFT alone
def penalised(model, init, input_ids, labels, weight):  # weight 1, whatever was asked
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    kl = (there.exp() * (there - logps)).sum(-1)[learned].mean()
    return F.nll_loss(logps[learned], labels[:, 1:][learned]) + kl


# %% 12.4 | times KL(Init || model), also a mean
def penalised(model, init, input_ids, labels, weight):  # KL in the other direction
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    kl = (logps.exp() * (logps - there)).sum(-1)[learned].mean()
    return F.nll_loss(logps[learned], labels[:, 1:][learned]) + weight * kl


# %% 12.4 | times KL(Init || model), also a mean
def penalised(model, init, input_ids, labels, weight):  # KL at the demonstrated token only
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    said = labels[:, 1:][learned][:, None]
    here, before = (x[learned].gather(1, said) for x in (logps, there))
    return -here.mean() + weight * (before.exp() * (before - here)).mean()


# %% 12.4 | times KL(Init || model), also a mean
def penalised(model, init, input_ids, labels, weight):  # a mean over the prompt as well
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    kl = (there.exp() * (there - logps)).sum(-1).mean()
    return F.nll_loss(logps[learned], labels[:, 1:][learned]) + weight * kl


# %% 12.4 | Init is fixed
def penalised(model, init, input_ids, labels, weight):  # Init would be trained, too
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    kl = (there.exp() * (there - logps)).sum(-1)[learned].mean()
    return F.nll_loss(logps[learned], labels[:, 1:][learned]) + weight * kl


# %% 12.4 | its gradient is not
def penalised(model, init, input_ids, labels, weight):  # the penalty has no gradient
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
        learned = labels[:, 1:] != -100
        kl = (there.exp() * (there - logps)).sum(-1)[learned].mean()
    return F.nll_loss(logps[learned], labels[:, 1:][learned]) + weight * kl


# %% 12.4 | the caller's labels stay as they were
def penalised(model, init, input_ids, labels, weight):  # -100 is overwritten
    logps = model(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        there = init(input_ids=input_ids).logits[:, :-1].log_softmax(-1)
    learned = labels[:, 1:] != -100
    labels[labels == -100] = 0
    kl = (there.exp() * (there - logps)).sum(-1)[learned].mean()
    return F.nll_loss(logps[learned], labels[:, 1:][learned]) + weight * kl


# %% 12.5 | one number
def at_level(task, other, level):  # where, and how much
    for i, reached in enumerate(task):
        if reached >= level:
            return i, other[i]
    return math.nan


# %% 12.5 | at a checkpoint
def at_level(task, other, level):  # the example's value
    return 0.3


# %% 12.5 | stays as it was
def at_level(task, other, level):  # takes checkpoints off the caller's path on the way
    if task[0] >= level:
        return other[0]
    while len(task) > 1:
        t, o = task.pop(0), other.pop(0)
        if task[0] >= level:
            return o + (level - t) / (task[0] - t) * (other[0] - o)
    return math.nan


# %% 12.5 | the first time counts
def at_level(task, other, level):  # sorts one of the two lists
    line = sorted(task)
    return float(np.interp(level, line, other)) if line[-1] >= level else math.nan


# %% 12.5 | half way
def at_level(task, other, level):  # one checkpoint late
    for i, reached in enumerate(task):
        if reached >= level:
            return other[min(i + 1, len(task) - 1)]
    return math.nan


# %% 12.6 | right by the new rule only
def fake_share(hands, answers):  # the first example's value
    return 1.0


# %% 12.6 | a share is one number
def fake_share(hands, answers):  # a verdict for each hand
    return [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]


# %% 12.6 | stay as they were
def fake_share(hands, answers):  # drops hands from the caller's lists
    for i in reversed(range(len(hands))):
        if not solutions(ID_RULE.values(hands[i].cards), hands[i].target):
            del hands[i], answers[i]
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
    ]
    return sum(hits) / len(hits)
