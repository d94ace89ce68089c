"""Procedural cities, their walks and their pictures."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor

from sftrl_lite.tasks.city import (
    DATA,
    KINDS,
    NAMES,
    city_routes,
    make_route,
    read_city,
    write_city,
)
from sftrl_lite.tasks.city_maker import draw_route, make_city, random_style
from sftrl_lite.tasks.navigation import Navigation
from sftrl_lite.tasks.routes import bearing, steps
from sftrl_lite.tasks.shipped_cities import (
    LOOKS,
    TRAIN,
    UNSEEN,
    load_city,
    make_shipped,
)
from sftrl_lite.tasks.street_map import _window, map_picture
from sftrl_lite.tasks.street_view import four_views, look_in, panorama, sign, view
from sftrl_lite.tasks.walks import decisions

CITY = load_city(TRAIN)


# --- files -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOKS)
def test_shipped_cities_follow_from_their_seeds(name, tmp_path):
    path = write_city(make_shipped(name), tmp_path)
    assert path.read_bytes() == (DATA / path.name).read_bytes()
    assert read_city(path) == load_city(name)


def test_shipped_cities_are_small_and_described():
    files = list(DATA.iterdir())
    assert sum(f.stat().st_size for f in files) < 1_500_000
    card = (DATA / "README.md").read_text()
    assert {f.stem for f in files if f.suffix == ".json"} == {name.lower() for name in LOOKS}
    assert all(name in card for name in LOOKS) and len(UNSEEN) == 9


def test_seeds_differ():
    style = CITY.style
    assert make_city("A", 5, style, 3) == make_city("A", 5, style, 3)
    assert make_city("A", 5, style).crossings != make_city("A", 6, style).crossings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("style"), "style"),
        (lambda raw: raw.update(routes=[]), "no streets or no routes"),
        (lambda raw: raw.update(streets=[]), "no streets or no routes"),
        (lambda raw: raw["crossings"].__setitem__(0, [float("nan"), 0]), "finite"),
        (lambda raw: raw["routes"].__setitem__(0, ["000", 5, [1, 9999]]), "not a city"),
        (lambda raw: raw["style"].update(mood="gloomy"), "mood"),
    ],
)
def test_damaged_cities_are_refused(change, message, tmp_path):
    raw = json.loads((DATA / f"{TRAIN.lower()}.json").read_text())
    change(raw)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=message) as error:
        read_city(path)
    assert str(path) in str(error.value) and len(str(error.value).splitlines()) == 1


def test_missing_and_unreadable_cities(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such city"):
        read_city(tmp_path / "atlantis.json")
    (tmp_path / "atlantis.json").write_text("[1")
    with pytest.raises(ValueError, match="not a city"):
        read_city(tmp_path / "atlantis.json")
    with pytest.raises(ValueError, match="unknown city 'Atlantis'"):
        load_city("Atlantis")
    with pytest.raises(ValueError, match="no routes"):
        city_routes(replace(CITY, routes=()))


# --- walks -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOKS)
def test_walks_are_as_promised(name):
    city = load_city(name)
    for route in city_routes(city):
        rail = steps(route)
        assert 3 <= len(rail) <= 11 and 2 <= len(route.legs) <= 3
        assert rail[0].landmark is None and rail[-1].landmark is not None
        before = route.heading
        for leg in route.legs:
            turn = abs((leg.heading - before + 180) % 360 - 180)
            assert 10 <= turn <= 170  # never straight on, never back
            before = leg.heading
        for leg in route.legs:
            seen = [text for _, text in leg.between if text] + [leg.landmark or ""]
            kinds = [text.partition(" is on your ")[0] for text in seen]
            assert len(set(kinds)) == len(kinds)
            goal = city.spot_at[leg.end]
            if leg.landmark:
                off = (bearing(leg.end, city.landmark_at[goal][1]) - leg.heading) % 360
                assert 60 <= off % 180 <= 120
                assert leg.landmark.endswith("right" if off < 180 else "left")
        # a crossing is announced exactly where streets cross
        for step in rail:
            crossing = city.spot_at[step.place] < len(city.crossings)
            assert crossing == step.intersection


def test_new_walks_can_be_drawn():
    rng = random.Random(0)
    walks = {draw_route(CITY, rng)[1] for _ in range(60)}
    assert len(walks) > 50
    for path in walks:
        assert make_route(CITY, "new", 0.0, path).legs[-1].landmark
    with pytest.raises(ValueError, match="no route found"):
        draw_route(replace(CITY, landmarks=()), rng)


def test_cities_for_a_corpus():
    """Any number of other cities, on which the same task runs."""
    rng = random.Random(0)
    cities = [make_city(f"Corpus {i}", 1000 + i, random_style(rng), 2) for i in range(6)]
    routes = tuple(route for city in cities for route in city_routes(city))
    task = Navigation(routes, look=look_in(*cities), size=32)
    for decision in decisions(routes):
        assert task.verify(decision, task.demonstration(decision)).solved
        assert task.picture(decision).size == (32, 32)
    assert random_style(random.Random(3)) == random_style(random.Random(3))
    assert len({city.style for city in cities}) == 6


def test_every_kind_is_in_every_city():
    for name in LOOKS:
        assert {kind for _, kind, _, _ in load_city(name).landmarks} == set(range(len(KINDS)))
    assert len(set(NAMES)) == len(KINDS) == 10


# --- pictures ----------------------------------------------------------------------------


def test_panoramas_replay_and_have_the_asked_size():
    first = panorama(CITY, 3, 64)
    assert first.shape == (64, 128, 3) and first.dtype == np.uint8
    assert (panorama(CITY, 3, 64) == first).all() and (panorama(CITY, 4, 64) != first).any()
    assert panorama(CITY, 40, 34).shape == (34, 68, 3)
    with pytest.raises(ValueError, match="even height"):
        panorama(CITY, 3, 33)


@pytest.mark.parametrize("name", LOOKS)
def test_a_landmark_shows_in_the_view_where_it_is_said_to_be(name):
    """With and without its landmarks a city differs in that view, and hardly elsewhere."""
    city = load_city(name)
    bare, n = replace(city, landmarks=()), 0
    for route in city_routes(city)[:12]:
        for step in steps(route):
            spot = city.spot_at[step.place]
            with_, without = (
                np.asarray(four_views(panorama(c, spot, 56), step.heading, 56), int)
                for c in (city, bare)
            )
            change = np.abs(with_ - without).sum(2) > 60
            if step.landmark is None:
                assert not change.any()
                continue
            right, left = change[:28, 28:], change[28:, 28:]
            said, other = (right, left) if step.landmark.endswith("right") else (left, right)
            assert said.sum() > 25 and not other.any()
            assert said.sum() > 0.6 * change.sum()
            n += 1
    assert n > 12


def test_signs_are_told_apart_at_twelve_pixels():
    signs = np.stack([np.asarray(Image.new("RGB", (12, 12), "#777")) for _ in KINDS]).astype(float)
    for i in range(len(KINDS)):
        icon = np.asarray(sign(i, 12), float)
        cover = icon[..., 3:] / 255
        signs[i] = signs[i] * (1 - cover) + icon[..., :3] * cover
    apart = np.sqrt(((signs[:, None] - signs[None]) ** 2).mean((2, 3, 4)))
    assert apart[~np.eye(len(KINDS), dtype=bool)].min() > 40  # grey levels, of 255


def test_landmarks_keep_their_look_and_nothing_else_does():
    """Pixels of one sign hardly differ between cities, the rest of the picture does."""
    colours = {}
    for name in LOOKS:
        city = load_city(name)
        spot = next(s for s, kind, _, _ in city.landmarks if NAMES[kind] == "Star Cafe")
        direction = bearing(city.spots[spot], city.landmark_at[spot][1])
        seen = view(panorama(city, spot, 128), direction, 64)
        colours[name] = seen[20:36, 26:38].mean((0, 1)), seen.mean((0, 1))
    signs, whole = (np.array(part) for part in zip(*colours.values(), strict=True))
    assert signs.std(0).max() < 12 < whole.std(0).min()


def test_cities_are_clearly_different():
    """Mean colour and contrast of two cities' panoramas are never the same."""
    means = []
    for name in LOOKS:
        panos = np.stack([panorama(load_city(name), spot, 32) for spot in (30, 45, 60)])
        rows = panos.astype(float).mean((0, 2))  # (rows, 3)
        means.append(np.concatenate([rows[:12].mean(0), rows[12:16].mean(0), rows[18:].mean(0)]))
    means = np.array(means)
    apart = np.sqrt(((means[:, None] - means[None]) ** 2).mean(2))
    assert apart[~np.eye(len(LOOKS), dtype=bool)].min() > 15


