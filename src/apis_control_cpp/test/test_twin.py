"""The C++ against its slow twin, on random input; and the border, which refuses what makes no
sense.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_control import (
    ControlError,
    EnergyMeter,
    InvalidTimeStep,
    InvalidValue,
    SlewLimiter,
    reference,
)

POWERS = st.floats(-1e6, 1e6)
STEPS = st.floats(1e-6, 1e4)
SAMPLES = st.lists(st.tuples(st.booleans(), POWERS, STEPS), max_size=60)


@given(SAMPLES)
def test_meter_equals_exact_sum(samples: list[tuple[bool, float, float]]) -> None:
    meter, twin = EnergyMeter(), reference.EnergyMeter()
    for is_mean, power_w, dt_s in samples:
        before = meter.charged_wh, meter.discharged_wh
        for one in (meter, twin):
            (one.add_mean if is_mean else one.add)(power_w, dt_s)
        assert meter.charged_wh >= before[0]
        assert meter.discharged_wh >= before[1]
    assert meter.charged_wh == pytest.approx(twin.charged_wh, rel=1e-14, abs=1e-12)
    assert meter.discharged_wh == pytest.approx(twin.discharged_wh, rel=1e-14, abs=1e-12)


@given(
    st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.lists(st.tuples(st.floats(-1e3, 1e3), STEPS))
)
def test_limiter_equals_twin(
    rate_per_s: float, value: float, steps: list[tuple[float, float]]
) -> None:
    limiter = SlewLimiter(rate_per_s, value)
    twin = reference.SlewLimiter(rate_per_s, value)
    for target, dt_s in steps:
        before = limiter.value
        after = limiter.step(target, dt_s)
        assert after == pytest.approx(twin.step(target, dt_s), rel=1e-12, abs=1e-12)
        assert min(before, target) <= after <= max(before, target)
        assert abs(after - before) <= rate_per_s * dt_s * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("dt_s", [0.0, -1.0, math.nan, math.inf])
def test_bad_time_step_is_refused(dt_s: float) -> None:
    meter = EnergyMeter()
    for call in (meter.add, meter.add_mean, SlewLimiter(1.0).step):
        with pytest.raises(InvalidTimeStep, match="dt_s"):
            call(1.0, dt_s)
    assert meter.charged_wh == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_bad_value_is_refused(value: float) -> None:
    with pytest.raises(InvalidValue, match="power_w"):
        EnergyMeter().add(value, 1.0)
    with pytest.raises(InvalidValue, match="reference"):
        SlewLimiter(1.0).step(value, 1.0)
    with pytest.raises(InvalidValue, match="rate_per_s"):
        SlewLimiter(value)


def test_errors_are_value_errors() -> None:
    assert issubclass(InvalidTimeStep, ControlError)
    assert issubclass(InvalidValue, ControlError)
    assert issubclass(ControlError, ValueError)
