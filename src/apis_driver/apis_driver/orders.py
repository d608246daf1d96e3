"""What becomes of an order: checked, and carried out in the steps that its converter needs."""

from __future__ import annotations

from apis_core.config.hardware import Hardware
from apis_core.converter.driver_contract import (
    ENERGISED_BUS_V,
    OrderLease,
    Refused,
    SetpointLimits,
    is_wait,
    must_be_up,
)
from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import Alarm, ConverterError, ConverterMode, StopCause
from apis_driver.converter import Converter
from apis_driver.device import SharingPermit
from apis_driver.errors import DeviceError, DeviceTimeout
from apis_driver.rules import GovernorSettings, Times
from apis_driver.sequence import Step, steps_between
from apis_driver.stopping import Stopper

__all__ = ["Orders"]

_STALE_READING_S = 0.2  # a younger one need not be read again for a renewal


class Orders:
    """Obeys orders to one converter.

    Attributes:
        held: What is remembered of those that were obeyed.
    """

    def __init__(
        self,
        converter: Converter,
        stopper: Stopper,
        settings: GovernorSettings,
        hardware: Hardware | None,
        times: Times,
    ) -> None:
        self._converter = converter
        self._stopper = stopper
        self._settings = settings
        self._hardware = hardware
        self._times = times
        self.held = OrderLease()

    @property
    def _setpoint_limits(self) -> SetpointLimits:
        """What the converter can be told, and may be by the hwConfig."""
        rating, hardware = self._converter.device.rating, self._hardware
        most_a = rating.grid_current_max_a
        return SetpointLimits(
            voltage_min_v=rating.grid_voltage_min_v,
            voltage_max_v=rating.grid_voltage_max_v,
            current_max_a=min(most_a, hardware.grid_current_capacity_a) if hardware else most_a,
            droop_max_ratio=rating.droop_max_ratio,
        )

    def obey(self, order: ConverterOrder, permit: SharingPermit | None, deadline_s: float) -> None:
        """Carry out an order, and read the converter after it.

        Args:
            order: Any.
            permit: What the battery allows; None = no battery is asked.
            deadline_s: For all of it.

        Raises:
            Refused: It makes no sense, or not now.
            DeviceError: The device did not do as it was told; if it might be on, it is stopped.
        """
        if order.operation is ConverterOperation.READ:
            self._stopper.look(deadline_s)
            return
        self.held.check(order)
        if is_wait(order):
            self._wait(deadline_s)
        elif order.operation is ConverterOperation.MODE:
            self._change_mode(order, permit, deadline_s)
        else:
            self._adjust(order, deadline_s)
        self.held.take(order, self._times.now_s())
        if not is_wait(order):
            self._stopper.renew_below(self.held.hold_s)
        is_renewal = order.operation is ConverterOperation.HOLD
        try:
            if not is_renewal or self._converter.age_s > _STALE_READING_S:
                self._stopper.look(deadline_s)
        finally:
            if order.operation is ConverterOperation.MODE and not is_wait(order):
                limits = self._setpoint_limits  # counted from the reading on that its reply has
                limit_wh, next_a = limits.energy_limit_wh(order), limits.next_current_a(order)
                self._converter.counter.begin(limit_wh, next_a)

    def _wait(self, deadline_s: float) -> None:
        self._stopper.stop(StopCause.NONE, "")
        if self._stopper.is_unsaid:
            raise DeviceTimeout("WAIT has not been confirmed; it will be said again")
        if self._converter.status.alarm in (Alarm.LIGHT, Alarm.HEAVY):
            self._converter.device.clear_alarms(deadline_s)

    def _adjust(self, order: ConverterOrder, deadline_s: float) -> None:
        """An order to a converter that is on, and stays in its mode."""
        converter, limits = self._converter, self._setpoint_limits
        if not converter.mode.is_active or self._stopper.is_under_way:
            state = "on its way to WAIT" if self._stopper.is_under_way else "WAIT"
            raise Refused(
                ConverterError.WRONG_MODE, f"mode is {state}; only an active converter obeys this"
            )
        if order.operation is ConverterOperation.VOLTAGE:
            if converter.mode is not ConverterMode.VOLTAGE_REFERENCE:
                raise Refused(
                    ConverterError.WRONG_MODE,
                    f"mode is {converter.mode.name}; only a VOLTAGE_REFERENCE obeys this",
                )
            droop_ratio = limits.droop_ratio(order)
            voltage_v = converter.setpoints.grid_voltage_v
            if order.grid_voltage_v is not None or voltage_v is None:
                voltage_v = limits.voltage_v(order)
            converter.set_voltage(voltage_v, droop_ratio, deadline_s)
            return
        limit_wh, next_a = limits.energy_limit_wh(order), limits.next_current_a(order)
        if order.operation is ConverterOperation.CURRENT:
            converter.set_current(limits.current_a(order, converter.mode), deadline_s)
        if limit_wh is not None:  # none = keep the one that there is
            converter.counter.set_limit(limit_wh, next_a)

    # --- changes of the mode ---------------------------------------------------------------------

    def _change_mode(
        self, order: ConverterOrder, permit: SharingPermit | None, deadline_s: float
    ) -> None:
        converter, limits, settings = self._converter, self._setpoint_limits, self._settings
        mode = limits.mode(order)
        current_a = limits.current_a(order, mode)
        limits.energy_limit_wh(order), limits.next_current_a(order)  # refused before any step
        droop_ratio = 0.0
        if mode is ConverterMode.VOLTAGE_REFERENCE:
            voltage_v, droop_ratio = limits.voltage_v(order), limits.droop_ratio(order)
        elif order.grid_voltage_v is not None:
            voltage_v = limits.voltage_v(order)
        elif mode is ConverterMode.DISCHARGE:
            voltage_v = settings.discharge_ceiling_v
        else:
            voltage_v = settings.nominal_voltage_v
        self._stopper.look(deadline_s)  # by what it does now, not by what we remember
        if permit is not None and not permit.allows(mode):
            raise Refused(
                ConverterError.REFUSED,
                f"the battery's permission is {permit.name}; it does not cover {mode.name}",
            )
        self._must_fit_the_bus(mode, droop_ratio)
        if self._stopper.is_under_way:
            raise Refused(ConverterError.WRONG_MODE, "it is on its way to WAIT; ask again")
        steps = steps_between(converter.mode, mode)
        if steps is None:
            raise Refused(
                ConverterError.WRONG_MODE,
                f"from {converter.mode.name} to {mode.name} it must go through WAIT",
            )
        if converter.status.alarm in (Alarm.LIGHT, Alarm.HEAVY):
            converter.device.clear_alarms(deadline_s)
        assert order.hold_s is not None  # it has been checked
        self._stopper.renew_below(order.hold_s)
        converter.ordered = mode
        self._stopper.forget()
        try:
            for step in steps:
                match step:
                    case Step.VOLTAGE:
                        converter.set_voltage(voltage_v, droop_ratio, deadline_s)
                    case Step.CURRENT:
                        converter.set_current(current_a, deadline_s)
                    case Step.MODE:
                        converter.device.set_mode(mode, deadline_s)
                        converter.confirm(mode, deadline_s)
        except DeviceError as failure:
            self._stopper.stop(StopCause.TRIP, f"an order failed in the middle: {failure}")
            raise

    def _must_fit_the_bus(self, mode: ConverterMode, droop_ratio: float) -> None:
        """A first voltage reference needs a dead bus, a take-over or a current one that is up."""
        converter, bus_v = self._converter, self._converter.status.grid_voltage_v
        if mode is ConverterMode.VOLTAGE_REFERENCE:
            if converter.mode is ConverterMode.VOLTAGE_REFERENCE:
                return
            if droop_ratio > 0.0:
                must_be_up(bus_v)
                return
            if bus_v is None:
                raise Refused(ConverterError.REFUSED, "it does not say the voltage of the bus")
            if bus_v > ENERGISED_BUS_V:
                raise Refused(
                    ConverterError.BUS_ENERGISED,
                    f"the bus is at {bus_v:.1f} V; it must be at {ENERGISED_BUS_V:g} V at most, "
                    "or droop_ratio > 0 for a hand-over",
                )
            return
        least_v = converter.device.rating.grid_voltage_min_v
        if bus_v is None or bus_v < least_v:
            found = "not known" if bus_v is None else f"{bus_v:.1f} V"
            raise Refused(
                ConverterError.REFUSED,
                f"the voltage of the bus is {found}, it must be {least_v:g} V or more",
            )
