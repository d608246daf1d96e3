"""One unit: routes what happens to its machines, and returns what they want.

    effects = agent.handle(event, now_ns)
    wake_ns = agent.next_wakeup_ns()

The agent never sleeps, reads no clock, draws no random number that was not injected. The same
object runs in the ROS node and in the deterministic simulator.
"""

from __future__ import annotations

from random import Random

from apis_core.events import (
    AllowExit,
    BatteryClaimed,
    BatteryRead,
    Broadcast,
    ConfigurationRefused,
    ConverterRead,
    DealUnwanted,
    DealWanted,
    Effect,
    Event,
    HardwareRead,
    HourCounted,
    InternalErrorOccurred,
    JournalFailed,
    Log,
    PolicyRead,
    Received,
    RenewalDue,
    ReplyReceived,
    RequestReceived,
    ScenarioRead,
    StopAsked,
    Wake,
)
from apis_core.grid_master.snapshot import GridMasterSnapshot
from apis_core.model.errors import ProtocolMisuse
from apis_core.model.messages import (
    ControlReply,
    ControlRequest,
    ConverterReply,
    Deal,
    DealSubmission,
    Fault,
    GridMasterClaim,
    InterchangeAccept,
    InterchangeRequest,
    LeaseGrant,
    OperationModeOrder,
    PolicyOffer,
    SubmitReply,
    UnitStatus,
)
from apis_core.model.origin import Asker, Origin
from apis_core.model.types import (
    ConverterMode,
    Direction,
    FaultCategory,
    FaultLevel,
    OperationMode,
    UnitId,
)
from apis_core.model.units import NEVER_NS
from apis_core.trading.shared_battery import SharedBattery
from apis_core.unit.construction import AgentSettings, make_state, written_policy
from apis_core.unit.driver_watch import DriverWatch
from apis_core.unit.fault_handler import FaultHandler
from apis_core.unit.first_effects import first_effects
from apis_core.unit.known_deals import KnownDeals
from apis_core.unit.lease import follow_lease
from apis_core.unit.namesake import NamesakeWatch
from apis_core.unit.order_handler import OrderHandler
from apis_core.unit.persisted_state import PersistedState
from apis_core.unit.policy_rollout import PolicyRollout
from apis_core.unit.rules_change import RulesChange
from apis_core.unit.self_monitor import SelfMonitor
from apis_core.unit.shutdown import ForceStop, ProcessShutdown
from apis_core.unit.snapshot import UnitSnapshot, picture
from apis_core.unit.status_publisher import StatusPublisher
from apis_core.unit.submission_handler import submit

__all__ = ["Agent", "AgentSettings"]

_BY_HAND = (OperationMode.RUN, OperationMode.SOFT_STOP)  # in which an operator may want a deal


