"""Walks as decisions, one per step, and a walk's success put together from them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sftrl_lite.tasks.routes import Route, Step, steps


@dataclass(frozen=True)
class Decision:
    """One problem: the walk of ``route`` has come, correctly, to step ``index``."""

    route: Route
    index: int

    @property
    def step(self) -> Step:
        return steps(self.route)[self.index]


def decisions(routes: Sequence[Route]) -> list[Decision]:
    """Every decision of the routes, in walking order."""
    return [Decision(route, i) for route in routes for i in range(len(steps(route)))]


# --- whole walks -------------------------------------------------------------------------


def whole_walks(played: Sequence[Decision]) -> int:
    """How many decisions, from the first on, are whole walks, one after the other.

    The last walk may be cut off. 0 where another one is, or where a decision comes twice.
    """
    n = 0
    while n < len(played):
        route = played[n].route
        walk = played[n : n + len(steps(route))]
        if [(d.route, d.index) for d in walk] != [(route, i) for i in range(len(walk))]:
            return 0
        if len(walk) < len(steps(route)):
            break
        n += len(walk)
    return n if len(set(played[:n])) == n else 0


def route_success(
    played: Sequence[Decision], episodes: Sequence[Any]
) -> dict[str, tuple[int, int]]:
    """Walks from their decisions, as (hits, number) for ``intervals.wilson``.

    ``route``: walks in which every decision was solved within its tries. ``decision``:
    decisions so solved. ``per_step``: answers that were right, each try counted.
    ``walk_per_step``: the same over the decisions that a walk reaches which ends at its
    first failure; this is the number that the released code reports.

    Args:
        played: decisions, each step of each of their routes exactly once.
        episodes: what came of each: anything with ``turns``, which have a ``verdict``.

    Raises:
        ValueError: a route is not complete, or a step was played twice.
    """
    walks: dict[Route, dict[int, Any]] = {}
    for decision, episode in zip(played, episodes, strict=True):
        walk = walks.setdefault(decision.route, {})
        if decision.index in walk:
            raise ValueError(f"{decision.route}: step {decision.index} played twice")
        walk[decision.index] = [turn.verdict.solved for turn in episode.turns]
    counts = {name: [0, 0] for name in ("route", "decision", "per_step", "walk_per_step")}

    def add(name: str, hits: int, number: int) -> None:
        counts[name][0] += hits
        counts[name][1] += number

    for route, walk in walks.items():
        if len(walk) < len(steps(route)):
            raise ValueError(f"{route}: {len(walk)} of {len(steps(route))} steps played")
        going = True
        for index in range(len(walk)):
            tries = walk[index]
            add("decision", any(tries), 1)
            add("per_step", sum(tries), len(tries))
            if going:
                add("walk_per_step", sum(tries), len(tries))
            going = going and any(tries)
        add("route", going, 1)
    return {name: (hits, number) for name, (hits, number) in counts.items()}
