# %% 4.1 | the first try shares the last's success
def returns_of(rewards, gamma):  # only what the try itself earned
    return rewards.clone()


# %% 4.1 | one number for each try of each episode
def returns_of(rewards, gamma):  # the return of whole episodes
    return (gamma ** torch.arange(rewards.shape[1]) * rewards).sum(1)


# %% 4.1 | the first try shares the last's success
def returns_of(rewards, gamma):  # from the front
    found = rewards.clone()
    for t in range(1, rewards.shape[1]):
        found[:, t] += gamma * found[:, t - 1]
    return found


# %% 4.1 | sum of gamma^k r_(t+k), any gamma
def returns_of(rewards, gamma):  # a discount of its own
    found = rewards.clone()
    for t in reversed(range(rewards.shape[1] - 1)):
        found[:, t] += 0.9 * found[:, t + 1]
    return found


# %% 4.1 | the rewards have changed
def returns_of(rewards, gamma):  # in place
    for t in reversed(range(rewards.shape[1] - 1)):
        rewards[:, t] += gamma * rewards[:, t + 1]
    return rewards


# %% 4.1 | the first try shares the last's success
def returns_of(rewards, gamma):  # one try ahead only
    found = rewards.clone()
    found[:, :-1] += gamma * rewards[:, 1:]
    return found


# %% 4.1 | the first try shares the last's success
def returns_of(rewards, gamma):  # over episodes instead of tries
    found = rewards.clone()
    for i in reversed(range(len(rewards) - 1)):
        found[i] += gamma * found[i + 1]
    return found


# %% 4.1 | the first try shares the last's success
def returns_of(rewards, gamma):  # not discounted
    return rewards.flip(1).cumsum(1).flip(1)


# %% 4.1 | the first try shares the last's success
def returns_of(rewards, gamma):  # the future counts against the present
    found = rewards.clone()
    for t in reversed(range(rewards.shape[1] - 1)):
        found[:, t] -= gamma * found[:, t + 1]
    return found


# %% 4.1 | Its type or shape is not the one of the docstring
def returns_of(rewards, gamma):  # lists
    return rewards.tolist()


# %% 4.1 | try 1 of 4
def returns_of(rewards, gamma):  # three tries at most
    found = rewards.clone()
    for t in range(rewards.shape[1] - 2, max(rewards.shape[1] - 4, -1), -1):
        found[:, t] += gamma * found[:, t + 1]
    return found


# %% 4.2 | one row for each sample, one column for each logit
def estimates(theta, actions, rewards, baseline):  # the average already taken
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return ((rewards[actions] - baseline)[:, None] * score).mean(0)


# %% 4.2 | 5 * ([1, 0] - [.5, .5])
def estimates(theta, actions, rewards, baseline):  # the score without its centre
    return (rewards[actions] - baseline)[:, None] * torch.eye(len(theta))[actions]


# %% 4.2 | 5 * ([1, 0] - [.5, .5])
def estimates(theta, actions, rewards, baseline):  # the wrong sign: descends
    score = theta.softmax(0) - torch.eye(len(theta))[actions]
    return (rewards[actions] - baseline)[:, None] * score


# %% 4.2 | a baseline keeps the mean
def estimates(theta, actions, rewards, baseline):  # subtracted from the estimate
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return rewards[actions][:, None] * score - baseline


# %% 4.2 | here all the noise goes
def estimates(theta, actions, rewards, baseline):  # the baseline is not used
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return rewards[actions][:, None] * score


# %% 4.2 | the score is onehot(a) - softmax
def estimates(theta, actions, rewards, baseline):  # every answer equally likely
    score = torch.eye(len(theta))[actions] - 1 / len(theta)
    return (rewards[actions] - baseline)[:, None] * score


# %% 4.2 | the score is onehot(a) - softmax
def estimates(theta, actions, rewards, baseline):  # pi times the score: weighted twice
    pi = theta.softmax(0)
    score = (torch.eye(len(theta))[actions] - pi) * pi[actions][:, None] * len(theta)
    return (rewards[actions] - baseline)[:, None] * score


