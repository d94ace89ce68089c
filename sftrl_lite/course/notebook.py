"""What every chapter's first cell needs: set-up, exercises, captions, figures."""

from __future__ import annotations

import _thread
import base64
import html
import io
import os
import platform
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
import transformers
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from PIL import Image

from sftrl_lite.models.precision import device, hardware, precision
from sftrl_lite.pictures import open_picture
from sftrl_lite.results.plots import STYLE
from sftrl_lite.scales import Scale, get_scale
from sftrl_lite.seeds import seed_all


def setup(seed: int = 0, task: str = "gp-l") -> Scale:
    """Seed everything, put on the house style, say what the chapter runs on.

    Args:
        task: whose base the chapter starts from, named in what is printed.

    Returns:
        the row of the scale table that ``SFTRL_SCALE`` names (``tiny`` if unset), its runs as
        short as ``SFTRL_SHARE`` says.

    Raises:
        ValueError: no such row or share.
        RuntimeError: a row for GPUs, and there is none; pictures for a row of text.
    """
    scale, share = get_scale(), live_share()
    if share < 1:
        scale = shortened(scale, share)
    if scale.memory and not hardware().gpu:
        raise RuntimeError(f"{scale.name} needs a CUDA GPU and none was found; unset SFTRL_SCALE")
    if task.endswith("-vl") and not scale.picture:
        wrong = f"this chapter shows pictures, and the model of scale {scale.name} reads text only"
        raise RuntimeError(f"{wrong}; unset SFTRL_SCALE")
    seed_all(seed)
    plt.style.use(STYLE)
    plt.switch_backend(plt.get_backend())  # loading it later would undo the next line
    plt.ioff()  # figures appear through figure(), once and with their alt text
    if not scale.memory:
        torch.set_num_threads(1)  # as in runs: with more, sums are taken in another order
    transformers.utils.logging.set_verbosity_error()
    name = torch.cuda.get_device_name() if device().type == "cuda" else "CPU"
    print(f"python {platform.python_version()} · torch {torch.__version__} · ", end="")
    print(f"transformers {transformers.__version__}")
    print(f"device {device()} ({name}) · {precision()[1]}")
    short = f" · live runs at {share:.0%} of their compute" if share < 1 else ""
    print(f"scale {scale.name} (base {scale.base_for(task)}) · seed {seed}{short}")
    return scale


def live_share() -> float:
    """The share of its compute that a live run takes, from ``SFTRL_SHARE``; 1 if unset.

    Raises:
        ValueError: it is no share.
    """
    text = os.environ.get("SFTRL_SHARE") or "1"
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"SFTRL_SHARE is {text!r}; it is a number above 0 and at most 1")
    return share


def shortened(scale: Scale, share: float) -> Scale:
    """A row whose runs take a share of their compute and of their evaluation problems.

    For machines that are slow, and for tests of the chapters; what is recorded takes all.
    """
    return replace(
        scale,
        tflop=share * scale.tflop,
        computes=tuple((task, share * tflop) for task, tflop in scale.computes),
        eval_episodes=max(10, round(share * scale.eval_episodes)),
    )


@contextmanager
def exercise(name: str, seconds: float = 60.0) -> Iterator[None]:
    """Run an exercise's checks; report the outcome in one line and let the chapter go on.

    What gets a line: a stub's ``NotImplementedError``, a failed ``assert``, an answer of a type or
    shape that the checks cannot use, and one that never ends. Errors inside the answer itself are
    raised: their traceback says more than a line could.

    Args:
        name: chapter and number, such as ``"1.2"``.
        seconds: how long the checks may run. Elsewhere than in the main thread of a process (there
            a kernel executes its cells) nothing is stopped.
    """
    wrong = f"Exercise {name}: not right yet. "
    late = threading.Event()

    def stop() -> None:
        late.set()
        _thread.interrupt_main()

    clock = threading.Timer(seconds, stop)
    clock.daemon = True
    if threading.current_thread() is threading.main_thread():
        clock.start()
    try:
        yield
        clock.cancel()
    except NotImplementedError:
        print(f"Exercise {name}: not done yet.")
    except AssertionError as error:
        print(wrong + (" ".join(str(error).split()) or "a check failed"))
    except KeyboardInterrupt:
        if not late.is_set():
            raise
        print(f"{wrong}It ran for more than {seconds:g} seconds and was stopped: does a loop end?")
    except RecursionError:
        print(f"{wrong}A function calls itself without end: when does it stop?")
    except UNUSABLE as error:
        if in_answer(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"{wrong}Its type or shape is not the one of the docstring ({reason}).")
    else:
        print(f"Exercise {name}: passed.")
    finally:
        clock.cancel()


# What a check raises that was given something else than the docstring promised.
UNUSABLE = (TypeError, AttributeError, ValueError, LookupError, RuntimeError)


def in_answer(error: BaseException) -> bool:
    """Whether an error arose in the answer (a function of another cell), not in a check on it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    cell = frames[1]  # frames[0] is ``exercise`` itself
    return any(
        frame.f_globals is cell.f_globals and frame.f_code.co_filename != cell.f_code.co_filename
        for frame in frames[2:]
    )


def show(text: str) -> None:
    """Display Markdown: a sentence whose numbers were computed a line before."""
    display(Markdown(text))


def figure(fig: Figure, alt: str) -> None:
    """Display a figure with a text for readers who cannot see it, then close it.

    The alternative text is in the page itself (HTML) and in the metadata of the
    image, where nbconvert looks for it.

    Raises:
        ValueError: the text is too short to describe a figure.
    """
    if len(alt.split()) < 5:
        raise ValueError(f"an alt text says what the figure shows, not {alt!r}")
    kind, data = embed(picture(fig))
    source = f"data:{kind};base64,{data}"
    page = f'<img alt="{html.escape(alt)}" src="{source}" style="max-width:100%">'
    display(
        {"text/html": page, kind: data, "text/plain": alt}, raw=True, metadata={kind: {"alt": alt}}
    )


def picture(fig: Figure) -> Image.Image:
    """A figure as a picture, in 256 colours where it is drawn in few; the figure is closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    plt.close(fig)
    return in_few_colours(open_picture(buffer))


def in_few_colours(picture: Image.Image) -> Image.Image:
    """A drawing with a palette, which takes a third of the bytes; a photograph as it is."""
    picture = picture.convert("RGB")
    return picture.quantize(256) if picture.getcolors(2**13) else picture


def embed(picture: Image.Image) -> tuple[str, str]:
    """A picture as text for a page: its MIME type and its bytes in base64.

    PNG, exact to the pixel; but JPEG where that is under half the size, as for
    noisy photographs: a chapter with dozens of them must still open quickly.
    """
    exact, small = io.BytesIO(), io.BytesIO()
    picture = picture if picture.mode == "P" else picture.convert("RGB")
    picture.save(exact, format="png", optimize=True)
    picture.convert("RGB").save(small, format="jpeg", quality=60)
    shrunk = len(small.getvalue()) < len(exact.getvalue()) / 2
    kind, chosen = ("image/jpeg", small) if shrunk else ("image/png", exact)
    return kind, base64.b64encode(chosen.getvalue()).decode()
