"""The words of street navigation: rewards, messages, actions and what a tokenizer must know."""

from __future__ import annotations

import json
import re
from types import MappingProxyType

from sftrl_lite.tasks.city import NAMES
from sftrl_lite.tasks.routes import DIRECTIONS, INTERSECTION, NO_LANDMARK, Step

REWARDS = MappingProxyType(  # appendix B.3; an illegal answer is a wrong action like any other
    {
        "solved": 1.0,
        "wrong_action": -1.0,
        "other_words": -1.0,  # a turn in words that the prompt does not offer
        "over_budget": -1.0,
        "misread": -1.5,  # a wrong action, and what is here was not seen either
        "illegal": -1.0,
    }
)
SUCCESS = "Correct action."
FAILURE = "You failed this trial because your action is incorrect."
REASONS = MappingProxyType(
    {
        "solved": SUCCESS,
        "wrong_action": "The action is possible but not the one to take here.",
        "other_words": "The action uses words that are not in the list.",
        "misread": "The observation is not what is here.",
        "illegal": "The answer holds no legal action.",
    }
)
NO_CROSSING = "You are not at any intersection."  # what the released code says instead
HINT = " The instruction to follow here is number "

FORWARD, STOP, TURN = "forward()", "stop()", "turn_direction("
TASK = (
    "Follow the instructions from the start to the destination. Answer with one action at a "
    "time: forward(), stop() or turn_direction(x), where x is one of "
)
VIEWS = (
    "The image shows four views: in front of you and to your right, below them behind you and "
    "to your left.\n"
)
SEEN = "You observe an image of 4 views"
ASK = "\nAnswer in JSON with the keys current observation, current instruction and action."
ORDERS = (
    "First, turn ",
    "Turn ",
    "Move forward until you reach next intersection",
    "Move forward until you reach destination",
)
KEYS = ("current observation", "current instruction", "action")
MAX_ACTION = 100  # characters; longer ones are illegal, so that time stays bounded
ACTION = re.compile(r"(forward|stop)\(\)|turn_direction\(\s*['\"]?([\w' ]*?)['\"]?\s*\)")


def _spelled(observation: str, step: Step, official: bool) -> str:
    """The released data say "No landmark nearby" at turns and stops; ``official`` does too."""
    if official and step.instruction and step.move != "forward":
        return observation.replace(NO_LANDMARK, "No landmark nearby")
    return observation


def _same(text: object, other: str) -> bool:
    """Whether two observations or instructions say the same; case and full stops aside."""
    if not isinstance(text, str):
        return False

    def bare(words: str) -> str:
        return " ".join(words.lower().split()).strip(" .;")

    return bare(re.sub(r"^\s*\d{1,3}\.\s", "", text)) == bare(other)


def write_answer(
    observation: str, instruction: str, action: str, action_first: bool = False
) -> str:
    """An answer in the paper's form, or with the action before what is seen."""
    answer = dict(zip(KEYS, (observation, instruction, action), strict=True))
    return json.dumps({KEYS[-1]: action} | answer if action_first else answer)


# --- the tiny tokenizer ------------------------------------------------------------------

MAX_STEPS = 20  # of a route that the tiny tokenizer knows
MAX_INSTRUCTIONS = 12


def vocabulary(action_first: bool = False) -> list[str]:
    """Every piece of text that a navigation chat is made of, for the tiny tokenizer.

    Fixed sentences are one piece each, so is a landmark's name and a word for a direction;
    the same word is the same piece in an instruction and in an action. ``action_first`` adds the
    pieces of answers in that form.
    """
    empty = write_answer("", "", "").split('""')
    orders = [f"\n{i}. {order}" for i in range(1, MAX_INSTRUCTIONS + 1) for order in ORDERS]
    first, last = '{"current observation": "', '"}'
    history = [
        piece
        for i in range(1, MAX_STEPS + 1)
        for piece in (
            f"\nO_{i}: ",
            f"\nA_{i}: {FORWARD}",
            f"\nA_{i}: {TURN}",
            f"\nA_{i}:",
        )
    ]
    middles = [f'"{part}"' for part in empty[1:-1]]
    messages = [FAILURE, *REASONS.values(), NO_CROSSING, HINT]
    words = [word for directions in DIRECTIONS for word in directions.words]
    return [
        TASK,
        VIEWS,
        SEEN,
        ASK,
        *orders,
        *ORDERS,
        *history,
        first,
        *(('{"action": "', '", "current observation": "') if action_first else ()),
        *middles,
        last,
        *messages,
        *(str(i) for i in range(1, MAX_INSTRUCTIONS + 1)),
        *words,
        *NAMES,
        " is on your left",
        " is on your right",
        NO_LANDMARK,
        "No landmark nearby",
        f"; {INTERSECTION}",
        INTERSECTION,
        " to face ",
        " where ",
        FORWARD,
        STOP,
        TURN,
        ")",
        ", ",
        ".",
        "; ",
    ]
