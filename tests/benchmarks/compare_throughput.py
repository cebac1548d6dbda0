"""How many single-turn trials a second does `compare` manage, beside the bare client that it is built on?

Run by hand: ``python tests/benchmarks/compare_throughput.py [--calls 2000] [--in-flight 100] [--rounds 5]``. A child
process speaks OpenAI's dialect and answers after 20 ms, streamed or whole as it is asked. The bare client posts and
reads whole answers: httpx on the transport of the package httpx-aiohttp, where that is installed, and on ours.
`compare` streams, checks one sentence, prices the tokens and writes its journal. They take turns, each from a clean
heap, and medians count; the ratio is to the package where there is one. Prints one line.

Inspect AI and promptfoo run the same when they are installed, or named: ``--inspect PYTHON`` (``python3 -m venv other
&& other/bin/pip install inspect-ai openai``) and ``--promptfoo PROGRAM`` (``npm install promptfoo``). They do not
stream, and every check must have passed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import importlib.util
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

DELAY_SECS = 0.020
TEXT = "Your order 1234 has shipped and it should arrive tomorrow."
MODEL = "gpt-4o-mini"
FEWER = 10
"""The other tools are slow: they get a tenth of the calls."""
USAGE = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}


def _event(document: dict[str, Any] | str) -> bytes:
    data = document if isinstance(document, str) else json.dumps(document)
    return f"data: {data}\n\n".encode()


def _chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice], **more}


WORDS = [_event(_chunk({"content": f"{word} "})) for word in TEXT.split()]
LAST = [_event(_chunk({}, "stop")), _event({**_chunk({}), "choices": [], "usage": USAGE}), _event("[DONE]")]
STREAM = b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in [*WORDS, *LAST]) + b"0\r\n\r\n"
STREAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + STREAM
WHOLE_BODY = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(WHOLE_BODY),
    WHOLE_BODY,
)


class MockVendor(asyncio.Protocol):
    """Answers every request on a connection after the delay, as cheaply as can be."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length:
            self.received = body[length:]
            streamed = b'"stream":true' in body.replace(b" ", b"")
            asyncio.get_running_loop().call_later(DELAY_SECS, self._answer, STREAMED if streamed else WHOLE)

    def _answer(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


def serve(pipe: Connection) -> None:
    """Serve until the pipe closes; sends the port first."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(MockVendor, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.poll, None)

    asyncio.run(main())


def bare(make: Callable[[int], httpx.AsyncClient], url: str, calls: int, in_flight: int) -> float:
    """Return the calls a second of a bare client, which does not stream."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Where is my order 1234?"}]}

    async def main() -> float:
        async with make(in_flight) as client:
            left = iter(range(calls))

            async def worker() -> None:
                for _ in left:
                    answer = await client.post(f"{url}/chat/completions", json=body)
                    if answer.json()["choices"][0]["message"]["content"] != TEXT:
                        raise SystemExit("the bare client lost an answer")

            started = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(in_flight)))
            return calls / (time.perf_counter() - started)

    return asyncio.run(main())


def our_client(in_flight: int) -> httpx.AsyncClient:
    """Return httpx on our transport."""
    from convai_lab.http import new_client

    return new_client(max_connections=in_flight)


def package_client(in_flight: int) -> httpx.AsyncClient:
    """Return httpx on the transport of the package httpx-aiohttp."""
    transport = importlib.import_module("httpx_aiohttp").AiohttpTransport(
        limits=httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    )
    return httpx.AsyncClient(transport=transport, timeout=60)


def ours(calls: int, in_flight: int, folder: str) -> float:
    """Return the trials a second of `compare`, journal and all."""
    from convai_lab.agents.agent import Agent
    from convai_lab.experiments.comparison import compare

    agent = Agent(name="Support", prompt="You are Sam, a calm support agent.", llm=MODEL)
    scenarios = [
        {"id": f"s{i}", "opening": "Where is my order 1234?", "checks": [{"said": "shipped"}], "max_turns": 2}
        for i in range(calls)
    ]
    journal = Path(folder) / f"{time.monotonic_ns()}.sqlite3"
    started = time.perf_counter()
    result = compare(
        agent,
        scenarios,
        simulated_user="scripted",
        concurrency=in_flight,
        max_cost=None,
        progress=False,
        journal=journal,
    )
    took = time.perf_counter() - started
    if [trial.success for trial in result] != [True] * calls:
        raise SystemExit(f"compare lost trials: {result.facts}, {result.trials[0].reason}")
    return calls / took


