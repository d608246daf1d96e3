"""Telling a converter WAIT whose driver is gone."""

from __future__ import annotations

import pytest
from fake_dcdc import Clock, FakeDcdc, M

from apis_driver.errors import DeviceTimeout
from apis_driver.put_to_wait import put_to_wait
from apis_driver.rules import GovernorSettings, Times

RULES = GovernorSettings()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def dcdc(clock):
    device = FakeDcdc(clock)
    device.mode = M.VOLTAGE_REFERENCE  # as its driver left it
    return device


def told(dcdc, clock):
    return put_to_wait(dcdc, RULES, Times(now_s=clock, plant_s=clock, pause=clock.pass_))


def test_wait_is_the_first_word_and_is_seen(dcdc, clock):
    assert told(dcdc, clock) == ""

    assert dcdc.mode is M.WAIT
    assert dcdc.said[0] == "open"  # which says it; see the devices' contract
    assert dcdc.said[-1] == "close"


def test_one_that_answers_late_is_told_again(dcdc, clock):
    dcdc.fail["open"] = DeviceTimeout("silent")
    begun_s = clock()
    pause = clock.pass_

    def pause_and_mend(duration_s):
        pause(duration_s)
        if clock() > begun_s + 2.0:
            dcdc.fail.clear()

    times = Times(now_s=clock, plant_s=clock, pause=pause_and_mend)

    assert put_to_wait(dcdc, RULES, times) == ""
    assert dcdc.mode is M.WAIT


def test_one_that_stays_silent_is_given_up_with_the_reason(dcdc, clock):
    dcdc.fail["open"] = DeviceTimeout("silent")
    begun_s = clock()

    assert told(dcdc, clock) == "silent"
    assert clock() < begun_s + RULES.wait_limit_s + 3.0


def test_one_that_does_not_obey_is_named(dcdc, clock, monkeypatch):
    monkeypatch.setattr(dcdc, "go_to", lambda _mode: None)

    assert told(dcdc, clock) == "it is in VOLTAGE_REFERENCE"
