"""One reply: text, tools, results, limits and what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convai_lab.agents.agent import Agent
from convai_lab.conversations.turn import ToolCall
from convai_lab.dialogue.reply import ReplyDone, ReplyText, ToolFinished, ToolStarted
from convai_lab.errors import ProviderStreamError, ProviderTimeoutError
from convai_lab.providers.base import Done, TextDelta, Usage
from convai_lab.testing.fake_llm import FakeLLM, Reply, call


def test_text_before_and_after_a_tool_call_is_one_turn(bench: Any, text_of: Any, turn_of: Any) -> None:
    loop = bench.loop([Reply("Let me look.", [call("order_status", order_id="1")]), "It shipped."], tool=lambda c: "ok")
    (events,) = bench.exchange(loop, "Where is order 1?")
    turn = turn_of(events)
    assert turn.text == "Let me look. It shipped." == text_of(events)
    assert [c.name for c in turn.tool_calls] == ["order_status"]
    assert [r.value for r in turn.tool_results] == ["ok"]
    assert len(loop.conversation.turns) == 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text(max_size=6), max_size=4), min_size=1, max_size=5))
def test_what_is_streamed_is_what_is_recorded(new_bench: Any, text_of: Any, turn_of: Any, rounds: Any) -> None:
    bench = new_bench()
    *before, last = rounds
    script = [Reply(pieces, [call("order_status", order_id=str(n))]) for n, pieces in enumerate(before)]
    loop = bench.loop([*script, Reply(last)], tool=lambda c: "ok")
    (events,) = bench.exchange(loop, "Go")
    turn = turn_of(events)
    assert text_of(events) == turn.text
    assert turn.text.replace(" ", "") == "".join("".join(r) for r in rounds).replace(" ", "").replace("\x00", "\ufffd")
    assert sum(chars for chars, _ in turn.extra.get("convai_lab", {}).get("rounds", [])) in (0, len(turn.text))


def test_events_come_in_the_order_in_which_things_happen(bench: Any) -> None:
    loop = bench.loop([Reply("Hm.", [call("order_status", order_id="1")]), "Done."], tool=lambda c: "ok")
    (events,) = bench.exchange(loop, "Go")
    assert [type(event) for event in events] == [ReplyText, ToolStarted, ToolFinished, ReplyText, ReplyDone]


def test_parallel_calls_run_at_the_same_time_and_answer_in_order(bench: Any, turn_of: Any) -> None:
    async def slow(asked: ToolCall) -> str:
        await bench.clock.sleep({"1": 3, "2": 1, "3": 2}[asked.arguments["order_id"]])
        return f"order {asked.arguments['order_id']}"

    calls = [ToolCall(id=f"c{n}", name="order_status", arguments={"order_id": n}) for n in "123"]
    loop = bench.loop([Reply("", calls), "Done."], tool=slow)
    (events,) = bench.exchange(loop, "Where are they?")
    assert [r.value for r in turn_of(events).tool_results] == ["order 1", "order 2", "order 3"]
    assert turn_of(events).metrics.tool_ms == 3000
    assert bench.clock.now() == 3


def test_the_next_request_holds_each_call_with_its_result(bench: Any) -> None:
    loop = bench.loop([Reply("", [call("order_status", order_id="1")]), "Done."], tool=lambda c: '{"eta": "tomorrow"}')
    bench.exchange(loop, "Where is it?")
    messages = bench.llm.requests[1].messages
    assert [m.role for m in messages] == ["system", "user", "assistant", "tool"]
    assert messages[2].tool_calls[0].id == messages[3].tool_call_id
    assert messages[3].content == '{"eta": "tomorrow"}'


def test_calls_with_equal_or_no_ids_get_ids_of_their_own(bench: Any, turn_of: Any) -> None:
    twice = [ToolCall(id=i, name="order_status", arguments={"order_id": "1"}) for i in ("", "same", "same")]
    loop = bench.loop([Reply("", twice), "Done."], tool=lambda c: "ok")
    turn = turn_of(bench.exchange(loop, "Go")[0])
    ids = [c.id for c in turn.tool_calls]
    assert len(set(ids)) == 3
    assert all(ids)
    assert [r.call_id for r in turn.tool_results] == ids


def test_times_tokens_and_cost_are_summed_over_the_requests(bench: Any, turn_of: Any) -> None:
    script = [
        Reply(["Hm", "."], [call("order_status", order_id="1")], delay_secs=0.5, piece_secs=0.25, usage=Usage(10, 2)),
        Reply("Done.", delay_secs=1.0, usage=Usage(20, 3)),
    ]

    async def slow(asked: ToolCall) -> str:
        await bench.clock.sleep(2)
        return "ok"

    turn = turn_of(bench.exchange(bench.loop(script, tool=slow), "Go")[0])
    m = turn.metrics
    assert (m.llm_ttft_ms, m.llm_total_ms, m.tool_ms, m.total_ms) == (500, 1750, 2000, 3750)
    assert (m.input_tokens, m.output_tokens, m.cached_tokens) == (30, 5, None)
    assert turn.llm_served == "fake-model"


def test_what_the_vendor_did_not_say_is_none_and_never_zero(bench: Any, turn_of: Any) -> None:
    script = [Reply("", [call("order_status", order_id="1")], usage=Usage(10, 2)), Reply("Done.", usage=None)]
    metrics = turn_of(bench.exchange(bench.loop(script, tool=lambda c: "ok"), "Go")[0]).metrics
    assert metrics.input_tokens is None
    assert metrics.cost_usd is None
    assert metrics.cost_is_estimate is None


def test_a_listener_that_is_slow_does_not_make_the_model_look_slow(bench: Any) -> None:
    loop = bench.loop([Reply(["a", "b", "c"], delay_secs=1)])

    async def talk() -> Any:
        loop.user_said("Go")
        async for event in loop.reply():
            await bench.clock.sleep(30)
            if isinstance(event, ReplyDone):
                return event.turn.metrics
        return None

    metrics = bench.run(talk())
    assert metrics.llm_total_ms == 1000
    assert metrics.llm_ttft_ms == 1000


def test_a_model_that_calls_tools_for_ever_is_stopped_and_the_turn_says_so(bench: Any, turn_of: Any) -> None:
    asked: list[int] = []

    turn = turn_of(bench.exchange(bench.loop(lambda r: _call(asked), tool=lambda c: "ok"), "Go")[0])
    assert turn.finish_reason == "tool_loop_limit"
    assert "10 rounds" in turn.error
    assert len(asked) == 11
    assert len(turn.tool_calls) == len(turn.tool_results) == 11
    assert turn.tool_results[-1].error_type == "loop_limit"
    assert len(bench.calls) == 10


def _call(asked: list[int]) -> ToolCall:
    asked.append(1)
    return ToolCall(id=f"c{len(asked)}", name="order_status", arguments={"order_id": str(len(asked))})


def test_the_same_failing_call_is_refused_the_third_time_and_ends_the_reply_the_fourth(
    bench: Any, turn_of: Any
) -> None:
    def fails(asked: ToolCall) -> str:
        raise ValueError("no such order")

    turn = turn_of(bench.exchange(bench.loop(lambda r: call("order_status", order_id="1"), tool=fails), "Go")[0])
    assert len(bench.calls) == 2
    assert [r.error_type for r in turn.tool_results] == ["refused", "refused", "repeated_failure", "loop_limit"]
    assert turn.finish_reason == "repeated_tool_failure"


def test_more_calls_at_once_than_anybody_needs_are_not_run(bench: Any, turn_of: Any) -> None:
    many = [ToolCall(id=f"c{n}", name="order_status", arguments={"order_id": str(n)}) for n in range(500)]
    turn = turn_of(bench.exchange(bench.loop([Reply("", many), "Done."], tool=lambda c: "ok"), "Go")[0])
    assert len(bench.calls) == 32
    assert len(turn.tool_results) == 500


def test_no_first_token_in_time_is_a_time_out(bench: Any) -> None:
    loop = bench.loop([Reply("late", delay_secs=60)])
    with pytest.raises(ProviderTimeoutError, match="no answer began within 20 seconds"):
        bench.exchange(loop, "Go")
    turn = loop.conversation.turns[-1]
    assert "20 seconds" in turn.error
    assert turn.metrics.llm_ttft_ms is None
    assert bench.clock.now() == 20


def test_an_answer_that_never_ends_is_a_time_out(bench: Any) -> None:
    loop = bench.loop([Reply(["x"] * 1000, piece_secs=5)])
    with pytest.raises(ProviderTimeoutError, match="not complete within 120 seconds"):
        bench.exchange(loop, "Go")
    assert loop.conversation.turns[-1].text == "x" * 24


class _Broken:
    provider, model, is_offline = "broken", "broken-1", False

    def __init__(self, *events: Any) -> None:
        self._events = events

    async def stream(self, request: Any) -> Any:
        for event in self._events:
            yield event


def test_a_stream_without_its_end_mark_is_an_error(bench: Any) -> None:
    loop = bench.loop(llm=_Broken(TextDelta("half a sen")))
    with pytest.raises(ProviderStreamError, match="end mark"):
        bench.exchange(loop, "Go")
    assert loop.conversation.turns[-1].text == "half a sen"
    assert loop.conversation.turns[-1].metrics.cost_usd is None


def test_a_reply_without_limit_is_stopped(bench: Any) -> None:
    loop = bench.loop(llm=_Broken(*[TextDelta("x" * 10_000)] * 50, Done("stop", "m", Usage())))
    with pytest.raises(ProviderStreamError, match="longer than 200,000 characters"):
        bench.exchange(loop, "Go")


def test_text_that_cannot_be_stored_is_made_well_formed(bench: Any, turn_of: Any) -> None:
    loop = bench.loop(llm=_Broken(TextDelta("a\ud83db\x00"), TextDelta(""), Done("stop", "m", Usage())))
    assert turn_of(bench.exchange(loop, "Go \ud800")[0]).text == "a\ufffdb\ufffd"
    assert loop.conversation.turns[0].text == "Go \ufffd"


def test_an_empty_answer_is_an_empty_turn(bench: Any, turn_of: Any) -> None:
    turn = turn_of(bench.exchange(bench.loop([Reply("")]), "Go")[0])
    assert (turn.text, turn.finish_reason, turn.error) == ("", "stop", None)


def test_why_the_model_stopped_is_kept(bench: Any, turn_of: Any) -> None:
    turn = turn_of(bench.exchange(bench.loop([Reply("Once upon", finish_reason="length")]), "Go")[0])
    assert turn.finish_reason == "length"


def test_every_agent_turn_says_who_spoke(bench: Any, turn_of: Any) -> None:
    agent = Agent(name="S", prompt="p", llm="gpt-4o-mini", id="agent_9", version=7)
    turn = turn_of(bench.exchange(bench.loop([Reply("Hi", model_served="gpt-4o-mini-2024")], agent=agent), "Go")[0])
    assert (turn.agent_id, turn.agent_version, turn.llm_requested) == ("agent_9", 7, "gpt-4o-mini")
    assert turn.llm_served == "gpt-4o-mini-2024"
    assert len(turn.prompt_hash) == 12
    assert turn.marks == ()


def test_an_offline_turn_is_marked(bench: Any, turn_of: Any) -> None:
    llm = FakeLLM(["Hi"], is_offline=True)
    assert turn_of(bench.exchange(bench.loop(llm=llm), "Go")[0]).marks == ("offline",)
