"""Cassettes on disk: nothing whole is lost, nothing secret is written, and nothing odd is believed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import CassetteMissError, ConvaiLabError, InvalidValueError, ProviderAuthError, StorageError
from convai_lab.providers import cassette_file
from convai_lab.providers.base import ChatMessage, ChatRequest, LLMEvent, TextDelta
from convai_lab.providers.cassette import Cassette, as_cassette, plain
from convai_lab.providers.cassette_file import CassetteFile, Recording
from convai_lab.providers.cassette_secrets import DEEPEST_JSON, clean_text, without_secrets
from convai_lab.settings import STARS, Secret
from convai_lab.testing.fake_llm import FakeLLM, Reply

HEAD = '{"convai_cassette":1,"id":"abc"}\n'
PART = '{"part":"m","value":{"role":"user","content":"Hi"}}\n'
DONE = '[0.1,"done",{"finish_reason":"stop","model_served":"m","usage":{}}]'
CALL = (
    '{"kind":"llm","request":{"provider":"fake","model":"fake-model","messages":["m"]},'
    '"answer":{"events":[[0.1,"text","Hello"],' + DONE + "]}}\n"
)
HI = ChatRequest(messages=[ChatMessage(role="user", content="Hi")])


async def heard(cassette: Cassette, request: ChatRequest = HI) -> list[LLMEvent]:
    return [event async for event in cassette.llm_named("fake", "fake-model").stream(request)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.jsonl"


async def test_the_documented_lines_are_a_cassette(path: Path) -> None:
    path.write_text(HEAD + PART + CALL)
    assert (await heard(Cassette(path)))[0] == TextDelta("Hello")


@pytest.mark.parametrize("keep", [1, 30, -2, -1])
async def test_a_torn_last_line_is_dropped_with_a_note(path: Path, keep: int) -> None:
    path.write_text(HEAD + PART + CALL + CALL[:keep])
    cassette = Cassette(path)
    assert (await heard(cassette))[0] == TextDelta("Hello")
    whole = keep == -1  # only its newline is missing
    assert cassette.notes == (
        () if whole else ("line 4 is torn and was left out: whoever wrote it was ended meanwhile",)
    )


async def test_recording_goes_on_behind_a_torn_line(path: Path) -> None:
    path.write_text(HEAD + PART + CALL + CALL[:50])
    live = Cassette(path, "record").llm(FakeLLM(["More"]))
    assert [event async for event in live.stream(HI)]
    cassette = Cassette(path)
    assert [(await heard(cassette))[0] for _ in range(2)] == [TextDelta("Hello"), TextDelta("More")]
    assert "line 4 is torn" in cassette.notes[0]
    with pytest.raises(CassetteMissError, match="line 4 is torn"):
        await heard(cassette)


def _record_until_killed(path: Path, told: Connection) -> None:
    async def run() -> None:
        llm = Cassette(path, "record").llm(FakeLLM(lambda request: request.messages[-1].content))
        for i in range(100_000):
            request = ChatRequest(messages=[ChatMessage(role="user", content=f"number {i} " + "x" * 3000)])
            _ = [event async for event in llm.stream(request)]
            told.send(i)

    asyncio.run(run())


async def test_what_was_recorded_before_a_kill_is_there(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    hears, tells = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_record_until_killed, args=(path, tells))
    process.start()
    tells.close()
    try:
        while (told := hears.recv()) < 200:
            pass
    finally:
        process.kill()
        process.join()
        hears.close()
    cassette = Cassette(path)
    recorded = len(cassette.of_kind("llm"))
    assert recorded > told
    assert len(cassette.notes) <= 1
    last = ChatRequest(messages=[ChatMessage(role="user", content=f"number {recorded - 1} " + "x" * 3000)])
    assert (await heard(cassette, last))[0] == TextDelta("number")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "its first line is no head"),
        (b"hello\n", "its first line is no head"),
        (b"[]\n", "its first line is no head"),
        (b"\x00\xff\xfe" * 1000, "its first line is no head"),
        (b'{"convai_cassette":2,"id":"x"}\n', "version 2, and this is made for version 1"),
        (b'{"convai_cassette":1}\n', "no head"),
        (b'{"convai_cassette":1,"id":7}\n', "its head has no id"),
        ((HEAD + "7\n").encode(), "line 2 is not a JSON object"),
        ((HEAD + "{'a': 1}\n").encode(), "line 2 is not JSON .*was it edited"),
        (HEAD.encode() + b'{"part":"\xff\xfe","value":{}}\n', "line 2 is not text"),
        ((HEAD + "[" * 100_000 + "\n").encode(), "line 2 is (nested too deeply|not a JSON object)"),
        ((HEAD + PART + PART.replace("Hi", "Ho")).encode(), "line 3: the part m is there twice"),
        ((HEAD + '{"part":7,"value":{}}\n').encode(), "line 2: a part needs a name"),
        ((HEAD + CALL).encode(), r"line 2: request.messages names the part m, which no line before it holds"),
        ((HEAD + PART + CALL.replace('["m"]', "7")).encode(), r"line 3: request.messages must name parts"),
        ((HEAD + PART + CALL.replace('"llm"', '"virus"')).encode(), "line 3: kind must be one of .*, got 'virus'"),
        ((HEAD + PART + '{"kind":"llm","request":[],"answer":{}}\n').encode(), "line 3: request and answer"),
        ((HEAD + PART + CALL.replace("{", '{"take":0,', 1)).encode(), "line 3: scope must be a text and take"),
    ],
)
def test_what_is_no_cassette_is_refused_with_its_line(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidValueError, match=said) as error:
        Cassette(path)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, 'line 3: events: has no ."done". event'),
        ({"events": 7}, "events: must be a list"),
        ({"events": [[0, "text", 7]]}, r"events\[0\]: must be .secs"),
        ({"events": [[-1, "text", "x"]]}, r"events\[0\]"),
        ({"events": [[1e999, "text", "x"]]}, r"events\[0\]"),
        ({"events": [[True, "text", "x"]]}, r"events\[0\]"),
        ({"events": [[0, "call", {"id": "a"}]]}, r"events\[0\]"),
        ({"events": [[0, "done", {"finish_reason": "tired", "model_served": "m"}]]}, "no finish reason 'tired'"),
        ({"events": [[0, "text", "x"]], "ended": "late", "cut": True}, "ended: must be seconds"),
        ({"events": [], "error": {"class": "SystemExit", "message": ""}}, "error: there is no error 'SystemExit'"),
        ({"events": [], "error": {"class": "Sequence"}}, "there is no error 'Sequence'"),
        ({"events": [], "error": {"class": "ProviderError", "message": 7}}, "needs a message"),
    ],
)
async def test_an_answer_that_was_edited_into_nonsense_names_its_place(path: Path, answer: Any, said: str) -> None:
    call = {**json.loads(CALL), "answer": answer}
    path.write_text(HEAD + PART + json.dumps(call) + "\n")
    with pytest.raises(InvalidValueError, match=said):
        await heard(Cassette(path))


def test_far_too_much_is_refused_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cassette_file, "LONGEST_LINE_BYTES", 1 << 20)
    path.write_text(HEAD + PART + "x" * (1 << 21))
    with pytest.raises(InvalidValueError, match="line 3 is longer than 1 MiB"):
        Cassette(path)
    monkeypatch.setattr(cassette_file, "LARGEST_FILE_BYTES", 1 << 30)
    bomb = path.with_suffix(".jsonl.gz")
    monkeypatch.setattr(cassette_file, "LARGEST_FILE_BYTES", 1 << 20)
    with gzip.open(bomb, "wb") as file:
        file.write(HEAD.encode() + b"\n" * (3 << 20))
    with pytest.raises(InvalidValueError, match="holds more than"):
        Cassette(bomb)


async def test_a_compressed_cassette_is_replayed_and_not_recorded_into(path: Path) -> None:
    packed = path.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress((HEAD + PART + CALL).encode()))
    assert (await heard(Cassette(packed)))[0] == TextDelta("Hello")
    fillers = "".join(f'{{"part":"p{i}","value":"{i * 7919 % 10007}"}}\n' for i in range(20_000))
    whole = gzip.compress((HEAD + PART + CALL + fillers).encode())
    packed.write_bytes(whole[: len(whole) // 2])
    cut = Cassette(packed)
    assert (await heard(cut))[0] == TextDelta("Hello")
    assert "the compressed file is cut short" in cut.notes[0]
    with pytest.raises(InvalidValueError, match=r"compressed, which can only be replayed: record into c.jsonl"):
        Cassette(packed, "record")
    packed.write_bytes(b"no gzip")
    with pytest.raises((InvalidValueError, StorageError)):
        Cassette(packed)


def test_a_folder_and_a_file_that_is_no_cassette_are_not_written_into(path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        Cassette(path.parent, "record")
    path.write_text("my notes\n")
    with pytest.raises(InvalidValueError, match="is not a cassette"):
        Cassette(path, "record")
    assert path.read_text() == "my notes\n"


async def test_a_cassette_that_is_removed_while_it_is_recorded_begins_again_whole(path: Path) -> None:
    llm = Cassette(path, "record").llm(FakeLLM(["One", "Two"]))
    _ = [event async for event in llm.stream(HI)]
    path.unlink()
    _ = [event async for event in llm.stream(HI)]
    assert (await heard(Cassette(path)))[0] == TextDelta("Two")


KEY = "sk-live-4f9b2c7d8e1a0b3c"


async def test_no_secret_is_written_wherever_it_stands(path: Path) -> None:
    Secret(KEY)
    calls = (ToolCall(id="c", name="login", arguments={"api_key": "hunter2", "note": f"use {KEY}", "n": [KEY]}),)
    request = ChatRequest(
        messages=[
            ChatMessage(role="system", content=f"The key is {KEY}."),
            ChatMessage(role="assistant", tool_calls=calls),
            ChatMessage(role="tool", content='{"Authorization": "Bearer abcdefghijklmnop", "ok": 1}', tool_call_id="c"),
            ChatMessage(role="user", content="curl -H 'xi-api-key: 0123456789abcdef' https://me:pa55word@example.com"),
        ],
        extra_body={"headers": {"x-api-key": "zzzz-secret-zzzz"}, "password": "opensesame"},
    )
    split = Reply(
        ["You said sk-live-4f9b", "2c7d8e1a0b3c", ", right?"], (ToolCall(id="d", name="t", arguments={"k": KEY}),)
    )
    refused = ProviderAuthError(f"Incorrect API key provided: {KEY}", provider="openai")
    cassette = Cassette(path, "record")
    llm = cassette.llm(FakeLLM([split, refused]))
    for _ in range(2):
        with contextlib.suppress(ConvaiLabError):
            _ = [event async for event in llm.stream(request)]

    async def tool() -> str:
        return json.dumps({"token": KEY, "client_secret": "s3cr3t-value"})

    await cassette.tool("fetch", {"url": "https://a:bcdefgh@x.org", "token": "tok_12345678"}, tool)
    written = path.read_text()
    for secret in (KEY, "4f9b2c7d", "hunter2", "abcdefghijklmnop", "0123456789abcdef", "pa55word", "zzzz-secret",
                   "opensesame", "s3cr3t", "bcdefgh@", "tok_1234"):  # fmt: skip
        assert secret not in written, secret
    assert STARS in written
    again = Cassette(path).llm_named("fake", "fake-model")
    said = "".join(e.text for e in [event async for event in again.stream(request)] if isinstance(e, TextDelta))
    assert said == f"You said {STARS}, right?"
    with pytest.raises(ProviderAuthError, match=r"Incorrect API key provided"):
        _ = [event async for event in again.stream(request)]


@pytest.mark.parametrize(
    "text",
    [
        "The password is on the back of the card.",
        "Your secret is safe with me",
        "max_tokens: 500, token count 12",
        "author: someone, keyboard: qwerty12345",
        "https://example.com/a:b@c",
        "The bearer of this letter",
        "Ünïcödé \ud83d\ude00 \udc80",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean_text(text) == text


def test_scrubbing_a_hostile_text_takes_no_time() -> None:
    began = time.process_time()
    for text in (
        "api_key" * 20_000,
        "://" + "a" * 200_000,
        "authorization: " * 20_000,
        "bearer " * 40_000,
        "-" * 200_000,
        "a-" * 20_000,
        "_-" * 20_000,
        "_token" * 20_000,
    ):
        clean_text(text)
    assert time.process_time() - began < 2


def test_deep_and_odd_values_are_written_as_far_as_they_go(path: Path) -> None:
    deep: Any = "bottom"
    for _ in range(300):
        deep = {"a": deep}
    assert json.dumps(without_secrets(deep)).count("a") <= DEEPEST_JSON + 2
    file = CassetteFile(path)
    file.add(Recording("tool", {"name": "t", "arguments": {"x": "\udc80\u2028\n"}}, {"value": None}))
    assert file.read().recordings[0].request["arguments"] == {"x": "\udc80\u2028\n"}
    with pytest.raises(ConvaiLabError, match="not plain JSON"):
        plain({"x": object()})


def test_the_setting_travels_to_the_platform_with_its_whole_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("CONVAI_LAB_CASSETTE", "c.jsonl:record")
    sent = settings.provider_settings()
    assert sent["CONVAI_LAB_CASSETTE"] == f"{path}:record"
    made = as_cassette(sent["CONVAI_LAB_CASSETTE"])
    assert made is not None
    assert (made.path, made.mode) == (path, "record")
