"""Create, find, change and remove agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.errors import AmbiguousNameError, InvalidValueError, NotFoundError, NotSupportedError, PlatformError
from convai_lab.workspace.workspace import Workspace

PROMPT = ("conversation_config", "agent", "prompt")


def prompt_of(body: Any) -> dict[str, Any]:
    for name in PROMPT:
        body = body[name]
    return body  # type: ignore[no-any-return]


def test_an_agent_is_created_and_read_back(ws: Workspace) -> None:
    agent = ws.agents.create(Agent(name="Support", prompt="You are Sam.", temperature=0.3))
    assert agent.id
    assert agent.version == 1
    assert ws.agents.get(agent.id) == agent
    assert ws.agents.get("  SUPPORT ") == agent
    assert ws.agents.get(agent.with_changes(prompt="other")) == agent


def test_an_agent_can_be_given_by_its_fields(ws: Workspace) -> None:
    agent = ws.agents.create(name="Support", prompt="You are Sam.", tags=["a"])
    assert (agent.name, agent.prompt, agent.tags) == ("Support", "You are Sam.", ("a",))


def test_a_field_that_does_not_exist_is_named_with_the_one_that_was_meant(ws: Workspace) -> None:
    with pytest.raises(InvalidValueError, match=r"promt: an agent has no such field; did you mean prompt\?"):
        ws.agents.create(name="Support", promt="x")


def test_our_platform_is_told_offline_and_the_cloud_nothing_when_no_model_is_named(
    connect_to: Callable[..., Workspace], recording: Any
) -> None:
    connect_to().agents.create(name="One")
    assert prompt_of(recording.asked[-2].body)["llm"] == "offline"
    connect_to("elevenlabs").agents.create(name="Two")
    assert "llm" not in prompt_of(recording.asked[-2].body)


@pytest.mark.parametrize("given", ["", "   ", None, 5, "x" * 1000, b"bytes"])
def test_what_cannot_name_an_agent_is_refused(given: Any, ws: Workspace) -> None:
    with pytest.raises(InvalidValueError, match="agent: name an agent by"):
        ws.agents.get(given)


@pytest.mark.parametrize("given", ["../../v1/user", "a/b", "agent_1?x=y", "%2e%2e", "agent_x#y", "a b"])
def test_a_name_never_becomes_part_of_a_path(given: str, ws: Workspace, recording: Any) -> None:
    with pytest.raises(NotFoundError):
        ws.agents.get(given)
    assert {asked.path for asked in recording.asked} == {"/v1/convai/agents"}


def test_two_agents_of_one_name_are_an_error_that_lists_their_ids(ws: Workspace) -> None:
    one, two = ws.agents.create(name="Support"), ws.agents.create(name="SUPPORT")
    with pytest.raises(AmbiguousNameError) as raised:
        ws.agents.get("support")
    assert one.id is not None
    assert two.id is not None
    assert one.id in str(raised.value)
    assert two.id in str(raised.value)
    assert ws.agents.get(two.id).name == "SUPPORT"


def test_an_unknown_name_suggests_the_close_ones(ws: Workspace) -> None:
    ws.agents.create(name="Support")
    with pytest.raises(NotFoundError, match=r"no agent called 'suport'; did you mean Support\?"):
        ws.agents.get("suport")
    assert ws.agents.find("suport") is None


def test_an_unknown_name_among_none_says_so(ws: Workspace) -> None:
    with pytest.raises(NotFoundError, match="there are no agents yet"):
        ws.agents.get("Support")


def test_an_unknown_id_is_named(ws: Workspace) -> None:
    with pytest.raises(NotFoundError, match=f"there is no agent agent_{'f' * 32} on the local platform"):
        ws.agents.get("agent_" + "f" * 32)


def test_names_are_found_on_every_page_and_under_casefolding(ws: Workspace, recording: Any) -> None:
    recording.page_size = 2
    for name in ("One", "Two", "Straße", "Four", "Five"):
        ws.agents.create(name=name)
    assert ws.agents.get("STRASSE").name == "Straße"


def test_the_list_is_lazy_and_shows_itself(ws: Workspace, recording: Any) -> None:
    recording.page_size = 2
    for number in range(5):
        ws.agents.create(name=f"<b>{number}</b>")
    recording.asked.clear()
    agents = ws.agents.list()
    assert recording.asked == []
    assert agents[0].name == "<b>4</b>"
    assert len(recording.asked) == 1
    assert len(agents) == 5
    assert [a.name for a in agents[1:3]] == ["<b>3</b>", "<b>2</b>"]
    assert agents[-1].name == "<b>0</b>"
    assert repr(agents).startswith("5 agents\nname")
    assert "&lt;b&gt;4" in agents._repr_html_()
    assert "<b>" not in agents._repr_html_()
    assert [a.name for a in ws.agents.list(limit=3)] == [a.name for a in agents[:3]]
    assert len(ws.agents.list(search="4")) == 1
    assert repr(ws.agents.list(search="nothing")) == "no agents"


def test_a_list_without_end_is_an_error(ws: Workspace, recording: Any) -> None:
    from starlette.responses import JSONResponse

    def again(request: Any) -> Any:
        async def answer() -> Any:
            recording.answers.append(again)
            return JSONResponse({"agents": [{"agent_id": "a", "name": "A"}], "has_more": True, "next_cursor": "x"})

        return answer()

    recording.answers.append(again)
    with pytest.raises(PlatformError, match="list of agents has no end"):
        len(ws.agents.list())


@pytest.mark.parametrize("answer", [{}, {"agents": None}, {"agents": [None, 5, {}, {"agent_id": 3}]}])
def test_malformed_lists_are_empty(answer: Any, ws: Workspace, recording: Any) -> None:
    from starlette.responses import JSONResponse

    recording.answers.append(JSONResponse(answer))
    assert len(ws.agents.list()) == 0


def test_changes_are_stored_under_a_new_version(ws: Workspace) -> None:
    ws.agents.create(name="Support", prompt="You are Sam.")
    changed = ws.agents.update("support", temperature=0.9, description="warmer")
    assert (changed.version, changed.temperature, changed.prompt) == (2, 0.9, "You are Sam.")
    assert [agent.version for agent in ws.agents.history("support")] == [2, 1]


def test_updating_with_nothing_new_sends_nothing(ws: Workspace, recording: Any) -> None:
    agent = ws.agents.create(name="Support")
    recording.asked.clear()
    assert ws.agents.update(agent) == agent
    assert all(asked.method == "GET" for asked in recording.asked)


def test_one_agent_can_take_the_place_of_another(ws: Workspace) -> None:
    stored = ws.agents.create(name="Support", prompt="Old")
    changed = ws.agents.update(stored, Agent(name="Support", prompt="New", llm="offline"))
    assert (changed.id, changed.prompt) == (stored.id, "New")


def test_a_variable_that_is_gone_is_gone_from_the_platform(ws: Workspace) -> None:
    agent = ws.agents.create(name="Support", variables={"a": "1", "b": "2"})
    assert ws.agents.update(agent.with_changes(variables={"b": "2"})).variables == {"b": "2"}
    assert ws.agents.update(agent.with_changes(variables={})).variables == {}


def test_saving_creates_then_updates_by_name_and_says_what_changed(ws: Workspace, recording: Any) -> None:
    first = ws.agents.save(Agent(name="Support", prompt="Old"))
    assert first.created
    assert first.changes == []
    second = ws.agents.save(Agent(name="support", prompt="New"))
    assert not second.created
    assert second.agent.id == first.agent.id
    assert second.before == first.agent
    assert [change.field for change in second.changes] == ["name", "prompt"]
    recording.asked.clear()
    third = ws.agents.save(Agent(name="support", prompt="New"))
    assert third.changes == []
    assert all(asked.method == "GET" for asked in recording.asked)


def test_saving_an_agent_that_was_deleted_creates_it_again(ws: Workspace) -> None:
    agent = ws.agents.create(name="Support")
    ws.agents.delete(agent)
    assert ws.agents.save(agent).created


def test_a_deleted_agent_is_gone(ws: Workspace) -> None:
    agent = ws.agents.create(name="Support")
    ws.agents.delete("support")
    with pytest.raises(NotFoundError):
        ws.agents.get(agent)


def test_the_cloud_keeps_its_history_to_itself(cloud: Workspace) -> None:
    cloud.agents.create(name="Support")
    with pytest.raises(NotSupportedError, match="dashboard"):
        cloud.agents.history("support")


def test_a_creation_without_an_id_is_an_error(ws: Workspace, recording: Any) -> None:
    from starlette.responses import JSONResponse

    recording.answers.append(JSONResponse({"agent_id": None}))
    with pytest.raises(NotFoundError, match="did not say its id"):
        ws.agents.create(name="Support")


def test_functions_stay_with_the_tools_of_an_agent(ws: Workspace) -> None:
    tool = ClientTool(name="look_up_only_here", function=lambda: "42")
    agent = ws.agents.create(name="Support", tools=[tool])
    [bound] = agent.tools
    assert isinstance(bound, ClientTool)
    assert bound.function is tool.function


def test_the_cloud_never_gets_tools_in_two_forms(cloud: Workspace, recording: Any) -> None:
    agent = cloud.agents.create(name="Support", tools=[ClientTool(name="a"), ClientTool(name="b")])
    assert agent.id is not None
    doc = recording.agents[agent.id]
    prompt_of(doc)["tool_ids"] = ["tool_a", "tool_b"]
    configs = {"tool_a": prompt_of(doc)["tools"][0], "tool_b": prompt_of(doc)["tools"][1]}
    stored: list[Any] = []

    def tools(asked: Any, parts: list[str]) -> Any:
        from starlette.responses import JSONResponse

        if asked.method == "GET":
            return JSONResponse({"id": parts[0], "tool_config": configs[parts[0]]})
        stored.append((asked.method, *parts, asked.body["tool_config"]["name"]))
        return JSONResponse({"id": "tool_new"})

    recording._tools = tools
    cloud.agents.update("support", temperature=0.9)
    sent = prompt_of(recording.asked[-1].body)
    assert "tools" not in sent
    assert sent["tool_ids"] == ["tool_a", "tool_b"]
    prompt_of(recording.agents[agent.id])["tools"] = list(configs.values())
    changed = (ClientTool(name="a", description="new words"), ClientTool(name="c"))
    cloud.agents.update("support", tools=changed)
    sent = prompt_of(next(asked for asked in reversed(recording.asked) if "/agents/" in asked.path).body)
    del recording._tools
    assert "tools" not in sent
    assert sent["tool_ids"] == ["tool_a", "tool_new"]
    assert stored == [("PATCH", "tool_a", "a"), ("POST", "c")]


def test_the_cloud_gets_only_what_it_takes(cloud: Workspace, recording: Any) -> None:
    cloud.agents.create(name="Support", tools=[ClientTool(name="a"), "end_call"], expected_phrases=["hi"])
    sent = recording.asked[-2].body
    assert "convai_lab" not in sent
    assert [tool["name"] for tool in prompt_of(sent)["tools"]] == ["a"]
    assert prompt_of(sent)["built_in_tools"]["end_call"]["name"] == "end_call"
    cloud.agents.update("support", expected_phrases=["hello"], tools=[])
    assert "convai_lab" not in recording.asked[-1].body
    assert prompt_of(recording.asked[-1].body)["tools"] == []
    with pytest.raises(NotSupportedError, match="upload it first"):
        cloud.agents.update("support", knowledge=["Returns take 30 days."])


def test_every_call_has_a_twin_for_any_event_loop(ws: Workspace) -> None:
    async def journey() -> None:
        agent = await ws.agents.acreate(name="Support")
        assert await ws.agents.aget("support") == agent
        assert await ws.agents.afind("nobody") is None
        assert (await ws.agents.aupdate("support", temperature=0.5)).version == 2
        assert not (await ws.agents.asave(Agent(name="Support"))).created
        assert len(await ws.agents.ahistory("support")) == 3
        assert [row.name for row in await ws.agents.alist()] == ["Support"]
        await ws.agents.adelete("support")

    asyncio.run(journey())
