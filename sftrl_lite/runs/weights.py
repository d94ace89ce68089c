"""The weights that a run starts from."""

from __future__ import annotations

from transformers import PreTrainedModel

from sftrl_lite.models import adapters
from sftrl_lite.models.loading import load
from sftrl_lite.models.vision import Processor
from sftrl_lite.runs.run_config import Run
from sftrl_lite.training import distributed


def load_init(run: Run) -> tuple[PreTrainedModel, Processor]:
    """What a run starts from, made ready for what the run trains."""
    scale = run.scale
    return load(
        run.base,
        run.adapter or scale.adapter,
        vision=run.vision or scale.vision,
        tiles=run.max_image_tiles,
        dummy=run.load_format == "dummy",
        seed=run.seed,
    )


def init_of(run: Run, model: PreTrainedModel) -> PreTrainedModel:
    """What ``model`` was before training, to compare with: nothing has trained it yet.

    An adapter has it inside. Else it is loaded once more, or where the model will be split copied
    to main memory.
    """
    if adapters.adapter_names(model):
        return adapters.reference_model(model)
    return distributed.init_of(model) if distributed.sharding() else load_init(run)[0].eval()
