"""The scenarios of our own: the same requests for the same seed, and prompts as long as the engine counts them."""

import re
from itertools import islice
from pathlib import Path

import pytest

from tokwatt_bench.scenarios import SCENARIOS, Ask, LongContext, begun, fit, prose


def first(name, count, seed=0):
    return list(islice(SCENARIOS[name].asks(seed), count))


def content(ask):
    return "\n".join(message["content"] for message in ask.messages)


def test_the_scenarios_that_there_are():
    assert list(SCENARIOS) == [
        "chat", "code", "long_context", "prefix_reuse", "tool_call", "batch", "cold_start"
    ]  # fmt: skip
    assert [name for name, scenario in SCENARIOS.items() if scenario.cold] == ["cold_start"]
    assert [name for name, scenario in SCENARIOS.items() if not scenario.unique_prefix] == ["prefix_reuse"]
    assert all(scenario.name == name and scenario.description for name, scenario in SCENARIOS.items())


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_gives_the_same_requests_without_an_end(name):
    asks = first(name, 60)
    assert len(asks) == 60
    assert first(name, 60) == asks
    assert all(ask.messages and ask.messages[-1]["role"] == "user" for ask in asks)


@pytest.mark.parametrize("name", ["chat", "code", "prefix_reuse", "tool_call", "batch", "cold_start"])
def test_another_seed_gives_another_order(name):
    assert first(name, 20, seed=1) != first(name, 20, seed=2)


@pytest.mark.parametrize("name", ["code", "tool_call", "batch", "cold_start"])
def test_everything_is_asked_once_before_anything_is_asked_twice(name):
    count = len(SCENARIOS[name].listed)
    texts = [content(ask) for ask in first(name, 2 * count)]
    assert len(set(texts[:count])) == count
    assert set(texts[count:]) == set(texts[:count])


def test_a_turn_has_all_that_was_said_before_it():
    one, two = first("chat", 2)
    assert (one.name, two.name) == ("turn 1", "turn 2")
    assert two.messages[: len(one.messages)] == one.messages
    assert [message["role"] for message in two.messages] == ["system", "user", "assistant", "user"]


def test_reuse_has_one_long_beginning_and_different_ends():
    asks = first("prefix_reuse", 5)
    assert all(ask.reuses_prefix for ask in asks)
    assert len({ask.messages[0]["content"] for ask in asks}) == 1
    assert len(asks[0].messages[0]["content"].split()) > 1400
    assert len({ask.messages[1]["content"] for ask in asks}) == 5
    # From its first words on: an engine that keeps the other log must not have this one cached.
    other = first("prefix_reuse", 1, seed=1)[0].messages[0]["content"]
    assert other.split()[1] != asks[0].messages[0]["content"].split()[1]


def test_tools_are_asked_for_where_they_are_given():
    asks = first("tool_call", len(SCENARIOS["tool_call"].listed))
    assert {bool(ask.tools) for ask in asks if ask.name == "tool"} == {True}
    assert {bool(ask.tools) for ask in asks if ask.name == "json"} == {False}
    assert all(ask.max_tokens for ask in asks)


def test_prose_repeats_no_sentence_soon():
    sentences = list(islice((s for s in prose.sentences(0) if s.startswith("Day ")), 5000))
    assert len(set(sentences)) == 5000


@pytest.mark.parametrize("target", [150, 1000, 1024, 4096, 32768])
@pytest.mark.parametrize("characters", [2.3, 4.1, 6.0])
def test_a_text_is_as_long_as_the_engine_counts_it(target, characters):
    asked = []

    def count(text):
        asked.append(text)
        return int(len(text) / characters) + 19

    found = fit(target, count)
    assert abs(found.tokens - target) <= max(target / 100, 1)
    assert (count(found.text), found.reason) == (found.tokens, "")
    assert len(asked) <= 6
    # The expensive ones are few: the first two are short.
    if target > 4000:
        assert sum(len(text) > 0.5 * target * characters for text in asked[:-1]) <= 2


@pytest.mark.parametrize("count, reason", [
    (lambda text: None, "the engine does not say how many tokens a prompt has"),
    (lambda text: 0, "the engine does not say how many tokens a prompt has"),
    (lambda text: 7, "the engine counts 7 tokens for 50 words and 7 for 250: not a count"),
    (lambda text: 10_000 - len(text), "not a count"),
    (lambda text: 400 * (1 + len(text) // 1000), "no prompt of 1000 tokens was found: the nearest one has"),
])  # fmt: skip
def test_a_count_that_is_none_is_a_reason_and_no_text(count, reason):
    found = fit(1000, count)
    assert (found.text, found.tokens) == (None, None)
    assert reason in found.reason


def test_a_template_longer_than_the_target_is_a_reason():
    assert fit(20, lambda text: 60 + len(text) // 4).reason.startswith("no prompt of 20 tokens was found: the nearest")


def test_a_long_context_is_the_text_that_was_fitted_else_about_as_long():
    ask = next(LongContext(8000, "the fitted one").asks(0))
    assert (content(ask), ask.expected_prompt_tokens) == ("the fitted one", 8000)
    words = len(content(next(LongContext(8000).asks(0))).split())
    assert 8000 / 2 < words < 8000


def test_a_beginning_is_the_very_first_text_whatever_the_message_is():
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."})
    assert begun(messages, "[7]") == ({"role": "system", "content": "[7] Be brief."}, messages[1])
    assert begun([{"role": "user", "content": [picture]}], "[7]")[0]["content"] == [
        {"type": "text", "text": "[7]"}, picture
    ]  # fmt: skip
    assert messages[0]["content"] == "Be brief."
    assert Ask(messages).max_tokens is None


@pytest.mark.text
def test_the_page_of_scenarios_lists_those_there_are():
    page = (Path(__file__).parents[2] / "docs/scenarios.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(name, one.description) for name, one in SCENARIOS.items() if name != "default"]
