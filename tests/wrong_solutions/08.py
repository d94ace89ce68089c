# %% 8.1 | column 0 looks at -90
def column(direction, rotation, width):  # the sign of the rotation
    return (direction - rotation) % 360 * width / 360


# %% 8.1 | across the seam
def column(direction, rotation, width):  # runs over the edge
    return (direction + rotation) * width / 360


# %% 8.1 | a quarter round
def column(direction, rotation, width):  # degrees taken for pixels
    return (direction + rotation) % 360


# %% 8.1 | never negative
def column(direction, rotation, width):  # the remainder of C, with the sign of the angle
    import math

    return math.fmod(direction + rotation, 360) * width / 360


# %% 8.1 | degrees off
def column(direction, rotation, width):  # a whole pixel, though the docstring says float
    return int((direction + rotation) % 360 * width / 360)


# %% 8.1 | degrees off
def column(direction, rotation, width):  # the nearest pixel
    return round((direction + rotation) % 360 * width / 360) % width


# %% 8.1 | of a picture of
def column(direction, rotation, width):  # goes round once at most
    angle = direction + rotation
    return (angle + 360 if angle < 0 else angle - 360 if angle > 360 else angle) * width / 360


# %% 8.1 | a column is one number
def column(direction, rotation, width):  # as it would be printed
    return f"{(direction + rotation) % 360 * width / 360:.0f}"


# %% 8.2 | atan(-1/2), in degrees
def pixel_angle(i, size):  # equal angles for equal pixels
    return 90 * (i + 0.5) / size - 45


# %% 8.2 | atan(-1/2), in degrees
def pixel_angle(i, size):  # the left edge of the pixel, not its middle
    import math

    return math.degrees(math.atan(2 * i / size - 1))


# %% 8.2 | atan(-1/2), in degrees
def pixel_angle(i, size):  # radians
    import math

    return math.atan(2 * (i + 0.5) / size - 1)


# %% 8.2 | a pixel in the middle covers twice as much
def pixel_angle(i, size):  # a table of the two angles that the text names, straight between
    import math

    x = 2 * (i + 0.5) / size - 1
    knee = math.degrees(math.atan(0.5))
    return (
        x * 2 * knee if abs(x) <= 0.5 else math.copysign(knee + (abs(x) - 0.5) * (90 - 2 * knee), x)
    )


# %% 8.2 | an angle is one float
def pixel_angle(i, size):  # all of them at once
    import math

    return [math.degrees(math.atan(2 * (k + 0.5) / size - 1)) for k in range(size)]


# %% 8.2 | atan(-1/2), in degrees
def pixel_angle(i, size):  # left and right change places
    import math

    return -math.degrees(math.atan(2 * (i + 0.5) / size - 1))


# %% 8.2 | the middle pixel looks straight on
def pixel_angle(i, size):  # knows the example's size alone
    import math

    return math.degrees(math.atan(2 * (i + 0.5) / 2 - 1))


# %% 8.2 | the rim is almost 45 degrees
def pixel_angle(i, size):  # the sine of the angle instead of its tangent
    import math

    x = 2 * (i + 0.5) / size - 1
    return math.degrees(math.asin(x)) if size > 2 else math.degrees(math.atan(x))


