"""Files that strangers made: nothing of them runs, nothing of them fills the memory."""

import ast
import json
import pickle
import sys
import time
import zlib
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from test_street_data import HOME, fabricate

from sftrl_lite import pictures
from sftrl_lite.models import loading
from sftrl_lite.models.chats import check_template, render
from sftrl_lite.models.checkpoints import SUMS, check_sums, write_sums
from sftrl_lite.pictures import open_picture
from sftrl_lite.runs.resume import folder_of
from sftrl_lite.runs.run_config import Run
from sftrl_lite.tasks.panoramas import DataError, read_mapping
from sftrl_lite.tasks.sft_data import read_sft_data
from sftrl_lite.tasks.street_data import read_streets

PACKAGE = Path(loading.__file__).parents[1]


def calls(name):
    """All calls of a method in the package: file, and the names of the arguments."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == name:
                yield path.name, ast.unparse(node.func), {k.arg: k.value for k in node.keywords}


def test_no_code_of_a_model_folder_is_trusted():
    found = list(calls("from_pretrained"))
    assert len(found) > 5
    for file, call, options in found:
        assert ast.unparse(options["trust_remote_code"]) == "False", (file, call)


def test_no_reader_that_runs_what_it_reads():
    assert {file for file, call, _ in calls("open") if call == "Image.open"} == {"pictures.py"}
    for file, call, options in calls("load"):
        if call == "torch.load":
            assert ast.unparse(options["weights_only"]) == "True", file
    texts = {path.name: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    for word in ("pickle.load", "Unpickler(", "import yaml", "eval(compile"):
        assert not [name for name, text in texts.items() if word in text]


# --- models ----------------------------------------------------------------------------


@pytest.fixture
def folder(random_model, tokenizer, tmp_path):
    """A model without sums, as from the Hub."""
    random_model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\n")
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (
            "config.json",
            {
                "model_type": "unheard-of",
                "auto_map": {"AutoConfig": "evil.C", "AutoModelForImageTextToText": "evil.M"},
            },
        ),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}},
        ),
        (
            "processor_config.json",
            {"processor_class": "Evil", "auto_map": {"AutoProcessor": "evil.P"}},
        ),
    ],
)
def test_code_in_a_model_folder_is_not_run(file, change, folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    path = folder / file
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | change))
    try:
        loading.load(folder)
    except (ValueError, RuntimeError) as error:
        assert "\n" not in str(error) and str(folder) in str(error)
    assert not (folder.parent / "pwned").exists()


LOOP = "{% for i in range(99999) %}"
ENDLESS = LOOP + LOOP + "{% endfor %}{% endfor %}"
GROW = "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(36) %}"
HUGE = {  # a template, and where it is stopped; without a stop it would never end
    ENDLESS: "it goes on after",
    "{{ 9**9**9 }}": "its chat template multiplies",
    "{{ 'x' * 9999999999 }}": "its chat template multiplies",
    GROW + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}": "it makes more than 1,000,000 letters",
    GROW + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}": "it makes more than",
    GROW + "{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x }}": "it makes more than",
    LOOP + "{{ 'xxxxxxxx' }}" * 9 + "{% endfor %}": "it makes more than",
}


WIDE = [  # in one line, which is not seen while it runs; a machine may well have that memory
    "{{ 'x'|center(2000000000) }}",
    "{{ 'x'.ljust(2000000000) }}",
    "{{ '%2000000000d'|format(1) }}",
    "{{ 'x'|indent(2000000000, true) }}",
]
if sys.platform == "linux":  # elsewhere nobody bounds the memory of a process
    HUGE |= dict.fromkeys(WIDE, "its chat template fails: MemoryError")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        *HUGE.items(),
        ("{{ raise_exception('roles must\nalternate') }}", "its chat template fails: roles must"),
        ("{% if %}", "its chat template fails"),
        ("{{ ''.__class__.__mro__ }}", "its chat template fails"),
        ("{{ 1 / 0 }}", "its chat template fails: division"),
    ],
)
def test_a_chat_template_that_fails_or_does_not_end(template, says, tokenizer, folder):
    words = type(tokenizer).from_pretrained(folder)
    words.chat_template = template
    began = time.time()
    with pytest.raises(ValueError, match=says) as caught:
        check_template(words)
    assert "\n" not in str(caught.value) and time.time() - began < 60
    if template not in HUGE:
        with pytest.raises(ValueError, match=says):
            render(words, [{"role": "user", "content": "x"}])
    words.save_pretrained(folder)
    with pytest.raises(ValueError, match=says):
        loading.load(folder)


@pytest.mark.parametrize("name", ["llama3_2", "smolvlm", "qwen2_5", "qwen3", "gptoss", "gemma4"])
def test_the_chat_templates_of_known_models_are_taken(name, tokenizer):
    path = Path(find_spec("trl").origin).parent / "chat_templates" / f"{name}.jinja"
    if not path.exists():
        pytest.skip(f"this version of trl has no template {name}")
    words = deepcopy(tokenizer)
    words.chat_template = path.read_text("utf-8")
    check_template(words)


def test_stars_in_the_words_of_a_chat_template_are_no_product(tokenizer):
    words = deepcopy(tokenizer)
    words.chat_template = "{# 2*2 #}**{% for m in messages %}{{ '* ' + m['content'] }}{% endfor %}"
    check_template(words)


def test_sums_list_what_is_read_and_nothing_elsewhere(base, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "README.md").write_text("for people")
    check_sums(folder)
    sums = (folder / SUMS).read_text()
    outside = tmp_path / "x.json"
    outside.write_text("{}")
    nul = "0" * 64
    for text, says in [
        ("", "is damaged: not a list of sums"),
        (sums + "\n", "is damaged: not a list of sums"),
        ("\n" + sums, "is damaged: not a list of sums"),
        (sums.replace("  ", " "), "is damaged: not a list of sums"),
        (sums + f"{nul}  ../x.json\n", "is missing"),
        (sums + f"{nul}  /dev/zero\n", "is missing"),
        ("".join(sums.splitlines(True)[1:]), "is not listed in SHA256SUMS"),
    ]:
        (folder / SUMS).write_text(text)
        with pytest.raises((ValueError, OSError), match=says) as caught:
            loading.load(folder)
        assert "\n" not in str(caught.value)
    write_sums(folder)
    (folder / "chat_templates").mkdir()
    (folder / "chat_templates" / "more.jinja").write_text(ENDLESS)
    with pytest.raises(ValueError, match=r"more\.jinja is not listed"):
        loading.load(folder)


def test_shards_lie_in_their_folder(folder, tmp_path):
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    for shards in (None, [], {}, {"a": "../model.safetensors"}, {"a": "weights.bin"}, {"a": 7}):
        index.write_text(json.dumps({"weight_map": shards}))
        with pytest.raises(ValueError, match=r"index\.json is damaged"):
            loading.load(folder)


def test_weights_that_are_missing_are_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    gone = next(name for name in sorted(weights) if name.endswith("q_proj.weight"))
    save_file({n: w for n, w in weights.items() if n != gone}, path, {"format": "pt"})
    with pytest.raises(ValueError, match=r"there is no .*q_proj"):
        loading.load(folder)
    weights[gone][0, 0] = float("nan")
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ValueError, match="no finite numbers"):
        loading.load(folder)


# --- names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/x", "..", ".x", "a\\b", "C:x", "a\nb", "x" * 101]
)
def test_a_name_does_not_lead_out_of_runs(name):
    with pytest.raises(ValueError, match="is no name for an experiment"):
        folder_of(Run("sft"), name)
    assert folder_of(Run("sft"), "my try 2").startswith("my try 2-tiny-seed0-")


# --- pictures --------------------------------------------------------------------------


def png(wide, high, extra=b""):
    """A PNG that says how large it is, and holds next to nothing."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = wide.to_bytes(4, "big") + high.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    rows = chunk(b"IDAT", zlib.compress(b"\x00" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + rows + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\nshowpage\n"


