"""A run leaves the collector as it found it."""

from __future__ import annotations

import gc

import pytest

from convai_lab.experiments.garbage import NEW_OBJECTS, calm_collector


def test_what_was_there_is_left_alone_during_a_run_and_only_then() -> None:
    before = gc.get_threshold()
    with calm_collector():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_a_run_that_fails_leaves_it_as_it_was_too() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), calm_collector():
        raise ZeroDivisionError
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, before)


def test_two_runs_at_once_and_a_program_that_freezes_itself_are_not_disturbed() -> None:
    gc.freeze()
    try:
        count, before = gc.get_freeze_count(), gc.get_threshold()
        with calm_collector():
            assert (gc.get_freeze_count(), gc.get_threshold()) == (count, before)
        assert gc.get_freeze_count() == count
    finally:
        gc.unfreeze()


def test_a_collector_that_is_switched_off_stays_so() -> None:
    gc.disable()
    try:
        with calm_collector():
            assert gc.get_freeze_count() == 0
        assert not gc.isenabled()
    finally:
        gc.enable()
