"""%compare and %%compare, cell by cell, in a real IPython shell on a real local platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.estimate import Estimate
from convai_lab.notebook.completion import complete
from convai_lab.notebook.magics import COMPARE
from convai_lab.testing.fake_vendors import fake_openai

SUPPORT = Path(__file__).parents[2] / "datasets" / "scenarios" / "support.yaml"

TOOL = '''from convai_lab import tool

@tool
def order_status(order_id: str) -> dict:
    """Look up an order by its number."""
    return {{"status": "{status}"}}

%agent {name} --tool {{order_status}}'''

BODY = """%%compare {line}
- id: order
  opening: Where is my order 1234?
  checks: [{{said: shipped}}]
- id: hours
  opening: When are you open?
  checks: [{{said: nine}}]"""


@pytest.fixture
def support(notebook: Any) -> str:
    """An agent that can look up orders, and a second version of it that knows when it is open."""
    if not notebook.shell.user_ns["ws"].agents.find("caller-desk"):
        notebook.must("%%agent caller-desk --llm offline\nYou are Sam, a calm support agent.")
        notebook.must("%%agent caller-desk --llm offline\nYou are Sam. We are open from nine to five.")
    notebook.must(TOOL.format(name="caller-desk", status="shipped"))
    return "caller-desk"


def test_scenarios_in_the_cell_are_held_with_versions_of_an_agent(notebook: Any, support: str) -> None:
    found = notebook.must(BODY.format(line=f"{support} {support}@1 --trials 2 --save kept"))
    assert isinstance(found, Comparison)
    assert notebook.shell.user_ns["kept"] is found
    assert found.variant_names == (support, f"{support}@1")
    by_variant = {name: [t.success for t in found if t.variant == name] for name in found.variant_names}
    assert by_variant[support] == [True, True, True, True]
    assert by_variant[f"{support}@1"] == [False, False, False, False], "version 1 has no tool and no hours"
    assert notebook.html.count('aria-label="Comparison"') == 1, "it must be shown once"
    assert "offline rules, not a language model" in notebook.html


def test_the_functions_of_the_notebook_answer_and_an_edit_of_one_reruns_what_it_touches(
    notebook: Any, support: str
) -> None:
    first = notebook.must(BODY.format(line=support))
    assert notebook.must(BODY.format(line=support)).facts.cached == 2
    notebook.must(TOOL.format(name=support, status="lost").rpartition("\n")[0])
    second = notebook.must(BODY.format(line=support))
    assert first.trial(support, "order").success is True
    assert (second.trial(support, "order").success, second.facts.fresh) == (False, 2)


def test_one_opening_a_line_is_enough(notebook: Any, support: str) -> None:
    found = notebook.must(f"%%compare {support}\nWhen are you open?\n\n# a comment\nWhere is order 1?")
    assert [scenario.opening for scenario in found.scenarios] == ["When are you open?", "Where is order 1?"]
    assert "nothing to be graded by" in notebook.html


def test_the_line_of_the_storyboard_compares_models(
    notebook: Any, support: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_openai(lambda received: "It has shipped." if "mini" in str(received.body) else "No idea.") as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        notebook.must(
            f"comparison = %compare {support} --llm gpt-4o-mini,gpt-4o --scenarios {SUPPORT} --trials 1 --max-cost 2 "
            "--simulated-user scripted"
        )
    found = notebook.shell.user_ns["comparison"]
    assert found.variant_names == ("gpt-4o-mini", "gpt-4o")
    assert len(found) == 40
    assert found.facts.cost_usd > 0
    assert notebook.html.count('aria-label="Comparison"') == 1


def test_a_dry_run_asks_nothing_and_says_what_it_would_cost(
    notebook: Any, support: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_openai(["hello"]) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        found = notebook.must(f"%compare {support} --llm gpt-4o-mini,gpt-4o --scenarios {SUPPORT} --dry-run")
        assert server.requests == []
    assert isinstance(found, Estimate)
    assert found.planned == 40
    assert notebook.html.count("40 trials") == 1
    assert "$" in notebook.html


def test_what_was_said_is_among_the_transcripts_only_when_asked_for(notebook: Any, support: str) -> None:
    found = notebook.must(f"%%compare {support}\nDo you keep what I say about walruses?")
    mine = found.trials[0].conversation_id
    assert mine not in set(notebook.must("%transcripts --conversations")["id"])
    assert mine in set(notebook.must("%transcripts --conversations --all")["id"])
    assert notebook.must(f"%transcripts --id {mine}").scenario == found.scenarios[0].id
    assert notebook.must("%chat caller-desk Hello") is not None
    assert notebook.must("%transcripts --last").source == "live"


def test_a_comparison_is_saved_to_a_file_and_reopened(notebook: Any, support: str, tmp_path: Path) -> None:
    from convai_lab.experiments.bundle import load

    found = notebook.must(BODY.format(line=f"{support} --save {tmp_path / 'x.convai'}"))
    assert f"Saved in {tmp_path / 'x.convai'}" in notebook.stdout
    assert str(load(tmp_path / "x.convai").verdict) == str(found.verdict)


def test_an_interrupt_keeps_and_shows_what_is_done_and_stays_one(
    notebook: Any, support: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_openai(lambda received: "It has shipped.") as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        notebook.must(
            "class StopsAfterSome:\n"
            "    name = 'stops'\n"
            "    async def next_move(self, conversation, scenario):\n"
            "        import os, signal, asyncio\n"
            "        from convai_lab.simulation.simulated_user import Move\n"
            "        if conversation.turns: return Move(stop='goal_reached')\n"
            "        if scenario.id == 's3':\n"
            "            os.kill(os.getpid(), signal.SIGINT)\n"
            "            await asyncio.Event().wait()\n"
            "        return Move(text=scenario.opening)\n"
            "cases = [dict(id=f's{n}', opening='Hi', checks=[{'said': 'shipped'}]) for n in range(5)]"
        )
        cell = (
            f"%compare {support} --llm gpt-4o-mini --scenarios {{cases}} --simulated-user {{StopsAfterSome()}} "
            "--concurrency 1 --save partial"
        )
        said = notebook.fails(cell)
    assert isinstance(notebook.error, KeyboardInterrupt)
    assert "3 of 5 trials are kept in partial, and the same cell goes on from there" in said
    partial = notebook.shell.user_ns["partial"]
    assert (len(partial), partial.facts.stopped) == (3, "interrupted")
    assert "interrupted" in notebook.html


def test_a_second_interrupt_waits_for_nobody_and_is_one_line_too(notebook: Any, support: str) -> None:
    notebook.must(
        "import asyncio, os, signal, threading\n"
        "gone = threading.Event()\n"
        "class Stubborn:\n"
        "    name = 'stubborn'\n"
        "    async def next_move(self, conversation, scenario):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        try:\n"
        "            await asyncio.Event().wait()\n"
        "        finally:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            await asyncio.to_thread(gone.wait, 20)\n"
    )
    said = notebook.fails(
        f"%compare {support} --llm offline --scenarios {{['Hi']}} --simulated-user {{Stubborn()}} --concurrency 1"
    )
    notebook.must("gone.set()\nfrom tqdm import tqdm\nfor bar in list(tqdm._instances):\n    bar.close()")
    assert said == "KeyboardInterrupt: stopped; what is done is kept, and the same cell goes on from there"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%compare caller-desk", "needs --scenarios FILE"),
        ("%compare --scenarios {S}", "name at least one agent or model"),
        ("%compare caller-dsk --scenarios {S}", "caller-dsk"),
        ("%compare caller-desk@99 --scenarios {S}", "caller-desk has no version 99"),
        ("%compare caller-desk caller-desk --scenarios {S}", "named twice"),
        ("%compare caller-desk --scenarios nowhere.yaml", "there is no such file"),
        ("%compare caller-desk --scenarios {S} --trials 0", "trials: must be a whole number from 1"),
        ("%compare caller-desk --scenarios {S} --trials many", "--trials"),
        ("%compare caller-desk --scenarios {S} --trial 3", "did you mean --trials"),
        ("%compare caller-desk --scenarios {S} --max-cost cheap", "--max-cost"),
        ("%compare caller-desk --scenarios {S} --max-cost -1", "max_cost"),
        ("%compare caller-desk --scenarios {S} --mode song", "must be text or voice"),
        ("%compare caller-desk --scenarios {S} --stop soon", "decided"),
        ("%compare caller-desk --scenarios {S} --baseline b", "is no variant"),
        ("%compare caller-desk --scenarios {S} --concurrency 0", "concurrency"),
        ("%compare caller-desk --scenarios {S} --save a-b", "--save takes the name of a variable"),
        ("%compare caller-desk --llm gpt-4o-mini --scenarios {S}", "OPENAI_API_KEY"),
        ("%compare caller-desk --llm gtp-4o-mini --scenarios {S}", "gtp-4o-mini"),
        ("%compare caller-desk --llm offline,gpt-4o-mini --scenarios {S}", "--allow-offline"),
        ("%compare caller-desk --judge gpt-4o-mini --scenarios {S}", "OPENAI_API_KEY"),
        ("%compare @nowhere.yaml --scenarios {S}", "there is no such file"),
        ("%compare @nowhere.exe --scenarios {S}", ".yaml or .json"),
        ("%compare {{3}} --scenarios {S}", "must be the name of an agent"),
        ("%%compare caller-desk", "needs a body below it: scenarios"),
        ("%%compare caller-desk --scenarios {S}\nHello", "leave out --scenarios"),
        ("%%compare caller-desk\n# nothing", "holds no scenario"),
        ("%%compare caller-desk\n- opening: Hi\n  chekcs: []", "did you mean checks"),
        ("%%compare caller-desk\n- opening: Hi\n  checks: [{{sayd: x}}]", "sayd"),
        ("%%compare caller-desk\n- [", "YAML"),
        ("%%compare caller-desk\nopening: Hi", "begin each scenario with a dash"),
    ],
)
def test_a_wrong_cell_is_one_sentence_and_spends_nothing(notebook: Any, support: str, cell: str, said: str) -> None:
    line = notebook.fails(cell.format(S=SUPPORT))
    assert said in line
    assert "Traceback" not in line
    assert len(line) < 700


def test_what_callers_and_scenarios_say_is_escaped(notebook: Any, support: str) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    notebook.must(
        f"%%compare {support} {support}@1\n- id: {attack!r}\n  opening: {attack!r}\n  checks: [{{said: nine}}]"
    )
    assert "<script" not in notebook.html
    assert "<img" not in notebook.html


def test_completion_offers_options_agents_models_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls.yaml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "more").mkdir()
    assert "--max-cost" in complete(COMPARE, "%compare support --ma")
    assert complete(COMPARE, "%compare su", agent_names=["support", "booking"]) == ["support"]
    assert complete(COMPARE, "%compare support bo", agent_names=["support", "booking"]) == ["booking"]
    assert complete(COMPARE, "%compare support --llm gpt-4o-mini,cla") == ["claude-haiku-4-5", "claude-3-5-sonnet"]
    assert complete(COMPARE, "%compare support --scenarios ") == ["calls.yaml", "more/"]
    assert complete(COMPARE, "%compare support --agent b", agent_names=["booking"]) == ["booking"]


def test_variables_of_the_prompt_are_as_in_the_last_conversation_or_asked_for(notebook: Any) -> None:
    notebook.must("%%agent greets --llm offline\n---\nfirst_message: Hi {{name}}!\n---\nYou are Sam.")
    line = notebook.fails("%%compare greets\nHello")
    assert "greets (in 1 of 1 scenarios, such as hello) uses {{name}}, which has no value" in line
    assert "--var name=" in line
    found = notebook.must("%%compare greets --var name=Bo\nHello")
    assert found.conversation("greets", "hello").turns[0].text == "Hi Bo!"
    notebook.must("%chat greets --var name=Ada Hello")
    found = notebook.must("%%compare greets\nHello")
    assert found.conversation("greets", "hello").turns[0].text == "Hi Ada!"
    assert "{{name}} is Ada, as when greets was last talked with" in notebook.stdout
    assert notebook.must("%simulate greets Hello").turns[0].text == "Hi Ada!"
    assert notebook.must("%simulate greets Hello --var name=Cy").turns[0].text == "Hi Cy!"


def test_what_models_answered_is_replayed_without_them_and_without_a_key(
    notebook: Any, support: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (
        f"%%compare {support} --llm gpt-4o-mini,gpt-4o --simulated-user scripted --cassette {tmp_path / 'tape.jsonl'}"
    )
    scenario = "- opening: Where is my order 1234?\n  checks: [{said: shipped}]"
    with fake_openai(lambda received: "It has shipped." if "mini" in str(received.body) else "No idea.") as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        recorded = notebook.must(f"{line}:record\n{scenario}")
    for name in server.settings:
        monkeypatch.delenv(name)
    replayed = notebook.must(f"{line}\n{scenario}")
    assert [trial.success for trial in recorded] == [trial.success for trial in replayed] == [True, False]
    assert "no vendor was asked" in notebook.html
    said = notebook.fails(f"{line}\n- opening: Something else\n  checks: [{{said: shipped}}]")
    assert "CassetteMissError" in said


def test_what_was_said_by_rules_shows_no_time_that_nobody_measured(notebook: Any, support: str) -> None:
    found = notebook.must(f"%%compare {support}\nWhen are you open, and how fast are you?")
    said = found.conversation(support, found.scenarios[0].id)
    assert {turn.metrics.llm_ttft_ms for turn in said} == {None}
    assert "not measured" in said.text
    assert "0 ms" not in said.text
