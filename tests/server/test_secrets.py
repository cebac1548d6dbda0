"""A provider's key is used, and found nowhere afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from convai_lab import settings
from convai_lab.server.auth import load_or_make_key
from convai_lab.server.run import Options, PlatformServer

PLANTED = "sk-planted-4f1c9d2e7b6a4c3e9d8f"


class RudeVendor(BaseHTTPRequestHandler):
    """Refuses every request, and repeats the key it was sent in its own words."""

    seen: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        RudeVendor.seen.append(self.headers["authorization"])
        body = json.dumps({"error": {"message": f"bad key {self.headers['authorization']}"}}).encode()
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def vendor() -> Iterator[str]:
    RudeVendor.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), RudeVendor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def say_hello(url: str) -> list[str]:
    """Hold a conversation until the platform ends it, and return every word of it."""
    heard: list[str] = []
    with connect(url) as line:
        line.send(json.dumps({"type": "conversation_initiation_client_data"}))
        line.send(json.dumps({"type": "user_message", "text": "Hello"}))
        try:
            while True:
                heard.append(str(line.recv(timeout=20)))
        except ConnectionClosed as closed:
            return [*heard, str(closed)]


def test_a_key_sent_by_the_notebook_is_in_no_file_no_answer_and_no_log(
    vendor: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []

    def use(url: str) -> None:
        key = load_or_make_key(settings.home()).reveal()
        with httpx.Client(base_url=url, headers={"xi-api-key": key}, trust_env=False) as client:

            def ask(method: str, path: str, **options: Any) -> Any:
                answer = client.request(method, path, **options)
                heard.append(answer.text)
                return answer.json() if answer.content else None

            ask("PUT", "/v1/local/settings", json={"settings": {"OPENAI_API_KEY": PLANTED, "OPENAI_BASE_URL": vendor}})
            agent = {"prompt": {"prompt": "Hi.", "llm": "gpt-4o-mini"}}
            config = {"agent": agent, "conversation": {"text_only": True}}
            agent_id = ask("POST", "/v1/convai/agents/create", json={"conversation_config": config})["agent_id"]
            line_url = f"{url.replace('http', 'ws', 1)}/v1/convai/conversation?agent_id={agent_id}"
            heard.extend(say_hello(line_url))
            row = ask("GET", "/v1/convai/conversations")["conversations"][0]
            assert row["status"] == "failed"
            ask("GET", f"/v1/convai/conversations/{row['conversation_id']}")
            ask("GET", "/v1/local/conversations.ndjson?source=all")
            ask("GET", "/v1/local/status")
            ask("PUT", "/v1/local/settings", json={"settings": {PLANTED: PLANTED}})

    server = PlatformServer(Options(port=0))
    ready: list[str] = []
    is_ready = threading.Event()

    def run() -> None:
        server.run(when_ready=lambda running: (ready.append(running.url), is_ready.set()))  # type: ignore[func-returns-value]

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert is_ready.wait(20)
        use(ready[0])
    finally:
        server.stop()
        thread.join(20)
    assert RudeVendor.seen == [f"Bearer {PLANTED}"]
    written = capfd.readouterr()
    assert any("provider_auth_error" in text for text in heard)
    assert PLANTED.encode() not in everything_in(settings.home())
    assert PLANTED not in "".join([*heard, caplog.text, written.out, written.err])
