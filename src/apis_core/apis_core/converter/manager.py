"""The unit's keeping of its own converter: the only path to it.

Each deal that uses the converter has a *share* of its current, ordered by the grid master, and the
converter carries their sum. A share lasts no longer than its hold time: if the grid master does
not renew it, the manager takes it off, and with the last one it stops the converter (a voltage
reference a little later than a current, so that no current is left on a dead bus). Below that, the
driver has a dead man of its own on a steady clock, which :meth:`ConverterManager.renew` feeds only
while the manager lives and some share lasts.

The manager routes what happens to its parts: :mod:`~apis_core.converter.shares` keeps the shares,
:mod:`~apis_core.converter.order_check` says what may be ordered,
:mod:`~apis_core.converter.commands` makes the commands and knows which are open,
:mod:`~apis_core.converter.stop_sequence` says what is ordered to stop.

Size: one line for each thing that can happen; what is to be decided, its parts decide.
"""

from __future__ import annotations

from dataclasses import replace

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.converter.commands import (
    READ,
    AskedOrder,
)
from apis_core.converter.driver_contract import TO_WAIT
from apis_core.converter.energy_ledger import EnergyLedger
from apis_core.converter.order_check import OF_THE_REFERENCE, outcome, why_not
from apis_core.converter.order_execution import OrderExecution
from apis_core.converter.shares import ShareSnapshot
from apis_core.converter.stop_sequence import StopSequence
from apis_core.converter.voltage_moves import MOVE_NS, VoltageMoves
from apis_core.events import Answer, Effect, Log
from apis_core.model.messages import (
    ControlReply,
    ControlRequest,
    ConverterReading,
    ConverterReply,
    Deal,
)
from apis_core.model.origin import Origin, Requester
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
from apis_core.model.units import NEVER_NS, SECOND_NS

__all__ = ["ConverterManager"]


_Op = ControlOperation


