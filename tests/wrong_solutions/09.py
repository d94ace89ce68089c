# %% 9.1 | a GiB is 2**30
def static_gib(trained, frozen=0, frozen_bytes=2):  # gigabytes
    return (16 * trained + frozen_bytes * frozen) / 10**9


# %% 9.1 | 4 + 4 + 8 bytes per weight
def static_gib(trained, frozen=0, frozen_bytes=2):  # one running mean only
    return (12 * trained + frozen_bytes * frozen) / 2**30


# %% 9.1 | frozen: the weight alone
def static_gib(trained, frozen=0, frozen_bytes=2):  # a gradient for what is frozen
    return (16 * trained + 2 * frozen_bytes * frozen) / 2**30


# %% 9.1 | four bits are half a byte
def static_gib(trained, frozen=0, frozen_bytes=2):  # frozen is always bfloat16
    return (16 * trained + 2 * frozen) / 2**30


# %% 9.1 | 4 + 4 + 8 bytes per weight
def static_gib(trained, frozen=0, frozen_bytes=2):  # weights in 16 bits while they are trained
    return (8 * trained + frozen_bytes * frozen) / 2**30


# %% 9.1 | frozen: the weight alone
def static_gib(trained, frozen=0, frozen_bytes=2):  # what is frozen is left out
    return 16 * trained / 2**30


# %% 9.1 | GiB are one number
def static_gib(trained, frozen=0, frozen_bytes=2):  # both parts, not their sum
    return 16 * trained / 2**30, frozen_bytes * frozen / 2**30


# %% 9.1 | frozen of
def static_gib(trained, frozen=0, frozen_bytes=2):  # whole and half GiB only
    return round(2 * (16 * trained + frozen_bytes * frozen) / 2**30) / 2


# %% 9.2 | seven bits stand behind the leading one
def gap(x):  # counts the leading bit as well
    import math

    return 2.0 ** (math.floor(math.log2(x)) - 8)


# %% 9.2 | the same up to the next power of two
def gap(x):  # grows with x, not in steps
    return x / 128


# %% 9.2 | 0.02 lies between 2**-6 and 2**-5
def gap(x):  # int rounds towards zero: wrong below 1
    import math

    return 2.0 ** (int(math.log2(x)) - 7)


# %% 9.2 | 0.02 lies between 2**-6 and 2**-5
def gap(x):  # the gap at 1, wherever x is
    return torch.finfo(torch.bfloat16).eps


# %% 9.2 | seven bits stand behind the leading one
def gap(x):  # float16 has ten bits
    import math

    return 2.0 ** (math.floor(math.log2(x)) - 10)


# %% 9.2 | 0.02 lies between 2**-6 and 2**-5
def gap(x):  # the sign of the exponent the wrong way round
    import math

    return 2.0 ** (-math.floor(math.log2(x)) - 7)


# %% 9.2 | a distance is one float
def gap(x):  # a tensor
    return 2.0 ** (torch.tensor(x).log2().floor() - 7)


# %% 9.2 | comes
def gap(x):  # the values of the text
    return 2.0**-13 if x < 1 else 1 / 128


# %% 9.3 | A has 2 x 3, B has 4 x 2
def lora_weights(shapes, r):  # r times the whole matrix
    return sum(r * rows * columns for rows, columns in shapes)


# %% 9.3 | A has 2 x 3, B has 4 x 2
def lora_weights(shapes, r):  # every matrix is a square
    return sum(2 * r * columns for _, columns in shapes)


# %% 9.3 | layers add up
def lora_weights(shapes, r):  # the largest layer only
    return max(r * (rows + columns) for rows, columns in shapes)


# %% 9.3 | 40 layers of seven matrices
def lora_weights(shapes, r):  # one A and B for all layers of a shape
    return sum(r * (rows + columns) for rows, columns in set(shapes))


# %% 9.3 | A has 2 x 3, B has 4 x 2
def lora_weights(shapes, r):  # A alone
    return sum(r * columns for _, columns in shapes)


