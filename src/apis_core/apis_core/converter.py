"""The unit's keeping of its own converter: the only path to it.

An order of the grid master reaches the converter only through here, and lasts no longer than its
hold time: if the grid master does not renew it, the keeper stops the converter (a voltage
reference a little later than a current, so that no current is left on a dead bus). Below that, the
driver has a dead man of its own on a steady clock, which :meth:`renew` feeds only while the keeper
lives and the grid master's order lasts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from apis_core.events import Answer, Command, Effect, Note
from apis_core.hardware import Hardware
from apis_core.ledger import Ledger
from apis_core.messages import (
    ControlReply,
    ControlRequest,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.policy import Policy
from apis_core.types import (
    NOBODY,
    ControlError,
    ControlOperation,
    ConverterError,
    ConverterMode,
    DealType,
    UnitId,
)
from apis_core.units import NEVER_NS, SECOND_NS

__all__ = ["ConverterKeeper"]

_NO_CURRENT_A = 0.125  # a reference that carries less may be switched off

_MODE_OF = {
    ControlOperation.VOLTAGE_REFERENCE: ConverterMode.VOLTAGE_REFERENCE,
    ControlOperation.CHARGE: ConverterMode.CHARGE,
    ControlOperation.DISCHARGE: ConverterMode.DISCHARGE,
}


@dataclass(slots=True)
class _Order:
    """The grid master's order in force."""

    deal_id: str
    term: int
    grid_master_id: UnitId
    until_ns: int
    base_wh: float  # what the deal had moved when the converter's own limit counter began


