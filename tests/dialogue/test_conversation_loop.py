"""The loop: first message, turns, live edits, interruptions, resuming, the end."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.history import FILLER
from convai_lab.dialogue.reply import ReplyDone
from convai_lab.errors import (
    ConvaiLabError,
    InvalidValueError,
    MissingVariableError,
    ProviderRateLimitError,
)
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

LIMITED = ProviderRateLimitError("too many requests", provider="fake")


def test_the_first_message_is_an_agent_turn_with_its_variables_filled(bench: Any) -> None:
    agent = Agent(prompt="p", first_message="Hi {{name}}, how can I help?", version=2)
    conversation = Conversation(id="c", agent_id="a", variables={"name": "Ada"})
    loop = bench.loop(agent=agent, conversation=conversation)
    turn = bench.run(loop.open())
    assert turn.text == "Hi Ada, how can I help?"
    assert (turn.role, turn.marks, turn.llm_requested) == ("agent", ("first_message",), None)
    assert bench.recorder.turns == [turn]
    assert loop.conversation.status == "in-progress"
    assert (loop.conversation.first_version, loop.conversation.last_version) == (2, 2)


@pytest.mark.parametrize("field", ["prompt", "first_message"])
def test_a_variable_without_a_value_is_an_error_that_names_it(bench: Any, field: str) -> None:
    loop = bench.loop(agent=Agent(**{"prompt": "p", field: "Hello {{customer_name}}"}))
    with pytest.raises(MissingVariableError, match="customer_name"):
        bench.run(loop.open())
    assert bench.recorder.turns == []


def test_without_a_first_message_the_user_begins(bench: Any) -> None:
    assert bench.run(bench.loop(["Hi"]).open()) is None


def test_every_turn_is_recorded_before_the_driver_hears_of_it(bench: Any) -> None:
    loop = bench.loop([Reply("Yes.", [call("order_status", order_id="1")]), "Shipped."], tool=lambda c: "ok")

    async def talk() -> None:
        loop.user_said("Hello")
        assert bench.recorder.log == ["add user"]
        async for event in loop.reply():
            if isinstance(event, ReplyDone):
                assert bench.recorder.log == ["add user", "add agent"]
                assert bench.recorder.turns[-1] == event.turn == loop.conversation.turns[-1]

    bench.run(talk())


def test_turns_count_their_seconds_from_the_start_of_the_conversation(bench: Any) -> None:
    loop = bench.loop([Reply(["One", " two"], delay_secs=0.5, piece_secs=1)])

    async def talk() -> Any:
        await bench.clock.sleep(10)
        user = loop.user_said("Hello")
        await bench.clock.sleep(2)
        return user, [event async for event in loop.reply()][-1].turn

    user, agent = bench.run(talk())
    assert (user.start_secs, user.end_secs) == (10, 10)
    assert (agent.start_secs, agent.end_secs) == (12.5, 13.5)
    assert agent.started_at - user.started_at == 2.5
    assert agent.metrics.total_ms == 3500


def test_a_voice_driver_tells_when_the_user_stopped_speaking(bench: Any, turn_of: Any) -> None:
    conversation = Conversation(id="c", agent_id="a", channel="voice")
    loop = bench.loop([Reply("Hi", delay_secs=1)], conversation=conversation)

    async def talk() -> Any:
        await bench.clock.sleep(5)
        user = loop.user_said("Hello", start_secs=3.0, end_secs=4.5, asr_engine="stub", asr_confidence=0.9)
        return user, [event async for event in loop.reply()]

    user, events = bench.run(talk())
    assert (user.start_secs, user.end_secs, user.asr_engine, user.asr_confidence) == (3.0, 4.5, "stub", 0.9)
    assert turn_of(events).metrics.total_ms == 1500
    assert turn_of(events).voice == "Eric"


@pytest.mark.parametrize("text", [None, 7, b"bytes", "x" * 200_001])
def test_what_is_no_text_or_far_too_long_is_refused_in_words(bench: Any, text: Any) -> None:
    with pytest.raises(InvalidValueError, match="text: "):
        bench.loop().user_said(text)
    with pytest.raises(InvalidValueError, match="text: "):
        bench.loop().add_context(text)


def test_a_detail_that_is_no_field_of_a_turn_is_refused_in_words(bench: Any) -> None:
    with pytest.raises(InvalidValueError, match="asr_motor: is no field of a user's turn"):
        bench.loop().user_said("Hi", asr_motor="x")


def test_a_second_reply_while_one_runs_is_an_error_in_words(bench: Any) -> None:
    loop = bench.loop(["One two three", "x"])

    async def talk() -> None:
        loop.user_said("Hello")
        first = loop.reply()
        await anext(first)
        with pytest.raises(ConvaiLabError, match="reply: a reply is still under way"):
            await anext(loop.reply())
        with pytest.raises(ConvaiLabError, match="user_said: a reply is still under way"):
            loop.user_said("Wait")
        with pytest.raises(ConvaiLabError, match="cancel it first"):
            loop.interrupt("One")
        assert [type(event) async for event in first][-1] is ReplyDone

    bench.run(talk())
    assert [turn.role for turn in loop.conversation] == ["user", "agent"]


def test_a_provider_error_is_recorded_raised_and_the_conversation_can_go_on(bench: Any) -> None:
    loop = bench.loop([Reply("I was", error=LIMITED), "Here I am."])

    async def talk() -> None:
        loop.user_said("Hello")
        with pytest.raises(ProviderRateLimitError):
            [event async for event in loop.reply()]
        broken = loop.conversation.turns[-1]
        assert (broken.text, broken.error) == ("I was", "fake: too many requests")
        assert broken.metrics.total_ms is None
        assert [event async for event in loop.reply()][-1].turn.text == "Here I am."

    bench.run(talk())
    roles = [(m.role, m.content) for m in bench.llm.requests[1].messages[1:]]
    assert roles[1:] == [("assistant", "I was"), ("system", "A technical error cut your last reply off.")]


def test_a_retry_after_an_error_without_text_sees_only_what_was_said(bench: Any) -> None:
    loop = bench.loop([LIMITED, "Here."])

    async def talk() -> None:
        loop.user_said("Hello")
        with pytest.raises(ProviderRateLimitError):
            [event async for event in loop.reply()]
        [event async for event in loop.reply()]

    bench.run(talk())
    assert bench.llm.requests[1].messages == bench.llm.requests[0].messages


def test_a_key_in_an_error_is_not_recorded(bench: Any) -> None:
    loop = bench.loop([ProviderRateLimitError("key sk-abcdefghijklmnopqrstuvwx refused", provider="fake")])
    with pytest.raises(ProviderRateLimitError):
        bench.exchange(loop, "Hi")
    assert "sk-abc" not in (loop.conversation.turns[-1].error or "")


def test_a_live_edit_holds_from_the_next_reply_and_is_marked(bench: Any, turn_of: Any) -> None:
    loop = bench.loop(["One.", "Two.", "Three."])
    other = FakeLLM(["Edited."], clock=bench.clock)
    edited = Agent(prompt="You are brief.", version=4, temperature=0.9)

    async def talk() -> list[Any]:
        first = await bench.say(loop, "a")
        loop.use_agent(edited, other)
        return [turn_of(first), turn_of(await bench.say(loop, "b"))]

    first, second = bench.run(talk())
    assert (first.text, first.marks, first.agent_version) == ("One.", (), 3)
    assert (second.text, second.marks, second.agent_version) == ("Edited.", ("live_edit",), 4)
    assert first.prompt_hash != second.prompt_hash
    assert other.requests[0].temperature == 0.9
    assert other.requests[0].messages[0].content == "You are brief."
    assert loop.conversation.last_version == 4


def test_an_edit_during_a_reply_marks_the_turn_after_it(bench: Any) -> None:
    loop = bench.loop(["One two.", "Three.", "Four."])

    async def talk() -> None:
        loop.user_said("a")
        async for _ in loop.reply():
            loop.use_agent(Agent(prompt="q", version=4), bench.llm)
            loop.say("hm", mark=FILLER)
        await bench.say(loop, "b")
        await bench.say(loop, "c")

    bench.run(talk())
    spoken = {turn.text: (turn.agent_version, turn.marks) for turn in loop.conversation if turn.role == "agent"}
    assert spoken["One two."] == (3, ())
    assert spoken["Three."] == (4, ("live_edit",))
    assert spoken["Four."] == (4, ())


def test_an_edit_that_lacks_a_variable_changes_nothing(bench: Any, turn_of: Any) -> None:
    loop = bench.loop(["One."])
    with pytest.raises(MissingVariableError):
        loop.use_agent(Agent(prompt="{{nobody}}"), FakeLLM())
    assert turn_of(bench.exchange(loop, "a")[0]).marks == ()


def test_after_an_interruption_the_model_knows_what_was_heard(bench: Any) -> None:
    loop = bench.loop(["Your order ships tomorrow at nine.", "As I said."])

    async def talk() -> None:
        await bench.say(loop, "Where is it?")
        turn = loop.interrupt("Your order ships")
        assert (turn.text_heard, turn.interrupted) == ("Your order ships", True)
        await bench.say(loop, "Sorry?")

    bench.run(talk())
    assert bench.recorder.log == ["add user", "add agent", "replace 1", "add user", "add agent"]
    assert [(m.role, m.content) for m in bench.llm.requests[1].messages[2:]] == [
        ("assistant", "Your order ships"),
        ("system", "The user interrupted your last reply and heard only what is shown of it."),
        ("user", "Sorry?"),
    ]


def test_nothing_can_be_interrupted_before_the_agent_spoke(bench: Any) -> None:
    loop = bench.loop()
    assert loop.interrupt("x") is None
    loop.user_said("Hi")
    assert loop.interrupt("x") is None


def test_the_user_may_have_spoken_before_it_is_known_what_was_heard(bench: Any) -> None:
    loop = bench.loop(["One two."])
    bench.exchange(loop, "Hi")
    loop.user_said("Stop")
    assert loop.interrupt("One").text_heard == "One"
    assert [turn.text_heard for turn in bench.recorder.turns] == [None, "One", None]


def test_a_filler_is_recorded_but_the_model_need_not_read_it(bench: Any) -> None:
    loop = bench.loop(["Slow answer.", "Yes."])

    async def talk() -> None:
        loop.user_said("Hi")
        loop.say("Hhmmmm...yeah.", mark=FILLER)
        [event async for event in loop.reply()]
        await bench.say(loop, "Sure?")

    bench.run(talk())
    assert [turn.text for turn in loop.conversation] == ["Hi", "Hhmmmm...yeah.", "Slow answer.", "Sure?", "Yes."]
    assert [m.content for m in bench.llm.requests[1].messages[1:]] == ["Hi", "Slow answer.", "Sure?"]


def test_secret_variables_are_used_but_never_recorded(bench: Any) -> None:
    conversation = Conversation(id="c", agent_id="a", variables={"name": "Ada", "secret__token": "t0ps3cret-key"})
    loop = bench.loop([ValueError("bad t0ps3cret-key")], conversation=conversation, agent=Agent(prompt="{{name}}"))
    with pytest.raises(ValueError, match="bad"):
        bench.exchange(loop, "Hi")
    assert loop.conversation.variables == {"name": "Ada"}
    assert bench.recorder.headers[0].variables == {"name": "Ada"}
    assert loop._variables()["secret__token"] == "t0ps3cret-key"
    assert "t0ps3cret" not in str(bench.recorder.turns)


def test_what_is_measured_after_the_reply_is_added_to_its_turn(bench: Any, turn_of: Any) -> None:
    loop = bench.loop(["Hi."])
    bench.exchange(loop, "a")
    assert loop.amend(tts_engine="stub").tts_engine == "stub"
    assert bench.recorder.turns[-1].tts_engine == "stub"


def test_context_is_read_before_the_next_reply_and_kept_with_its_turn(bench: Any, turn_of: Any) -> None:
    loop = bench.loop(["One.", "Two."])

    async def talk() -> None:
        loop.user_said("Hello")
        loop.add_context("The user opened the page 'prices'")
        [event async for event in loop.reply()]
        await bench.say(loop, "And?")

    bench.run(talk())
    note = ("system", "For your information: The user opened the page 'prices'")
    said = [[(m.role, m.content) for m in request.messages[1:]] for request in bench.llm.requests]
    assert said[0] == [("user", "Hello"), note]
    assert said[1] == [("user", "Hello"), note, ("assistant", "One."), ("user", "And?")]


def test_context_that_came_last_is_not_lost_when_the_conversation_is_resumed(bench: Any, new_bench: Any) -> None:
    loop = bench.loop()
    loop.add_context("VIP")
    stored = bench.run(loop.end("done", by="user"))
    again = new_bench()
    loop = again.loop(["Hi."], conversation=stored)
    again.exchange(loop, "Hello")
    assert "VIP" in again.llm.requests[0].messages[1].content
    assert "contextual_updates" not in str(loop.conversation.extra)


def test_a_reply_after_silence_tells_the_model_that_nothing_was_said(bench: Any) -> None:
    loop = bench.loop(["Hello.", "Are you there?"])

    async def talk() -> None:
        await bench.say(loop, "Hi")
        [event async for event in loop.reply()]

    bench.run(talk())
    assert bench.llm.requests[1].messages[-1].content == "The user has not said anything."
    assert [turn.role for turn in loop.conversation] == ["user", "agent", "agent"]
