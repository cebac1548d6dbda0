"""The platform as a process: it answers quickly, says where it is, and ends with whoever started it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from convai_lab import settings
from convai_lab.agents.store import AgentStore
from convai_lab.agents.wire_rules import with_defaults
from convai_lab.clock import SystemClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.errors import InvalidValueError, PlatformProcessError
from convai_lab.server import lifetime
from convai_lab.server.lifetime import OwnerLock
from convai_lab.server.ports import ports_in
from convai_lab.server.run import Options, PlatformServer, log_to_stderr, serve
from convai_lab.settings import Secret
from convai_lab.storage import open_database

TEXT = {"conversation": {"text_only": True}}
LOOK_SECS = 0.02
SERVER = [sys.executable, "-P", "-m", "convai_lab.server"]
PARENT = """
import os, subprocess, sys, time
pipe_out, pipe_in = os.pipe()
os.set_inheritable(pipe_in, True)
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
sibling = subprocess.Popen(sleeper, close_fds=False) if sys.argv[1] else None
server = subprocess.Popen(
    [sys.executable, "-P", "-m", "convai_lab.server", "--watch-stdin", "--parent-pid", str(os.getpid())],
    stdin=pipe_out, stdout=subprocess.PIPE,
)
os.close(pipe_out)
print(server.stdout.readline().decode().strip(), flush=True)
print(sibling.pid if sibling else 0, flush=True)
time.sleep(60)
"""


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that nobody has waited for yet counts as ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def secs_until(is_true: Callable[[], bool], limit: float = 10.0) -> float:
    """Look again and again until something is true, and return how long that took, without what nothing ran in."""
    looks, pause = 0, threading.Event()
    while not is_true():
        assert looks * LOOK_SECS < limit, "it never came true"
        pause.wait(LOOK_SECS)
        looks += 1
    return looks * LOOK_SECS


def ask(url: str, path: str = "/v1/local/status", key: str | None = None) -> Any:
    key = key or (settings.home() / "api_key").read_text().strip()
    with urllib.request.urlopen(urllib.request.Request(url + path, headers={"xi-api-key": key}), timeout=10) as answer:
        return json.load(answer)


def read_to_the_end(line: Any) -> None:
    while True:
        line.recv(timeout=10)


@contextlib.contextmanager
def process(
    *arguments: str, env_more: Mapping[str, str] | None = None, **options: Any
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """Run a server process; it is killed at the end if it is still there."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    child = subprocess.Popen([*SERVER, *arguments], env=environment() | dict(env_more or {}), **pipes)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        yield child, json.loads(line) if line else {}
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def test_what_the_first_reply_needs_is_loaded_in_the_background_and_is_light() -> None:
    with process("--watch-stdin", env_more={"PYTHONPROFILEIMPORTTIME": "1"}) as (child, _):
        assert child.stderr is not None
        loaded = []
        for line in child.stderr:
            loaded.append(line.decode().rpartition("|")[2].strip())
            if loaded[-1] == "genai_prices.data":
                break
    assert {"jsonschema.validators", "aiohttp"} <= set(loaded)
    assert any(name.startswith("convai_lab.providers.offline.") for name in loaded)
    assert "lark" not in loaded, "parsing the grammar of IRIs takes a second that nobody needs"


def test_it_says_where_it_is_once_it_answers_and_cleans_up_when_stdin_closes() -> None:
    with process("--watch-stdin", "--parent-pid", str(os.getpid())) as (child, said):
        status = ask(said["url"])
        assert status["pid"] == said["pid"] == child.pid
        assert status["home"] == str(settings.home())
        file = settings.home() / "platform.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert json.loads(file.read_text())["url"] == said["url"]
        with contextlib.suppress(urllib.error.HTTPError):
            ask(said["url"], key="wrong")
        assert child.stdin is not None
        child.stdin.close()
        assert secs_until(lambda: child.poll() is not None) < 2
        assert child.returncode == 0
        assert not file.exists()
        assert not list((settings.home() / "processes").iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="process trees as on Unix")
@pytest.mark.parametrize("sibling_holds_the_pipe", ["", "yes"])
def test_it_is_gone_two_seconds_after_its_parent_was_killed(sibling_holds_the_pipe: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, sibling_holds_the_pipe], env=environment(), stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    said, sibling = json.loads(parent.stdout.readline()), int(parent.stdout.readline())
    assert ask(said["url"])["pid"] == said["pid"]
    parent.kill()
    parent.wait()
    try:
        assert secs_until(lambda: is_gone(said["pid"])) < 2
    finally:
        parent.stdout.close()
        if sibling:
            os.kill(sibling, signal.SIGKILL)


