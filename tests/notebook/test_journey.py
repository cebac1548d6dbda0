"""The first journey, cell by cell, in a real IPython shell on a real local platform."""

from __future__ import annotations

import html as html_module
from typing import Any

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.testing.fake_vendors import fake_openai

AGENT = """%%agent {name} --llm {llm} --voice George --temperature 0.3
---
first_message: Hi {{{{name}}}}, how can I help?
---
# Personality
You are Sam, a calm support agent.
# Goal
1. Find the order. 2. Say when it arrives."""

TOOL = '''from convai_lab import tool

@tool
def order_status(order_id: str) -> dict:
    """Look up an order by its number."""
    return {{"status": "{status}", "eta": "tomorrow"}}

%agent {name} --tool {{order_status}}'''

CHAT = """%%chat {name} --var name=Ada --save conv
Where is my order 1234?
Can I change the address?"""


def _author(notebook: Any, name: str, llm: str = "offline") -> None:
    notebook.must(AGENT.format(name=name, llm=llm))


def test_an_agent_is_authored_and_shown_as_a_card(notebook: Any) -> None:
    agent = notebook.must(AGENT.format(name="card", llm="offline"))
    assert (agent.name, agent.llm, agent.voice, agent.temperature) == ("card", "offline", "George", 0.3)
    assert agent.first_message == "Hi {{name}}, how can I help?"
    assert agent.prompt.startswith("# Personality")
    assert notebook.html.count("Hi {{name}}, how can I help?") == 1, "the card must be shown once"
    assert "not a language model" in notebook.html


def test_a_change_shows_what_is_different(notebook: Any) -> None:
    _author(notebook, "changing")
    agent = notebook.must("%agent changing --temperature 0.9")
    assert agent.version == 2
    assert "temperature" in notebook.html
    assert "0.3" in notebook.html
    assert "0.9" in notebook.html


def test_running_the_same_cell_again_makes_no_new_version(notebook: Any) -> None:
    _author(notebook, "same")
    assert notebook.must(AGENT.format(name="same", llm="offline")).version == 1


def test_the_journey_of_the_storyboard(notebook: Any) -> None:
    _author(notebook, "support")
    notebook.must(TOOL.format(name="support", status="shipped"))
    conv = notebook.must(CHAT.format(name="support"))
    assert isinstance(conv, Conversation)
    assert conv.turns[0].text == "Hi Ada, how can I help?"
    assert [turn.role for turn in conv] == ["agent", "user", "agent", "user", "agent"]
    call = conv.turns[2].tool_calls[0]
    assert (call.name, dict(call.arguments)) == ("order_status", {"order_id": "1234"})
    assert "shipped" in conv.turns[2].text
    assert notebook.shell.user_ns["conv"] == conv
    assert list(notebook.shell.user_ns["Out"].values())[-1] == conv, "the cell's result is the conversation"

    longer = notebook.must("%chat support --continue Thank you, goodbye")
    assert longer.id == conv.id
    assert len(longer) > len(conv)
    assert notebook.shell.user_ns["conv"] == longer, "--save keeps following the conversation"

    shorter = notebook.must("%undo")
    assert [turn.text for turn in shorter] == [turn.text for turn in conv]

    turns = notebook.must("turns = %transcripts --agent support --since 7d\nturns")
    assert turns["text"].tolist() == [turn.text for turn in conv]
    assert turns["voice_to_voice_ms"].isna().all()
    assert notebook.must("%transcripts --last").id == conv.id
    assert len(notebook.must("%transcripts --conversations --agent support")) == 1
    assert notebook.must("%transcripts --tools --agent support")["tool"].tolist() == ["order_status"]
    assert "support" in {agent.name for agent in notebook.must("%agents")}


def test_the_reply_is_shown_once(notebook: Any) -> None:
    _author(notebook, "once")
    conv = notebook.must(CHAT.format(name="once"))
    shown = notebook.stdout + notebook.html
    assert shown.count(html_module.escape(conv.turns[1].text)) == 1


def test_a_tool_is_picked_up_again_when_its_cell_is_rerun(notebook: Any) -> None:
    _author(notebook, "late")
    notebook.must(TOOL.format(name="late", status="packed"))
    assert "packed" in notebook.must("%chat late --var name=Ada Where is order 77?").text
    notebook.must(TOOL.format(name="late", status="delivered").replace("%agent late --tool {order_status}", ""))
    assert "delivered" in notebook.must("%chat late --var name=Ada Where is order 77?").text


def test_after_a_restart_a_missing_function_is_a_clear_error_and_the_turn_is_kept(notebook: Any) -> None:
    _author(notebook, "restarted")
    notebook.must(TOOL.format(name="restarted", status="x"))
    said = notebook.in_a_new_kernel("%chat restarted --var name=Ada Where is my order 5512?")
    assert "ToolNotAvailableError: tool order_status" in said
    assert "@tool" in said
    assert "Traceback" not in said
    assert len(notebook.must("%transcripts --last").turns) >= 3


def test_a_missing_variable_is_named(notebook: Any) -> None:
    _author(notebook, "nameless")
    said = notebook.fails("%chat nameless Hello")
    assert "{{name}}" in said
    assert "--var name=" in said


