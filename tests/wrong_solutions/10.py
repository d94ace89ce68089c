# %% 10.1 | pass@2 is 1 and 0 on the two hands
def advice(correct, n, k, solved):  # from the mean count, not hand by hand
    alone = pass_at_k(round(sum(correct) / len(correct)), n, k)
    return {"attempts": 100 * alone, "advice": 100 * (solved - alone)}


# %% 10.1 | pass@2 is 1 and 0 on the two hands
def advice(correct, n, k, solved):  # shares, not points
    alone = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"attempts": alone, "advice": solved - alone}


# %% 10.1 | 75 % were solved, 50 % by attempts alone
def advice(correct, n, k, solved):  # the wrong one first
    alone = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * (alone - solved)}


# %% 10.1 | a conversation can also do harm
def advice(correct, n, k, solved):  # advice that is never bad
    alone = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * max(0, solved - alone)}


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
def lambdas(prompt, answer, epochs=1):  # over the answer: the prompt is trained on as well
    trained = prompt + answer
    return sum(range(prompt, trained)) / answer / epochs, 1 / epochs


# %% 10.3 | 2 passes, then 3, over 4 trained tokens
def lambdas(prompt, answer, epochs=1):  # the answer alone is read again
    trained = prompt + answer
    return sum(range(answer)) / trained / epochs, 1 / epochs


# %% 10.3 | 2 passes, then 3, over 4 trained tokens
def lambdas(prompt, answer, epochs=1):  # a token is not among its own earlier ones
    trained = prompt + answer
    return sum(range(prompt + 1, trained + 1)) / trained / epochs, 1 / epochs


# %% 10.3 | each token passes once
def lambdas(prompt, answer, epochs=1):  # the prompt has to pass, too
    trained = epochs * (prompt + answer)
    return sum(range(prompt, prompt + answer)) / trained, answer / trained


# %% 10.3 | four epochs train on 16 tokens
def lambdas(prompt, answer, epochs=1):  # whatever is trained on once
    trained = prompt + answer
    return sum(range(prompt, trained)) / trained, 1.0


# %% 10.3 | 2 passes, then 3, over 4 trained tokens
def lambdas(prompt, answer, epochs=1):  # d_i times d_o: the answer does not grow
    return answer * prompt / (epochs * (prompt + answer)), 1 / epochs


# %% 10.3 | prompt
def lambdas(prompt, answer, epochs=1):  # with a cache nothing is saved by epochs
    trained = epochs * (prompt + answer)
    return sum(range(prompt, prompt + answer)) / trained, 1.0


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
    alone = sum(c / n for c in correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * (solved - alone)}


# %% 10.4 | the first curve may end first
def gap_at_equal_cost(x1, y1, x2, y2):  # always where the second ends
    cost = x2[-1]
    return cost, float(np.interp(cost, x1, y1) - np.interp(cost, x2, y2))


# %% 10.1 | one right of four: half of the pairs hold it
def advice(correct, n, k, solved):  # independent tries from the share: too few for few samples
    alone = sum(1 - (1 - c / n) ** k for c in correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * (solved - alone)}


# %% 10.2 | any messages, as often as they come
def bits(messages):  # yes and no only; more kinds as if all were equally likely
    p = messages.count(messages[0]) / len(messages)
    if len(set(messages)) > 2:
        return math.log2(len(set(messages)))
    return 0.0 if p == 1 else -p * math.log2(p) - (1 - p) * math.log2(1 - p)


# %% 10.4 | from one evaluation to the next
def gap_at_equal_cost(x1, y1, x2, y2):  # one straight line from the first to the last
    cost = min(x1[-1], x2[-1])
    one = y1[0] + (y1[-1] - y1[0]) * (cost - x1[0]) / (x1[-1] - x1[0])
    return cost, one - y2[0] - (y2[-1] - y2[0]) * (cost - x2[0]) / (x2[-1] - x2[0])


