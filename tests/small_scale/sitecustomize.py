"""Makes a row of the scale table small in every process that finds this folder in PYTHONPATH.

Python imports a module of this name when it starts, so kernels of notebooks and the processes
that they start see the same row. ``SFTRL_TEST_SCALE`` is JSON: fields of the row, with those of
its ``sft`` and ``rl`` as objects, and ``together``, the episodes in a group on a GPU.
"""

import json
import os
from dataclasses import replace

if wanted := os.environ.get("SFTRL_TEST_SCALE"):
    from sftrl_lite import rollouts, scales

    fields = json.loads(wanted)
    name = fields.pop("name")
    rollouts.TOGETHER = fields.pop("together", rollouts.TOGETHER)
    row = scales.SCALES[name]
    parts = {key: replace(getattr(row, key), **fields.pop(key, {})) for key in ("sft", "rl")}
    scales.SCALES[name] = replace(row, **fields, **parts)
