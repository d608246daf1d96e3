"""The DC bus as one ideal node with a capacitance.

What flows into the units discharges the bus:  C * dV/dt = -(sum of the converters' currents).
Every function gives mean currents over a step such that  sum(i) * dt = -C * (V1 - V0)  holds
exactly; with the mean voltage (V0 + V1)/2 the energy then balances exactly too, because
C * (V1 - V0) * (V1 + V0)/2  is the change of C*V^2/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BusStep", "Regulator", "drift", "hold", "share"]


@dataclass(frozen=True, slots=True)
class Regulator:
    """A voltage reference as the bus sees it: a source behind a resistance, with a current limit.

    Attributes:
        source_v: What it regulates to at zero current. [V]
        resistance_ohm: Droop, >= 0. [V/A]
        limit_a: Largest current in either direction, > 0. [A]
    """

    source_v: float
    resistance_ohm: float
    limit_a: float

    def current_a(self, voltage_v: float) -> float:
        """Current into the unit at this bus voltage; needs a resistance > 0. [A]"""
        current_a = (voltage_v - self.source_v) / self.resistance_ohm
        return min(max(current_a, -self.limit_a), self.limit_a)


@dataclass(frozen=True, slots=True)
class BusStep:
    """What a step did.

    Attributes:
        voltage_v: At its end. [V]
        mean_v: Over the step, such that the energy balances. [V]
        currents_a: Mean current of each regulator, + = into the unit. [A]
        is_saturated: Whether each regulator is at its current limit.
        bleed_w: Burned in the discharge resistors of a bus that nothing holds. [W]
    """

    voltage_v: float
    mean_v: float
    currents_a: tuple[float, ...] = ()
    is_saturated: tuple[bool, ...] = ()
    bleed_w: float = 0.0


def hold(
    voltage_v: float, capacitance_f: float, load_a: float, regulator: Regulator, dt_s: float
) -> BusStep:
    """One reference without droop carries what the others leave, and holds its voltage if it can.

    Args:
        voltage_v: At the beginning. [V]
        capacitance_f: Of the whole bus. [F]
        load_a: Mean sum of all other currents, + = out of the bus. [A]
        regulator: The reference; its resistance is not looked at.
        dt_s: How long. [s]
    """
    needed_a = -load_a - capacitance_f * (regulator.source_v - voltage_v) / dt_s
    if abs(needed_a) <= regulator.limit_a:
        end_v = regulator.source_v
        return BusStep(end_v, 0.5 * (voltage_v + end_v), (needed_a,), (False,))
    current_a = math.copysign(regulator.limit_a, needed_a)
    end_v = voltage_v - (load_a + current_a) * dt_s / capacitance_f
    return BusStep(end_v, 0.5 * (voltage_v + end_v), (current_a,), (True,))


def share(
    voltage_v: float,
    capacitance_f: float,
    load_a: float,
    regulators: Sequence[Regulator],
    dt_s: float,
) -> BusStep:
    """References with resistance share the load, or fight if their voltages differ by too much.

    The voltage at the end solves  C*(V - V0)/dt + load + sum(i_k(V)) = 0,  which rises with V
    (backward Euler, stable at any step). It lies where the limits of all currents put it at most,
    so bisection cannot fail.
    """
    reach_v = (abs(load_a) + sum(r.limit_a for r in regulators)) * dt_s / capacitance_f
    low_v, high_v = voltage_v - reach_v, voltage_v + reach_v
    for _ in range(60):
        middle_v = 0.5 * (low_v + high_v)
        surplus_a = load_a + sum(r.current_a(middle_v) for r in regulators)
        if capacitance_f * (middle_v - voltage_v) / dt_s + surplus_a > 0.0:
            high_v = middle_v
        else:
            low_v = middle_v
    currents_a = tuple(r.current_a(0.5 * (low_v + high_v)) for r in regulators)
    end_v = voltage_v - (load_a + sum(currents_a)) * dt_s / capacitance_f
    is_saturated = tuple(
        abs(current_a) >= r.limit_a for current_a, r in zip(currents_a, regulators, strict=True)
    )
    return BusStep(end_v, 0.5 * (voltage_v + end_v), currents_a, is_saturated)


def drift(
    voltage_v: float, capacitance_f: float, load_a: float, decay_s: float, dt_s: float
) -> BusStep:
    """No reference: discharge resistors pull the voltage down, current sources push it about.

    With R = decay_s / C the exact answer to a constant current is an exponential towards
    ``-load_a * R``. The resistors stand for the converters' output stages, which discharge a bus
    that nobody holds; they cost a held bus nothing.
    """
    goal_v = -load_a * decay_s / capacitance_f
    gap_v = voltage_v - goal_v
    fallen_ratio = -math.expm1(-dt_s / decay_s)
    end_v = voltage_v - gap_v * fallen_ratio
    mean_v = goal_v + gap_v * fallen_ratio * decay_s / dt_s
    # Integral of V^2/R over the step, for the exponential above.
    square_v2 = (
        goal_v**2
        + 2.0 * goal_v * gap_v * fallen_ratio * decay_s / dt_s
        + gap_v**2 * -math.expm1(-2.0 * dt_s / decay_s) * decay_s / (2.0 * dt_s)
    )
    return BusStep(end_v, mean_v, bleed_w=square_v2 * capacitance_f / decay_s)
