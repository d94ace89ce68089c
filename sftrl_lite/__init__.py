"""SFT memorises, RL generalises: the course's package, by rooms."""

import logging
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 (a clone beside a notebook meets any kernel)
    raise ImportError(f"sftrl_lite needs Python 3.11 or newer, this kernel has {sys.version[:6]}")
if not Path(__file__).resolve().parents[1].joinpath("pyproject.toml").is_file():
    raise ImportError(
        "sftrl_lite is installed without what lies beside it: results, tiny models, cities. "
        "In a clone of the repository: pip install -e ."
    )

# Says on every import that a CPU has no fast four-bit product; the slow one serves the tests.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
