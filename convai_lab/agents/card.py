"""Card: how does an agent look in a notebook and in a terminal?"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from convai_lab.agents.agent import Agent, Change
from convai_lab.agents.card_diff import NOTHING, DiffRow, diff_rows, value_text
from convai_lab.agents.prompt import SYSTEM_PREFIX, variables_in
from convai_lab.agents.tools import ClientTool, Tool, WebhookTool

MAX_PROMPT_CHARS = 20_000
MAX_CHIPS = 30
PREVIEW_CHARS = 90
OFFLINE_NOTE = "offline: not a language model"

_BORDER = "var(--jp-border-color2,#bdbdbd)"
_SOFT = "var(--jp-layout-color2,rgba(127,127,127,.12))"
_DIM = "var(--jp-ui-font-color2,#808080)"
_CHIP = Markup(
    '<span style="display:inline-block;padding:0 7px;margin:1px 4px 1px 0;border:1px solid {};border-radius:9px;'
    'font-size:12px;line-height:18px;white-space:nowrap">{}</span>'
)
_BADGE = Markup(
    '<span style="display:inline-block;padding:0 7px;border-radius:9px;font-size:12px;line-height:20px;font-weight:600;'
    'background:#8a5a00;color:#fff">{}</span>'
)
_CARD = Markup(
    '<div style="border:1px solid {};border-radius:6px;padding:10px 14px;max-width:820px;margin:2px 0;line-height:1.5;'
    'font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;color:var(--jp-ui-font-color1,inherit)">'
    "{}</div>"
)
_HEADING = Markup(
    '<div style="display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 10px;margin-bottom:6px">'
    '<strong style="font-size:16px">{}</strong>{}</div>'
)
_FACT = Markup(
    '<div style="color:{};white-space:nowrap">{}</div><div style="overflow-wrap:anywhere;min-width:0">{}</div>'
)
_FACTS = Markup('<div style="display:grid;grid-template-columns:max-content 1fr;gap:2px 14px">{}</div>')
_FOLD = Markup(
    '<details style="margin-top:6px"><summary style="cursor:pointer">{} <span style="color:{}">{}</span></summary>'
    '<div style="white-space:pre-wrap;overflow-wrap:anywhere;max-height:420px;overflow:auto;margin-top:4px;'
    "padding:8px 10px;border-radius:4px;background:{};font-family:var(--jp-code-font-family,monospace);"
    'font-size:12px">{}</div></details>'
)
_WARNING = Markup(
    '<div role="note" style="margin-top:6px;padding:4px 10px;border-left:4px solid #b26a00;background:{}">'
    "<strong>Warning:</strong> {}</div>"
)
_CHANGES = Markup(
    '<div style="margin-top:8px;border-top:1px solid {};padding-top:6px"><strong>{}</strong>'
    '<div style="display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin-top:2px">{}</div></div>'
)
_BEFORE_AFTER = Markup(
    '<span><span style="color:{}">was</span> <s>{}</s> <span style="color:{}">now</span> <strong>{}</strong></span>'
)
_ONE_SIDE = Markup('<span><span style="color:{}">{}</span> {}</span>')
_LINES = Markup(
    '<div style="font-family:var(--jp-code-font-family,monospace);font-size:12px;white-space:pre-wrap;'
    'overflow-wrap:anywhere">{}</div>'
)
_LINE_STYLES = {"+": "background:rgba(46,160,67,.18)", "-": "background:rgba(218,54,51,.18)", " ": "opacity:.75"}
_LINE = Markup('<div style="{};padding-left:18px;text-indent:-18px">{} {}</div>')


def agent_card_html(agent: Agent, *, diff: Sequence[Change] | None = None, warnings: Sequence[str] = ()) -> str:
    """Return the agent as script-free HTML: who it is, its prompt folded, what changed (`diff`), what is amiss.

    `diff` is what `Agent.diff` returns; an empty one is shown as "no changes".
    """
    parts = [_HEADING.format(agent.name, Markup("").join(_badges(agent)))]
    parts.append(_FACTS.format(Markup("").join(_FACT.format(_DIM, *fact) for fact in _facts(agent))))
    if agent.prompt:
        parts.append(_FOLD.format("Prompt", _DIM, _prompt_summary(agent.prompt), _SOFT, _cut(agent.prompt)))
    parts += [_WARNING.format(_SOFT, warning) for warning in warnings]
    if diff is not None:
        parts.append(_changes(diff_rows(diff)))
    return str(_CARD.format(_BORDER, Markup("").join(parts)))


def agent_card_text(agent: Agent, *, diff: Sequence[Change] | None = None, warnings: Sequence[str] = ()) -> str:
    """Return the same card as plain text, for a terminal."""
    version = f" (version {agent.version})" if agent.version else ""
    facts = [("LLM", _llm_text(agent)), *_plain_facts(agent)]
    if tools := [_tool_label(tool) for tool in agent.tools] + list(agent.tool_ids):
        facts.append(("Tools", ", ".join(tools)))
    if agent.prompt:
        facts.append(("Prompt", _prompt_summary(agent.prompt)))
    lines = [f"{agent.name}{version}", *(f"  {label:<14} {text}" for label, text in facts)]
    lines += [f"  Warning: {warning}" for warning in warnings]
    if diff is not None:
        lines += ["  Changes:" if diff else "  No changes", *_text_rows(diff_rows(diff))]
    return "\n".join(lines)


def is_offline(agent: Agent) -> bool:
    """Whether the agent is asked to speak without a language model."""
    return (agent.llm or "").partition("/")[0] == "offline"


def _badges(agent: Agent) -> list[Markup]:
    badges = [_CHIP.format(_BORDER, agent.llm or "platform's default model")]
    if agent.version:
        badges.insert(0, _CHIP.format(_BORDER, f"version {agent.version}"))
    if is_offline(agent):
        badges.append(_BADGE.format(OFFLINE_NOTE))
    return badges


def _llm_text(agent: Agent) -> str:
    name = agent.llm or "the platform's default"
    return f"{name} ({OFFLINE_NOTE})" if is_offline(agent) else name


def _engines(agent: Agent) -> str:
    spoken, heard = (f" · {what} {name}" if name else "" for what, name in (("by", agent.tts), ("heard by", agent.asr)))
    return spoken + heard


def _facts(agent: Agent) -> list[tuple[str, str | Markup]]:
    facts: list[tuple[str, str | Markup]] = list(_plain_facts(agent))
    if chips := [_tool_label(tool) for tool in agent.tools] + list(agent.tool_ids):
        more = [f"and {len(chips) - MAX_CHIPS} more"] if len(chips) > MAX_CHIPS else []
        facts.append(("Tools", Markup("").join(_CHIP.format(_BORDER, chip) for chip in chips[:MAX_CHIPS] + more)))
    return facts


def _plain_facts(agent: Agent) -> list[tuple[str, str]]:
    """List what the card says in words, leaving out what was never set."""
    voice = "none (text only)" if agent.text_only else agent.voice
    facts = [
        ("Voice", f"{voice}{_engines(agent)} · {agent.language} · temperature {agent.temperature:g}"),
        ("First message", value_text(agent.first_message) if agent.first_message else "none: the user begins"),
    ]
    if agent.custom_llm is not None:
        facts.append(("Custom LLM", value_text(agent.custom_llm.url)))
    if variables := _variables(agent):
        facts.append(("Variables", ", ".join(variables)))
    if agent.knowledge:
        facts.append(("Knowledge", value_text(", ".join(text.name for text in agent.knowledge))))
    if agent.criteria:
        facts.append(("Criteria", value_text(", ".join(criterion.name for criterion in agent.criteria))))
    if agent.data_collection:
        facts.append(("Collects", value_text(", ".join(agent.data_collection))))
    if agent.tags:
        facts.append(("Tags", value_text(", ".join(agent.tags))))
    if agent.id:
        facts.append(("Id", agent.id))
    return facts


def _variables(agent: Agent) -> list[str]:
    named = [n for n in variables_in(f"{agent.first_message}\n{agent.prompt}") if not n.startswith(SYSTEM_PREFIX)]
    return [
        f"{name} = {value_text(agent.variables[name])}" if name in agent.variables else f"{name} (to be given)"
        for name in dict.fromkeys([*named, *agent.variables])
    ]


def _tool_label(tool: Tool) -> str:
    if isinstance(tool, ClientTool):
        arguments = ", ".join(tool.parameters.get("properties") or ())
        missing = "" if tool.function else " · client"
        return f"{tool.name}({arguments}){missing}"
    return f"{tool.name} · webhook" if isinstance(tool, WebhookTool) else f"{tool.name} · system"


def _prompt_summary(prompt: str) -> str:
    lines = prompt.count("\n") + 1
    spoken = [line.strip() for line in prompt.splitlines() if line.strip()]
    first = next((line for line in spoken if not line.startswith("#")), spoken[0] if spoken else "")
    preview = first if len(first) <= PREVIEW_CHARS else f"{first[:PREVIEW_CHARS]}…"
    return f"{lines:,} {'line' if lines == 1 else 'lines'}, {len(prompt):,} characters: {preview}"


def _cut(prompt: str) -> str:
    if len(prompt) <= MAX_PROMPT_CHARS:
        return prompt
    return f"{prompt[:MAX_PROMPT_CHARS]}\n… {len(prompt) - MAX_PROMPT_CHARS:,} more characters"


def _changes(rows: Sequence[DiffRow]) -> Markup:
    body = Markup("").join(_FACT.format(_DIM, row.label, _change(row)) for row in rows)
    return _CHANGES.format(_BORDER, "Changed" if rows else "No changes", body)


def _change(row: DiffRow) -> Markup:
    if row.lines:
        return _LINES.format(
            Markup("").join(_LINE.format(_LINE_STYLES[line.mark], line.mark, line.text) for line in row.lines)
        )
    if row.before == NOTHING:
        return _ONE_SIDE.format(_DIM, "added", Markup("<strong>{}</strong>").format(row.after))
    if row.after == NOTHING:
        return _ONE_SIDE.format(_DIM, "removed", Markup("<s>{}</s>").format(row.before))
    return _BEFORE_AFTER.format(_DIM, row.before, _DIM, row.after) if row.before else Markup("")


def _text_rows(rows: Sequence[DiffRow]) -> list[str]:
    shown = []
    for row in rows:
        if row.lines:
            shown += [f"    {row.label}:", *(f"      {line.mark} {line.text}" for line in row.lines)]
        else:
            shown.append(f"    {row.label}: {row.before} -> {row.after}" if row.before else f"    {row.label}")
    return shown
