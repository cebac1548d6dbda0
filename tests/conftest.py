"""Every test starts with an empty data folder, no keys, no keyring, no proxy and no tools of other tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from convai_lab import settings
from convai_lab.agents import tools

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a shell: Ctrl-C is tested too
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the same examples on every machine, and none of them against the clock of a busy one
UNHURRIED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow], "database": None}
hypothesis.settings.register_profile("lab", derandomize=True, print_blob=True, **UNHURRIED)
hypothesis.settings.load_profile("lab")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*settings.KEY_VARIABLES, *settings.BASE_URL_VARIABLES, settings.CASSETTE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr(tools, "_newest", dict(tools._newest))
    monkeypatch.setattr(tools, "_newest_of_function", dict(tools._newest_of_function))
    settings.use_provider_settings({})
    yield
    settings.use_provider_settings({})