def compass():
    """A panorama whose colour tells the bearing: north, east, south, west a quarter each."""
    pano = np.zeros((64, 128, 3), np.uint8)
    for i in range(4):
        columns = np.arange(32 * i - 16, 32 * i + 16) % 128
        pano[:, columns] = 60 * (i + 1)
    return pano


def corners(picture):
    """The middle of front, right, back and left in a picture of four views."""
    grid, h = np.asarray(picture)[..., 0], picture.size[0] // 4
    return [int(grid[y, x]) for y in (h, 3 * h) for x in (h, 3 * h)]


def test_four_views_are_front_right_back_left():
    assert corners(four_views(compass(), 0, 40)) == [60, 120, 180, 240]
    assert corners(four_views(compass(), 90, 40)) == [120, 180, 240, 60]
    assert corners(four_views(compass(), 45, 40, rotation=45)) == [120, 180, 240, 60]
    assert corners(four_views(compass(), 45, 40, official=True)) == [240, 60, 120, 180]
    picture = four_views(compass(), 0, 480)
    assert picture.size == (480, 480)
    assert picture.getpixel((240, 100)) == picture.getpixel((100, 239)) == (0, 0, 0)
    with pytest.raises(ValueError, match="even size"):
        four_views(compass(), 0, 41)


def test_a_view_is_a_perspective_of_ninety_degrees():
    ramp = np.zeros((180, 360, 3), np.uint8)
    ramp[...] = (np.arange(360) // 2)[:, None]
    seen = view(ramp, 90, 90)[45, :, 0].astype(float) * 2
    ramp_ = (np.arange(90) + 0.5) / 45 - 1
    assert np.abs(seen - (90 + np.degrees(np.arctan(ramp_)))).max() < 3
    tall = np.zeros((180, 360, 3), np.uint8)
    tall[...] = np.arange(180)[:, None, None]
    middle = view(tall, 0, 90)[:, 45, 0].astype(float)
    assert np.abs(middle - (90 + np.degrees(np.arctan(ramp_)))).max() < 2


def test_a_walker_who_turns_round_sees_the_same_houses():
    pano = panorama(CITY, 2, 64)
    front = np.asarray(four_views(pano, 30, 56))[:26, :26]
    back = np.asarray(four_views(pano, 210, 56))[28:54, :26]
    assert np.abs(front[:, 2:].astype(int) - back[:, 2:]).mean() < 60
    exact = np.asarray(four_views(pano, 390, 56))[:26, :26]
    assert (front == exact).all()


def test_map_is_opaque_and_shows_the_route():
    route = city_routes(CITY)[4]
    plain, drawn = map_picture(CITY, width=360), map_picture(CITY, route, width=360)
    assert drawn.mode == "RGB" and drawn.width == 360
    assert np.asarray(drawn)[0, 0].min() > 200  # light ground on every page
    blue = np.array(ImageColor.getrgb("#0072b2"))
    close = [(np.abs(np.asarray(p, int) - blue).sum(2) < 12).sum() for p in (plain, drawn)]
    assert close[0] < 30 < 100 < close[1]


def test_a_map_shows_the_whole_route_large_and_a_walk_stays_on_one_map():
    for route in city_routes(CITY)[:8]:
        whole = map_picture(CITY, route, 360)
        begun = replace(route, legs=route.legs[:1])
        assert map_picture(CITY, begun, 360, around=route).size == whole.size
        west, east, south, north = _window(CITY, route)
        xs, ys = zip(route.start, *(leg.end for leg in route.legs), strict=True)
        assert west < min(xs) and max(xs) < east and south < min(ys) and max(ys) < north
        spans = max(xs) - min(xs), max(ys) - min(ys)
        assert max(spans) > 0.3 * max(east - west, north - south)


def test_places_of_spots_lie_on_their_streets():
    for spot in range(len(CITY.crossings), len(CITY.spots)):
        (e, way, walked, sign_), (_, back, _, other) = CITY.openings(spot)
        a, b, _ = CITY.streets[e]
        assert math.isclose(math.dist(CITY.spots[spot], CITY.crossings[a]), walked)
        assert (sign_, other) == (1, -1) and math.isclose((back - way) % 360, 180)
        assert math.isclose(bearing(CITY.spots[spot], CITY.crossings[b]), way, abs_tol=1e-6)