def inspect_ai(python: str | None, url: str, calls: int, in_flight: int, folder: str) -> float | None:
    """Return the samples a second of Inspect AI, None without a Python that has it."""
    if python is None:
        return None
    script = Path(__file__).with_name("inspect_samples.py")
    command = [python, str(script), url, str(calls), str(in_flight), folder]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def promptfoo(program: str | None, url: str, calls: int, in_flight: int, folder: str) -> float | None:
    """Return the tests a second of promptfoo by its own clock, which leaves out its start; None without it."""
    if program is None:
        return None
    provider = {"id": f"openai:chat:{MODEL}", "config": {"apiBaseUrl": url, "apiKey": "none"}}
    case = {"vars": {"q": "Where is my order 1234?"}, "assert": [{"type": "contains", "value": "shipped"}]}
    config, output = Path(folder) / "promptfooconfig.json", Path(folder) / "promptfoo.json"
    config.write_text(json.dumps({"prompts": ["{{q}}"], "providers": [provider], "tests": [case] * calls}))
    command = [program, "eval", "-c", str(config), "-o", str(output), "-j", str(in_flight)]
    command += ["--no-cache", "--no-table", "--no-write", "--no-progress-bar"]
    alone = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": folder}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=os.environ | alone)
    if not output.exists():
        raise SystemExit(f"promptfoo did not run: {ran.stdout[-500:]} {ran.stderr[-500:]}")
    stats = json.loads(output.read_text())["results"]["stats"]
    if stats["successes"] != calls:
        raise SystemExit(f"promptfoo lost tests: {stats}")
    return float(calls / stats["durationMs"] * 1000)


def measure(url: str, chosen: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Return the medians of all that are installed."""
    has_package = importlib.util.find_spec("httpx_aiohttp") is not None
    contenders: dict[str, Callable[[], float]] = {
        "our_bare": lambda: bare(our_client, url, chosen.calls, chosen.in_flight),
        "compare": lambda: ours(chosen.calls, chosen.in_flight, folder),
    }
    if has_package:
        contenders["httpx_aiohttp"] = lambda: bare(package_client, url, chosen.calls, chosen.in_flight)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    ours(chosen.in_flight, chosen.in_flight, folder)  # imports, prices and connections
    for _ in range(chosen.rounds):
        for name, contender in contenders.items():
            gc.collect()
            rates[name].append(contender())
    found = {name: statistics.median(values) for name, values in rates.items()}
    line: dict[str, Any] = {f"{name}_calls_per_sec": round(value) for name, value in found.items()}
    line["compare_vs_bare"] = round(found["compare"] / found["httpx_aiohttp" if has_package else "our_bare"], 2)
    line["compare_vs_our_bare"] = round(found["compare"] / found["our_bare"], 2)
    fewer = max(chosen.in_flight, chosen.calls // FEWER)
    for name, run, by in (("inspect_ai", inspect_ai, chosen.inspect), ("promptfoo", promptfoo, chosen.promptfoo)):
        rate = run(by, url, fewer, chosen.in_flight, folder)
        line[f"{name}_calls_per_sec"] = None if rate is None else round(rate, 1)
    return {**line, "in_flight": chosen.in_flight, "calls": chosen.calls, "rounds": chosen.rounds}


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    has_inspect = importlib.util.find_spec("inspect_ai") is not None
    parser.add_argument("--inspect", default=sys.executable if has_inspect else None, help="the Python that has it")
    parser.add_argument("--promptfoo", default=shutil.which("promptfoo"), help="the program")
    chosen = parser.parse_args()
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}/v1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CONVAI_LAB_HOME": folder, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
        print(json.dumps(measure(url, chosen, folder)))
    mine.close()
    server.terminate()


if __name__ == "__main__":
    main()
