"""transformers, trl and peft still have the names and keywords that the course uses.

Libraries rename things; then this test says what, before a learner meets a TypeError.
``make drift`` runs it, among others, with the oldest and the newest supported versions.
"""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from sftrl_lite.models.tiny import tiny_config
from sftrl_lite.training.decoding import name_of_cache
from sftrl_lite.training.forward import pack, policy
from sftrl_lite.training.rollouts import rollout

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sftrl_lite").rglob("*.py")) + sorted(
    (ROOT / "notebooks/source").glob("*.py")
)
LIBRARIES = ("transformers", "trl", "peft")


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or of attributes of a name; an empty string for anything else."""
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) else ""


def uses(code: str) -> tuple[set[str], set[tuple[str, str]]]:
    """What a text takes from the libraries.

    Returns:
        full names, such as ``trl.SFTConfig``, and pairs of a full name and a keyword that it
        is called with.
    """
    lines = [line for line in code.splitlines() if not line.startswith(("%", "!"))]
    nodes = list(ast.walk(ast.parse("\n".join(lines))))
    known: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            known |= {a.asname or a.name: a.name for a in node.names if is_ours(a.name)}
        elif isinstance(node, ast.ImportFrom) and is_ours(node.module or ""):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}

    def full(node: ast.expr) -> str:
        first, dot, rest = dotted(node).partition(".")
        return f"{known[first]}{dot}{rest}" if first in known else ""

    names = {full(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute)}
    boxes = {}  # of keywords, that a call may open: box = dict(a=1); f(**box)
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            name = node.targets[0] if isinstance(node, ast.Assign) else node.target
            made = isinstance(node.value, ast.Call) and dotted(node.value.func) == "dict"
            if isinstance(name, ast.Name) and made:
                boxes[name.id] = node.value.keywords
    calls = set()
    for node in nodes:
        if isinstance(node, ast.Call) and full(node.func):
            for word in node.keywords:
                inside = [word] if word.arg else boxes.get(dotted(word.value), [])
                calls |= {(full(node.func), w.arg) for w in inside if w.arg}
    return (names | set(known.values())) - {""}, calls


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES


def find(name: str) -> object:
    """The thing that a full name names.

    Raises:
        AttributeError, ImportError: there is no such thing.
    """
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise ImportError(name)


def takes(thing: object, keyword: str) -> bool:
    """Whether a call of ``thing`` knows the keyword; model configurations swallow any."""
    found = inspect.signature(thing).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in found.values())
    return keyword in found or open_ended or hasattr(thing, "model_type")


NAMES, CALLS = (
    sorted(set().union(*part)) for part in zip(*(uses(f.read_text()) for f in FILES), strict=True)
)


@pytest.mark.parametrize("name", NAMES)
def test_name_exists(name):
    assert find(name) is not None


@pytest.mark.parametrize("name, keyword", CALLS)
def test_keyword_exists(name, keyword):
    assert takes(find(name), keyword), f"{name} does not know {keyword}"


def test_configuration_is_understood():
    """A model configuration keeps a field that it does not know, and nothing comes of it."""
    config = tiny_config(100, picture=80)
    for ours in (config.text_config, config.vision_config):
        assert set(vars(ours)) <= set(vars(type(ours)()))


@pytest.mark.filterwarnings("error::FutureWarning")
def test_nothing_is_called_by_a_name_that_will_go(random_model, tokenizer, length_task, hands):
    """Answers with a cache, and a forward pass with gradients."""
    for static in (False, True):
        played = rollout(random_model, tokenizer, length_task, hands, tries=2, static=static)
    logps, *_ = policy(random_model, pack(played, 0, random_model.device))
    logps.sum().backward()
    random_model.zero_grad(set_to_none=True)


def test_a_model_gets_its_cache_by_the_name_that_it_knows():
    class Old:
        def forward(self, input_ids=None, past_key_values=None):
            """As up to transformers 5.23."""

    class New:
        def forward(self, input_ids=None, cache=None):
            """As from 5.24 on."""

    assert name_of_cache(Old()) == "past_key_values" and name_of_cache(New()) == "cache"


def test_the_course_uses_both_trainers():
    assert {"trl.SFTTrainer", "trl.SFTConfig", "trl.GRPOTrainer", "trl.GRPOConfig"} <= set(NAMES)
    assert ("trl.SFTConfig", "max_steps") in CALLS and ("trl.GRPOConfig", "scale_rewards") in CALLS


def test_drift_is_found():
    text = "import trl\nfrom trl import SFTConfig as C\nbox = dict(max_seq_length=3)\n"
    names, calls = uses(text + "trl.Gone(C(**box))")
    assert names == {"trl", "trl.Gone", "trl.SFTConfig"}
    assert calls == {("trl.SFTConfig", "max_seq_length")}
    assert not takes(find("trl.SFTConfig"), "max_seq_length")  # renamed in 2025
    assert takes(find("trl.SFTConfig"), "max_length")
    with pytest.raises(AttributeError):
        find("trl.Gone")
