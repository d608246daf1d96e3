"""What a unit makes of readings of its own converter, over time."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from converter_bench import CHARGE, DISCHARGE, M, Op, S, deal, order, orders, reading, run

from apis_core.model.types import OperationMode
from apis_core.unit.self_monitor import SelfMonitor

DEBOUNCE_NS = 5 * S


class Watched:
    """A converter's manager and who looks at its readings."""

    def __init__(self, manager, policy, hardware) -> None:
        self.manager = manager
        self.faults: list[str] = []
        self.is_battery_silent = False
        state = SimpleNamespace(
            converter=manager,
            policy=policy,
            hardware=hardware,
            modes=SimpleNamespace(effective=OperationMode.RUN),
            timing=SimpleNamespace(debounce_ns=DEBOUNCE_NS, retry_ns=1 * S, battery_ns=16 * S),
            forget_battery=lambda _now_ns: self.is_battery_silent,
            interlock=SimpleNamespace(held=lambda deal_id: None),
        )
        self.check = SelfMonitor(state, self._raise)

    def _raise(self, code, _message, _now_ns):
        self.faults.append(code)
        return []

    def see(self, seen, now_ns):
        self.manager.hear_reading(seen, now_ns)
        return self.check.look(now_ns)


@pytest.fixture
def watched(manager, policy, hardware) -> Watched:
    return Watched(manager, policy, hardware)


def ramping_down(now_ns, began_ns):
    """A reference that was told WAIT: 60 V/s from 350 V."""
    bus_v = max(350.0 - 60.0 * (now_ns - began_ns) / S, 0.0)
    mode = M.VOLTAGE_REFERENCE if bus_v else M.WAIT
    return reading(
        mode, now_ns, grid_voltage_v=bus_v, grid_voltage_setpoint_v=0.0, grid_current_a=0.0
    )


def test_10_4_a_reference_that_was_told_wait_may_take_its_time_to_ramp_down(watched):
    """Longer than what is wrong may last: 5.8 s from 350 V."""
    run(watched.manager, M.VOLTAGE_REFERENCE)
    began_ns = 100 * S
    watched.manager.obey("ask", order(Op.WAIT), deal(CHARGE), began_ns)
    held = {"grid_voltage_v": 350.0, "grid_voltage_setpoint_v": 350.0, "grid_current_a": 0.0}
    late = reading(M.VOLTAGE_REFERENCE, began_ns - 1, **held)  # on its way since before
    assert watched.see(late, began_ns) == []
    for tenths in range(80):
        now_ns = began_ns + tenths * S // 10
        assert watched.see(ramping_down(now_ns, began_ns), now_ns) == []
    assert watched.manager.is_off
    assert watched.faults == []


def test_10_3_a_reference_that_does_not_go_to_wait_at_all_is_a_fault(watched):
    run(watched.manager, M.VOLTAGE_REFERENCE)
    watched.manager.obey("ask", order(Op.WAIT), deal(CHARGE), 100 * S)
    for second in range(100, 150):
        stuck = reading(
            M.VOLTAGE_REFERENCE,
            second * S,
            grid_voltage_v=350.0,
            grid_voltage_setpoint_v=350.0,
            grid_current_a=0.0,
        )
        watched.see(stuck, second * S)
    assert watched.faults[0] == "on_without_deal"
    assert watched.manager.is_stopping  # and is told WAIT again and again


def test_10_3_a_current_that_does_not_cease_is_a_fault_after_the_usual_time(watched):
    run(watched.manager, M.DISCHARGE)
    watched.manager.obey("ask", order(Op.WAIT), deal(DISCHARGE), 100 * S)
    for tenths in range(52):
        now_ns = 100 * S + tenths * S // 10
        flowing = {"grid_current_a": -2.0, "grid_current_setpoint_a": 2.0, "grid_voltage_v": 350.0}
        watched.see(reading(M.DISCHARGE, now_ns, **flowing), now_ns)
    assert set(watched.faults) == {"on_without_deal"}


@pytest.mark.parametrize(
    ("ordered", "seen"),
    [
        (M.DISCHARGE, M.VOLTAGE_REFERENCE),
        (M.CHARGE, M.VOLTAGE_REFERENCE),
        (M.CHARGE, M.DISCHARGE),
        (M.VOLTAGE_REFERENCE, M.CHARGE),
    ],
)
def test_10_3_a_mode_that_nobody_ordered_stops_the_converter_at_once(watched, ordered, seen):
    """Two voltage references without droop fight until one trips."""
    run(watched.manager, ordered)
    changed = {
        "grid_voltage_v": 350.0,
        "grid_voltage_setpoint_v": 350.0,
        "grid_current_a": 1.0,
        "grid_current_setpoint_a": 1.0,
    }
    watched.see(reading(seen, 100 * S, **changed), 100 * S)
    assert not watched.faults  # one reading is no proof
    effects = watched.see(reading(seen, 101 * S, **changed), 101 * S)
    assert watched.faults == ["mode_against_deal"]
    assert [told.mode for told in orders(effects)] == [M.WAIT]


def test_10_3_an_order_that_was_not_answered_may_have_been_obeyed(watched):
    run(watched.manager, M.CHARGE)
    (take_over,) = watched.manager.obey("ask", order(Op.WILL_TAKE_OVER), deal(CHARGE), 0)
    watched.manager.answered(take_over.origin, None, None, 0)
    for second in (1, 2, 3):
        held = {"grid_voltage_v": 350.0, "grid_voltage_setpoint_v": 350.0, "grid_current_a": 0.0}
        watched.see(reading(M.VOLTAGE_REFERENCE, second * S, **held), second * S)
    assert not watched.faults
    assert watched.manager.is_reference


def test_10_3_a_mode_that_is_not_known_may_pass(watched):
    run(watched.manager, M.CHARGE)
    for second in (1, 2, 3):
        watched.see(reading(M.UNKNOWN, second * S), second * S)
    assert not watched.faults
    assert not watched.manager.is_stopping


def test_a_battery_that_has_fallen_silent_is_a_fault(watched):
    watched.see(reading(M.WAIT, S), S)
    assert watched.faults == []
    watched.is_battery_silent = True
    watched.see(reading(M.WAIT, 2 * S), 2 * S)
    assert watched.faults == ["battery_silent"]


def test_a_counter_that_jumps_is_a_fault(watched):
    seen = reading(M.WAIT, S, grid_voltage_v=350.0, grid_charged_wh=0.0)
    watched.see(seen, S)
    watched.see(replace(seen, stamp_ns=2 * S, grid_charged_wh=60.0), 2 * S)
    assert watched.faults == ["energy_counter_amiss"]