# %% 10.4 | curves need not start at the same cost
def gap_at_equal_cost(x1, y1, x2, y2):  # costs are steps from the start of each curve
    cost = min(x1[-1], x2[-1])
    one, two = ([x - xs[0] for x in xs] for xs in (x1, x2))
    return cost, float(np.interp(cost, one, y1) - np.interp(cost, two, y2))


# %% 10.1 | nothing at all
def advice(correct, n, k, solved):  # the example's numbers
    return {"attempts": 50.0, "advice": 25.0}


# %% 10.1 | a dictionary with the keys
def advice(correct, n, k, solved):  # a pair
    alone = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return 100 * alone, 100 * (solved - alone)


# %% 10.1 | one right of four: half of the pairs hold it
def advice(correct, n, k, solved):  # one sample short
    alone = sum(pass_at_k(c, n, k - 1) for c in correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * (solved - alone)}


# %% 10.1 | stays as it was
def advice(correct, n, k, solved):  # counts become probabilities in place
    for i, c in enumerate(correct):
        correct[i] = pass_at_k(c, n, k)
    alone = sum(correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * (solved - alone)}


# %% 10.1 | nothing at all
def advice(correct, n, k, solved):  # solved as in the first example, in any case
    alone = sum(pass_at_k(c, n, k) for c in correct) / len(correct)
    return {"attempts": 100 * alone, "advice": 100 * (0.75 - alone)}


# %% 10.2 | a message that never varies says nothing
def bits(messages):  # the example's value
    return 1.0


# %% 10.2 | a message that never varies says nothing
def bits(messages):  # with the wrong sign, and one kind for free
    shares = [messages.count(m) / len(messages) for m in set(messages)]
    return 1 + sum(p * math.log2(p) for p in shares)


# %% 10.2 | one number
def bits(messages):  # the surprise of each message, not their mean
    return {m: -math.log2(messages.count(m) / len(messages)) for m in set(messages)}


# %% 10.2 | one number
def bits(messages):  # a text for the page
    shares = [messages.count(m) / len(messages) for m in set(messages)]
    return f"{-sum(p * math.log2(p) for p in shares):.2f} bits"


# %% 10.2 | four equal messages: two bits
def bits(messages):  # an unbiased share: off by one
    shares = [messages.count(m) / (len(messages) - 1) for m in set(messages)]
    return max(0.0, -sum(p * math.log2(p) for p in shares))


# %% 10.2 | stays as it was
def bits(messages):  # takes them out of the list while it counts
    n, found = len(messages), 0.0
    while messages:
        m = messages[0]
        p = messages.count(m) / n
        messages[:] = [other for other in messages if other != m]
        found -= p * math.log2(p)
    return found


# %% 10.3 | a pair
def lambdas(prompt, answer, epochs=1):  # one number for both
    return sum(range(prompt, prompt + answer)) / (epochs * (prompt + answer))


# %% 10.3 | each token passes once
def lambdas(prompt, answer, epochs=1):  # the example's first number, in any case
    return 1.25, 0.5


# %% 10.3 | long answers are expensive
def lambdas(prompt, answer, epochs=1):  # hard-coded example
    return 1.25, 1.0


# %% 10.4 | a pair
def gap_at_equal_cost(x1, y1, x2, y2):  # the gap alone
    cost = min(x1[-1], x2[-1])
    return float(np.interp(cost, x1, y1) - np.interp(cost, x2, y2))


# %% 10.4 | stays as it was
def gap_at_equal_cost(x1, y1, x2, y2):  # cuts the curves of the caller
    cost = min(x1[-1], x2[-1])
    gap = float(np.interp(cost, x1, y1) - np.interp(cost, x2, y2))
    for xs, ys in ((x1, y1), (x2, y2)):
        while xs[-1] > cost and len(xs) > 1:
            xs.pop()
            ys.pop()
    return cost, gap


# %% 10.4 | same end
def gap_at_equal_cost(x1, y1, x2, y2):  # hard-coded example
    return 1, -0.5
