"""The C++ controller against its slow twin: random orders to both, on a random bus."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis_control import Controller, InvalidTimeStep, InvalidValue, NotObeyed, reference

VOLTAGE = st.floats(0.0, 420.0) | st.sampled_from([math.nan, math.inf])
CURRENTS = st.floats(0.0, 7.8)
HOLDS = st.floats(0.01, 5.0)
OPTIONAL_WH = st.none() | st.floats(1e-4, 0.5)
ORDER = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.just("set_mode"),
            "args": st.tuples(st.sampled_from([2, 3, 4])),
            "current_a": st.floats(0.1, 7.8),
            "voltage_v": st.none() | st.floats(300.0, 380.0),
            "droop_ratio": st.floats(0.0, 0.1),
            "energy_limit_wh": OPTIONAL_WH,
            "next_current_a": st.sampled_from([0.0, 0.0, 0.5]),
            "hold_s": HOLDS,
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("set_current"),
            "args": st.tuples(CURRENTS),
            "hold_s": st.none() | HOLDS,
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("set_voltage"),
            "args": st.tuples(st.none() | st.floats(300.0, 380.0)),
            "droop_ratio": st.none() | st.floats(0.0, 0.1),
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("hold"),
            "args": st.tuples(HOLDS),
            "energy_limit_wh": OPTIONAL_WH,
            "next_current_a": st.sampled_from([0.0, 0.5]),
        }
    ),
    st.fixed_dictionaries({"name": st.just("wait"), "args": st.just(())}),
)
PARTS = st.lists(
    st.tuples(
        st.none() | ORDER,
        st.integers(1, 120),  # ticks
        st.sampled_from([0.001, 0.001, 0.01, 0.05]),  # their length [s]
        st.none() | VOLTAGE,  # None = that of a bus with a reference
        st.floats(-0.3, 0.3),  # error of the power stage [A]
        st.none() | st.floats(-20.0, 90.0),
    ),
    min_size=1,
    max_size=12,
)
CONVERTER = st.fixed_dictionaries(
    {
        "current_slew_a_per_s": st.sampled_from([1.0, 20.0]),
        "voltage_up_v_per_s": st.sampled_from([30.0, 1000.0]),
        "over_current_trip_a": st.sampled_from([5.0, math.inf]),
        "over_temp_trip_degc": st.sampled_from([60.0, math.inf]),
    }
)
CONTROL = st.fixed_dictionaries(
    {
        "current_step_a": st.sampled_from([0.2, math.inf]),
        "voltage_step_v": st.sampled_from([10.0, math.inf]),
    }
)


@settings(max_examples=150, deadline=None)
@given(PARTS, CONVERTER, CONTROL)
def test_controller_equals_twin(parts, converter, control):
    fast = Controller(converter=converter, control=control)
    slow = reference.Controller(converter, control)
    now_s = 1000.0
    told_a = 0.0
    for order, ticks, dt_s, bus_v, error_a, temp_degc in parts:
        if order is not None:
            rest = {k: v for k, v in order.items() if k not in ("name", "args")}
            try:
                getattr(slow, order["name"])(*order["args"], now_s, **rest)
            except reference.Refused:
                with pytest.raises(NotObeyed):
                    getattr(fast, order["name"])(*order["args"], now_s, **rest)
            else:
                getattr(fast, order["name"])(*order["args"], now_s, **rest)
        for _ in range(ticks):
            now_s += dt_s
            volts = 350.0 if bus_v is None else bus_v
            measured_a = told_a + error_a if told_a != 0.0 else 0.0
            is_on, told_a = slow.tick(volts, measured_a, dt_s, now_s, temp_degc)
            fast_on, fast_a = fast.tick(volts, measured_a, dt_s, now_s, temp_degc=temp_degc)
            assert fast_on == is_on
            assert fast_a == pytest.approx(told_a, rel=1e-9, abs=1e-9)
            told_a = fast_a
        seen = fast.converter
        assert (seen.mode, seen.stop_cause, seen.alarm) == (slow.mode, slow.cause, slow.alarm)
        assert seen.is_stopping == slow.is_stopping
        assert seen.moved_wh == pytest.approx(slow.moved_wh, rel=1e-12, abs=1e-12)
        assert fast.trim_a == pytest.approx(slow.trim_a, abs=1e-9)


def test_batch_equals_single_ticks():
    one, many = Controller(), Controller()
    for controller in (one, many):
        controller.set_mode(4, 0.0, hold_s=1e6, current_a=2.0, energy_limit_wh=0.05)
    volts, amps = [350.0] * 500, [min(i * 0.004, 2.0) for i in range(500)]
    told = many.run(volts, amps, 0.004, 0.0)
    for i in range(500):
        _, told_a = one.tick(volts[i], amps[i], 0.004, (i + 1) * 0.004)
        assert told_a == told[i]
    assert one.converter.charged_wh == many.converter.charged_wh


@pytest.mark.parametrize("droop_ratio", [0.0, 0.02, 0.08])
def test_droop_is_monotone(droop_ratio):
    """The more it feeds, the lower it holds the bus (steady state, on a capacitor)."""
    held = []
    for load_a in (0.0, 1.0, 2.0, 4.0):
        controller, bus_v, told_a, dt_s = Controller(), 350.0, 0.0, 0.001
        controller.tick(bus_v, 0.0, dt_s, -dt_s)  # it knows the bus before it starts
        controller.set_mode(2, 0.0, hold_s=1e9, voltage_v=350.0, droop_ratio=droop_ratio)
        for i in range(6000):
            bus_v -= (told_a + load_a) * dt_s / 4e-3
            _, told_a = controller.tick(bus_v, told_a, dt_s, i * dt_s)
        assert bus_v == pytest.approx(350.0 * (1.0 - droop_ratio * load_a / 7.8125), abs=1e-3)
        held.append(bus_v)
    assert held == sorted(held, reverse=True)


@pytest.mark.parametrize("dt_s", [0.0, -1.0, math.nan, math.inf])
def test_bad_time_step_is_refused(dt_s):
    with pytest.raises(InvalidTimeStep):
        Controller().tick(350.0, 0.0, dt_s, 0.0)


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ({"current_a": -1.0}, "current_a"),
        ({"current_a": 9.0}, "current_a"),
        ({"current_a": math.nan}, "current_a"),
        ({"current_a": 1.0, "hold_s": 0.0}, "hold_s"),
        ({"current_a": 1.0, "hold_s": math.inf}, "hold_s"),
        ({"current_a": 1.0, "energy_limit_wh": 0.0}, "energy_limit_wh"),
        ({"current_a": 1.0, "droop_ratio": -0.1}, "droop_ratio"),
        ({}, "current_a"),
    ],
)
def test_bad_order_is_refused(order, word):
    controller = Controller()
    with pytest.raises(InvalidValue, match=word):
        controller.set_mode(4, 0.0, **({"hold_s": 1.0} | order))
    assert controller.converter.mode == 1
