"""Where HTTP messages begin and end, however their bytes are cut; h11 says the same."""

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokwatt_exporter.proxy.framing import MAX_HEAD_BYTES, Requests, Responses, Unreadable

bodies = st.binary(max_size=300)
HOST = [("Host", "x")]


@st.composite
def messages(draw, sender):
    """What h11 writes for some messages, and what they are: pairs of start and body."""
    ours = h11.Connection(sender)
    wire, told = b"", []
    for body in draw(st.lists(bodies, min_size=1, max_size=4)):
        length = draw(st.booleans())
        headers = [("Content-Length", str(len(body)))] if length else [("Transfer-Encoding", "chunked")]
        if sender is h11.CLIENT:
            wire += ours.send(h11.Request(method="POST", target="/v1/chat", headers=HOST + headers))
            told.append(("POST", 0, body))
        else:
            ours.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            while ours.next_event() not in (h11.NEED_DATA, h11.PAUSED):
                pass
            wire += ours.send(h11.Response(status_code=200, headers=headers))
            told.append(("POST", 200, body))
        for at in range(0, len(body), 7):
            wire += ours.send(h11.Data(data=body[at : at + 7]))
        wire += ours.send(h11.EndOfMessage())
        if sender is h11.SERVER:
            ours.start_next_cycle()
        else:
            ours = h11.Connection(sender)
    return wire, told


def pieces(wire, cuts):
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    return [wire[a:b] for a, b in itertools.pairwise(places)]


def gathered(parts):
    found, head, body = [], None, b""
    for part in parts:
        if part.head:
            head, body = part.head, b""
        elif part.end:
            found.append((head.method, head.status, body))
        else:
            body += part.body
    return found


def answers(data, method="POST"):
    reader, parts = Responses(), []
    for piece in data:
        while piece:
            new, piece = reader.feed(piece, method)
            parts += new
    return reader, gathered(parts)


@given(messages(h11.CLIENT), st.lists(st.integers(0, 5000), max_size=12))
def test_requests_are_those_that_were_sent_however_they_are_cut(sent, cuts):
    wire, told = sent
    reader = Requests()
    assert gathered([part for piece in pieces(wire, cuts) for part in reader.feed(piece)]) == told
    assert reader.between


@given(messages(h11.SERVER), st.lists(st.integers(0, 5000), max_size=12))
def test_answers_are_those_that_were_sent_however_they_are_cut(sent, cuts):
    wire, told = sent
    assert answers(pieces(wire, cuts))[1] == told


def test_an_answer_without_a_length_is_as_long_as_its_connection():
    reader, found = answers([b"HTTP/1.0 200 OK\r\n\r\n", b"abc", b"HTTP/1.1 200 OK\r\n\r\n"])
    assert found == []
    assert reader.eof()


@pytest.mark.parametrize(("status", "method"), [(204, "POST"), (304, "GET"), (200, "HEAD")])
def test_some_answers_have_no_body_whatever_they_say(status, method):
    wire = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    assert answers([wire * 2], method)[1] == [(method, status, b"")] * 2


def test_100_continue_is_not_yet_the_answer():
    wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    assert answers([wire])[1] == [("POST", 200, b"x")]


@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
        b"POST / HTTP/1.1\r\nno header\r\n\r\n",
        b"POST / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * (MAX_HEAD_BYTES + 1),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read_at_all(wire):
    with pytest.raises(Unreadable):
        list(Requests().feed(wire))


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_bytes_are_anything_but_messages_or_unreadable(data, cuts):
    for read in (Requests().feed, lambda piece: Responses().feed(piece, "POST")):
        try:
            for piece in pieces(data, cuts):
                list(read(piece))
        except Unreadable:
            pass
