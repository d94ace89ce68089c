"""A walk through streets: where the walker decides, what is seen there, what is right.

As in the released data of Chu et al. 2025 a route is a teacher-forced trajectory of *steps*: it
begins with a turn, goes forward past places in the middle of a block, turns at every intersection
that it names and stops at the destination. A route comes from a procedural city (``city``) or
from a folder of real street views (``street_data``); what is asked about it is the same.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

Place = tuple[float, float]  # metres east and north, or latitude and longitude
NO_LANDMARK = "No landmarks nearby"
INTERSECTION = "You observe an intersection"


@dataclass(frozen=True)
class Directions:
    """Words for headings, each for one sector of the circle.

    Args:
        name: of the set.
        words: one for each sector, clockwise.
        starts: where each sector begins, ascending, in degrees.
        relative: whether 0 degrees is where the walker faces, else it is north.
    """

    name: str
    words: tuple[str, ...]
    starts: tuple[float, ...]
    relative: bool

    def word(self, before: float, after: float, official: bool = False) -> str:
        """The word for going on at heading ``after`` when facing ``before``, in degrees.

        The difference is taken round the circle: from 350 to 10 is a slight right. The
        released code forgets that (there it is -340, a left) and calls 0 a slight left;
        ``official`` repeats both.
        """
        angle = after - before if self.relative else after
        if official and self.relative:
            return self.words[max(bisect_right(self.starts, angle or -1) - 1, 0)]
        angle = (angle - self.starts[0]) % 360 + self.starts[0]
        return self.words[bisect_right(self.starts, angle) - 1]


POINTS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
EIGHTHS = tuple(-22.5 + 45 * i for i in range(8))
# Exactly 45 degrees is slight and a U-turn goes left. "Straight on" has no word in the
# paper, and routes of our cities never need one.
QUARTERS = (-180.0, -45.0, 0.0, math.nextafter(45, 90))

# The paper's two action spaces: training asks for the first, the shifted rule for the second.
ABSOLUTE = Directions("absolute", POINTS, EIGHTHS, relative=False)
RELATIVE = Directions(
    "relative", ("left", "slightly left", "slightly right", "right"), QUARTERS, relative=True
)
# A third one, on which settings are chosen, so that the reported shift is looked at once.
CLOCK = Directions(
    "clock",
    tuple(f"{hour} o'clock" for hour in (12, *range(1, 12))),
    tuple(-15.0 + 30 * i for i in range(12)),
    relative=True,
)
# Two more for a base's corpus, which must not be made of the reported ones alone.
DEGREES = Directions(
    "degrees", tuple(f"{angle} degrees" for angle in range(0, 360, 45)), EIGHTHS, relative=False
)
HELM = Directions(
    "helm", ("port", "slightly port", "slightly starboard", "starboard"), QUARTERS, relative=True
)
DIRECTIONS = (ABSOLUTE, RELATIVE, CLOCK, DEGREES, HELM)


@dataclass(frozen=True)
class Leg:
    """From one turning point to the next, or to the destination.

    Args:
        heading: compass degrees, 0 is north, 90 is east.
        end: where it ends.
        landmark: what is seen there ("Star Cafe is on your right"), None: nothing.
        between: places on the way where the walker decides, each with its landmark.
    """

    heading: float
    end: Place
    landmark: str | None
    between: tuple[tuple[Place, str | None], ...] = ()


@dataclass(frozen=True)
class Route:
    """Where a walk starts, where the walker faces there, and its legs."""

    city: str
    name: str
    start: Place
    heading: float
    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        if not self.legs:
            raise ValueError(f"{self}: no legs")

    def __str__(self) -> str:
        return f"{self.city}, route {self.name}"


@dataclass(frozen=True)
class Step:
    """A place of a route where the walker must choose one action.

    Args:
        place: where.
        heading: where the walker faces, having just arrived.
        move: ``turn``, ``forward`` or ``stop``: what is right.
        onward: heading of the leg to follow from here on.
        landmark: what is seen, None: nothing.
        intersection: whether streets cross here.
        instruction: number of the instruction to follow, from 0.
    """

    place: Place
    heading: float
    move: str
    onward: float
    landmark: str | None
    intersection: bool
    instruction: int

    @property
    def observation(self) -> str:
        """What is seen here, in the paper's words."""
        seen = self.landmark or NO_LANDMARK
        return f"{seen}; {INTERSECTION}" if self.intersection else seen


@lru_cache(maxsize=8192)
def steps(route: Route) -> tuple[Step, ...]:
    """The steps of a route, from the first turn to the stop.

    Each leg has two instructions: to turn, then to move forward. Stopping belongs to the
    last one. The destination is not announced as an intersection.
    """
    trajectory, heading, here, seen = [], route.heading, route.start, None
    for i, leg in enumerate(route.legs):
        trajectory.append(Step(here, heading, "turn", leg.heading, seen, i > 0, 2 * i))
        trajectory += [
            Step(place, leg.heading, "forward", leg.heading, landmark, False, 2 * i + 1)
            for place, landmark in leg.between
        ]
        heading, here, seen = leg.heading, leg.end, leg.landmark
    trajectory.append(Step(here, heading, "stop", heading, seen, False, 2 * len(route.legs) - 1))
    return tuple(trajectory)


def bearing(a: Place, b: Place) -> float:
    """Compass degrees from ``a`` to ``b``, places in metres east and north."""
    return math.degrees(math.atan2(b[0] - a[0], b[1] - a[1])) % 360


def side(heading: float, direction: float) -> str:
    """``left`` or ``right``: where ``direction`` lies for a walker facing ``heading``."""
    return "right" if (direction - heading) % 360 < 180 else "left"
