"""A unit stops its converter: the current first, the voltage last."""

import pytest

from apis_core.converter.commands import READ
from apis_core.converter.driver_contract import NO_CURRENT_A, TO_WAIT
from apis_core.converter.stop_sequence import TRANSITIONS, StopSequence, StopStep
from apis_core.model.errors import ProtocolMisuse
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode
from apis_core.model.units import NEVER_NS

RETRY_NS, DUE_NS = 10, 100
M = ConverterMode


def reading(mode=M.VOLTAGE_REFERENCE, current_a=1.0):
    return ConverterReading(mode=mode, grid_current_a=current_a)


@pytest.fixture
def stop():
    sequence = StopSequence(RETRY_NS)
    sequence.note_answer(True, 0)
    sequence.begin("why", None, DUE_NS)
    return sequence


@pytest.mark.parametrize(
    ("seen", "now_ns", "order", "step"),
    [
        (reading(), 0, READ, StopStep.CURRENT),
        (reading(current_a=-1.0), 0, READ, StopStep.CURRENT),
        (reading(current_a=NO_CURRENT_A), 0, TO_WAIT, StopStep.VOLTAGE),
        (reading(current_a=None), 0, TO_WAIT, StopStep.VOLTAGE),
        (reading(), DUE_NS, TO_WAIT, StopStep.VOLTAGE),
        (reading(M.CHARGE), 0, TO_WAIT, StopStep.VOLTAGE),  # a current goes at once
    ],
)
def test_the_voltage_goes_when_no_current_flows_or_the_time_is_up(stop, seen, now_ns, order, step):
    assert stop.next_order(seen, now_ns) == order
    assert stop.step is step
    assert stop.wake_ns == now_ns + RETRY_NS


def test_every_row_of_the_table_is_reached(stop):
    seen = {(StopStep.NONE, stop.step)}

    def goes(action):
        before = stop.step
        action()
        if stop.step is not before:
            seen.add((before, stop.step))

    def off():
        stop.note_off(0, is_answer_awaited=False)

    goes(lambda: stop.next_order(reading(current_a=0.0), 0))
    goes(lambda: stop.next_order(reading(), 0))  # another unit's current is back
    goes(off)
    stop.begin("again", None, DUE_NS)
    goes(lambda: stop.next_order(reading(), DUE_NS))
    goes(off)
    assert seen == {(before, after) for before in TRANSITIONS for after in TRANSITIONS[before]}
    assert not stop.is_under_way
    assert stop.wake_ns == NEVER_NS


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ProtocolMisuse, match="from NONE to VOLTAGE"):
        StopSequence(RETRY_NS)._to(StopStep.VOLTAGE)
