"""How much of an answer is taken, and when we may ask again."""

from __future__ import annotations

import gzip
import zlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import ResponseTooLargeError
from convai_lab.http import new_client, read_limited, retry_after_secs

OK = b"HTTP/1.1 200 OK\r\n"
NOW = 1_767_225_600.0  # Thu, 01 Jan 2026 00:00:00 GMT


async def read(server, max_bytes):
    async with new_client() as client, client.stream("GET", server.url) as response:
        return await read_limited(response, max_bytes)


@pytest.mark.parametrize("head", [b"Content-Length: 5\r\n\r\nhello", b"\r\nhello"])
async def test_a_body_up_to_the_limit_is_read(head, serve):
    assert await read(await serve(OK + head), 5) == b"hello"


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 6\r\n\r\nhello!", b"\r\nhello!", b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n"],
)
async def test_a_larger_body_is_refused_in_words(head, serve):
    server = await serve(OK + head)
    with pytest.raises(ResponseTooLargeError, match=r"http://127\.0\.0\.1:\d+ is larger than 5 bytes") as caught:
        await read(server, 5)
    assert caught.value.max_bytes == 5


async def test_a_body_that_says_it_is_larger_is_not_read_at_all(serve):
    server = await serve(OK + b"Content-Length: 99999999999\r\n\r\n", "hang")
    with pytest.raises(ResponseTooLargeError):
        await read(server, 1_000_000)


async def test_a_body_without_end_is_left(serve):
    server = await serve(OK + b"\r\n", *[b"x" * 10_000] * 100, "hang")
    with pytest.raises(ResponseTooLargeError):
        await read(server, 500_000)


async def test_a_small_body_that_unfolds_is_counted_unfolded(serve):
    packed = gzip.compress(b"\0" * 20_000_000)
    assert len(packed) < 30_000
    server = await serve(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
    with pytest.raises(ResponseTooLargeError):
        await read(server, 1_000_000)


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies_are_read(name, pack, serve):
    server = await serve(OK + f"Content-Encoding: {name}\r\n\r\n".encode() + pack(b"hello"))
    assert await read(server, 100) == b"hello"


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "deflate,gzip", "snake-oil"])
async def test_other_compressions_are_refused(name, serve):
    server = await serve(OK + f"Content-Encoding: {name}\r\n\r\nhello".encode())
    with pytest.raises(httpx.DecodingError, match="not asked for"):
        await read(server, 100)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60.0),
        ({"retry-after": "Thursday, 01-Jan-26 00:01:00 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 2026 01:01:00 +0100"}, 60.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after": ""}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Thu, 99 Foo 2026 00:01:00 GMT"}, None),
        ({"retry-after": "Thu, 01 Jan 99999 00:01:00 GMT"}, None),
    ],
)
def test_retry_after_is_understood_in_both_forms(headers, expected):
    assert retry_after_secs(httpx.Response(429, headers=headers), NOW) == expected


def test_the_first_of_several_retry_afters_counts():
    response = httpx.Response(429, headers=[("retry-after", "2"), ("retry-after", "9")])
    assert retry_after_secs(response, NOW) == 2.0


@given(st.text(st.characters(max_codepoint=255)))
def test_no_retry_after_is_an_error(text):
    response = httpx.Response(429, headers={"retry-after": text.encode("latin-1")})
    answer = retry_after_secs(response, NOW)
    assert answer is None or answer >= 0
