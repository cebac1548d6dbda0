"""What the conversation socket refuses, and in which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.server.auth import Signed
from convai_lab.testing.fake_llm import FakeLLM

Make = Callable[..., Any]

ALLOWED = "platform_settings__overrides__conversation_config_override"


def opened(virtual: VirtualClock, line: Any, **initiation: Any) -> list[Any]:
    """Open the line, send the initiation data, hang up when the conversation began; return what was said."""

    async def talk() -> list[Any]:
        await line.open()
        first = await line.next()
        if isinstance(first, dict) and first["type"] == "conversation_initiation_metadata":
            await line.send({"type": "conversation_initiation_client_data", **initiation})
            await line.say("Hi")
        seen = [first]
        while isinstance(seen[-1], dict) and seen[-1]["type"] != "agent_response":
            seen.append(await line.next())
        if isinstance(seen[-1], dict):
            await line.hang_up()
        return seen

    return list(virtual.run(talk()))


def refusal(seen: list[Any]) -> tuple[int, str, str]:
    """Return close code, kind and sentence of a conversation that was refused."""
    *_, event, closed = seen
    assert event["error_event"]["code"] == closed.code
    return closed.code, event["error_event"]["error_type"], event["error_event"]["message"]


def test_an_agent_that_does_not_exist_is_refused(virtual: VirtualClock, virtual_bench: Make) -> None:
    seen = opened(virtual, virtual_bench().line("agent_" + "0" * 32))
    assert refusal(seen)[:2] == (1008, "agent_not_found")
    assert refusal(opened(virtual, virtual_bench().line()))[1] == "agent_not_found"


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://localhost.evil.example", "file://", ""])
def test_pages_of_other_origins_never_get_a_connection(virtual: VirtualClock, virtual_bench: Make, origin: str) -> None:
    bench = virtual_bench()
    agent_id = bench.make_agent()
    for key in (None, bench.platform.door.api_key.reveal()):
        line = bench.line(agent_id, key=key, headers={"origin": origin})
        closed = opened(virtual, line)[0]
        assert closed.status == 403
        assert closed.body["detail"]["status"] == "forbidden_origin"
    assert not bench.platform.conversations.list().items


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:8888", "https://[::1]", "https://shop.example"]
)
def test_loopback_pages_and_the_agents_own_pages_may_talk(
    virtual: VirtualClock, virtual_bench: Make, origin: str
) -> None:
    bench = virtual_bench(FakeLLM(["Hello."]))
    agent_id = bench.make_agent(platform_settings__auth={"allowlist": [{"hostname": "Shop.example"}]})
    assert opened(virtual, bench.line(agent_id, headers={"origin": origin}))[-1]["type"] == "agent_response"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8300", "", "127.0.0.1.evil.example", "2130706433"]
)
def test_another_host_name_never_gets_a_connection(virtual: VirtualClock, virtual_bench: Make, host: str) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent(), key=bench.platform.door.api_key.reveal(), headers={"host": host})
    assert opened(virtual, line)[0].status == 403


def test_an_agent_with_auth_needs_a_signature_or_the_key(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["A.", "B."]))
    agent_id = bench.make_agent(platform_settings__auth={"enable_auth": True})
    door = bench.platform.door
    signature = door.signer.sign(agent_id, Signed(int(virtual.wall()) + 60))
    assert refusal(opened(virtual, bench.line(agent_id)))[:2] == (1008, "needs_authorization")
    assert refusal(opened(virtual, bench.line(agent_id, key="wrong_key_123")))[:2] == (1008, "invalid_api_key")
    assert opened(virtual, bench.line(agent_id, key=door.api_key.reveal()))[-1]["type"] == "agent_response"
    assert opened(virtual, bench.line(agent_id, conversation_signature=signature))[-1]["type"] == "agent_response"


def test_altered_expired_and_foreign_signatures_are_refused(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    agent_id, other = bench.make_agent(), bench.make_agent()
    signer, now = bench.platform.door.signer, int(virtual.wall())
    good = signer.sign(agent_id, Signed(now + 60))
    later = good.replace(str(now + 60), str(now + 6000))
    for bad in (
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        later,
        "cvtkn_",
        "x",
        "é.ü.ö",
        good + "0",
        "...",
        ""[:0] or "0",
    ):
        assert refusal(opened(virtual, bench.line(agent_id, conversation_signature=bad)))[1] == "invalid_signature"
    assert refusal(opened(virtual, bench.line(other, conversation_signature=good)))[1] == "invalid_signature"
    old = signer.sign(agent_id, Signed(now - 1))
    assert refusal(opened(virtual, bench.line(agent_id, conversation_signature=old)))[1] == "expired_signature"


def test_a_signature_for_one_conversation_opens_it_once(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["Hi."]))
    agent_id = bench.make_agent()
    signature = bench.platform.door.signer.sign(agent_id, Signed(int(virtual.wall()) + 60, "conv_" + "a" * 32))
    opened(virtual, bench.line(agent_id, conversation_signature=signature))
    assert bench.only_conversation().id == "conv_" + "a" * 32
    assert refusal(opened(virtual, bench.line(agent_id, conversation_signature=signature)))[1] == "signature_used"


def test_without_keyless_everybody_needs_a_key(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(keyless=False)
    agent_id = bench.make_agent()
    assert refusal(opened(virtual, bench.line(agent_id)))[1] == "needs_authorization"
    page = bench.line(agent_id, headers={"origin": "http://localhost:3000"})
    assert refusal(opened(virtual, page))[1] == "needs_authorization"


def test_overrides_are_refused_unless_the_agent_allows_them(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "ok"))
    agent_id = bench.make_agent(conversation_config__agent__language="en")
    for overrides, field in (
        ({"agent": {"prompt": {"prompt": "Be rude."}}}, "agent.prompt.prompt"),
        ({"agent": {"language": "de"}}, "agent.language"),
        ({"tts": {"voice_id": "x" * 20}}, "tts.voice_id"),
        ({"nonsense": {"deep": 1}}, "nonsense.deep"),
        ({"agent": 5}, "agent"),
        ({"conversation": {"text_only": True}}, "conversation.text_only"),
    ):
        code, kind, message = refusal(opened(virtual, bench.line(agent_id), conversation_config_override=overrides))
        assert (code, kind) == (1008, "override_error")
        assert field in message
    body = {"custom_llm_extra_body": {"a": 1}}
    assert refusal(opened(virtual, bench.line(agent_id), **body))[1] == "override_error"


def test_equal_empty_and_root_level_wishes_are_no_overrides(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "ok"))
    agent_id = bench.make_agent(conversation_config__agent__language="en")
    for overrides in (
        {"agent": {"language": "en", "prompt": {}, "first_message": None}},
        {"text_only": True},
        {},
        None,
    ):
        seen = opened(virtual, bench.line(agent_id), conversation_config_override=overrides)
        assert seen[-1]["type"] == "agent_response"
    assert any(
        event["type"] == "agent_chat_response_part"
        for event in opened(virtual, bench.line(agent_id), conversation_config_override={"text_only": True})
    )


def test_allowed_overrides_change_this_conversation_alone(virtual: VirtualClock, virtual_bench: Make) -> None:
    llm = FakeLLM(lambda _: "ok")
    bench = virtual_bench(llm)
    allowed = {"agent": {"prompt": {"prompt": True, "llm": True}}, "tts": {"speed": True}}
    agent_id = bench.make_agent(**{ALLOWED: allowed, "conversation_config__agent__prompt__prompt": "Be kind."})
    overrides = {"agent": {"prompt": {"prompt": "Be brief.", "llm": "gpt-4o"}}}
    opened(virtual, bench.line(agent_id), conversation_config_override=overrides)
    opened(virtual, bench.line(agent_id))
    assert "Be brief." in llm.requests[0].messages[0].content
    assert "Be kind." in llm.requests[1].messages[0].content
    assert bench.asked_models[0] == "gpt-4o"
    bad = {"tts": {"speed": 9}}
    code, kind, message = refusal(opened(virtual, bench.line(agent_id), conversation_config_override=bad))
    assert (code, kind) == (1008, "override_error")
    assert "tts.speed" in message


def test_missing_variables_are_all_named(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    agent_id = bench.make_agent(
        conversation_config__agent__first_message="Hi {{name}}, it is {{system__time}}.",
        conversation_config__agent__prompt__prompt="Order {{order}} of {{name}}.",
    )
    seen = opened(virtual, bench.line(agent_id), dynamic_variables={"name": None})
    assert refusal(seen)[:2] == (1008, "missing_dynamic_variable")
    assert seen[-2]["error_event"]["details"]["names"] == ["name", "order"]
    assert bench.only_conversation().status == "failed"


@pytest.mark.parametrize(
    "variables",
    [{"system__time": "noon"}, {"a": {"nested": 1}}, {"a": "x" * 30_000}, {f"v{n}": n for n in range(300)}],
)
def test_odd_variables_are_refused(virtual: VirtualClock, virtual_bench: Make, variables: dict[str, Any]) -> None:
    bench = virtual_bench()
    seen = opened(virtual, bench.line(bench.make_agent()), dynamic_variables=variables)
    assert refusal(seen)[:2] == (1008, "invalid_dynamic_variable")


@pytest.mark.parametrize(
    "text",
    [
        "{not json",
        "[1, 2]",
        '"text"',
        "null",
        "[" * 100_000,
        '{"a":' * 500 + "1" + "}" * 500,
        '{"type": "user_message", "text": NaN}',
        '{"type": "user_message", "text": 5}',
        '{"type": "user_message", "text": "\\ud800"}',
        '{"type": "contextual_update"}',
        '{"type": "client_tool_result", "result": "x"}',
        '{"type": "feedback", "score": "love"}',
        '{"type": "multimodal_message", "text": "bare"}',
        '{"user_audio_chunk": 7}',
        '{"type": "conversation_initiation_client_data", "dynamic_variables": [1]}',
        '{"type": "user_message", "text": "%s"}' % ("x" * 200_000),
        json.dumps({"type": "user_message", "text": "ü" * 600_000}, ensure_ascii=False),
        "1" * 5000,
    ],
    ids=range(18),
)
def test_malformed_and_oversize_frames_close_1008(virtual: VirtualClock, virtual_bench: Make, text: str) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent())

    async def talk() -> list[Any]:
        await line.open()
        await line.event()
        await line.send_text(text)
        return await line.rest()

    code, kind, message = refusal(virtual.run(talk()))
    assert (code, kind) == (1008, "bad_message")
    assert len(message) < 400
    assert bench.only_conversation().status == "failed"


def test_binary_frames_and_too_many_frames_close_1008(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    agent_id = bench.make_agent()

    async def binary() -> list[Any]:
        line = bench.line(agent_id)
        await line.open()
        await line.begin()
        await line.send_bytes(b"\x00\x01")
        return await line.rest()

    async def flood() -> list[Any]:
        line = bench.line(agent_id)
        await line.open()
        await line.begin()
        for _ in range(1000):
            await line.send({"type": "user_activity"})
        return await line.rest()

    assert refusal(virtual.run(binary()))[:2] == (1008, "bad_message")
    assert refusal(virtual.run(flood()))[:2] == (1008, "rate_limit")


def test_files_are_refused_without_ending_the_conversation(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["ok"]))
    line = bench.line(bench.make_agent())

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.send({"type": "multimodal_message", "file": {"type": "file_input", "file_id": "f"}})
        await line.say("Hi")
        seen = [await line.event(), await line.event()]
        await line.hang_up()
        return seen

    error, response = virtual.run(talk())
    assert error["error_event"]["error_type"] == "not_supported"
    assert response["agent_response_event"]["agent_response"] == "ok"


def test_only_the_key_continues_a_conversation_and_only_one_session_holds_it(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "ok"))
    agent_id, other = bench.make_agent(), bench.make_agent()
    key = bench.platform.door.api_key.reveal()
    opened(virtual, bench.line(agent_id))
    conversation_id = bench.only_conversation().id
    for line, kind in (
        (bench.line(agent_id, continue_=conversation_id), "needs_authorization"),
        (bench.line(agent_id, key=key, continue_="conv_unknown"), "conversation_not_found"),
        (bench.line(other, key=key, continue_=conversation_id), "conversation_not_found"),
    ):
        assert refusal(opened(virtual, line))[:2] == (1008, kind)

    async def two() -> Any:
        first, second = (bench.line(key=key, continue_=conversation_id) for _ in range(2))
        await first.open()
        await first.begin()
        await second.open()
        seen = await second.rest()
        await first.hang_up()
        return seen

    assert refusal(virtual.run(two()))[:2] == (1008, "conversation_busy")


def test_too_many_conversations_without_a_key_are_slowed_down(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "ok"))
    agent_id = bench.make_agent()

    async def knock(line: Any) -> Any:
        await line.open()
        first = await line.next()
        if first["type"] == "conversation_initiation_metadata":
            await line.hang_up()
        return first

    async def many() -> list[Any]:
        found = [await knock(bench.line(agent_id)) for _ in range(70)]
        return [*found, await knock(bench.line(agent_id, key=bench.platform.door.api_key.reveal()))]

    *visits, with_key = virtual.run(many())
    assert visits[-1]["error_event"]["error_type"] == "too_many_requests"
    assert with_key["type"] == "conversation_initiation_metadata"
