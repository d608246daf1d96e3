"""Guards the converters as a real driver does: terms, hold times, and an orderly end.

Hold times run on a steady clock of the caller's (``now_s``), never on simulated time: the dead man
must not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from apis_core.converter.driver_contract import OrderLease, Refused, is_wait
from apis_core.model.messages import (
    ClaimKind,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.model.types import ConverterError, StopCause, UnitId
from apis_emulator.faults import BrokenHardware
from apis_emulator.orders import command, read_converter
from apis_emulator.physics.plant import Plant

__all__ = ["Driver"]

REFERENCE_GRACE_S = (
    2.0  # a voltage reference that must go lets the current sources go first, for so long at most
)


class Driver:
    """All converters of a plant behind one set of rules.

    Args:
        plant: All hardware.
        is_plain: The converters know nothing of the bus and of each other; see `command`.

    Attributes:
        broken: What is broken.
    """

    def __init__(self, plant: Plant, *, is_plain: bool = False) -> None:
        self._plant = plant
        self._is_plain = is_plain
        self.broken = BrokenHardware()
        self._held = {unit_id: OrderLease() for unit_id in plant.units}
        self._is_ending = False

    def handle(
        self, unit_id: UnitId, order: ConverterOrder, now_s: float, stamp_ns: int = 0
    ) -> ConverterReply:
        """Obey or refuse an order; the reply has the reading after it."""
        error, message = ConverterError.NONE, ""
        try:
            if unit_id not in self.broken.stuck:
                self._obey(unit_id, order, now_s)
        except Refused as refused:
            error, message = refused.error, str(refused)
        reading = self.read(unit_id, now_s, stamp_ns)
        return ConverterReply(error=error, message=message, reading=reading)

    def hear_claim(self, kind: ClaimKind, term: int, unit_id: UnitId | None = None) -> None:
        """Somebody claims a term; what one unit's driver hears of that, or all of them."""
        for each, held in self._held.items():
            if unit_id in (None, each):
                held.led.hear(kind, term)

    def why_from_nobody(self, unit_id: UnitId, order: ConverterOrder) -> str:
        """Why an order comes from nobody that leads; empty = it does not."""
        return self._held[unit_id].led.why_not(order)

    def deal_id(self, unit_id: UnitId) -> str:
        """The deal in whose name the converter was ordered last."""
        return self._held[unit_id].deal_id

    def read(self, unit_id: UnitId, now_s: float, stamp_ns: int = 0) -> ConverterReading:
        """The converter's reading with the term, the deal and what is left of the hold time."""
        held = self._held[unit_id]
        is_active = self._plant.units[unit_id].converter.is_active
        reading = read_converter(
            self._plant,
            unit_id,
            term=held.term,
            deal_id=held.deal_id,
            hold_remaining_s=held.remaining_s(now_s) if is_active else 0.0,
            stamp_ns=stamp_ns,
        )
        offsets = self.broken.offsets.get(unit_id)
        return _misread(reading, offsets) if offsets else reading

    def add_unit(self, unit_id: UnitId) -> None:
        """The plant has one more unit."""
        self._held[unit_id] = OrderLease()

    def remove_unit(self, unit_id: UnitId) -> None:
        """The plant is about to lose a unit."""
        del self._held[unit_id]

    def watch(self, now_s: float) -> None:
        """The dead man: stop what was not renewed in time. Call it many times a second."""
        for unit_id, held in self._held.items():
            converter = self._plant.units[unit_id].converter
            if not converter.is_active or converter.is_stopping or now_s < held.deadline_s:
                continue
            if unit_id in self.broken.halted:
                continue
            held.is_expired = True
            if (
                not self._is_plain
                and converter.is_reference
                and now_s < held.deadline_s + REFERENCE_GRACE_S
                and self._carries_others(unit_id)
            ):
                continue
            if self._is_ending:
                self._plant.stop(unit_id)
            else:
                self._plant.stop(unit_id, StopCause.HOLD_EXPIRED, held.expiry)
            if self._is_plain:
                converter.finish()

    def end(self, now_s: float) -> None:
        """Begin to take all converters to WAIT; from now on only WAIT and READ are obeyed."""
        self._is_ending = True
        for held in self._held.values():
            held.deadline_s = min(held.deadline_s, now_s)
        self.watch(now_s)

    def force_wait(self) -> list[UnitId]:
        """Switch off at once what is still on; returns which these were."""
        active = list(self.active_ids())
        for unit_id in active:
            self._plant.units[unit_id].converter.finish()
        return active

    def active_ids(self) -> Iterator[UnitId]:
        """Units whose converter is not in WAIT."""
        return (i for i, unit in self._plant.units.items() if unit.converter.is_active)

    def _carries_others(self, unit_id: UnitId) -> bool:
        """Whether a current source would lose its bus if this reference went now."""
        return not self._plant.is_held_without(unit_id) and any(
            unit.converter.is_active and not unit.converter.is_reference
            for unit in self._plant.units.values()
        )

    def _obey(self, unit_id: UnitId, order: ConverterOrder, now_s: float) -> None:
        if order.operation is ConverterOperation.READ:
            return
        held = self._held[unit_id]
        if self._is_ending and not is_wait(order):
            raise Refused(
                ConverterError.REFUSED, "the emulator is ending; only WAIT and READ are obeyed"
            )
        held.check(order)
        if unit_id in self.broken.unpermitted and not is_wait(order):
            raise Refused(ConverterError.REFUSED, "the battery permits no exchange")
        command(self._plant, unit_id, order, is_plain=self._is_plain)
        held.take(order, now_s)


def _misread(reading: ConverterReading, offsets: Mapping[str, float]) -> ConverterReading:
    """What a converter with wrong sensors says."""
    wrong = {name: getattr(reading, name) + offset for name, offset in offsets.items()}
    reading = replace(reading, **wrong)
    if reading.grid_voltage_v is None or reading.grid_current_a is None:
        return reading
    return replace(reading, grid_power_w=reading.grid_voltage_v * reading.grid_current_a)
