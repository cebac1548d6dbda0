"""Cassettes of language models: what was recorded is replayed, and nothing else ever is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import (
    CassetteMissError,
    ConvaiLabError,
    InvalidValueError,
    ModelNotFoundError,
    ProviderRateLimitError,
    StorageError,
)
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, ToolSpec, Usage
from convai_lab.providers.cassette import Cassette, as_cassette, split_mode
from convai_lab.providers.offline_llm import OfflineLLM
from convai_lab.testing.fake_llm import FakeLLM, Reply, Scripted, call

ORDER_TOOL = ToolSpec(name="order_status", description="Look up an order.")


def asking(*texts: str, **options: Any) -> ChatRequest:
    roles: Sequence[Any] = ("user", "assistant")
    messages = [ChatMessage(role="system", content="Be brief.")]
    messages += [ChatMessage(role=roles[i % 2], content=text) for i, text in enumerate(texts)]
    return ChatRequest(messages=messages, **options)


async def heard(llm: LLM, request: ChatRequest) -> list[LLMEvent]:
    return [event async for event in llm.stream(request)]


async def said(llm: LLM, request: ChatRequest) -> str:
    return "".join(event.text for event in await heard(llm, request) if isinstance(event, TextDelta))


def record(path: Path, replies: Sequence[Scripted], *requests: ChatRequest, mode: Any = "record") -> list[Any]:
    """Record the answers to some requests, one after the other, and return what was heard."""

    async def run() -> list[Any]:
        llm = Cassette(path, mode).llm(FakeLLM(list(replies)))
        answers: list[Any] = []
        for request in requests:
            try:
                answers.append(await heard(llm, request))
            except ConvaiLabError as error:
                answers.append(error)
        return answers

    return asyncio.run(run())


def replayed(path: Path, **options: Any) -> LLM:
    """Return the recorded model, with nobody behind it."""
    return Cassette(path, **options).llm_named("fake", "fake-model")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "support.jsonl"


async def test_an_answer_comes_back_event_by_event(path: Path) -> None:
    usage = Usage(input=20, output=9, cached_input=5, reasoning=2)
    tool_call = ToolCall(
        id="call_1", name="order_status", arguments={"order_id": "1234", "n": [1, None]}, extra={"s": "x"}
    )
    reply = Reply("Let me look.", (tool_call,), usage=usage, model_served="fake-2026")
    request = asking("Where is 1234?", tools=(ORDER_TOOL,), temperature=0.2, seed=3)
    live = await heard(Cassette(path, "record").llm(FakeLLM([reply])), request)
    assert await heard(replayed(path), request) == live
    assert live[-1] == Done("tool_calls", "fake-2026", usage)
    assert tool_call in live


def test_a_replay_takes_exactly_the_recorded_times_in_virtual_time(path: Path) -> None:
    async def times(llm: LLM, clock: VirtualClock) -> list[float]:
        began = clock.now()
        return [round(clock.now() - began, 6) async for _ in llm.stream(asking("Hi"))]

    clock = VirtualClock()
    slow = FakeLLM([Reply(["One ", "two ", "three"], delay_secs=0.4, piece_secs=0.123457)], clock=clock)
    live = clock.run(times(Cassette(path, "record").llm(slow), clock))
    assert live == [0.4, 0.523457, 0.646914, 0.646914]
    again = VirtualClock(seed=5)
    assert again.run(times(replayed(path), again)) == live


async def test_a_replay_in_real_time_takes_none_unless_it_is_paced(path: Path) -> None:
    path.write_text(
        '{"convai_cassette":1,"id":"x"}\n{"part":"m","value":{"role":"user","content":"Hi"}}\n'
        '{"kind":"llm","request":{"provider":"fake","model":"fake-model","messages":["m"]},"answer":{"events":'
        '[[0.05,"text","Yo"],[900,"done",{"finish_reason":"stop","model_served":"m","usage":{}}]],"ended":900}}\n'
    )
    request = ChatRequest(messages=[ChatMessage(role="user", content="Hi")])
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await said(replayed(path), request) == "Yo"
    assert loop.time() - began < 0.05
    began = loop.time()
    async for _ in replayed(path, pace=True).stream(request):
        break
    assert loop.time() - began >= 0.049


async def test_a_vendors_error_comes_back_as_the_same_class_with_its_evidence(path: Path) -> None:
    refused = ProviderRateLimitError("slow down", provider="openai", model="gpt-4o", retry_after=2.5)
    unknown = ModelNotFoundError("no such model", provider="openai", model="gpt-5o", suggestions=["gpt-4o"])
    await asyncio.to_thread(record, path, [refused, Reply("Half", error=unknown)], asking("a"), asking("b"))
    llm = replayed(path)
    with pytest.raises(ProviderRateLimitError, match=r"^openai: slow down$") as first:
        await heard(llm, asking("a"))
    assert (first.value.retry_after, first.value.status, first.value.model) == (2.5, 429, "gpt-4o")
    stream = llm.stream(asking("b"))
    assert await anext(stream) == TextDelta("Half")
    with pytest.raises(ModelNotFoundError, match="did you mean gpt-4o") as second:
        await anext(stream)
    assert second.value.suggestions == ("gpt-4o",)


async def test_the_nth_identical_request_gets_the_nth_recording_and_then_a_miss(path: Path) -> None:
    await asyncio.to_thread(record, path, ["one", "two"], asking("Hi"), asking("Hi"))
    cassette = Cassette(path)
    llm = cassette.llm_named("fake", "fake-model")
    assert [await said(llm, asking("Hi")) for _ in range(2)] == ["one", "two"]
    with pytest.raises(CassetteMissError, match="was recorded 2 times and is wanted once more"):
        await heard(llm, asking("Hi"))
    cassette.rewind()
    assert cassette.missed is None
    assert await said(llm, asking("Hi")) == "one"


async def test_a_cassette_that_repeats_begins_again(path: Path) -> None:
    await asyncio.to_thread(record, path, ["one", "two"], asking("Hi"), asking("Hi"))
    llm = replayed(path, repeat=True)
    assert [await said(llm, asking("Hi")) for _ in range(3)] == ["one", "two", "one"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (
            asking("Go to Paris?"),
            r"line \d, in which messages\[1\].content is from character 7 on 'Go to Paris\?' and was",
        ),
        (asking("Go to Rome?", temperature=0.5), r"options.temperature is 0.5 and was 0.2"),
        (asking("Go to Rome?", temperature=0.2, seed=1), r"options.seed is 1 and was not there"),
        (asking("Go to Rome?", temperature=0.2, tools=(ORDER_TOOL,)), r"tools is .*order_status.* and was not there"),
        (
            asking("Go to Rome?", "Yes", "Why?", temperature=0.2),
            r"messages\[2\] is a message of the assistant \('Yes'\)",
        ),
    ],
)
async def test_a_miss_names_the_nearest_recording_and_the_first_difference(
    path: Path, request_: ChatRequest, said: str
) -> None:
    await asyncio.to_thread(
        record, path, ["a", "b"], asking("Quite something else"), asking("Go to Rome?", temperature=0.2)
    )
    if request_.messages[1].content == "Go to Paris?":
        request_ = asking("Go to Paris?", temperature=0.2)
    cassette = Cassette(path)
    with pytest.raises(CassetteMissError, match=said) as miss:
        await heard(cassette.llm_named("fake", "fake-model"), request_)
    assert cassette.missed is miss.value
    assert "support.jsonl:auto" in str(miss.value)


async def test_a_miss_says_when_another_model_was_recorded_or_nothing_at_all(path: Path) -> None:
    await asyncio.to_thread(record, path, ["a"], asking("Hi"))
    with pytest.raises(CassetteMissError, match="model is 'other' and was 'fake-model'"):
        await heard(Cassette(path).llm_named("fake", "other"), asking("Hi"))
    empty = path.with_name("empty.jsonl")
    Cassette(empty, "record")
    with pytest.raises(CassetteMissError, match="was not recorded, and nothing like it"):
        await heard(replayed(empty), asking("Hi"))


async def test_ids_of_tool_calls_that_a_vendor_invents_anew_do_not_matter_but_their_order_does(path: Path) -> None:
    def after_tools(first: str, second: str, answers: tuple[str, str]) -> ChatRequest:
        calls = (call("order_status", id=first, order_id="1"), call("order_status", id=second, order_id="1"))
        results = [
            ChatMessage(role="tool", content="ok", tool_call_id=own_id, name="order_status") for own_id in answers
        ]
        return ChatRequest(messages=[ChatMessage(role="assistant", tool_calls=calls), *results])

    await asyncio.to_thread(record, path, ["Done"], after_tools("a", "b", ("a", "b")))
    assert await said(replayed(path), after_tools("x", "y", ("x", "y"))) == "Done"
    with pytest.raises(CassetteMissError, match=r"tool_call_id"):
        await heard(replayed(path), after_tools("x", "y", ("y", "x")))


async def test_refresh_asks_again_and_replaces_only_what_was_asked(path: Path) -> None:
    await asyncio.to_thread(record, path, ["old a", "old a 2", "old b"], asking("a"), asking("a"), asking("b"))
    before = Cassette(path).mark
    await asyncio.to_thread(record, path, ["new a"], asking("a"), mode="refresh")
    llm = replayed(path)
    assert await said(llm, asking("a")) == "new a"
    assert await said(llm, asking("b")) == "old b"
    with pytest.raises(CassetteMissError, match="recorded once"):
        await heard(llm, asking("a"))
    assert Cassette(path).mark != before
    assert Cassette(path).id == before.split("/")[0]


async def test_record_adds_behind_what_is_there_also_after_a_refresh(path: Path) -> None:
    await asyncio.to_thread(record, path, ["one"], asking("a"))
    await asyncio.to_thread(record, path, ["two"], asking("a"), mode="refresh")
    await asyncio.to_thread(record, path, ["three"], asking("a"))
    llm = replayed(path)
    assert [await said(llm, asking("a")) for _ in range(2)] == ["two", "three"]


async def test_auto_replays_what_is_there_and_records_the_rest(path: Path) -> None:
    await asyncio.to_thread(record, path, ["old"], asking("a"))
    live = FakeLLM(["new"])
    llm = Cassette(path, "auto").llm(live)
    assert [await said(llm, asking(text)) for text in "ab"] == ["old", "new"]
    assert len(live.requests) == 1
    assert [await said(replayed(path), asking(text)) for text in "ab"] == ["old", "new"]


async def test_an_answer_that_was_broken_off_replays_as_far_as_it_was_heard(path: Path) -> None:
    live = FakeLLM([Reply(["One ", "two ", "three"])])
    stream = Cassette(path, "record").llm(live).stream(asking("Hi"))
    assert await anext(stream) == TextDelta("One ")
    await stream.aclose()  # type: ignore[attr-defined]
    assert live.cancelled == 1
    again = replayed(path).stream(asking("Hi"))
    assert await anext(again) == TextDelta("One ")
    with pytest.raises(CassetteMissError, match="not listened to any further"):
        await anext(again)


async def test_a_whole_answer_stands_in_for_one_that_was_broken_off(path: Path) -> None:
    llm = Cassette(path, "record").llm(FakeLLM([Reply(["One ", "two"]), "Whole"]))
    stream = llm.stream(asking("Hi"))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await heard(llm, asking("Hi"))
    again = replayed(path)
    assert [await said(again, asking("Hi")) for _ in range(2)] == ["Whole", "Whole"]


async def test_a_hundred_tasks_in_any_order_get_their_own_answers(path: Path) -> None:
    live = FakeLLM(lambda request: f"re: {request.messages[-1].content}")
    recorder = Cassette(path, "record").llm(live)
    await asyncio.gather(*(heard(recorder, asking(f"question {i}")) for i in range(100)))
    llm = replayed(path)
    answers = await asyncio.gather(*(said(llm, asking(f"question {i}")) for i in reversed(range(100))))
    assert answers == [f"re: question {i}" for i in reversed(range(100))]


async def test_a_conversation_that_was_recorded_again_is_replayed_as_it_went_the_last_time(path: Path) -> None:
    for number in (1, 2):
        again = Cassette(path, "record")
        with again.scope("trial"):
            llm = again.llm(FakeLLM([f"first {number}", f"second {number}"]))
            assert [await said(llm, asking("hi")) for _ in range(2)] == [f"first {number}", f"second {number}"]
    again.rewind()
    with again.scope("other"):
        await said(again.llm(FakeLLM(["early"])), asking("hi"))
    again.rewind()
    with again.scope("other"):
        await said(again.llm(FakeLLM(["late"])), asking("hi"))
    cassette = Cassette(path)
    replayed = cassette.llm_named("fake", "fake-model")
    with cassette.scope("trial"):
        assert [await said(replayed, asking("hi")) for _ in range(2)] == ["first 2", "second 2"]
    with cassette.scope("other"):
        assert await said(replayed, asking("hi")) == "late"


async def test_auto_goes_on_with_the_attempt_that_was_broken_off(path: Path) -> None:
    for mode, answers in (("record", ["old"]), ("record", ["one"]), ("auto", ["two"])):
        cassette = Cassette(path, mode)  # type: ignore[arg-type]
        with cassette.scope("trial"):
            llm = cassette.llm(FakeLLM(answers))
            heard_now = [await said(llm, asking("hi")) for _ in range(3 if mode == "auto" else 1)]
    assert heard_now == ["one", "old", "two"]
    cassette = Cassette(path)
    with cassette.scope("trial"):
        assert [await said(cassette.llm_named("fake", "fake-model"), asking("hi")) for _ in range(2)] == ["one", "two"]


async def test_identical_requests_get_the_recordings_of_their_own_scope_in_whatever_order(path: Path) -> None:
    recorder = Cassette(path, "record")
    live = recorder.llm(FakeLLM([f"answer {i}" for i in range(20)]))
    for i in range(20):
        with recorder.scope(f"trial {i}"):
            await heard(live, asking("Hi"))
    cassette = Cassette(path)
    llm = cassette.llm_named("fake", "fake-model")

    async def one(i: int) -> str:
        with cassette.scope(f"trial {i}"):
            return await said(llm, asking("Hi"))

    order = [i * 7 % 20 for i in range(20)]
    assert await asyncio.gather(*map(one, order)) == [f"answer {i}" for i in order]


def test_threads_and_other_writers_of_one_file_lose_nothing(path: Path) -> None:
    def write(number: int) -> None:
        record(path, [f"{number}.{i}" for i in range(10)], *(asking(f"{number}.{i}") for i in range(10)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llm = replayed(path)
    for name in [f"{number}.{i}" for number in range(8) for i in range(10)]:
        assert asyncio.run(said(llm, asking(name))) == name
    assert path.read_text().count("convai_cassette") == 1


def test_a_message_is_written_once_however_often_it_is_sent(path: Path) -> None:
    record(path, ["b", "d"], asking("a"), asking("a", "b", "c"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    parts = [line["value"]["content"] for line in lines if "part" in line]
    assert sorted(parts) == ["Be brief.", "a", "b", "c"]


async def test_rules_on_this_machine_are_not_recorded(path: Path) -> None:
    offline = OfflineLLM()
    assert Cassette(path, "record").llm(offline) is offline


def test_paths_and_modes_are_told_apart() -> None:
    assert split_mode("a/b.jsonl") == ("a/b.jsonl", "replay")
    assert split_mode("a/b.jsonl:refresh") == ("a/b.jsonl", "refresh")
    assert split_mode(r"C:\a\b.jsonl") == (r"C:\a\b.jsonl", "replay")
    with pytest.raises(InvalidValueError, match="must be one of replay, record, refresh, auto, got 'recrod'"):
        split_mode("a/b.jsonl:recrod")


def test_what_is_no_cassette_is_refused_in_words(tmp_path: Path) -> None:
    assert as_cassette(None) is None
    with pytest.raises(InvalidValueError, match=r"must be a Cassette or a path .* got int"):
        as_cassette(7)
    with pytest.raises(InvalidValueError, match="mode must be one of"):
        Cassette(tmp_path / "x", "play")  # type: ignore[arg-type]
    with pytest.raises(StorageError, match=r"there is no cassette .*missing.jsonl; record one first"):
        as_cassette(tmp_path / "missing.jsonl")
    with pytest.raises(InvalidValueError, match="path of a file"):
        Cassette("")
    with pytest.raises(TypeError, match="pass its path"):
        Cassette(tmp_path / "x", "record").__getstate__()
