# %% 10.1 | pass@2 is 1 and 0 on the two hands
def advice(correct, n, k, solved):  # from the mean count, not hand by hand
    chances = pass_at_k(round(sum(correct) / len(correct)), n, k)
    return {"chances": 100 * chances, "advice": 100 * (solved - chances)}


# %% 10.1 | pass@2 is 1 and 0 on the two hands
def advice(correct, n, k, solved):  # shares, not points
    chances = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"chances": chances, "advice": solved - chances}


# %% 10.1 | 75 % were solved, 50 % by chances
def advice(correct, n, k, solved):  # the wrong one first
    chances = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"chances": 100 * chances, "advice": 100 * (chances - solved)}


# %% 10.1 | talk can also do harm
def advice(correct, n, k, solved):  # advice that is never bad
    chances = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"chances": 100 * chances, "advice": 100 * max(0, solved - chances)}


# %% 10.2 | four equal messages: two bits
def bits(messages):  # nats
    shares = [messages.count(m) / len(messages) for m in set(messages)]
    return -sum(p * math.log(p) for p in shares)


# %% 10.2 | rare news
def bits(messages):  # all messages are equally likely
    return math.log2(len(set(messages)))


# %% 10.2 | rare news
def bits(messages):  # a message that came three times is counted three times
    shares = [messages.count(m) / len(messages) for m in messages]
    return -sum(p * math.log2(p) for p in shares)


# %% 10.2 | rare news
def bits(messages):  # the mean over kinds, not weighted by their shares
    kinds = set(messages)
    return -sum(math.log2(messages.count(m) / len(messages)) for m in kinds) / len(kinds)


# %% 10.3 | 2 passes, then 3, over 4 trained tokens
def lambdas(prompt, answer):  # over the answer: the prompt is trained on as well
    trained = prompt + answer
    return sum(range(prompt, trained)) / answer, trained / trained


# %% 10.3 | 2 passes, then 3, over 4 trained tokens
def lambdas(prompt, answer):  # the answer alone is read again
    trained = prompt + answer
    return sum(range(answer)) / trained, 1.0


# %% 10.3 | 2 passes, then 3, over 4 trained tokens
def lambdas(prompt, answer):  # a token is not among its own earlier ones
    trained = prompt + answer
    return sum(range(prompt + 1, trained + 1)) / trained, 1.0


# %% 10.3 | each token passes once
def lambdas(prompt, answer):  # the prompt has to pass, too
    trained = prompt + answer
    return sum(range(prompt, trained)) / trained, answer / trained


# %% 10.4 | the second curve ends at 1
def gap_at_equal_cost(x1, y1, x2, y2):  # beyond the end of the shorter curve
    cost = max(x1[-1], x2[-1])
    return cost, float(np.interp(cost, x1, y1) - np.interp(cost, x2, y2))


# %% 10.4 | the first one is half-way up there
def gap_at_equal_cost(x1, y1, x2, y2):  # ends against ends: not the same cost
    return min(x1[-1], x2[-1]), y1[-1] - y2[-1]


# %% 10.4 | the first one is half-way up there
def gap_at_equal_cost(x1, y1, x2, y2):  # the last evaluation before, no straight line
    cost = min(x1[-1], x2[-1])
    one = [y for x, y in zip(x1, y1, strict=True) if x <= cost][-1]
    return cost, one - [y for x, y in zip(x2, y2, strict=True) if x <= cost][-1]


# %% 10.4 | the first one is half-way up there
def gap_at_equal_cost(x1, y1, x2, y2):  # the second minus the first
    cost = min(x1[-1], x2[-1])
    return cost, float(np.interp(cost, x2, y2) - np.interp(cost, x1, y1))


# %% 10.1 | one right of four: half of the pairs hold it
def advice(correct, n, k, solved):  # k tries count as one
    chances = sum(c / n for c in correct) / len(correct)
    return {"chances": 100 * chances, "advice": 100 * (solved - chances)}


# %% 10.4 | the first curve may end first
def gap_at_equal_cost(x1, y1, x2, y2):  # always where the second ends
    cost = x2[-1]
    return cost, float(np.interp(cost, x1, y1) - np.interp(cost, x2, y2))
