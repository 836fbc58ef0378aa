"""What is written about the MCP server: all that it has, and the transcript is of what it has."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from mcp import Client

from support.mcp_transcript import END, MARK, questions, short
from tokwatt_exporter.mcp_server.server import build
from web.serving import settings

pytestmark = pytest.mark.text

TEXT = (Path(__file__).parents[2] / "docs/mcp.md").read_text()


@pytest.fixture(scope="module")
def listed():
    async def everything():
        async with Client(build(settings())) as client:
            tools, resources, prompts = [
                await ask() for ask in (client.list_tools, client.list_resources, client.list_prompts)
            ]
            return tools.tools, [str(one.uri) for one in resources.resources], [one.name for one in prompts.prompts]

    return asyncio.run(everything())


def test_every_tool_resource_and_prompt_is_in_the_document(listed):
    tools, resources, prompts = listed
    table = " ".join(re.findall(r"^\| (`.*?) \|", TEXT, re.M))
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(tool.name for tool in tools)
    assert re.findall(r"`(tokwatt://\w+)`", TEXT) == resources
    [said] = re.findall(r"Prompts: (.*?)\.\n", TEXT)
    assert re.findall(r"`(\w+)`", said) == prompts


def test_the_transcript_asks_what_there_is_and_its_answers_are_of_that_kind(listed):
    tools = {tool.name: tool for tool in listed[0]}
    transcript = TEXT.partition(MARK)[2].partition(END)[0]
    assert re.findall(r"^\*\*(.*)\*\*$", transcript, re.M) == [question.text for question in questions()]
    calls = re.findall(r"^`(\w+)\((.*?)\)`\n\n```json\n(.*?)\n```$", transcript, re.M | re.S)
    assert [name for name, *_ in calls] == [name for question in questions() for name, _ in question.calls]
    for name, given, answer in calls:
        assert set(re.findall(r"(\w+)=", given)) <= tools[name].input_schema["properties"].keys()
        assert json.loads(answer).keys() == tools[name].output_schema["properties"].keys()


def test_what_is_left_out_is_said():
    assert short(list(range(9))) == [0, 1, 2, "… 6 more"]
    assert short({str(n): 1.0 for n in range(14)})["…"] == "2 more"
    assert short("x" * 200) == "x" * 110 + "…"
    assert short(1.23456) == 1.235
