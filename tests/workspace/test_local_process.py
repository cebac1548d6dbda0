"""The platform process: started, told, restarted, closed. Real processes; a few lines of Python play the platform."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convai_lab import background, settings
from convai_lab.errors import PlatformProcessError
from convai_lab.workspace.local_process import LocalProcess, is_loopback, local_process
from convai_lab.workspace.running_platform import running_platform, stored_platform
from convai_lab.workspace.transport import Place

ANSWERING = """
import sys, os, json, pathlib
print(json.dumps({"url": "http://127.0.0.1:9/", "pid": os.getpid()}), flush=True)
print("x" * 200_000, flush=True)
pathlib.Path(os.environ["CONVAI_LAB_HOME"], "seen").write_text(json.dumps([sys.argv[1:], dict(os.environ)]))
sys.stdin.read()
"""

Start = Callable[..., LocalProcess]


@pytest.fixture
def folder() -> Path:
    folder = settings.home()
    (folder / "api_key").write_text("the-key-of-this-folder")
    return folder


@pytest.fixture
def process(folder: Path) -> Iterator[Start]:
    made: list[LocalProcess] = []

    def make(code: str = ANSWERING, *, start_limit_secs: float = 20.0) -> LocalProcess:
        made.append(LocalProcess(folder, command=(sys.executable, "-c", code), start_limit_secs=start_limit_secs))
        return made[-1]

    yield make
    for one in made:
        one.close()


def locate(process: LocalProcess) -> Place:
    return background.run(process.locate())


def test_it_is_started_once_and_says_where_it_answers(process: Start) -> None:
    platform = process()
    place = locate(platform)
    assert place.url == "http://127.0.0.1:9"
    assert place.key is not None
    assert place.key.reveal() == "the-key-of-this-folder"
    assert locate(platform).url == place.url
    assert platform.starts == 1
    assert platform.pid


def test_many_who_ask_at_once_get_the_same_process(process: Start) -> None:
    platform = process()

    async def ask() -> set[str]:
        return {place.url for place in await asyncio.gather(*(platform.locate() for _ in range(10)))}

    assert len(background.run(ask())) == 1
    assert platform.starts == 1


def test_provider_settings_are_handed_over_until_they_were_told_and_again_when_they_change(
    process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = process()
    assert locate(platform).settings == {}
    platform.told({})
    assert locate(platform).settings is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    assert locate(platform).settings == {"OPENAI_API_KEY": "sk-1234567890"}
    platform.told({"OPENAI_API_KEY": "sk-1234567890"})
    assert locate(platform).settings is None
    monkeypatch.delenv("OPENAI_API_KEY")
    assert locate(platform).settings == {}


def test_its_environment_holds_the_folder_and_no_key(
    process: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://proxy.test")
    platform = process()
    locate(platform)
    platform.close()
    seen = (folder / "seen").read_text()
    assert "sk-1234567890" not in seen
    assert "OPENAI_BASE_URL" not in seen
    assert f'"CONVAI_LAB_HOME": "{folder}"' in seen
    assert f'["--port", "0", "--watch-stdin", "--parent-pid", "{os.getpid()}"]' in seen


def test_one_that_died_is_started_again(process: Start) -> None:
    platform = process()
    place = locate(platform)
    assert platform.pid is not None
    os.kill(platform.pid, signal.SIGKILL)
    assert background.run(platform.lost(place))
    assert locate(platform).settings is not None
    assert platform.starts == 2


def test_one_that_lives_is_not_lost(process: Start) -> None:
    platform = process()
    place = locate(platform)
    assert not background.run(platform.lost(place))
    assert background.run(platform.lost(place._replace(url="http://127.0.0.1:10")))


def test_closing_ends_it_at_once(process: Start) -> None:
    platform = process()
    locate(platform)
    pid = platform.pid
    assert pid is not None
    platform.close()
    platform.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert platform.pid is None


def test_an_interrupt_of_our_group_does_not_reach_it(process: Start) -> None:
    platform = process()
    locate(platform)
    assert platform.pid is not None
    assert os.getpgid(platform.pid) != os.getpgid(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_its_own_and_leaves_the_parents_alone(process: Start) -> None:
    platform = process()
    locate(platform)
    pid = platform.pid
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            platform.after_fork()
            was_ours = platform.pid is None
            locate(platform)
            os.write(writer, b"yes" if was_ours and platform.pid not in (None, pid) else b"no")
            platform.close()
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"yes"
    os.close(reader)
    assert platform.pid == pid


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; print('no module', file=sys.stderr); sys.exit(3)", r"ended with code 3.*\n.*no module"),
        ("pass", r"did not say where it answers"),
        ("print('hello')", "did not say where it answers"),
        ("print('[' * 100000)", "did not say where it answers"),
        ("print('x' * 10_000_000)", "did not say where it answers"),
        ("print('[1]')", "an address that is not on this machine"),
        ("print('{\"url\": 5}')", "an address that is not on this machine"),
        ('print(\'{"url": "http://example.com:80"}\')', "an address that is not on this machine"),
        ('print(\'{"url": "file:///etc/passwd"}\')', "an address that is not on this machine"),
    ],
)
def test_one_that_does_not_start_says_why_with_the_end_of_its_log(code: str, words: str, process: Start) -> None:
    with pytest.raises(PlatformProcessError, match=f"(?s){words}"):
        locate(process(code))


def test_one_that_says_nothing_is_given_up(process: Start) -> None:
    with pytest.raises(PlatformProcessError, match="did not answer in time"):
        locate(process("import sys; sys.stdin.read()", start_limit_secs=0.2))


def test_the_log_in_an_error_holds_no_key(process: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-without-shape-123")
    code = "import sys; print('oops a-key-without-shape-123', file=sys.stderr); sys.exit(1)"
    with pytest.raises(PlatformProcessError, match=r"oops \*\*\*") as raised:
        locate(process(code))
    assert "a-key-without-shape-123" not in str(raised.value)


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff\xfe"])
def test_a_key_that_cannot_be_read_is_named(content: bytes | None, process: Start, folder: Path) -> None:
    (folder / "api_key").unlink()
    if content is not None:
        (folder / "api_key").write_bytes(content)
    with pytest.raises(PlatformProcessError, match="api_key"):
        locate(process())


def test_a_program_that_cannot_be_run_is_an_error_in_words(folder: Path) -> None:
    with pytest.raises(PlatformProcessError, match="could not be started"):
        locate(LocalProcess(folder, command=("/nowhere/python",)))


def test_old_logs_are_dropped(process: Start, folder: Path) -> None:
    (folder / "logs").mkdir()
    for number in range(30):
        (folder / "logs" / f"platform-{number}.log").touch()
    locate(process())
    assert len(list((folder / "logs").iterdir())) <= 11


def test_each_folder_has_one_process_object(tmp_path: Path) -> None:
    one = local_process(tmp_path)
    assert local_process(tmp_path) is one
    assert local_process(tmp_path / "other") is not one


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:80", True),
        ("ws://localhost:1/x", True),
        ("http://[::1]:80", True),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1.evil.test:80", False),
        ("http://127.0.0.1@evil.test:80", False),
        ("ftp://127.0.0.1:80", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_loopback_is_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "nope",
        "[]",
        "{}",
        '{"url": "http://127.0.0.1:9"}',
        '{"url": 5, "pid": 1}',
        '{"url": "http://example.com:80", "pid": 1}',
        '{"url": "http://127.0.0.1:9", "pid": "1"}',
        '{"url": "http://127.0.0.1:9", "pid": -1}',
        '{"url": "http://127.0.0.1:9", "pid": 99999999999999999999}',
        "[" * 100_000,
    ],
)
def test_a_platform_file_that_is_wrong_names_no_platform(content: str | None, folder: Path) -> None:
    if content is not None:
        (folder / "platform.json").write_text(content)
    assert stored_platform() is None
    assert running_platform() is None


def test_a_platform_that_does_not_answer_is_not_running(folder: Path) -> None:
    (folder / "platform.json").write_text(f'{{"url": "http://127.0.0.1:9", "pid": {os.getpid()}}}')
    assert stored_platform() is not None
    assert running_platform() is None
