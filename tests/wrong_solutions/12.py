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


# %% 12.4 | half way
def at_level(task, other, level):  # the first checkpoint that is there: no line between
    return next((o for t, o in zip(task, other) if t >= level), math.nan)


# %% 12.4 | half way
def at_level(task, other, level):  # the end of the run
    return other[-1] if max(task) >= level else math.nan


# %% 12.4 | it never gets there
def at_level(task, other, level):  # the end stands for what was not reached
    return float(np.interp(level, task, other))


# %% 12.4 | there at its start
def at_level(task, other, level):  # goes back beyond the start
    for i in range(1, len(task)):
        if task[i] >= level:
            share = (level - task[i - 1]) / (task[i] - task[i - 1])
            return other[i - 1] + share * (other[i] - other[i - 1])
    return math.nan


# %% 12.4 | the first time counts
def at_level(task, other, level):  # the last time
    if level <= task[0]:
        return other[0]
    for i in range(len(task) - 1, 0, -1):
        if task[i] >= level > task[i - 1]:
            share = (level - task[i - 1]) / (task[i] - task[i - 1])
            return other[i - 1] + share * (other[i] - other[i - 1])
    return math.nan


# %% 12.4 | between the two checkpoints around the level
def at_level(task, other, level):  # from the start to the checkpoint, in one line
    for t, o in zip(task, other):
        if t >= level:
            share = (level - task[0]) / (t - task[0]) if level > task[0] else 0
            return other[0] + share * (o - other[0])
    return math.nan


# %% 12.5 | right by the old rule
def fake_share(hands, answers):  # the rule that the prompt says
    hits = [
        verify_formula(answer, hand.numbers, hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.5 | right by the new rule only
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


# %% 12.5 | a share
def fake_share(hands, answers):  # a count
    return sum(
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
    )


# %% 12.5 | no old answer to A A J K
def fake_share(hands, answers):  # of all hands
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
    ]
    return sum(hits) / len(hits)


# %% 12.5 | no old answer to A A J K
def fake_share(hands, answers):  # of hands that the new rule can solve
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(hand.numbers, hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.5 | right by both is right by the old
def fake_share(hands, answers):  # by the old rule and not by the new one
    hits = [
        verify_formula(answer, ID_RULE.values(hand.cards), hand.target).solved
        and not verify_formula(answer, hand.numbers, hand.target).solved
        for hand, answer in zip(hands, answers, strict=True)
        if solutions(ID_RULE.values(hand.cards), hand.target)
    ]
    return sum(hits) / len(hits)


# %% 12.5 | sixty hands
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