def test_a_process_that_stood_still_has_the_rest_of_its_time_to_end_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, ended = list[float](), threading.Event()
    monkeypatch.setattr(lifetime, "time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr(lifetime.os, "_exit", lambda _: ended.set())
    lifetime.end_at_the_latest()
    assert ended.wait(10)
    assert sum(slept) == pytest.approx(lifetime.GRACE_SECS)
    assert max(slept) <= 0.1, "of a standstill only one step is lost"


def test_an_interrupt_of_the_notebook_does_not_end_it_but_sigterm_does() -> None:
    with process("--watch-stdin") as (child, said):
        child.send_signal(signal.SIGINT)
        assert ask(said["url"])["pid"] == child.pid
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


def test_an_open_conversation_is_recorded_as_ended_when_the_platform_stops() -> None:
    database = open_database()
    agent_id = AgentStore(database, SystemClock()).create(with_defaults({"conversation_config": TEXT}))["agent_id"]
    with process() as (child, said):
        url = said["url"].replace("http", "ws", 1) + f"/v1/convai/conversation?agent_id={agent_id}"
        with connect(url) as line:
            first = json.loads(line.recv())
            conversation_id = first["conversation_initiation_metadata_event"]["conversation_id"]
            line.send(json.dumps({"type": "conversation_initiation_client_data"}))
            child.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                read_to_the_end(line)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert child.wait(10) == 0
    conversation = ConversationStore(database, SystemClock()).get(conversation_id)
    assert (conversation.status, conversation.end_reason) == ("done", "the local platform was stopped")


def test_conversations_of_dead_processes_are_closed_at_the_next_start() -> None:
    store = ConversationStore(open_database(), SystemClock())
    alive = OwnerLock(settings.home())
    store.start(Conversation(id="conv_dead", agent_id="a", status="in-progress"), owner="12345-gone")
    store.start(Conversation(id="conv_alive", agent_id="a", status="in-progress"), owner=alive.owner)
    with process() as (child, _):
        child.terminate()
        assert child.wait(10) == 0
    assert (store.get("conv_dead").status, bool(store.get("conv_dead").end_reason)) == ("failed", True)
    assert store.get("conv_alive").status == "in-progress"
    alive.close()


def test_a_killed_process_is_known_to_be_dead_and_a_running_one_to_be_alive() -> None:
    here = OwnerLock(settings.home())
    with process() as (child, _):
        [owner] = [name for name in os.listdir(settings.home() / "processes") if name != here.owner]
        assert here.is_alive(owner)
        assert here.is_alive(here.owner)
        child.kill()
        child.wait()
        assert not here.is_alive(owner)
        assert not here.is_alive(owner)
    assert not here.is_alive("../api_key")
    assert not here.is_alive("")
    here.close()


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [*SERVER, "--port", port], env=environment(), capture_output=True, timeout=20, check=False
        )
        assert result.returncode == 1
        said = result.stderr.decode().strip()
        assert f"port {port}" in said
        assert len(said.splitlines()) == 1
        with pytest.raises(PlatformProcessError, match="another --port"):
            PlatformServer(Options(port=int(port))).run()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_an_address_that_others_can_reach_must_be_asked_for_in_words(host: str) -> None:
    with pytest.raises(InvalidValueError, match="other machines"):
        serve(host=host, port=0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"port": 70_000}, "port"),
        ({"port": -1}, "port"),
        ({"api_key": "short"}, "api_key"),
        ({"api_key": "with spaces in it"}, "api_key"),
        ({"api_key": "schlüssel-mit-umlaut"}, "api_key"),
        ({"allow_origins": ["*"], "port": 0}, "allow_origin"),
        ({"host": "no.such.host.invalid", "open_to_network": True}, "host"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValueError) as wrong:
        serve(**options)
    assert wrong.value.field == field


def test_served_by_hand_it_says_its_address_and_where_its_key_is_kept() -> None:
    said: list[str] = []
    server = PlatformServer(Options(port=0))
    server.run(when_ready=lambda running: (said.append(str(running.key_file)), server.stop()))  # type: ignore[func-returns-value]
    assert said == [str(settings.home() / "api_key")]


def test_with_a_key_of_its_own_nothing_about_it_is_left_in_the_folder() -> None:
    server = PlatformServer(Options(port=0, api_key=Secret("lab_given_by_hand")))
    seen: list[Any] = []

    def ready(running: Any) -> None:
        seen.extend((running.key_file, sorted(os.listdir(settings.home()))))
        server.stop()

    server.run(when_ready=ready)
    assert seen[0] is None
    assert not {"api_key", "platform.json"} & set(seen[1])


def test_platform_json_of_another_process_is_left_alone() -> None:
    server = PlatformServer(Options(port=0))
    file = settings.home() / "platform.json"

    def ready(_: Any) -> None:
        file.write_text('{"url": "http://127.0.0.1:1", "pid": 1}')
        server.stop()

    server.run(when_ready=ready)
    assert json.loads(file.read_text())["pid"] == 1


def test_the_log_holds_stack_traces_without_keys(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        log_to_stderr()
        try:
            raise RuntimeError("vendor said: bad key sk-abcdefghijklmnopqrstuvwx")
        except RuntimeError:
            logging.getLogger("convai_lab.server").exception("incident 1 with sk-ant-abcdefghijklmnopqrstuvwx")
        written = capfd.readouterr().err
    finally:
        root.handlers = before
    assert "Traceback" in written
    assert "abcdefghijklmnop" not in written


def test_starting_does_not_import_what_is_heavy() -> None:
    code = (
        "import sys, convai_lab.server.run; "
        "heavy = {'pandas', 'matplotlib', 'pydantic', 'IPython', 'httpx', 'aiohttp', 'elevenlabs', 'fastapi'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=True)
    assert result.stdout.decode().strip() == "[]"


def test_tools_never_reach_jupyter(tmp_path: Path) -> None:
    contents = ['{"port": 8888}', '{"port": "9"}', '{"port": 99999}', "[1]", "no json", "[" * 100_000, ""]
    for number, content in enumerate(contents):
        (tmp_path / f"jpserver-{number}.json").write_text(content)
    (tmp_path / "nbserver-1.json").write_text('{"port": 8889}')
    (tmp_path / "kernel-1.json").write_text('{"port": 1}')
    assert ports_in(tmp_path) == {8888, 8889}
    assert ports_in(tmp_path / "nowhere") == set()
