"""Where things are stored, which keys are present, and that no key ever shows."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError

from convai_lab import settings
from convai_lab.errors import InvalidValueError, MissingKeyError
from convai_lab.settings import HOME_VARIABLE, STARS, Secret

KEY = "not-shaped-like-a-key+1/2=3"


def test_the_environment_holds_a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"  {KEY}\n")
    assert settings.require_key("OPENAI_API_KEY", needed_for="gpt-4o").reveal() == KEY


def test_a_missing_key_is_an_error_that_names_every_variable_that_would_do():
    with pytest.raises(MissingKeyError, match="gemini needs GOOGLE_API_KEY or GEMINI_API_KEY"):
        settings.require_key("GOOGLE_API_KEY", "GEMINI_API_KEY", needed_for="gemini")


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
def test_an_empty_key_is_a_missing_key(empty, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", empty)
    assert settings.find_key("OPENAI_API_KEY") is None


def test_the_first_variable_that_is_set_wins(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "second-key")
    assert settings.find_key("GOOGLE_API_KEY", "GEMINI_API_KEY") == Secret("second-key")
    monkeypatch.setenv("GOOGLE_API_KEY", "first-key")
    assert settings.find_key("GOOGLE_API_KEY", "GEMINI_API_KEY") == Secret("first-key")


def test_what_the_notebook_sent_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment")
    settings.use_provider_settings({"OPENAI_API_KEY": "from-notebook ", "OPENAI_BASE_URL": "http://notebook"})
    assert settings.find_key("OPENAI_API_KEY") == Secret("from-notebook")
    assert settings.setting("OPENAI_BASE_URL") == "http://notebook"
    settings.use_provider_settings({})
    assert settings.find_key("OPENAI_API_KEY") == Secret("from-environment")


def test_an_empty_value_from_the_notebook_hides_nothing(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    settings.use_provider_settings({"OPENAI_API_KEY": "  "})
    assert settings.find_key("OPENAI_API_KEY") == Secret("from-environment")


def test_the_notebook_can_only_send_keys_and_base_urls(monkeypatch):
    monkeypatch.delenv("PATH", raising=False)
    settings.use_provider_settings({"PATH": "/evil", HOME_VARIABLE: "/evil", "OPENAI_API_KEY": KEY})
    assert settings.setting("PATH") is None
    assert settings.home() != Path("/evil")
    assert settings.provider_settings() == {"OPENAI_API_KEY": KEY}


@pytest.mark.parametrize("wrong", [None, 5, ["key"], b"key"])
def test_a_setting_that_is_no_text_is_refused_and_changes_nothing(wrong):
    settings.use_provider_settings({"OPENAI_BASE_URL": "http://before"})
    with pytest.raises(InvalidValueError, match="OPENAI_API_KEY: must be a text"):
        settings.use_provider_settings({"OPENAI_API_KEY": wrong})
    assert settings.setting("OPENAI_BASE_URL") == "http://before"


def test_what_is_sent_to_the_platform_is_what_is_set(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ELEVENLABS_BASE_URL", "http://127.0.0.1:9")
    assert settings.provider_settings() == {"ANTHROPIC_API_KEY": KEY, "ELEVENLABS_BASE_URL": "http://127.0.0.1:9"}


def test_the_status_says_which_keys_are_present_and_never_what_they_are(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    status = settings.key_status()
    assert status == {name: name == "OPENAI_API_KEY" for name in settings.KEY_VARIABLES}
    assert KEY not in repr(status)


class OneKey(KeyringBackend):
    """A keyring with one key, or one that is locked."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, key: str | None) -> None:
        super().__init__()
        self.key, self.asked = key, 0

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        if self.key is None:
            raise KeyringError("locked")
        return self.key if (service, username) == ("convai-lab", "OPENAI_API_KEY") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError


@pytest.fixture
def ring(monkeypatch):
    before = keyring.get_keyring()
    monkeypatch.setattr(settings, "_keyring_answers", {})
    yield keyring.set_keyring
    keyring.set_keyring(before)


def test_the_keyring_is_asked_last_and_once(ring, monkeypatch):
    backend = OneKey(" from-keyring\n")
    ring(backend)
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert settings.find_key("OPENAI_API_KEY") == Secret("from-environment")
    assert backend.asked == 0
    monkeypatch.delenv("OPENAI_API_KEY")
    assert settings.find_key("OPENAI_API_KEY") == Secret("from-keyring")
    assert settings.find_key("OPENAI_API_KEY") == Secret("from-keyring")
    assert settings.find_key("ANTHROPIC_API_KEY") is None
    assert backend.asked == 2


def test_a_locked_keyring_holds_no_keys(ring):
    ring(OneKey(None))
    assert settings.find_key("OPENAI_API_KEY") is None


