"""The proof that nobody else holds the bus (the protocol, 8.6): it follows moves drawn by lot.

One reading is no proof, since another source that sweeps by may show the right voltage for a
moment. The bus must stay at each voltage for a while, by the meter of the reference and by that of
the other unit of the deal; it must have moved there from where it was before; and the reference
must carry no current meanwhile, because nobody else is on the bus yet.

The moves are small and go out and back once, so that the converter's own ramp does not make the
proof long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from apis_core.config.policy import Policy
from apis_core.model.messages import ConverterReading
from apis_core.model.types import UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["VoltageProof", "trial_voltages_v"]

_MOVED_RATIO = 0.5  # of a move that was ordered is a move
_STEADY_RATIO = 0.25  # of the allowance: a bus that changes by more while it is looked at moves
_LEAST_MOVE_RATIO = 1.25  # of the allowance, or half of one would be within what meters may do
_SPREAD_RATIO = 0.1  # by which the moves are larger than that, drawn by lot


def trial_voltages_v(policy: Policy, lot: Random) -> list[float]:
    """Voltages to try, in the order of trial, and the nominal one at last. [V]

    They lie within ``min + 3*separation`` and ``max - separation`` (the protocol, 8.6), at
    multiples of a distance to the nominal one that is drawn by lot, the nearest ones. They are
    drawn without repetition. One way out and back is enough to visit them all on either side.
    """
    separation_v = policy.grid_voltage_separation_v
    low_v, high_v = policy.grid_voltage_min_v + 3.0 * separation_v, policy.grid_voltage_max_v
    high_v -= separation_v
    nominal_v = policy.grid_voltage_v
    least_v = max(0.5 * separation_v, _LEAST_MOVE_RATIO * policy.grid_voltage_allowance_v)
    unit_v = round(least_v * (1.0 + _SPREAD_RATIO * lot.random()), 1)
    signs = lot.sample((1.0, -1.0), 2)
    count = int(max(high_v - nominal_v, nominal_v - low_v, 0.0) / unit_v)
    steps = [nominal_v + sign * k * unit_v for k in range(1, count + 1) for sign in signs]
    candidates = [voltage_v for voltage_v in steps if low_v <= voltage_v <= high_v]
    if not candidates:
        candidates = [max(low_v, high_v, key=lambda voltage_v: abs(voltage_v - nominal_v))]
    chosen = candidates[: policy.authorization_trials]
    order: list[float] = []
    for sign in lot.sample(signs, 2):
        side = [voltage_v for voltage_v in chosen if sign * (voltage_v - nominal_v) > 0.0]
        on_the_way_back = [voltage_v for voltage_v in side if lot.random() < 0.5]
        order += [voltage_v for voltage_v in side if voltage_v not in on_the_way_back]
        order += reversed(on_the_way_back)
    return [*order, nominal_v]


@dataclass(slots=True)
class _Meter:
    """What one unit's meter shows of the present move.

    Attributes:
        before_v: Where the bus stayed before the move; None = it was not looked at there.
        at_v: Where it stays now; None = not yet.
        seen: When each reading was asked for and heard, and what it said, while it may be staying.
    """

    before_v: float | None = None
    at_v: float | None = None
    seen: list[tuple[int, int, float]] = field(default_factory=list)


class VoltageProof:
    """One proof, from the first move to the last.

    Args:
        policy: Of the cluster.
        dwell_ns: So long the bus must stay at each voltage.
        lot: For the voltages.
        reference_id: Who is to hold the bus alone.
        witness_ids: Who else must see it move.

    Attributes:
        voltage_v: Where the bus is to be now. [V]
    """

    def __init__(
        self,
        policy: Policy,
        dwell_ns: int,
        lot: Random,
        reference_id: UnitId,
        witness_ids: Iterable[UnitId],
    ) -> None:
        self.voltage_v = policy.grid_voltage_v
        self._allowance_v = policy.grid_voltage_allowance_v
        self._no_current_a = policy.leak_allowance_per_unit_a
        self._dwell_ns = dwell_ns
        self._reference_id = reference_id
        self._meters = {unit_id: _Meter() for unit_id in (reference_id, *witness_ids)}
        self._trials = trial_voltages_v(policy, lot)
        self._moved_v = 0.0  # by the present move
        self._set_ns = 0  # since when the voltage that is tried has been set

    def move_on(self) -> float | None:
        """Begin the next move; None = there is none, and all is proven. [V]"""
        if not self._trials:
            return None
        next_v = self._trials.pop(0)
        self._moved_v, self.voltage_v = next_v - self.voltage_v, next_v
        self._meters = {key: _Meter(before_v=m.at_v) for key, m in self._meters.items()}
        return next_v

    def await_setting(self) -> None:
        """The next voltage is ordered: until it is set, readings mean nothing."""
        self._set_ns = NEVER_NS

    def note_set(self, now_ns: int) -> None:
        """The reference has set the voltage that was ordered."""
        self._set_ns = now_ns

    @property
    def is_set(self) -> bool:
        """Whether the voltage that was ordered has been set."""
        return self._set_ns < NEVER_NS

    @property
    def has_dwelt(self) -> bool:
        """Whether every meter has seen the bus stay where it is to be."""
        return all(meter.at_v is not None for meter in self._meters.values())

    def hear(
        self, unit_id: UnitId, reading: ConverterReading, asked_ns: int, heard_ns: int
    ) -> str:
        """Take a reading. One that was asked for before the voltage was set says nothing.

        Args:
            unit_id: Whose.
            reading: What its converter measures.
            asked_ns: When it was asked for.
            heard_ns: When it came; it was measured between the two.

        Returns:
            What speaks against it in this reading; empty = nothing does.
        """
        meter, bus_v = self._meters.get(unit_id), reading.grid_voltage_v
        if meter is None or asked_ns < self._set_ns:
            return ""
        meter.at_v = None
        if bus_v is None:
            return f"{unit_id} does not say the voltage of the bus"
        doubt = self._why_not(unit_id, meter, bus_v, reading.grid_current_a)
        if doubt:
            meter.seen.clear()
            return doubt
        steady_v = _STEADY_RATIO * self._allowance_v
        before = len(meter.seen)
        meter.seen = [seen for seen in meter.seen if abs(bus_v - seen[2]) <= steady_v]
        is_steady = len(meter.seen) == before
        meter.seen.append((asked_ns, heard_ns, bus_v))
        if asked_ns - meter.seen[0][1] >= self._dwell_ns:
            meter.at_v = bus_v
        return "" if is_steady else f"the bus did not stay at {self.voltage_v:g} V"

    def _why_not(
        self, unit_id: UnitId, meter: _Meter, bus_v: float, current_a: float | None
    ) -> str:
        moved_v = 0.0 if meter.before_v is None else bus_v - meter.before_v
        has_moved = meter.before_v is None or moved_v / self._moved_v >= _MOVED_RATIO
        if abs(bus_v - self.voltage_v) > self._allowance_v or not has_moved:
            return (
                f"the bus did not follow {self._reference_id} to {self.voltage_v:g} V "
                f"({unit_id} reads {bus_v:.1f} V): another source holds it"
            )
        if unit_id == self._reference_id and abs(current_a or 0.0) > self._no_current_a:
            return (
                f"{unit_id} carries {current_a:+.2f} A at {self.voltage_v:g} V, "
                "where nobody else is on the bus: there is another source or a leak"
            )
        return ""
