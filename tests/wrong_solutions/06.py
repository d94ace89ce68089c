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


# %% 6.1 | the image token sees it, too
def staircase(ids, image):  # counts down the chats, not along the tokens
    return (ids == image).cumsum(0).clamp(max=1)[:, :, None, None]


# %% 6.1 | the image token sees it, too
def staircase(ids, image):  # all tokens see everything
    return torch.ones_like(ids)[:, :, None, None]


# %% 6.1 | image token
def staircase(ids, image):  # the number of the example's image token
    return (ids == 9).cumsum(1).clamp(max=1)[:, :, None, None]


# %% 6.1 | keep them
def staircase(ids, image):  # writes on what the model reads next
    ids -= image
    ids.copy_((ids == 0).long())
    return ids.cumsum(1).clamp(max=1)[:, :, None, None]


# %% 6.1 | a mask is a tensor
def staircase(ids, image):  # lists
    return [[[[int(image in row[: i + 1])]] for i in range(len(row))] for row in ids.tolist()]


# %% 6.1 | one image, one tile
def staircase(ids, image):  # without the dimensions of images and tiles
    return (ids == image).cumsum(1).clamp(max=1)


# %% 6.1 | the image token sees it, too
def staircase(ids, image):  # the stairs upside down: what comes before the picture
    return ((ids == image).cumsum(1) == 0).long()[:, :, None, None]


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


# %% 6.2 | another gradient
def shared_backward(tower, picture, losses):  # away from where the losses fall
    states = tower(picture)
    shared = states.detach().requires_grad_()
    for loss in losses:
        loss(shared).backward()
    states.backward(-shared.grad)


# %% 6.2 | another gradient
def shared_backward(tower, picture, losses):  # empties what earlier pictures have left
    tower.zero_grad()
    states = tower(picture)
    shared = states.detach().requires_grad_()
    for loss in losses:
        loss(shared).backward()
    states.backward(shared.grad)


# %% 6.2 | another gradient
def shared_backward(tower, picture, losses):  # goes on without the losses' gradient
    states = tower(picture)
    shared = states.detach().requires_grad_()
    for loss in losses:
        loss(shared).backward()
    states.backward(torch.ones_like(states))


# %% 6.3 | encode a picture once
def group_backward(model, pixels, which, said):  # right, and dear
    one_by_one(model, pixels, which, said)


# %% 6.3 | encode a picture once
def group_backward(model, pixels, which, said):  # one call, with a copy for each episode
    states = encode(model, {name: part[which] for name, part in pixels.items()})
    shared = states.detach().requires_grad_()
    for views, episode in zip(shared, said):
        episode_loss(model, views, episode).backward()
    states.backward(shared.grad)


# %% 6.3 | the gradient has to reach the tower
def group_backward(model, pixels, which, said):  # stops at the cut
    shared = encode(model, pixels).detach().requires_grad_()
    for i, episode in zip(which, said):
        episode_loss(model, shared[i], episode).backward()


# %% 6.3 | one backward pass a picture
def group_backward(model, pixels, which, said):  # back through the tower for each episode
    states = encode(model, pixels)
    for i, episode in zip(which, said):
        episode_loss(model, states[i], episode).backward(retain_graph=True)


# %% 6.3 | another gradient
def group_backward(model, pixels, which, said):  # everybody looks at the first picture
    states = encode(model, pixels)
    shared = states.detach().requires_grad_()
    for episode in said:
        episode_loss(model, shared[0], episode).backward()
    states.backward(shared.grad)


# %% 6.3 | another gradient
def group_backward(model, pixels, which, said):  # the mean over the group
    states = encode(model, pixels)
    shared = states.detach().requires_grad_()
    for i, episode in zip(which, said):
        (episode_loss(model, shared[i], episode) / len(said)).backward()
    states.backward(shared.grad)