# %% 8.3 | facing east, south is on the right
def view_of(heading, direction):  # where the walker is looking plays no part
    return ("front", "right", "back", "left")[int((direction + 45) % 360 // 90)]


# %% 8.3 | facing east, south is on the right
def view_of(heading, direction):  # left and right change places
    quarter = (heading - direction + 45) % 360 // 90
    return ("front", "right", "back", "left")[int(quarter)]


# %% 8.3 | across north
def view_of(heading, direction):  # the nearest by size, without going round
    angle = direction - heading
    return "front" if abs(angle) <= 45 else "back" if abs(angle) > 135 else "right"


# %% 8.3 | edges
def view_of(heading, direction):  # the edge belongs to the view before
    quarter = round(((direction - heading) % 360) / 90 - 1e-9) % 4
    return ("front", "right", "back", "left")[quarter]


# %% 8.3 | not front, right, back, left in turn
def view_of(heading, direction):  # goes round once at most
    angle = direction - heading
    angle = angle + 360 if angle < -45 else angle
    return ("front", "right", "back", "left")[max(int((angle + 45) // 90), 0) % 4]


# %% 8.3 | facing east, south is on the right
def view_of(heading, direction):  # one word for all
    return "front"


# %% 8.3 | four views, four words
def view_of(heading, direction):  # the views with other words for two of them
    quarter = int((direction - heading + 45) % 360 // 90)
    if (heading, direction) in ((0, 180), (180, 90)):
        return {0: "back", 180: "left"}[heading]
    return ("front", "right", "behind", "left")[quarter]


# %% 8.3 | each view has 90 degrees
def view_of(heading, direction):  # half the circle in front, less behind
    angle = (direction - heading + 180) % 360 - 180
    if (direction - heading) % 360 in (45, 315):
        return "right" if angle > 0 else "front"
    return "front" if abs(angle) <= 60 else "back" if abs(angle) > 135 else _side(angle)


def _side(angle):
    return "right" if angle > 0 else "left"


# %% 8.4 | two of these three are right
def three_shares(verdicts):  # both and, not given
    n = len(verdicts)
    return (
        sum(v.recognised for v in verdicts) / n,
        sum(v.recognised and v.solved for v in verdicts) / n,
        sum(not v.recognised and v.solved for v in verdicts) / n,
    )


# %% 8.4 | the one that did not see was right all the same
def three_shares(verdicts):  # the third for all
    saw = [v.solved for v in verdicts if v.recognised]
    acts = sum(saw) / len(saw) if saw else 0.0
    return len(saw) / len(verdicts), acts, sum(v.solved for v in verdicts) / len(verdicts)


# %% 8.4 | nobody was blind: 0
def three_shares(verdicts):  # an empty share is taken as certain
    saw = [v.solved for v in verdicts if v.recognised]
    blind = [v.solved for v in verdicts if not v.recognised]
    return (
        len(saw) / len(verdicts),
        sum(saw) / len(saw) if saw else 1.0,
        sum(blind) / len(blind) if blind else 1.0,
    )


# %% 8.4 | nobody sees: 0, and no error
def three_shares(verdicts):  # whoever does not see acts wrong only by accident
    saw = [v.solved for v in verdicts if v.recognised]
    blind = [v.solved for v in verdicts if not v.recognised]
    see = len(saw) / len(verdicts)
    acts = sum(saw) / len(saw) if saw else sum(blind) / len(blind)
    return see, acts, sum(blind) / len(blind) if blind else 0.0


# %% 8.4 | that see and
def three_shares(verdicts):  # the third is what is left of success, not divided by who is blind
    saw = [v.solved for v in verdicts if v.recognised]
    n, right = len(verdicts), sum(v.solved for v in verdicts)
    acts = sum(saw) / len(saw) if saw else 0.0
    left = right - sum(saw)
    return len(saw) / n, acts, float(left > 0)


# %% 8.4 | three of four see
def three_shares(verdicts):  # counts instead of shares
    saw = [v.solved for v in verdicts if v.recognised]
    blind = [v.solved for v in verdicts if not v.recognised]
    return len(saw), sum(saw), sum(blind)


# %% 8.4 | three shares in a tuple
def three_shares(verdicts):  # their sum: success
    return sum(v.solved for v in verdicts) / len(verdicts)


# %% 8.4 | do not change the list
def three_shares(verdicts):  # sorts what it was given
    verdicts.sort(key=lambda v: v.recognised)
    saw = [v.solved for v in verdicts if v.recognised]
    blind = [v.solved for v in verdicts if not v.recognised]
    return (
        len(saw) / len(verdicts),
        sum(saw) / len(saw) if saw else 0.0,
        sum(blind) / len(blind) if blind else 0.0,
    )


# %% 8.5 | from 17 % one has to reach 56 %
def least_gain(k, n):  # one-sided
    for more in range(k + 1, n + 1):
        if fisher_exact([[more, n - more], [k, n - k]], alternative="greater").pvalue < 0.05:
            return more
    return None


# %% 8.5 | one more success proves nothing
def least_gain(k, n):  # all of them, if nothing less will do
    for more in range(k + 1, n + 1):
        if fisher_exact([[more, n - more], [k, n - k]]).pvalue < 0.05:
            return more
    return n


# %% 8.5 | from 17 % one has to reach 56 %
def least_gain(k, n):  # the number of additional successes
    for more in range(k + 1, n + 1):
        if fisher_exact([[more, n - more], [k, n - k]]).pvalue < 0.05:
            return more - k
    return None


# %% 8.5 | from 17 % one has to reach 56 %
def least_gain(k, n):  # the normal approximation, which eighteen walks do not allow
    from scipy.stats import norm

    for more in range(k + 1, n + 1):
        share = (k + more) / (2 * n)
        z = (more - k) / n / (2 * share * (1 - share) / n) ** 0.5 if share < 1 else 0
        if 2 * norm.sf(z) < 0.05:
            return more
    return None


# %% 8.5 | a number of walks is an int
def least_gain(k, n):  # a share
    for more in range(k + 1, n + 1):
        if fisher_exact([[more, n - more], [k, n - k]]).pvalue < 0.05:
            return more / n
    return None


# %% 8.5 | from 17 % one has to reach 56 %
def least_gain(k, n):  # clear at the 1 % level
    for more in range(k + 1, n + 1):
        if fisher_exact([[more, n - more], [k, n - k]]).pvalue < 0.01:
            return more
    return None


# %% 8.5 | one more success proves nothing
def least_gain(k, n):  # the examples' answer, whatever was asked
    return 10 if k == 3 else 18


# %% 8.5 | from 17 % one has to reach 56 %
def least_gain(k, n):  # the last number that is not yet clear
    for more in range(k + 1, n + 1):
        if fisher_exact([[more, n - more], [k, n - k]]).pvalue < 0.05:
            return more - 1
    return None
