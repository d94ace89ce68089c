"""The shipped cities: how each looks, which are for training, development and tests."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sftrl_lite.tasks.city import DATA, City, Style, read_city, write_city
from sftrl_lite.tasks.city_maker import make_city


def _style(line: str) -> Style:
    """A style from one line of ``LOOKS``: the fields in their order, lists with commas."""
    sky, facades, glass, panes, road, pavement, marking, heights, *rest = line.split()
    width, furniture, plant, haze, noise = rest

    def numbers(text: str) -> tuple[Any, ...]:  # as long as the field wants it
        return tuple(map(float, text.split(",")))

    def colours(text: str) -> tuple[Any, ...]:
        return tuple(f"#{colour}" for colour in text.split(","))

    return Style(
        colours(sky),
        colours(facades),
        f"#{glass}",
        numbers(panes),
        f"#{road}",
        f"#{pavement}",
        f"#{marking}",
        numbers(heights),
        float(width),
        furniture,
        f"#{plant}",
        float(haze),
        float(noise),
    )


# Name, number of routes, look. The first city is trained in, the second is kept for choosing
# settings, the other nine are the visual shift that is reported. No such places exist.
LOOKS = {
    "Alderwick": (
        300,
        "4f8fd0,bcd7ee 9c5a44,b5795c,c9a27e,84604e 2f3e4e 4,3.4,.5 5b5b5e a8a39b e8e8e0 9,18 9 "
        "trees 3f7d3a .25 5",
    ),
    "Bramblegate": (
        120,
        "a9b4bd,d9dcdc 8b8f7a,a7a58e,6f7766,c2bda6 4a5648 3,3,.45 70706c 94948c f0f0f0 7,13 8 "
        "conifers 2d5a45 .5 7",
    ),
    "Coralis": (
        30,
        "1fb0e6,a6ecf7 f6a58f,fbe3b5,8fd6c9,f7c8d4 ffffff 5,4,.4 cbb894 e8dcc0 ffffff 6,12 11 "
        "palms 3fae49 .05 4",
    ),
    "Duskholm": (
        30,
        "2a1747,e8784a 4a3350,5d3f58,3c2b4a,6e4a55 ffc85c 3.5,3.2,.5 2e2836 483f50 c79a6a 12,26 9 "
        "lamps ffd98a .3 6",
    ),
    "Emberfall": (
        30,
        "d7904f,f4d9a6 c46a35,d98b4c,a9512c,e3b074 5c2c17 6,4.5,.3 b98a5c d2aa78 f2dfb8 5,10 10 "
        "none 806040 .6 6",
    ),
    "Frostmere": (
        30,
        "cfdbe6,f4f8fb 7c93a8,a9bccb,5f7388,d5dee6 33485c 4,3.2,.4 e4eaf0 f7fafc b6c4d2 8,16 10 "
        "conifers c6d8dd .45 4",
    ),
    "Glasmere": (
        30,
        "6fc1d8,e6f6f4 6fb3c4,4f93b0,9ad2d6,3a7391 d4f4ff 2.4,2.6,.75 3f4a52 8c9aa2 ffe25a 30,70 "
        "12 lamps 9aa7ad .2 4",
    ),
    "Hollowport": (
        30,
        "0a0f24,1c2846 1f2433,2a2f42,171b29,343a4f ffe9a0 3,3,.4 14161f 262b38 6a7288 14,34 9 "
        "lamps fff2b8 .15 8",
    ),
    "Ironvale": (
        30,
        "8c8577,b9ae98 6b5b4b,4e443c,83715c,3a3531 1d1a18 5,5,.6 3b3733 55504a c8a030 10,22 10 "
        "none 505050 .9 10",
    ),
    "Jadewater": (
        30,
        "b5d98f,f3f4c9 2f8f6b,58b08a,e7e3c0,1f6a55 f9f3d0 4.5,3.6,.35 7d8a70 b7c39a fbfbe0 6,11 8 "
        "trees 8cc63f .2 5",
    ),
    "Kestrelford": (
        30,
        "f29ab8,ffe6d6 f4d35e,ee964b,f95738,fdf0c4 2b3a67 3.2,3.4,.5 54506a c6b6c6 ffffff 9,15 8 "
        "awnings e0457b .2 5",
    ),
}
TRAIN, DEV = "Alderwick", "Bramblegate"
UNSEEN = tuple(name for name in LOOKS if name not in (TRAIN, DEV))


def make_shipped(name: str) -> City:
    """A shipped city, generated again."""
    routes, look = LOOKS[name]
    return make_city(name, 1 + tuple(LOOKS).index(name), _style(look), routes)


@lru_cache(maxsize=32)
def load_city(name: str) -> City:
    """A shipped city by its name.

    Raises:
        ValueError: there is none of that name, or its file is damaged.
    """
    if name not in LOOKS:
        raise ValueError(f"unknown city {name!r}; choose {', '.join(LOOKS)}")
    return read_city(DATA / f"{name.lower()}.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the shipped cities."""
    parser = argparse.ArgumentParser(description="Write the shipped cities again.")
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the JSON files")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in LOOKS:
        print(write_city(make_shipped(name), options.out))


if __name__ == "__main__":
    main()