class Agent:
    """One unit: it routes each event to its machines, and returns the effects that they want.

    Args:
        settings: What the unit is, and by which rules it begins.
        persisted_state: From the journal; a fresh one if there is none.
        random: Source of back-off, jitter and deal ids; injected so that a seed fixes them.
        now_ns: Present time.
    """

    def __init__(
        self, settings: AgentSettings, persisted_state: PersistedState, random: Random, now_ns: int
    ) -> None:
        self._random = random
        self._state = state = make_state(settings, persisted_state, random, now_ns)
        self._shared_battery = (
            SharedBattery(state.unit_id, state.interlock) if settings.shares_battery else None
        )
        self._order_handler = OrderHandler(state)
        self._fault_handler = FaultHandler(state, self._order_handler)
        self._driver_watch = DriverWatch(state, self._fault_handler, now_ns)
        self._namesakes = NamesakeWatch(state, self._fault_handler)
        self._monitor = SelfMonitor(state, self._fault_handler.raise_local)
        coming = written_policy(persisted_state.coming_policy_text)
        self._roll_out = PolicyRollout(state, coming, state.timing.status_ns, now_ns)
        self._rules = RulesChange(state, settings, self._roll_out, self._monitor, random)
        self._shutdown = ProcessShutdown(state, self._order_handler)
        self._force_stop = ForceStop(state)
        self._publisher = StatusPublisher(state, self._order_handler, self._roll_out, now_ns)
        self._known_deals = KnownDeals(state.interlock)
        self._first_effects = first_effects(state, self._roll_out, settings, persisted_state)
        self._wake_ns: int | None = None  # reckoned when asked for
        self._is_stopped = False

    # --- what the shell uses ---------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Effect]:
        """Return the first effects of a new process.

        The converter goes to WAIT whatever it was doing, and old deals are closed in the journal.
        """
        effects = self._state.converter.stop("starting", now_ns, at_once=True, is_routine=True)
        return [*effects, *self._first_effects, *self._settle(now_ns)]

    @property
    def member_ids(self) -> tuple[UnitId, ...]:
        """The members of the policy that holds."""
        return self._state.policy.member_unit_ids

    @property
    def converter_mode(self) -> ConverterMode:
        """What its converter was last seen in."""
        return self._state.converter.reading.mode

    @property
    def slot_directions(self) -> set[Direction]:
        """Directions in which its slots are taken or reserved."""
        return self._state.interlock.directions

    def is_grid_master(self, now_ns: int) -> bool:
        """Whether it may give orders as the grid master now."""
        return self._state.election.is_master(now_ns)

    @property
    def status(self) -> UnitStatus | None:
        """What it said last; None = nothing yet."""
        return self._publisher.last

    @property
    def grid_master(self) -> GridMasterSnapshot | None:
        """What it does as the grid master; None = it is none."""
        grid_master = self._state.grid_master
        return grid_master.snapshot() if grid_master is not None else None

    def snapshot(self, now_ns: int) -> UnitSnapshot:
        """A picture of what it knows and does."""
        coming_hash, open_deals = self._roll_out.coming_hash, self._known_deals.open
        return picture(self._state, self.status, coming_hash, open_deals, now_ns)

    def next_wakeup_ns(self) -> int:
        """When :meth:`handle` wants a :class:`Wake` if nothing else happens."""
        if self._wake_ns is None:
            self._wake_ns = self._earliest_ns()
        return self._wake_ns

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event in; get back what to do, in this order."""
        if self._is_stopped or self._is_routine(event, now_ns):
            return []
        if self._shared_battery is None:
            return self._handle(event, now_ns)
        return self._handle_shared(self._shared_battery, event, now_ns)

    # --- inside: events --------------------------------------------------------------------------

    def _earliest_ns(self) -> int:
        if self._is_stopped:
            return NEVER_NS
        state = self._state
        return min(
            state.election.wake_ns,
            state.converter.wake_ns,
            state.interlock.wake_ns,
            state.faults.wake_ns,
            state.grid_master.wake_ns if state.grid_master is not None else NEVER_NS,
            state.trader.wake_ns,
            self._publisher.due_ns,
            self._order_handler.wake_ns,
            self._roll_out.wake_ns,
            self._force_stop.wake_ns,
            self._shutdown.wake_ns,
        )

    def _is_routine(self, event: Event, now_ns: int) -> bool:
        """Take in what is heard often and changes nothing that anybody waits for."""
        if not isinstance(event, Received):
            return False
        state, message = self._state, event.message
        if isinstance(message, Deal):
            if self._known_deals.hear(message) and state.grid_master is not None:
                state.grid_master.hear_deal(message)
                self._wake_ns = None  # what is left behind has an end, too
            return True
        if not isinstance(message, UnitStatus) or state.grid_master is not None:
            return False
        known = state.peers.get(message.unit_id)
        if known is None or message.policy_hash != known[0].policy_hash:
            return False
        modes = state.modes
        if message.global_mode_version > modes.version or message.global_mode != modes.global_mode:
            return False
        state.peers[message.unit_id] = (message, now_ns)
        return True

    def _handle_shared(self, battery: SharedBattery, event: Event, now_ns: int) -> list[Effect]:
        """Handle an event of a unit that shares its battery: a deal waits for the claim."""
        asks = None
        if isinstance(event, Wake):
            asks = self._state.trader.asks(self._state.trading_conditions(now_ns), now_ns)
        needs, effects = battery.needs(event, asks)
        if needs:
            return effects
        waiting = battery.answered(event) if isinstance(event, BatteryClaimed) else []
        for each in (event, *waiting):
            effects += self._handle(each, now_ns)
        return [*effects, *battery.give_back()]

    def _handle(self, event: Event, now_ns: int) -> list[Effect]:
        self._wake_ns = None
        effects = self._route(event, now_ns)
        effects += self._fault_handler.follow_up(effects, now_ns)
        settled = self._settle(now_ns)
        return [*effects, *settled, *self._fault_handler.follow_up(settled, now_ns)]

    def _route(self, event: Event, now_ns: int) -> list[Effect]:
        state, raise_local = self._state, self._fault_handler.raise_local
        match event:
            case Wake():
                return self._tick(now_ns)
            case Received(message):
                return self._receive(message, now_ns)
            case RequestReceived(requester, ControlRequest() as request):
                return self._order_handler.obey(requester, request, now_ns)
            case RequestReceived(requester, DealSubmission(deal=deal)):
                return submit(state, requester, deal, now_ns)
            case ReplyReceived(origin, reply):
                return self._answered(origin, reply, now_ns)
            case ConverterRead(reading):
                effects = state.converter.hear_reading(reading, now_ns)
                checked = self._monitor.look(now_ns)
                state.look_at_bus(now_ns)
                return [*effects, *checked]
            case BatteryRead(battery):
                if state.take_battery(battery, now_ns):
                    state.trader.look_now(now_ns)
            case HourCounted():
                return state.take_hour(event)
            case RenewalDue():
                return state.converter.renew(now_ns)
            case DealWanted():
                conditions = state.trading_conditions(now_ns, _BY_HAND)
                return state.trader.want(event, conditions, now_ns)
            case DealUnwanted(deal_id):
                self._order_handler.ask_to_end(deal_id, "the operator ends the deal", now_ns)
            case PolicyRead(policy):
                return self._roll_out.offer(policy)
            case HardwareRead(hardware):
                self._rules.hardware = hardware
            case ScenarioRead(scenario):
                state.take_scenario(scenario)
                return [Log("goes by another scenario")]
            case ConfigurationRefused(why):
                user, warn = FaultCategory.USER, FaultLevel.WARN
                return raise_local("configuration_refused", why, now_ns, user, warn)
            case JournalFailed(reason):
                # without a memory it can neither vote nor deal
                why = f"its journal cannot be written: {reason}"
                return raise_local("journal_failed", why, now_ns, FaultCategory.FRAMEWORK)
            case InternalErrorOccurred(why):
                return raise_local("uncaught", why, now_ns, FaultCategory.LOGIC)
            case BatteryClaimed(_, _, failure) if failure:
                framework, fatal = FaultCategory.FRAMEWORK, FaultLevel.FATAL
                return raise_local("battery_lock_failed", failure, now_ns, framework, fatal)
            case StopAsked():
                return self._shutdown.begin(now_ns)
        return []

    def _receive(self, message: object, now_ns: int) -> list[Effect]:
        state = self._state
        match message:
            case GridMasterClaim():
                return state.election.hear_claim(message, now_ns)
            case LeaseGrant():
                return state.election.hear_grant(message, now_ns)
            case OperationModeOrder():
                return self._fault_handler.hear_order(message)
            case UnitStatus():
                return self._hear_status(message, now_ns)
            case InterchangeRequest():
                return state.trader.hear_request(message, state.trading_conditions(now_ns), now_ns)
            case InterchangeAccept():
                return state.trader.hear_accept(message, state.trading_conditions(now_ns), now_ns)
            case Fault():
                return self._fault_handler.hear(message, now_ns)
            case PolicyOffer():
                is_master = state.grid_master is not None
                return self._roll_out.hear(message, now_ns, is_grid_master=is_master)
        return []

    def _hear_status(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        state = self._state
        if status.unit_id == state.unit_id:
            # our own came to our grid master when it was sent
            return self._namesakes.hear_status(status, now_ns)
        if status.unit_id not in state.policy.member_unit_ids:
            return []
        state.peers[status.unit_id] = (status, now_ns)
        self._roll_out.hear_status(status)
        effects = self._fault_handler.hear_status(status)
        if state.grid_master is not None:
            effects += state.grid_master.hear_status(status, now_ns)
        return effects

    def _answered(
        self,
        origin: Origin,
        reply: ControlReply | SubmitReply | ConverterReply | None,
        now_ns: int,
    ) -> list[Effect]:
        state, asker = self._state, origin.asker
        if asker is Asker.CONVERTER_MANAGER:
            if reply is None or isinstance(reply, ConverterReply):
                effects = self._driver_watch.answered(origin, reply, now_ns)
                return [*effects, *self._monitor.look(now_ns)]
        elif asker is Asker.TRADER:
            if reply is None or isinstance(reply, SubmitReply):
                return state.trader.submission_answered(origin.deal_id, reply)
        elif reply is None or isinstance(reply, ControlReply):
            return state.grid_master.answered(origin, reply, now_ns) if state.grid_master else []
        raise ProtocolMisuse(f"{origin} is answered by a {type(reply).__name__}")

    # --- inside: time, and what follows from any event -------------------------------------------

    def _tick(self, now_ns: int) -> list[Effect]:
        state = self._state
        state.faults.tick(now_ns)
        reachable, may_be_minority = state.reachable(now_ns), state.minority_allowed(now_ns)
        effects = [
            *state.election.tick(now_ns, reachable, minority_allowed=may_be_minority),
            *state.converter.tick(now_ns),
        ]
        if state.grid_master is not None:
            effects += state.grid_master.tick(now_ns)
        if state.converter.has_shares and state.is_cut_off(now_ns):
            effects += state.converter.stop("it hears neither grid master nor majority", now_ns)
        effects += self._order_handler.drop_expired_slots(now_ns)
        effects += self._order_handler.end_overdue(now_ns)
        effects += state.trader.tick(state.trading_conditions(now_ns), now_ns)
        effects += self._roll_out.tick(
            now_ns,
            is_grid_master=state.grid_master is not None,
            is_bus_free=state.grid_master is not None and state.grid_master.is_idle,
        )
        effects += self._shutdown.tick(now_ns)
        effects += self._force_stop.tick(now_ns)
        return effects

    def _settle(self, now_ns: int) -> list[Effect]:
        """What follows from any event for the lease, for deals to close, for our status."""
        state = self._state
        effects = self._rules.take(now_ns)
        effects += follow_lease(
            state, self._publisher.last, self._known_deals.open, self._random, now_ns
        )
        self._force_stop.follow_mode(now_ns)
        effects += self._order_handler.close_deals()
        leader_id = state.election.grid_master_id(now_ns)
        effects += state.trader.follow(leader_id, state.election.term, now_ns)
        if self._shutdown.may_exit(now_ns):
            self._is_stopped = True
            return [*effects, *state.election.resign(now_ns), AllowExit()]
        effects += self._fault_handler.tell_again(now_ns)
        effects += self._fault_handler.write_down()
        status = self._publisher.due_status(now_ns, is_grid_master=state.grid_master is not None)
        if status is not None:
            effects.append(Broadcast(status))
            if state.grid_master is not None:
                effects += state.grid_master.hear_status(status, now_ns)
        return effects
