"""The widget that walks a route by hand."""

import re
from dataclasses import replace

import ipywidgets as w
import pytest

from sftrl_lite.course import walk_widgets, widgets
from sftrl_lite.tasks.navigation import navigation
from sftrl_lite.tasks.routes import Leg, Route, steps
from sftrl_lite.tasks.walks import Decision

FAR = Route(
    "Nowhere<b>",
    "000",
    (40.7, -74.0),
    350.0,
    (Leg(10.0, (40.701, -74.0), "Joe's <Bar> is on your right"),),
)


@pytest.fixture
def shown(monkeypatch):
    """What ``display`` was given."""
    calls = []
    monkeypatch.setattr(widgets, "display", lambda thing, **_: calls.append(thing))
    return calls


@pytest.fixture
def live(monkeypatch):
    """The widget itself, instead of its display: page, buttons by name, button to restart."""
    made = []
    monkeypatch.setattr(walk_widgets, "present", lambda widget, *_: made.append(widget))

    def start(*args, **options):
        walk_widgets.walk_viewer(*args, **options)
        page, box, again = made[-1].children
        return page, {button.description: button for button in box.children}, again

    return start


def rows(page: w.HTML) -> int:
    return page.value.count("<tr><td>")


def test_still_shows_map_and_right_walk(shown, monkeypatch):
    monkeypatch.setenv("SFTRL_STATIC", "1")
    task = navigation("ood-rule")
    walk_widgets.walk_viewer(task)
    (bundle,) = shown
    assert set(bundle) == {"text/html", "text/plain"}
    page, route = bundle["text/html"], task.routes[0]
    assert page.count("<tr><td>") == len(steps(route)) == page.count("solved")
    assert re.search(rf'<img alt="Map of Alderwick: route {route.name}, [^"]+"', page)
    assert f"{len(steps(route))} steps: turn_direction(" in bundle["text/plain"]
    assert 'src="data:image/' in page and "turn_direction(" in page


def test_still_of_pictures_has_alternative_texts(shown, monkeypatch):
    monkeypatch.setenv("SFTRL_STATIC", "1")
    task = navigation("ood-visual", pictures=True, size=32)
    walk_widgets.walk_viewer(task, task.routes[40])
    page = shown[0]["text/html"]
    assert page.count('<img alt="Four views') == len(steps(task.routes[40]))
    assert page.count("<img ") == page.count("<img alt=")


def test_right_buttons_lead_to_the_end_and_back(live):
    task = navigation("id")
    route = task.routes[3]
    page, buttons, again = live(task, route)
    assert list(buttons) == [
        "forward()",
        "stop()",
        *(f"turn_direction({word})" for word in task.actions.words),
    ]
    for i, step in enumerate(steps(route)):
        assert f"walked to step {i + 1} of" in page.value and rows(page) == i
        buttons[task.action(step)].click()
    assert "You have arrived." in page.value and rows(page) == len(steps(route))
    assert all(button.disabled for button in buttons.values())
    again.click()
    assert rows(page) == 0 and not any(button.disabled for button in buttons.values())


def test_wrong_buttons_end_the_walk(live):
    page, buttons, _ = live(navigation("id"), tries=2)
    buttons["stop()"].click()
    assert "wrong_action" in page.value and "The walk is over." not in page.value
    buttons["forward()"].click()
    assert "The walk is over." in page.value and rows(page) == 2
    with pytest.raises(ValueError, match="at least one try"):
        live(navigation("id"), tries=0)


def test_a_real_route_has_no_map_and_is_escaped(live):
    task = replace(navigation("id"), routes=(FAR,))
    page, buttons, _ = live(task)
    assert "No map of Nowhere&lt;b&gt;" in page.value
    assert "<Bar>" not in page.value and "<b>No" not in page.value
    assert "You face north." in page.value
    buttons["turn_direction(north)"].click()
    assert "Joe&#x27;s &lt;Bar&gt; is on your right" in page.value
    assert "<Bar>" not in walk_widgets.walk_still(task, FAR)


def test_the_map_follows(live):
    task = navigation("id")
    route = task.routes[0]
    pages = {walk_widgets.map_html(route, i) for i in range(len(steps(route)))}
    assert len(pages) == len(steps(route))
    assert walk_widgets.there_html(task, Decision(route, 0)).startswith("<p>You see: ")
