"""Decoding compiled as a GPU's is, by inductor, where a C++ compiler stands in for Triton."""

import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch._inductor.config as inductor

from sftrl_lite.models import precision
from sftrl_lite.training import rollouts, static_decoding
from sftrl_lite.training.rollouts import rollout

HEADERS = Path(sysconfig.get_path("include")) / "Python.h"


@pytest.mark.skipif(
    not (HEADERS.exists() and any(map(shutil.which, ("c++", "g++", "clang++")))),
    reason="inductor needs a C++ compiler and Python's headers",
)
def test_inductor_decodes_as_torch_does(
    random_model, tokenizer, length_task, hands, monkeypatch, tmp_path
):
    """The options are those of a GPU; products stay in float32, so that answers are the same."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # else a second run compiles none
    monkeypatch.setattr(inductor, "compile_threads", 1)
    with monkeypatch.context() as pretended:
        pretended.setattr(torch.cuda, "is_available", lambda: True)
        pretended.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
        pretended.setattr(precision, "has_triton_package", lambda: True)
        options = precision.hardware().compiler
    assert options["mode"] == "reduce-overhead"
    as_gpu = replace(precision.hardware(), gpu=True, compiler=options)
    asked = dict(samples=2, tries=2, temperature=0, max_new_tokens=5)
    expected = rollout(random_model, tokenizer, length_task, hands[:2], **asked)
    for module in rollouts, static_decoding:
        monkeypatch.setattr(module, "hardware", lambda: as_gpu)
    torch._dynamo.reset()
    torch._inductor.metrics.reset()
    found = rollout(random_model, tokenizer, length_task, hands[:2], **asked)
    assert torch._inductor.metrics.generated_kernel_count > 0
    assert [episode.ids for episode in found] == [episode.ids for episode in expected]
    for one, two in zip(found, expected, strict=True):
        for a, b in zip(one.turns, two.turns, strict=True):
            assert a.logps == pytest.approx(b.logps, abs=1e-4)
