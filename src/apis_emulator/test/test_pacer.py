"""Simulated time: at the speed asked, never jumping, and complaining once."""

from __future__ import annotations

import pytest

from apis_emulator.pacer import Pacer


def test_time_goes_at_its_speed():
    pacer = Pacer(20.0, now_s=100.0)
    assert sum(pacer.due_s(100.0 + 0.02 * tick) for tick in range(1, 51)) == pytest.approx(20.0)


def test_time_never_jumps():
    pacer = Pacer(20.0, now_s=0.0)
    assert pacer.due_s(30.0) == pytest.approx(2.0)
    assert pacer.due_s(30.02) == pytest.approx(0.4)


def test_it_complains_once_when_it_is_too_slow():
    pacer = Pacer(100.0, now_s=0.0)
    complaints = []
    for tick in range(1, 101):
        pacer.due_s(0.2 * tick)
        complaints.append(pacer.complaint(0.2 * tick))
    (complaint,) = filter(None, complaints)
    assert complaint.endswith("too slow for speed 100: simulated time goes at 50 instead")


def test_it_does_not_complain_of_a_hiccup():
    pacer = Pacer(1.0, now_s=0.0)
    now_s = 0.0
    for tick in range(1000):
        now_s += 0.3 if tick == 100 else 0.02
        pacer.due_s(now_s)
        assert pacer.complaint(now_s) == ""