class ConverterManager:
    """The unit's only path to its own converter: it orders, reads and stops it.

    Args:
        unit_id: This unit.
        hardware: Its limits.
        policy: The policy of the cluster.
        driver_hold_s: Hold time given to the driver; :meth:`renew` must be called several times
            within it. [s]
        retry_ns: Between two tries to stop a converter that does not confirm.
        late_ns: A reading older than the last by more than this is no latecomer on the network,
            and one that is so much newer comes late: the driver's clock was set.
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
        self._unit_id = unit_id
        self._late_ns = late_ns
        self._orders = OrderExecution(policy, hardware, driver_hold_s)
        self._shares, self._commands = self._orders.shares, self._orders.commands
        self._stop = StopSequence(retry_ns)
        self._moves = VoltageMoves()

    # --- what others see -------------------------------------------------------------------------

    @property
    def reading(self) -> ConverterReading:
        """The newest reading."""
        return self._orders.reading

    @property
    def policy(self) -> Policy:
        """The policy that holds."""
        return self._orders.policy

    @property
    def is_off(self) -> bool:
        """Whether the converter is known to be in WAIT."""
        return self.reading.mode is ConverterMode.WAIT

    @property
    def has_shares(self) -> bool:
        """Whether a deal wants something of it."""
        return bool(self._shares)

    @property
    def has_answered(self) -> bool:
        """Whether the driver has answered any order since this process began."""
        return self._stop.has_answered

    @property
    def is_stopping(self) -> bool:
        """Whether we are stopping it by ourselves."""
        return self._stop.is_under_way

    @property
    def is_reference(self) -> bool:
        """Whether it is ordered to hold the bus voltage."""
        return self._orders.is_reference

    @property
    def is_reference_ordered(self) -> bool | None:
        """Whether our orders have made it the voltage reference; None = they may have."""
        return self._orders.is_reference_ordered

    @property
    def ledger(self) -> EnergyLedger:
        """The accounts of the deals that use it."""
        return self._shares.ledger

    def is_voltage_masked(self, now_ns: int) -> bool:
        """Whether the voltage that it holds is being moved or handed over."""
        return self._moves.is_masked(now_ns)

    def is_ramping_down(self, now_ns: int) -> bool:
        """Whether it held the bus, was told WAIT, and may still be on its way there."""
        is_on = self.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        return is_on and not self._shares and self._moves.is_going_down(now_ns)

    def is_switching_on(self, origin: Origin) -> bool:
        """Whether a command that is unanswered is to take the converter out of WAIT, or change
        what it does.
        """
        command = self._commands.find(origin)
        return command is not None and command.starts_mode

    def works_for(self, deal_id: str) -> bool:
        """Whether the converter is on for this deal, or on for nobody knows what.

        A voltage reference that has obeyed its last WAIT works for nobody, though the bus is still
        going down.
        """
        if self.is_off and not self._commands.is_starting_mode:
            return False  # with one under way it may be on by now
        if not self._shares:
            return not self._moves.winds_down  # what is left to do then is the driver's
        return self._shares.get(deal_id) is not None or deal_id in self._shares.ramping_down

    @property
    def deal_ids(self) -> tuple[str, ...]:
        """Deals that have a share of its current."""
        return self._shares.current_ids

    @property
    def shares(self) -> dict[str, ShareSnapshot]:
        """What each deal uses of it, by id."""
        return self._shares.snapshot()

    @property
    def directions(self) -> set[Direction]:
        """Directions in which deals use the converter now."""
        return self._shares.directions

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        if not self._shares:
            return self._stop.wake_ns
        return min(
            self._shares.first_end_ns,
            self._stop.wake_ns,
            self._orders.lower_again_ns,
            self._moves.shared_until_ns,
        )

    # --- orders of the grid master ---------------------------------------------------------------

    def obey(
        self, requester: Requester, request: ControlRequest, deal: Deal | None, now_ns: int
    ) -> list[Effect]:
        """Carry out a lawful order; the answer follows when the converter has spoken.

        Args:
            requester: Whom to answer.
            request: Anything but ACQUIRE and RELEASE.
            deal: The deal that holds the slot; None for a WAIT of the whole unit.
            now_ns: Present time.
        """
        direction = deal.direction_of(self._unit_id) if deal is not None else None
        refusal = why_not(
            request,
            direction,
            self._shares,
            self.reading,
            self.policy,
            self._orders.hardware,
            is_reference=self._orders.is_reference,
            stop_reason=self._stop.reason,
        )
        if refusal is not None:
            return [Answer(requester, replace(refusal, reading=self.reading))]
        asked = AskedOrder(requester, request)
        operation, deal_id = request.operation, request.deal_id
        if operation is _Op.WAIT:
            is_last = not deal_id or set(self._shares.deal_ids) <= {deal_id}
            if self._orders.is_reference and is_last:
                self._moves.go_down(now_ns)
            return self._orders.leave(deal_id, asked)
        self._moves.hear_order(request, now_ns)
        share = self._shares.get(deal_id)
        if share is not None:
            share.until_ns = now_ns + request.hold_ns
            share.term, share.grid_master_id = request.term, request.grid_master_id
        if operation in (_Op.HOLD, _Op.ADOPT):
            return self._orders.hold(share, asked)
        if operation is _Op.DID_HAND_OVER:
            return self._orders.hand_over(asked)
        if operation not in OF_THE_REFERENCE and deal is not None and direction is not None:
            self._shares.give(request, deal, direction, self.policy, now_ns)
            self._moves.winds_down = False
            self._stop.last_reason = ""
            if operation not in (_Op.VOLTAGE_REFERENCE, _Op.WILL_TAKE_OVER):
                return self._orders.carry(asked)
        is_first = operation is _Op.VOLTAGE_REFERENCE
        moves_ns = self.policy.ramp_up_timeout_ns if is_first else MOVE_NS
        self._moves.begin(now_ns + max(request.hold_ns, moves_ns))
        return self._orders.hold_voltage(asked)

    def renew(self, now_ns: int) -> list[Effect]:
        """Feed the driver's dead man, if the converter is rightly on."""
        share, until_ns = self._shares.newest, self._shares.last_end_ns
        if self._stop.revoked is not None:
            # a reference that is to go, but not before the current
            share, until_ns = self._stop.revoked, self._stop.due_ns
        if share is None or now_ns >= until_ns or self.is_off:
            return []
        self._shares.refine_limits()
        return self._orders.command(self._orders.renewal(share))

    def leave(self, deal_id: str, reason: str, now_ns: int) -> list[Effect]:
        """Take a deal's share off by our own will; with the last one the converter stops."""
        if self.is_stopping or (self.is_off and not self._commands.is_starting_mode):
            return []
        if any(share.deal_id != deal_id for share in self._shares):
            return self._orders.leave(deal_id, None)
        return self.stop(reason, now_ns)

    def close(self, deal_id: str) -> Receipt:
        """Forget a deal that the converter has left; returns what it moved."""
        return self._shares.close(deal_id)

    def take_rules(self, policy: Policy, hardware: Hardware, retry_ns: int, late_ns: int) -> None:
        """Another policy, or another hwConfig, holds from now; the converter is off."""
        self._orders.policy, self._orders.hardware = policy, hardware
        self._stop.retry_ns, self._late_ns = retry_ns, late_ns

    # --- our own will ----------------------------------------------------------------------------

    def stop(
        self, reason: str, now_ns: int, *, at_once: bool = False, is_routine: bool = False
    ) -> list[Effect]:
        """Bring the converter to WAIT, and keep trying until it is there.

        A voltage reference waits until its bus carries no current, at most the policy's scram
        delay, unless ``at_once``. It is told as a warning, unless it ``is_routine``.
        """
        if self.is_stopping and at_once and now_ns < self._stop.due_ns:
            self._stop.due_ns = now_ns
            return self._go_on_stopping(now_ns)
        if self.is_stopping or (self.is_off and not self._shares):
            return []
        delay_ns = 0 if at_once else self.policy.scram_reference_delay_ns
        self._stop.begin(reason, self._shares.newest, now_ns + delay_ns)
        self._shares.void_all()
        self._orders.is_reference = False
        log = Log(f"stops its converter: {reason}", is_warning=not is_routine)
        return [log, *self._go_on_stopping(now_ns)]

    def acknowledge(self) -> list[Effect]:
        """Say WAIT to a converter that is off: it clears the alarm that it stopped with."""
        if not self.is_off:
            return []
        return self._orders.command(TO_WAIT)

    def read(self) -> list[Effect]:
        """Ask the driver for a fresh reading."""
        return self._orders.command(READ)

    # --- events ----------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Effect]:
        """Stop what nobody holds any more."""
        effects: list[Effect] = []
        if now_ns >= self._moves.shared_until_ns:
            self._moves.shared_until_ns = NEVER_NS
            if self.reading.mode is ConverterMode.VOLTAGE_REFERENCE:
                why = "nobody finishes the hand-over of the bus"
                effects += self.stop(why, now_ns, at_once=True)
        for expired in self._shares.expired(now_ns):
            if self.is_off:
                self._shares.drop(expired.deal_id)
                continue
            reason = f"{expired.grid_master_id} no longer renews deal {expired.deal_id}"
            effects += self.leave(expired.deal_id, reason, now_ns)
        if now_ns >= self._stop.wake_ns:
            effects += self._go_on_stopping(now_ns)
        if self._shares and now_ns >= self._orders.lower_again_ns:
            effects += self._orders.lower()
        return effects

    def hear_reading(self, reading: ConverterReading, now_ns: int) -> list[Effect]:
        """Take a reading of the converter.

        A reading that was overtaken by a newer one on its way is of no use.
        """
        age_ns = self.reading.stamp_ns - reading.stamp_ns
        if 0 < age_ns < self._late_ns:
            return []
        was_on, self._orders.reading = self.reading.mode.is_active, reading
        self._moves.hear_reading(reading, self.policy.grid_voltage_allowance_v)
        capacity_a = self._orders.hardware.grid_current_capacity_a
        self._shares.ledger.count(reading, capacity_a, self._late_ns)
        if self.is_off and was_on:
            for deal_id in self._shares.deal_ids:
                self._shares.drop(deal_id)  # it stopped by itself; what follows is ordered anew
            self._orders.is_reference = False
        elif self._shares and reading.mode.is_active and not self._commands.is_starting_mode:
            self._orders.follow_mode(reading)
        if self._shares.ramping_down and self._orders.is_lowered:
            self._orders.forget_ramping_down()
        if self.is_off:
            self._stop.note_off(now_ns, is_answer_awaited=bool(self._commands))
        return self._orders.end_full_shares()

    def answered(
        self, origin: Origin, reply: ConverterReply | None, soc_ratio: float | None, now_ns: int
    ) -> list[Effect]:
        """The driver answered a command of ours, or never will (None)."""
        effects: list[Effect] = []
        command = self._commands.pop(origin)
        has_begun_anew = command is not None and command.starts_mode and reply is not None
        if command is not None and reply is not None and reply.error is ConverterError.NONE:
            self._commands.obeyed(command)
        self._stop.note_answer(reply is not None, now_ns)
        if reply is not None and reply.reading is not None:
            if has_begun_anew and reply.error is ConverterError.NONE:
                self._orders.begin_count(reply.reading)
            effects += self.hear_reading(reply.reading, now_ns)
        if has_begun_anew:
            effects += self._orders.tell_limit()
        if self._shares.ramping_down and not self._commands.is_lowering:
            self._orders.lower_again_ns = now_ns + self._stop.retry_ns
        if command is None or command.asked is None:
            return effects
        request = command.asked.request
        error, message = outcome(request, reply)
        holds_bus = self.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        is_wait = request.operation is ControlOperation.WAIT
        if is_wait and error is ControlError.NONE and holds_bus and not self._shares:
            self._moves.winds_down = True
        report = self.report(request.deal_id, soc_ratio, error, message)
        return [*effects, Answer(command.asked.requester, report)]

    def report(
        self,
        deal_id: str,
        soc_ratio: float | None,
        error: ControlError = ControlError.NONE,
        message: str = "",
    ) -> ControlReply:
        """The reply to the grid master: how it went, the reading, and what the deal has moved."""
        receipt = self._shares.ledger.receipt(deal_id)
        reading = self.reading
        if self.is_off and self._stop.last_reason:
            reading = replace(reading, stop_detail=self._stop.last_reason)
        if self._shares.has_reached_limit(deal_id):
            reading = replace(reading, stop_cause=StopCause.ENERGY_REACHED)
        share = self._shares.reported(deal_id)
        return ControlReply(
            error=error,
            message=message,
            reading=reading,
            grid_moved_wh=receipt.grid_moved_wh if receipt else None,
            battery_moved_wh=receipt.battery_moved_wh if receipt else None,
            deal_current_a=share.current_a if share and not self.is_off else 0.0,
            soc_ratio=soc_ratio,
        )

    def _go_on_stopping(self, now_ns: int) -> list[Effect]:
        order = self._stop.next_order(self.reading, now_ns)
        return self._orders.command(order) if order is not None else []
