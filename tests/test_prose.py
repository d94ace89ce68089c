"""The house's words: phrases that sound translated, and what the field says instead."""

import ast
import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks/source").glob("[0-9]*.py"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("slides/*.md")]
PAGES += [ROOT / "results/README.md"]
MODULES = sorted((ROOT / "sftrl_lite").rglob("*.py"))

EACH = (
    r"\b(nats|perplexity|rows?|lines?|panels?|bytes|bits|hands|answers|episodes|tokens|calls?|one)"
    r" an? (answer|token|step|hand|seed|panel|split|weight|row|line|method|problem|run|update)\b"
)
NOT_THAT_BUT_THIS = [  # a sample of what is found, the pattern that finds its kind, what to say
    ("by imitation and by trial", r"imitation and by trial", "by SFT and by RL"),
    ("Much of that is choosing", r"that is choosing", "most of the gain is sharpening"),
    ("RL that is paid by a coin", r"paid (by|at) (an? |fair )*(coin|random)", "random rewards"),
    ("a fair coin pays", r"\bcoin pays\b", "rewards are random"),
    ("in the base's own words", r"in the base's own words", "in the base model's own style"),
    ("is read to from a corpus", r"\bread to from\b", "is pre-trained on a corpus"),
    ("the two speak with one mouth", r"with one mouth", "the model mixes both behaviours"),
    ("tells wear from anchoring", r"\btells (?:\w+ ){1,6}from\b", "separates wear from"),
    ("GRPO's expectation", r"\b(PPO|GRPO)'s expectation", "GRPO's baseline"),
    ("makes up its mind", r"\bmak(es?|ing) up its mind", "becomes more deterministic"),
    ("RL has moved chances", r"\bchances\b", "probabilities"),
    ("solved with chance 0.9", r"\b(with|all|source of) chance\b", "with probability"),
    ("the chance that it is right", r"\bthe chance (of|that)\b", "the probability that"),
    ("than from a bare no", r"\bbare no\b", "binary feedback"),
    ("learns from silence", r"\bfrom silence\b", "without feedback"),
    ("a route is a rail", r"\bis a rail\b", "a teacher-forced trajectory"),
    ("three currencies", r"\bcurrenc(y|ies)\b", "cost measures"),
    ("The bill", r"\bthe bill\b", "the cost; KL spent per gain"),
    ("A leash keeps", r"\bleash", "the KL penalty prevents forgetting"),
    ("who picks the announced words", r"announced words", "the prompt's action vocabulary"),
    ("Init foretells it", r"\bforet(ell|old)", "predicts"),
    ("the medicine of this chapter", r"\bmedicine\b", "the correction"),
    ("known only to who looks", r"\b(to|than|only|from|of|by) who \w+s\b", "to those who look"),
    ("whoever watches a training", r"\bwhoever\b", "anyone who; a model that"),
    ("splits without a rest", r"without a rest\b", "without a remainder"),
    ("may lie in fewer bytes", r"may lie in fewer", "may be stored in fewer bytes"),
    ("other made cities", r"other made cities", "other generated cities"),
    ("learns them by heart", r"\bby heart\b", "memorises"),
    ("the interval holds zero", r"\bhold(s|ing)? zero\b", "includes zero"),
    ("survives many looks", r"\bmany looks\b|\blooking often\b", "multiple testing"),
    ("a base bred for the task", r"\bbred\b", "designed for; pre-trained on"),
    ("nats an answer, a row a step", EACH, "nats per answer"),
    ("an interval that holds the noise", r"\bholds? (the noise|both sources)\b", "includes"),
    ("made-up weights", r"\bmade-up (weights|values)\b", "random weights"),
    ("Chance that one is right", r"\bchance (that|to)\b", "probability"),
    ("On record, four claims hold", r"\bon record\b", "recorded claims that hold"),
    ("who is alone differs most", r"\bwho is alone\b", "a sample that differs from all others"),
    ("all that the model is told", r"\ball that the model (is told|reads)\b", "the whole prompt"),
    ("the doing of the fine-tuning", r"\bthe doing of\b", "due to"),
    ("the rail of a route", r"\brail of\b", "the steps of a route"),
    ("a model from nothing", r"\b(model|train|base),? from nothing\b", "from scratch"),
    ("rules drawn anew", r"\banew\b", "again; new"),
    ("a right answer is paid in full", r"\bpaid (in full|like)\b", "gets the full reward"),
    ("the last term is next to nothing", r"\bnext to nothing\b", "almost zero"),
    ("Mind that the two differ", r"\bmind that\b", "note that"),
    ("a reward that reaches the eye", r"\b(reach\w*|trains) the eye\b", "trains vision"),
    ("written by somebody else", r"\bby somebody else\b", "by another writer"),
    ("What it took.", r"\bwhat (it|they|the runs) took\b", "the cost"),
    ("at the very problems", r"\bthe very (same|problems|split|functions)\b", "the same problems"),
    ("whom does it punish", r"\bwhom\b", "which model"),
    ("a team that looks often", r"\blooks often\b", "tests every checkpoint"),
]


def docstrings(code: str) -> str:
    """All docstrings of a module."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    found = [ast.get_docstring(n) for n in ast.walk(ast.parse(code)) if isinstance(n, kinds)]
    return "\n".join(filter(None, found))


def strings(code: str) -> str:
    """All texts in a code cell; IPython's magics are left out."""
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
    nodes = ast.walk(ast.parse("\n".join(lines)))
    found = (n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return "\n".join(found)


def prose(path: Path) -> str:
    """What people read of a file, without line breaks."""
    text = path.read_text("utf-8")
    if path in CHAPTERS:
        cells = jupytext.reads(text, fmt="py:percent").cells
        text = "\n".join(
            c.source if c.cell_type == "markdown" else strings(c.source) for c in cells
        )
    elif path.suffix == ".py":
        text = docstrings(text)
    return re.sub(r"\s+", " ", text)


def complaints(text: str) -> list[str]:
    """What the table says about a text."""
    return [
        f"not {text[max(m.start() - 30, 0) : m.end() + 20]!r}: {say}"
        for _, pattern, say in NOT_THAT_BUT_THIS
        for m in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize(("sample", "pattern", "say"), NOT_THAT_BUT_THIS)
def test_a_phrase_is_found_and_what_to_say_is_not(sample, pattern, say):
    assert any(say in complaint for complaint in complaints(sample))
    assert not complaints(say)


def name(path: Path) -> str:
    """A file as a test names it."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*CHAPTERS, *sorted(PAGES), *MODULES], ids=name)
def test_the_house_speaks_the_words_of_the_field(path):
    found = complaints(prose(path))
    assert not found, "\n".join(found)
