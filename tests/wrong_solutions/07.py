# %% 7.1 | one leg, one place on the way
def lay_rail(passed):  # one step more: the end of the leg is not a place between
    moves = []
    for places in passed:
        moves += ["turn"] + ["forward"] * (places + 1)
    return [*moves, "stop"]


# %% 7.1 | one leg, one place on the way
def lay_rail(passed):  # nobody stops
    return [move for places in passed for move in ["turn"] + ["forward"] * places]


# %% 7.1 | two legs, the second passes two places
def lay_rail(passed):  # a stop after each leg
    moves = []
    for places in passed:
        moves += ["turn"] + ["forward"] * places + ["stop"]
    return moves


# %% 7.1 | two legs, the second passes two places
def lay_rail(passed):  # a leg that passes nothing is no leg
    moves = []
    for places in passed:
        moves += ["turn"] + ["forward"] * places if places else []
    return [*moves, "stop"]


# %% 7.2 | 20 degrees across north
def relative_word(heading, onward):  # not round the circle: the error of the released code
    angle = onward - heading
    if angle < 0:
        return "left" if angle < -45 else "slightly left"
    return "right" if angle > 45 else "slightly right"


# %% 7.2 | 20 degrees across north
def relative_word(heading, onward):  # the sign the wrong way round
    angle = (heading - onward + 180) % 360 - 180
    if angle < 0:
        return "left" if angle < -45 else "slightly left"
    return "right" if angle > 45 else "slightly right"


# %% 7.2 | instead of
def relative_word(heading, onward):  # the edges belong to the other words
    angle = (onward - heading + 180) % 360 - 180
    if angle <= 0:
        return "left" if angle <= -45 else "slightly left"
    return "right" if angle >= 45 else "slightly right"


# %% 7.2 | and back
def relative_word(heading, onward):  # always the way to the right
    angle = (onward - heading) % 360
    return "right" if angle > 45 else "slightly right"


# %% 7.3 | over at the first step
def walk_account(walk):  # every step is asked
    answers = [answer for tries in walk for answer in tries]
    return sum(answers), len(answers)


# %% 7.3 | a second try is an answer
def walk_account(walk):  # one answer a step
    right = answers = 0
    for tries in walk:
        right, answers = right + any(tries), answers + 1 + (not any(tries))
        if not any(tries):
            break
    return right, answers


# %% 7.3 | a second try is an answer
def walk_account(walk):  # over at the first wrong answer, though a second try is left
    right = answers = 0
    for tries in walk:
        right, answers = right + sum(tries), answers + len(tries)
        if not all(tries):
            break
    return right, answers


# %% 7.3 | over at the first step
def walk_account(walk):  # the failed step is not counted
    right = answers = 0
    for tries in walk:
        if not any(tries):
            break
        right, answers = right + sum(tries), answers + len(tries)
    return right, answers


# %% 7.4 | out at the first turn
def two_accuracies(moves, skill):  # the walk goes on
    mean = sum(skill[m] for m in moves) / len(moves)
    return mean, mean


# %% 7.4 | equal skills: they agree
def two_accuracies(moves, skill):  # divided by all steps, not by those that were asked
    reach, right = 1.0, 0.0
    for move in moves:
        reach *= skill[move]
        right += reach
    return sum(skill[m] for m in moves) / len(moves), right / len(moves)


# %% 7.4 | equal skills: they agree
def two_accuracies(moves, skill):  # the chance of a whole walk
    whole = 1.0
    for move in moves:
        whole *= skill[move]
    return sum(skill[m] for m in moves) / len(moves), whole


# %% 7.4 | a turn at the end hides nothing
def two_accuracies(moves, skill):  # a failed step is not an answer
    reach, right, answers = 1.0, 0.0, 0.0
    for move in moves:
        reach *= skill[move]
        answers += reach if skill[move] < 0.5 else reach / skill[move]
        right += reach
    return sum(skill[m] for m in moves) / len(moves), right / answers if answers else 0.0


# %% 7.5 | needs a name from a module and got it
def plain_load(data):  # runs whatever the file says
    return pickle.loads(data)


# %% 7.5 | needs a name from a module and got it
def plain_load(data):  # looks at the result, when it is too late
    found = pickle.loads(data)
    if isinstance(found, complex):
        raise pickle.UnpicklingError("not plain")
    return found


# %% 7.5 | needs a name from a module and got it
class Plain(pickle.Unpickler):  # lets the builtins through: print, eval, exec
    def find_class(self, module, name):
        if module == "builtins":
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants {module}.{name}")


def plain_load(data):
    import io

    return Plain(io.BytesIO(data)).load()