def test_a_model_without_its_key_is_an_error_that_names_the_variable_and_the_way_out(notebook: Any) -> None:
    _author(notebook, "keyless", llm="gpt-4o-mini")
    assert "OPENAI_API_KEY" in notebook.html, "the card warns before the first chat"
    said = notebook.fails("%chat keyless --var name=Ada Hello")
    assert "OPENAI_API_KEY" in said
    assert "--llm offline" in said
    assert notebook.must("%transcripts --last").status == "failed", "it is not still under way"


def test_the_storyboard_runs_on_a_real_dialect_by_changing_the_model(
    notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_openai(replies=["It is on its way.", "Only until it ships."]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-" + "k" * 32)
        _author(notebook, "real", llm="gpt-4o-mini")
        conv = notebook.must(CHAT.format(name="real"))
        assert [turn.text for turn in conv if turn.role == "agent"][1:] == ["It is on its way.", "Only until it ships."]
        assert conv.turns[2].llm_requested == "gpt-4o-mini"
        assert len(server.requests) == 2
        assert "k" * 32 not in notebook.html + notebook.stdout + repr(conv)


def test_untrusted_text_is_escaped_wherever_it_is_shown(notebook: Any) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    notebook.must(f"%%agent attack --llm offline\nYou are {attack}.")
    assert "<script" not in notebook.html
    assert "<img" not in notebook.html
    notebook.must(f"%chat attack {attack}")
    notebook.must("%transcripts --last")
    assert "<script" not in notebook.html
    assert "<img" not in notebook.html
    assert "&lt;script" in notebook.html


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%agent nobody_here", "nobody_here"),
        ("%agent supprt --temperature 0.1", "supprt"),
        ("%agent support --temperature 9", "temperature"),
        ("%agent support --voice Nobody", "voice"),
        ("%agent support --tool nothing", "--tool"),
        ("%agent support --tool {print}", "@tool"),
        ("%agent support --remove-tool nothing", "no tool nothing"),
        ("%agent support --restore 99", "no version 99"),
        ("%agent support --temprature 1", "did you mean --temperature"),
        ("%agent 'open", "quote is not closed"),
        ("%%agent support", "needs a body"),
        ("%%agent support\n---\nllm: offline", "no second ---"),
        ("%%agent support\n---\nllm: [1\n---\nx", "YAML"),
        ("%%agent support\n---\nfirst_mesage: x\n---\nx", "did you mean first_message"),
        ("%%agent support\n---\nspeed: 5\n---\nx", "speed"),
        ("%%agent support\n---\nfirst_message: {{name}} hello\n---\nx", "needs quotes"),
        ("x = 1\n%%agent support\nYou are Sam.", "first line"),
        ("%chat", "needs AGENT"),
        ("%chat support", "there is no message"),
        ("%chat nobody_here Hello", "nobody_here"),
        ("%%chat support", "needs a body"),
        ("%chat support --conversation conv_nothing Hello", "conv_nothing"),
        ("%undo --conversation conv_nothing", "conv_nothing"),
        ("%transcripts --since yesterdayish", "since"),
        ("%transcripts --agent nobody_here", "nobody_here"),
        ("%transcripts --conversations --tools", "choose one"),
        ("%transcripts --id conv_nothing", "conv_nothing"),
        ("%chat --continue Thank you", "the agent comes first"),
        ("%lab --platform mars", "mars"),
        ("%lab --platform http://127.0.0.1:9 --api-key-variable NO_KEY", "NO_KEY, which is not set"),
        ("%lab --platform elevenlabs", "ELEVENLABS_API_KEY"),
    ],
)
def test_a_wrong_cell_is_one_sentence(notebook: Any, cell: str, said: str) -> None:
    if not notebook.shell.user_ns["ws"].agents.find("support"):
        _author(notebook, "support")
    line = notebook.fails(cell)
    assert said in line
    assert "Traceback" not in line
    assert len(line) < 600


@pytest.mark.parametrize("name", ["lab", "agent", "agents", "chat", "undo", "transcripts"])
def test_every_magic_explains_itself(notebook: Any, name: str) -> None:
    notebook.must(f"%{name} --help")
    assert "Examples:" in notebook.stdout


def test_the_status_card_names_keys_but_never_shows_them(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-" + "q" * 32)
    status = notebook.must("%lab")
    assert status.keys["ANTHROPIC_API_KEY"]
    assert "q" * 32 not in repr(status) + status._repr_html_() + notebook.stdout


def test_versions_can_be_listed_and_brought_back(notebook: Any) -> None:
    _author(notebook, "versions")
    notebook.must("%agent versions --temperature 0.9")
    notebook.must("%agent versions --history")
    assert "temperature" in notebook.html
    restored = notebook.must("%agent versions --restore 1")
    assert (restored.temperature, restored.version) == (0.3, 3)


def test_an_agent_made_from_a_template_answers_without_any_key(notebook: Any) -> None:
    agent = notebook.must("%agent helper --template customer-service")
    assert (agent.llm, agent.tags) == ("offline", ("customer-service",))
    assert "Warning" not in notebook.html
    assert notebook.must("%chat helper Hello").turns[-1].text


def test_an_agent_can_be_renamed_and_deleted(notebook: Any) -> None:
    _author(notebook, "temporary")
    assert notebook.must("%agent temporary --rename gone").name == "gone"
    notebook.must("%agent gone --delete")
    assert "gone" in notebook.fails("%agent gone")
