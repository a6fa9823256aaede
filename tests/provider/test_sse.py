"""Server-sent events come out whole, however the bytes were cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling.provider import _sse
from starling.provider._sse import SSEDecoder


def decode(*blocks):
    decoder = SSEDecoder()
    events = [event for block in blocks for event in decoder.feed(block)]
    return events + decoder.finish()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata:  b\r\n\r\n", [b"a", b" b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": keep-alive\n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"data: [DONE]\n", [b"[DONE]"]),
        (b"data: [DONE]\r", [b"[DONE]"]),
        (b"data: whole\n\ndata: cut", [b"whole"]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_events(stream, events):
    assert decode(stream) == events


@given(
    st.lists(st.text(alphabet="ab {}:é\u2028").map(str.encode), max_size=5),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(min_value=0, max_value=60), max_size=6),
)
def test_the_cuts_between_blocks_do_not_matter(payloads, line_end, cuts):
    stream = b"".join(b"data: " + payload + line_end * 2 for payload in payloads)
    at = [0, *sorted(cuts), len(stream)]
    blocks = [stream[one:two] for one, two in pairwise(at)]
    assert decode(*blocks) == payloads


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_each_byte_is_looked_at_once_however_long_an_event_is(line_end, monkeypatch):
    looked_at = []

    class Counting:
        def split(self, data):
            looked_at.append(len(data))
            return line_ends.split(data)

    line_ends = _sse._LINE_END
    monkeypatch.setattr(_sse, "_LINE_END", Counting())
    payload = b"x" * 200_000
    stream = b"data: " + payload + line_end * 2
    blocks = [stream[at : at + 64] for at in range(0, len(stream), 64)]

    assert decode(*blocks) == [payload]
    assert sum(looked_at) <= len(stream) + len(blocks)