def test_a_secret_never_shows_itself():
    secret = Secret(KEY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        "%s %r" % (secret, secret),  # noqa: UP031 - this way too
        "{0}".format(secret),  # noqa: UP030, UP032
        repr([secret]),
        repr({"key": secret}),
        ascii(secret),
        json.dumps({"key": secret}, default=repr),
    ]
    assert all(KEY not in text and "*" in text for text in shown)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError) as caught:
        json.dumps(secret)
    assert KEY not in str(caught.value)
    with pytest.raises(TypeError) as caught:
        format(secret, ">40")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_never_pickled(protocol):
    with pytest.raises(TypeError, match="never pickled") as caught:
        pickle.dumps({"deep": [Secret(KEY)]}, protocol=protocol)
    assert KEY not in str(caught.value)


def test_a_copy_of_a_secret_is_the_secret():
    @dataclass
    class Holder:
        key: Secret

    holder = Holder(Secret(KEY))
    assert copy.deepcopy(holder).key is holder.key
    assert copy.copy(holder.key) is holder.key
    assert KEY not in repr(holder)
    assert KEY not in repr(asdict(holder))


def test_a_traceback_that_shows_local_variables_shows_no_key():
    def call_vendor(key: Secret) -> None:
        authorised = {"key": key}
        raise ConnectionError(f"refused with {authorised}")

    try:
        call_vendor(Secret(KEY))
    except ConnectionError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "Secret(" in shown
    assert KEY not in shown


def test_a_log_line_shows_no_key(caplog):
    logging.getLogger("test").warning("calling with %s and %r", Secret(KEY), {"k": Secret(KEY)})
    assert KEY not in caplog.text


def test_secrets_compare_by_value_and_are_true_when_there_is_one():
    assert Secret("one-key-here") == Secret("one-key-here") != Secret("another-key")
    assert Secret("one-key-here") != "one-key-here"
    assert len({Secret("one-key-here"), Secret("one-key-here")}) == 1
    assert Secret("x")
    assert not Secret("")


def test_a_known_key_is_scrubbed_in_every_spelling():
    Secret(KEY)
    message = f"{KEY} ?key={quote(KEY, safe='')} {json.dumps({'k': KEY})}"
    assert settings.scrub(message) == f'{STARS} ?key={STARS} {{"k": "{STARS}"}}'


def test_a_key_in_json_is_scrubbed_however_it_is_escaped():
    Secret('quoted"and\\back-slashed')
    assert settings.scrub(json.dumps('quoted"and\\back-slashed')) == f'"{STARS}"'


def test_a_key_of_the_environment_is_scrubbed_before_anybody_used_it(monkeypatch):
    monkeypatch.setenv("ELEVENLABS_API_KEY", " never-used-so-far\n")
    assert settings.scrub("key: never-used-so-far.") == f"key: {STARS}."


def test_a_key_that_begins_like_another_leaves_no_rest(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "same-beginning")
    Secret("same-beginning-and-the-rest")
    assert settings.scrub("same-beginning-and-the-rest") == STARS


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop1234_-XYZ",
        "sk-ant-api03-abcdefghijklmnop1234",
        "sk_0123456789abcdef0123456789abcdef",
        "AIzaSyA-abcdefghijklmnopqrstuvwxyz012",
        "xai-abcdefghijklmnop1234",
        "gsk_abcdefghijklmnop1234",
    ],
)
def test_what_looks_like_a_key_is_scrubbed_though_nobody_told_us(key):
    assert settings.scrub(f"Authorization: Bearer {key}, and more") == f"Authorization: Bearer {STARS}, and more"


def test_short_values_and_ordinary_text_are_left_alone():
    Secret("abc")
    text = "abc: the task-list of risk-management, sk-1, mask_me and a sketch"
    assert settings.scrub(text) == text
    assert settings.scrub("") == ""


def test_home_is_made_private(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "deep" / "home"))
    folder = settings.home()
    assert folder == tmp_path / "deep" / "home"
    assert folder.is_dir()
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
    assert settings.home() == folder


def test_home_does_not_depend_on_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, "relative")
    assert settings.home() == tmp_path / "relative"


def test_home_understands_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv(HOME_VARIABLE, "~/lab")
    assert settings.home() == tmp_path / "lab"


def test_without_the_variable_home_is_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(HOME_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "share"))
    assert tmp_path in settings.home().parents


@pytest.mark.parametrize("path", ["file", "file/below", "/proc/no/such", "~no-such-user-here/lab", "x" * 5000])
def test_a_home_that_cannot_be_used_is_one_sentence_that_names_the_variable(path, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("I am a file")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / path) if path.startswith("file") else path)
    with pytest.raises(InvalidValueError, match=rf"^{HOME_VARIABLE}: cannot use .* set it to a folder you can write$"):
        settings.home()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_home_that_is_read_only_is_refused(monkeypatch, tmp_path):
    tmp_path.chmod(0o500)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with pytest.raises(InvalidValueError, match="no permission to write"):
        settings.home()
    tmp_path.chmod(0o700)


def test_importing_settings_does_not_load_the_keyring():
    code = "import sys, convai_lab.settings; sys.exit('keyring' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
