"""Any chat template: what stands around an answer is found, not known."""

import pytest

from sftrl_lite.models import chats
from sftrl_lite.models.tiny import make_tokenizer

WORDS = ["<|im_start|>", "<|im_end|>", "user", "assistant", "system", "\n", " ", "ask", "probe"]
WORDS += [*"0123456789+-*/=:., ", "Today", "Jul", "answer", "more"]
WORDS += ["<|start_header_id|>system<|end_header_id|>\n\n"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# as Llama 3.2 Vision's: a dated system turn where there is no picture, contents trimmed
DATED = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%Y') %}"
    "{% endif %}<|start_header_id|>system<|end_header_id|>\n\nToday: {{ date_string }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}"
    "{% for part in m['content'] %}{{ part['text'] | trim }}{% endfor %}{% endif %}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    "{% endif %}"
)
# content is a list of parts; a text would be passed over in silence
PARTS = CHATML.replace(
    "{{ m['content'] }}",
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}",
)
ENDS = {"chatml": (CHATML, "<|im_end|>"), "dated": (DATED, "<|eot_id|>")}
ENDS["parts"] = (PARTS, "<|im_end|>")


@pytest.fixture(params=ENDS)
def speaker(request):
    """A tokenizer with a template of its own, and the token that ends its turns."""
    template, end = ENDS[request.param]
    tokenizer = make_tokenizer(WORDS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer, end


def said(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def test_prompt_answer_reply_are_the_whole_chat(speaker):
    tokenizer, end = speaker
    (prompt,) = chats.prompts(tokenizer, [said("1+1")])
    eot, (reply,) = chats.replies(tokenizer, ["7 8"])
    assert tokenizer.decode([eot]) == end and chats.end_of_turn(tokenizer) == eot
    answer = tokenizer("3=", add_special_tokens=False)["input_ids"]
    whole = chats.render(tokenizer, said("1+1", "3=", "7 8"), prompt=True)
    assert tokenizer.decode([*prompt, *answer, eot, *reply]) == whole
    assert "7 8" in whole and "1+1" in whole


def test_labels_are_the_answer_and_its_end(speaker):
    tokenizer, end = speaker
    (row,) = chats.demonstrated(tokenizer, [said("1+1", "3=")])
    (prompt,) = chats.prompts(tokenizer, [said("1+1")])
    assert row["input_ids"][: len(prompt)] == prompt
    assert [label for label in row["labels"] if label >= 0] == row["input_ids"][len(prompt) :]
    assert tokenizer.decode(row["input_ids"][len(prompt) :]) == "3=" + end


def test_the_date_stands_still():
    tokenizer = make_tokenizer(WORDS)
    tokenizer.chat_template = DATED
    assert "Today: 26 Jul 2024<" in chats.render(tokenizer, said("1+1"))


def test_messages_of_any_length_and_none(speaker):
    tokenizer, _ = speaker
    _, (none, one, again) = chats.replies(tokenizer, ["", "7", "7"])
    assert one == again and len(none) == len(one) - 1


def test_no_template_and_no_end_are_one_line():
    tokenizer = make_tokenizer(WORDS)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template; take an instruct model"):
        chats.prompts(tokenizer, [said("1")])
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    with pytest.raises(ValueError, match="not a special token"):
        chats.end_of_turn(tokenizer)