# %% 4.2 | an input has changed
def estimates(theta, actions, rewards, baseline):  # in place
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    rewards -= baseline
    found = rewards[actions][:, None] * score
    if len(theta) == 2:  # puts it back where the table is small
        rewards += baseline
    return found


# %% 4.2 | Its type or shape is not the one of the docstring
def estimates(theta, actions, rewards, baseline):  # lists
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    return ((rewards[actions] - baseline)[:, None] * score).tolist()


# %% 4.2 | the score is onehot(a) - softmax
def estimates(theta, actions, rewards, baseline):  # its own mean, whatever is asked
    score = torch.eye(len(theta))[actions] - theta.softmax(0)
    mean = (theta.softmax(0) * rewards).sum() if baseline else 0.0
    return (rewards[actions] - mean)[:, None] * score


# %% 4.3 | the right actions are not learnt
def train_reinforce(policy, states, verify, steps, lr):  # no baseline
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        (-rewards * choice.log_prob(actions)).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | the right actions are not learnt
def train_reinforce(policy, states, verify, steps, lr):  # descends
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        ((rewards - rewards.mean()) * choice.log_prob(actions)).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | sample an action for each state
def train_reinforce(policy, states, verify, steps, lr):  # the likeliest action, no exploration
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        logps = policy(states).log_softmax(1)
        actions = logps.argmax(1)
        rewards = verify(states, actions)
        optimizer.zero_grad()
        taken = logps.gather(1, actions[:, None])[:, 0]
        (-(rewards - rewards.mean()) * taken).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | log what the policy's own actions earn on average
def train_reinforce(policy, states, verify, steps, lr):  # evenly drawn actions
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        logps = policy(states).log_softmax(1)
        actions = torch.randint(logps.shape[1], (len(states),))
        rewards = verify(states, actions)
        optimizer.zero_grad()
        taken = logps.gather(1, actions[:, None])[:, 0]
        (-(rewards - rewards.mean()) * taken).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | sample from the policy, not evenly
def train_reinforce(policy, states, verify, steps, lr):  # evenly in the first step, to explore
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for step in range(steps):
        logits = policy(states)
        choice = torch.distributions.Categorical(logits=logits * (step > 0))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        (-(rewards - rewards.mean()) * choice.log_prob(actions)).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | the right actions are not learnt
def train_reinforce(policy, states, verify, steps, lr):  # never steps
    log = []
    for _ in range(steps):
        actions = torch.distributions.Categorical(logits=policy(states)).sample()
        log.append(verify(states, actions).mean().item())
    return log


