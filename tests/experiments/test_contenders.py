"""Which variants are meant by names, versions, files and models; and what of a comparison is kept for transcripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import agent_to_wire
from convai_lab.errors import (
    InvalidValueError,
    MissingVariableError,
    ModelNotFoundError,
    NotFoundError,
    NotSupportedError,
)
from convai_lab.experiments.caller_variables import missing_variables, require_variables, with_variables
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.contenders import contenders, find_agent, read_agent
from convai_lab.experiments.keeping import keep_conversations
from convai_lab.simulation.inline import inline_scenarios
from convai_lab.simulation.scenario import Scenario, load_scenarios
from convai_lab.workspace.connect import connect
from convai_lab.workspace.local_process import LocalProcess
from convai_lab.workspace.transport import Transport
from convai_lab.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProcess]:
    process = LocalProcess(tmp_path_factory.mktemp("home"))
    yield process
    process.close()


@pytest.fixture
def stored(process: LocalProcess) -> Workspace:
    """A real platform with an agent in two versions, and one whose name looks like a version."""
    workspace = Workspace(Transport(process))
    if workspace.agents.find("support") is None:
        workspace.agents.create(Agent(name="support", prompt="One.", llm="offline"))
        workspace.agents.update("support", prompt="Two.")
        workspace.agents.create(Agent(name="odd@2", prompt="Odd.", llm="offline"))
    return workspace


def test_a_version_is_named_by_its_number_and_a_name_that_looks_like_one_is_a_name(stored: Workspace) -> None:
    found = contenders(["support@1", "support", "odd@2"], [], stored)
    assert {name: agent.prompt for name, agent in found.items()} == {
        "support@1": "One.",
        "support": "Two.",
        "odd@2": "Odd.",
    }
    with pytest.raises(NotFoundError, match="support has no version 9; there are 1, 2"):
        find_agent("support@9", stored)


def test_each_agent_is_tried_with_each_model(stored: Workspace) -> None:
    agent = Agent(name="A", llm="offline")
    assert list(contenders([agent], ["gpt-4o", "gpt-4o-mini"], stored)) == ["gpt-4o", "gpt-4o-mini"]
    both = contenders([agent, agent.with_changes(name="B")], ["gpt-4o", "ollama/llama3.2"], stored)
    assert {name: one.llm for name, one in both.items()} == {
        "A/gpt-4o": "gpt-4o",
        "A/ollama/llama3.2": "ollama/llama3.2",
        "B/gpt-4o": "gpt-4o",
        "B/ollama/llama3.2": "ollama/llama3.2",
    }
    assert contenders([], ["gpt-4o"], stored) == ["gpt-4o"], "the agent comes with the scenarios"


def test_agents_of_one_name_are_told_apart_by_their_files_or_by_what_changed(tmp_path: Path, stored: Workspace) -> None:
    for name, prompt in (("old.yaml", "We open at nine."), ("new.yaml", "We open at ten.")):
        (tmp_path / name).write_text(f"name: Pat\nprompt: {prompt}", encoding="utf-8")
    files = [f"@{tmp_path / 'old.yaml'}", f"@{tmp_path / 'new.yaml'}"]
    assert list(contenders(files, [], stored)) == ["old", "new"]
    assert list(contenders(files, ["gpt-4o"], stored)) == ["old/gpt-4o", "new/gpt-4o"]
    agent = Agent(name="Pat", prompt="Nine.", llm="offline")
    assert list(contenders([agent, agent.with_changes(prompt="Ten.")], [], stored)) == ["Pat", "prompt=Ten."]
    for twice in ([agent, agent], [files[0], files[0]], ["support", "support"]):
        with pytest.raises(InvalidValueError, match="is named twice"):
            contenders(twice, [], stored)
    with pytest.raises(InvalidValueError, match="'gpt-4o' is named twice"):
        contenders([agent], ["gpt-4o", "gpt-4o"], stored)


def test_a_misspelt_model_is_told_as_one_with_those_that_are_close(stored: Workspace) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'gtp-4o-mini'.*did you mean gpt-4o-mini"):
        contenders([], ["gtp-4o-mini"], stored)
    agent = Agent(name="Pat", llm="offline")
    with pytest.raises(NotFoundError, match=r"no agent called 'gtp-4o'; .*if a model was meant, did you mean gpt-4o"):
        compare(["gtp-4o", agent], ["Hi"], workspace=stored, progress=False)


def test_an_agent_is_read_from_a_file_in_either_form(tmp_path: Path) -> None:
    agent = Agent(name="Sam", prompt="Hi.", llm="offline", temperature=0.4)
    (tmp_path / "wire.json").write_text(json.dumps(agent_to_wire(agent)), encoding="utf-8")
    (tmp_path / "own.yaml").write_text("name: Sam\nprompt: Hi.\nllm: offline\ntemperature: 0.4", encoding="utf-8")
    assert read_agent(tmp_path / "wire.json") == agent
    own = read_agent(tmp_path / "own.yaml")
    assert (own.name, own.prompt, own.llm, own.temperature) == ("Sam", "Hi.", "offline", 0.4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no agent"),
        ("- a", "must be a mapping"),
        ("name: Sam\npromt: x", "agent.promt: is no field of an agent"),
        ("name: Sam\ntemperature: hot", "temperature"),
        ("name: [", "YAML"),
    ],
)
def test_a_file_without_an_agent_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidValueError) as wrong:
        read_agent(tmp_path / "x.yaml")
    assert said in str(wrong.value)


def test_elsewhere_agents_are_held_as_they_are_stored_there() -> None:
    cloud = connect("http://127.0.0.1:9", api_key="k" * 32)
    for agents, llms in ((["support"], ["gpt-4o"]), (["support@2"], [])):
        with pytest.raises(NotSupportedError, match="as they are stored there"):
            contenders(agents, llms, cloud)


def test_a_variable_without_a_value_is_told_before_anything_is_asked() -> None:
    agent = Agent(name="Sam", prompt="It is {{system__time}}.", first_message="Hi {{name}}", llm="offline")
    with pytest.raises(MissingVariableError, match=r"in 2 of 3 scenarios, such as s1\) uses \{\{name\}\}"):
        compare(agent, [{"id": "s0", "variables": {"name": "Ada"}, "opening": "x"}, {"id": "s1"}, {"id": "s2"}])
    found = compare(agent, ["Hello"], variables={"name": "Bo"}, progress=False)
    assert isinstance(found, Comparison)
    assert found.trials[0].faults == ()


def test_the_value_of_a_scenario_or_of_the_agent_comes_first() -> None:
    filled = with_variables(load_scenarios([{"id": "a", "variables": {"name": "Ada"}}, "b"]), {"name": "Bo"})
    assert [dict(one.variables) for one in filled] == [{"name": "Ada"}, {"name": "Bo"}]
    own = Agent(name="Sam", prompt="{{shop}} {{name}}", variables={"shop": "Blue Door"})
    assert missing_variables(own, Scenario(id="x")) == ["name"]
    begun = Scenario(id="y", history=[{"user": "Hi"}])
    assert missing_variables(Agent(name="Sam", first_message="{{name}}"), begun) == []
    require_variables({"Sam": own}, filled.scenarios)


def test_what_was_held_in_this_run_is_kept_for_transcripts_and_what_was_cached_is_not(stored: Workspace) -> None:
    agent = Agent(name="Sam", prompt="We open at nine.", llm="offline")
    runs = [compare(agent, ["When do you open?"], progress=False, journal="keeping") for _ in range(2)]
    first, second = (run for run in runs if isinstance(run, Comparison))
    assert keep_conversations(first, stored) == ""
    kept = list(stored.conversations.documents(source="simulated"))
    assert [one.scenario for one in kept] == ["when_do_you_open"]
    assert list(stored.conversations.documents(source="simulated", since="1h")) == kept, "it was held today"
    assert kept[0].id not in {one.id for one in stored.conversations.documents()}
    stored.conversations.delete(kept[0])
    keep_conversations(second, stored)
    assert list(stored.conversations.documents(source="simulated")) == [], "it was cached"


def test_a_platform_that_is_gone_loses_no_comparison() -> None:
    found = compare(Agent(name="Sam", llm="offline"), ["When do you open?"], progress=False)

    class Gone:
        platform = "local"
        conversations = connect("elevenlabs", api_key="k" * 32).conversations

    assert isinstance(found, Comparison)
    assert "is in the journal, but not among the transcripts" in keep_conversations(found, Gone())  # type: ignore[arg-type]


def test_the_cloud_keeps_only_what_was_held_there() -> None:
    with pytest.raises(NotSupportedError, match="keeps only conversations that were held there"):
        connect("elevenlabs", api_key="k" * 32).conversations.keep([])


def test_a_cell_is_read_as_openings_or_as_yaml() -> None:
    assert [one.opening for one in inline_scenarios("Order: where is it?\n# not this\n#1234 is late")] == [
        "Order: where is it?",
        "#1234 is late",
    ]
    made = inline_scenarios("agent: {name: Sam, llm: offline}\nscenarios:\n- opening: Hi\n  checks: [{said: x}]")
    assert (made.agent and made.agent.name, len(made), made.source) == ("Sam", 1, "the cell")
