"""Simulate magic: one conversation with a simulated user in a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConvaiLabError
from convai_lab.experiments.contenders import find_agent
from convai_lab.experiments.simulating import find_scenario, simulation
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.chat_magic import chat_view, shorten
from convai_lab.notebook.display import Picture, show, silence_once, table, text_table
from convai_lab.notebook.usual_variables import usual_variables
from convai_lab.simulation.scenario import ScenarioSet
from convai_lab.workspace.chat import partial_conversation

if TYPE_CHECKING:
    from convai_lab.experiments.simulating import Simulation

PASSED_ON = ("persona", "user", "llm", "mode", "seed")
PLAYED = {"offline": "offline rules", "scripted": "a script"}
HELD = {True: "✓ held", False: "✗ broken", None: "? not known"}


def run_simulate(bench: Bench, arguments: Arguments, _body: str | None) -> Conversation:
    """Let a simulated user talk with an agent, show the transcript as it grows, and return the conversation."""
    options = {name: arguments.values[name] for name in PASSED_ON if name in arguments.values}
    agent = _agent(bench, arguments.name)
    scenario, view = find_scenario(_scenario(arguments), arguments.scenarios), chat_view(bench)
    variables = usual_variables(bench, [agent], ScenarioSet((scenario,)), arguments.var)
    options |= {"workspace": bench.workspace, "on_turn": view.show, "variables": variables}
    try:
        done = simulation(agent, scenario, **options)
    except (KeyboardInterrupt, ConvaiLabError) as error:
        if (partial := partial_conversation(error)) is not None:
            view.show(partial, final=True)
            _keep(bench, partial, arguments.save)
        if isinstance(error, KeyboardInterrupt):
            shorten(error, arguments.save)
        raise
    view.show(done.conversation, final=True)
    show(outcome(done))
    return silence_once(_keep(bench, done.conversation, arguments.save))


def outcome(done: Simulation) -> Picture:
    """Return what is known about how a simulated conversation went: who ended it, whose fault, which checks held."""
    sentence = f"Scenario {done.scenario.id}: {told_ending(done)}"
    rows = [(HELD[check.passed], check.name, check.why) for check in done.checks]
    rows += [(f"✗ {fault.party}", fault.reason, fault.detail) for fault in done.faults]
    heads = ("outcome", "check", "why")
    below = (table(heads, rows), f"\n{text_table(heads, rows)}") if rows else ("", "")
    return Picture(Markup("<p>{}</p>{}").format(sentence, below[0]), sentence + below[1])


def told_ending(done: Simulation) -> str:
    """Say in one line how it ended, and whether the agent succeeded."""
    outcome = {True: "success", False: "no success", None: "not graded"}[done.success]
    caller = PLAYED.get(done.user, done.user)
    return f"{outcome}; ended by {done.ended_by.replace('_', ' ')}; the caller was played by {caller}"


def _agent(bench: Bench, given: Any) -> Agent:
    return given if isinstance(given, Agent) else find_agent(str(given), bench.workspace)


def _scenario(arguments: Arguments) -> Any:
    if arguments.scenario is not None and arguments.rest:
        raise ArgumentsError("give either --scenario or an opening, not both")
    if arguments.scenario is None and arguments.scenarios is not None:
        raise ArgumentsError("--scenarios needs --scenario ID: which one of them? (%compare holds them all)")
    if isinstance(arguments.scenario, str) and arguments.scenarios is None:
        raise ArgumentsError("--scenario ID needs --scenarios FILE, the file that has it")
    given = arguments.scenario if arguments.scenario is not None else arguments.rest
    if not given:
        raise ArgumentsError('what does the caller want? %simulate AGENT "Where is my order?", or --scenario ID')
    return given


def _keep(bench: Bench, conversation: Conversation, variable: str | None) -> Conversation:
    """Keep it in a variable; it does not become the conversation that %chat --continue goes on with."""
    if variable:
        bench.shell.user_ns[variable] = conversation
    return conversation