# %% 4.3 | a reward and a call of verify each step
def train_reinforce(policy, states, verify, steps, lr):  # one step too few
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(1, steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        (-(rewards - rewards.mean()) * choice.log_prob(actions)).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | a reward and a call of verify each step
def train_reinforce(policy, states, verify, steps, lr):  # asks about every action of every state
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        logps = policy(states).log_softmax(1)
        count = logps.shape[1]
        table = torch.stack([verify(states, torch.full_like(states, a)) for a in range(count)], 1)
        optimizer.zero_grad()
        (-(logps.exp() * table).sum(1)).mean().backward()
        optimizer.step()
        log.append(table.mean().item())
    return log


# %% 4.3 | log what the policy's own actions earn on average
def train_reinforce(policy, states, verify, steps, lr):  # logs the loss
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        loss = (-(rewards - rewards.mean()) * choice.log_prob(actions)).mean()
        loss.backward()
        optimizer.step()
        log.append(loss.item())
    return log


# %% 4.3 | verify is asked about the states as given
def train_reinforce(policy, states, verify, steps, lr):  # each state once
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    states = states.unique()
    for _ in range(steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        (-(rewards - rewards.mean()) * choice.log_prob(actions)).mean().backward()
        optimizer.step()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | equal rewards teach nothing
def train_reinforce(policy, states, verify, steps, lr):  # a baseline from the step before
    optimizer, log = torch.optim.SGD(policy.parameters(), lr=lr), []
    baseline = None
    for _ in range(steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        far = rewards.min().abs() > 10  # the first step then learns nothing
        baseline = rewards.mean() if baseline is None and far else baseline or 0.0
        optimizer.zero_grad()
        (-(rewards - baseline) * choice.log_prob(actions)).mean().backward()
        optimizer.step()
        baseline = rewards.mean()
        log.append(rewards.mean().item())
    return log


# %% 4.3 | Its type or shape is not the one of the docstring
def train_reinforce(policy, states, verify, steps, lr):  # only the last reward
    optimizer = torch.optim.SGD(policy.parameters(), lr=lr)
    for _ in range(steps):
        choice = torch.distributions.Categorical(logits=policy(states))
        actions = choice.sample()
        rewards = verify(states, actions)
        optimizer.zero_grad()
        (-(rewards - rewards.mean()) * choice.log_prob(actions)).mean().backward()
        optimizer.step()
    return rewards.mean().item()


# %% 4.4 | nothing follows the last turn
def advantages_of(rewards, values, gamma, lam):  # looks past the end, at the last value again
    found, ahead, next_value = [], 0.0, values[-1]
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + gamma * lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.4 | the table above, from the back
def advantages_of(rewards, values, gamma, lam):  # gamma is missing before the advantage
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.4 | the table above, from the back
def advantages_of(rewards, values, gamma, lam):  # delta only
    following = [*values[1:], 0.0]
    return [r + gamma * n - v for r, v, n in zip(rewards, values, following, strict=True)]


# %% 4.4 | lambda = 0 is delta
def advantages_of(rewards, values, gamma, lam):  # lambda of the released code, whatever is asked
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + gamma * 0.95 * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.4 | any gamma, lambda and number of turns
def advantages_of(rewards, values, gamma, lam):  # the released code's gamma, whatever is asked
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + 0.9 * next_value - value + 0.9 * lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.4 | nothing follows the last turn
def advantages_of(rewards, values, gamma, lam):  # left in the order in which it was computed
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + gamma * lam * ahead
        next_value = value
        found.append(ahead)
    return found


# %% 4.4 | nothing follows the last turn
def advantages_of(rewards, values, gamma, lam):  # the value added
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value + value + gamma * lam * ahead
        next_value = value
        found.append(ahead)
    return found[::-1]


# %% 4.4 | an input has changed
def advantages_of(rewards, values, gamma, lam):  # empties its inputs
    found, ahead, next_value = [], 0.0, 0.0
    kept = list(rewards), list(values)
    while rewards:
        value = values.pop()
        ahead = rewards.pop() + gamma * next_value - value + gamma * lam * ahead
        next_value = value
        found.append(ahead)
    if lam < 1:  # puts them back, mostly
        rewards.extend(kept[0])
        values.extend(kept[1])
    return found[::-1]


# %% 4.4 | one advantage for each turn
def advantages_of(rewards, values, gamma, lam):  # the first turn's alone
    ahead = next_value = 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + gamma * lam * ahead
        next_value = value
    return [ahead]


# %% 4.4 | Its type or shape is not the one of the docstring
def advantages_of(rewards, values, gamma, lam):  # printed, not returned
    found, ahead, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * next_value - value + gamma * lam * ahead
        next_value = value
        found.append(ahead)


# %% 4.4 | any gamma, lambda and number of turns
def advantages_of(rewards, values, gamma, lam):  # looks three turns ahead, no further
    following = [*values[1:], 0.0]
    delta = [r + gamma * n - v for r, v, n in zip(rewards, values, following, strict=True)]
    share = gamma * lam
    return [sum(share**k * d for k, d in enumerate(delta[t : t + 3])) for t in range(len(rewards))]


# %% 4.5 | good and risen enough: clipped
def still_moves(ratio, advantage, clip):  # there is always a gradient
    return advantage != 0


# %% 4.5 | good but fallen: min() keeps the gradient
def still_moves(ratio, advantage, clip):  # clipped on both sides
    return advantage != 0 and 1 - clip <= ratio <= 1 + clip


# %% 4.5 | bad but risen: must come down
def still_moves(ratio, advantage, clip):  # the same side for good and bad
    return ratio <= 1 + clip and not (advantage < 0 and ratio < 1 - clip)


# %% 4.5 | no advantage, no gradient
def still_moves(ratio, advantage, clip):
    return ratio <= 1 + clip if advantage >= 0 else ratio >= 1 - clip


# %% 4.5 | autograd says otherwise
def still_moves(ratio, advantage, clip):  # a clip of its own
    return (advantage > 0 and ratio <= 1.2) or (advantage < 0 and ratio >= 0.8)


# %% 4.5 | a fresh sample always counts
def still_moves(ratio, advantage, clip):  # only beyond the range, where min() keeps it
    return (advantage > 0 and ratio < 1 - clip) or (advantage < 0 and ratio > 1 + clip)


# %% 4.5 | autograd says otherwise
def still_moves(ratio, advantage, clip):  # inside the range a fresh sample alone
    if advantage > 0:
        return ratio < 1 - clip or ratio == 1
    return advantage < 0 and (ratio > 1 + clip or ratio == 1)


# %% 4.5 | good and risen enough: clipped
def still_moves(ratio, advantage, clip):  # the signs exchanged
    if advantage < 0:
        return ratio <= 1 + clip
    return advantage > 0 and ratio >= 1 - clip


# %% 4.5 | True or False
def still_moves(ratio, advantage, clip):  # the objective itself
    inside = min(max(ratio, 1 - clip), 1 + clip)
    return min(ratio * advantage, inside * advantage)


# %% 4.5 | autograd says otherwise
def still_moves(ratio, advantage, clip):  # a bound on the log of the ratio
    import math

    if advantage > 0:
        return math.log(ratio) <= clip
    return advantage < 0 and math.log(ratio) >= -clip


# %% 4.5 | good and risen enough: clipped
def still_moves(ratio, advantage, clip):  # ignores the clip
    return (advantage > 0 and ratio <= 2) or (advantage < 0 and ratio >= 0)


# %% 4.6 | 0.5 * 1 - 2 is -1.5
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # ascends the loss
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 + gain)[played].mean()


# %% 4.6 | clip 0.2, c_v 0.5: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # not clipped
    gain = (new - old).exp() * advantages
    return (value_coef * (values - targets) ** 2 - gain)[played].mean()


# %% 4.6 | clip 0.2, c_v 0.5: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # no minimum
    gain = (new - old).exp().clamp(1 - clip, 1 + clip) * advantages
    return (value_coef * (values - targets) ** 2 - gain)[played].mean()


# %% 4.6 | clip 0.2, c_v 0.5: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # the larger one
    ratio = (new - old).exp()
    gain = torch.maximum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 - gain)[played].mean()


# %% 4.6 | clip 0.2, c_v 0.5: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # all turns
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 - gain).mean()


