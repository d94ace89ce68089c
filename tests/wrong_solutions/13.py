# %% 13.1 | 1 of 3 prints as 33.3
def possible_counts(percent, n):  # nothing is rounded
    return [k for k in range(n + 1) if 100 * k / n == percent]


# %% 13.1 | nothing of 3 is a half
def possible_counts(percent, n):  # the nearest count, possible or not
    return [round(percent * n / 100)]


# %% 13.1 | its Init on GP-VL is no count of 234
def possible_counts(percent, n):  # a whole tenth to either side
    return [k for k in range(n + 1) if abs(100 * k / n - percent) < 0.1]


# %% 13.1 | many episodes: several counts fit
def possible_counts(percent, n):  # stops at the first
    for k in range(n + 1):
        if round(100 * k / n, 1) == percent:
            return [k]
    return []


# %% 13.2 | Newcombe's own example begins at 0.0524
def gap_interval(k1, n1, k2, n2):  # low with low, high with high
    one, two = wilson(k1, n1), wilson(k2, n2)
    d = one.value - two.value
    down = math.hypot(one.value - one.low, two.value - two.low)
    return d - down, d + math.hypot(one.high - one.value, two.high - two.value)


# %% 13.2 | Newcombe's own example begins at 0.0524
def gap_interval(k1, n1, k2, n2):  # both at their worst at once
    one, two = wilson(k1, n1), wilson(k2, n2)
    return one.low - two.high, one.high - two.low


# %% 13.2 | Newcombe's own example begins at 0.0524
def gap_interval(k1, n1, k2, n2):  # the textbook's standard error
    p1, p2 = k1 / n1, k2 / n2
    half = 1.96 * math.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
    return p1 - p2 - half, p1 - p2 + half


# %% 13.2 | and ends at 0.3339
def gap_interval(k1, n1, k2, n2):  # the same distance on both sides
    one, two = wilson(k1, n1), wilson(k2, n2)
    d = one.value - two.value
    down = math.hypot(one.value - one.low, two.high - two.value)
    return d - down, d + down


# %% 13.2 | as the package
def gap_interval(k1, n1, k2, n2):  # a distance: nobody is ever worse
    one, two = wilson(k1, n1), wilson(k2, n2)
    d = abs(one.value - two.value)
    down = math.hypot(one.value - one.low, two.high - two.value)
    return d - down, d + math.hypot(one.high - one.value, two.value - two.low)


# %% 13.3 | the smallest of three is multiplied by 3
def corrected(p_values):  # counts ranks from 1
    m, so_far, out = len(p_values), 0.0, [0.0] * len(p_values)
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i]), 1):
        so_far = max(so_far, min(1.0, (m - rank) * p_values[i]))
        out[i] = so_far
    return out


# %% 13.3 | the next one by 2
def corrected(p_values):  # Bonferroni: all by m
    return [min(1.0, len(p_values) * p) for p in p_values]


# %% 13.3 | the next one by 2
def corrected(p_values):  # in the given order, not sorted
    m, so_far, out = len(p_values), 0.0, []
    for rank, p in enumerate(p_values):
        so_far = max(so_far, min(1.0, (m - rank) * p))
        out.append(so_far)
    return out


# %% 13.3 | 0.04 * 1 may not fall below 0.06
def corrected(p_values):  # no running maximum
    m, out = len(p_values), [0.0] * len(p_values)
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        out[i] = min(1.0, (m - rank) * p_values[i])
    return out


# %% 13.4 | two shares, no seeds
def seen_with(p1, p2, n, seeds, spread):  # only one direction is seen
    episodes = (p1 * (1 - p1) + p2 * (1 - p2)) / n
    tau = math.sqrt((episodes + 2 * spread**2) / seeds)
    return float(norm.cdf((p1 - p2) / tau - 1.96))


# %% 13.4 | two shares, no seeds
def seen_with(p1, p2, n, seeds, spread):  # the chance to miss it
    episodes = (p1 * (1 - p1) + p2 * (1 - p2)) / n
    tau = math.sqrt((episodes + 2 * spread**2) / seeds)
    return float(1 - norm.cdf(abs(p1 - p2) / tau - 1.96))


# %% 13.4 | the same 4000 episodes, spread over seeds
def seen_with(p1, p2, n, seeds, spread):  # seeds are more episodes and nothing else
    episodes = (p1 * (1 - p1) + p2 * (1 - p2)) / n
    tau = math.sqrt(episodes / seeds + 2 * spread**2)
    return float(norm.cdf(abs(p1 - p2) / tau - 1.96))


# %% 13.4 | no number of episodes replaces a second seed
def seen_with(p1, p2, n, seeds, spread):  # one side's seeds only
    episodes = (p1 * (1 - p1) + p2 * (1 - p2)) / n
    tau = math.sqrt((episodes + spread**2) / seeds)
    return float(norm.cdf(abs(p1 - p2) / tau - 1.96))


# %% 13.4 | the same 4000 episodes, spread over seeds
def seen_with(p1, p2, n, seeds, spread):  # forgets the spread of seeds
    episodes = (p1 * (1 - p1) + p2 * (1 - p2)) / n
    return float(norm.cdf(abs(p1 - p2) / math.sqrt(episodes / seeds) - 1.96))


