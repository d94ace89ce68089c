"""SFT memorises, RL generalises: the course's package, by rooms."""

import logging
import sys

if sys.version_info < (3, 11):  # noqa: UP036 (a clone beside a notebook meets any kernel)
    raise ImportError(f"sftrl_lite needs Python 3.11 or newer, this kernel has {sys.version[:6]}")

# Says on every import that a CPU has no fast four-bit product; the slow one serves the tests.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