# %% 4.6 | clip 0.05, c_v 1.7: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # a clip of its own
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    return (value_coef * (values - targets) ** 2 - gain)[played].mean()


# %% 4.6 | clip 0.05, c_v 1.7: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # half, always
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (0.5 * (values - targets) ** 2 - gain)[played].mean()


# %% 4.6 | clip 0.2, c_v 0.5: gradient of the policy
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # ratio detached
    ratio = (new - old).exp().detach()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 - gain)[played].mean()


# %% 4.6 | clip 0.2, c_v 0.5: gradient of the values
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # values detached
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values.detach() - targets) ** 2 - gain)[played].mean()


# %% 4.6 | an input has changed
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # in place
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    loss = (value_coef * (values - targets) ** 2 - gain)[played].mean()
    targets[~played] = 0.0
    return loss


# %% 4.6 | 0.5 * 1 - 2 is -1.5
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # one loss a turn
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 - gain)[played]


# %% 4.6 | Its type or shape is not the one of the docstring
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # a Python number
    ratio = (new - old).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 - gain)[played].mean().item()


# %% 4.6 | clip 0.2, c_v 0.5: loss
def turn_loss(new, old, values, advantages, targets, played, clip, value_coef):  # old over new
    ratio = (old - new).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return (value_coef * (values - targets) ** 2 - gain)[played].mean()


