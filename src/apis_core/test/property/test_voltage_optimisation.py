"""Wherever the bus goes, no unit's voltage leaves the range, and no better place was free."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from apis_core.grid_master.voltage_optimisation import DealingUnit, optimal_voltage_v

TINY_V = 1e-6
units = st.dictionaries(
    st.sampled_from(["E001", "E002", "E003", "E004", "E005"]),
    st.builds(
        DealingUnit,
        efficient_ratio=st.none() | st.floats(5.0, 8.0),
        battery_voltage_v=st.none() | st.floats(40.0, 60.0),
        grid_voltage_v=st.floats(280.0, 400.0),
        grid_power_w=st.none() | st.floats(-2000.0, 2000.0),
    ),
)


@given(units, st.floats(320.0, 370.0), st.floats(0.0, 30.0))
def test_12_no_unit_leaves_the_range_and_none_stays_out_of_it(policy, units, setpoint_v, drop_v):
    policy = replace(policy, grid_voltage_drop_allowance_v=drop_v)
    low_v, high_v = policy.grid_voltage_min_v, policy.grid_voltage_max_v
    target_v = optimal_voltage_v(units, setpoint_v, policy)
    if target_v is None:
        return
    separation_v = policy.grid_voltage_separation_v
    assert target_v >= low_v + max(drop_v, 3 * separation_v) - TINY_V
    assert target_v <= high_v - max(drop_v, separation_v) + TINY_V
    for unit in units.values():
        foreseen_v = unit.grid_voltage_v + target_v - setpoint_v
        assert low_v - TINY_V <= foreseen_v <= high_v + TINY_V


@given(units, st.floats(320.0, 370.0))
def test_12_a_drop_the_same_for_all_moves_only_the_limits(policy, units, setpoint_v):
    """Between the limits only the batteries and the power decide."""
    policy = replace(policy, grid_voltage_drop_allowance_v=20.0)
    flat = {name: replace(unit, grid_voltage_v=setpoint_v) for name, unit in units.items()}
    free_v = optimal_voltage_v(flat, setpoint_v, policy)
    target_v = optimal_voltage_v(units, setpoint_v, policy)
    if target_v is None or free_v is None or target_v == free_v:
        return
    rises_v = [unit.grid_voltage_v - setpoint_v for unit in units.values()]
    limits_v = (
        policy.grid_voltage_min_v - min(rises_v),
        policy.grid_voltage_max_v - max(rises_v),
    )
    assert target_v in limits_v
