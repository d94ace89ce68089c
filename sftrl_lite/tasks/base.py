"""What all tasks share: the verdict on an answer, and how an answer is found in a text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

FEEDBACK = ("none", "binary", "reason", "leaky")
MAX_ANSWER = 20_000  # characters; longer answers are illegal, so time stays bounded
OBJECT = re.compile(r"\{[^{}]*\}")
# A double-quoted string (kept), a single-quoted one, or a comma before a closing bracket.
# Each alternative stops at the next quote, which keeps the scan linear.
SLIP = re.compile(r"""("[^"]*")|'([^'"]*)'|,(?=\s*[}\]])""")
DECODER = json.JSONDecoder(strict=False)  # a raw line break inside a string is forgiven


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier says about one answer."""

    solved: bool
    kind: str  # a key of REWARDS
    reward: float
    message: str  # what the model is told
    read: tuple[int, ...] | None  # the "number" list that the answer claims, if readable
    read_right: bool = False  # whether what it claims to have read is what was there
    recognised: bool | None = None  # whether the picture was; None where there is none


def _load(text: str, key: str) -> dict | None:
    try:
        found, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError):  # "[[[[..." exhausts the decoder, harmlessly
        return None
    complete = end == len(text) and isinstance(found, dict) and key in found
    return found if complete else None


def _mend(slip: re.Match[str]) -> str:
    if slip[1] is not None:
        return slip[1]
    return f'"{slip[2]}"' if slip[2] is not None else ""


def read_answer(text: str, key: str = "formula") -> dict | None:
    """The answer object in ``text``, None when there is none.

    JSON as models write it is accepted: text or code fences around it, single quotes,
    trailing commas. A text that is JSON as a whole is taken as it is; otherwise the last
    complete, flat object with the ``key`` counts, because models think aloud first
    and conclude last. Linear time; text beyond ``MAX_ANSWER`` characters is not read.
    """
    if len(text) > MAX_ANSWER:
        return None
    if (whole := _load(text.strip(), key)) is not None:
        return whole
    for part in reversed(OBJECT.findall(text)):
        answer = _load(part, key) or _load(SLIP.sub(_mend, part), key)
        if answer is not None:
            return answer
    return None