class ConverterKeeper:
    """Keeps one converter.

    Args:
        unit_id: This unit.
        hardware: Its limits.
        policy: Of the cluster.
        driver_hold_s: Hold time given to the driver; :meth:`renew` must be called several times
            within it. [s]
        retry_ns: Between two tries to stop a converter that does not confirm.
        late_ns: A reading older than the last by more than this is no latecomer on the network:
            the driver's clock was set back.
    """

    def __init__(
        self,
        *,
        unit_id: UnitId,
        hardware: Hardware,
        policy: Policy,
        driver_hold_s: float,
        retry_ns: int,
        late_ns: int = 60 * SECOND_NS,
    ) -> None:
        self.reading = ConverterReading()
        self.ledger = Ledger()
        self._unit_id = unit_id
        self._hardware = hardware
        self._policy = policy
        self._driver_hold_s = driver_hold_s
        self._retry_ns = retry_ns
        self._late_ns = late_ns
        self._order: _Order | None = None
        self._voided: _Order | None = None  # the last one, while its reference waits for its end
        self._stop_reason = ""  # being stopped by ourselves; the order in force is void
        self._stopped_because = ""  # the last such reason, until the next order
        self._stop_now_ns = (
            NEVER_NS  # when a reference that still carries current is stopped all the same
        )
        self._next_stop_ns = NEVER_NS
        self._answers: dict[str, tuple[str, ControlRequest]] = {}  # command id -> whom to answer
        self._count = 0

    # --- what others see -------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the converter is known to be in WAIT."""
        return self.reading.mode is ConverterMode.WAIT

    @property
    def is_stopping(self) -> bool:
        """Whether we are stopping it by ourselves."""
        return bool(self._stop_reason)

    def works_for(self, deal_id: str) -> bool:
        """Whether the converter is on for this deal, or on for nobody knows what."""
        if self.is_off:
            return False
        return self._order is None or self._order.deal_id == deal_id

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        hold_ns = self._order.until_ns if self._order else NEVER_NS
        return min(hold_ns, self._next_stop_ns)

    # --- orders of the grid master ---------------------------------------------------------------

    def obey(
        self, call_id: str, request: ControlRequest, type: DealType | None, now_ns: int
    ) -> list[Effect]:
        """Carry out a lawful order; the answer follows when the converter has spoken.

        Args:
            call_id: Whom to answer.
            request: VOLTAGE_REFERENCE, CHARGE, DISCHARGE, CURRENT, VOLTAGE, WAIT or HOLD.
            type: This unit's direction in the deal; None for a WAIT of the whole unit.
            now_ns: Present time.
        """
        refusal = self._why_not(request, type)
        if refusal is not None:
            return [Answer(call_id, replace(refusal, reading=self.reading))]
        operation = request.operation
        if operation in _MODE_OF and type is not None:
            current_a = request.grid_current_a or self._hardware.grid_current_capacity_a
            self.ledger.open(request.deal_id, type, current_a)
            self._stopped_because = ""
            self._order = _Order(
                deal_id=request.deal_id,
                term=request.term,
                grid_master_id=request.grid_master_id,
                until_ns=now_ns + request.hold_ns,
                base_wh=self._moved_wh(request.deal_id),
            )
        elif operation is ControlOperation.WAIT:
            self._order = None
        elif operation is ControlOperation.CURRENT and type is not None:
            assert request.grid_current_a is not None  # _why_not has seen to it
            self.ledger.open(request.deal_id, type, request.grid_current_a)  # its share changes
        elif self._order is not None and self._order.deal_id == request.deal_id:
            self._order.until_ns = now_ns + request.hold_ns
        return self._command(self._order_for(request), (call_id, request))

    def renew(self, now_ns: int) -> list[Effect]:
        """Feed the driver's dead man, if the converter is rightly on."""
        order, until_ns = self._order, self._order.until_ns if self._order else 0
        if self._voided is not None:  # a reference that is to go, but not before the current
            order, until_ns = self._voided, self._stop_now_ns
        if order is None or now_ns >= until_ns or self.is_off:
            return []
        renewal = ConverterOrder(
            operation=ConverterOperation.HOLD,
            hold_s=self._driver_hold_s,
            term=order.term,
            grid_master_id=order.grid_master_id,
            deal_id=order.deal_id,
        )
        return self._command(renewal)

    # --- our own will ----------------------------------------------------------------------------

    def stop(self, reason: str, now_ns: int, *, at_once: bool = False) -> list[Effect]:
        """Bring the converter to WAIT, and keep trying until it is there.

        A voltage reference waits until its bus carries no current, at most the policy's scram
        delay, unless ``at_once``.
        """
        if self._stop_reason and at_once:
            self._stop_now_ns = now_ns
            return self._go_on_stopping(now_ns)
        if self._stop_reason or (self.is_off and self._order is None):
            return []
        self._stop_reason = self._stopped_because = reason
        self._voided, self._order = self._order, None
        delay_ns = 0 if at_once else self._policy.scram_reference_delay_ns
        self._stop_now_ns = now_ns + delay_ns
        return [Note(f"stops its converter: {reason}"), *self._go_on_stopping(now_ns)]

    def acknowledge(self) -> list[Effect]:
        """Say WAIT to a converter that is off: it clears the alarm that it stopped with."""
        if not self.is_off:
            return []
        return self._command(
            ConverterOrder(operation=ConverterOperation.MODE, mode=ConverterMode.WAIT)
        )

    def read(self) -> list[Effect]:
        """Ask the driver for a fresh reading."""
        return self._command(ConverterOrder(operation=ConverterOperation.READ))

    # --- events ----------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Effect]:
        """Stop what nobody holds any more."""
        effects: list[Effect] = []
        if self._order is not None and now_ns >= self._order.until_ns:
            lapsed = self._order
            if self.is_off:
                self._order = None
            else:
                effects += self.stop(
                    f"{lapsed.grid_master_id} no longer renews deal {lapsed.deal_id}", now_ns
                )
        if now_ns >= self._next_stop_ns:
            effects += self._go_on_stopping(now_ns)
        return effects

    def hear_reading(self, reading: ConverterReading, now_ns: int) -> list[Effect]:
        """The converter was read.

        A reading that was overtaken by a newer one on its way is of no use.
        """
        age_ns = self.reading.stamp_ns - reading.stamp_ns
        if 0 < age_ns < self._late_ns:
            return []
        self.reading = reading
        self.ledger.count(reading)
        if self.is_off and self._stop_reason:
            self._stop_reason, self._voided = "", None
            self._next_stop_ns = self._stop_now_ns = NEVER_NS
        return []

    def answered(
        self, call_id: str, reply: ConverterReply | None, soc_ratio: float | None, now_ns: int
    ) -> list[Effect]:
        """The driver answered a command of ours, or never will (None)."""
        effects: list[Effect] = []
        if reply is not None and reply.reading is not None:
            effects += self.hear_reading(reply.reading, now_ns)
        waiting = self._answers.pop(call_id, None)
        if waiting is None:
            return effects
        asker, request = waiting
        if reply is None:
            error, message = ControlError.CONVERTER, "its converter does not answer"
        elif reply.error is ConverterError.NONE or (
            request.operation is ControlOperation.HOLD and reply.error is ConverterError.WRONG_MODE
        ):
            # a converter that has just stopped by itself cannot be held; its reading says why
            error, message = ControlError.NONE, ""
        elif reply.error is ConverterError.BUS_ENERGISED:
            error, message = ControlError.BUS_ENERGISED, reply.message
        else:
            error, message = ControlError.CONVERTER, reply.message
        return [*effects, Answer(asker, self.report(request.deal_id, soc_ratio, error, message))]

    def report(
        self,
        deal_id: str,
        soc_ratio: float | None,
        error: ControlError = ControlError.NONE,
        message: str = "",
    ) -> ControlReply:
        """The reply to the grid master: how it went, the reading, and what the deal has moved."""
        receipt = self.ledger.receipt(deal_id)
        reading = self.reading
        if self.is_off and self._stopped_because:
            reading = replace(reading, stop_detail=self._stopped_because)
        return ControlReply(
            error=error,
            message=message,
            reading=reading,
            grid_moved_wh=receipt.grid_moved_wh if receipt else None,
            battery_moved_wh=receipt.battery_moved_wh if receipt else None,
            soc_ratio=soc_ratio,
        )

    # --- inside ----------------------------------------------------------------------------------

    def _why_not(self, request: ControlRequest, type: DealType | None) -> ControlReply | None:
        def refuse(error: ControlError, message: str) -> ControlReply:
            return ControlReply(error=error, message=message)

        operation = request.operation
        if self._stop_reason and operation is not ControlOperation.WAIT:
            return refuse(ControlError.NOT_DEALING, f"is stopping: {self._stop_reason}")
        if operation in (ControlOperation.WAIT, ControlOperation.HOLD):
            return None
        if request.hold_ns <= 0:
            return refuse(ControlError.OUT_OF_RANGE, "hold_s must be above 0 s")
        if operation in (ControlOperation.CHARGE, ControlOperation.DISCHARGE):
            expected = (
                DealType.CHARGE if operation is ControlOperation.CHARGE else DealType.DISCHARGE
            )
            if type is not expected:
                return refuse(
                    ControlError.OTHER_DIRECTION,
                    f"its part in the deal is not to {operation.name}",
                )
        if operation in (
            ControlOperation.CHARGE,
            ControlOperation.DISCHARGE,
            ControlOperation.CURRENT,
        ):
            capacity_a = self._hardware.grid_current_capacity_a
            current_a = request.grid_current_a
            if current_a is None or not 0.0 < current_a <= capacity_a:
                return refuse(
                    ControlError.OUT_OF_RANGE,
                    f"grid_current_a is {current_a}; it must be above 0 and <= {capacity_a:g} A",
                )
        if operation in (ControlOperation.VOLTAGE_REFERENCE, ControlOperation.VOLTAGE):
            low_v, high_v = self._policy.grid_voltage_min_v, self._policy.grid_voltage_max_v
            voltage_v = request.grid_voltage_v
            if voltage_v is None or not low_v <= voltage_v <= high_v:
                return refuse(
                    ControlError.OUT_OF_RANGE,
                    f"grid_voltage_v is {voltage_v}; it must be within {low_v:g}..{high_v:g} V",
                )
        if operation is ControlOperation.VOLTAGE_REFERENCE and request.droop_ratio == 0.0:
            reason = self._bus_in_the_way()
            if reason:
                return refuse(ControlError.BUS_ENERGISED, reason)
        return None

    def _bus_in_the_way(self) -> str:
        """Why the bus forbids a first reference.

        Another source holds it, or it sits in the under-voltage lock-out band.
        """
        if self.reading.mode is ConverterMode.VOLTAGE_REFERENCE:
            return ""
        bus_v = self.reading.grid_voltage_v
        if bus_v is None:
            return "the bus voltage has not been read"
        policy = self._policy
        dead_v = policy.grid_voltage_min_v + 2.0 * policy.grid_voltage_separation_v
        if bus_v > dead_v:
            return f"the bus is at {bus_v:.1f} V, above {dead_v:g} V: another source holds it"
        if abs(bus_v - policy.grid_voltage_min_v) <= policy.grid_uvlo_mask_v:
            return f"the bus is at {bus_v:.1f} V, in the under-voltage lock-out band"
        return ""

    def _order_for(self, request: ControlRequest) -> ConverterOrder:
        operation = request.operation
        if operation is ControlOperation.WAIT:
            # as an order of our own it is obeyed whatever terms the driver has seen
            return ConverterOrder(operation=ConverterOperation.MODE, mode=ConverterMode.WAIT)
        order = self._order
        is_ours = order is not None and order.deal_id == request.deal_id
        if operation is ControlOperation.HOLD and (not is_ours or self.is_off):
            return ConverterOrder(operation=ConverterOperation.READ)
        limit_wh = request.energy_limit_wh
        if limit_wh is not None and order is not None:
            limit_wh = max(limit_wh - order.base_wh, 1e-6)
        common = ConverterOrder(
            operation=ConverterOperation.HOLD,
            energy_limit_wh=limit_wh,
            hold_s=self._driver_hold_s,
            term=request.term,
            grid_master_id=request.grid_master_id,
            deal_id=request.deal_id,
        )
        if operation is ControlOperation.HOLD:
            return common
        if operation is ControlOperation.CURRENT:
            return replace(
                common, operation=ConverterOperation.CURRENT, grid_current_a=request.grid_current_a
            )
        if operation is ControlOperation.VOLTAGE:
            return replace(
                common,
                operation=ConverterOperation.VOLTAGE,
                grid_voltage_v=request.grid_voltage_v,
                droop_ratio=request.droop_ratio,
            )
        is_reference = operation is ControlOperation.VOLTAGE_REFERENCE
        nominal_v = (
            self._policy.grid_voltage_max_v
            if operation is ControlOperation.DISCHARGE
            else self._policy.grid_voltage_v
        )
        return replace(
            common,
            operation=ConverterOperation.MODE,
            mode=_MODE_OF[operation],
            grid_voltage_v=request.grid_voltage_v if is_reference else nominal_v,
            grid_current_a=(
                self._hardware.grid_current_capacity_a if is_reference else request.grid_current_a
            ),
            droop_ratio=request.droop_ratio,
        )

    def _go_on_stopping(self, now_ns: int) -> list[Effect]:
        if not self._stop_reason:
            self._next_stop_ns = NEVER_NS
            return []
        self._next_stop_ns = now_ns + self._retry_ns
        holds_bus = self.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        carries = abs(self.reading.grid_current_a or 0.0) > _NO_CURRENT_A
        if holds_bus and carries and now_ns < self._stop_now_ns:
            self._next_stop_ns = min(self._next_stop_ns, self._stop_now_ns)
            return self.read()
        self._voided = None
        wait = ConverterOrder(
            operation=ConverterOperation.MODE, mode=ConverterMode.WAIT, grid_master_id=NOBODY
        )
        return self._command(wait)

    def _moved_wh(self, deal_id: str) -> float:
        receipt = self.ledger.receipt(deal_id)
        return receipt.grid_moved_wh if receipt else 0.0

    def _command(
        self, order: ConverterOrder, answer: tuple[str, ControlRequest] | None = None
    ) -> list[Effect]:
        self._count += 1
        call_id = f"converter/{self._count}"
        if answer is not None:
            self._answers[call_id] = answer
        return [Command(call_id, order)]
