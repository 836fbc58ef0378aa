# ruff: noqa: RUF001 - other alphabets are what is tested
"""The gate: it sees what is broken, and nothing in normal prose, lists, tables, code and JSON of any language."""

import json
from itertools import islice

import pytest

from tokwatt_bench.quality.gate import Finding, check, problem
from tokwatt_bench.quality.language import language, scripts
from tokwatt_bench.scenarios import SCENARIOS, prose

ENGLISH = (
    "A heat pump does not make heat, it moves it. A fluid boils at a low temperature in the cold outside, a compressor "
    "raises its pressure and with it its temperature, and in the house it condenses and gives the heat away. For one "
    "unit of electricity you get three or four units of heat, and the colder it is outside, the less that is."
)
GERMAN = (
    "Eine Wärmepumpe erzeugt keine Wärme, sie bewegt sie. Draußen verdampft ein Kältemittel bei niedriger Temperatur, "
    "der Verdichter erhöht den Druck und damit die Temperatur, und im Haus gibt es die Wärme wieder ab. Für eine "
    "Kilowattstunde Strom bekommt man drei bis vier Kilowattstunden Wärme, und das ist nicht bei jedem Wetter gleich."
)
CHINESE = (
    "热泵本身并不产生热量,而是把热量从一个地方搬到另一个地方。制冷剂在室外低温下蒸发,压缩机提高它的压力和温度,"
    "然后在室内冷凝并放出热量。用一份电可以得到三到四份热,室外越冷,效率就越低,所以选择合适的型号很重要。"
)
PYTHON = "\n".join(
    f"    self.layer{n} = Linear({64 * n}, {64 * n + 64})\n    self.norm{n} = LayerNorm({64 * n})" for n in range(1, 13)
)
ROWS = json.dumps([{"id": n, "name": f"sensor {n}", "unit": "kWh", "value": n * n % 97} for n in range(120)], indent=2)
SAME_ROWS = json.dumps([{"x": 0, "y": 0, "z": 0}] * 4)
TABLE = "| Month | kWh | m³ |\n|---|---|---|\n" + "\n".join(
    f"| {n} | {n * 37 % 91} | {n * 11 % 29} |" for n in range(60)
)
LIST = "\n".join(f"{n}. {line}" for n, line in enumerate(islice(prose.sentences(3), 30), 1))
RULER = "Result\n" + "=" * 300 + "\n" + "." * 300
ZEROS = "matrix = [" + ", ".join(["0.0"] * 300) + "]"
SONG = (
    "Row, row, row your boat,\ngently down the stream.\nMerrily, merrily, merrily, merrily,\nlife is but a dream.\n" * 2
)
HAHA = "He laughed: ha ha ha ha ha ha ha ha! " + ENGLISH
SQL = "\n".join(f"INSERT INTO reading VALUES ({n}, '2026-01-{n:02}', {n * 7 % 31}.5);" for n in range(1, 29))
COUNTING = ", ".join(str(n) for n in range(1, 400))
EMOJI = "Sure! 🙂 Here is the plan 👨‍👩‍👧: \t1) café, 2) naïve test – “quoted” … ½ × 3 = 1.5 °C, ∑ αβγ ≤ ∞"
NORMAL = {
    "english": ENGLISH, "german": GERMAN, "chinese": CHINESE, "python": PYTHON, "rows": ROWS, "same rows": SAME_ROWS,
    "table": TABLE, "list": LIST, "ruler": RULER, "zeros": ZEROS, "song": SONG, "haha": HAHA, "sql": SQL,
    "counting": COUNTING, "emoji": EMOJI, "short": "42", "word": "Yes.", "fence": f"```python\n{PYTHON}\n```",
    "long": prose.text(3000, 1), "russian": "Тепловой насос переносит тепло, а не производит его. " + GERMAN,
}  # fmt: skip


@pytest.mark.parametrize("name", NORMAL)
@pytest.mark.parametrize("part", [1.0, 0.8, 0.45])
def test_a_normal_text_passes_wherever_it_is_cut(name, part):
    text = NORMAL[name][: max(round(len(NORMAL[name]) * part), 2)]
    assert check([text], ["stop"], limited=False) == []


def test_what_we_ask_passes_the_gate_itself():
    texts = [message["content"] for scenario in SCENARIOS.values() for ask in islice(scenario.asks(0), 30)
             for message in ask.messages]  # fmt: skip
    assert check(texts, ["stop"] * len(texts)) == []


