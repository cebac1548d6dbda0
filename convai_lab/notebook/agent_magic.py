"""Agent magic: authoring an agent in a cell."""

from __future__ import annotations

from typing import Any

from convai_lab.agents.agent import Agent, Change
from convai_lab.agents.card import agent_card_html, agent_card_text
from convai_lab.agents.front_matter import read_front_matter, with_fields
from convai_lab.agents.templates import from_template
from convai_lab.agents.tools import ClientTool, SystemTool, Tool, WebhookTool, registered_tool
from convai_lab.errors import ConvaiLabError
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.display import Picture, show, silence_once, table, text_table
from convai_lab.notebook.magics import SYSTEM_TOOLS
from convai_lab.notebook.panel_cells import running_sessions

DIRECT_OPTIONS = ("llm", "voice", "asr", "tts", "temperature", "max_tokens", "language", "first_message", "text_only")
"""Options that are fields of `Agent` under the same name."""


def run_agent(bench: Bench, arguments: Arguments, body: str | None) -> Agent | None:
    """Create, change or show an agent; returns it."""
    agents = bench.workspace.agents
    if arguments.delete:
        agents.delete(arguments.name)
        _refresh_names(bench)
        print(f"Deleted the agent {arguments.name}; its conversations stay.")
        return None
    if arguments.history:
        _show_history(agents.history(arguments.name))
        return None
    if arguments.pull:
        return _shown(bench, agents.get(arguments.pull), as_name=str(arguments.name))
    before = agents.find(str(arguments.name))
    if arguments.live:
        _check_live(bench, before, arguments)
    if body is None and not set(arguments.values) - {"live"}:
        return _applied_live(bench, arguments, _shown(bench, agents.get(arguments.name)))
    if before is None and body is None and not (arguments.template or arguments.llm):
        return _shown(bench, agents.get(arguments.name))  # raises, with the names that are close
    wanted = _changed(before or _new(arguments), arguments, body)
    if arguments.restore is not None:
        wanted = _version(agents.history(arguments.name), arguments.restore)
    return _applied_live(bench, arguments, _shown(bench, wanted, before=before, save=True))


def run_agents(bench: Bench, arguments: Arguments, _body: str | None) -> Any:
    """List the agents of the platform."""
    found = bench.workspace.agents.list(search=arguments.search)
    bench.agent_names = tuple(agent.name for agent in found)
    return found


def _check_live(bench: Bench, agent: Agent | None, arguments: Arguments) -> None:
    """Refuse before anything is changed when no session could be told."""
    if agent is None or not running_sessions(bench, agent):
        raise ArgumentsError(f"--live: no voice session with {arguments.name} is running here: %talk {arguments.name}")


def _applied_live(bench: Bench, arguments: Arguments, agent: Agent) -> Agent:
    """Let the running sessions of the agent go on with its newest version, when `--live` asks for it."""
    if arguments.live:
        for session in running_sessions(bench, agent):
            session.use_agent(agent)
        print(
            f"The running session goes on with {agent.name}@{agent.version} from its next turn; this is marked there."
        )
    return agent


def _new(arguments: Arguments) -> Agent:
    if arguments.template:
        return from_template(str(arguments.name), arguments.template)
    return Agent(name=str(arguments.name))


def _changed(agent: Agent, arguments: Arguments, body: str | None) -> Agent:
    """Return the agent that the cell describes: its head and body first, then the options of its line."""
    if body is not None:
        head = read_front_matter(body)
        agent = with_fields(agent, head.fields)
        agent = agent.with_changes(prompt=head.body) if head.body else agent
    changes = {name: arguments.values[name] for name in DIRECT_OPTIONS if name in arguments.values}
    if arguments.rename:
        changes["name"] = arguments.rename
    if arguments.var:
        changes["variables"] = {**agent.variables, **arguments.var}
    if arguments.tag:
        changes["tags"] = tuple(dict.fromkeys((*agent.tags, *arguments.tag)))
    if arguments.tool or arguments.remove_tool:
        changes["tools"] = _tools(agent, arguments.tool or [], arguments.remove_tool or [])
    return agent.with_changes(**changes) if changes else agent


def _tools(agent: Agent, added: list[Any], removed: list[str]) -> tuple[Tool, ...]:
    tools = {tool.name: tool for tool in agent.tools}
    for name in removed:
        if tools.pop(name, None) is None:
            has = ", ".join(tools) or "none"
            raise ArgumentsError(f"--remove-tool: {agent.name} has no tool {name} (it has: {has})")
    for given in added:
        tool = _as_tool(given)
        tools[tool.name] = tool
    return tuple(tools.values())


def _as_tool(given: Any) -> Tool:
    if isinstance(given, (ClientTool, WebhookTool, SystemTool)):
        return given
    if isinstance(given, str):
        if given in SYSTEM_TOOLS:
            return SystemTool(name=given)
        if known := registered_tool(given):
            return known
        raise ArgumentsError(
            f"--tool: there is no tool {given}: write --tool {{{given}}} for a function made with @tool, "
            f"or one of {', '.join(SYSTEM_TOOLS)}"
        )
    name = getattr(given, "__name__", type(given).__name__)
    raise ArgumentsError(f"--tool: {name} is not a tool yet: put @tool above its def, and run that cell")


def _shown(
    bench: Bench, agent: Agent, *, before: Agent | None = None, save: bool = False, as_name: str | None = None
) -> Agent:
    """Store the agent when asked to, show its card once, and return it."""
    changes: list[Change] | None = None
    if as_name is not None and as_name != agent.name:
        agent, save, before = agent.with_changes(name=as_name), True, agent
    if save:
        stored = bench.workspace.agents.update(before, agent) if before else bench.workspace.agents.create(agent)
        changes = stored.diff(before) if before else None
        agent = stored
    _refresh_names(bench)
    warnings = _warnings(bench, agent)
    show(
        Picture(
            agent_card_html(agent, diff=changes, warnings=warnings),
            agent_card_text(agent, diff=changes, warnings=warnings),
        )
    )
    return silence_once(agent)


def _refresh_names(bench: Bench) -> None:
    bench.agent_names = tuple(agent.name for agent in bench.workspace.agents.list())


def _warnings(bench: Bench, agent: Agent) -> list[str]:
    """Say now what would stop the first chat."""
    if bench.workspace.platform != "local":
        return []
    from convai_lab.providers.registry import find_llm

    try:
        find_llm(agent.llm or "offline", custom=agent.custom_llm)
    except ConvaiLabError as problem:
        return [str(problem)]
    return []


def _show_history(versions: list[Agent]) -> None:
    rows = []
    for at, agent in enumerate(versions):
        older = versions[at + 1] if at + 1 < len(versions) else None
        fields = ", ".join(change.field for change in agent.diff(older)) if older else "created"
        rows.append((agent.version, fields, agent.llm or "", agent.version_id or ""))
    headers = ("version", "changed", "llm", "version id")
    show(Picture(table(headers, rows), text_table(headers, rows)))


def _version(versions: list[Agent], number: int) -> Agent:
    for agent in versions:
        if agent.version == number:
            return agent
    known = ", ".join(str(agent.version) for agent in versions)
    raise ArgumentsError(f"--restore: there is no version {number}; there are {known}")
