"""What the newest reading of the own converter asks for (the protocol, 10.3 and 10.4)."""

from __future__ import annotations

from collections.abc import Callable

from apis_core.converter.limits import dynamic_violation, mode_violation, static_violation
from apis_core.events import Effect
from apis_core.model.debounce import Debounce
from apis_core.model.types import Alarm, ConverterMode, OperationMode, StopCause
from apis_core.model.units import s_from_ns
from apis_core.unit.unit_state import UnitState

__all__ = ["SelfMonitor"]


class SelfMonitor:
    """Checks the readings of one unit's own converter.

    Args:
        state: The unit's state.
        raise_fault: Takes the code and the words of a fault of this unit, and the present time;
            returns what follows, nothing if it is known already.
    """

    def __init__(
        self, state: UnitState, raise_fault: Callable[[str, str, int], list[Effect]]
    ) -> None:
        self._state = state
        self._raise_fault = raise_fault
        self._debounce, self._mode_debounce = self._debounces()
        # a heavy alarm has been told, and is acknowledged once an operator has said Run
        self._awaits_run = False
        self._cleared_ns = 0  # by when the acknowledged alarm is gone

    def _debounces(self) -> tuple[Debounce, Debounce]:
        """For what a meter may show for a moment, and for a mode, which has no noise."""
        timing = self._state.timing
        return Debounce(timing.debounce_ns), Debounce(timing.retry_ns)

    def take_rules(self) -> None:
        """Judge by another policy from now: what was amiss until now is seen anew."""
        self._debounce, self._mode_debounce = self._debounces()

    def look(self, now_ns: int) -> list[Effect]:
        """Look at the newest reading: hard limits stop at once, without asking anybody."""
        state = self._state
        reading = state.converter.reading
        effects: list[Effect] = []
        broken = static_violation(reading, state.hardware)
        if broken is not None:
            effects += state.converter.stop(broken[1], now_ns, at_once=True)
            if reading.alarm is Alarm.HEAVY:
                effects += self._heed_alarm(*broken, now_ns)
            else:
                effects += self._raise_fault(*broken, now_ns)
        else:
            effects += self._check_obedience(now_ns)
        if state.forget_battery(now_ns):
            seconds = s_from_ns(state.timing.battery_ns)
            why = f"its battery has not told its state of charge for {seconds:g} s"
            effects += self._raise_fault("battery_silent", why, now_ns)
        amiss = state.converter.ledger.take_amiss()
        if amiss:
            effects += self._raise_fault("energy_counter_amiss", amiss, now_ns)
        has_tripped = reading.mode is ConverterMode.WAIT and reading.stop_cause is StopCause.TRIP
        if has_tripped and state.interlock.held(reading.deal_id) is not None:
            effects += self._raise_fault("converter_trip", reading.stop_detail, now_ns)
        return effects

    def _heed_alarm(self, code: str, message: str, now_ns: int) -> list[Effect]:
        """Tell of a heavy alarm; it is a person who acknowledges it, by Run."""
        state = self._state
        if code in state.faults.codes():
            self._awaits_run = True
        elif self._awaits_run:
            self._awaits_run = False
            self._cleared_ns = now_ns + 2 * state.timing.debounce_ns
            return state.converter.acknowledge()
        elif now_ns >= self._cleared_ns:
            self._awaits_run = True
            return self._raise_fault(code, message, now_ns)
        return []

    def _check_obedience(self, now_ns: int) -> list[Effect]:
        """Whether the converter does what it was told, and that for somebody."""
        state, converter = self._state, self._state.converter
        is_going = converter.is_stopping or converter.is_ramping_down(now_ns)
        if state.modes.effective is OperationMode.MANUAL or is_going:
            self._debounce.keep_only(())
            self._mode_debounce.keep_only(())
            return []
        reading = converter.reading
        seen = dynamic_violation(
            reading,
            state.hardware,
            state.policy,
            is_voltage_masked=converter.is_voltage_masked(now_ns),
        )
        foreign = mode_violation(
            reading.mode, converter.directions, is_reference=converter.is_reference_ordered
        )
        violations = [violation for violation in (seen, foreign) if violation is not None]
        self._debounce.keep_only([code for code, _ in violations])
        effects = self._stop_foreign_mode(foreign, now_ns)
        for code, message in violations:
            if self._debounce.is_real(code, reading.stamp_ns, now_ns):
                effects += self._raise_fault(code, message, now_ns)
                if not converter.directions:
                    effects += converter.stop(message, now_ns)
        return effects

    def _stop_foreign_mode(self, found: tuple[str, str] | None, now_ns: int) -> list[Effect]:
        """Stop a converter that has a share, but is in a mode that nobody ordered.

        It may be a second voltage reference, so it does not wait for a bus without current.
        """
        converter = self._state.converter
        reading = converter.reading
        is_known = reading.mode is not ConverterMode.UNKNOWN  # else it may be as ordered
        if found is None or not converter.directions or not is_known:
            self._mode_debounce.keep_only(())
            return []
        if not self._mode_debounce.is_real(found[0], reading.stamp_ns, now_ns):
            return []
        news = self._raise_fault(*found, now_ns)
        return [*news, *converter.stop(found[1], now_ns, at_once=True)]
