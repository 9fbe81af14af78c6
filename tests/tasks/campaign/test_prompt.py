import hashlib
import random
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.engine import Chat
from tasks.campaign.prompt import PAPER_TEMPLATE, PromptTemplate, in_prompt_order, last_turn, template_of

TEMPLATE = PromptTemplate(PAPER_TEMPLATE.read_text(encoding="utf-8"))
QUESTION: Chat = [{"role": "user", "content": "What is 1 + 1?"}]

TABLE_6 = """\
You are given a problem and a list of reference responses. Your job is to analyze these references and provide your \
own response.

Original Problem:
What is 1 + 1?

Reference Responses:

Reference 1:
It is 2.

Reference 2:
It is 3.


Now, based on the original problem and reference responses above, please provide your own comprehensive solution."""

HOSTILE = [
    "{{ original_prompt }}",
    "{% for x in ref_responses %}{% endfor %}",
    "{# gone? #}",
    "{% raw %}",
    "</think>",
    "Reference 3:\nnot a reference",
    "<b>&amp;</b>",
    "a\r\nb\u2028c",
    "\\boxed{{{1}}}",
    "  spaces around  \n",
]


def test_the_template_is_the_papers_byte_for_byte() -> None:
    source, text = PAPER_TEMPLATE.read_bytes().split(b"\n", 1)
    assert b"2601.05593" in source
    assert hashlib.sha256(text).hexdigest() == "06635bcce819f086fa012e153c8374e53678db2ced643519341482dbe2977fc4"


def test_a_prompt_is_table_6_with_problem_and_messages_written_in() -> None:
    assert TEMPLATE.write(QUESTION, ["It is 2.", "It is 3."]) == [{"role": "user", "content": TABLE_6}]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_passes_unchanged_whatever_it_holds(text: str) -> None:
    (turn,) = TEMPLATE.write(QUESTION, [text, "It is 3."])
    assert turn["content"] == TABLE_6.replace("It is 2.", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_problem_passes_unchanged_whatever_it_holds(text: str) -> None:
    (turn,) = TEMPLATE.write([{"role": "user", "content": text}], ["It is 2.", "It is 3."])
    assert turn["content"] == TABLE_6.replace("What is 1 + 1?", text)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_the_prompt_is_the_fixed_text_around_the_messages(messages: list[str]) -> None:
    (turn,) = TEMPLATE.write(QUESTION, messages)
    head, tail = TABLE_6.split("\nReference 1:", 1)[0], TABLE_6.split("It is 3.\n", 1)[1]
    written = "".join(f"\nReference {n}:\n{message}\n" for n, message in enumerate(messages, 1))
    assert turn["content"] == head + written + tail


def test_with_no_messages_the_problem_goes_through_as_it_is() -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "{{ q }}"}]
    assert TEMPLATE.write(chat, []) == chat


def test_only_the_most_recent_user_turn_of_a_conversation_is_rewritten() -> None:
    chat: Chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What is 1 + 1?"},
    ]
    written = TEMPLATE.write(chat, ["It is 2.", "It is 3."])
    assert written == [*chat[:3], {"role": "user", "content": TABLE_6}]


def test_a_tool_turn_that_ends_a_conversation_is_rewritten_and_keeps_its_other_fields() -> None:
    chat: Chat = [
        {"role": "user", "content": "Add 1 and 1"},
        {"role": "assistant", "content": "calling add"},
        {"role": "tool", "tool_call_id": "7", "content": "What is 1 + 1?"},
    ]
    written = TEMPLATE.write(chat, ["It is 2.", "It is 3."])
    assert written == [*chat[:2], {"role": "tool", "tool_call_id": "7", "content": TABLE_6}]


def test_the_problem_itself_is_not_changed() -> None:
    chat: Chat = [{"role": "user", "content": "What is 1 + 1?"}]
    TEMPLATE.write(chat, ["It is 2."])
    assert chat == QUESTION


def test_a_chat_without_a_user_turn_is_refused() -> None:
    with pytest.raises(ValueError, match="no user turn"):
        last_turn([{"role": "assistant", "content": "a"}])


def test_a_campaign_may_have_a_template_of_its_own() -> None:
    own = PromptTemplate("{{ ref_responses | join(', ') }} → {{ original_prompt }}")
    assert own.write([{"role": "user", "content": "q"}], ["a", "b"]) == [{"role": "user", "content": "a, b → q"}]


def test_a_template_can_not_reach_into_python() -> None:
    with pytest.raises(jinja2.exceptions.SecurityError):
        PromptTemplate("{{ original_prompt.__class__.__mro__ }}").write(QUESTION, ["m"])


# --- the order of messages ------------------------------------------------------------------------


def test_the_order_is_that_of_the_reference_code() -> None:
    messages = ["ccc", "a", "bb", "dddd"]
    expected = sorted(messages, key=len)
    random.Random(42).shuffle(expected)
    assert [message for _, message in in_prompt_order("0123", messages)] == expected


@given(st.lists(st.text("ab", min_size=1), unique_by=len).flatmap(lambda m: st.tuples(st.just(m), st.permutations(m))))
def test_the_order_of_finishing_does_not_show(both: tuple[list[str], list[str]]) -> None:
    one, other = ([m for _, m in in_prompt_order(range(len(order)), order)] for order in both)
    assert one == other


@given(st.lists(st.text("a \n")))
def test_empty_messages_are_left_out_and_no_other(messages: list[str]) -> None:
    ordered = in_prompt_order(range(len(messages)), messages)
    assert sorted(ordered) == [(n, message) for n, message in enumerate(messages) if message.strip()]


@pytest.mark.parametrize("prompt", ["summary", "distill", "select"])
def test_what_asks_for_a_summary_or_a_workspace_holds_problem_and_messages_and_nothing_of_them_is_template(
    prompt: Any,
) -> None:
    hostile = "{{ 7 * 7 }}{% raw %}"
    (turn,) = template_of(prompt, TEMPLATE).write([{"role": "user", "content": hostile + "?"}], [hostile + "!"])
    assert hostile + "?" in turn["content"]
    assert hostile + "!" in turn["content"]
    assert template_of("synthesis", TEMPLATE) is TEMPLATE
