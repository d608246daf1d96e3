"""One unit's part of a step: the real agent, thawed, given events, and frozen again.

A step of a unit depends on its own state and on what it is given alone, and most states of the
whole differ in what the *other* units do. So each step is taken once and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple, cast

from apis_core import events as ev
from apis_core.model.messages import Deal, LeaseGrant
from apis_core.model.origin import Requester
from apis_core.unit.agent import Agent
from apis_core.unit.persisted_state import PersistedState
from apis_simulator.explore.freezing import EPOCH_NS, Freezer, shifted
from apis_simulator.explore.settings import UNITS, NoDice, Settings

__all__ = ["ALL", "DEAD", "Out", "Step", "UnitState", "Units"]

DEAD = -1  # instead of a state
ALL = -1  # to all units but the sender
_MANY = 1_000_000  # steps that are remembered
_LIVE = 4_000  # agents that are kept as they are: most are wanted once more, and soon


class Out(NamedTuple):
    """One effect, as the outside needs it.

    Attributes:
        kind: "tell" (``to`` may be ALL), "deal" (a retained topic), "call", "answer", "command",
            "record", "exit".
        to: Index of a unit.
        what: Number of an event, an order or an entry.
        origin: Number of the event that says that there will be no answer.
    """

    kind: str
    to: int = ALL
    what: int = 0
    origin: int = 0


class Step(NamedTuple):
    """What came of a step: the next state, and what it wants in order."""

    state: int
    outs: tuple[Out, ...]


@dataclass(frozen=True, slots=True)
class UnitState:
    """One state of one unit's process.

    Attributes:
        now_ns: Its clock then.
        wake_ns: In how long it wants to be woken.
        leads_term: The term in which it believes to be the grid master; 0 = it does not.
    """

    now_ns: int
    wake_ns: int
    leads_term: int


class Units:
    """All states and steps of units that have been met.

    Args:
        settings: What they are made with.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.freezer = Freezer()
        self.states: list[UnitState] = []
        self.events: list[Any] = []  # also orders and entries of the journal
        self.journals: list[PersistedState] = []
        self.taken = 0
        self._live: dict[int, Agent] = {}  # each good for one step
        self._frozen: list[bytes] = []  # empty = not yet
        self._by_digest: dict[bytes, int] = {}
        self._event_numbers: dict[Any, int] = {}
        self._journal_numbers: dict[str, int] = {}
        self._steps: dict[tuple[int, int, tuple[int, ...]], Step] = {}
        self._starts: dict[tuple[int, int, int], Step] = {}
        self._written: dict[tuple[int, int], int] = {}

    # --- numbers ---------------------------------------------------------------------------------

    def number(self, event: Any) -> int:
        """The number of an event, order or entry; its instants are those of EPOCH_NS."""
        number = self._event_numbers.setdefault(event, len(self.events))
        if number == len(self.events):
            self.events.append(event)
        return number

    def blank_journal(self) -> int:
        """The journal of a unit that has never run."""
        return self._journal(PersistedState())

    def written(self, journal: int, entry: int) -> int:
        """A journal with one more entry."""
        key = journal, entry
        if key not in self._written:
            old = self.journals[journal]
            new = replace(old, open_deals=dict(old.open_deals), counted=dict(old.counted))
            new.add(self.events[entry])
            self._written[key] = self._journal(new)
        return self._written[key]

    def _journal(self, journal: PersistedState) -> int:
        number = self._journal_numbers.setdefault(repr(journal), len(self.journals))
        if number == len(self.journals):
            self.journals.append(journal)
        return number

    # --- steps -----------------------------------------------------------------------------------

    def start(self, unit: int, journal: int, starts: int) -> Step:
        """A new process of a unit."""
        key = unit, journal, starts
        step = self._starts.get(key)
        if step is None:
            old = self.journals[journal]
            journalled = replace(old, open_deals=dict(old.open_deals), counted=dict(old.counted))
            settings = self.settings.of_unit(UNITS[unit], starts)
            agent = Agent(settings, journalled, cast(Random, NoDice()), EPOCH_NS)
            effects = agent.start(EPOCH_NS)
            step = Step(self._keep(agent, EPOCH_NS), self._outs(effects, unit, EPOCH_NS))
            self._starts[key] = step
        return step

    def step(self, unit: int, state: int, later_ns: int, given: tuple[int, ...]) -> Step:
        """A unit after a while, and after what it is given then."""
        key = state, later_ns, given
        step = self._steps.get(key)
        if step is None:
            self.taken += 1
            now_ns = self.states[state].now_ns + later_ns
            agent = self._thaw(state)
            effects: list[ev.Effect] = []
            for number in given:
                event = shifted(self.events[number], now_ns - EPOCH_NS)
                effects += agent.handle(event, now_ns)
            step = Step(self._keep(agent, now_ns), self._outs(effects, unit, now_ns))
            if len(self._steps) >= _MANY:
                self._steps.clear()
            self._steps[key] = step
        return step

    def agent(self, state: int) -> tuple[Agent, int]:
        """The agent of a state, and its clock."""
        return self._thaw(state), self.states[state].now_ns

    def _thaw(self, state: int) -> Agent:
        agent = self._live.pop(state, None)
        if agent is None:
            thawed: Agent = self.freezer.thaw(self._frozen[state])
            return thawed
        self._freeze(state, agent)  # before it changes
        return agent

    def _freeze(self, state: int, agent: Agent) -> None:
        if not self._frozen[state]:
            self._frozen[state] = self.freezer.freeze(agent)

    def _keep(self, agent: Agent, now_ns: int) -> int:
        digest = self.freezer.digest(agent, now_ns)
        number = self._by_digest.setdefault(digest, len(self.states))
        if number == len(self.states):
            office = agent.grid_master if agent.is_grid_master(now_ns) else None
            self._frozen.append(b"")
            self._live[number] = agent
            if len(self._live) > _LIVE:
                oldest = next(iter(self._live))
                self._freeze(oldest, self._live.pop(oldest))
            self.states.append(
                UnitState(
                    now_ns=now_ns,
                    wake_ns=agent.next_wakeup_ns() - now_ns,
                    leads_term=office.term if office is not None else 0,
                )
            )
        return number

    def _outs(self, effects: list[ev.Effect], unit: int, now_ns: int) -> tuple[Out, ...]:
        outs = [self._out(shifted(effect, EPOCH_NS - now_ns), unit) for effect in effects]
        return tuple([out for out in outs if out is not None])

    def _out(self, effect: ev.Effect, unit: int) -> Out | None:
        number = self.number
        match effect:
            case ev.Broadcast(Deal() as deal):
                return Out("deal", what=number(ev.Received(deal)))
            case ev.Broadcast(LeaseGrant() as grant):
                # every unit hears it, but the one that it is for alone listens
                to = UNITS.index(grant.grid_master_id)
                return Out("tell", to, number(ev.Received(grant)))
            case ev.Broadcast(message):
                return Out("tell", ALL, number(ev.Received(message)))
            case ev.PublishFault(fault):
                return Out("tell", ALL, number(ev.Received(fault)))
            case ev.Send(to, message):
                return Out("tell", UNITS.index(to), number(ev.Received(message)))
            case ev.Call(origin, to, request):
                asked = ev.RequestReceived(Requester(UNITS[unit], origin), request)
                none = number(ev.ReplyReceived(origin, None))
                return Out("call", UNITS.index(to), number(asked), none)
            case ev.Answer(requester, reply):
                to_index = UNITS.index(requester.unit_id)
                return Out("answer", to_index, number(ev.ReplyReceived(requester.origin, reply)))
            case ev.Command(origin, order):
                none = number(ev.ReplyReceived(origin, None))
                return Out("command", unit, number(order), none)
            case ev.Record(entry):
                return Out("record", unit, number(entry))
            case ev.AllowExit():
                return Out("exit", unit)
        return None
