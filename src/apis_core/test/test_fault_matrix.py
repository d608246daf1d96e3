"""What follows from a fault: every cell of the protocol's table."""

from __future__ import annotations

from itertools import product

import pytest

from apis_core.fault_matrix import Action, actions_for
from apis_core.faults import FaultBook
from apis_core.messages import Fault
from apis_core.types import FaultCategory, FaultExtent, FaultLevel

# As the protocol has it, in words: what ERROR brings, and what FATAL or an unknown level brings.
TABLE = """
HARDWARE  GLOBAL | scram, mode_stop         | scram, shut_down_all
FRAMEWORK GLOBAL | scram, reset_all         | scram, reset_all
LOGIC     GLOBAL | scram, reset_all         | scram, reset_all
USER      GLOBAL | scram                    | scram
UNKNOWN   GLOBAL |                          | scram
HARDWARE  LOCAL  | ask_and_wait, stop_local \
                 | ask_and_wait, stop_local, leave_office, shut_down_local
FRAMEWORK LOCAL  | ask_and_wait, stop_local, leave_office, reset_local | same
LOGIC     LOCAL  | ask_and_wait, stop_local, leave_office, reset_local | same
USER      LOCAL  | ask_and_wait, stop_local | ask_and_wait, stop_local
UNKNOWN   LOCAL  |                          | ask_and_wait, stop_local
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


def fault(category, extent, level):
    return Fault(
        unit_id="E001",
        reporter_id="E001",
        category=category,
        extent=extent,
        level=level,
        code="trip",
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
def test_11_2_a_broken_hard_limit_stops_the_converter_before_anybody_is_asked(
    category, extent, level
):
    soft = actions_for(fault(category, extent, level))
    hard = actions_for(fault(category, extent, level), is_hard=True)
    if level is FaultLevel.WARN or extent is not FaultExtent.LOCAL:
        assert hard == soft
        return
    assert hard[:3] == (Action.LOG, Action.QUARANTINE, Action.STOP_LOCAL)
    assert set(hard) == {*soft, Action.STOP_LOCAL}
    assert hard[3:] == tuple(action for action in soft[2:] if action is not Action.STOP_LOCAL)


@pytest.mark.parametrize(("category", "extent", "level"), CELLS)
def test_11_1_the_table_and_the_book_agree_on_who_makes_no_deals(category, extent, level):
    book = FaultBook("E001", 30, 100)
    book.add(fault(category, extent, level), 0)
    is_kept_out = Action.QUARANTINE in actions_for(fault(category, extent, level))
    assert bool(book.why_not()) is is_kept_out


@pytest.mark.parametrize(("category", "extent", "level"), CELLS)
def test_11_3_only_a_fault_of_all_touches_all(category, extent, level):
    for_all = {Action.SCRAM, Action.MODE_STOP, Action.RESET_ALL, Action.SHUT_DOWN_ALL}
    for_one = {Action.ASK_AND_WAIT, Action.STOP_LOCAL, Action.RESET_LOCAL, Action.SHUT_DOWN_LOCAL}
    actions = set(actions_for(fault(category, extent, level)))
    assert not actions & (for_all if extent is FaultExtent.LOCAL else for_one)
