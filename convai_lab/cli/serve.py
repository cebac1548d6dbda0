"""Serve: the local platform by hand, for any client of the Agents API."""

from __future__ import annotations

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8300, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--api-key", default=None, envvar="CONVAI_SERVE_API_KEY", help="Key to ask for (default: the folder's own)."
)
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="Let web pages of this origin talk with agents.")
@click.option("--no-keyless", is_flag=True, help="Ask for the key everywhere: for machines that others use too.")
@click.option("--open-to-network", is_flag=True, help="Allow a --host that other machines can reach.")
def serve(
    host: str, port: int, api_key: str | None, allow_origin: tuple[str, ...], no_keyless: bool, open_to_network: bool
) -> None:
    """Run the local platform until Ctrl-C; says its address and where its key is kept."""
    from convai_lab.server.run import serve as run

    run(
        host=host,
        port=port,
        api_key=api_key,
        allow_origins=allow_origin,
        keyless=not no_keyless,
        open_to_network=open_to_network,
        say=click.echo,
    )
