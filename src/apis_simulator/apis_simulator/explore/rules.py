"""What must hold in every state, whatever happened."""

from __future__ import annotations

from apis_core.converter.driver_contract import is_wait
from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReply
from apis_core.model.types import ConverterError
from apis_core.model.units import s_from_ns
from apis_simulator.explore.converters import Converter, is_stiff
from apis_simulator.explore.draft import Draft
from apis_simulator.explore.settings import DRIVER_HOLD_S, OFF_AFTER_NS, UNITS
from apis_simulator.explore.state import State
from apis_simulator.explore.units import DEAD, Units
from apis_simulator.invariants import Violation

__all__ = ["RULES", "Rules"]

RULES = {
    1: "at most one stiff voltage reference",
    2: "what is on has an owner and a time limit",
    3: "the converter of a dead process is off within its hold time",
    4: "a converter obeys one grid master per term, and never goes back to an older term",
    5: "at most one grid master, and one per term",
    6: "nobody books more than has flowed",
    7: "the core does not fall over",
}
_STRAY_WH = 0.3  # at most is booked for what a driver's last reading did not show


class Rules:
    """Checks a state; keeps nothing itself.

    Args:
        units: Their states.
    """

    def __init__(self, units: Units) -> None:
        self._units = units

    def obeyed(
        self, draft: Draft, unit: int, order: ConverterOrder, reply: ConverterReply
    ) -> None:
        """A converter was given an order; note whose it is.

        Raises:
            Violation: It obeyed two grid masters.
        """
        is_obeyed = reply.error is ConverterError.NONE and not is_wait(order)
        if not is_obeyed or order.operation is ConverterOperation.READ:
            return
        term, giver_id = draft.gave[unit]
        if order.term < term:
            raise Violation(4, f"{UNITS[unit]} obeys term {order.term} after {term}")
        if order.term == term and giver_id not in ("", order.grid_master_id):
            text = f"{UNITS[unit]} obeys {giver_id} and {order.grid_master_id} in term {term}"
            raise Violation(4, text)
        draft.gave[unit] = order.term, order.grid_master_id

    def note_leaders(self, draft: Draft) -> None:
        """Note who leads.

        Raises:
            Violation: Two do, or have in one term.
        """
        states = self._units.states
        leading = [
            (states[known].leads_term, unit)
            for unit, known in enumerate(draft.units)
            if known != DEAD and states[known].leads_term
        ]
        if len(leading) > 1:
            names = " and ".join(f"{UNITS[unit]} (term {term})" for term, unit in leading)
            raise Violation(5, f"{names} both lead")
        for term, unit in leading:
            if (term, unit) not in draft.leaders:
                for before, other in draft.leaders:
                    if before == term:
                        raise Violation(5, f"{UNITS[other]} and {UNITS[unit]} lead in term {term}")
                draft.leaders = (*draft.leaders, (term, unit))

    def check(self, state: State) -> None:
        """Look at a state.

        Raises:
            Violation: A rule does not hold.
        """
        events = self._units.events
        on = [events[number] for number in state.converters]
        stiff = [UNITS[i] for i, converter in enumerate(on) if is_stiff(converter)]
        if len(stiff) > 1:
            raise Violation(1, f"{' and '.join(stiff)} both hold the bus, without droop")
        for index, converter in enumerate(on):
            if converter.is_on:
                self._check_owner(state, index, converter)
        for index, converter in enumerate(on):
            moved_wh = converter.charged_wh + converter.discharged_wh
            booked_wh = state.booked_wh[index]
            if booked_wh > moved_wh + _STRAY_WH:
                text = f"{UNITS[index]} has booked {booked_wh:.2f} Wh of {moved_wh:.2f} Wh"
                raise Violation(6, text)

    def _check_owner(self, state: State, index: int, converter: Converter) -> None:
        unit_id = UNITS[index]
        if not 0 <= s_from_ns(converter.hold_ns) <= DRIVER_HOLD_S:
            raise Violation(2, f"{unit_id} is {converter.mode.name} without a time limit")
        if state.dead_ns[index] > OFF_AFTER_NS:
            dead_s = s_from_ns(state.dead_ns[index])
            text = f"{unit_id} is {converter.mode.name}, {dead_s:g} s after its process died"
            raise Violation(3, text)
        if state.ruled_ns[index] > self._units.settings.unowned_ns:
            alone_s = s_from_ns(state.ruled_ns[index])
            text = (
                f"{unit_id} is {converter.mode.name}; no grid master has spoken for {alone_s:g} s"
            )
            raise Violation(2, text)
