"""The microphone test without a page: what it says of a microphone, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ipywidgets.widgets import widget as widgets_alive

from convai_lab.notebook import microphone_test
from convai_lab.notebook.microphone_test import MicrophoneTest, show_microphone_test


@pytest.fixture
def shown(page: None, notebook: Any) -> Iterator[MicrophoneTest]:
    made = show_microphone_test()
    yield made
    microphone_test._last.clear()


def test_a_microphone_that_is_refused_is_told_in_a_sentence_about_no_session(shown: MicrophoneTest) -> None:
    shown.media.comm.page_says({"event": "problem", "code": "refused", "detail": ""})
    assert shown.problem["what"] == "The browser did not let this page use the microphone."
    assert shown.problem["instead"] == "Allow it at the microphone sign in the address bar, then try again."


@pytest.mark.parametrize("content", [None, 7, {"event": []}, {"event": "pcm"}, {"event": "choose", "kind": "webrtc"}])
def test_a_page_that_says_nonsense_or_sends_sound_disturbs_nothing(shown: MicrophoneTest, content: Any) -> None:
    shown.media.comm.page_says(content, b"\0\0" * 100)
    assert shown.problem == {}


def test_a_new_test_takes_the_place_of_the_one_before(shown: MicrophoneTest) -> None:
    again = show_microphone_test()
    shown.media.comm.page_says({"event": "closed", "made": []})
    alive = [one for one in widgets_alive._instances.values() if isinstance(one, MicrophoneTest)]
    assert alive == [again]


def test_without_a_notebook_the_microphone_test_says_where_one_is(notebook: Any) -> None:
    said = notebook.fails("%lab --microphone")
    assert "--microphone tests the microphone of a notebook's page" in said
    assert "convai lab opens one" in said


def test_the_status_card_names_the_microphone_test(notebook: Any) -> None:
    assert "%lab --microphone" in repr(notebook.must("%lab"))
