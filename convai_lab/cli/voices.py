"""Voices: which voices and speech engines are here, and how does a better one come?"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from convai_lab import background, settings
from convai_lab.errors import InvalidValueError, NotSupportedError

MB = 1_000_000
HUB = "https://huggingface.co"
PIPER = f"{HUB}/rhasspy/piper-voices/resolve/main/en/en_US/ljspeech/medium"
WHISPER = f"{HUB}/Systran/faster-whisper-tiny.en/resolve/main"
ZIPFORMER = f"{HUB}/csukuangfj/sherpa-onnx-streaming-zipformer-en-20M-2023-02-17/resolve/main"
KOKORO = "https://github.com/thewh1teagle/kokoro-onnx/releases/download/model-files-v1.0"


class File(NamedTuple):
    """One file of a download; `sha256` is checked where it is known."""

    url: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.url.rsplit("/", 1)[-1]


class Download(NamedTuple):
    """What `convai voices add` can fetch: for which engine, how large, under which licence."""

    engine: str
    what: str
    size_mb: int
    licence: str
    files: tuple[File, ...]


DOWNLOADS = {
    "piper": Download(
        "piper",
        "the voice LJSpeech, US English, for piper",
        64,
        "voice: public domain; the engine piper-tts is GPL-3.0-or-later",
        (
            File(
                f"{PIPER}/en_US-ljspeech-medium.onnx",
                "6f52a751e2349abe7a76735eb09dc1875298c77ea2342ffd2fef79ff81b87f22",
            ),
            File(f"{PIPER}/en_US-ljspeech-medium.onnx.json"),
        ),
    ),
    "kokoro": Download(
        "kokoro",
        "54 voices in 9 languages, for kokoro",
        354,
        "weights: Apache-2.0; the engine depends on GPL-3.0 parts",
        (
            File(f"{KOKORO}/kokoro-v1.0.onnx", "7d5df8ecf7d4b1878015a32686053fd0eebe2bc377234608764cc0ef3636a6c5"),
            File(f"{KOKORO}/voices-v1.0.bin"),
        ),
    ),
    "faster-whisper": Download(
        "faster-whisper",
        "Whisper tiny.en, a recogniser of whole utterances",
        78,
        "MIT",
        (
            File(f"{WHISPER}/model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            *(File(f"{WHISPER}/{name}") for name in ("config.json", "tokenizer.json", "vocabulary.txt")),
        ),
    ),
    "sherpa-onnx": Download(
        "sherpa-onnx",
        "Zipformer 20M, a recogniser that listens while you speak, English",
        45,
        "Apache-2.0",
        tuple(
            File(f"{ZIPFORMER}/{name}")
            for name in (
                "encoder-epoch-99-avg-1.int8.onnx",
                "decoder-epoch-99-avg-1.int8.onnx",
                "joiner-epoch-99-avg-1.int8.onnx",
                "tokens.txt",
            )
        ),
    ),
}
"""What can be added, by the name of its engine; sizes are those the publishers list."""


@click.group()
def voices() -> None:
    """List voices and speech engines, or add better ones that run on this machine."""


@voices.command("list")
def list_voices() -> None:
    """List the voices by name, and the speech engines with what each still needs."""
    from convai_lab.agents.voices import VOICES
    from convai_lab.providers.speech import known_engines

    click.echo("Voices (agents name them; every engine has one for each):")
    click.echo("  " + ", ".join(sorted(VOICES)))
    click.echo("\nSpeech engines:")
    for engine in known_engines():
        state = "ready" if engine.is_ready else f"not ready: {engine.problem or engine.install}"
        click.echo(f"  {engine.name:<16} {engine.kind:<5} {engine.what} ({state})")
    click.echo("\nAn agent chooses: asr: NAME and tts: NAME in the head of %%agent, or agent.with_changes(tts=NAME)")
    click.echo("convai voices add NAME fetches weights for: " + ", ".join(DOWNLOADS))


@voices.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def add(name: str, yes: bool) -> None:
    """Download the weights of a speech engine, after saying how large they are and under which licence."""
    wanted = find_download(name)
    folder = settings.home() / "voices" / wanted.engine
    click.echo(f"{wanted.what}\n  size     about {wanted.size_mb} MB\n  licence  {wanted.licence}\n  into     {folder}")
    if not yes:
        _ask()
    folder.mkdir(parents=True, exist_ok=True)
    for file in wanted.files:
        background.run(fetch(file, folder, say=click.echo))
    click.echo(f"Done: an agent uses it with {_use_of(wanted.engine)}")


def _ask() -> None:
    """Ask whether to go on; without a terminal somebody has to say so beforehand."""
    try:
        agreed = click.confirm("Download it?")
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo()
        raise click.UsageError("There is no terminal to ask: give --yes to download without being asked.") from None
    if not agreed:
        click.echo("Nothing was downloaded.")
        click.get_current_context().exit(1)


def _use_of(engine: str) -> str:
    """Return how an agent chooses an engine, and what it still needs."""
    from convai_lab.providers.speech import known_engines

    info = next(info for info in known_engines() if info.name == engine)
    missing = "" if info.installed else f"; it still needs: {info.install}"
    return f"{info.kind}: {engine} in the head of %%agent, or agent.with_changes({info.kind}={engine!r}){missing}"


def find_download(name: str) -> Download:
    """Return what can be added under a name.

    Raises:
        InvalidValueError: Nothing of that name can be added; says what can.
    """
    if name not in DOWNLOADS:
        raise InvalidValueError(f"nothing called {name} can be added; there is {', '.join(DOWNLOADS)}", field="NAME")
    return DOWNLOADS[name]


async def fetch(file: File, folder: Path, *, say: Callable[[str], None]) -> Path:
    """Download one file whole or not at all; what is there already is not fetched again.

    Raises:
        NotSupportedError: The address cannot be reached; says where to put the file by hand.
        InvalidValueError: What came is not the file that was meant.
    """
    import httpx

    from convai_lab.http import new_client

    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.exists():
        say(f"  {file.name} is there already")
        return target
    digest = hashlib.sha256()
    try:
        async with new_client() as http, http.stream("GET", file.url, follow_redirects=True) as response:
            response.raise_for_status()
            with part.open("wb") as out:
                async for piece in response.aiter_bytes():
                    digest.update(piece)
                    out.write(piece)
    except (httpx.HTTPError, OSError) as error:
        part.unlink(missing_ok=True)
        raise NotSupportedError(
            f"cannot fetch {file.url} ({type(error).__name__}): without a network, put the file into {folder} by hand"
        ) from None
    if file.sha256 and digest.hexdigest() != file.sha256:
        part.unlink()
        raise InvalidValueError("what came is not the file that was meant (its checksum differs)", field=file.name)
    os.replace(part, target)
    say(f"  {file.name}  {target.stat().st_size / MB:,.1f} MB")
    return target
