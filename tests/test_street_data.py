"""The readers of the paper's released data, on fabricated folders in exactly that format."""

import contextlib
import hashlib
import json
import os
import pickle
import random
import sys
import warnings
from collections import OrderedDict
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sftrl_lite import __main__
from sftrl_lite.files import ROOT
from sftrl_lite.models.checkpoints import SUMS
from sftrl_lite.results import ledger
from sftrl_lite.runs.run_config import Run, command
from sftrl_lite.tasks.panoramas import RADIUS, DataError, metres, read_mapping
from sftrl_lite.tasks.registry import make_task, reported
from sftrl_lite.tasks.routes import ABSOLUTE, RELATIVE, steps
from sftrl_lite.tasks.sft_data import read_sft_data
from sftrl_lite.tasks.street_data import CLEAR, parse_milestones, read_streets
from sftrl_lite.tasks.walks import Decision, decisions

STEP = 10 / 111_195  # degrees of latitude in ten metres
HOME = (0.5, 20.0)  # near the equator a degree is as long in both directions


def place(east, north):
    """A place so many tens of metres from home."""
    return [HOME[0] + north * STEP, HOME[1] + east * STEP]


def block(index, heading, landmark="No landmark nearby", facing=0):
    """One block of ``milestone_info`` as the released files have it."""
    word = ABSOLUTE.word(0, heading)
    return (
        "{\n"
        f'"intersection_idx": "{index}",\n'
        f'"landmarks": "{landmark}",\n'
        f'"distance": "80 meters",\n'
        f'"human_heading": "{facing}",\n'
        f'"to_next_intersection_heading": "{heading} ({word})",\n'
        "}"
    )


def entry(places, blocks, heading=25):
    """One route of ``route_infos.json``."""
    raw = {
        "start_place": {"relocated_geocode": places[0]},
        "dest_place": {"name": "Shuka", "geocode": places[-1]},
        "init_heading": heading,
        "route_results": {
            "geocode_list": places[1:],
            "landmark_list": [None] * (len(places) - 1),
            "polyline": "",
            "instructions": [],
            "distance_list": [],
            "time_list": [],
            "time": "",
            "distance": "",
        },
        "milestone_info": ",\n".join(blocks),
    }
    if heading is None:
        del raw["init_heading"]
    return raw


