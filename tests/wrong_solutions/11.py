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
