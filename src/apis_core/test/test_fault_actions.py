"""What follows from a fault: every cell of the protocol's table."""

from __future__ import annotations

from itertools import product

import pytest

from apis_core.cluster.fault_actions import Action, actions_for, stays_until_run
from apis_core.cluster.fault_registry import FaultRegistry
from apis_core.model.messages import Fault
from apis_core.model.types import FaultCategory, FaultExtent, FaultLevel

# What ERROR brings, and what FATAL or an unknown level brings.
TABLE = """
HARDWARE  GLOBAL | scram, mode_stop         | same
FRAMEWORK GLOBAL | scram                    | same
LOGIC     GLOBAL | scram                    | same
USER      GLOBAL | scram                    | same
UNKNOWN   GLOBAL |                          | scram
HARDWARE  LOCAL  | ask_to_end            | ask_to_end, step_down, mode_stop_local
FRAMEWORK LOCAL  | ask_to_end, step_down | same
LOGIC     LOCAL  | ask_to_end, step_down | same
USER      LOCAL  | ask_to_end               | same
UNKNOWN   LOCAL  |                          | ask_to_end
"""
CELLS = list(product(FaultCategory, FaultExtent, FaultLevel))


def actions_of(words: str) -> tuple[Action, ...]:
    return tuple(Action[word.strip().upper()] for word in words.split(",") if word.strip())


def table() -> dict[tuple[FaultCategory, FaultExtent, FaultLevel], tuple[Action, ...]]:
    expected = {}
    for line in TABLE.strip().splitlines():
        head, error, worse = (cell.strip() for cell in line.split("|"))
        category, extent = head.split()
        for level, words in (
            (FaultLevel.ERROR, error),
            (FaultLevel.FATAL, error if worse == "same" else worse),
            (FaultLevel.UNKNOWN, error if worse == "same" else worse),
        ):
            key = (FaultCategory[category], FaultExtent[extent], level)
            expected[key] = (Action.LOG, Action.QUARANTINE, *actions_of(words))
    for category, extent, level in CELLS:
        if level is FaultLevel.WARN:
            expected[category, extent, level] = (Action.LOG,)
        elif extent is FaultExtent.UNKNOWN:  # when in doubt it concerns all
            expected[category, extent, level] = expected[category, FaultExtent.GLOBAL, level]
    return expected


EXPECTED = table()


def fault(category, extent, level, code="trip"):
    return Fault(
        unit_id="E001",
        reporter_id="E001",
        category=category,
        extent=extent,
        level=level,
        code=code,
        message="something went wrong",
    )


def test_11_2_the_table_has_every_cell():
    assert set(EXPECTED) == set(CELLS)


@pytest.mark.parametrize(("category", "extent", "level"), CELLS)
def test_11_2_what_follows_from_a_fault(category, extent, level):
    actions = actions_for(fault(category, extent, level))
    assert actions == EXPECTED[category, extent, level]
    assert len(set(actions)) == len(actions)


@pytest.mark.parametrize(("category", "extent", "level"), CELLS)
def test_11_1_the_table_and_the_book_agree_on_who_makes_no_deals(category, extent, level):
    book = FaultRegistry("E001", 30, 100)
    book.add(fault(category, extent, level), 0)
    is_kept_out = Action.QUARANTINE in actions_for(fault(category, extent, level))
    assert bool(book.why_not()) is is_kept_out


@pytest.mark.parametrize(("category", "extent", "level"), CELLS)
def test_11_3_only_a_fault_of_all_touches_all(category, extent, level):
    for_all = {Action.SCRAM, Action.MODE_STOP}
    for_one = {Action.ASK_TO_END, Action.STEP_DOWN, Action.MODE_STOP_LOCAL}
    actions = set(actions_for(fault(category, extent, level)))
    assert not actions & (for_all if extent is FaultExtent.LOCAL else for_one)


@pytest.mark.parametrize(("category", "extent", "level"), CELLS)
def test_11_2_what_stops_the_grid_lasts_until_run(category, extent, level):
    told = fault(category, extent, level)
    assert stays_until_run(told) is (Action.MODE_STOP in actions_for(told))


def test_11_2_a_bus_that_did_not_come_up_is_tried_again():
    hardware, error = FaultCategory.HARDWARE, FaultLevel.ERROR
    told = fault(hardware, FaultExtent.GLOBAL, error, "bus_start_failed")
    assert actions_for(told) == (Action.LOG, Action.QUARANTINE, Action.SCRAM)
    assert not stays_until_run(told)


def test_11_2_a_heavy_alarm_is_acknowledged_by_a_person():
    hardware, error = FaultCategory.HARDWARE, FaultLevel.ERROR
    assert stays_until_run(fault(hardware, FaultExtent.LOCAL, error, "converter_heavy_alarm"))
