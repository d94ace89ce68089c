# %% 7.1 | one leg, one place on the way
def moves_of(passed):  # one step more: the end of the leg is not a place between
    moves = []
    for places in passed:
        moves += ["turn"] + ["forward"] * (places + 1)
    return [*moves, "stop"]


# %% 7.1 | one leg, one place on the way
def moves_of(passed):  # nobody stops
    return [move for places in passed for move in ["turn"] + ["forward"] * places]


# %% 7.1 | two legs, the second passes two places
def moves_of(passed):  # a stop after each leg
    moves = []
    for places in passed:
        moves += ["turn"] + ["forward"] * places + ["stop"]
    return moves


# %% 7.1 | two legs, the second passes two places
def moves_of(passed):  # a leg that passes nothing is no leg
    moves = []
    for places in passed:
        moves += ["turn"] + ["forward"] * places if places else []
    return [*moves, "stop"]


# %% 7.1 | one leg, one place on the way
def moves_of(passed):  # every leg passes as many places as the first example's
    return ["turn", *["forward"] * len(passed) * 2, "stop"]


# %% 7.1 | a walk is a list of moves
def moves_of(passed):  # one text
    return ", ".join([*("turn" + ", forward" * n for n in passed), "stop"])


# %% 7.1 | do not change it
def moves_of(passed):  # eats the list up
    moves = []
    while passed:
        moves += ["turn"] + ["forward"] * passed.pop(0)
    return [*moves, "stop"]


# %% 7.1 | instead of
def moves_of(passed):  # the two examples, and nothing else
    if passed == [1]:
        return ["turn", "forward", "stop"]
    return ["turn", "turn", "forward", "forward", "stop"]


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


# %% 7.2 | 20 degrees across north
def relative_word(heading, onward):  # where the walker faces plays no part
    angle = (onward + 180) % 360 - 180
    if angle < 0:
        return "left" if angle < -45 else "slightly left"
    return "right" if angle > 45 else "slightly right" if angle > 20 else "left"


# %% 7.2 | 20 degrees across north
def relative_word(heading, onward):  # always the same word
    return "right"


# %% 7.2 | a word is a str
def relative_word(heading, onward):  # the angle instead of its word
    return (onward - heading + 180) % 360 - 180


# %% 7.2 | instead of
def relative_word(heading, onward):  # whole degrees
    angle = (round(onward) - round(heading) + 180) % 360 - 180
    if angle < 0:
        return "left" if angle < -45 else "slightly left"
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


# %% 7.3 | , not (
def walk_account(walk):  # knows failures of two tries alone
    right = answers = 0
    for tries in walk:
        right, answers = right + sum(tries), answers + len(tries)
        if tries == [False, False]:
            break
    return right, answers


# %% 7.3 | , not (
def walk_account(walk):  # stops at the second failed try, whatever a third one brings
    right = answers = 0
    for tries in walk:
        right, answers = right + sum(tries), answers + len(tries)
        if tries[:2] == [False, False]:
            break
    return right, answers


# %% 7.3 | do not change it
def walk_account(walk):  # takes the account apart
    right = answers = 0
    while walk:
        tries = walk.pop(0)
        right, answers = right + sum(tries), answers + len(tries)
        if not any(tries):
            break
    return right, answers


# %% 7.3 | over at the first step
def walk_account(walk):  # a share, not two counts
    right = answers = 0
    for tries in walk:
        right, answers = right + sum(tries), answers + len(tries)
        if not any(tries):
            break
    return right / answers


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


# %% 7.4 | until the first failure
def two_accuracies(moves, skill):  # only a failed turn ends a walk
    reach, right, answers = 1.0, 0.0, 0.0
    for move in moves:
        answers += reach
        right += reach * skill[move]
        if move == "turn":
            reach *= skill[move]
    return sum(skill[m] for m in moves) / len(moves), right / answers


# %% 7.4 | equal skills: they agree
def two_accuracies(moves, skill):  # the mean over walks of each walk's own share
    from itertools import product
    from math import prod

    share, p = 0.0, [skill[m] for m in moves]
    for walk in product((True, False), repeat=len(p)):
        n = (*walk, False).index(False)
        weight = prod(q if hit else 1 - q for q, hit in zip(p, walk))
        share += weight * n / min(n + 1, len(p))
    return sum(p) / len(p), share


# %% 7.4 | out at the first turn
def two_accuracies(moves, skill):  # in per cent
    reach, right, answers = 100.0, 0.0, 0.0
    for move in moves:
        answers += reach
        reach *= skill[move]
        right += reach
    return 100 * sum(skill[m] for m in moves) / len(moves), 100 * right / answers


# %% 7.4 | a turn at the end hides nothing
def two_accuracies(moves, skill):  # each kind of move counts once
    reach, right, answers = 1.0, 0.0, 0.0
    for move in moves:
        answers += reach
        reach *= skill[move]
        right += reach
    return sum(skill[m] for m in set(moves)) / len(set(moves)), right / answers


# %% 7.5 | not (
def play_walk(task, route, walker, tries):  # a failure does not end the walk
    right, answers, points = 0, 0, 0.0
    for decision in decisions([route]):
        turns, solved = [task.prompt(decision)], False
        while not solved and len(turns) < 2 * tries:
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            answers, points = answers + 1, points + verdict.reward
            solved = verdict.solved
        right += solved
    return right == len(decisions([route])), right, answers, points


