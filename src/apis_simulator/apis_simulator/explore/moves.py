"""What can happen next in a state, and the state after it.

By itself, everything goes well: what is under way arrives at once and in order, and when nothing
is, time passes until somebody has something to do. Anything else is a fault, and takes from the
budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from apis_core import events as ev
from apis_core.model.messages import (
    BatteryReading,
    ControlRequest,
    Deal,
    DealSubmission,
    GridMasterClaim,
)
from apis_core.model.origin import Asker
from apis_simulator.explore import converters as hardware
from apis_simulator.explore.converters import Converter
from apis_simulator.explore.draft import Draft
from apis_simulator.explore.freezing import EPOCH_NS
from apis_simulator.explore.rules import Rules
from apis_simulator.explore.settings import GRAIN_NS, SOC_RATIO, TICK_NS, UNITS
from apis_simulator.explore.state import Budget, Call, Letter, State
from apis_simulator.explore.units import ALL, DEAD, Out, Units
from apis_simulator.invariants import Violation

__all__ = ["DELIVER", "TIME", "Move", "Moves"]

_NOON = BatteryReading(soc_ratio=SOC_RATIO, seconds_of_day=43_200.0)
_WHOLE = (-1, -1)  # the network
_LINKS = [(a, b) for a in range(len(UNITS)) for b in range(len(UNITS)) if a != b]
_DRIVERS_ASKER = Asker.CONVERTER_MANAGER


class Move(NamedTuple):
    """Something that happens.

    Attributes:
        kind: "deliver", "time"; or a fault: "lose", "twice", "late", "arrive" (of what was late),
            "cut" (of one direction between two units), "heal", "die", "die_inside", "restart".
        which: Index of the unit, the late letter or the link; after how many effects it dies.
    """

    kind: str
    which: int = 0


DELIVER, TIME = Move("deliver"), Move("time")
_LOSE, _TWICE, _LATE = Move("lose"), Move("twice"), Move("late")


class Moves:
    """Makes states from states.

    Args:
        units: Their states and steps.
        rules: What must hold.
    """

    def __init__(self, units: Units, rules: Rules) -> None:
        self.units = units
        self._rules = rules
        self._battery = units.number(ev.BatteryRead(_NOON))
        self._renewal = units.number(ev.RenewalDue())
        self._wake = units.number(ev.Wake())
        self._obeyed: dict[tuple[int, tuple[int, ...], int], tuple[int, int]] = {}
        self._passed: dict[tuple[tuple[int, ...], int], tuple[int, ...]] = {}
        self._readings: dict[tuple[tuple[int, ...], int], int] = {}

    def begin(self, budget: Budget) -> State:
        """All units start in the same moment, with empty journals."""
        count = len(UNITS)
        blank, off = self.units.blank_journal(), self.units.number(Converter())
        nothing = State(
            units=(DEAD,) * count,
            journals=(blank,) * count,
            starts=(0,) * count,
            converters=(off,) * count,
            queue=(),
            late=(),
            calls=(),
            cut=_WHOLE,
            tick_ns=0,
            dead_ns=(0,) * count,
            ruled_ns=(0,) * count,
            gave=((0, ""),) * count,
            leaders=(),
            booked_wh=(0.0,) * count,
            budget=budget,
            elapsed_ns=0,
        )
        draft = Draft(nothing)
        for unit in range(count):
            self._start(draft, unit)
        return draft.done()

    def add(self, state: State, unit: int, event: Any) -> State:
        """Something happens to a unit from outside, such as an operator's wish."""
        letter = Letter(unit, self.units.number(event), may_fail=False)
        return state._replace(queue=(*state.queue, letter))

    # --- what can happen -------------------------------------------------------------------------

    def possible(self, state: State) -> Iterator[Move]:
        """All moves of a state, the one without a fault first."""
        queue, budget = state.queue, state.budget
        yield DELIVER if queue else TIME
        for index in range(len(state.late)):
            if not queue and (index == 0 or state.late[index] != state.late[index - 1]):
                yield Move("arrive", index)
        if not queue and budget.restart:
            for unit, known in enumerate(state.units):
                if known == DEAD:
                    yield Move("restart", unit)
        if not queue and state.cut != _WHOLE:
            yield Move("heal")
        if not budget.faults:
            return
        if budget.cut and not queue and state.cut == _WHOLE:
            for number in range(len(_LINKS)):
                yield Move("cut", number)
        if queue and queue[0].may_fail:
            if budget.lose and not self._is_retained(queue[0]):
                yield _LOSE
            if budget.twice:
                yield _TWICE
            if budget.late:
                yield _LATE
        if budget.die:
            for unit, known in enumerate(state.units):
                if known != DEAD:
                    yield Move("die", unit)
            if queue and state.units[queue[0].to] != DEAD:
                head = queue[0]
                outs = self.units.step(head.to, state.units[head.to], 0, (head.event,)).outs
                for count, out in enumerate(outs[:-1], start=1):
                    if out.kind == "record":
                        yield Move("die_inside", count)

    def _is_retained(self, letter: Letter) -> bool:
        event = self.units.events[letter.event]
        return isinstance(event, ev.Received) and isinstance(event.message, Deal)

    def after(self, state: State, move: Move) -> State:
        """The state after a move.

        Raises:
            Violation: A rule does not hold any more.
        """
        draft = Draft(state)
        kind, which = move
        budget = draft.budget
        if kind == "time":
            self._pass_time(draft)
        elif kind == "deliver":
            self._deliver(draft, draft.queue.pop(0))
        elif kind == "arrive":
            self._deliver(draft, draft.late.pop(which))
        elif kind == "heal":
            draft.cut = _WHOLE
        elif kind == "restart":
            draft.budget = budget._replace(restart=budget.restart - 1)
            self._start(draft, which)
        else:
            used = getattr(budget, "die" if kind == "die_inside" else kind)
            name = "die" if kind == "die_inside" else kind
            left = budget.faults - 1
            if left:
                draft.budget = budget._replace(faults=left, **{name: used - 1})
            else:  # what cannot be used up any more tells no states apart
                draft.budget = Budget(0, restart=budget.restart)
            if kind == "die":
                self._die(draft, which)
            elif kind == "cut":
                draft.cut = _LINKS[which]
            elif kind == "die_inside":
                letter = draft.queue.pop(0)
                self._deliver(draft, letter, dies_after=which)
            else:
                letter = draft.queue.pop(0)
                if kind != "lose":
                    draft.late.append(letter)
                if kind == "twice":
                    self._deliver(draft, letter)
        self._rules.note_leaders(draft)
        after = draft.done()
        if kind == "time" and after == state:
            raise Violation(7, "time does not pass: a unit wants to be woken, and to nothing")
        self._rules.check(after)
        return after

    def describe(self, state: State, move: Move) -> str:
        """A move in words."""
        kind, which = move
        if kind == "time":
            return "time passes"
        if kind in ("die", "restart"):
            return f"{UNITS[which]}: its process {'dies' if kind == 'die' else 'starts again'}"
        if kind == "cut":
            sender, to = _LINKS[which]
            return f"nothing passes any more from {UNITS[sender]} to {UNITS[to]}"
        if kind == "heal":
            return "all passes again"
        letter = state.late[which] if kind == "arrive" else state.queue[0]
        what = f"to {UNITS[letter.to]}: {self.units.events[letter.event]}"
        ends = {"die_inside": f", and its process dies after {which} effects of it"}
        return f"{kind} {what}{ends.get(kind, '')}"

    # --- processes -------------------------------------------------------------------------------

    def _start(self, draft: Draft, unit: int) -> None:
        draft.starts[unit] += 1
        draft.dead_ns[unit] = draft.ruled_ns[unit] = 0
        step = self.units.start(unit, draft.journals[unit], draft.starts[unit])
        draft.units[unit] = step.state
        self._carry_out(draft, unit, step.outs)
        reading = self._reading(draft.converters, unit)
        given = (self._battery, reading)
        step = self.units.step(unit, draft.units[unit], 0, given)
        draft.units[unit] = step.state
        self._carry_out(draft, unit, step.outs)

    def _die(self, draft: Draft, unit: int) -> None:
        draft.units[unit] = DEAD
        draft.calls = [call for call in draft.calls if call.unit != unit]
        events = self.units.events
        for letters in (draft.queue, draft.late):  # whoever is asked next knows nothing of it
            letters[:] = [
                each
                for each in letters
                if each.to != unit or not isinstance(events[each.event], ev.ReplyReceived)
            ]

    def _deliver(self, draft: Draft, letter: Letter, dies_after: int = 0) -> None:
        unit, event = letter.to, self.units.events[letter.event]
        if isinstance(event, ev.Received) and isinstance(event.message, GridMasterClaim):
            self._claim(draft, unit, event.message)
        if draft.units[unit] == DEAD:
            return
        if isinstance(event, ev.ReplyReceived) and event.origin.asker is not _DRIVERS_ASKER:
            waiting = [
                call
                for call in draft.calls
                if call.unit == unit and self.units.events[call.none].origin == event.origin
            ]
            if not waiting:
                return  # too late, or twice
            draft.calls.remove(waiting[0])
        step = self.units.step(unit, draft.units[unit], 0, (letter.event,))
        draft.units[unit] = step.state
        if isinstance(event, ev.RequestReceived) and isinstance(event.request, ControlRequest):
            draft.ruled_ns[unit] = 0
        outs = step.outs
        self._carry_out(draft, unit, outs[:dies_after] if dies_after else outs)
        if dies_after:
            self._die(draft, unit)

    # --- time ------------------------------------------------------------------------------------

    def _pass_time(self, draft: Draft) -> None:
        states = self.units.states
        wait_ns = draft.tick_ns
        for known in draft.units:
            if known != DEAD:
                wait_ns = min(wait_ns, states[known].wake_ns)
        for call in draft.calls:
            wait_ns = min(wait_ns, call.left_ns)
        wait_ns = -(-max(wait_ns, 0) // GRAIN_NS) * GRAIN_NS
        draft.elapsed_ns += wait_ns
        draft.tick_ns -= wait_ns
        draft.calls = [call._replace(left_ns=call.left_ns - wait_ns) for call in draft.calls]
        if wait_ns:
            draft.converters = [*self._later(tuple(draft.converters), wait_ns)]
        is_tick = draft.tick_ns <= 0
        if is_tick:
            draft.tick_ns = TICK_NS
        for unit, known in enumerate(draft.units):
            if known == DEAD:
                is_on = self._converter(draft, unit).is_on
                draft.dead_ns[unit] = draft.dead_ns[unit] + wait_ns if is_on else 0
                continue
            is_on = self._converter(draft, unit).is_on
            draft.ruled_ns[unit] = draft.ruled_ns[unit] + wait_ns if is_on else 0
            given: tuple[int, ...] = ()
            if is_tick:
                reading = self._reading(draft.converters, unit)
                given = (self._battery, reading, self._renewal)
            if states[known].wake_ns <= wait_ns:
                given += (self._wake,)
            for call in draft.calls:
                if call.unit == unit and call.left_ns <= 0:
                    given += (call.none,)
            if not given and not wait_ns:
                continue
            step = self.units.step(unit, known, wait_ns, given)
            draft.units[unit] = step.state
            self._carry_out(draft, unit, step.outs)
        draft.calls = [call for call in draft.calls if call.left_ns > 0]

    def _later(self, numbers: tuple[int, ...], by_ns: int) -> tuple[int, ...]:
        key = numbers, by_ns
        after = self._passed.get(key)
        if after is None:
            before = [self.units.events[number] for number in numbers]
            late = hardware.pass_time(before, by_ns)
            after = self._passed[key] = tuple([self.units.number(each) for each in late])
        return after

    def _converter(self, draft: Draft, unit: int) -> Converter:
        converter: Converter = self.units.events[draft.converters[unit]]
        return converter

    def _reading(self, numbers: list[int], unit: int) -> int:
        key = tuple(numbers), unit
        number = self._readings.get(key)
        if number is None:
            before = [self.units.events[number] for number in numbers]
            reading = hardware.read(before, unit, EPOCH_NS)
            number = self._readings[key] = self.units.number(ev.ConverterRead(reading))
        return number

    # --- effects ---------------------------------------------------------------------------------

    def _carry_out(self, draft: Draft, unit: int, outs: tuple[Out, ...]) -> None:
        for kind, to, what, none in outs:
            if kind == "tell":
                event = self.units.events[what]
                if isinstance(event.message, GridMasterClaim):
                    self._claim(draft, unit, event.message)
                others = range(len(UNITS)) if to == ALL else (to,)
                for each in others:
                    if each != unit:  # our own come back too, but the core ignores them
                        self._send(draft, unit, each, what)
            elif kind == "deal":
                for each in range(len(UNITS)):
                    self._send(draft, unit, each, what)
            elif kind == "call":
                self._send(draft, unit, to, what)
                draft.calls.append(Call(self._limit_ns(what), unit, none))
            elif kind == "answer":
                self._send(draft, unit, to, what)
            elif kind == "command":
                self._command(draft, unit, what, none)
            elif kind == "record":
                self._record(draft, unit, what)
            else:
                self._die(draft, unit)
                return

    def _send(self, draft: Draft, sender: int, to: int, event: int) -> None:
        letter = Letter(to, event, to != sender)
        if draft.cut != (sender, to):
            draft.queue.append(letter)
        elif self._is_retained(letter):
            draft.late.append(letter)  # comes late, but it comes

    def _limit_ns(self, asked: int) -> int:
        timing = self.units.settings.timing
        is_submission = isinstance(self.units.events[asked].request, DealSubmission)
        return timing.submit_ns if is_submission else timing.deal.answer_ns

    def _claim(self, draft: Draft, unit: int, claim: GridMasterClaim) -> None:
        after = hardware.hear_claim(self._converter(draft, unit), claim.kind, claim.term)
        draft.converters[unit] = self.units.number(after)

    def _command(self, draft: Draft, unit: int, order: int, none: int) -> None:
        events = self.units.events
        key = unit, tuple(draft.converters), order
        known = self._obeyed.get(key)
        if known is None:
            before = [events[number] for number in draft.converters]
            after, reply = hardware.obey(before, unit, events[order], EPOCH_NS)
            answer = ev.ReplyReceived(events[none].origin, reply)
            known = self.units.number(after), self.units.number(answer)
            self._obeyed[key] = known
        draft.converters[unit], answer_number = known
        self._rules.obeyed(draft, unit, events[order], events[answer_number].reply)
        draft.queue.append(Letter(unit, answer_number, may_fail=False))

    def _record(self, draft: Draft, unit: int, entry: int) -> None:
        draft.journals[unit] = self.units.written(draft.journals[unit], entry)
        written = self.units.events[entry]
        if isinstance(written, ev.DealClosed):
            draft.booked_wh[unit] += written.receipt.grid_moved_wh
