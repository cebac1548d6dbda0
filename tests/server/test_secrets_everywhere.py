"""A provider's key, a platform's key and a window's token, used by all that is live and all that compares, are nowhere.

One real platform process; the vendor repeats the key in what it says and in its errors.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import connect

from convai_lab import background, settings
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.exports import comparison_json, comparison_junit
from convai_lab.experiments.report import write_report
from convai_lab.testing.fake_llm import call
from convai_lab.testing.fake_vendors import FakeVendor, fake_openai
from convai_lab.testing.live_watcher import LiveWatcher
from convai_lab.testing.vendor_script import Received, ServerScripted, Status
from convai_lab.workspace import live_events as live
from convai_lab.workspace.events import AgentTurn
from convai_lab.workspace.local_process import LocalProcess
from convai_lab.workspace.transport import Transport
from convai_lab.workspace.workspace import Workspace

PLANTED = "pl4nted-0f2c9d2e7b6a4c3e9d8f"
"""Of no vendor's shape: it must be known to be found."""
SCENARIOS = [
    {"id": "fine", "opening": "Where is my order?", "checks": [{"said": "shipped"}], "max_turns": 2},
    {"id": "tells", "opening": "What is your key?", "checks": [{"said": "nothing"}], "max_turns": 2},
    {"id": "looks", "opening": "Look it up.", "checks": [{"called": "look_up"}, {"said": "no"}], "max_turns": 2},
    {"id": "breaks", "opening": "Break now.", "checks": [{"said": "shipped"}], "max_turns": 2},
]


@tool
def look_up(which: str) -> str:
    """Look something up."""
    return f"{which} is {PLANTED}"


def answer(received: Received) -> ServerScripted:
    """Say the key, call a tool with it, or fail with it, as the user asks."""
    messages: list[dict[str, Any]] = received.body["messages"]
    asked = str([message["content"] for message in messages if message["role"] == "user"])
    if "Break" in asked:
        return Status(code=400, message=f"bad request with {received.headers['authorization']}")
    if "key?" in asked:
        return f"My key is {PLANTED}."
    if "Look" in asked and messages[-1]["role"] == "user":
        return call("look_up", which=PLANTED)
    return "Your order has shipped."


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVendor]:
    with fake_openai(answer, models=("gpt-4o-mini",)) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, PLANTED if name.endswith("KEY") else value)
        yield server


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    home = tmp_path / "home"
    monkeypatch.setenv(settings.HOME_VARIABLE, str(home))
    process = LocalProcess(settings.home())
    yield Workspace(Transport(process))
    process.close()


def talked(local: Workspace, agent: Agent) -> str:
    """Hold a live session that goes well and then fails, and return all that is seen of it."""
    watcher = LiveWatcher()
    session = local.start_session(agent, voice=True, on_event=watcher.watch)
    session.media.choose("text")
    session.say("Where is my order?")
    watcher.wait_for(AgentTurn)
    session.say("Break now.")
    record = session.wait(20)
    assert watcher.of(live.StateChanged)
    return "\n".join(map(repr, (watcher.happened, session, vars(session), record, record.text, session.end_reason)))


def shown_in_window(local: Workspace, agent: Agent) -> tuple[str, list[str]]:
    """Talk in a page until the model fails; return all that the page was sent, and both of its tokens."""
    window = local.open_window(agent)
    url, _, token = window.url.partition("/window#")
    seen = [httpx.get(f"{url}/window").text, repr(window)]
    page_token = httpx.post(f"{url}/window/open", json={"token": token}, headers={"origin": url}).json()["token"]
    address = f"ws://{urlsplit(url).netloc}/window/socket"
    with connect(address, additional_headers={"origin": url}, max_queue=None) as page:
        hello = {"type": "window", "token": page_token}
        choose = {"type": "live_choose", "kind": "text"}
        for frame in (hello, choose, {"type": "user_message", "text": "Break now."}):
            page.send(json.dumps(frame))
        for letter in page:
            seen.append(str(letter))
            if '"ended"' in seen[-1]:
                break
    window.session.end()
    window.session.wait(20)
    return "\n".join(seen), [token, page_token]


def compared(agent: Agent, folder: Path) -> str:
    """Compare with a cassette and a journal, write everything that can be written, and return what is shown."""
    found = compare(
        agent.with_changes(name="Sam"), SCENARIOS, cassette=f"{folder / 'tape.jsonl'}:record", progress=False,
        simulated_user="scripted", journal=folder / "journal.sqlite3",
    )  # fmt: skip
    assert isinstance(found, Comparison)
    assert {trial.scenario_id for trial in found.trials if trial.failed_party == "provider"} == {"breaks"}
    found.save(folder / "shared.convai")
    found.save(folder / "whole.convai", redact=False)
    write_report(found, folder / "report.html")
    (folder / "result.json").write_text(json.dumps(comparison_json(found)), encoding="utf-8")
    (folder / "result.xml").write_text(comparison_junit(found), encoding="utf-8")
    return "\n".join([str(found), repr(found), found._repr_html_(), found.df.to_csv(), repr(found.trials)])


def files_in(folder: Path) -> dict[str, bytes]:
    """Return all that lies in a folder, and in archives in it."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("*.convai"):
        with zipfile.ZipFile(path) as archive:
            found |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
    return found


def test_no_secret_is_in_what_live_sessions_windows_and_comparisons_leave_or_show(
    local: Workspace,
    vendor: FakeVendor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    agent = local.agents.save(Agent(name="support", first_message="", llm="gpt-4o-mini", tools=(look_up,))).agent
    seen = {"live": talked(local, agent)}
    seen["window"], tokens = shown_in_window(local, agent)
    seen["compared"] = compared(agent, tmp_path)
    written = capfd.readouterr()
    seen["log"], seen["streams"] = caplog.text, written.out + written.err
    place = background.run(local._live.place())
    assert {f"Bearer {PLANTED}"} == {one.headers.get("authorization") for one in vendor.requests}
    files = files_in(tmp_path)
    assert {"tape.jsonl", "journal.sqlite3", "report.html", "result.xml", "whole.convai/trials.jsonl"} <= set(files)
    assert b"My key is ***" in files["result.xml"]
    assert place.key is not None
    platform_key = place.key.reveal()
    for secret in (PLANTED, platform_key, *tokens):
        assert [name for name, text in seen.items() if secret in text] == []
        keeps_it = {"home/api_key"} if secret == platform_key else set()
        assert {name for name, data in files.items() if secret.encode() in data} - keeps_it == set(), secret[:6]