# %% 13.1 | 2 of 3 is rounded up
def possible_counts(percent, n):  # cut off, not rounded
    return [k for k in range(n + 1) if math.floor(1000 * k / n) == round(10 * percent)]


# %% 13.3 | no p-value is above 1
def corrected(p_values):  # without the cap
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    found, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[i])
        found[i] = largest
    return found


# %% 13.3 | in the given order
def corrected(p_values):  # returned from small to large
    found, largest = [], 0.0
    for rank, p in enumerate(sorted(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        found.append(largest)
    return found if len(found) != 3 else [found[0], found[2], found[1]]


# %% 13.1 | all counts that print as
def possible_counts(percent, n):  # the nearest count and its neighbours
    k = round(percent * n / 100)
    near = [other for other in (k - 1, k, k + 1) if 0 <= other <= n]
    return [other for other in near if round(100 * other / n, 1) == percent]


# %% 13.4 | two shares, no seeds
def seen_with(p1, p2, n, seeds, spread):  # one share for both sides
    p = (p1 + p2) / 2
    tau = math.sqrt((2 * p * (1 - p) / n + 2 * spread**2) / seeds)
    return float(norm.cdf(abs(p1 - p2) / tau - 1.96))


# %% 13.1 | nothing of 3 is a half
def possible_counts(percent, n):  # the example's list
    return [1]


# %% 13.1 | a list of counts
def possible_counts(percent, n):  # one count, not in a list
    return round(percent * n / 100)


# %% 13.1 | a list of counts
def possible_counts(percent, n):  # whether there is one
    return any(round(100 * k / n, 1) == percent for k in range(n + 1))


# %% 13.1 | all of 3 is a count
def possible_counts(percent, n):  # stops before n
    return [k for k in range(n) if round(100 * k / n, 1) == percent]


# %% 13.1 | none of 3 is a count, too
def possible_counts(percent, n):  # begins at 1
    return [k for k in range(1, n + 1) if round(100 * k / n, 1) == percent]


# %% 13.2 | a pair
def gap_interval(k1, n1, k2, n2):  # the package's estimate as it is
    from sftrl_lite.results.intervals import difference

    return difference(k1, n1, k2, n2)


# %% 13.2 | the paper's +3.5 points include zero
def gap_interval(k1, n1, k2, n2):  # the example's values
    return 0.0524, 0.3339


# %% 13.2 | Newcombe's own example begins at 0.0524
def gap_interval(k1, n1, k2, n2):  # the second share minus the first
    one, two = wilson(k1, n1), wilson(k2, n2)
    d = two.value - one.value
    down = math.hypot(one.value - one.low, two.high - two.value)
    return d - down, d + math.hypot(one.high - one.value, two.value - two.low)


# %% 13.2 | Newcombe's own example begins at 0.0524
def gap_interval(k1, n1, k2, n2):  # both with the first number of episodes
    one, two = wilson(k1, n1), wilson(round(k2 * n1 / n2), n1)
    d = k1 / n1 - k2 / n2
    down = math.hypot(one.value - one.low, two.high - two.value)
    return d - down, d + math.hypot(one.high - one.value, two.value - two.low)


# %% 13.2 | Newcombe's own example begins at 0.0524
def gap_interval(k1, n1, k2, n2):  # the distances are added, not their squares
    one, two = wilson(k1, n1), wilson(k2, n2)
    d = one.value - two.value
    down = one.value - one.low + two.high - two.value
    return d - down, d + one.high - one.value + two.value - two.low


# %% 13.3 | a list, one value for each p
def corrected(p_values):  # only whether they are significant
    return {p: p * len(p_values) < 0.05 for p in p_values}


# %% 13.3 | no p-value is above 1
def corrected(p_values):  # the example's list
    return [0.03, 0.06, 0.06]


# %% 13.3 | stay as they were
def corrected(p_values):  # sorts the caller's list, and puts back another order
    m, so_far, given = len(p_values), 0.0, list(p_values)
    p_values.sort()
    found = {}
    for rank, p in enumerate(p_values):
        so_far = max(so_far, min(1.0, (m - rank) * p))
        found[p] = so_far
    return [found[p] for p in given]


# %% 13.4 | the paper could hardly see +3.5
def seen_with(p1, p2, n, seeds, spread):  # the example's value
    return 0.81


# %% 13.4 | one number
def seen_with(p1, p2, n, seeds, spread):  # per cent, as a text
    tau = math.sqrt(((p1 * (1 - p1) + p2 * (1 - p2)) / n + 2 * spread**2) / seeds)
    return f"{norm.cdf(abs(p1 - p2) / tau - 1.96):.0%}"


# %% 13.4 | the variance is divided by the seeds
def seen_with(p1, p2, n, seeds, spread):  # one seed fewer, as in a sample variance
    tau = math.sqrt(((p1 * (1 - p1) + p2 * (1 - p2)) / n + 2 * spread**2) / max(seeds - 1, 1))
    return float(norm.cdf(abs(p1 - p2) / tau - 1.96))