# %% 6.3 | another gradient
def group_backward(model, pixels, which, said):  # the last episode's gradient alone arrives
    states = encode(model, pixels)
    for i, episode in zip(which, said):
        shared = states.detach().requires_grad_()
        episode_loss(model, shared[i], episode).backward()
    states.backward(shared.grad)


# %% 6.3 | another gradient
def group_backward(model, pixels, which, said):  # the sign turned round at the cut
    states = encode(model, pixels)
    shared = states.detach().requires_grad_()
    for i, episode in zip(which, said):
        episode_loss(model, shared[i], episode).backward()
    states.backward(-shared.grad)


# %% 6.3 | another gradient
def group_backward(model, pixels, which, said):  # the first episode is left out
    states = encode(model, pixels)
    shared = states.detach().requires_grad_()
    for i, episode in zip(which[1:], said[1:]):
        episode_loss(model, shared[i], episode).backward()
    states.backward(shared.grad)


# %% 6.4 | black, no more grain
def hard_look():  # the colour is the visual shift, not the look
    return Look(suits="red")


# %% 6.4 | turned or strayed too far
def hard_look():  # hard for people, too
    return Look(turn=45)


# %% 6.4 | too small to read for people
def hard_look():  # cards of a few pixels
    return Look(zoom=0.9)


# %% 6.4 | black, no more grain
def hard_look():  # nobody sees through this
    return Look(deck="jumbo", noise=85)


# %% 6.4 | cards in two rows, as in training
def hard_look():  # a third smaller, with every limit kept
    return Look(layout="row")


# %% 6.4 | points worse; try another deck or zoom
def hard_look():  # what training shows
    return Look()


# %% 6.4 | turned or strayed too far
def hard_look():  # strays off the table
    return Look(stray=0.6)


# %% 6.4 | black, no more grain
def hard_look():  # half of the suits are the visual shift
    return Look(deck="jumbo", suits="mixed", turn=20)


# %% 6.4 | a look is a Look
def hard_look():  # the name of a deck
    return "jumbo"


# %% 6.4 | points worse; try another deck or zoom
def hard_look():  # less grain, straight cards: easier than in training
    return Look(noise=0, turn=0, stray=0, zoom=0)


# %% 6.5 | two of these three are counted right
def chain(verdicts):  # three shares of all hands
    n = len(verdicts)
    seen = sum(v.recognised for v in verdicts)
    counted = sum(v.recognised and v.read_right for v in verdicts)
    return seen / n, counted / n, sum(v.solved for v in verdicts) / n


# %% 6.5 | two of these three are counted right
def chain(verdicts):  # counts right numbers of hands that were not recognised
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in verdicts if v.read_right]
    return (
        len(seen) / len(verdicts),
        len(counted) / len(seen) if seen else 0.0,
        sum(v.solved for v in counted) / len(counted) if counted else 0.0,
    )


# %% 6.5 | one of these two is solved
def chain(verdicts):  # the last factor under the first condition only
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in counted if v.solved]
    ratio = [(seen, verdicts), (counted, seen), (solved, seen)]
    return tuple(len(a) / len(b) if b else 0.0 for a, b in ratio)


# %% 6.5 | nothing recognised, nothing to condition on
def chain(verdicts):  # a condition that never holds is taken as certain
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in counted if v.solved]
    steps = [verdicts, seen, counted, solved]
    return tuple(len(b) / len(a) if a else 1.0 for a, b in zip(steps, steps[1:]))


# %% 6.5 | 1 of 1 are 1.0
def chain(verdicts):  # solved hands count although their numbers are not those of the hand
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in seen if v.solved]
    steps = [verdicts, seen, counted, solved]
    return tuple(len(b) / len(a) if a else 0.0 for a, b in zip(steps, steps[1:]))


# %% 6.5 | two of these three are counted right
def chain(verdicts):  # the first half of the product only
    seen = sum(v.recognised for v in verdicts) / len(verdicts)
    return seen, seen, sum(v.solved for v in verdicts) / len(verdicts)


