# %% 11.1 | nothing succeeds, nothing stands out
def teaches(p, group):  # a failure is enough
    return 1 - p**group


# %% 11.1 | everything succeeds, nothing stands out
def teaches(p, group):  # a success is enough
    return 1 - (1 - p) ** group


# %% 11.1 | two coins differ half of the time
def teaches(p, group):  # as if the two were independent
    return (1 - p**group) * (1 - (1 - p) ** group)


# %% 11.1 | a wide window
def teaches(p, group):  # exactly one success
    return group * p * (1 - p) ** (group - 1)


# %% 11.1 | a wide window
def teaches(p, group):  # two of the answers, however many there are
    return 2 * p * (1 - p)


# %% 11.1 | all outcomes counted give
def teaches(p, group):  # a pair that differs, once for each sample
    return min(1, group * p * (1 - p))


# %% 11.2 | the development rule is best at 8
def chosen_by(dev, ood):  # peeks
    step = max(ood, key=ood.get)
    return step, 100 * (max(ood.values()) - ood[step])


# %% 11.2 | 20 % was there, 10 % was chosen
def chosen_by(dev, ood):  # a share, not points
    step = max(dev, key=dev.get)
    return step, max(ood.values()) - ood[step]


# %% 11.2 | 20 % was there, 10 % was chosen
def chosen_by(dev, ood):  # compares two different splits
    step = max(dev, key=dev.get)
    return step, 100 * (dev[step] - ood[step])


# %% 11.2 | the first best
def chosen_by(dev, ood):  # the last of equals
    step = max(reversed(dev), key=dev.get)
    return step, 100 * (max(ood.values()) - ood[step])


# %% 11.2 | no regret
def chosen_by(dev, ood):  # against Init, not against the best
    step = max(dev, key=dev.get)
    return step, 100 * (ood[0] - ood[step])


# %% 11.2 | wrong regret
def chosen_by(dev, ood):  # the best of the two ends
    step = max(dev, key=dev.get)
    first, *_, last = ood
    return step, 100 * (max(ood[first], ood[last]) - ood[step])


# %% 11.2 | 20 % was there, 10 % was chosen
def chosen_by(dev, ood):  # against what comes later only
    step = max(dev, key=dev.get)
    return step, 100 * (max(ood[s] for s in ood if s >= step) - ood[step])


# %% 11.3 | half of the loss
def restored(init, sft, rl):  # of what Init had, not of what was lost
    return rl / init if init > sft else math.nan


# %% 11.3 | more than was lost
def restored(init, sft, rl):  # at most all of it
    return min(1.0, (rl - sft) / (init - sft)) if init > sft else math.nan


# %% 11.3 | no loss, no share
def restored(init, sft, rl):  # divides by a gain
    return (rl - sft) / (init - sft)


# %% 11.3 | no loss, no share
def restored(init, sft, rl):  # 0 would say: RL brought nothing back
    return (rl - sft) / (init - sft) if init > sft else 0.0


# %% 11.3 | RL can also make it worse
def restored(init, sft, rl):  # never below 0
    return max(0.0, (rl - sft) / (init - sft)) if init > sft else math.nan


# %% 11.3 | wrong share
def restored(init, sft, rl):  # nobody restores more than twice of it
    return min(2.0, (rl - sft) / (init - sft)) if init > sft else math.nan


# %% 11.4 | same order
def rank_correlation(x, y):  # Pearson's: the values, not their ranks
    return pd.Series(x).corr(pd.Series(y))


# %% 11.4 | equal values share a rank
def rank_correlation(x, y):  # ties in the order in which they come
    return pd.Series(x).rank(method="first").corr(pd.Series(y).rank(method="first"))


# %% 11.4 | equal values share a rank
def rank_correlation(x, y):  # a short form that holds only without ties
    apart = pd.Series(x).rank() - pd.Series(y).rank()
    return 1 - 6 * (apart**2).sum() / (len(x) * (len(x) ** 2 - 1))


# %% 11.4 | equal values share a rank
def rank_correlation(x, y):  # the lower of the shared ranks
    return pd.Series(x).rank(method="min").corr(pd.Series(y).rank(method="min"))


# %% 11.4 | scipy finds
def rank_correlation(x, y):  # ties shared in x only
    return pd.Series(x).rank().corr(pd.Series(y).rank(method="first"))


# %% 11.1 | nothing succeeds, nothing stands out
def teaches(p, group):  # the example's value
    return 0.5


# %% 11.1 | a probability is one number
def teaches(p, group):  # yes or no
    return 0 < p < 1 and group > 1


# %% 11.1 | two coins differ half of the time
def teaches(p, group):  # the first sample is not counted
    return 1 - p ** (group - 1) - (1 - p) ** (group - 1)


# %% 11.1 | two coins differ half of the time
def teaches(p, group):  # per cent
    return 100 * (1 - p**group - (1 - p) ** group)


# %% 11.1 | nothing succeeds, nothing stands out
def teaches(p, group):  # the failures' power has the wrong sign
    return 1 - p**group + (1 - p) ** group


# %% 11.2 | a pair
def chosen_by(dev, ood):  # the step alone
    return max(dev, key=dev.get)


# %% 11.2 | stay as they were
def chosen_by(dev, ood):  # empties the curve to find its best
    step = max(dev, key=dev.get)
    while len(dev) > 1:
        dev.pop(next(s for s in dev if s != step))
    return step, 100 * (max(ood.values()) - ood[step])


# %% 11.2 | the first best
def chosen_by(dev, ood):  # hard-coded example
    return 8, 10.0


# %% 11.2 | wrong regret
def chosen_by(dev, ood):  # one checkpoint too late
    step = max(dev, key=dev.get)
    steps = sorted(ood)
    late = steps[min(steps.index(step) + 1, len(steps) - 1)]
    return step, 100 * (max(ood.values()) - ood[late])


# %% 11.3 | nothing came back
def restored(init, sft, rl):  # the example's value
    return 0.5


# %% 11.3 | one number
def restored(init, sft, rl):  # a text
    return f"{(rl - sft) / (init - sft):.0%}" if init > sft else math.nan


# %% 11.3 | nothing came back
def restored(init, sft, rl):  # what is still missing
    return (init - rl) / (init - sft) if init > sft else math.nan


# %% 11.3 | half of the loss
def restored(init, sft, rl):  # what came back, with the wrong sign
    return (sft - rl) / (init - sft) if init > sft else math.nan


# %% 11.3 | no change is no loss either
def restored(init, sft, rl):  # equal counts as a loss
    return (rl - sft) / (init - sft or 1.0) if init >= sft else math.nan


# %% 11.4 | opposite order
def rank_correlation(x, y):  # the example's value
    return 1.0


# %% 11.4 | one number
def rank_correlation(x, y):  # with its p-value
    from scipy.stats import spearmanr

    return spearmanr(x, y)


# %% 11.4 | opposite order
def rank_correlation(x, y):  # how strongly, not in which direction
    return abs(pd.Series(x).rank().corr(pd.Series(y).rank()))


# %% 11.4 | a rank is a place, not the order of argsort
def rank_correlation(x, y):  # which value is smallest, not which place a value has
    return pd.Series(pd.Series(x).argsort()).corr(pd.Series(pd.Series(y).argsort()))


# %% 11.4 | stay in their order
def rank_correlation(x, y):  # ranks by sorting the caller's lists
    apart = pd.Series(list(x)).rank().corr(pd.Series(list(y)).rank())
    x.sort()
    y.sort()
    return apart
