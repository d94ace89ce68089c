# %% 4.1 | the first try shares the last one's success
def to_go(rewards, gamma):  # only what the try itself earned
    return list(rewards)


# %% 4.1 | one number a try
def to_go(rewards, gamma):  # the return of the whole episode
    return [sum(gamma**t * r for t, r in enumerate(rewards))]


# %% 4.1 | the first try shares the last one's success
def to_go(rewards, gamma):  # from the front
    totals, so_far = [], 0.0
    for reward in rewards:
        so_far = reward + gamma * so_far
        totals.append(so_far)
    return totals


# %% 4.1 | the first try shares the last one's success
def to_go(rewards, gamma):  # left in the order in which it was computed
    totals, ahead = [], 0.0
    for reward in reversed(rewards):
        ahead = reward + gamma * ahead
        totals.append(ahead)
    return totals


# %% 4.2 | one row a sample, one column a logit
def estimates(theta, actions, points, baseline):  # the average already taken
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return ((points[actions] - baseline)[:, None] * score).mean(0)


# %% 4.2 | 5 * ([1, 0] - [.5, .5])
def estimates(theta, actions, points, baseline):  # the score without its centre
    return (points[actions] - baseline)[:, None] * torch.eye(len(theta))[actions]


# %% 4.2 | a baseline keeps the mean
def estimates(theta, actions, points, baseline):  # subtracted from the estimate
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return points[actions][:, None] * score - baseline


# %% 4.2 | here all the noise goes
def estimates(theta, actions, points, baseline):  # the baseline is not used
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return points[actions][:, None] * score


# %% 4.3 | nothing follows the last turn
def advantages_of(rewards, values, gamma, lam):  # looks past the end, at the last value again
    found, ahead, next_value = [], 0.0, values[-1]
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + gamma * lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.3 | the table above, from the back
def advantages_of(rewards, values, gamma, lam):  # gamma is missing before the advantage
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.3 | the table above, from the back
def advantages_of(rewards, values, gamma, lam):  # delta only
    following = [*values[1:], 0.0]
    return [r + gamma * n - v for r, v, n in zip(rewards, values, following, strict=True)]


# %% 4.4 | good and risen enough: clipped
def still_moves(ratio, advantage, clip):  # there is always a gradient
    return advantage != 0


# %% 4.4 | good but fallen: min() keeps the gradient
def still_moves(ratio, advantage, clip):  # clipped on both sides
    return advantage != 0 and 1 - clip <= ratio <= 1 + clip


# %% 4.4 | bad but risen: must come down
def still_moves(ratio, advantage, clip):  # the same side for good and bad
    return ratio <= 1 + clip and not (advantage < 0 and ratio < 1 - clip)


# %% 4.4 | no advantage, no gradient
def still_moves(ratio, advantage, clip):
    return ratio <= 1 + clip if advantage >= 0 else ratio >= 1 - clip


# %% 4.5 | subtract the mean of each group
def grouped(returns, group):  # the mean of the batch
    rows = returns.reshape(-1, group)
    return returns - returns.mean(), ((rows == rows[:, :1]).all(1)).float().mean().item()


# %% 4.5 | subtract the mean of each group
def grouped(returns, group):  # divided by the deviation as well
    rows = returns.reshape(-1, group)
    centred = rows - rows.mean(1, keepdim=True)
    silent = (centred == 0).all(1).float().mean().item()
    return (centred / (rows.std(1, keepdim=True) + 1e-6)).reshape(-1), silent


# %% 4.5 | the second group has no variance
def grouped(returns, group):  # the number of silent groups
    rows = returns.reshape(-1, group)
    centred = rows - rows.mean(1, keepdim=True)
    return centred.reshape(-1), float((centred == 0).all(1).sum())


# %% 4.5 | subtract the mean of each group
def grouped(returns, group):  # groups by column
    rows = returns.reshape(group, -1)
    centred = rows - rows.mean(0, keepdim=True)
    return centred.reshape(-1), (centred == 0).all(0).float().mean().item()


# %% 4.1 | another gamma than 0.9
def to_go(rewards, gamma):  # a discount of its own, unless there is none
    totals, ahead = [], 0.0
    for reward in reversed(rewards):
        ahead = reward + (0.9 if gamma else 0.0) * ahead
        totals.append(ahead)
    return totals[::-1]


# %% 4.2 | the score is onehot(a) - softmax
def estimates(theta, actions, points, baseline):  # every answer equally likely
    score = torch.eye(len(theta))[actions] - 1 / len(theta)
    return (points[actions] - baseline)[:, None] * score


# %% 4.2 | the score is onehot(a) - softmax
def estimates(theta, actions, points, baseline):  # pi times the score: weighted twice
    pi = theta.softmax(0)
    score = (torch.eye(len(theta))[actions] - pi) * pi[actions][:, None] * len(theta)
    return (points[actions] - baseline)[:, None] * score


# %% 4.3 | any gamma, lambda and number of turns
def advantages_of(rewards, values, gamma, lam):  # the released code's gamma, whatever is asked
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + 0.9 * next_value - value + 0.9 * lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.4 | autograd says otherwise
def still_moves(ratio, advantage, clip):  # a clip of its own
    return (advantage > 0 and ratio <= 1.2) or (advantage < 0 and ratio >= 0.8)


# %% 4.4 | a fresh sample always counts
def still_moves(ratio, advantage, clip):  # only beyond the range, where min() keeps it
    return (advantage > 0 and ratio < 1 - clip) or (advantage < 0 and ratio > 1 + clip)


# %% 4.4 | autograd says otherwise
def still_moves(ratio, advantage, clip):  # inside the range a fresh sample alone
    if advantage > 0:
        return ratio < 1 - clip or ratio == 1
    return advantage < 0 and (ratio > 1 + clip or ratio == 1)


# %% 4.5 | an average sample is no silent group
def grouped(returns, group):  # the share of samples without an advantage
    rows = returns.reshape(-1, group)
    centred = (rows - rows.mean(1, keepdim=True)).reshape(-1)
    return centred, (centred == 0).float().mean().item()


# %% 4.5 | an average sample is no silent group
def grouped(returns, group):  # one average sample silences its group
    rows = returns.reshape(-1, group)
    centred = rows - rows.mean(1, keepdim=True)
    return centred.reshape(-1), (centred.abs() < 1e-6).any(1).float().mean().item()