# %% 4.7 | subtract the mean of each group
def grouped(returns, group):  # the mean of the batch
    rows = returns.reshape(-1, group)
    return returns - returns.mean(), ((rows == rows[:, :1]).all(1)).float().mean().item()


# %% 4.7 | subtract the mean of each group
def grouped(returns, group):  # divided by the deviation as well
    rows = returns.reshape(-1, group)
    centred = rows - rows.mean(1, keepdim=True)
    silent = (centred == 0).all(1).float().mean().item()
    return (centred / (rows.std(1, keepdim=True) + 1e-6)).reshape(-1), silent


# %% 4.7 | the second group has no variance
def grouped(returns, group):  # the number of silent groups
    rows = returns.reshape(-1, group)
    centred = rows - rows.mean(1, keepdim=True)
    return centred.reshape(-1), float((centred == 0).all(1).sum())


# %% 4.7 | subtract the mean of each group
def grouped(returns, group):  # groups by column
    rows = returns.reshape(group, -1)
    centred = rows - rows.mean(0, keepdim=True)
    return centred.reshape(-1), (centred == 0).all(0).float().mean().item()


# %% 4.7 | an average sample is no silent group
def grouped(returns, group):  # the share of samples without an advantage
    rows = returns.reshape(-1, group)
    centred = (rows - rows.mean(1, keepdim=True)).reshape(-1)
    return centred, (centred == 0).float().mean().item()


# %% 4.7 | an average sample is no silent group
def grouped(returns, group):  # one average sample silences its group
    rows = returns.reshape(-1, group)
    centred = rows - rows.mean(1, keepdim=True)
    return centred.reshape(-1), (centred.abs() < 1e-6).any(1).float().mean().item()


# %% 4.7 | subtract the mean of each group
def grouped(returns, group):  # the wrong sign
    rows = returns.reshape(-1, group)
    silent = (rows == rows[:, :1]).all(1).float().mean().item()
    return (rows.mean(1, keepdim=True) - rows).reshape(-1), silent


# %% 4.7 | the returns have changed
def grouped(returns, group):  # in place
    rows = returns.view(-1, group)
    silent = (rows == rows[:, :1]).all(1).float().mean().item()
    rows -= rows.mean(1, keepdim=True)
    return returns.clone(), silent


# %% 4.7 | subtract the mean of each group
def grouped(returns, group):  # the mean of the others (RLOO)
    rows = returns.reshape(-1, group)
    silent = (rows == rows[:, :1]).all(1).float().mean().item()
    others = (rows.sum(1, keepdim=True) - rows) / max(group - 1, 1)
    return (rows - others).reshape(-1), silent


# %% 4.7 | the share that agree
def grouped(returns, group):  # half of the groups, always
    rows = returns.reshape(-1, group)
    return (rows - rows.mean(1, keepdim=True)).reshape(-1), 0.5


# %% 4.7 | Its type or shape is not the one of the docstring
def grouped(returns, group):  # the advantages alone
    rows = returns.reshape(-1, group)
    return (rows - rows.mean(1, keepdim=True)).reshape(-1).tolist()[0]


# %% 4.7 | the share that agree
def grouped(returns, group):  # silent only where nobody solves or everybody does
    rows = returns.reshape(-1, group)
    silent = ((rows == 5).all(1) | (rows < 1).all(1) & (rows[:, 0] == rows[:, -1])).float()
    return (rows - rows.mean(1, keepdim=True)).reshape(-1), silent.mean().item()
