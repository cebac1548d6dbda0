"""Agents: what is on the platform?"""

from __future__ import annotations

import json

import click

from convai_lab.agents.card import agent_card_text
from convai_lab.cli.platform import json_option, open_platform, platform_option


@click.group()
def agents() -> None:
    """List, show and delete the agents of a platform."""


@agents.command("list")
@platform_option
@click.option("--search", default=None, help="Only those whose name contains this.")
@json_option()
def list_agents(platform: str, search: str | None, as_json: bool) -> None:
    """List the agents."""
    found = list(open_platform(platform).agents.list(search=search))
    if as_json:
        click.echo(json.dumps([{"agent_id": agent.id, "name": agent.name} for agent in found], indent=2))
    elif not found:
        click.echo('There are no agents yet: make one with %%agent in a notebook, or try "convai demo".')
    for agent in [] if as_json else found:
        click.echo(f"{agent.name:<30} {agent.id}")


@agents.command()
@click.argument("agent")
@platform_option
@json_option()
def show(agent: str, platform: str, as_json: bool) -> None:
    """Show one agent, by name or id."""
    found = open_platform(platform).agents.get(agent)
    if as_json:
        from convai_lab.agents.wire_format import agent_to_wire

        click.echo(json.dumps(agent_to_wire(found), indent=2, ensure_ascii=False))
    else:
        click.echo(agent_card_text(found))


@agents.command()
@click.argument("agent")
@platform_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(agent: str, platform: str, yes: bool) -> None:
    """Delete one agent, by name or id; its conversations stay."""
    workspace = open_platform(platform)
    found = workspace.agents.get(agent)
    if not yes:
        click.confirm(f"Delete {found.name} ({found.id}) on {workspace.platform}?", abort=True)
    workspace.agents.delete(found)
    click.echo(f"Deleted {found.name}; its conversations stay.")
