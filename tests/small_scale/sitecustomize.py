"""Makes a row of the scale table small in every process that finds this folder in PYTHONPATH.

Python imports a module of this name when it starts, so kernels of notebooks and the processes
that they start see the same row. ``SFTRL_TEST_SCALE`` is JSON: fields of the row, with those of
its ``sft`` and ``rl`` as objects, and ``together``, the episodes in a group on a GPU. Decoding is
not compiled, and random weights may begin RL.

``SFTRL_TEST_LOG`` is a file that gets a line of JSON for each thing that takes a GPU's memory: a
model that is loaded, with how many live in that process then; what trains, with its number of
weights of the base among them; the beginning and the end of a run.
"""

import gc
import json
import os
import sys
import time
import weakref
from dataclasses import replace
from functools import wraps

try:
    helper = "resource_tracker" in " ".join(sys.orig_argv)  # a process that computes nothing
    if not helper and (wanted := os.environ.get("SFTRL_TEST_SCALE")):
        from sftrl_lite import scales
        from sftrl_lite.training import rollouts, static_decoding

        fields = json.loads(wanted)
        name = fields.pop("name")
        rollouts.TOGETHER = fields.pop("together", rollouts.TOGETHER)
        scales.ROWS = fields.pop("rows", scales.ROWS)
        static_decoding.compiled = lambda model: type(model).forward
        row = scales.SCALES[name]
        parts = {key: replace(getattr(row, key), **fields.pop(key, {})) for key in ("sft", "rl")}
        fields = {key: tuple(x) if isinstance(x, list) else x for key, x in fields.items()}
        scales.SCALES[name] = replace(row, **fields, **parts)  # which is a key of tables

    if not helper and (place := os.environ.get("SFTRL_TEST_LOG")):
        from sftrl_lite.models import loading
        from sftrl_lite.training import sft, updates

        living = weakref.WeakSet()

        def note(event, **more):
            gc.collect()
            line = dict(event=event, process=os.getpid(), time=time.time(), living=len(living))
            with open(place, "a", encoding="utf-8") as file:
                file.write(json.dumps(line | more) + "\n")

        def noted(module, function, event):
            """Let a function that trains its first argument write down what of it trains."""
            inner = getattr(module, function)

            @wraps(inner)
            def outer(model, *args, **options):
                own = [
                    n for n, w in model.named_parameters() if w.requires_grad and "lora_" not in n
                ]
                note(event, base_weights=len(own))
                return inner(model, *args, **options)

            setattr(module, function, outer)

        weights = loading._weights

        def loaded(*args):
            model = weights(*args)
            living.add(model)
            note("load")
            return model

        loading._weights = loaded
        noted(updates, "new_learner", "rl")
        noted(sft, "train_sft", "sft")

        from sftrl_lite.runs import checks, execute  # takes the functions above by name

        checks.READABLE = 0.0
        inner_run = execute._train

        def run(*args):
            note("begin")
            inner_run(*args)
            note("end")

        execute._train = run
except Exception as error:  # Python would go on without what is set here
    raise SystemExit(f"sitecustomize: {error!r}") from error
