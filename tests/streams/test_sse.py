import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokwatt_exporter.streams.sse import JsonLines, ServerSentEvents

STREAM = [("data", '{"text": "zwölf 🙂"}'), ("comment", "keep-alive"), ("data", "two"), ("data", "[DONE]")]


def events(reader, pieces):
    found = [event for at_ns, piece in pieces for event in reader.feed(at_ns, piece)]
    return found + list(reader.end())


def server_sent_events(pieces):
    return events(ServerSentEvents(), pieces)


def json_lines(pieces):
    return events(JsonLines(), pieces)


def encoded(end, colon=": "):
    lines = [f"{': ' if kind == 'comment' else 'data' + colon}{text}{end}{end}" for kind, text in STREAM]
    return "".join(lines).encode()


def cut(data, places):
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [(number, data[a:b]) for number, (a, b) in enumerate(itertools.pairwise(ends))]


def read(pieces):
    return [("comment" if e.comment else "data", e.data.decode()) for e in server_sent_events(pieces)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("colon", [": ", ":"], ids=["space", "no space"])
@given(places=st.lists(st.integers(0, 400), max_size=30))
def test_events_are_the_same_wherever_reads_cut_them(end, colon, places):
    assert read(cut(encoded(end, colon), places)) == STREAM


def test_events_are_the_same_byte_by_byte():
    for end in ("\n", "\r\n", "\r"):
        data = encoded(end)
        assert read(cut(data, range(len(data)))) == STREAM


def test_an_event_has_the_time_of_the_read_that_completed_it():
    pieces = [(10, b"data: a\n"), (20, b"\ndata: b\n\ndata: c"), (30, b"c\n\n")]
    assert [(e.at_ns, e.data) for e in server_sent_events(pieces)] == [(20, b"a"), (20, b"b"), (30, b"cc")]


def test_a_cr_ends_the_line_without_waiting_for_what_follows():
    pieces = [(10, b"data: a\r\r"), (20, b"\ndata: b\r\r")]
    assert [(e.at_ns, e.data) for e in server_sent_events(pieces)] == [(10, b"a"), (20, b"b")]


def test_only_one_lf_belongs_to_a_cr():
    assert read([(1, b"data: a\r"), (2, b"\n"), (3, b"\ndata: b\n\n")]) == [("data", "a"), ("data", "b")]


def test_several_data_lines_are_one_event():
    assert read([(1, b"data: a\ndata: b\nid: 7\nretry: 1\n\n")]) == [("data", "a\nb")]


def test_an_event_has_its_kind():
    [event] = server_sent_events([(1, b"event: error\ndata: {}\n\n")])
    assert event.kind == "error"


def test_what_has_no_empty_line_after_it_is_given_at_the_end():
    assert read([(1, b"data: a\n\ndata: [DONE]")]) == [("data", "a"), ("data", "[DONE]")]


def test_only_one_space_after_the_colon_is_not_data():
    assert read([(1, b"data:  a\n\n")]) == [("data", " a")]


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.integers(0, 400), max_size=20))
def test_json_lines_are_the_same_wherever_reads_cut_them(texts, places):
    data = "".join(json.dumps({"response": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    assert [json.loads(e.data)["response"] for e in json_lines(cut(data, places))] == texts


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_are_too_strange_to_be_read(parts):
    pieces = list(enumerate(parts))
    server_sent_events(pieces)
    json_lines(pieces)