@pytest.mark.parametrize("text, kind", [
    ("", "empty"),
    (" \n\t", "empty"),
    (ENGLISH + " and so" * 60, "looping"),
    (ENGLISH + " The answer is 42, as I said." * 8, "looping"),
    ("very " * 100, "looping"),
    (CHINESE + "我不知道。" * 30, "looping"),
    (f"{GERMAN}\n\n" * 3, "looping"),
    # It is cut within the loop, and there is a little at its end.
    (ENGLISH + " Let me think about it again." * 9 + " Let me th", "looping"),
    (ENGLISH + "\n".join(["- Check the pump in the cellar"] * 12), "looping"),
    # No two rounds are alike, and it goes on after them.
    ("\n".join(f"{n}. Check the valve of the pump in the cellar." for n in range(1, 150)) + ENGLISH, "looping"),
    ("!!!" + "a" * 400, "looping"),
    (ENGLISH + " caf\ufffd\ufffd", "garbage"),
    ("\ufffd" + ENGLISH, "garbage"),
    (ENGLISH + "\x00", "garbage"),
    (ENGLISH + "<|im_end|>", "garbage"),
    (ENGLISH + "<end_of_turn>\n<start_of_turn>model", "garbage"),
    ("[INST] " + ENGLISH, "garbage"),
    ("The" + "".join(f"Ġ{word}" for word in ENGLISH.split()), "garbage"),
    ("The" + "".join(f"▁{word}" for word in ENGLISH.split()), "garbage"),
    ("WÃ¤rmepumpe, TÃ¼r, schÃ¶n, grÃ¶ÃŸer", "garbage"),
    ("<0xE4><0xBD>" + ENGLISH, "garbage"),
])  # fmt: skip
def test_what_is_broken_is_found(text, kind):
    [found] = check(["fine", text], ["stop", "stop"])
    assert (found.kind, found.request_index) == (kind, 1)
    assert found.detail and "\n" not in found.detail and len(found.detail) < 120
    assert problem(text, "stop") == f"{kind}: {found.detail}"


def test_a_cut_answer_is_truncated_only_where_no_limit_was_meant():
    assert check([ENGLISH], ["length"]) == []
    assert check([ENGLISH], ["length"], limited=False) == [
        Finding("truncated", 0, f"it was cut after {len(ENGLISH)} characters")
    ]  # fmt: skip


def test_half_a_character_at_the_end_is_the_limits():
    assert check([ENGLISH + "\ufffd"], ["length"]) == []
    assert [found.kind for found in check([ENGLISH + "\ufffd"], ["stop"])] == ["garbage"]
    assert [found.kind for found in check(["\ufffd" + ENGLISH], ["length"])] == ["garbage"]


@pytest.mark.parametrize("question, answer, kinds", [
    (ENGLISH, CHINESE, ["script"]),
    (ENGLISH, ENGLISH + CHINESE * 2, ["script"]),
    (GERMAN, ENGLISH, ["language"]),
    (ENGLISH, GERMAN, ["language"]),
    (CHINESE, ENGLISH, ["script"]),
    (ENGLISH, "Тепловой насос переносит тепло.", ["script"]),
    (ENGLISH, ENGLISH, []),
    (GERMAN, GERMAN, []),
    (CHINESE, CHINESE, []),
    # Too little to say, or none of any language.
    (GERMAN, "OK, thanks.", []),
    (GERMAN, PYTHON, []),
    (GERMAN, f"```\n{ENGLISH}\n```", []),
    (ENGLISH, "α β γ δ ε ζ η θ ι κ λ μ ν ξ ο π ρ σ τ υ φ", []),
    (ENGLISH, "The sign says 出口, which is Chinese for exit, and you will see it at each door.", []),
    (ENGLISH + " Say it in Chinese: 你好", CHINESE, []),
])  # fmt: skip
def test_an_answer_is_in_the_language_of_its_question(question, answer, kinds):
    assert [found.kind for found in check([answer], ["stop"], questions=[question])] == kinds


def test_answers_to_one_question_with_one_seed_are_the_same():
    assert check(["abc", "abc"], ["stop"] * 2, same=True) == []
    assert check(["abc", "abc", "abd", "ab"], ["stop"] * 4, same=True) == [
        Finding("differs", 2, "it differs from the first answer at character 3"),
        Finding("differs", 3, "it differs from the first answer at character 3"),
    ]  # fmt: skip


def test_an_answer_of_megabytes_is_looked_at_in_no_time():
    assert [found.kind for found in check(["ab" * 2**21], ["stop"])] == ["looping"]
    assert check([prose.text(100_000, 2)], ["stop"], questions=[ENGLISH]) == []


def test_languages_are_known_or_not_said():
    assert [language(text) for text in (ENGLISH, GERMAN, CHINESE, PYTHON, "")] == [
        "English",
        "German",
        None,
        None,
        None,
    ]
    assert language("Le chat est dans la maison, et les enfants sont avec nous pour une heure") == "French"
    assert scripts("Aé 你 ひ カ α 1 `code`") == {"LATIN": 2, "CJK": 3}