def hostile_pictures(folder):
    whole = folder / "whole.png"
    Image.new("RGB", (40, 40), "red").save(whole)
    broken = bytearray(whole.read_bytes())
    broken[37] = 0  # in the name of the second chunk
    gif = folder / "a.gif"
    Image.new("RGB", (40, 40)).save(gif)
    return {
        "177 Mpixel": (png(17_700, 10_000), "million pixels are the most"),
        "endless": (png(2**31 - 1, 2**31 - 1), "no picture or is broken"),
        "eps": (EPS, "no picture or is broken"),
        "gif": (gif.read_bytes(), "no picture or is broken"),
        "broken chunk": (bytes(broken), "no picture or is broken"),
        "cut": (whole.read_bytes()[:50], "no picture or is broken"),
    }


def test_pictures_of_strangers(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)  # whoever reaches for it fails
    path = tmp_path / "p.jpg"
    for name, (content, says) in hostile_pictures(tmp_path).items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=says) as caught:
            open_picture(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value), name
    monkeypatch.setattr(pictures, "PIXELS", 1599)
    with pytest.raises(ValueError, match="is 40 x 40"):
        open_picture(tmp_path / "whole.png")


# --- pickles and routes ----------------------------------------------------------------


def doubled(times=60):
    """A place inside a place inside ...: 2^60 leaves, in a few hundred bytes."""
    found = HOME
    for _ in range(times):
        found = (found, found)
    return found


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}" + pickle.dumps(doubled(), 2)[2:-1] + b"X\x01\x00\x00\x00as.",  # as a key
        pickle.dumps({HOME: doubled()}),
        pickle.dumps({(10**400, 1.0): "pano"}),
        pickle.dumps({(1.0, float("inf")): "pano"}),
        pickle.dumps({HOME: "\ud800"}),
        pickle.dumps({HOME: "x" * 10**6}),
        pickle.dumps({HOME: {HOME: "pano"}}),
        b"\x80\x04" + b"(" * 10**6 + b".",
        b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"x.",  # a text that is not there
        b"}" + b"2" * 1000 + b".",  # the same dict again and again
        b"}.}.",
        b"cos\nsystem\n(S'true'\ntR.",
    ],
)
def test_pickles_of_strangers(content, tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(content)
    began = time.time()
    with pytest.raises(DataError) as caught:
        read_mapping(path)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line and len(line) < 600
    assert time.time() - began < 30


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_mapping_of_any_protocol(protocol, tmp_path):
    plain = {HOME: "pano", (1, -2.5): "pano", (0.1, 0.2): "ab-c_d"}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(plain, protocol))
    assert read_mapping(tmp_path / "m.pkl") == plain


