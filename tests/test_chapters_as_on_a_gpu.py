"""Chapters from their first cell to their last at a scale for GPUs, computed as on one: 16-bit
products, static caches, checkpointed layers, batches in passes. The weights are made up.

``make test`` walks chapters 4 and 6 at ``full``. ``pytest -m gpu_walk`` walks the others as well,
and all chapters with every code cell run twice, which has to give the same output again.
Compiling takes most of the time of a model that is this small, so decoding is not compiled here:
it is in ``test_matrix.py`` and ``test_rollouts.py``.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_reader, make_seeing, make_smol, shrink
from transformers import MllamaForConditionalGeneration

from sftrl_lite.models import loading
from sftrl_lite.models.tiny import make_processor, make_tokenizer, tiny_config
from sftrl_lite.runs.recorder import train_hands
from sftrl_lite.scales import SFTSettings, get_scale
from sftrl_lite.tasks import general_points, street_answers
from sftrl_lite.tasks.registry import TASKS, make_task
from sftrl_lite.training.sft import train_sft
from sftrl_lite.training.sft_examples import training_rows

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")

ROOT = Path(__file__).parents[1]
SMALL = {
    "ready": True,  # the made-up weights are the Init
    "together": 8,
    "rows": 2,
    "tflop": 0.0006,
    "computes": [],
    "picture": 80,
    "eval_episodes": 5,
    "sft": {"hands": 8, "batch": 4},
    "rl": {"problems": 2, "minibatch": 4, "epochs": 2, "tries": 2, "max_new_tokens": 28}
    | {"temperature": 1.0},  # at 0.2 the answers to a hand would all be the same
}
RUN = """
import copy, importlib.util, json, os, sys
import nbformat
from nbclient import NotebookClient
from pathlib import Path
spec = importlib.util.spec_from_file_location("build", "notebooks/build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
(source,) = Path("notebooks/source").glob(sys.argv[1] + "_*.py")
where = {"metadata": {"path": "notebooks"}}
chapter = build.convert(source)
if sys.argv[3:]:  # where the chapter goes whose code cells are run twice in a row
    code = [cell for cell in chapter.cells if cell.cell_type == "code"]
    chapter.cells = [copy.deepcopy(cell) for cell in code for _ in range(2)]
    for cell in chapter.cells[1::2]:
        cell.id += "-again"
os.environ |= json.loads(sys.argv[2])  # for the kernel: to this process it would be slow imports
how = dict(timeout=1800, startup_timeout=600, kernel_name="python3", resources=where)
NotebookClient(chapter, **how).execute()
if sys.argv[3:]:
    nbformat.write(chapter, sys.argv[3])
"""
MEMORISED = ("04", "06")  # for these a model that has memorised some hands is enough; it is quick
MODELS = 2  # of 11B that live in a process at once: 40 GiB, beside what a run needs


def made_up(task, folder):
    """A small Mllama that has memorised answers to half of the training hands, and no others."""
    judge = make_task(task, "train", replace(get_scale("tiny"), picture=SMALL["picture"]))
    pictured = task.endswith("-vl")
    words = make_tokenizer(general_points.vocabulary(pictures=pictured), pictures=pictured)
    reader = make_processor(words, 40) if pictured else words
    torch.manual_seed(0)
    small = shrink(tiny_config(len(words) - pictured, 40))
    model = make_seeing(reader) if pictured else MllamaForConditionalGeneration(small)
    known = train_hands(judge, SMALL["sft"]["hands"], 0)[::2]
    data, pixels = training_rows(reader, judge, known)
    how = SFTSettings(lr=1e-2, batch=len(known), hands=len(known))
    train_sft(model, words, data, how, folder, 0, steps=30, progress=False, pixels=pixels)
    return model, reader


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The base of each scale, in bfloat16 as the real ones: at ``full`` small models that were
    made for this where they do (chapters about cards alone), or the tiny bases; a random SmolVLM.
    """
    folder = tmp_path_factory.mktemp("weights")
    for task in TASKS:
        model, processor = loading.load(f"data/tiny-{task}")
        loading.save(model.to(torch.bfloat16), processor, folder / "bases" / f"tiny-{task}")
        if task.startswith("gp-"):
            model, processor = made_up(task, folder)
            loading.save(model.to(torch.bfloat16), processor, folder / f"tiny-{task}")
    reader = make_reader(general_points.vocabulary(pictures=True) + street_answers.vocabulary())
    loading.save(make_smol(reader).to(torch.bfloat16), reader, folder / "smol")
    full, bases = (str(place / "tiny-gp-l") for place in (folder, folder / "bases"))
    return {"full": full, "bases": bases, "t4": str(folder / "smol")}


def walk(number: str, scale: str, base: str, folder: Path, twice: str = "") -> list[dict]:
    """Execute a chapter's source in a copy of the course; what took a GPU's memory, in order.

    With ``twice`` each code cell is run two times in a row, and the file of that name holds it.
    """
    course, log = folder / "course", folder / "log.jsonl"
    course.mkdir()
    shutil.copytree(ROOT / "sftrl_lite", course / "sftrl_lite")  # says where runs are kept
    for name in ("data", "notebooks", "results", "pyproject.toml"):
        (course / name).symlink_to(ROOT / name)
    log.touch()
    where = [str(ROOT / "tests" / "small_scale"), str(course), os.environ.get("PYTHONPATH", "")]
    told = dict(PYTHONPATH=os.pathsep.join(where), SFTRL_TEST_LOG=str(log), SFTRL_SCALE=scale)
    small = SMALL | ({} if number in MEMORISED else {"sft": {"hands": 24, "batch": 4}})
    told |= dict(SFTRL_TEST_SCALE=json.dumps(small | {"name": scale, "base": base}))
    told |= dict(SFTRL_PRETEND_GPU={"full": "bf16", "t4": "fp16"}[scale], OMP_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", RUN, number, json.dumps(told), *([twice] if twice else [])],
        cwd=course,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in log.read_text().splitlines()]


def check(seen: list[dict]) -> None:
    """One run at a time on a card, adapters alone are trained, and few models lie beside a run."""
    under_way = 0
    for line in seen:
        under_way += {"begin": 1, "end": -1}.get(line["event"], 0)
        assert under_way <= 1, f"two runs at once: {line}"
        assert line.get("base_weights", 0) == 0, f"trained without an adapter: {line}"
        assert line["living"] <= MODELS, f"too many models in memory: {line}"


CHAPTERS = [f"{number:02}" for number in range(14)]
OTHERS = [number for number in CHAPTERS if number not in MEMORISED]


@pytest.mark.parametrize("number", MEMORISED)
def test_a_chapter_runs_on_a_gpu(number, weights, tmp_path):
    seen = walk(number, "full", weights["full"], tmp_path)
    assert {"load", "rl", "begin", "end"} <= {line["event"] for line in seen}
    check(seen)


@pytest.mark.gpu_walk
@pytest.mark.parametrize("number", OTHERS)
def test_every_other_chapter_runs_on_a_gpu(number, weights, tmp_path):
    seen = walk(number, "full", weights["bases"], tmp_path)
    # chapter 9 trains the tiny base at every scale, all of its weights
    check([line for line in seen if number != "09" or line["event"] not in ("sft", "rl")])


@pytest.mark.gpu_walk
@pytest.mark.parametrize("number", MEMORISED)
def test_a_chapter_runs_on_a_t4(number, weights, tmp_path):
    check(walk(number, "t4", weights["t4"], tmp_path))


def said(cell: dict) -> str:
    """What a cell printed and showed, without progress bars, warnings and pictures."""
    found = ["".join(o["text"] for o in cell["outputs"] if o.get("name") == "stdout")]
    for output in cell["outputs"]:
        shown = output.get("data", {})
        bar = "application/vnd.jupyter.widget-view+json" in shown
        found += [
            shown[kind] for kind in ("text/markdown", "text/html") if kind in shown and not bar
        ]
        if "text/plain" in shown and len(shown) == 1:
            found.append(shown["text/plain"])
    return re.sub(
        r" at 0x[0-9a-f]+|id=\"[^\"]*\"|[0-9.]+ (m?s|min|minutes)\b", "", "\n".join(found)
    )


@pytest.mark.gpu_walk
@pytest.mark.parametrize("number", CHAPTERS)
def test_a_cell_that_is_run_twice_says_the_same_again(number, weights, tmp_path):
    done = tmp_path / "twice.ipynb"
    base = weights["full" if number in MEMORISED else "bases"]
    walk(number, "full", base, tmp_path, twice=str(done))
    cells = nbformat.read(done, 4).cells
    assert len(cells) > 10
    for first, again in zip(cells[::2], cells[1::2], strict=True):
        assert first.source == again.source
        assert said(first) == said(again), first.source


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([dict(event="begin", living=1), dict(event="begin", living=1)], "two runs at once"),
        ([dict(event="sft", living=1, base_weights=3)], "without an adapter"),
        ([dict(event="load", living=MODELS + 1)], "too many models"),
    ],
)
def test_what_a_card_cannot_hold_is_noticed(seen, says):
    with pytest.raises(AssertionError, match=says):
        check(seen)