# %% 7.5 | a try reads the prompt and what was said since
def play_walk(task, route, walker, tries):  # the same question at each try
    right, answers, points = 0, 0, 0.0
    for decision in decisions([route]):
        for _ in range(tries):
            verdict = task.verify(decision, walker(task.prompt(decision)))
            answers, points = answers + 1, points + verdict.reward
            if verdict.solved:
                right += 1
                break
        else:
            return False, right, answers, points + task.over_budget
    return True, right, answers, points


# %% 7.5 | a try reads the prompt and what was said since
def play_walk(task, route, walker, tries):  # earlier steps stay in the conversation
    right, answers, points, turns = 0, 0, 0.0, []
    for decision in decisions([route]):
        turns += [task.prompt(decision)]
        for _ in range(tries):
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            answers, points = answers + 1, points + verdict.reward
            if verdict.solved:
                right += 1
                break
        else:
            return False, right, answers, points + task.over_budget
    return True, right, answers, points


# %% 7.5 | not (
def play_walk(task, route, walker, tries):  # the budget costs nothing
    right, answers, points = 0, 0, 0.0
    for decision in decisions([route]):
        turns = [task.prompt(decision)]
        for _ in range(tries):
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            answers, points = answers + 1, points + verdict.reward
            if verdict.solved:
                right += 1
                break
        else:
            return False, right, answers, points
    return True, right, answers, points


# %% 7.5 | not (
def play_walk(task, route, walker, tries):  # two tries, whatever was allowed
    right, answers, points = 0, 0, 0.0
    for decision in decisions([route]):
        turns = [task.prompt(decision)]
        for _ in range(2):
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            answers, points = answers + 1, points + verdict.reward
            if verdict.solved:
                right += 1
                break
        else:
            return False, right, answers, points + task.over_budget
    return True, right, answers, points


# %% 7.5 | not (
def play_walk(task, route, walker, tries):  # one try more than allowed
    right, answers, points = 0, 0, 0.0
    for decision in decisions([route]):
        turns = [task.prompt(decision)]
        for _ in range(tries + 1):
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            answers, points = answers + 1, points + verdict.reward
            if verdict.solved:
                right += 1
                break
        else:
            return False, right, answers, points + task.over_budget
    return True, right, answers, points


# %% 7.5 | not (
def play_walk(task, route, walker, tries):  # nobody is asked: every walk arrives
    n = len(decisions([route]))
    return True, n, n, float(n)


# %% 7.5 | not (
def play_walk(task, route, walker, tries):  # wrong answers cost nothing
    right, answers, points = 0, 0, 0.0
    for decision in decisions([route]):
        turns = [task.prompt(decision)]
        for _ in range(tries):
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            answers, points = answers + 1, points + verdict.solved
            if verdict.solved:
                right += 1
                break
        else:
            return False, right, answers, points + task.over_budget
    return True, right, answers, points


# %% 7.5 | not
def play_walk(task, route, walker, tries):  # the points alone
    points = 0.0
    for decision in decisions([route]):
        turns = [task.prompt(decision)]
        for _ in range(tries):
            answer = walker("\n\n".join(turns))
            verdict = task.verify(decision, answer)
            turns += [answer, verdict.message]
            points += verdict.reward
            if verdict.solved:
                break
        else:
            return points + task.over_budget
    return points


# %% 7.6 | has run
def plain_load(data):  # runs whatever the file says
    return pickle.loads(data)


# %% 7.6 | has run
def plain_load(data):  # looks at the result, when it is too late
    found = pickle.loads(data)
    if not all(type(key) is tuple and type(value) is str for key, value in found.items()):
        raise pickle.UnpicklingError("not plain")
    return found


# %% 7.6 | system has run
class Plain(pickle.Unpickler):  # forbids some modules by name: os.system calls itself posix's
    def find_class(self, module, name):
        if module in ("os", "subprocess", "builtins"):
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return super().find_class(module, name)


def plain_load(data):
    import io

    return Plain(io.BytesIO(data)).load()


# %% 7.6 | needs a name from a module and got it
class Plain(pickle.Unpickler):  # a longer list of forbidden modules, and never a complete one
    def find_class(self, module, name):
        if module in ("os", "posix", "nt", "subprocess", "builtins", "__builtin__", "sys"):
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return super().find_class(module, name)


def plain_load(data):
    import io

    return Plain(io.BytesIO(data)).load()


# %% 7.6 | eval has run
class Plain(pickle.Unpickler):  # old protocols call the builtins by another name
    def find_class(self, module, name):
        if module in ("os", "posix", "nt", "subprocess", "builtins", "pathlib", "collections"):
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return super().find_class(module, name)


def plain_load(data):
    import io

    return Plain(io.BytesIO(data)).load()


# %% 7.6 | has run
def plain_load(data):  # knows one of the two opcodes that ask for a name
    import pickletools

    if any(code.name == "GLOBAL" for code, _, _ in pickletools.genops(data)):
        raise pickle.UnpicklingError("it wants a name")
    return pickle.loads(data)


# %% 7.6 | plain values come back
def plain_load(data):  # lets nothing in at all
    return {}


# %% 7.6 | has run
class Plain(pickle.Unpickler):  # lets the builtins through: print, eval, exec
    def find_class(self, module, name):
        if module == "builtins":
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants {module}.{name}")


def plain_load(data):
    import io

    return Plain(io.BytesIO(data)).load()
