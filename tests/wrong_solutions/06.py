# %% 6.1 | the image token sees it, too
def staircase(ids, image):  # from the token after the picture on
    here = (ids == image).long()
    return ((here.cumsum(1) - here) > 0).long()[:, :, None, None]


# %% 6.1 | the image token sees it, too
def staircase(ids, image):  # the image token alone
    return (ids == image).long()[:, :, None, None]


# %% 6.1 | no image, nothing to see
def staircase(ids, image):  # everything after the first place where it might stand
    first = (ids == image).long().argmax(1, keepdim=True)
    return (torch.arange(ids.shape[1])[None] >= first).long()[:, :, None, None]


# %% 6.1 | a mask holds zeros and ones only
def staircase(ids, image):  # counts pictures
    return (ids == image).cumsum(1)[:, :, None, None]


# %% 6.2 | the tower encodes once
def shared_backward(tower, picture, losses):  # right, and three times as dear
    for loss in losses:
        loss(tower(picture)).backward()


# %% 6.2 | the gradient has to reach the tower
def shared_backward(tower, picture, losses):  # stops at the cut
    shared = tower(picture).detach().requires_grad_()
    for loss in losses:
        loss(shared).backward()


# %% 6.2 | another gradient
def shared_backward(tower, picture, losses):  # the last loss only
    states = tower(picture)
    for loss in losses:
        shared = states.detach().requires_grad_()
        loss(shared).backward()
    states.backward(shared.grad)


# %% 6.2 | another gradient
def shared_backward(tower, picture, losses):  # the mean instead of the sum
    states = tower(picture)
    (sum(loss(states) for loss in losses) / len(losses)).backward()


# %% 6.2 | free each loss before the next
def shared_backward(tower, picture, losses):  # one graph of all losses, alive at once
    sum(loss(tower_states) for tower_states in [tower(picture)] for loss in losses).backward()


# %% 6.2 | free each loss before the next
def shared_backward(tower, picture, losses):  # cut at the states, but all losses at once
    states = tower(picture)
    shared = states.detach().requires_grad_()
    sum(loss(shared) for loss in losses).backward()
    states.backward(shared.grad)


# %% 6.2 | one backward pass through the tower
def shared_backward(tower, picture, losses):  # encodes once, goes back through it each time
    states = tower(picture)
    for loss in losses:
        loss(states).backward(retain_graph=True)


# %% 6.3 | black, no more grain
def hard_look():  # the colour is the visual shift, not the look
    return Look(suits="red")


# %% 6.3 | turned or strayed too far
def hard_look():  # hard for people, too
    return Look(turn=45)


# %% 6.3 | too small to read for people
def hard_look():  # cards of a few pixels
    return Look(zoom=0.9)


# %% 6.3 | black, no more grain
def hard_look():  # nobody sees through this
    return Look(deck="jumbo", noise=85)


# %% 6.3 | points worse; try another deck or zoom
def hard_look():  # what training shows
    return Look()


# %% 6.4 | two of these three are counted right
def chain(verdicts):  # three shares of all hands
    n = len(verdicts)
    seen = sum(v.recognised for v in verdicts)
    counted = sum(v.recognised and v.read_right for v in verdicts)
    return seen / n, counted / n, sum(v.solved for v in verdicts) / n


# %% 6.4 | two of these three are counted right
def chain(verdicts):  # counts right numbers of hands that were not recognised
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in verdicts if v.read_right]
    return (
        len(seen) / len(verdicts),
        len(counted) / len(seen) if seen else 0.0,
        sum(v.solved for v in counted) / len(counted) if counted else 0.0,
    )


# %% 6.4 | one of these two is solved
def chain(verdicts):  # the last factor under the first condition only
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in counted if v.solved]
    ratio = [(seen, verdicts), (counted, seen), (solved, seen)]
    return tuple(len(a) / len(b) if b else 0.0 for a, b in ratio)


# %% 6.4 | nothing recognised, nothing to condition on
def chain(verdicts):  # a condition that never holds is taken as certain
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in counted if v.solved]
    steps = [verdicts, seen, counted, solved]
    return tuple(len(b) / len(a) if a else 1.0 for a, b in zip(steps, steps[1:]))


# %% 6.4 | 1 of 1 are 1.0
def chain(verdicts):  # solved hands count although their numbers are not those of the hand
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in seen if v.solved]
    steps = [verdicts, seen, counted, solved]
    return tuple(len(b) / len(a) if a else 0.0 for a, b in zip(steps, steps[1:]))


# %% 6.5 | -2 and -1.5
def misread_reward(kind, recognised, variant):  # the released code's for both
    return REWARDS[kind] if recognised else REWARDS["misread"]


# %% 6.5 | no +5 for other cards
def misread_reward(kind, recognised, variant):  # the penalty is added to a success
    if recognised:
        return REWARDS[kind]
    return REWARDS["misread"] + (REWARDS[kind] if variant == "paper" else 0)


# %% 6.5 | whatever the formula
def misread_reward(kind, recognised, variant):  # the paper's for both
    if recognised:
        return REWARDS[kind]
    return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])


# %% 6.5 | read right: as before
def misread_reward(kind, recognised, variant):  # never looks whether it was read
    return REWARDS["misread"]


# %% 6.5 | solved, released: (5.0, 3.5) points
def misread_reward(kind, recognised, variant):  # a success keeps its reward in one variant
    if recognised:
        return REWARDS[kind]
    if variant == "released":
        return REWARDS["misread"] + (REWARDS["solved"] if kind == "solved" else 0)
    return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])


# %% 6.5 | wrong_value, paper: (-1.0, -3.5) points
def misread_reward(kind, recognised, variant):  # all wrong formulas cost the same
    if recognised:
        return REWARDS[kind]
    if variant == "released":
        return REWARDS["misread"]
    cost = REWARDS["wrong_value"] if kind == "solved" else min(REWARDS[kind], -2)
    return REWARDS["misread"] + cost
