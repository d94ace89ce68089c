import sys

if sys.version_info < (3, 11):  # noqa: UP036 (a clone beside a notebook meets any kernel)
    raise ImportError(f"sftrl_lite needs Python 3.11 or newer, this kernel has {sys.version[:6]}")
