"""Lab: open JupyterLab on the quickstart."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

import convai_lab
from convai_lab.errors import MissingPackageError

QUICKSTART = "01_quickstart.ipynb"
COPY_FOLDER = "convai_lab_notebooks"
"""Where the notebooks are copied when the package was installed without its checkout."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Port of JupyterLab.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.argument("jupyter_arguments", nargs=-1, type=click.UNPROCESSED)
def lab(port: int | None, no_browser: bool, jupyter_arguments: tuple[str, ...]) -> int:
    """Open JupyterLab on the quickstart notebook (other arguments go to JupyterLab)."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingPackageError("jupyterlab", extra="lab", needed_for="convai lab")
    notebook = quickstart(Path.cwd())
    command = [sys.executable, "-m", "jupyterlab", str(notebook), "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={notebook.parent}"]
    command += [f"--ServerApp.port={port}"] if port else []
    command += ["--no-browser"] if no_browser else []
    command += ["--allow-root"] if _is_root() else []
    click.echo(f"Opening {notebook}")
    return subprocess.run([*command, *jupyter_arguments], check=False).returncode  # noqa: S603 - our own command


def quickstart(here: Path) -> Path:
    """Return the quickstart notebook: the checkout's, or a copy under `here` that the user may change."""
    package = Path(convai_lab.__file__).parent
    for folder in (package.parent / "notebooks", here / COPY_FOLDER):
        if (folder / QUICKSTART).exists():
            return folder / QUICKSTART
    shutil.copytree(package / "shipped_notebooks", here / COPY_FOLDER, ignore=shutil.ignore_patterns("*.py"))
    return here / COPY_FOLDER / QUICKSTART


def _is_root() -> bool:
    """JupyterLab refuses root unless told; on loopback it is harmless, and containers run as root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
