"""Things to play with on streets: maps, walks, a walk step by step."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as w

from sftrl_lite.course.widgets import picture_html, present
from sftrl_lite.tasks import street_answers
from sftrl_lite.tasks.environments import NavigationEnv
from sftrl_lite.tasks.navigation import Navigation
from sftrl_lite.tasks.routes import ABSOLUTE, Leg, Route, steps
from sftrl_lite.tasks.shipped_cities import LOOKS, load_city
from sftrl_lite.tasks.street_map import map_picture
from sftrl_lite.tasks.walks import Decision


def map_html(route: Route, index: int | None = None, width: int = 560) -> str:
    """The map with the way to step ``index`` (a ring: the start, a disc: here), or the whole.

    Routes of real folders have no map; then a sentence says so.
    """
    if route.city not in LOOKS:
        return f"<p>No map of {html.escape(route.city)}.</p>"
    trajectory, shown = steps(route), route
    what = f"route {route.name}, {len(route.legs)} legs, {len(trajectory)} steps"
    if index is not None:
        here = trajectory[index]
        walked = route.legs[: here.instruction // 2]
        shown = replace(route, legs=(*walked, Leg(here.heading, here.place, None)))
        facing = ABSOLUTE.word(0, here.heading)
        what = f"walked to step {index + 1} of {len(trajectory)}, facing {facing}"
    alt = f"Map of {route.city}: {what}."
    drawn = map_picture(load_city(route.city), shown, width, around=route)
    return picture_html(drawn, alt, width)


def there_html(task: Navigation, decision: Decision) -> str:
    """What is there to see at a step: in words, or as the picture of four views."""
    picture = task.picture(decision)
    if picture is None:
        return f"<p>You see: {html.escape(task.observation(decision.step))}</p>"
    alt = "Four views, front and right above back and left: " + task.observation(decision.step)
    return picture_html(picture, alt)


Tried = tuple[int, str, str, float, str]  # step, action, kind, reward, message


def walk_html(task: Navigation, decision: Decision, tries: Sequence[Tried], ending: str) -> str:
    """Instructions, map, what is seen, and every try so far; ``ending`` if the walk is over."""
    orders = "".join(f"<li>{html.escape(o)}</li>" for o in task.instructions(decision.route))
    rows = "".join(
        f"<tr><td>{step + 1}</td><td><code>{html.escape(action)}</code></td><td>{kind}</td>"
        f"<td>{reward:+g}</td><td>{html.escape(message)}</td></tr>"
        for step, action, kind, reward, message in tries
    )
    names = ("step", "action", "verdict", "reward", "message")
    head = "".join(f"<th>{name}</th>" for name in names)
    facing = ABSOLUTE.word(0, decision.step.heading)
    now = f"<p>You face {facing}.</p>{there_html(task, decision)}"
    now = f"<p><b>{ending}</b></p>" if ending else now
    place = f"<div>{map_html(decision.route, decision.index)}</div><div>{now}</div>"
    flex = "display:flex;flex-wrap:wrap;gap:1em"
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f'<ol>{orders}</ol><div style="{flex}">{place}</div>{table}'


def walk_still(task: Navigation, route: Route) -> str:
    """The whole map, and the right walk as a table: what is seen, what is done."""
    rows = []
    for i, step in enumerate(steps(route)):
        here = Decision(route, i)
        verdict = task.verify(here, task.demonstration(here))
        done = f"<code>{task.action(step)}</code>"
        cells = (f"{i + 1}", there_html(task, here), done, verdict.kind, f"{verdict.reward:+g}")
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{n}</th>" for n in ("step", "seen", "action", "verdict", "reward"))
    orders = "".join(f"<li>{html.escape(order)}</li>" for order in task.instructions(route))
    return f"{map_html(route)}<ol>{orders}</ol><table><tr>{head}</tr>{''.join(rows)}</table>"


def walk_viewer(task: Navigation, route: Route | None = None, tries: int = 2) -> None:
    """Walk a route by hand: a button for each action that the prompt offers.

    What you see and which instruction holds is taken as read right; the action is judged.
    A right action moves on, ``tries`` wrong ones at a step end the walk.

    Args:
        task: navigation, in text or in pictures.
        route: the task's first one if not given.

    Raises:
        ValueError: fewer than one try.
    """
    route = route or task.routes[0]
    env = NavigationEnv(task=replace(task, routes=(route,)), tries=tries)
    here = env.reset(seed=0)[1]["problem"]
    done: list[Tried] = []
    page = w.HTML(walk_html(task, here, done, ""))
    offered = [street_answers.FORWARD, street_answers.STOP]
    offered += [f"{street_answers.TURN}{word})" for word in task.actions.words]
    buttons = [w.Button(description=action, layout=w.Layout(width="auto")) for action in offered]
    again = w.Button(description="Start again")

    def act(button: w.Button) -> None:
        nonlocal here
        seen = task.observation(here.step)
        told = task.instructions(route)[here.step.instruction]
        answer = street_answers.write_answer(seen, told, button.description)
        _, reward, arrived, lost, info = env.step(answer)
        done.append((here.index, button.description, info["kind"], reward, info["message"]))
        here = info["problem"] or here
        for other in buttons:
            other.disabled = arrived or lost
        ending = "You have arrived." if arrived else "The walk is over." if lost else ""
        page.value = walk_html(task, here, done, ending)

    def restart(_: w.Button) -> None:
        nonlocal here
        here = env.reset(seed=0)[1]["problem"]
        done.clear()
        for other in buttons:
            other.disabled = False
        page.value = walk_html(task, here, done, "")

    for button in buttons:
        button.on_click(act)
    again.on_click(restart)
    wrap = w.Layout(flex_flow="row wrap")
    way = ", ".join(task.action(step) for step in steps(route))
    words = f"Route {route.name} in {route.city}, {len(steps(route))} steps: {way}."
    still = walk_still(task, route)
    present(w.VBox([page, w.Box(buttons, layout=wrap), again]), still, words)