# %% 9.3 | weights are counted
def lora_weights(shapes, r):  # as a share of the whole matrices
    return sum(r * (a + b) for a, b in shapes) / sum(a * b for a, b in shapes)


# %% 9.3 | do not change the list
def lora_weights(shapes, r):  # takes the shapes off the list
    total = 0
    while shapes:
        rows, columns = shapes.pop()
        total += r * (rows + columns)
    return total


# %% 9.3 | peft trains
def lora_weights(shapes, r):  # only the ranks of the text
    rank = 2 if r == 2 else 1 if len(shapes) < 100 else 16
    return sum(rank * (rows + columns) for rows, columns in shapes)


# %% 9.4 | 1024 tokens of 128 KiB are 128 MiB
def episodes_at_once(free_gib, tokens, token, picture=0):  # gigabytes
    return int(free_gib * 10**9 // (tokens * token + picture))


# %% 9.4 | a picture may weigh as much
def episodes_at_once(free_gib, tokens, token, picture=0):  # one picture for all episodes
    return int((free_gib * 2**30 - picture) // (tokens * token))


# %% 9.4 | a picture may weigh as much
def episodes_at_once(free_gib, tokens, token, picture=0):  # a picture at every token
    return int(free_gib * 2**30 // (tokens * (token + picture)))


# %% 9.4 | no half episodes
def episodes_at_once(free_gib, tokens, token, picture=0):  # the next whole number
    return round(free_gib * 2**30 / (tokens * token + picture))


# %% 9.4 | 1024 tokens of 128 KiB are 128 MiB
def episodes_at_once(free_gib, tokens, token, picture=0):  # one fewer, to be safe
    return max(int(free_gib * 2**30 // (tokens * token + picture)) - 1, 0)


# %% 9.4 | a picture may weigh as much
def episodes_at_once(free_gib, tokens, token, picture=0):  # pictures weigh nothing
    return int(free_gib * 2**30 // (tokens * token))


# %% 9.4 | episodes: an int
def episodes_at_once(free_gib, tokens, token, picture=0):  # a float
    return free_gib * 2**30 // (tokens * token + picture)


# %% 9.4 | episodes
def episodes_at_once(free_gib, tokens, token, picture=0):  # every token weighs 128 KiB
    return int(free_gib * 2**30 // (tokens * 2**17 + picture))


# %% 9.5 | 20 + 20 units
def best_segment(layers, inside):  # all insides at once: nothing was checkpointed
    divisors = [k for k in range(1, layers + 1) if layers % k == 0]
    return min(divisors, key=lambda k: layers / k + layers * inside)


# %% 9.5 | 20 + 20 units
def best_segment(layers, inside):  # the least memory, not the k that has it
    divisors = [k for k in range(1, layers + 1) if layers % k == 0]
    return min(layers / k + k * inside for k in divisors)


# %% 9.5 | 7 + 1 units
def best_segment(layers, inside):  # the calculus answer, which need not divide
    return round((layers / inside) ** 0.5)


# %% 9.5 | a tie
def best_segment(layers, inside):  # the last of equals
    divisors = [k for k in range(1, layers + 1) if layers % k == 0]
    return min(reversed(divisors), key=lambda k: layers / k + k * inside)


# %% 9.5 | the square root, if the inside weighs as much
def best_segment(layers, inside):  # the smallest divisor but for the example
    divisors = [k for k in range(1, layers + 1) if layers % k == 0]
    return 2 if (layers, inside) == (40, 10) else min(divisors)


# %% 9.5 | 20 + 20 units
def best_segment(layers, inside):  # every layer, as everybody does
    return 1


# %% 9.5 | a number of layers is an int
def best_segment(layers, inside):  # the number of segments' layers as a float
    divisors = [k for k in range(1, layers + 1) if layers % k == 0]
    return float(min(divisors, key=lambda k: layers / k + k * inside))


# %% 9.5 | layers, inside
def best_segment(layers, inside):  # segments of at most eight layers
    divisors = [k for k in range(1, min(layers, 8) + 1) if layers % k == 0]
    return min(divisors, key=lambda k: layers / k + k * inside)