# %% 6.5 | three of four hands are recognised
def chain(verdicts):  # in per cent
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in counted if v.solved]
    steps = [verdicts, seen, counted, solved]
    return tuple(100 * len(b) / len(a) if a else 0.0 for a, b in zip(steps, steps[1:]))


# %% 6.5 | do not change the list
def chain(verdicts):  # throws away what it has counted
    shares = []
    for name in ("recognised", "read_right", "solved"):
        before = len(verdicts)
        verdicts[:] = [v for v in verdicts if getattr(v, name)]
        shares.append(len(verdicts) / before if before else 0.0)
    return tuple(shares)


# %% 6.5 | , not
def chain(verdicts):  # the numbers of the example
    return (0.75, 2 / 3, 0.5) if verdicts[0].recognised else (0, 0, 0)


# %% 6.5 | three of four hands are recognised
def chain(verdicts):  # odds: those that are against those that are not
    seen = [v for v in verdicts if v.recognised]
    counted = [v for v in seen if v.read_right]
    solved = [v for v in counted if v.solved]
    steps = [verdicts, seen, counted, solved]
    return tuple(
        len(b) / (len(a) - len(b)) if len(a) > len(b) else 0.0 for a, b in zip(steps, steps[1:])
    )


# %% 6.6 | -2 and -1.5
def misread_reward(kind, recognised, variant):  # the released code's for both
    return REWARDS[kind] if recognised else REWARDS["misread"]


# %% 6.6 | no +5 for other cards
def misread_reward(kind, recognised, variant):  # the penalty is added to a success
    if recognised:
        return REWARDS[kind]
    return REWARDS["misread"] + (REWARDS[kind] if variant == "paper" else 0)


# %% 6.6 | whatever the formula
def misread_reward(kind, recognised, variant):  # the paper's for both
    if recognised:
        return REWARDS[kind]
    return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])


# %% 6.6 | read right: as before
def misread_reward(kind, recognised, variant):  # never looks whether it was read
    return REWARDS["misread"]


# %% 6.6 | solved, released: (5.0, 3.5) points
def misread_reward(kind, recognised, variant):  # a success keeps its reward in one variant
    if recognised:
        return REWARDS[kind]
    if variant == "released":
        return REWARDS["misread"] + (REWARDS["solved"] if kind == "solved" else 0)
    return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])


# %% 6.6 | wrong_value, paper: (-1.0, -3.5) points
def misread_reward(kind, recognised, variant):  # all wrong formulas cost the same
    if recognised:
        return REWARDS[kind]
    if variant == "released":
        return REWARDS["misread"]
    cost = REWARDS["wrong_value"] if kind == "solved" else min(REWARDS[kind], -2)
    return REWARDS["misread"] + cost


# %% 6.6 | -2 and -1.5
def misread_reward(kind, recognised, variant):  # the two names change places
    if recognised:
        return REWARDS[kind]
    if variant == "paper":
        return REWARDS["misread"]
    return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])


# %% 6.6 | -2 and -1.5
def misread_reward(kind, recognised, variant):  # the penalty is negative already
    if recognised:
        return REWARDS[kind]
    if variant == "released":
        return -abs(REWARDS["misread"])
    return min(REWARDS[kind], REWARDS["wrong_value"]) - REWARDS["misread"]


# %% 6.6 | points are a number
def misread_reward(kind, recognised, variant):  # as it is printed
    return f"{REWARDS[kind]:+.1f}"


# %% 6.6 | whatever the formula
def misread_reward(kind, recognised, variant):  # the larger of the two costs
    if recognised:
        return REWARDS[kind]
    if variant == "released":
        return min(REWARDS["misread"], REWARDS[kind])
    return REWARDS["misread"] + min(REWARDS[kind], REWARDS["wrong_value"])