def set_first(**fields):
    def change(routes, mapping):
        routes[0].update(fields)

    return change


def wide(routes, mapping):
    routes[0]["route_results"]["geocode_list"] = routes[0]["route_results"]["geocode_list"] * 1000
    routes[0]["milestone_info"] = ",".join([routes[0]["milestone_info"]] * 1000)


def landmark(name):
    def change(routes, mapping):
        info = routes[0]["milestone_info"]
        routes[0]["milestone_info"] = info.replace("Shuka is on your left", name)

    return change


HOSTILE = {
    "place": (set_first(start_place={"relocated_geocode": [10**400, 1]}), "start_place"),
    "heading": (set_first(init_heading=10**400), "init_heading"),
    "legs": (wide, "2000 blocks"),
    "landmark": (landmark("x" * 10**6), "landmarks is"),
    "surrogate": (landmark("cafe \ud800"), "landmarks is"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_routes_of_strangers(case, tmp_path):
    change, says = HOSTILE[case]
    folder = fabricate(tmp_path / "a", change)
    with pytest.raises(DataError, match=says) as caught:
        read_streets(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    with pytest.warns(UserWarning, match="route 0: "):
        assert len(read_streets(folder, skip_bad=True).routes) == 2


def test_files_that_are_too_large_are_not_read(tmp_path):
    folder = fabricate(tmp_path / "a")
    for name in ("route_infos.json", "gps_pano_mapping.pkl"):
        with (folder / name).open("r+b") as file:
            file.truncate(200_000_000)
        with pytest.raises(DataError, match=f"{name}: larger than 64 MiB"):
            read_streets(folder)
        fabricate(folder)
    data = read_streets(folder)
    notes = folder / "street_views" / f"{data.panoramas.ids[0]}.metadata.json"
    for text in (f'{{"rotation": {10**400}}}', "[" * 100_000, " " * 2**21):
        notes.write_text(text)
        with pytest.raises(DataError, match="rotation"):
            data.panoramas.read(0)


def test_half_a_letter_in_sft_data(tmp_path):
    turns = [{"from": "human", "value": "a\ud800"}, {"from": "gpt", "value": "b"}]
    (tmp_path / "d.json").write_text(json.dumps([{"conversations": turns}]))
    with pytest.raises(DataError, match=r"entry 0: conversations\[0\]\.value is not text"):
        read_sft_data(tmp_path / "d.json")
