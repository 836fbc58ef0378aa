"""The verifiers of the suites: right answers pass in every usual dress, wrong ones and lies do not."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokwatt_bench.quality import arithmetic, instructions, json_schema, needle, tool_call
from tokwatt_bench.quality.base import Options
from tokwatt_bench.quality.schema import KEYWORDS, problem
from tokwatt_bench.quality.suites import SUITES, chosen
from tokwatt_bench.quality.text import Call, Said
from tokwatt_exporter.errors import UsageError

RIGHT_JSON = {
    "order": {"city": "Leeds", "express": True, "boxes_of_nails": 12, "saws": 3},
    "date": {"last_check": "2024-03-03", "next_check": "2026-03-03"},
    "reading": {"meter": "00417", "kwh": 8214.6, "kind": "electricity"},
    "null": {"name": "Tomasz Nowak", "telephone": None, "minutes": 45},
    "urgency": {"urgency": "high", "bicycles": 2},
    "list": {"counts_from_left_to_right": [1, 1, 2, 1]},
    "nested": {"room": {"number": 204, "floor": 2},
               "windows": [{"width": 120, "height": 140}, {"width": 90, "height": 140}]},
    "escapes": {"text": 'Please "knock" \\ ring twice', "words": 4},
    "umlauts": {"size": 42, "colour": "grün", "name": "Frau Müller", "city": "Köln"},
    "unique": {"tags": ["cellar", "heating", "noise"]},
    "negative": {"morning": -7.5, "noon": 3, "rise": 10.5},
    "empty": {"flat": 9, "defects": []},
}  # fmt: skip


def items(suite):
    return {item.name: item for item in SUITES[suite].items(Options(execute=True))}


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_the_same_each_time_and_has_an_item_of_each_name(name):
    one, two = (SUITES[name].items(Options(execute=True)) for _ in range(2))
    assert [(item.name, item.messages) for item in one] == [(item.name, item.messages) for item in two]
    assert len({item.name for item in one}) == len(one) >= 8
    assert all(item.messages[-1]["role"] == "user" for item in one)


@pytest.mark.parametrize("suite", SUITES)
def test_nothing_and_noise_are_right_nowhere(suite):
    noise = "As an AI model I like to say: yes, of course, the answer is 42. " * 3
    for item in items(suite).values():
        assert item.verify(Said()), item.name
        assert item.name == "no tool" or item.name == "no such tool" or item.verify(Said(noise)), item.name
        # Whatever was thought, the answer is what is said after it.
        assert item.verify(Said("<think>" + noise)), item.name


def test_suites_are_chosen_by_name_and_code_only_where_it_may_run():
    assert [suite.name for suite in chosen(None, False)] == [
        "json_schema", "tool_call", "instructions", "needle", "arithmetic"
    ]  # fmt: skip
    assert [suite.name for suite in chosen(None, True)][-1] == "code"
    assert [suite.name for suite in chosen("needle, arithmetic,needle", False)] == ["needle", "arithmetic"]
    with pytest.raises(UsageError, match="there is no poetry; there are json_schema"):
        chosen("poetry", False)
    with pytest.raises(UsageError, match="say --execute-code"):
        chosen("code", False)


@pytest.mark.parametrize("name", RIGHT_JSON)
def test_json_that_says_what_the_text_says_is_right(name):
    text = json.dumps(RIGHT_JSON[name], ensure_ascii=False)
    for dress in (text, f"\n{text}\n", f"```json\n{text}\n```", f"```\n{text}\n```", f"<think>{{}}</think>{text}"):
        assert items("json_schema")[name].verify(Said(dress)) is None


@pytest.mark.parametrize("name, change, said", [
    ("order", {"saws": 4}, "$.saws is 4, not 3"),
    ("order", {"saws": -3}, "$.saws is less than 0"),
    ("order", {"express": 1}, "$.express is no boolean"),
    ("order", {"note": "x"}, "$ has 'note', which nobody asked for"),
    ("date", {"next_check": "March 2026"}, "$.next_check does not match"),
    ("date", {"next_check": "2025-03-03"}, "$.next_check is 2025-03-03, not 2026-03-03"),
    ("reading", {"meter": 417}, "$.meter is no string"),
    ("reading", {"kwh": "8214.6"}, "$.kwh is no number"),
    ("null", {"telephone": "none"}, "$.telephone is none of None"),
    ("urgency", {"urgency": "extreme"}, "$.urgency is none of low, normal, high"),
    ("list", {"counts_from_left_to_right": [1, 1, 2]}, "$.counts_from_left_to_right has 3 items"),
    ("list", {"counts_from_left_to_right": [1, 1, True, 1]}, "$.counts_from_left_to_right[2] is no integer"),
    ("nested", {"room": {"number": 204}}, "$.room has no floor"),
    ("nested", {"room": {"number": 204, "floor": 3}}, "$.room is "),
    ("unique", {"tags": ["cellar", "cellar"]}, "$.tags has an item twice"),
    ("unique", {"tags": ["heating", "cellar", "noise"]}, "$.tags is "),
    ("negative", {"morning": 7.5}, "$.morning is more than 0"),
])  # fmt: skip
def test_json_that_is_invalid_or_made_up_is_wrong(name, change, said):
    assert items("json_schema")[name].verify(Said(json.dumps(RIGHT_JSON[name] | change))).startswith(said)


@pytest.mark.parametrize("dress", [
    "Here it is: {}", "{}\nI hope this helps.", "```json\n{}\n```\nDone.", "```\n{}\n```\n```\n{}\n```", "[{}]", "{},",
    "'{}'",
])  # fmt: skip
def test_json_with_anything_around_it_is_wrong(dress):
    text = dress.replace("{}", json.dumps(RIGHT_JSON["empty"]))
    assert items("json_schema")["empty"].verify(Said(text))
    assert json_schema.verify("[" * 100_000, {}, {}) == "it is not JSON"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "ab", "2024-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
LEAVES = st.fixed_dictionaries({}, optional={
    "type": st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"]),
    "enum": st.lists(VALUES, min_size=1, max_size=3), "const": VALUES, "minItems": st.integers(0, 2),
    "maxItems": st.integers(0, 2), "uniqueItems": st.booleans(), "minimum": st.integers(-2, 2),
    "maximum": st.integers(-2, 2), "minLength": st.integers(0, 2), "maxLength": st.integers(0, 2),
    "pattern": st.sampled_from(["^a", r"^\d{4}-", "b$"]), "required": st.lists(st.sampled_from("abc"), unique=True),
})  # fmt: skip
SCHEMAS = st.builds(
    lambda leaf, items, properties, more: leaf | items | properties | more, LEAVES,
    st.fixed_dictionaries({}, optional={"items": LEAVES}),
    st.fixed_dictionaries({}, optional={"properties": st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=2)}),
    st.sampled_from([{}, {"additionalProperties": False}]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(VALUES, SCHEMAS)
def test_the_validator_says_what_jsonschema_says(value, schema):
    assert (problem(value, schema, "$") is None) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_a_keyword_that_is_not_checked_is_no_keyword():
    with pytest.raises(ValueError, match="unknown keyword oneOf"):
        problem(1, {"oneOf": []}, "$")
    assert "description" in KEYWORDS


@pytest.mark.parametrize("task", tool_call.TASKS, ids=lambda task: task.name)
def test_the_right_call_is_right_and_no_other_one(task):
    if not task.tool:
        assert tool_call.verify(Said("I have no tool for that."), "", {}) is None
        assert "does not do what was asked" in tool_call.verify(Said("", calls=(Call("set_light", "{}"),)), "", {})
        return

    def verdict(*calls, content=""):
        return tool_call.verify(Said(content, calls=calls), task.tool, task.arguments)

    right = Call(task.tool, json.dumps(task.arguments))
    assert verdict(right) is None
    assert verdict(right, content="Sure!") is None
    assert verdict(right, right) == "it made 2 calls for one request"
    assert verdict() == "it called no tool"
    assert verdict(content=f'{{"name": "{task.tool}"}}') == "it wrote the call as text"
    assert verdict(Call("open_door", "{}")) == f"it called open_door, not {task.tool}"
    assert verdict(Call(task.tool, "{")) == "its arguments are not JSON"
    assert verdict(Call(task.tool, "")) == "its arguments are not JSON"
    assert verdict(Call(task.tool, "{}")).startswith("arguments has no ")
    assert verdict(Call(task.tool, json.dumps(json.dumps(task.arguments)))) == "arguments is no object"
    assert "nobody asked for" in verdict(Call(task.tool, json.dumps({**task.arguments, "please": True})))
    for name, value in task.arguments.items():
        other = 99 if isinstance(value, int | float) else [] if isinstance(value, list) else "other"
        assert verdict(Call(task.tool, json.dumps({**task.arguments, name: other}))).startswith(f"arguments.{name} is ")


ARITHMETIC = {name: (question, result) for name, question, result in arithmetic.questions()}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_a_result_is_right_in_every_usual_dress_and_one_off_is_wrong(name):
    question, result = ARITHMETIC[name]
    body = question.removeprefix("What is ").rstrip("?")
    for dress in ("{}", "**{}**", "{}.", "= {}", "The answer is {}.", r"\boxed{{{}}}", "${}$", "First I add.\n\n{}"):
        assert arithmetic.verify(dress.format(result), question, result) is None, dress
        assert arithmetic.verify(dress.format(result + 1), question, result), dress
    assert arithmetic.verify(f"{result:,}", question, result) is None
    assert arithmetic.verify(f"{body} = {result}", question, result) is None
    # Hedges and guesses.
    assert arithmetic.verify(f"{result} or {result + 10}", question, result)
    assert arithmetic.verify(f"{result}\nNo, it is {result + 10}.", question, result)
    assert arithmetic.verify(f"{result}7", question, result)
    assert arithmetic.verify("I cannot say.", question, result) == "it has no number"


def test_a_minus_is_a_sign_only_where_it_stands_before_a_number_alone():
    question, result = ARITHMETIC["difference of 3 digits"]
    assert (
        arithmetic.verify(question.removeprefix("What is ").replace(" ", "") + f" = {result}", question, result) is None
    )
    assert arithmetic.verify(str(-result), question, result)
    assert arithmetic.verify(f"{result}".replace("-", "\u2212"), question, result) is None


def test_a_needle_is_where_it_should_be_among_others_like_it():
    for tokens in (300, 4096):
        for depth in needle.DEPTHS:
            text, question, code = needle.haystack(tokens, depth)
            door = question.split(" of the ")[1].split(" door")[0]
            sentence = f"The code of the {door} door is {code}."
            assert text.count(sentence) == 1 and text.count(code) == 1
            assert abs(text.index(sentence) / (len(text) - len(sentence)) - depth / 100) < 0.12
            assert text.count("The code of the") == 6
            assert tokens * 2.5 < len(text) < tokens * 6
            other = next(word for word in text.split(" door is ")[1:] if not word.startswith(code))[:5]
            assert needle.verify(f"It is {code}.", code) is None
            assert needle.verify(f"<b>{code}</b>", code) is None
            for lie in (other, f"{code} or {other}", "", "I do not know.", code[:4], code + "1"):
                assert needle.verify(lie, code), lie


def test_depth_and_length_are_the_users():
    found = SUITES["needle"].items(Options(lengths=(300, 500)))
    assert [item.name for item in found][:6] == [
        "300 tokens, 0 %", "300 tokens, 25 %", "300 tokens, 50 %", "300 tokens, 75 %", "300 tokens, 100 %",
        "500 tokens, 0 %",
    ]  # fmt: skip


LIGHTHOUSE = "A lighthouse " + "stands on its rock and waits for the ships " * 5
FRENCH = (
    "Une bibliothèque est un lieu dans lequel sont les livres de la ville. On vient pour lire ou pour emprunter, et "
    "les enfants sont avec nous. Cette maison est pour tous."
)
#: Name of the item, right answers, wrong answers.
INSTRUCTIONS = {
    "word count": ([LIGHTHOUSE], [LIGHTHOUSE * 2, "A lighthouse is tall.", LIGHTHOUSE.replace("lighthouse", "tower")]),
    "three sentences": (
        ["Rain washes salt out of rocks on land. Rivers carry it to the sea. There water evaporates, and salt stays."],
        ["Rain washes salt out of rocks and rivers carry it to the sea. There it stays for a very long time.",
         "Rain washes salt out. Rivers carry it to the sea. There it stays, for water evaporates and salt does not"]),
    "bullets": (["- saw\n- hammer\n- plane\n- chisel"],
                ["- saw\n- hammer\n- plane", "* saw\n* hammer\n* plane\n* chisel", "Tools:\n- a\n- b\n- c\n- d"]),
    "numbered": (["1. Pacific\n2. Atlantic\n3. Indian\n4. Southern\n5. Arctic"],
                 ["1. Pacific\n2. Atlantic\n3. Indian\n4. Southern", "1. Pacific\n1. A\n1. B\n1. C\n1. D",
                  "1. Atlantic\n2. Indian\n3. Southern\n4. Arctic\n5. Baltic"]),
    "lower case": (["a bridge lets people cross a river or a road."],
                   ["A bridge lets people cross a river.", "a bridge."]),
    "no comma": (["I see bread and fish and people. " * 6], ["I see bread, fish and people. " * 6, "I see bread."]),
    "forbidden words": (["Coffee smells of roasted nuts and of morning. " * 4],
                        ["Coffee is a hot brew that smells of roasted nuts and of morning. " * 3, "Coffee is brown.",
                         "Tea smells of leaves and of morning and of rain. " * 4]),
    "required words": (["On Tuesday she carried her violin up the ladder."],
                       ["On Tuesday she carried her violin up.", "On Tuesday it rained. The violin is on the ladder."]),
    "first and last": (["SNOW falls on the roofs and on the fields. " * 3 + "This is the END."],
                       ["Snow falls on the roofs and on the fields. " * 3 + "This is the END.", "SNOW END",
                        "SNOW falls on the roofs and on the fields. " * 3 + "This is the end."]),
    "one word": (["Jupiter", "Jupiter."], ["Saturn", "It is Jupiter."]),
    "yes or no": (["NO", "NO."], ["YES", "no", "NO, it is 7 times 13."]),
    "title": (["<<The Slow White Fleet>>"], ["The Slow White Fleet", "<<Clouds>>", "Title: <<The Slow White Fleet>>"]),
    "table": (["| Animal | Legs |\n|---|---|\n| cat | 4 |\n| hen | 2 |\n| ant | 6 |"],
              ["| Animal | Legs |\n|---|---|\n| cat | 4 |", "Animal, Legs\ncat, 4\nhen, 2\nant, 6",
               "| Beast | Feet |\n|---|---|\n| cat | 4 |\n| hen | 2 |\n| ant | 6 |"]),
    "csv": (["January,31\nFebruary,28\nMarch,31"],
            ["month,days\nJanuary,31\nFebruary,28\nMarch,31", "January,31\nFebruary,29\nMarch,31", "January: 31"]),
    "german": (["Ein Bäcker steht früh auf und macht das Brot für die Stadt. Die Brötchen sind nicht teuer und der "
                "Teig ist von gestern."],
               ["A baker gets up early and makes the bread for the town. It is not easy, and the dough has to rest."]),
    "french": ([FRENCH], [LIGHTHOUSE, "Oui."]),
    "paragraphs": ([f"{'A river runs to the sea. ' * 4}\n***\n{'It carries sand and stones. ' * 4}"],
                   ["A river runs to the sea. " * 8, "Short.\n***\nShort.",
                    f"{'A river runs to the sea. ' * 4}\n***\nShort."]),
    "repeat": (["echo echo echo echo echo"], ["echo echo echo echo", "echo echo echo echo echo echo", "Echo! " * 5]),
    "alphabet": (["Apple\nBanana\nCherry\nDate\nFig\nGrape",
                  "1. Apple\n2. Banana\n3. Cherry\n4. Date\n5. Fig\n6. Kiwi"],
                 ["Apple\nBanana\nCherry\nDate\nFig", "Banana\nApple\nCherry\nDate\nFig\nGrape",
                  "Apple\nApricot\nCherry\nDate\nFig\nGrape"]),
    "backwards": (["10, 9, 8, 7, 6, 5, 4, 3, 2, 1"], ["1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "10 9 8 7 6 5 4 3 2 1"]),
}  # fmt: skip


def test_every_instruction_is_tested():
    assert list(INSTRUCTIONS) == [task.name for task in instructions.TASKS]


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_an_instruction_that_is_kept_is_seen_and_one_that_is_not(name):
    item, (right, wrong) = items("instructions")[name], INSTRUCTIONS[name]
    for text in right:
        assert item.verify(Said(text)) is None, text
    for text in wrong:
        assert item.verify(Said(text)), text
