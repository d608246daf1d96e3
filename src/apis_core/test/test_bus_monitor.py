"""The bus as a whole: leaks, and overloaded branches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apis_core.config.branches import Branch
from apis_core.grid_master.bus_monitor import BusMonitor
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode
from apis_core.model.units import SECOND_NS as S

FRESH_NS = 10 * S
HOLD_NS = 25 * S


def watch(policy, seconds: int, currents_a: dict[str, float | None], dealing, assumed=None):
    """What is found when units say this every second."""
    eye = BusMonitor(policy, FRESH_NS, HOLD_NS)
    found = []
    for second in range(seconds):
        for unit_id, current_a in currents_a.items():
            mode = ConverterMode.CHARGE if current_a is not None else ConverterMode.UNKNOWN
            reading = ConverterReading(mode=mode, grid_current_a=current_a)
            eye.hear(unit_id, reading, second * S, int(second * S))
        found = eye.look(dealing, assumed or {}, int(second * S))
    return [code for code, _ in found]


@pytest.mark.parametrize(
    ("second_a", "codes"),
    [(-1.0, []), (-0.8, []), (-0.74, ["leak"]), (-1.26, ["leak"]), (1.0, ["leak"])],
)
def test_10_1_what_flows_in_flows_out(policy, second_a, codes):
    """0.125 A are allowed per unit."""
    assert watch(policy, 30, {"E001": 1.0, "E002": second_a}, ["E001", "E002"]) == codes


def test_10_1_units_that_do_not_deal_do_not_count(policy):
    assert watch(policy, 30, {"E001": 1.0, "E002": -1.0, "E003": 5.0}, ["E001", "E002"]) == []


def hear(eye, second, *, is_asked=True, **currents_a):
    for unit_id, current_a in currents_a.items():
        reading = ConverterReading(mode=ConverterMode.CHARGE, grid_current_a=current_a)
        now_ns = int(second * S)
        eye.hear(unit_id, reading, now_ns, now_ns if is_asked else None)


def look(eye, second, dealing=("E001", "E002")):
    eye.note_on_bus(dealing, int(second * S))
    return [code for code, _ in eye.look(dealing, {}, int(second * S))]


def test_w13_a_leak_counts_only_when_all_units_say_so_again(policy):
    eye = BusMonitor(policy, FRESH_NS, HOLD_NS)
    hear(eye, 0, E001=1.0, E002=0.0)
    assert look(eye, 0) == look(eye, 5) == []
    assert eye.is_suspicious
    hear(eye, 6, E001=1.0)
    assert look(eye, 7) == []
    hear(eye, 7, E002=-1.0)  # E001 was read before a change, E002 after it
    assert look(eye, 8) == []
    hear(eye, 9, E001=1.0, E002=0.0)
    assert look(eye, 9) == []  # what E002 says is new
    hear(eye, 11, E001=1.0, E002=0.0)
    assert look(eye, 12) == ["leak"]


def test_w13_currents_that_did_not_flow_at_one_moment_prove_no_leak(policy):
    """A giver stops and begins again, and the taker is read between: each twice the same."""
    eye = BusMonitor(policy, FRESH_NS, HOLD_NS)
    hear(eye, 0, E002=1.0)
    hear(eye, 2.5, E001=0.0)  # has stopped
    hear(eye, 3, E002=1.0)  # was read while it began again
    assert look(eye, 3) == []
    hear(eye, 3.5, E001=0.0)  # so long ago at most that it may be from before
    assert look(eye, 4) == []
    hear(eye, 5, is_asked=False, E001=0.0, E002=1.0)  # nobody knows how long it was under way
    assert look(eye, 5) == []
    hear(eye, 6, E001=-1.0, E002=1.0)
    assert look(eye, 7) == []
    assert not eye.is_suspicious


def test_w13_a_current_of_a_deal_that_is_over_is_no_leak(policy):
    eye = BusMonitor(policy, FRESH_NS, HOLD_NS)
    for second in (0, 2, 4):
        hear(eye, second, E001=2.0, E002=-1.0, E003=-1.0)
        assert look(eye, second, ("E001", "E002", "E003")) == []
    assert look(eye, 5) == []  # E003 has left; E001 was read before that
    assert eye.is_suspicious
    hear(eye, 6, E001=1.0, E002=-1.0)
    assert look(eye, 6) == []
    assert not eye.is_suspicious


@pytest.mark.parametrize(
    ("last", "codes"),
    [(None, []), (ConverterReading(mode=ConverterMode.WAIT, grid_current_a=0.0), ["leak"])],
)
def test_w13_a_unit_that_is_lost_may_carry_what_is_missing_until_its_hold_time_is_over(
    policy, last, codes
):
    """Its driver has lost the converter, and the deal is closed; the current flows on."""
    eye = BusMonitor(policy, FRESH_NS, HOLD_NS)
    hear(eye, 0, E001=2.0, E002=0.0, E003=-2.0)
    assert look(eye, 0, ("E001", "E002", "E003")) == []
    eye.hear("E003", last or ConverterReading(mode=ConverterMode.UNKNOWN), 1 * S, 1 * S)
    for second in (1, 3, 5, 7):
        hear(eye, second, E001=2.0, E002=0.0)
        found = look(eye, second)
    assert found == codes
    for second in range(8, 30):
        hear(eye, second, E001=2.0, E002=0.0)
        found = look(eye, second)
    assert found == ["leak"]


def test_10_1_deals_that_come_and_go_do_not_hide_a_leak(policy):
    eye = BusMonitor(policy, FRESH_NS, HOLD_NS)
    hear(eye, 0, E001=1.0, E002=0.0)
    assert look(eye, 0) == []
    hear(eye, 2, E001=1.0, E002=0.0, E003=0.5)
    assert look(eye, 3, ()) == []  # a current changes, though none of theirs
    assert look(eye, 4) == []
    hear(eye, 6, E001=1.0, E002=0.0)
    assert look(eye, 6) == ["leak"]


def test_10_1_while_a_unit_is_not_heard_no_leak_can_be_told(policy):
    """Its deals end by its silence; that is no reason to stop everybody."""
    assert watch(policy, 30, {"E001": 1.0, "E002": None}, ["E001", "E002"]) == []
    assert watch(policy, 30, {"E001": 1.0}, ["E001", "E002"]) == []


def test_10_1_a_branch_with_too_much_on_it_is_told(policy):
    line = Branch("E001-E002", ("E001",), ("E002", "E003", "E004"), 2.0)
    policy = replace(policy, topology=(line,))
    dealing = ["E001", "E002"]
    assert watch(policy, 30, {"E001": 2.5, "E002": -2.5}, dealing) == ["branch_overload"]
    assert watch(policy, 30, {"E001": 2.1, "E002": -2.1}, dealing) == []
    unseen = watch(policy, 30, {"E002": 0.0}, [], {"E001": 3.0})
    assert unseen == ["branch_overload"]
