"""Demo: the main job without a browser, a key or a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import convai_lab
from convai_lab.agents.agent import Agent, Knowledge
from convai_lab.agents.tools import SystemTool, tool
from convai_lab.cli.platform import open_platform, platform_option
from convai_lab.errors import ConvaiLabError, InvalidValueError

if TYPE_CHECKING:
    from convai_lab.conversations.conversation import Conversation
    from convai_lab.workspace.workspace import Workspace

FOLDER = "convai_demo"
QUESTION = Path(convai_lab.__file__).parent.parent / "datasets" / "audio" / "order.wav"
TEXT_CHARS = 48

PROMPT = """# Personality
You are Sam, a calm support agent of a small coffee roaster. You speak to {{name}}.
# Goal
1. Find the order. 2. Say when it arrives. 3. Ask whether there is anything else.
# Guardrails
Never promise a refund.
"""

HOUSE_RULES = """Standard delivery takes three working days.
The delivery address can be changed until the parcel has left the roastery.
The roastery is open from nine to five, Monday to Friday.
"""

CALLS = (
    ("Where is my order 1234?", "Can I change the delivery address?", "Thank you, goodbye"),
    ("Hello, when are you open?", "And where is order 9999?", "I want my money back!", "Bye"),
)
"""Two callers: one with an easy question, one without luck."""


@tool
def order_status(order_id: str) -> dict[str, str]:
    """Look up an order by its number.

    Args:
        order_id: The number on the confirmation, such as 1234.
    """
    orders = {"1234": {"status": "shipped", "eta": "tomorrow"}, "5678": {"status": "roasting", "eta": "on Friday"}}
    return orders.get(order_id, {"error": f"there is no order {order_id}"})


@click.command()
@click.option("--llm", default="offline", show_default=True, help="The model, as in %agent --llm.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(FOLDER), show_default=True, help="Folder to fill.")
@platform_option
def demo(llm: str, out: Path, platform: str) -> None:
    """Author an agent with a tool, talk with it, compare two variants, and write tables, plots and reports."""
    from convai_lab.analysis.report import write_report
    from convai_lab.cli.demo_comparison import demo_comparison, write_comparison

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValueError(f"cannot write into {out}: {error.strerror}", field="--out") from None
    workspace = open_platform(platform)
    saved = workspace.agents.save(_agent(llm))
    click.echo(f"1. Agent {saved.agent.name} (version {saved.agent.version}, model {saved.agent.llm}) is ready.")
    conversations = []
    for messages in CALLS:
        conversations.append(workspace.chat(saved.agent, messages, variables={"name": "Ada"}))
        click.echo(f"\n2. Conversation {conversations[-1].id}\n\n{conversations[-1].text}")
    conversations += _spoken(workspace, saved.agent)
    click.echo("\n4. What was said, as a table:\n")
    click.echo(_table(conversations))
    page = write_report(conversations, out, title="convai demo")
    click.echo("\n5. Does it help that the agent knows the house rules? Twelve simulated callers try it:\n")
    comparison = demo_comparison(saved.agent)
    click.echo(str(comparison))
    files = write_comparison(comparison, out)
    click.echo(f"\n6. Reports: {page.resolve()}\n            {files[0].resolve()}")
    click.echo(f"   Beside them: plots, turns.parquet, and {files[-1].name}, which lab.load reopens.")
    click.echo("\nNext: convai lab opens the notebooks in which you do this with an agent of your own.")


def _spoken(workspace: Workspace, agent: Agent) -> list[Conversation]:
    """Hold a conversation by voice, from a sound file; where that is not possible, say why and go on."""
    if not QUESTION.exists():
        click.echo("\n3. By voice: skipped, the sound files come with a checkout (datasets/audio)")
        return []
    try:
        spoken = workspace.talk(agent, QUESTION, variables={"name": "Ada"})
    except ConvaiLabError as error:
        click.echo(f"\n3. By voice: skipped, {error}")
        return []
    click.echo(f"\n3. By voice, from {QUESTION.name}: conversation {spoken.id}\n\n{spoken.text}")
    return [spoken]


def _agent(llm: str) -> Agent:
    return Agent(
        name="demo",
        prompt=PROMPT,
        first_message="Hi {{name}}, Sam here. How can I help?",
        llm=llm,
        voice="George",
        tools=(order_status, SystemTool(name="end_call")),
        knowledge=(Knowledge(name="house rules", text=HOUSE_RULES),),
        expected_phrases=("where is my order one two three four",),
    )


def _table(conversations: list[Conversation]) -> str:
    from convai_lab.analysis.dataframes import turns_df

    columns = ["role", "text", "tools", "llm_served", "llm_ttft_ms"]
    table = turns_df(conversations)[columns]
    for name in ("role", "text", "tools"):
        table[name] = table[name].fillna("").str.slice(0, TEXT_CHARS)
        table[name] = table[name].str.ljust(int(table[name].str.len().max()))
    table["llm_ttft_ms"] = table["llm_ttft_ms"].astype("Float64").round(1)
    return table.to_string(index=False, na_rep="not measured", justify="left")
