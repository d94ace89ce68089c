"""Chats to tokens, with any model's chat template.

Templates differ: in the words around a message, in the token that ends a turn, in a header with
today's date, in whether a message is a text or a list of parts. Nothing here knows a
template; what stands around an answer is found by writing a chat with it and looking.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from jinja2 import Environment, TemplateSyntaxError
from jinja2.utils import Namespace
from PIL import Image
from transformers import PreTrainedTokenizerBase

from sftrl_lite.models.vision import tokenizer_of
from sftrl_lite.processes import bounded_memory, first_line


def ask(task: Any, problem: Any, picture: Image.Image | None = None) -> dict[str, Any]:
    """The first message of a chat: the prompt, after its picture where there is one.

    Args:
        picture: drawn from the problem if not given.
    """
    text = task.prompt(problem)
    picture = task.picture(problem) if picture is None else picture
    if picture is None:
        return {"role": "user", "content": text}
    shown = {"type": "image", "image": picture}
    return {"role": "user", "content": [shown, {"type": "text", "text": text}]}


def pictures_of(chats: Sequence[Sequence[dict[str, Any]]]) -> list[Image.Image]:
    """The picture of each chat's first message; none at all for chats in text.

    Raises:
        ValueError: some chats have a picture and some have none.
    """
    contents = [chat[0]["content"] for chat in chats]
    found = [content[0]["image"] for content in contents if not isinstance(content, str)]
    if found and len(found) < len(chats):
        raise ValueError("some of these problems have a picture and some have none")
    return found


Chat = Sequence[dict[str, Any]]  # messages: a role and a content
LINES = 100_000  # of a chat template's program; those of Llama take a thousand
CALLS = 10  # of functions count as a line; jinja takes 170,000 to read a long template
SIZE = 1_000_000  # letters that it may hold at a time, or write; an item counts as ten
MEMORY = 2**30  # bytes that reading it may take
DATE = "26 Jul 2024"  # Llama's templates would write today's


def render(processor: Any, chat: Chat, prompt: bool = False) -> str:
    """A chat as the text that the model reads, with pictures as their placeholder.

    Args:
        prompt: end with the header of the next answer.

    Raises:
        ValueError: the model has no chat template, or one that fails.
    """
    tokenizer: Any = tokenizer_of(processor)  # its types know only messages in text
    if not tokenizer.chat_template:
        raise ValueError(f"{tokenizer.name_or_path} has no chat template; take an instruct model")

    def write(messages: Chat, prompt: bool) -> str:
        try:
            return tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=prompt,
                date_string=DATE,
            )
        except Exception as error:  # a template is a program, and fails like one
            wrong = f"{tokenizer.name_or_path}: its chat template fails"
            raise ValueError(f"{wrong}: {first_line(error)[:200]}") from error

    if "probe" not in write([{"role": "user", "content": "probe"}], False):  # it wants parts
        chat = [m | {"content": _parts(m["content"])} for m in chat]
    return write(chat, prompt)


def check_template(processor: Any) -> None:
    """Write a chat with the model's template, if it has one, within a bound of its lines and texts.

    jinja's sandbox keeps a template from calling what it should not, and not from going on for
    ever: two loops of 100,000 in one another take hours, a text that is doubled 40 times takes
    all memory. One line of ``9**9**9`` is not seen while it runs: a product is refused unread.
    A filter that fills up to a width is one line as well, and has ``MEMORY`` for it.

    Raises:
        ValueError: it fails, does not end, multiplies, or makes more than ``SIZE`` letters.
    """
    tokenizer, left, written = tokenizer_of(processor), float(LINES), 0
    chat = [{"role": role, "content": "probe"} for role in ("user", "assistant", "user")]

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left, written
        ours = frame.f_code.co_filename == "<template>"
        if ours:
            items, letters = _held(frame.f_locals.values())
            written += len(arg) if event == "return" and isinstance(arg, str) else 0
            left -= 1 + items // 100  # a look at many takes as long as many lines
            if 10 * items + letters + written > SIZE:
                raise ValueError(f"it makes more than {SIZE:,} letters")
        else:
            left -= 1 / CALLS
        if left < 0:
            raise ValueError(f"it goes on after {LINES} lines")
        return trace if ours else None

    if not (named := tokenizer.chat_template):
        return
    for template in named.values() if isinstance(named, dict) else [named]:
        if _multiplies(template):
            wrong = "its chat template multiplies (*), which could take all memory"
            raise ValueError(f"{tokenizer.name_or_path}: {wrong}; take another model")
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with bounded_memory(MEMORY):
            render(processor, chat, prompt=True)
    finally:
        sys.settrace(before)


def _multiplies(template: str) -> bool:
    """Whether there is a * or ** in the code of a template; in its texts there may be."""
    with suppress(TemplateSyntaxError):  # what cannot be read fails when it is run
        return any(
            kind == "operator" and word in ("*", "**")
            for _, kind, word in Environment().lex(template)
        )
    return False


def _held(found: Iterable[Any]) -> tuple[int, int]:
    """How many items there are in variables of a template, and letters in them; up to ``SIZE``."""
    todo, items, letters = list(found), 0, 0
    while todo and 10 * items + letters <= SIZE:
        item = todo.pop()
        items += 1
        if isinstance(item, str):
            letters += len(item)
        elif isinstance(item, Namespace):  # it shows nothing but its own names
            todo += object.__getattribute__(item, "__dict__").values()
        elif isinstance(item, dict):
            todo += [*item, *item.values()]
        elif isinstance(item, (list, tuple)):
            todo += item
    return items, letters


def _parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def unreadable(processor: Any, text: str) -> str:
    """The first letter of a text that the tokenizer has no token for; empty: it reads all."""
    tokenizer = tokenizer_of(processor)
    if (unknown := tokenizer.unk_token_id) is None:
        return ""
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if unknown not in read["input_ids"]:
        return ""
    return text[read["offset_mapping"][read["input_ids"].index(unknown)][0]]


def tokens(processor: Any, texts: list[str]) -> list[list[int]]:
    """The tokens of rendered texts; where pictures stand in the text, with room for them."""
    if states := getattr(processor, "image_seq_len", 0):
        image, edge = processor.image_token, processor.fake_image_token
        room = edge + processor.global_image_tag + image * states + edge
        texts = [text.replace(image, room) for text in texts]
    return tokenizer_of(processor)(texts, add_special_tokens=False)["input_ids"] if texts else []


def prompts(processor: Any, chats: Sequence[Chat]) -> list[list[int]]:
    """The tokens of each chat up to the header of the next answer."""
    return tokens(processor, [render(processor, chat, prompt=True) for chat in chats])


def replies(processor: Any, messages: Sequence[str]) -> tuple[int, list[list[int]]]:
    """What stands between an answer and the next: the verifier's turn and the header.

    Found by difference: a chat with an answer and a message, less what stands up to the answer.

    Returns:
        the token that ends an answer, and for each message the tokens after it.

    Raises:
        ValueError: the template ends an answer with no token of its own.
    """
    said, unique, end = "probe", {}, -1
    chat = [{"role": "user", "content": "ask"}, {"role": "assistant", "content": said}]
    for message in dict.fromkeys(messages or ["more"]):
        whole = render(processor, [*chat, {"role": "user", "content": message}], prompt=True)
        ((end, *unique[message]),) = tokens(processor, [whole.partition(said)[2]])
    tokenizer = tokenizer_of(processor)
    if end not in tokenizer.all_special_ids:
        word = tokenizer.decode([end])
        raise ValueError(f"after an answer this chat template writes {word!r}, not a special token")
    return end, [unique[message] for message in messages]


def end_of_turn(processor: Any) -> int:
    """The token that ends an answer."""
    return replies(processor, [])[0]


def stop_tokens(model: Any, end: int) -> list[int]:
    """All tokens that end an answer: ``end_of_turn``, and those that the model itself names."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({end, *(token for token in named if token is not None)})


def answer_text(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], ends: Container[int]
) -> str:
    """The text of a sampled answer, without the token that ends it.

    A special token anywhere else stays in the text: it is judged as it was said.
    """
    return str(tokenizer.decode([*(ids[:-1] if ids and ids[-1] in ends else ids)]))


def demonstrated(processor: Any, chats: Sequence[Chat]) -> list[dict[str, list[int]]]:
    """Chats that end with an answer as ``input_ids`` and ``labels``: -100 before the answer.

    The prompt is written and read first, as in a rollout, and the answer up to the end of its
    turn after it.

    Raises:
        ValueError: the template does not write a prompt as the beginning of its chat.
    """
    end, texts, rows = end_of_turn(processor), [], []
    for chat in chats:
        before, whole = render(processor, chat[:-1], prompt=True), render(processor, chat)
        if not whole.startswith(before):
            raise ValueError("this chat template does not begin a chat with its prompt")
        texts += [before, whole[len(before) :]]
    read = tokens(processor, texts)
    for asked, answered in zip(read[::2], read[1::2], strict=True):
        answered = answered[: answered.index(end) + 1]
        rows.append({"input_ids": asked + answered, "labels": [-100] * len(asked) + answered})
    return rows
