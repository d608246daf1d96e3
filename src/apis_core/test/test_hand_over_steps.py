"""The steps of one hand-over: answers in, the next step out (the protocol, 7.6.1)."""

from __future__ import annotations

import pytest

from apis_core.grid_master.bus_state import Holder
from apis_core.grid_master.hand_over import HandOver, Step
from apis_core.model.messages import ControlReply, ConverterReading
from apis_core.model.types import ControlError, ControlOperation, ConverterMode

Op, S = ControlOperation, Step
OLD, NEW = Holder("E002", "d"), Holder("E003", "e")
HOLDS = ControlReply(reading=ConverterReading(mode=ConverterMode.VOLTAGE_REFERENCE))
IS_OFF = ControlReply(reading=ConverterReading(mode=ConverterMode.WAIT))
SILENCE = ControlReply(error=ControlError.NO_ANSWER)
BROKEN = ControlReply(error=ControlError.CONVERTER, reading=HOLDS.reading)
NO = ControlReply(error=ControlError.NOT_DEALING)
HAS_CLOSED = ControlReply(error=ControlError.UNKNOWN_DEAL)


def after(*replies: ControlReply, joins: bool = False) -> HandOver:
    """One that has heard these; none of them makes it fail."""
    hand_over = HandOver(OLD, NEW, joins=joins)
    for reply in replies:
        assert not hand_over.hear(reply)
    return hand_over


@pytest.mark.parametrize(
    ("obeyed", "step", "operation", "ordered"),
    [
        (0, S.WILL_HAND_OVER, Op.WILL_HAND_OVER, OLD),
        (1, S.WILL_TAKE_OVER, Op.WILL_TAKE_OVER, NEW),
        (2, S.DID_HAND_OVER, Op.DID_HAND_OVER, OLD),
        (3, S.DID_TAKE_OVER, Op.DID_TAKE_OVER, NEW),
    ],
)
def test_each_step_is_ordered_of_its_unit_in_turn(obeyed, step, operation, ordered):
    hand_over = after(*[HOLDS] * obeyed)
    assert (hand_over.step, hand_over.operation, hand_over.ordered) == (step, operation, ordered)
    assert not hand_over.is_over


def test_four_steps_that_are_obeyed_are_all():
    assert after(*[HOLDS] * 4).step is S.DONE
    assert after(*[HOLDS] * 4).is_over


@pytest.mark.parametrize("obeyed", range(4))
def test_silence_moves_nothing(obeyed):
    assert after(*[HOLDS] * obeyed, SILENCE).step is after(*[HOLDS] * obeyed).step


@pytest.mark.parametrize("obeyed", [0, 2, 3])
def test_a_step_that_is_refused_fails_it(obeyed):
    assert after(*[HOLDS] * obeyed).hear(NO)


def test_a_successor_that_will_not_leaves_all_as_it_was():
    assert after(HOLDS, NO).step is S.REFUSED


@pytest.mark.parametrize("refusal", [(SILENCE, NO), (BROKEN,)])
@pytest.mark.parametrize(
    ("joins", "said", "step"),
    [
        (False, IS_OFF, S.RESTORE),
        (False, HAS_CLOSED, S.RESTORE),
        (False, HOLDS, S.RELEASE_SUCCESSOR),
        (True, HOLDS, S.STOP_SUCCESSOR),
        (True, BROKEN, S.CHECK_SUCCESSOR),
    ],
)
def test_one_that_may_hold_the_voltage_has_to_let_go_first(refusal, joins, said, step):
    assert after(HOLDS, *refusal, joins=joins).step is S.CHECK_SUCCESSOR
    assert after(HOLDS, *refusal, said, joins=joins).step is step


def test_a_successor_that_goes_on_holding_the_voltage_is_asked_again():
    hand_over = after(HOLDS, BROKEN, HOLDS, HOLDS, BROKEN)
    assert (hand_over.step, hand_over.ordered) == (S.RELEASE_SUCCESSOR, NEW)


def test_the_old_one_holds_the_voltage_alone_again():
    hand_over = after(HOLDS, BROKEN, HOLDS, HOLDS, IS_OFF, joins=True)
    assert (hand_over.step, hand_over.operation) == (S.RESTORE, Op.DID_TAKE_OVER)
    assert hand_over.ordered == OLD
    assert not hand_over.hear(HOLDS)
    assert hand_over.step is S.RESTORED
    assert hand_over.is_over
