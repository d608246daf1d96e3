"""The unit's keeping of its own converter: the only path to it.

Each deal that uses the converter has a *share* of its current, ordered by the grid master, and the
converter carries their sum. A share lasts no longer than its hold time: if the grid master does
not renew it, the manager takes it off, and with the last one it stops the converter (a voltage
reference a little later than a current, so that no current is left on a dead bus). Below that, the
driver has a dead man of its own on a steady clock, which :meth:`ConverterManager.renew` feeds only
while the manager lives and some share lasts.

On the voltage reference a share orders no current: the bus decides what flows. It says how to book
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.converter.driver_contract import TO_WAIT
from apis_core.converter.energy_ledger import Ledger
from apis_core.converter.energy_limit import OwnMeterLimit
from apis_core.events import Answer, Command, Effect, Log
from apis_core.model.messages import (
    ControlReply,
    ControlRequest,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
    Deal,
)
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.receipt import Receipt
from apis_core.model.types import (
    ControlError,
    ControlOperation,
    ConverterError,
    ConverterMode,
    Direction,
    StopCause,
    UnitId,
)
from apis_core.model.units import NEVER_NS, SECOND_NS, wh_from_w

__all__ = ["ConverterManager", "ShareSnapshot"]

_NO_CURRENT_A = 0.125  # a reference that carries less may be switched off
_SAME_WH = 1e-6
_SAME_A = 1e-6
_SETPOINT_ERROR_A = 0.05  # of a driver that tells its setpoint in coarse steps
_MASK_NS = 30 * SECOND_NS
_TOGETHER_NS = 3 * SECOND_NS // 2

_Op = ControlOperation
_CURRENTS = tuple(direction.control_operation for direction in Direction)
_TAKES_VOLTAGE = (_Op.VOLTAGE_REFERENCE, _Op.VOLTAGE)
_OF_THE_REFERENCE = (_Op.VOLTAGE, _Op.WILL_HAND_OVER, _Op.DID_HAND_OVER, _Op.DID_TAKE_OVER)


@dataclass(slots=True)
class _Share:
    """What one deal has of the converter's current.

    Attributes:
        current_a: >= 0; 0 = it only stays the reference. [A]
        limit_wh: What the deal has moved when its share ends by itself; None = never. [Wh]
        counted_by: How this unit's meter counts for the deal; None = the other unit's does.
    """

    deal_id: str
    direction: Direction
    current_a: float
    term: int
    grid_master_id: UnitId
    until_ns: int
    limit_wh: float | None = None
    counted_by: OwnMeterLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSnapshot:
    """What one deal uses of the unit's converter.

    Attributes:
        current_a: Ordered for it, >= 0. [A]
        moved_wh: Counted for it over the bus terminal, >= 0. [Wh]
        limit_wh: Where its share ends, over the bus terminal; None = not known yet. [Wh]
    """

    current_a: float
    moved_wh: float
    limit_wh: float | None


class ConverterManager:
    """The unit's only path to its own converter: it orders, reads and stops it.

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
        self.policy = policy
        self.has_answered = False  # the driver, any order since this process began
        self._unit_id = unit_id
        self._hardware = hardware
        self._driver_hold_s = driver_hold_s
        self._retry_ns = retry_ns
        self._late_ns = late_ns
        self._shares: dict[str, _Share] = {}
        # whose shares ended at their limits while others went on
        self._limit_reached_ids: set[str] = set()
        self._is_reference = False  # ordered to be; the reading follows
        self._base_wh: float | None = None  # the counters when the driver's limit began to count
        # the same before the last change of mode was ordered, and the mode of that time
        self._previous_counter_base: tuple[float | None, ConverterMode] = (
            None,
            ConverterMode.UNKNOWN,
        )
        # the newest share that was voided, while its reference waits for its end
        self._revoked_share: _Share | None = None
        self._stop_reason = ""  # being stopped by ourselves; all shares are void
        self._stopped_because = ""  # the last such reason, until the next order
        self._stop_now_ns = (
            NEVER_NS  # when a reference that still carries current is stopped all the same
        )
        self._next_stop_ns = NEVER_NS
        self._answers: dict[
            Origin, tuple[Requester, ControlRequest]
        ] = {}  # command -> whom to answer
        # while the reference's voltage is being moved nobody may judge it, but not for ever
        self._voltage_masked_until_ns = 0
        self._down_until_ns = 0  # the same while it goes down at the end
        self._winds_down = False  # it has obeyed that, and no deal needs it on its way
        # shares that are taken off, until a reading shows that the driver has lowered the current
        self._shares_ramping_down: dict[str, _Share] = {}
        self._lowering: set[Origin] = set()  # commands to lower it that are unanswered
        self._lower_again_ns = NEVER_NS
        self._open_orders: set[Origin] = set()  # commands that are unanswered
        self._mode_orders: set[Origin] = set()  # commands after which the driver counts anew
        self._count = 0

    # --- what others see -------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the converter is known to be in WAIT."""
        return self.reading.mode is ConverterMode.WAIT

    @property
    def has_shares(self) -> bool:
        """Whether a deal wants something of it."""
        return bool(self._shares)

    @property
    def is_stopping(self) -> bool:
        """Whether we are stopping it by ourselves."""
        return bool(self._stop_reason)

    @property
    def is_reference(self) -> bool:
        """Whether it is ordered to hold the bus voltage."""
        return self._is_reference

    def is_voltage_masked(self, now_ns: int) -> bool:
        """Whether the voltage that it holds is being moved or handed over."""
        return now_ns < self._voltage_masked_until_ns

    def is_ramping_down(self, now_ns: int) -> bool:
        """Whether it held the bus, was told WAIT, and may still be on its way there."""
        is_on = self.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        return is_on and not self._shares and now_ns < self._down_until_ns

    def is_switching_on(self, origin: Origin) -> bool:
        """Whether a command that is unanswered is to take the converter out of WAIT, or change
        what it does.
        """
        return origin in self._mode_orders

    def works_for(self, deal_id: str) -> bool:
        """Whether the converter is on for this deal, or on for nobody knows what.

        A voltage reference that has obeyed its last WAIT works for nobody, though the bus is still
        going down.
        """
        if self.is_off and not self._mode_orders:
            return False  # with one under way it may be on by now
        if self._winds_down and not self._shares:
            return False  # what is left to do is the driver's, within its hold time
        return not self._shares or deal_id in self._shares or deal_id in self._shares_ramping_down

    @property
    def deal_ids(self) -> tuple[str, ...]:
        """Deals that have a share of its current."""
        if not self._shares:
            return ()
        return tuple([share.deal_id for share in self._shares.values() if share.current_a > 0.0])

    @property
    def shares(self) -> dict[str, ShareSnapshot]:
        """What each deal uses of it, by id."""
        return {
            deal_id: ShareSnapshot(
                current_a=share.current_a,
                moved_wh=self.ledger.moved_wh(deal_id),
                limit_wh=share.limit_wh,
            )
            for deal_id, share in self._shares.items()
        }

    @property
    def _has_settled(self) -> bool:
        """Whether the voltage is where it is to be, and nobody else holds it."""
        bus_v, setpoint_v = self.reading.grid_voltage_v, self.reading.grid_voltage_setpoint_v
        if bus_v is None or not setpoint_v or self.reading.droop_ratio:
            return False
        return abs(bus_v - setpoint_v) <= self.policy.grid_voltage_allowance_v

    @property
    def _newest(self) -> _Share:
        """The share of the newest term: the driver obeys no older one any more."""
        return max(self._shares.values(), key=lambda share: share.term)

    @property
    def directions(self) -> set[Direction]:
        """Directions in which deals use the converter now."""
        return {share.direction for share in self._shares.values()}

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        if not self._shares:
            return self._next_stop_ns
        hold_ns = min([share.until_ns for share in self._shares.values()])
        return min(hold_ns, self._next_stop_ns, self._lower_again_ns)

    # --- orders of the grid master ---------------------------------------------------------------

    def obey(
        self, requester: Requester, request: ControlRequest, deal: Deal | None, now_ns: int
    ) -> list[Effect]:
        """Carry out a lawful order; the answer follows when the converter has spoken.

        Args:
            requester: Whom to answer.
            request: Anything but ACQUIRE and RELEASE.
            deal: That holds the slot; None for a WAIT of the whole unit.
            now_ns: Present time.
        """
        direction = deal.direction_of(self._unit_id) if deal is not None else None
        refusal = self._why_not(request, direction)
        if refusal is not None:
            return [Answer(requester, replace(refusal, reading=self.reading))]
        answer = (requester, request)
        operation, deal_id = request.operation, request.deal_id
        if operation is _Op.WAIT:
            if self._is_reference and (not deal_id or self._shares.keys() <= {deal_id}):
                self._down_until_ns = now_ns + _MASK_NS
            return self._leave(deal_id, answer)
        share = self._shares.get(deal_id)
        if share is not None:
            share.until_ns = now_ns + request.hold_ns
            share.term, share.grid_master_id = request.term, request.grid_master_id
        if operation in (_Op.HOLD, _Op.ADOPT):
            return self._hold(share, request, answer)
        if operation is _Op.DID_HAND_OVER:
            return self._hand_over(request, answer)
        if operation not in _OF_THE_REFERENCE and deal is not None and direction is not None:
            is_joining = operation in (_Op.VOLTAGE_REFERENCE, _Op.WILL_TAKE_OVER)
            current_a = request.grid_current_a
            if current_a is None:
                current_a = share.current_a if share and is_joining else deal.current_a
            limit_wh = request.energy_limit_wh
            if operation is _Op.CURRENT and limit_wh is None and share is not None:
                limit_wh = share.limit_wh
            self._shares[deal_id] = _Share(
                deal_id=deal_id,
                direction=direction,
                current_a=current_a,
                term=request.term,
                grid_master_id=request.grid_master_id,
                until_ns=now_ns + request.hold_ns,
                limit_wh=limit_wh,
                counted_by=self._own_meter_limit(deal, direction),
            )
            self._winds_down = False
            self.ledger.open(deal_id, direction, current_a)
            self.ledger.limit(deal_id, limit_wh)
            self._stopped_because = ""
            self._limit_reached_ids.discard(deal_id)
            if not is_joining:
                return self._carry(request, answer)
        is_first = operation is _Op.VOLTAGE_REFERENCE
        moves_ns = self.policy.ramp_up_timeout_ns if is_first else _MASK_NS
        self._voltage_masked_until_ns = now_ns + max(request.hold_ns, moves_ns)
        return self._command(self._reference_order(request), answer)

    def renew(self, now_ns: int) -> list[Effect]:
        """Feed the driver's dead man, if the converter is rightly on."""
        share = self._newest if self._shares else None
        until_ns = max((share.until_ns for share in self._shares.values()), default=0)
        if self._revoked_share is not None:
            # a reference that is to go, but not before the current
            share, until_ns = self._revoked_share, self._stop_now_ns
        if share is None or now_ns >= until_ns or self.is_off:
            return []
        self._refine_limits()
        return self._command(self._order(ConverterOperation.HOLD, share))

    def leave(self, deal_id: str, reason: str, now_ns: int) -> list[Effect]:
        """Take a deal's share off by our own will; with the last one the converter stops."""
        if self._stop_reason or (self.is_off and not self._mode_orders):
            return []
        if any(share.deal_id != deal_id for share in self._shares.values()):
            return self._leave(deal_id, None)
        return self.stop(reason, now_ns)

    def close(self, deal_id: str) -> Receipt:
        """Forget a deal that the converter has left; returns what it moved."""
        self._limit_reached_ids.discard(deal_id)
        self._shares.pop(deal_id, None)  # one whose converter never came on for it
        self._shares_ramping_down.pop(deal_id, None)
        return self.ledger.close(deal_id)

    def take_rules(self, policy: Policy, hardware: Hardware, retry_ns: int, late_ns: int) -> None:
        """Another policy, or another hwConfig, holds from now; the converter is off."""
        self.policy, self._hardware = policy, hardware
        self._retry_ns, self._late_ns = retry_ns, late_ns

    # --- our own will ----------------------------------------------------------------------------

    def stop(
        self, reason: str, now_ns: int, *, at_once: bool = False, is_routine: bool = False
    ) -> list[Effect]:
        """Bring the converter to WAIT, and keep trying until it is there.

        A voltage reference waits until its bus carries no current, at most the policy's scram
        delay, unless ``at_once``. It is told as a warning, unless it ``is_routine``.
        """
        if self._stop_reason and at_once and now_ns < self._stop_now_ns:
            self._stop_now_ns = now_ns
            return self._go_on_stopping(now_ns)
        if self._stop_reason or (self.is_off and not self._shares):
            return []
        self._stop_reason = self._stopped_because = reason
        self._revoked_share = max(
            self._shares.values(), key=lambda share: share.term, default=None
        )
        self._drop_all()
        delay_ns = 0 if at_once else self.policy.scram_reference_delay_ns
        self._stop_now_ns = now_ns + delay_ns
        note = Log(f"stops its converter: {reason}", is_warning=not is_routine)
        return [note, *self._go_on_stopping(now_ns)]

    def acknowledge(self) -> list[Effect]:
        """Say WAIT to a converter that is off: it clears the alarm that it stopped with."""
        if not self.is_off:
            return []
        return self._command(TO_WAIT)

    def read(self) -> list[Effect]:
        """Ask the driver for a fresh reading."""
        return self._command(ConverterOrder(operation=ConverterOperation.READ))

    # --- events ----------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Effect]:
        """Stop what nobody holds any more."""
        effects: list[Effect] = []
        for lapsed in [s for s in self._shares.values() if now_ns >= s.until_ns]:
            if self.is_off:
                self._drop(lapsed.deal_id)
                continue
            reason = f"{lapsed.grid_master_id} no longer renews deal {lapsed.deal_id}"
            effects += self.leave(lapsed.deal_id, reason, now_ns)
        if now_ns >= self._next_stop_ns:
            effects += self._go_on_stopping(now_ns)
        if now_ns >= self._lower_again_ns and self._shares:  # without any it goes to WAIT
            effects += self._lower()
        return effects

    def hear_reading(self, reading: ConverterReading, now_ns: int) -> list[Effect]:
        """Take a reading of the converter.

        A reading that was overtaken by a newer one on its way is of no use.
        """
        age_ns = self.reading.stamp_ns - reading.stamp_ns
        if 0 < age_ns < self._late_ns:
            return []
        was_on, self.reading = self.reading.mode.is_active, reading
        if reading.mode is not ConverterMode.VOLTAGE_REFERENCE:
            self._winds_down = False
        if self._voltage_masked_until_ns and self._has_settled:
            self._voltage_masked_until_ns = 0
        self.ledger.count(reading)
        if self.is_off and was_on:
            for deal_id in list(self._shares):
                self._drop(deal_id)  # it stopped by itself; what follows is ordered anew
            self._is_reference = False
        elif self._shares and not self._mode_orders and reading.mode.is_active:
            # an order to become it, or to be it no more, may have come to nothing
            self._is_reference = reading.mode is ConverterMode.VOLTAGE_REFERENCE
            if self._base_wh is None and not self._is_reference:
                base_wh, mode = self._previous_counter_base
                if mode is not reading.mode or base_wh is None:  # obeyed, but the answer was lost
                    base_wh = _counters_wh(reading)
                self._base_wh = base_wh
        if self._shares_ramping_down and self._is_lowered:
            self._let_leave()
        if self.is_off and self._stop_reason:
            self._stop_reason, self._revoked_share = "", None
            self._next_stop_ns = self._stop_now_ns = NEVER_NS
            if not self._open_orders and not self.has_answered:
                self._next_stop_ns = now_ns + self._retry_ns
        return self._end_full_shares()

    def answered(
        self, origin: Origin, reply: ConverterReply | None, soc_ratio: float | None, now_ns: int
    ) -> list[Effect]:
        """The driver answered a command of ours, or never will (None)."""
        effects: list[Effect] = []
        has_begun_anew = origin in self._mode_orders and reply is not None
        self._mode_orders.discard(origin)
        self._lowering.discard(origin)
        self._open_orders.discard(origin)
        self._note_answer(reply is not None, now_ns)
        if reply is not None and reply.reading is not None:
            if has_begun_anew and reply.error is ConverterError.NONE:
                self._base_wh = _counters_wh(reply.reading)
            effects += self.hear_reading(reply.reading, now_ns)
        if has_begun_anew and self._shares and not self._is_reference and not self.is_off:
            # on the way its counters may have moved on: now the limit can be told
            share = self._newest
            effects += self._command(self._order(ConverterOperation.HOLD, share))
        if self._shares_ramping_down and not self._lowering:
            self._lower_again_ns = now_ns + self._retry_ns
        waiting = self._answers.pop(origin, None)
        if waiting is None:
            return effects
        asker, request = waiting
        if reply is None:
            error, message = ControlError.CONVERTER, "its converter does not answer"
        elif reply.error is ConverterError.NONE or (
            request.operation in (_Op.HOLD, _Op.ADOPT) and reply.error is ConverterError.WRONG_MODE
        ):
            # a converter that has just stopped by itself cannot be held; its reading says why
            error, message = ControlError.NONE, ""
            holds_bus = self.reading.mode is ConverterMode.VOLTAGE_REFERENCE
            if request.operation is _Op.WAIT and holds_bus and not self._shares:
                self._winds_down = True
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
        share = self._shares.get(deal_id)
        if share is None and deal_id in self._limit_reached_ids:
            reading = replace(reading, stop_cause=StopCause.ENERGY_REACHED)
        elif share is None:
            share = self._shares_ramping_down.get(deal_id)
        return ControlReply(
            error=error,
            message=message,
            reading=reading,
            grid_moved_wh=receipt.grid_moved_wh if receipt else None,
            battery_moved_wh=receipt.battery_moved_wh if receipt else None,
            deal_current_a=share.current_a if share and not self.is_off else 0.0,
            soc_ratio=soc_ratio,
        )

    # --- inside: what may be ordered -------------------------------------------------------------

    def _why_not(
        self, request: ControlRequest, direction: Direction | None
    ) -> ControlReply | None:
        def refuse(error: ControlError, message: str) -> ControlReply:
            return ControlReply(error=error, message=message)

        operation = request.operation
        if self._stop_reason and operation is not _Op.WAIT:
            return refuse(ControlError.NOT_DEALING, f"is stopping: {self._stop_reason}")
        if operation in (_Op.WAIT, _Op.HOLD):
            return None
        if request.hold_ns <= 0:
            return refuse(ControlError.OUT_OF_RANGE, "hold_s must be above 0 s")
        is_other = direction is None or operation is not direction.control_operation
        if operation in _CURRENTS and is_other:
            return refuse(
                ControlError.OTHER_DIRECTION, f"its part in the deal is not to {operation.name}"
            )
        if operation in _OF_THE_REFERENCE and not self._is_reference:
            return refuse(ControlError.OUT_OF_RANGE, "it is not the voltage reference")
        if operation in (_Op.CHARGE, _Op.DISCHARGE, _Op.CURRENT):
            reason = self._why_not_current(request)
            if reason:
                return refuse(ControlError.OUT_OF_RANGE, reason)
        voltage_v = request.grid_voltage_v
        if operation is _Op.WILL_TAKE_OVER and voltage_v is None:
            voltage_v = self.reading.grid_voltage_v
        if operation in _TAKES_VOLTAGE or operation is _Op.WILL_TAKE_OVER:
            low_v, high_v = self.policy.grid_voltage_min_v, self.policy.grid_voltage_max_v
            if voltage_v is None or not low_v <= voltage_v <= high_v:
                return refuse(
                    ControlError.OUT_OF_RANGE,
                    f"grid_voltage_v is {voltage_v}; it must be within {low_v:g}..{high_v:g} V",
                )
        if operation is _Op.VOLTAGE_REFERENCE:
            reason = self._bus_in_the_way()
            if reason:
                return refuse(ControlError.BUS_ENERGISED, reason)
        return None

    def _why_not_current(self, request: ControlRequest) -> str:
        capacity_a, current_a = self._hardware.grid_current_capacity_a, request.grid_current_a
        may_be_zero = self._is_reference and request.operation is _Op.CURRENT
        if current_a is None or not (current_a > 0.0 or (may_be_zero and current_a == 0.0)):
            return f"grid_current_a is {current_a}; it must be above 0 A"
        others_a = sum(s.current_a for s in self._shares.values() if s.deal_id != request.deal_id)
        if others_a + current_a > capacity_a + _SAME_A:
            others = f" beside {others_a:g} A for other deals" if others_a else ""
            return f"grid_current_a is {current_a:g}{others}; it must be <= {capacity_a:g} A"
        return ""

    def _bus_in_the_way(self) -> str:
        """Why the bus forbids a first reference.

        Another source holds it, or it sits in the under-voltage lock-out band.
        """
        if self.reading.mode is ConverterMode.VOLTAGE_REFERENCE:
            return ""
        bus_v = self.reading.grid_voltage_v
        if bus_v is None:
            return "the bus voltage has not been read"
        policy = self.policy
        dead_v = policy.grid_voltage_min_v + 2.0 * policy.grid_voltage_separation_v
        if bus_v > dead_v:
            return f"the bus is at {bus_v:.1f} V, above {dead_v:g} V: another source holds it"
        if abs(bus_v - policy.grid_voltage_min_v) <= policy.grid_uvlo_mask_v:
            return f"the bus is at {bus_v:.1f} V, in the under-voltage lock-out band"
        return ""

    # --- inside: what is ordered -----------------------------------------------------------------

    def _hold(
        self,
        share: _Share | None,
        request: ControlRequest,
        answer: tuple[Requester, ControlRequest],
    ) -> list[Effect]:
        if share is None or self.is_off:
            return self._command(ConverterOrder(operation=ConverterOperation.READ), answer)
        if request.energy_limit_wh is not None:
            share.limit_wh = request.energy_limit_wh
            self.ledger.limit(share.deal_id, share.limit_wh)
        self._refine_limits()
        return self._command(self._order(ConverterOperation.HOLD, share), answer)

    def _carry(
        self, request: ControlRequest, answer: tuple[Requester, ControlRequest] | None
    ) -> list[Effect]:
        """Let the converter carry the sum of the shares."""
        share = self._shares[request.deal_id]
        if self._is_reference:
            return self._command(ConverterOrder(operation=ConverterOperation.READ), answer)
        total_a = self._total_a
        mode = share.direction.converter_mode
        if self.reading.mode is mode and self._base_wh is not None:
            order = self._order(ConverterOperation.CURRENT, share)
            return self._command(replace(order, grid_current_a=total_a), answer)
        return self._change_mode(mode, request, total_a, answer)

    def _change_mode(
        self,
        mode: ConverterMode,
        request: ControlRequest,
        total_a: float,
        answer: tuple[Requester, ControlRequest] | None,
    ) -> list[Effect]:
        policy = self.policy
        until_wh, next_a = self._next_end()
        order = ConverterOrder(
            operation=ConverterOperation.MODE,
            mode=mode,
            grid_voltage_v=(
                policy.grid_voltage_max_v
                if mode is ConverterMode.DISCHARGE
                else policy.grid_voltage_v
            ),
            grid_current_a=total_a,
            # while it is on its counters move on until the order arrives
            energy_limit_wh=until_wh if self.is_off else None,
            next_current_a=next_a if self.is_off else None,
            hold_s=self._driver_hold_s,
            term=request.term,
            grid_master_id=request.grid_master_id,
            deal_id=request.deal_id,
        )
        return self._command(order, answer)

    def _reference_order(self, request: ControlRequest) -> ConverterOrder:
        operation = request.operation
        voltage_v = request.grid_voltage_v
        order = ConverterOrder(
            operation=ConverterOperation.VOLTAGE,
            grid_voltage_v=voltage_v,
            hold_s=self._driver_hold_s,
            term=request.term,
            grid_master_id=request.grid_master_id,
            deal_id=request.deal_id,
        )
        if operation is _Op.WILL_HAND_OVER:
            return replace(order, droop_ratio=self._hardware.droop_ratio)
        if operation in (_Op.VOLTAGE, _Op.DID_TAKE_OVER):
            return order
        self._is_reference = True
        self._let_leave()  # no current is ordered any more
        is_first = operation is _Op.VOLTAGE_REFERENCE
        return replace(
            order,
            operation=ConverterOperation.MODE,
            mode=ConverterMode.VOLTAGE_REFERENCE,
            grid_voltage_v=self.reading.grid_voltage_v if voltage_v is None else voltage_v,
            grid_current_a=self._hardware.grid_current_capacity_a,
            droop_ratio=0.0 if is_first else self._hardware.droop_ratio,
        )

    def _hand_over(
        self, request: ControlRequest, answer: tuple[Requester, ControlRequest]
    ) -> list[Effect]:
        """Another unit holds the voltage now: go back to the currents of our deals."""
        self._is_reference = False
        for share in [s for s in self._shares.values() if s.current_a == 0.0]:
            self._drop(share.deal_id)
        if not self._shares:
            return self._command(TO_WAIT, answer)
        share = self._newest
        total_a = self._total_a
        return self._change_mode(share.direction.converter_mode, request, total_a, answer)

    def _leave(
        self, deal_id: str, answer: tuple[Requester, ControlRequest] | None
    ) -> list[Effect]:
        """Take a share off (all of them if no deal is named)."""
        leaving = [deal_id] if deal_id else list(self._shares)
        for key in leaving:
            share = self._shares.pop(key, None)
            if self._is_reference:
                self.ledger.freeze(key)  # what flows through it now is the others'
            elif share is not None and not self.is_off:
                self._shares_ramping_down[key] = share
        if not self._shares:
            self._is_reference = False
            # as an order of our own it is obeyed whatever terms the driver has seen
            return self._command(TO_WAIT, answer)
        if self._is_reference or self.is_off:
            return self._command(ConverterOrder(operation=ConverterOperation.READ), answer)
        return self._lower(answer)

    def _lower(self, answer: tuple[Requester, ControlRequest] | None = None) -> list[Effect]:
        """Order no more than what those that stay want.

        Until the driver has obeyed, it still flows for those that leave.
        """
        self._lower_again_ns = NEVER_NS
        order = self._order(ConverterOperation.CURRENT, self._newest)
        effects = self._command(replace(order, grid_current_a=self._total_a), answer)
        self._lowering.add(Origin(Asker.CONVERTER_MANAGER, self._count))
        return effects

    @property
    def _total_a(self) -> float:
        return sum(share.current_a for share in self._shares.values())

    @property
    def _is_lowered(self) -> bool:
        """Whether the driver is known to carry no more than it should."""
        if self.is_off:
            return True
        setpoint_a = self.reading.grid_current_setpoint_a
        return not self._lowering and (
            setpoint_a is None or setpoint_a <= self._total_a + _SETPOINT_ERROR_A
        )

    def _let_leave(self) -> None:
        """What has left is counted no more."""
        for deal_id in self._shares_ramping_down:
            if deal_id not in self._shares:
                self.ledger.freeze(deal_id)
        self._shares_ramping_down.clear()
        self._lower_again_ns = NEVER_NS

    def _drop(self, deal_id: str) -> None:
        self._shares.pop(deal_id, None)
        self.ledger.freeze(deal_id)

    def _drop_all(self) -> None:
        self._shares.clear()
        self._is_reference = False

    def _own_meter_limit(self, deal: Deal, direction: Direction) -> OwnMeterLimit | None:
        counts = direction is self.policy.metering_side
        return OwnMeterLimit(deal.energy_wh, deal.meter) if counts else None

    def _refine_limits(self) -> None:
        """Of the deals that our own meter counts, we know best where they end."""
        for share in self._shares.values():
            receipt = self.ledger.receipt(share.deal_id)
            if share.counted_by is None or receipt is None:
                continue
            limit_wh = share.counted_by.limit_wh(receipt)
            if limit_wh is not None:
                share.limit_wh = limit_wh
                self.ledger.limit(share.deal_id, limit_wh)

    def _end_full_shares(self) -> list[Effect]:
        """A share that has reached its limit is over; the others go on."""
        if self._is_reference or self.is_off or len(self._shares) < 2:
            return []
        full = [
            share.deal_id
            for share in self._shares.values()
            if share.limit_wh is not None
            and self.ledger.moved_wh(share.deal_id) >= share.limit_wh - _SAME_WH
        ]
        effects: list[Effect] = []
        for deal_id in full[: len(self._shares) - 1]:
            self._limit_reached_ids.add(deal_id)
            effects = self._leave(deal_id, None)
        return effects

    def _order(self, operation: ConverterOperation, share: _Share) -> ConverterOrder:
        """An order to a converter that is on, with where the first of its shares ends."""
        until_wh, next_a = self._next_end()
        limit_wh = None
        if not self._is_reference and until_wh is not None and self._base_wh is not None:
            moved_wh = _counters_wh(self.reading) - self._base_wh
            limit_wh = max(moved_wh + until_wh, 1e-6)
        return ConverterOrder(
            operation=operation,
            energy_limit_wh=limit_wh,
            next_current_a=next_a if limit_wh is not None else None,
            hold_s=self._driver_hold_s,
            term=share.term,
            grid_master_id=share.grid_master_id,
            deal_id=share.deal_id,
        )

    def _next_end(self) -> tuple[float | None, float | None]:
        """What still flows until the first share ends, and the current after that. [Wh, A]"""
        total_a = self._total_a
        ends = [
            (
                max(share.limit_wh - self.ledger.moved_wh(share.deal_id), 0.0) / share.current_a,
                share,
            )
            for share in self._shares.values()
            if share.limit_wh is not None and share.current_a > 0.0
        ]
        if not ends:
            return None, None
        first_wh_per_a = min(wh_per_a for wh_per_a, _ in ends)
        # those that would end while the current still runs down for the first end with it
        soon_wh_per_a = first_wh_per_a + wh_from_w(self.policy.grid_voltage_v, _TOGETHER_NS)
        next_a = total_a
        for wh_per_a, share in ends:
            if wh_per_a <= soon_wh_per_a:
                next_a -= share.current_a
                early_wh = (wh_per_a - first_wh_per_a) * share.current_a
                share.limit_wh = (share.limit_wh or 0.0) - early_wh
                self.ledger.limit(share.deal_id, share.limit_wh)
        until_wh = max(first_wh_per_a * total_a, _SAME_WH)
        return until_wh, next_a if next_a > _SAME_A else None

    def _note_answer(self, has_come: bool, now_ns: int) -> None:
        """Until the driver has answered once, WAIT is said again, whatever a reading shows: that
        readings come does not mean that orders arrive.
        """
        self.has_answered = self.has_answered or has_come
        if not self._stop_reason:
            self._next_stop_ns = NEVER_NS if self.has_answered else now_ns + self._retry_ns

    def _go_on_stopping(self, now_ns: int) -> list[Effect]:
        if not self._stop_reason and self.has_answered:
            self._next_stop_ns = NEVER_NS
            return []
        self._next_stop_ns = now_ns + self._retry_ns
        holds_bus = self.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        carries = abs(self.reading.grid_current_a or 0.0) > _NO_CURRENT_A
        if holds_bus and carries and now_ns < self._stop_now_ns:
            self._next_stop_ns = min(self._next_stop_ns, self._stop_now_ns)
            return self.read()
        self._revoked_share = None
        return self._command(TO_WAIT)

    def _command(
        self, order: ConverterOrder, answer: tuple[Requester, ControlRequest] | None = None
    ) -> list[Effect]:
        self._count += 1
        origin = Origin(Asker.CONVERTER_MANAGER, self._count)
        self._open_orders.add(origin)
        if answer is not None:
            self._answers[origin] = answer
        if order.operation is ConverterOperation.MODE:
            if self._base_wh is not None:
                self._previous_counter_base = self._base_wh, self.reading.mode
            self._base_wh = None
            if order.mode is not ConverterMode.WAIT:
                self._mode_orders.add(origin)
        return [Command(origin, order)]


def _counters_wh(reading: ConverterReading) -> float:
    """Both counters of the bus terminal together. [Wh]"""
    return (reading.grid_charged_wh or 0.0) + (reading.grid_discharged_wh or 0.0)
