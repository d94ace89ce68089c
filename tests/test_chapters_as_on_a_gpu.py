"""Chapters that train, from their first cell to their last, computed as on a GPU: 16-bit products,
static caches, compiled decoding, checkpointed layers, batches in passes. Short runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbformat")
pytest.importorskip("jupytext")

ROOT = Path(__file__).parents[1]
SMALL = {
    "name": "tiny",
    "together": 8,
    "tflop": 0.04,
    "eval_episodes": 10,
    "sft": {"hands": 24, "batch": 8},
    "rl": {"problems": 4, "samples": 4, "minibatch": 8},
}
RUN = """
import sys, importlib.util
from nbclient import NotebookClient
from pathlib import Path
spec = importlib.util.spec_from_file_location("build", "notebooks/build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
(source,) = Path("notebooks/source").glob(sys.argv[1] + "_*.py")
where = {"metadata": {"path": "notebooks"}}
NotebookClient(build.convert(source), timeout=900, kernel_name="python3", resources=where).execute()
"""


def walk(number: str, scale: dict, pretended: str, runs: Path) -> None:
    """Execute a chapter's source; its runs go to a folder of their own."""
    where = [str(ROOT / "tests" / "small_scale"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    told = dict(PYTHONPATH=os.pathsep.join(where), SFTRL_TEST_SCALE=json.dumps(scale))
    told |= dict(SFTRL_PRETEND_GPU=pretended, SFTRL_SCALE=scale["name"], OMP_NUM_THREADS="1")
    before = set(runs.glob("*")) if runs.exists() else set()
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN, number],
            cwd=ROOT,
            env=os.environ | told,
            capture_output=True,
            text=True,
        )
    finally:
        for folder in (set(runs.glob("*")) if runs.exists() else set()) - before:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("number, pretended", [("04", "bf16")])
def test_a_chapter_runs_on_a_gpu(number, pretended):
    walk(number, SMALL, pretended, ROOT / "runs" / f"chapter-{int(number)}")
