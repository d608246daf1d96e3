"""Orders the converter of a unit to carry the sum of its shares, or to hold the bus voltage."""

from __future__ import annotations

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.converter.commands import (
    READ,
    AskedOrder,
    NextEnd,
    OpenCommands,
    counted_wh,
    current_order,
    mode_order,
    reference_order,
    renewal,
)
from apis_core.converter.driver_contract import TO_WAIT
from apis_core.converter.shares import Share, Shares
from apis_core.events import Effect
from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReading
from apis_core.model.types import ConverterMode
from apis_core.model.units import NEVER_NS

__all__ = ["OrderExecution"]

_SETPOINT_ERROR_A = 0.05  # of a driver that tells its setpoint in coarse steps


class OrderExecution:
    """Turns the orders of a grid master, and the ends of shares, into commands to the driver.

    Args:
        policy: The policy of the cluster.
        hardware: What the unit's battery and converter can bear.
        hold_s: Hold time given to the driver. [s]

    Attributes:
        reading: The newest reading of the converter.
        policy: The policy of the cluster.
        hardware: What the unit's battery and converter can bear.
        shares: What the deals have of the converter's current.
        commands: What the driver has not answered.
        is_reference: Whether the converter is ordered to hold the voltage; the reading follows.
        lower_again_ns: When the current is to be ordered down once more.
    """

    def __init__(self, policy: Policy, hardware: Hardware, hold_s: float) -> None:
        self.reading = ConverterReading()
        self.policy = policy
        self.hardware = hardware
        self.shares = Shares()
        self.commands = OpenCommands()
        self.is_reference = False
        self.lower_again_ns = NEVER_NS
        self._hold_s = hold_s
        self._base_wh: float | None = None  # the counters when the driver's limit began to count
        # the same before the last change of mode was ordered, and the mode of that time
        self._previous_counter_base: tuple[float | None, ConverterMode] = (
            None,
            ConverterMode.UNKNOWN,
        )

    @property
    def is_off(self) -> bool:
        """Whether the converter is known to be in WAIT."""
        return self.reading.mode is ConverterMode.WAIT

    @property
    def is_lowered(self) -> bool:
        """Whether the driver is known to carry no more than it should."""
        if self.is_off:
            return True
        setpoint_a = self.reading.grid_current_setpoint_a
        return not self.commands.is_lowering and (
            setpoint_a is None or setpoint_a <= self.shares.total_a + _SETPOINT_ERROR_A
        )

    @property
    def is_reference_ordered(self) -> bool | None:
        """Whether our orders have made it the voltage reference; None = they may have."""
        modes = self.commands.possible_modes
        if ConverterMode.VOLTAGE_REFERENCE not in modes:
            return False
        return True if len(modes) == 1 else None

    def begin_count(self, reading: ConverterReading) -> None:
        """Take note that the driver has changed its mode: its limit counts from here."""
        self._base_wh = counted_wh(reading)

    def follow_mode(self, reading: ConverterReading) -> None:
        """Believe a reading: an order to become the reference, or to be it no more, may have come
        to nothing.
        """
        holds_voltage = reading.mode is ConverterMode.VOLTAGE_REFERENCE
        self.is_reference = holds_voltage and self.is_reference_ordered is not False
        if self._base_wh is None and not self.is_reference:
            base_wh, mode = self._previous_counter_base
            if mode is not reading.mode or base_wh is None:  # obeyed, but the answer was lost
                base_wh = counted_wh(reading)
            self._base_wh = base_wh

    def hold(self, share: Share | None, asked: AskedOrder) -> list[Effect]:
        """Go on for a deal, with the end that the grid master knows for it."""
        if share is None or self.is_off:
            return self.command(READ, asked)
        if asked.request.energy_limit_wh is not None:
            self.shares.limit(share, asked.request.energy_limit_wh)
        self.shares.refine_limits()
        return self.command(self.renewal(share), asked)

    def hold_voltage(self, asked: AskedOrder) -> list[Effect]:
        """Hold the voltage of the bus, or move it."""
        bus_v = self.reading.grid_voltage_v
        order = reference_order(asked.request, self.hardware, bus_v, self._hold_s)
        if order.operation is ConverterOperation.MODE:
            self.is_reference = True
            self.forget_ramping_down()  # no current is ordered any more
        return self.command(order, asked)

    def carry(self, asked: AskedOrder) -> list[Effect]:
        """Let the converter carry the sum of the shares."""
        share = self.shares.get(asked.request.deal_id)
        if share is None or self.is_reference:
            return self.command(READ, asked)
        mode = share.direction.converter_mode
        if self.reading.mode is mode and self._base_wh is not None:
            return self.command(self._current_order(share), asked)
        return self._change_mode(mode, asked)

    def _change_mode(self, mode: ConverterMode, asked: AskedOrder) -> list[Effect]:
        end = self._next_end()
        if not self.is_off:
            end = None, None  # its counters move on until the order arrives
        total_a, hold_s = self.shares.total_a, self._hold_s
        order = mode_order(mode, asked.request, total_a, end, self.policy, hold_s)
        return self.command(order, asked)

    def hand_over(self, asked: AskedOrder) -> list[Effect]:
        """Another unit holds the voltage now: go back to the currents of our deals."""
        self.is_reference = False
        for share in [share for share in self.shares if share.current_a == 0.0]:
            self.shares.drop(share.deal_id)
        newest = self.shares.newest
        if newest is None:
            return self.command(TO_WAIT, asked)
        return self._change_mode(newest.direction.converter_mode, asked)

    def leave(self, deal_id: str, asked: AskedOrder | None) -> list[Effect]:
        """Take a share off (all of them if no deal is named)."""
        leaving = (deal_id,) if deal_id else self.shares.deal_ids
        for key in leaving:
            # what flows through a reference now is the others'
            counts, flows = not self.is_reference, not self.is_off
            self.shares.take_off(key, is_counted=counts, ramps_down=flows)
        if not self.shares:
            self.is_reference = False
            # as an order of our own it is obeyed whatever terms the driver has seen
            return self.command(TO_WAIT, asked)
        if self.is_reference or self.is_off:
            return self.command(READ, asked)
        return self.lower(asked)

    def lower(self, asked: AskedOrder | None = None) -> list[Effect]:
        """Order no more than what those that stay want.

        Until the driver has obeyed, it still flows for those that leave.
        """
        self.lower_again_ns = NEVER_NS
        newest = self.shares.newest
        if newest is None:
            return []
        return [self.commands.give(self._current_order(newest), asked, is_lowering=True)]

    def tell_limit(self) -> list[Effect]:
        """Tell the driver where its limit is: its counters may have moved on while it began."""
        newest = self.shares.newest
        if newest is None or self.is_reference or self.is_off:
            return []
        return self.command(self.renewal(newest))

    def forget_ramping_down(self) -> None:
        """Count what has left no more."""
        self.shares.forget_ramping_down()
        self.lower_again_ns = NEVER_NS

    def end_full_shares(self) -> list[Effect]:
        """End the shares that have reached their limits; the others go on."""
        if self.is_reference or self.is_off:
            return []
        effects: list[Effect] = []
        for deal_id in self.shares.end_full():
            effects = self.leave(deal_id, None)
        return effects

    def _next_end(self) -> NextEnd:
        return self.shares.next_end(self.policy.grid_voltage_v)

    @property
    def _moved_wh(self) -> float | None:
        """What the driver has counted for its limit; None = not known, or it has none. [Wh]"""
        if self.is_reference or self._base_wh is None:
            return None
        return counted_wh(self.reading) - self._base_wh

    def renewal(self, share: Share) -> ConverterOrder:
        """The order to go on as before, in the name of a share."""
        return renewal(share, self._next_end(), self._moved_wh, self._hold_s)

    def _current_order(self, share: Share) -> ConverterOrder:
        total_a, end = self.shares.total_a, self._next_end()
        return current_order(share, total_a, end, self._moved_wh, self._hold_s)

    def command(self, order: ConverterOrder, asked: AskedOrder | None = None) -> list[Effect]:
        """Give an order to the driver; a mode begins the count of its limit anew."""
        if order.operation is ConverterOperation.MODE:
            if self._base_wh is not None:
                self._previous_counter_base = self._base_wh, self.reading.mode
            self._base_wh = None
        return [self.commands.give(order, asked)]
