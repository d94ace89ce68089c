"""Chapter 0 in JupyterLab, in a real browser: ``make browser``.

Needs the extra ``browser`` (Playwright) and a Chromium, which is searched in the path or named
by ``CHROMIUM``. Screenshots go to the folder ``SFTRL_SHOTS``, if that is set.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
CHAPTER = Path(re.search(r"^CHAPTER_0 := (.+)$", MAKEFILE, re.MULTILINE)[1])
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
FLAGS += " --disable-background-networking --disable-component-update --disable-sync"
MINUTE = 60_000  # Playwright counts milliseconds


def find_chromium() -> str:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), "")


def copy(folder: Path, name: str, keep_outputs: bool) -> None:
    """Chapter 0 as another file of ``folder``, with or without what is stored in it."""
    notebook = nbformat.read(ROOT / CHAPTER, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and not keep_outputs:
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / name)


WIDGETS = {  # cells of a notebook of their own, each with less to train than in its chapter
    "temperature": """
from sftrl_lite.course.temperatures import temperature_slider
from sftrl_lite.results import report
table = report.recorded("headline")
temperature_slider(table[table["scale"] == "tiny"])""",
    "playground": """
from functools import partial
from sftrl_lite.course import playground_view
playground_view.train = partial(playground_view.train, steps=4, tests=10)
playground_view.playground()""",
    "monitor": """
from pathlib import Path
from sftrl_lite.course.monitor import train_and_watch
from sftrl_lite.runs.run_config import Run
few = dict(points=1, eval_episodes=2, final_episodes=2, curve_episodes=0, pass_samples=0)
rl = dict(problems=2, samples=2, minibatch=2, tries=2)
runs = {"sft": Run("sft", steps=10, **few), "rl-ppo": Run("rl-ppo", steps=2, **rl, **few)}
_ = train_and_watch(runs, Path("watched"))""",
}


def write_widgets(path: Path) -> None:
    cells = map(nbformat.v4.new_code_cell, map(str.strip, WIDGETS.values()))
    title = nbformat.v4.new_markdown_cell("# Widgets")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[title, *cells], metadata=kernel), path)


@pytest.fixture(scope="module")
def browser_parts():
    """Playwright and the path of a Chromium; skips where one of them is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: the extra browser")
    if not (chromium := find_chromium()):
        pytest.skip("no Chromium in the path; CHROMIUM=... names one")
    return api, chromium


@pytest.fixture(scope="module")
def lab(browser_parts, tmp_path_factory):
    """The server that ``make lab`` starts, on a free port and a copy; its address."""
    assert "-m jupyterlab $(CHAPTER_0)" in MAKEFILE
    folder, own = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("lab")
    copy(folder, "fresh.ipynb", keep_outputs=False)
    copy(folder, "stored.ipynb", keep_outputs=True)
    write_widgets(folder / "widgets.ipynb")
    no_news = own / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    no_news.parent.mkdir(parents=True)
    no_news.write_text('{"fetchNews": "false"}')  # otherwise a box asks for it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "fresh.ipynb", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--IdentityProvider.token="]
    env = {k: v for k, v in os.environ.items() if k != "SFTRL_STATIC"}
    env |= {"SFTRL_SCALE": "tiny", "JUPYTER_CONFIG_DIR": str(own / "config")}
    env |= {f"JUPYTERLAB_{x.upper()}_DIR": str(own / x) for x in ("settings", "workspaces")}
    with (own / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield wait_for(f"http://127.0.0.1:{port}", server, own / "log")
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> str:
    until = time.time() + 120
    while time.time() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5)
            return address
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"JupyterLab does not answer:\n{log.read_text(encoding='utf-8')[-2000:]}")


@pytest.fixture
def page(browser_parts, lab):
    api, chromium = browser_parts
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(2 * MINUTE)
        yield page
        browser.close()


@pytest.fixture
def shot(page, tmp_path):
    """Saves what the page shows under a name."""
    folder = Path(os.environ.get("SFTRL_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: page.screenshot(path=folder / f"{name}.png")


FIGURE = 'img[alt^="Hands solved within five tries"]'


def open_notebook(page, lab: str, name: str, title: str = "0. The result in five minutes") -> None:
    page.goto(f"{lab}/lab/tree/{name}?reset")
    page.get_by_role("heading", name=title).wait_for()


def run_all(page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def test_shows_its_results_without_a_run(page, lab, shot):
    open_notebook(page, lab, "stored.ipynb")
    still = page.locator('img[alt^="After 100 % of the training"]')
    still.scroll_into_view_if_needed()
    assert still.evaluate("image => image.complete && image.naturalWidth") > 400
    assert page.locator("table", has_text="of its training").count() == 1
    assert page.locator(FIGURE).count() > 0
    shot("stored")


def test_runs_shows_its_figure_and_moves_its_widget(page, lab, shot):
    open_notebook(page, lab, "fresh.ipynb")
    shot("opened")
    figure = page.locator(FIGURE)
    assert figure.count() == 0
    run_all(page)
    figure.first.wait_for(timeout=25 * MINUTE)  # the training, on a busy machine
    figure.first.scroll_into_view_if_needed()
    shot("figure")

    slider = page.get_by_role("slider")
    slider.wait_for()
    slider.evaluate("handle => handle.scrollIntoView({block: 'center'})")
    page.locator('img[alt^="After 0 % of the training"]').wait_for()
    shot("widget")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.locator('img[alt^="After "]:not([alt^="After 0 %"])').wait_for()
    page.keyboard.press("End")
    page.locator('img[alt^="After 100 % of the training"]').wait_for()
    shot("widget-moved")
    assert page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0


def test_widgets_to_watch_and_feel_answer(page, lab, shot):
    open_notebook(page, lab, "widgets.ipynb", "Widgets")
    run_all(page)
    watched = page.locator('img[alt^="Training so far, SFT at step 10 and RL (PPO) at step 2"]')
    watched.wait_for(timeout=10 * MINUTE)  # the last cell: then all others are done
    assert page.locator("td", has_text="5*7-9-2").count() > 0  # an answer, hand by hand
    watched.scroll_into_view_if_needed()
    shot("monitor")

    temperature = page.get_by_role("slider").first
    temperature.evaluate("handle => handle.scrollIntoView({block: 'center'})")
    temperature.focus()
    page.keyboard.press("Home")
    page.locator('img[alt^="Greedy decoding, fresh hands, shifted rule"]').wait_for()
    page.get_by_role("button", name="trained rule").click()
    page.locator('img[alt^="Greedy decoding, fresh hands, trained rule"]').wait_for()
    shot("temperature")

    button = page.get_by_role("button", name="Train", exact=True)
    button.scroll_into_view_if_needed()
    button.click()
    page.locator("p", has_text="After step 4: ").last.wait_for(timeout=5 * MINUTE)
    button.wait_for()  # ready again
    shot("playground")
    assert page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0