def fabricate(folder, change=lambda routes, mapping: None):
    """A folder with three routes of two to four blocks and twelve panoramas."""
    routes = [
        entry(
            [place(0, 0), place(0, 4), place(4, 4)],
            [
                block(0, 0, "Joe's: Bar & Grill is on your right"),
                block(1, 91, "Shuka is on your left"),
            ],
        ),
        entry(
            [place(0, 0), place(0, 4), place(4, 4), place(4, 0)],
            [block(0, 10), block(1, 90, "Tea, Coffee is on your left"), block(2, 180, "Shuka")],
            heading=350,
        ),
        entry(
            [place(4, 0), place(4, 4), place(0, 4), place(0, 0), place(4, 0)],
            [block(0, 0), block(1, 270), block(2, 180), block(3, 90, "Shuka is on your right")],
            heading=0,
        ),
    ]
    lattice = [(0, n) for n in range(5)] + [(e, 4) for e in range(1, 5)] + [(4, 0), (4, 1), (4, 3)]
    mapping = {tuple(place(e + 0.3, n)): f"pano_{e}-{n}" for e, n in lattice}
    change(routes, mapping)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "route_infos.json").write_text(json.dumps([routes, len(routes)]))
    (folder / "gps_pano_mapping.pkl").write_bytes(pickle.dumps(mapping))
    views = folder / "street_views"
    views.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i, pano in enumerate(mapping.values()):
        if isinstance(pano, str) and "/" not in pano:
            pixels = rng.integers(0, 255, (64, 128, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(views / f"{pano}.jpg")
            notes = {"rotation": (0, 90, 222.5)[i % 3], "date": "2020-01"}
            (views / f"{pano}.metadata.json").write_text(json.dumps(notes))
    return folder


@pytest.fixture
def folder(tmp_path):
    return fabricate(tmp_path / "nyc_test")


def one_line(error, *parts):
    text = str(error.value)
    assert len(text.splitlines()) == 1
    for part in parts:
        assert part in text


# --- routes ------------------------------------------------------------------------------


def test_the_same_task_runs_on_it(folder):
    data = read_streets(folder)
    assert [len(route.legs) for route in data.routes] == [2, 3, 4]
    for split in ("id", "ood-rule"):
        for pictures in (False, True):
            task = data.task(split, pictures, size=32)
            for decision in decisions(data.routes):
                assert task.verify(decision, task.demonstration(decision)).solved
            if pictures:
                assert task.picture(Decision(data.routes[0], 0)).size == (32, 32)
    with pytest.raises(ValueError) as error:
        data.task("ood-visual")
    one_line(error, "choose train, id, ood-rule, all, all-rule")


def test_instructions_and_observations(folder):
    data = read_streets(folder)
    first, second, _ = data.routes
    task = data.task()
    assert task.instructions(first) == (
        "First, turn slightly left to face north.",
        "Move forward until you reach next intersection where Joe's: Bar & Grill is on your right.",
        "Turn right to face east.",
        "Move forward until you reach destination where Shuka is on your left.",
    )
    rail = steps(first)
    turn = next(s for s in rail[1:] if s.move == "turn")
    assert turn.observation == ("Joe's: Bar & Grill is on your right; You observe an intersection")
    assert rail[0].heading == 25 and rail[-1].observation == "Shuka is on your left"
    # 350 to 10 is a slight right; the released code says left
    assert task.instructions(second)[0] == "First, turn slightly right to face north."
    official = data.task(official=True)
    assert official.instructions(second)[0] == "First, turn left to face north."
    assert task.instructions(second)[1] == "Move forward until you reach next intersection."
    assert "Tea, Coffee is on your left" in task.instructions(second)[3]


def test_places_between_are_photographed_and_clear_of_the_turns(folder):
    data = read_streets(folder)
    kept = 0
    for route in data.routes:
        here = route.start
        for leg in route.legs:
            for spot, landmark in leg.between:
                assert landmark is None and spot in data.panoramas.places
                assert metres(here, spot) > CLEAR and metres(spot, leg.end) > CLEAR
                kept += 1
            assert leg.end in data.panoramas.places
            here = leg.end
    assert 5 < kept < 40


def test_without_pictures_no_mapping_is_needed(folder):
    (folder / "gps_pano_mapping.pkl").unlink()
    data = read_streets(folder, pictures=False)
    assert data.routes[0].start == tuple(place(0, 0))
    assert data.task().picture(Decision(data.routes[0], 0)) is None
    with pytest.raises(ValueError, match="without pictures"):
        data.task(pictures=True)
    with pytest.raises(FileNotFoundError, match=r"gps_pano_mapping\.pkl is missing"):
        read_streets(folder)


def test_unknown_headings_come_from_the_seed(tmp_path):
    folder = fabricate(tmp_path / "a", lambda routes, _: routes[0].pop("init_heading"))
    headings = [[r.heading for r in read_streets(folder, seed=s).routes] for s in (0, 0, 1)]
    assert headings[0] == headings[1]
    for i, known in enumerate((False, True, False)):  # the third says 0, which means unknown
        assert (headings[0][i] == headings[2][i]) == known


def test_pictures_look_where_the_walker_faces(tmp_path):
    """Rotation moves the columns: the same photograph, another direction."""
    folder = fabricate(tmp_path / "a")
    data = read_streets(folder)
    task, decision = data.task(pictures=True, size=64), Decision(data.routes[0], 0)
    before = np.asarray(task.picture(decision))
    number = data.panoramas.near(decision.step.place)
    notes = folder / "street_views" / f"{data.panoramas.ids[number]}.metadata.json"
    notes.write_text(json.dumps({"rotation": 360}))
    assert (np.asarray(task.picture(decision)) == before).all()
    notes.write_text(json.dumps({"rotation": 90}))
    after = np.asarray(task.picture(decision))
    assert (after[:30, 2:30] == before[:30, 34:62]).mean() > 0.9  # front is what was right


def test_the_nearest_panorama_within_the_radius(folder):
    panoramas = read_streets(folder).panoramas
    assert panoramas.places[panoramas.near(tuple(place(0, 0)))] == tuple(place(0.3, 0))
    exact = panoramas.places[5]
    assert panoramas.near(exact) == 5
    assert panoramas.near(tuple(place(-1.6, 0))) is not None  # 19 m
    assert panoramas.near(tuple(place(-1.8, 0))) is None  # 21 m
    assert metres(tuple(place(0, 0)), tuple(place(3, 4))) == pytest.approx(50, rel=1e-3)
    assert RADIUS == 20


@pytest.mark.parametrize("pictures", [False, True])
def test_no_route_of_a_folder_is_trained_on_and_tested(pictures, tmp_path):
    """Six routes, of which the last repeats the instructions of the first somewhere else."""

    def longer(routes, _):
        routes += json.loads(json.dumps(routes))  # the same six; but for the last, other words
        for i in (3, 4):
            info = routes[i]["milestone_info"]
            routes[i]["milestone_info"] = info.replace("Shuka", f"Kiosk {i}")
        routes[5]["milestone_info"] = routes[0]["milestone_info"]
        routes[5]["route_results"] = routes[0]["route_results"]

    data = read_streets(fabricate(tmp_path / "six", longer))
    train, *tests = (data.task(split, pictures, size=16) for split in ("train", "id", "ood-rule"))
    assert train.routes == data.routes[:4]
    known = {train.prompt(decision) for decision in decisions(train.routes)}
    told = [train.instructions(route) for route in data.routes]
    assert told[5] == told[0] and len(set(told)) == 5
    for task in tests:
        assert task.routes == data.routes[4:5]
        assert not known & {task.prompt(decision) for decision in decisions(task.routes)}
        assert task.population == len(decisions(task.routes))


def test_too_few_routes_to_train_on_some_and_test_others(tmp_path):
    def one(routes, _):
        del routes[1:]

    def twice_the_same(routes, _):
        routes[1:] = [routes[0]]

    for name, change in (("one", one), ("twice", twice_the_same)):
        data = read_streets(fabricate(tmp_path / name, change))
        for split in ("train", "id", "ood-rule"):
            with pytest.raises(ValueError) as error:
                data.task(split)
            one_line(error, f"{name} has too few routes to train on some and test others")
        assert data.task("all").routes == data.task("all-rule").routes == data.routes


# --- bad routes --------------------------------------------------------------------------


def _set(*keys):
    """A change of the second route: all but the last key lead to where the value goes."""
    *way, last, value = keys

    def change(routes, mapping):
        raw = routes[1]
        for key in way:
            raw = raw[key]
        raw[last] = value

    return change


BRACE = block(0, 10, "Curly} Cafe is on your left")
BAD = {
    "blocks": (_set("milestone_info", block(0, 10)), "1 blocks for 3 places"),
    "brace": (_set("milestone_info", ",".join([BRACE, block(1, 90), block(2, 0)])), "brace"),
    "open": (_set("milestone_info", block(0, 10, "Curly{ Cafe")), "brace"),
    "text": (_set("milestone_info", 7), "milestone_info is not text"),
    "empty": (_set("milestone_info", ""), "milestone_info: no whole block"),
    "gone": (lambda routes, _: routes[1].pop("milestone_info"), "milestone_info is missing"),
    "heading": (
        _set("milestone_info", ",".join([block(i, h) for i, h in enumerate((1, 2, 3))])
             .replace("2 (north)", "two (north)")),
        "block 1: to_next_intersection_heading",
    ),
    "word": (
        _set("milestone_info", ",".join([block(i, h) for i, h in enumerate((1, 2, 3))])
             .replace("2 (north)", "2 (south)")),
        "block 1: to_next_intersection_heading is '2 (south)': degrees and word differ",
    ),
    "nan": (
        _set("route_results", "geocode_list", 1, [float("nan"), 20.0]),
        "route_results.geocode_list[1] is [nan, 20.0]",
    ),
    "latitude": (_set("start_place", "relocated_geocode", [95.0, 0]), "relocated_geocode is [95.0"),
    "start": (_set("start_place", {}), "start_place.relocated_geocode is missing"),
    "list": (_set("route_results", "geocode_list", {}), "geocode_list is not a list"),
    "init": (_set("init_heading", "north"), "init_heading is 'north'"),
    "far": (_set("start_place", "relocated_geocode", place(50, 50)), "no panorama within 20 m"),
    "kind": (lambda routes, _: routes.__setitem__(1, 5), "start_place is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_routes_are_named_and_the_others_stay_usable(case, tmp_path):
    change, message = BAD[case]
    folder = fabricate(tmp_path / "a", change)
    with pytest.raises(DataError) as error:
        read_streets(folder)
    one_line(error, "route_infos.json, route 1: ", message)
    with pytest.warns(UserWarning, match="route 1: "):
        data = read_streets(folder, skip_bad=True)
    assert [route.name for route in data.routes] == ["0000", "0002"]
    task = data.task(pictures=True, size=16)
    for decision in decisions(data.routes):
        assert task.picture(decision).size == (16, 16)


def test_missing_photographs(folder):
    data = read_streets(folder)
    number = data.panoramas.near(data.routes[0].start)
    victim = folder / "street_views" / f"{data.panoramas.ids[number]}.jpg"
    pixels = victim.read_bytes()
    victim.unlink()
    with pytest.raises(DataError) as error:
        read_streets(folder)
    one_line(error, "route 0: ", f"{victim.name} is missing")
    with pytest.raises(DataError) as error:
        data.look(data.routes[0], steps(data.routes[0])[0])
    one_line(error, str(victim))
    victim.write_bytes(pixels[:50])
    with pytest.raises(DataError, match="not a picture"):
        data.panoramas.read(number)
    victim.write_bytes(pixels)
    for notes in ("{}", "[1", '{"rotation": "east"}', '{"rotation": NaN}'):
        victim.with_suffix(".metadata.json").write_text(notes)
        with pytest.raises(DataError, match="rotation"):
            data.panoramas.read(number)


@pytest.mark.parametrize("text", ["", "[1", "{}", "[]", "[[], 0]", "[7, 1]", "[" * 100_000])
def test_bad_route_files(text, folder):
    (folder / "route_infos.json").write_text(text)
    with pytest.raises(DataError) as error:
        read_streets(folder)
    one_line(error, "route_infos.json")
    with pytest.raises(FileNotFoundError, match=r"route_infos\.json is missing"):
        read_streets(folder / "nowhere")


def test_nothing_usable(tmp_path):
    def spoil(routes, mapping):
        for raw in routes:
            raw["milestone_info"] = ""

    folder = fabricate(tmp_path / "a", spoil)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="no usable route"):
            read_streets(folder, skip_bad=True)


# --- the pickle --------------------------------------------------------------------------


class Attack:
    """Would leave a file behind if it were unpickled by the stock unpickler."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_and_nothing_happens(tmp_path):
    trace, path = tmp_path / "pwned", tmp_path / "mapping.pkl"
    attack = pickle.dumps({HOME: Attack(trace)})
    pickle.loads(pickle.dumps({HOME: Attack(tmp_path / "real")}))
    assert (tmp_path / "real").exists()  # the attack itself works
    path.write_bytes(attack)
    with pytest.raises(DataError) as error:
        read_mapping(path)
    one_line(error, str(path), "mkdir")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        pickle.dumps([1, 2]),
        pickle.dumps({}),
        pickle.dumps({HOME: 7}),
        pickle.dumps({HOME: "../../etc/passwd"}),
        pickle.dumps({HOME: "a/b"}),
        pickle.dumps({"home": "pano"}),
        pickle.dumps({(0.5, float("nan")): "pano"}),
        pickle.dumps({(0.5, 1.0, 2.0): "pano"}),
        pickle.dumps(OrderedDict({HOME: "pano"})),
        pickle.dumps({HOME: np.float64(3)}),
        pickle.dumps({HOME: "pano"})[:-3],
        b"cbuiltins\neval\n(S'1+1'\ntR.",
        b"\x80\x02P1\n.",
    ],
)
def test_only_plain_mappings_are_read(content, tmp_path):
    path = tmp_path / "mapping.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_mapping(path)
    one_line(error, str(path))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_no_mapping(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("pickles") / "mapping.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_mapping(path)


# --- milestones --------------------------------------------------------------------------


def test_milestones_of_the_released_form():
    text = (
        block(0, 0, "No landmark nearby", 25) + ",\n" + block(1, 91, "Starbucks is on your right")
    )
    first, second = parse_milestones(text)
    assert first == {
        "intersection_idx": "0",
        "landmarks": "No landmark nearby",
        "distance": "80 meters",
        "human_heading": "25",
        "to_next_intersection_heading": "0 (north)",
    }
    assert second["landmarks"] == "Starbucks is on your right"


NAME = st.text(
    st.characters(blacklist_characters='{}"\\', blacklist_categories=("C", "Z")), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(st.lists(NAME, min_size=1, max_size=4))
def test_any_name_without_braces_survives(names):
    blocks = parse_milestones(",".join(block(i, 5, name) for i, name in enumerate(names)))
    assert [b["landmarks"] for b in blocks] == names


@settings(max_examples=60, deadline=None)
@given(NAME, NAME, st.sampled_from("{}"), st.integers(0, 2))
def test_a_brace_in_a_name_never_passes(before, after, brace, at):
    blocks = [block(i, 5) for i in range(3)]
    blocks[at] = block(at, 5, f"{before}{brace}{after}")
    with pytest.raises(ValueError, match="brace"):
        parse_milestones(",\n".join(blocks))


# --- GeneralPoints demonstrations ----------------------------------------------------------

ANSWER = "{\n  \"cards\": ['A', '3', 'K', '6'],\n  \"number\": [1, 3, 10, 6],\n}"


def conversation(prompt="Make 24", answer=ANSWER, **more):
    turns = [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, **more}


def test_sft_data(tmp_path):
    path = tmp_path / "data.json"
    rows = [conversation(), conversation("<image>\nMake 24", image="cards/1.png")]
    path.write_text(json.dumps(rows))
    plain, shown = read_sft_data(path)
    assert (plain.prompt, plain.answer, plain.images) == ("Make 24", ANSWER, ())
    assert (shown.prompt, shown.images, shown.entry) == ("Make 24", (tmp_path / "cards/1.png",), 1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "conversations is missing"),
        ({"conversations": []}, "two turns"),
        (conversation(answer=" "), "conversations[1].value is not text"),
        (conversation(prompt=3), "conversations[0].value is not text"),
        ({"conversations": [{"value": "x"}] * 2}, "from is missing"),
        ({"conversations": conversation()["conversations"][::-1]}, "conversations[0].from"),
        (conversation(image=4), "image is not a path"),
        ("text", "conversations is missing"),
    ],
)
def test_bad_sft_data(bad, message, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([conversation(), bad, conversation()]))
    with pytest.raises(DataError) as error:
        read_sft_data(path)
    one_line(error, f"{path}, entry 1: ", message)
    with pytest.warns(UserWarning, match="entry 1"):
        assert len(read_sft_data(path, skip_bad=True)) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_bad_sft_files(text, tmp_path):
    path = tmp_path / "data.json"
    with pytest.raises(FileNotFoundError):
        read_sft_data(path)
    path.write_text(text)
    with pytest.raises(DataError, match=r"data\.json"):
        read_sft_data(path)


def test_a_seed_replays_the_places_between(folder):
    assert read_streets(folder, seed=3) == read_streets(folder, seed=3)
    random.seed(0)  # the global stream plays no part
    assert read_streets(folder, seed=3).routes != read_streets(folder, seed=4).routes


# --- a folder at the command line ----------------------------------------------------------


def test_a_folder_serves_the_tasks(folder):
    routes, of = read_streets(folder, pictures=False).routes, dict(data=folder)
    whole = make_task("virl-l", "all-rule", **of)
    assert whole.routes == routes and whole.name == "virl-l" and whole.actions is RELATIVE
    assert make_task("virl-l", "all", **of).routes == routes
    assert make_task("virl-l", "train", **of).routes == routes[:2]
    home, shifted = make_task("virl-l", "id", **of), make_task("virl-l", "ood-rule", **of)
    assert home.routes == shifted.routes == routes[2:]
    assert (home.actions, shifted.actions) == (ABSOLUTE, RELATIVE)
    shown = make_task("virl-vl", "id", data=str(folder))
    assert shown.picture(Decision(shown.routes[0], 0)).size == (80, 80)
    assert reported("virl-vl", folder) == ("id", "ood-rule")
    with pytest.raises(ValueError, match="does not serve task gp-l"):
        make_task("gp-l", data=folder)
    with pytest.raises(FileNotFoundError, match=r"route_infos\.json is missing"):
        make_task("virl-l", data=folder / "missing")


def test_a_folder_decides_the_hash_and_no_folder_does_not(folder, tmp_path):
    plain, usual = Run("sft", task="virl-l"), asdict(Run("sft"))
    fields = {k: v for k, v in asdict(plain.filled()).items() if k == "method" or v != usual[k]}
    assert "data" not in fields and "lr" in fields  # what is as usual is left out
    init = (ROOT / plain.filled().base / SUMS).read_text()
    before = hashlib.sha256((json.dumps(fields, sort_keys=True) + init).encode()).hexdigest()
    assert plain.hash == before[:8]
    real = Run("sft", task="virl-l", data=str(folder))
    moved = fabricate(tmp_path / "elsewhere" / folder.name)
    assert real.hash != plain.hash
    assert real.hash == Run("sft", task="virl-l", data=str(moved)).hash
    for name, change in ((folder.name, lambda routes, _: routes.pop()), ("renamed", lambda *_: 0)):
        other = fabricate(tmp_path / "others" / name, change)
        assert real.hash != Run("sft", task="virl-l", data=str(other)).hash
    assert real.hash != replace(real, skip_bad=True).hash


@pytest.mark.filterwarnings("ignore:.*route 1. start_place")
def test_a_bad_route_is_left_out_on_request(tmp_path, monkeypatch, capsys):
    folder = fabricate(tmp_path / "one_bad", lambda routes, _: routes[1].pop("start_place"))
    at = ["eval", "--task", "virl-l", "--data", str(folder), "--episodes", "6"]
    monkeypatch.setattr(sys, "argv", ["sftrl_lite", *at])
    with pytest.raises(SystemExit):
        __main__.main()
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "route 1: start_place is missing" in said
    monkeypatch.setattr(sys, "argv", ["sftrl_lite", *at, "--skip-bad"])
    with contextlib.suppress(SystemExit):
        __main__.main()
    assert "walk_per_step" in capsys.readouterr().out
    run = Run("sft", task="virl-l", data=str(folder), skip_bad=True)
    assert len(run.make("train").routes) == 1 and command(run, "x").endswith(" --skip-bad")


@pytest.mark.parametrize("verb", ["sft", "rl"])
def test_training_on_a_folder(verb, folder, tmp_path, monkeypatch, capsys):
    few = dict(steps=1, hands=4, points=1, splits="ood-rule", task="virl-l", data=folder)
    few |= {"final-episodes": 5, "pass-samples": 2, "curve-episodes": 2, "out": tmp_path / "run"}
    few |= dict(problems=2, samples=2) if verb == "rl" else {}
    flags = [part for name, value in few.items() for part in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["sftrl_lite", verb, *flags])
    with contextlib.suppress(SystemExit):
        __main__.main()
    assert "ood-rule" in capsys.readouterr().out
    rows = ledger.read(tmp_path / "run" / "rows.csv")
    assert rows["command"].str.contains(f"--data {folder}").all()
    assert {"route", "walk_per_step"} <= set(rows["metric"])


@pytest.mark.parametrize(
    ("data", "says"),
    [("nowhere", "route_infos.json is missing"), ("", "")],
)
def test_evaluating_on_a_folder(data, says, folder, monkeypatch, capsys):
    at = ["--task", "virl-l", "--data", data or str(folder), "--episodes", "6"]
    monkeypatch.setattr(sys, "argv", ["sftrl_lite", "eval", *at])
    with contextlib.suppress(SystemExit):
        __main__.main()
    out, err = capsys.readouterr()
    if says:
        assert err.startswith("error: ") and says in err and len(err.splitlines()) == 1
    else:
        assert "walk_per_step" in out
        assert {line.split()[0] for line in out.splitlines()} == {"all", "all-rule"}
