"""Which platform is meant, and with which key."""

from __future__ import annotations

import os
from typing import Any

import pytest

from convai_lab import background, settings
from convai_lab.errors import AuthenticationError, InvalidValueError, MissingKeyError
from convai_lab.settings import Secret
from convai_lab.workspace.connect import connect
from convai_lab.workspace.workspace import Workspace

KEY = "xi-key-nobody-may-see-0123456789"


def place_of(workspace: Workspace) -> Any:
    return background.run(workspace._transport.platform.locate())


def test_local_is_the_default_and_starts_nothing_by_itself() -> None:
    workspace = connect()
    assert workspace.platform == "local"
    assert workspace._transport.platform.pid is None  # type: ignore[attr-defined]
    assert connect()._transport.platform is workspace._transport.platform


def test_the_cloud_needs_its_key() -> None:
    with pytest.raises(
        MissingKeyError, match=r"the elevenlabs platform needs ELEVENLABS_API_KEY.*stay on the local platform"
    ):
        connect("elevenlabs")


def test_the_cloud_takes_its_key_and_address_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    workspace = connect("elevenlabs")
    assert workspace.platform == "elevenlabs"
    assert place_of(workspace) == ("https://api.elevenlabs.io", Secret(KEY), None)
    monkeypatch.setenv("ELEVENLABS_BASE_URL", "http://127.0.0.1:1234/proxy/")
    assert place_of(connect("elevenlabs")).url == "http://127.0.0.1:1234/proxy"
    assert place_of(connect("elevenlabs", api_key="another-key")).key == Secret("another-key")
    assert KEY not in repr(workspace) + repr(workspace._transport.platform)


def test_a_url_is_a_platform_of_its_own() -> None:
    workspace = connect("http://127.0.0.1:8300/", api_key=f" {KEY}\n")
    assert workspace.platform == "http://127.0.0.1:8300"
    assert place_of(workspace) == ("http://127.0.0.1:8300", Secret(KEY), None)


def test_the_key_of_the_platform_that_runs_for_this_folder_is_found_for_its_address_alone() -> None:
    (settings.home() / "api_key").write_text(KEY)
    (settings.home() / "platform.json").write_text(f'{{"url": "http://127.0.0.1:8300", "pid": {os.getpid()}}}')
    assert place_of(connect("http://127.0.0.1:8300/")).key == Secret(KEY)
    assert place_of(connect("http://127.0.0.1:8301")).key is None


@pytest.mark.parametrize(
    "target",
    [
        "cloud",
        "",
        "127.0.0.1:8300",
        "ftp://host",
        "http://",
        "http://[",
        "http://host:99999",
        "http://user:pass@host",
        "http://host?x=1",
        "http://host#x",
        None,
        5,
    ],
)
def test_what_is_no_platform_is_refused_in_words(target: Any) -> None:
    with pytest.raises(InvalidValueError, match="target: "):
        connect(target)


@pytest.mark.parametrize("key", ["", "  ", "two\nlines", "clé", 5])
def test_what_is_no_key_is_refused_without_being_shown(key: Any) -> None:
    with pytest.raises(InvalidValueError, match="api_key: is not a key"):
        connect("http://127.0.0.1:8300", api_key=key)


def test_the_local_platform_takes_no_key() -> None:
    with pytest.raises(InvalidValueError, match="makes its own key"):
        connect("local", api_key=KEY)


def test_a_platform_given_by_url_is_asked_once_whether_it_is_ours(recording: Any) -> None:
    workspace = connect(recording.url, api_key=KEY)
    assert workspace.status().pid == 4711
    workspace.agents.create(name="Support")
    assert workspace.chat("support", "one").turns[-1].text == "You said: one"
    assert recording.paths().count("GET /v1/local/status") == 2
    assert {asked.headers.get("xi-api-key") for asked in recording.asked} == {KEY}


def test_a_platform_given_by_url_that_is_not_ours_is_used_like_the_cloud(recording: Any) -> None:
    recording.is_ours = False
    workspace = connect(recording.url, api_key=KEY)
    assert workspace.status().pid is None
    workspace.agents.create(name="Support")
    assert "llm" not in recording.asked[-2].body["conversation_config"]["agent"]["prompt"]


def test_a_refused_key_is_said_at_once(recording: Any) -> None:
    from starlette.responses import JSONResponse

    recording.answers = [JSONResponse({"detail": {"status": "invalid_api_key", "message": "wrong"}}, 401)]
    with pytest.raises(AuthenticationError, match="refused the API key"):
        connect(recording.url, api_key=KEY).status()
