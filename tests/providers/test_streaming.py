"""Bytes become events however they are cut, and what httpx raises becomes our errors."""

from __future__ import annotations

import itertools
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import (
    ProviderConnectionError,
    ProviderError,
    ProviderStreamError,
    ProviderTimeoutError,
)
from convai_lab.providers.streaming import (
    EventDecoder,
    EventTooLarge,
    ServerEvent,
    parse_object,
    parse_together,
    vendor_errors,
)


def decode(*chunks: bytes, limit: int = 1000) -> list[ServerEvent]:
    decoder = EventDecoder(limit=limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data:a\n\ndata:  b\n\n", ["a", " b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\n", [""]),
        (b": comment\n\ndata: a\n: more\n\n:\n\n", ["a"]),
        (b"id: 7\nretry: 10\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: a\n\ndata: \xef\xbb\xbfb\n\n", ["a", "\ufeffb"]),
        (b"data: a", ["a"]),
        (b"data: a\n", ["a"]),
        (b"\n\n\n", []),
        (b"", []),
        (b"event: x\n\ndata: a\n\n", ["a"]),
        (b"data: \xff\xfe\n\n", ["\ufffd\ufffd"]),
        (b'{"error": "not a stream"}', []),
    ],
)
def test_streams_are_read_as_the_standard_says(stream: bytes, expected: list[str]) -> None:
    assert [event.data for event in decode(stream)] == expected
    single = [stream[i : i + 1] for i in range(len(stream))]
    assert [event.data for event in decode(*single)] == expected


def test_an_event_has_its_name_and_the_next_does_not() -> None:
    assert decode(b"event: ping\ndata: a\n\ndata: b\n\n") == [ServerEvent("ping", "a"), ServerEvent("", "b")]


texts = st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"]), max_size=30)


@given(
    events=st.lists(texts, max_size=6),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_where_the_bytes_are_cut_makes_no_difference(events: list[str], newline: bytes, cuts: list[int]) -> None:
    stream = b"".join(b"data: " + text.encode() + newline + newline for text in events)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert [event.data for event in decode(*chunks, limit=100_000)] == events


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_at_all_are_survived(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert sum(len(event.data) for event in decode(*chunks, limit=10_000)) <= len(whole), "nothing is made up"


@pytest.mark.parametrize(
    "chunks", [[b"data: " + b"x" * 1001], [b"x" * 600, b"x" * 600], [b"data: " + b"x" * 90 + b"\n"] * 12]
)
def test_a_huge_line_or_event_is_refused(chunks: list[bytes]) -> None:
    with pytest.raises(EventTooLarge):
        decode(*chunks)


@pytest.mark.parametrize("data", ["{", "nul", "[1]", "17", '"text"', "null", "[" * 100_000])
def test_what_is_not_a_json_object_is_a_stream_error(data: str) -> None:
    with pytest.raises(ProviderStreamError):
        parse_object(data, provider="p", model="m")


REQUEST = httpx.Request("POST", "http://user:pass@host/v1?key=secret-in-query")


@pytest.mark.parametrize(
    ("raised", "before", "during"),
    [
        (httpx.ConnectError("x"), ProviderConnectionError, ProviderConnectionError),
        (httpx.ConnectTimeout("x"), ProviderConnectionError, ProviderConnectionError),
        (httpx.ReadTimeout("x"), ProviderTimeoutError, ProviderTimeoutError),
        (httpx.PoolTimeout("x"), ProviderTimeoutError, ProviderTimeoutError),
        (TimeoutError(), ProviderTimeoutError, ProviderTimeoutError),
        (httpx.ReadError("x"), ProviderConnectionError, ProviderStreamError),
        (httpx.RemoteProtocolError("x"), ProviderConnectionError, ProviderStreamError),
        (httpx.ProxyError("x"), ProviderConnectionError, ProviderStreamError),
        (httpx.UnsupportedProtocol("x"), ProviderConnectionError, ProviderConnectionError),
        (httpx.InvalidURL("x"), ProviderConnectionError, ProviderConnectionError),
        (httpx.DecodingError("x"), ProviderStreamError, ProviderStreamError),
    ],
)
def test_what_httpx_raises_becomes_ours_without_the_url(
    raised: Exception, before: type[ProviderError], during: type[ProviderError]
) -> None:
    for expected, answering in ((before, False), (during, True)):
        with pytest.raises(expected) as caught, vendor_errors("p", "m", answering=answering):
            raise raised
        assert type(caught.value) is expected
        assert caught.value.__suppress_context__
        assert "secret-in-query" not in str(caught.value)


def test_other_errors_pass_through() -> None:
    with pytest.raises(json.JSONDecodeError), vendor_errors("p", "m"):
        json.loads("{")


@given(
    events=st.lists(st.tuples(st.sampled_from([b"data: ", b"data:", b"event: x\ndata: ", b": c\ndata: "]), texts)),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_the_quick_way_for_whole_events_reads_what_the_long_way_reads(
    events: list[tuple[bytes, str]], cuts: list[int]
) -> None:
    stream = b"".join(start + text.encode() + b"\n\n" for start, text in events)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert decode(*chunks, limit=100_000) == decode(*(bytes([byte]) for byte in stream), limit=100_000)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (['{"a": 1}', '{"b": 2}'], [{"a": 1}, {"b": 2}]),
        (['{"a": 1', '"b": 2}'], None),
        (['{"a": 1},{"b": 2}'], None),
        (['{"a": 1}', "rubbish"], None),
        (['{"a": 1}', "2"], None),
        (["[" * 100_000], None),
    ],
)
def test_texts_are_read_together_only_when_each_is_an_object(texts: list[str], expected: object) -> None:
    assert parse_together(texts) == expected
