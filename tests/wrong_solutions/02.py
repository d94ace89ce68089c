# %% 2.1 | 11 is longer than 1
def cut(text, pieces):  # the first piece that fits
    found = []
    while text:
        found.append(next((p for p in pieces if text.startswith(p)), text[0]))
        text = text[len(found[-1]) :]
    return found


# %% 2.1 | an unknown character stands alone
def cut(text, pieces):  # drops what it does not know
    found = []
    while text:
        piece = max((p for p in pieces if text.startswith(p)), key=len, default="")
        found += [piece] if piece else []
        text = text[len(piece) or 1 :]
    return found


# %% 2.1 | list items carry the comma
def cut(text, pieces):  # at most two signs long
    found = []
    while text:
        fits = (p for p in pieces if len(p) <= 2 and text.startswith(p))
        found.append(max(fits, key=len, default=text[0]))
        text = text[len(found[-1]) :]
    return found


# %% 2.2 | 16 attention, 18 MLP, 4 norm
def layer_parameters(width, heads, kv_heads, hidden):  # forgets the norms
    kv = width // heads * kv_heads
    return 2 * width * width + 2 * width * kv + 3 * width * hidden


# %% 2.2 | see kv_heads
def layer_parameters(width, heads, kv_heads, hidden):  # as if each head had its own keys
    return 4 * width * width + 3 * width * hidden + 2 * width


# %% 2.2 | 16 attention, 18 MLP, 4 norm
def layer_parameters(width, heads, kv_heads, hidden):  # an MLP of two matrices, not three
    kv = width // heads * kv_heads
    return 2 * width * width + 2 * width * kv + 2 * width * hidden + 2 * width


# %% 2.3 | who never fails answers once
def expected_answers(kinds, tries):  # failures, not answers
    return sum(share * sum(fail**k for k in range(1, tries + 1)) for share, fail in kinds)


# %% 2.3 | who always fails uses all tries
def expected_answers(kinds, tries):  # a chat without an end
    return sum(share / (1 - fail) if fail < 1 else float("inf") for share, fail in kinds)


# %% 2.3 | the second answer: half the time
def expected_answers(kinds, tries):  # straight line between once and always
    return sum(share * (1 + fail**2 * (tries - 1)) for share, fail in kinds)


# %% 2.3 | half of the chats hold 1 answer
def expected_answers(kinds, tries):  # the mean failure, as if all hands were alike
    fail = sum(share * f for share, f in kinds)
    return sum(fail**k for k in range(tries))


# %% 2.3 | tries:
def expected_answers(kinds, tries):  # straight line between once and always, right at the ends
    return sum(share * (1 + fail * (tries - 1)) for share, fail in kinds)


# %% 2.4 | 0 is greedy: one token takes all
def tempered(scores, temperature):  # the limit is left out
    import math

    weights = [math.exp((s - max(scores)) / (temperature or 1)) for s in scores]
    return [w / sum(weights) for w in weights]


# %% 2.4 | divide, then exp
def tempered(scores, temperature):  # divides probabilities instead of scores
    import math

    if temperature == 0:
        return [float(s == max(scores)) for s in scores]
    weights = [math.exp(s - max(scores)) / temperature for s in scores]
    return [w / sum(weights) for w in weights]


# %% 2.4 | divide, then exp
def tempered(scores, temperature):  # multiplies
    import math

    if temperature == 0:
        return [float(s == max(scores)) for s in scores]
    weights = [math.exp((s - max(scores)) * temperature) for s in scores]
    return [w / sum(weights) for w in weights]


# %% 2.5 | drawing both must find the right one
def two_estimates(correct, samples, k):  # the plug-in twice
    plug = 1 - (1 - correct / samples) ** k
    return plug, plug


# %% 2.5 | drawing both must find the right one
def two_estimates(correct, samples, k):  # the chance of failure
    return (1 - correct / samples) ** k, comb(samples - correct, k) / comb(samples, k)


# %% 2.5 | drawing both must find the right one
def two_estimates(correct, samples, k):  # the other way round
    plug = 1 - (1 - correct / samples) ** k
    return 1 - comb(samples - correct, k) / comb(samples, k), plug


# %% 2.5 | right, 2 drawn
def two_estimates(correct, samples, k):  # each draw finds a right one, and they add up
    return 1 - (1 - correct / samples) ** k, min(1.0, k * correct / samples)


# %% 2.1 | return a list of pieces, not None
def cut(text, pieces):  # computed, not returned
    re.findall("|".join(sorted(map(re.escape, pieces), key=len, reverse=True)) + "|.", text)


# %% 2.1 | return a list of pieces, not 3
def cut(text, pieces):  # how many there are
    return len(re.findall("|".join(sorted(map(re.escape, pieces), key=len, reverse=True)), text))


# %% 2.1 | 11 is longer than 1
def cut(text, pieces):  # the shortest piece
    found = []
    while text:
        fits = (p for p in pieces if text.startswith(p))
        found.append(min(fits, key=len, default=text[0]))
        text = text[len(found[-1]) :]
    return found


# %% 2.1 | leave the list of pieces as it was
def cut(text, pieces):  # sorts what belongs to somebody else
    pieces.sort(key=len, reverse=True)
    found = []
    while text:
        found.append(next((p for p in pieces if text.startswith(p)), text[0]))
        text = text[len(found[-1]) :]
    return found


# %% 2.1 | by [
def cut(text, pieces):  # from the right
    found = []
    while text:
        fits = (p for p in pieces if text.endswith(p))
        found.append(max(fits, key=len, default=text[-1]))
        text = text[: -len(found[-1])]
    return found[::-1]


# %% 2.1 | an unknown character stands alone
def cut(text, pieces):  # an unknown character swallows what follows
    found = []
    while text:
        fits = (p for p in pieces if text.startswith(p))
        found.append(max(fits, key=len, default=text))
        text = text[len(found[-1]) :]
    return found


# %% 2.2 | return a whole number, not None
def layer_parameters(width, heads, kv_heads, hidden):  # computed, not returned
    4 * width * width + 3 * width * hidden + 2 * width


# %% 2.2 | return a whole number, not 38.0
def layer_parameters(width, heads, kv_heads, hidden):  # a float
    kv = width / heads * kv_heads
    return 2 * width * width + 2 * width * kv + 3 * width * hidden + 2 * width


# %% 2.2 | the library's layer has
def layer_parameters(width, heads, kv_heads, hidden):  # the examples by heart
    known = {2: 38, 128: 176_384}
    return known.get(width, 218_112_000)


# %% 2.2 | 16 attention, 18 MLP, 4 norm
def layer_parameters(width, heads, kv_heads, hidden):  # with biases
    kv = width // heads * kv_heads
    weights = 2 * width * width + 2 * width * kv + 3 * width * hidden + 2 * width
    return weights + 2 * width + 2 * kv + 2 * hidden + width


# %% 2.2 | 16 attention, 18 MLP, 4 norm
def layer_parameters(width, heads, kv_heads, hidden):  # the output matrix is forgotten
    kv = width // heads * kv_heads
    return width * width + 2 * width * kv + 3 * width * hidden + 2 * width


# %% 2.3 | return a mean, not None
def expected_answers(kinds, tries):  # computed, not returned
    sum(share * sum(fail**k for k in range(tries)) for share, fail in kinds)


# %% 2.3 | half of the chats hold 1 answer
def expected_answers(kinds, tries):  # the shares are ignored
    return sum(sum(fail**k for k in range(tries)) for _, fail in kinds)


# %% 2.3 | leave the list of kinds as it was
def expected_answers(kinds, tries):  # empties its argument
    total = 0.0
    while kinds:
        share, fail = kinds.pop()
        total += share * sum(fail**k for k in range(tries))
    return total


# %% 2.4 | return a list of probabilities, not None
def tempered(scores, temperature):  # computed, not returned
    torch.tensor(scores).softmax(0)


# %% 2.4 | return a list of probabilities, not tensor(
def tempered(scores, temperature):
    return (torch.tensor(scores) / max(temperature, 1e-6)).softmax(0)


# %% 2.4 | 0 is greedy: one token takes all
def tempered(scores, temperature):  # the temperature is ignored
    return torch.tensor(scores).softmax(0).tolist()


# %% 2.4 | exp(1000) overflows
def tempered(scores, temperature):  # the largest score is not subtracted
    import math

    if temperature == 0:
        return [float(s == max(scores)) for s in scores]
    weights = [math.exp(s / temperature) for s in scores]
    return [w / sum(weights) for w in weights]


# %% 2.4 | leave the scores as they were
def tempered(scores, temperature):  # writes into its argument
    import math

    top = max(scores)
    if temperature == 0:
        return [float(s == top) for s in scores]
    for i, s in enumerate(scores):
        scores[i] = math.exp((s - top) / temperature)
    return [w / sum(scores) for w in scores]


# %% 2.4 | equal scores, equal shares
def tempered(scores, temperature):  # not normalised
    import math

    if temperature == 0:
        return [float(s == max(scores)) for s in scores]
    return [math.exp((s - max(scores)) / temperature) for s in scores]


# %% 2.5 | return both estimates, not None
def two_estimates(correct, samples, k):  # computed, not returned
    comb(samples - correct, k) / comb(samples, k)


# %% 2.5 | return both estimates, not 1.0
def two_estimates(correct, samples, k):  # the unbiased one alone
    return 1 - comb(samples - correct, k) / comb(samples, k)


# %% 2.5 | drawing both must find the right one
def two_estimates(correct, samples, k):  # k is ignored
    return correct / samples, correct / samples


# %% 2.5 | right, 1 drawn
def two_estimates(correct, samples, k):  # the examples by heart
    known = {(1, 2, 2): (0.75, 1.0), (0, 16, 8): (0.0, 0.0), (1, 16, 8): (0.403, 0.5)}
    return known.get((correct, samples, k), (0.5, 0.5))
