"""One unit: composes the machines and routes what happens to them.

    effects = agent.handle(event, now_ns)
    wake_ns = agent.next_wakeup_ns()

The agent never sleeps, reads no clock, draws no random number that was not injected. The same
object runs in the ROS node and in the deterministic simulator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from apis_core.cluster.election import Election
from apis_core.cluster.fault_actions import Action, actions_for
from apis_core.cluster.fault_registry import FaultRegistry
from apis_core.cluster.operation_mode import OperationModes
from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy, parse_policy, policy_hash
from apis_core.config.policy_text import policy_file
from apis_core.config.scenario import Scenario
from apis_core.config.timing import BUS_DOWN_S, Timing
from apis_core.converter.manager import ConverterManager
from apis_core.events import (
    AllowExit,
    Answer,
    BatteryClaimed,
    BatteryRead,
    Broadcast,
    ConfigurationRefused,
    ConverterRead,
    DealClosed,
    DealUnwanted,
    DealWanted,
    Effect,
    Event,
    FollowMembers,
    HardwareRead,
    InternalErrorOccurred,
    JournalFailed,
    Log,
    PolicyAdopted,
    PolicyRead,
    PublishFault,
    Received,
    Record,
    RenewalDue,
    ReplyReceived,
    RequestReceived,
    ScenarioRead,
    StopAsked,
    Wake,
)
from apis_core.grid_master.grid_master import GridMaster
from apis_core.grid_master.snapshot import GridMasterSnapshot
from apis_core.model.errors import ConfigError, ProtocolMisuse
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
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.receipt import Receipt
from apis_core.model.types import (
    NOBODY,
    ConverterMode,
    Direction,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    GridMasterStrategy,
    OperationMode,
    SubmitError,
    UnitId,
)
from apis_core.model.units import NEVER_NS, ns_from_s
from apis_core.trading.interlock import Interlock
from apis_core.trading.shared_battery import SharedBattery
from apis_core.trading.trader import Trader
from apis_core.unit.order_handler import OrderHandler
from apis_core.unit.persisted_state import RESTARTED, PersistedState
from apis_core.unit.policy_rollout import PolicyRollout
from apis_core.unit.self_monitor import SelfMonitor
from apis_core.unit.snapshot import UnitSnapshot
from apis_core.unit.status_publisher import StatusPublisher
from apis_core.unit.unit_state import UnitState

__all__ = ["Agent", "AgentSettings"]

_REMEMBERED_DEALS = 200
_LATCH_AFTER = 3  # a fault that has come back so often stays until an operator says Run
_ENDS_DEALS = (OperationMode.FORCE_STOP, OperationMode.MANUAL)
_BY_HAND = (OperationMode.RUN, OperationMode.SOFT_STOP)  # in which an operator may want a deal


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent is made with.

    Attributes:
        unit_id: Such as E001; a member of the policy.
        instance_id: Of this process, new at every start.
        policy: Of the cluster.
        hardware: Of this unit.
        scenario: Of this unit.
        driver_hold_s: Hold time given to the driver, on the steady clock; ``RenewalDue`` comes
            several times within it. [s]
        network_floor_ns: See :mod:`apis_core.config.timing`; 0 in real time. [ns]
        bus_down_ns: How long a voltage reference may take to WAIT after the order. [ns]
        shares_battery: Whether other units of this host use the same battery; directions are then
            claimed (see :mod:`apis_core.trading.shared_battery`).
    """

    unit_id: UnitId
    instance_id: str
    policy: Policy
    hardware: Hardware
    scenario: Scenario
    driver_hold_s: float = 5.0
    network_floor_ns: int = 0
    bus_down_ns: int = ns_from_s(BUS_DOWN_S)
    shares_battery: bool = False


class Agent:
    """One unit: it routes each event to its machines, and returns the effects that they want.

    Args:
        settings: See :class:`AgentSettings`.
        persisted_state: From the journal; a fresh one if there is none.
        random: Source of back-off, jitter and deal ids; injected so that a seed fixes them.
        now_ns: Present time.
    """

    def __init__(
        self, settings: AgentSettings, persisted_state: PersistedState, random: Random, now_ns: int
    ) -> None:
        hardware = settings.hardware
        if settings.unit_id not in settings.policy.member_unit_ids:
            raise ProtocolMisuse(f"{settings.unit_id} is not a member of its policy")
        self._unit_id = settings.unit_id
        self._limits_ns = settings.network_floor_ns, settings.bus_down_ns
        policy = _policy_of(settings, persisted_state)
        self._random = random
        self._timing = timing = Timing.of(policy, *self._limits_ns)
        self._election = Election(
            unit_id=self._unit_id,
            instance_id=settings.instance_id,
            member_ids=policy.member_unit_ids,
            timing=timing.election,
            random=random,
            now_ns=now_ns,
            term=persisted_state.term,
            granted_to=persisted_state.granted_to,
            may_stand=_may_stand(self._unit_id, policy),
            rank=_rank(self._unit_id, policy),
            policy_hash=policy_hash(policy),
            policy_version=policy.version,
        )
        self._modes = OperationModes(
            unit_id=self._unit_id,
            global_mode=persisted_state.global_mode or policy.operation_mode,
            version=persisted_state.global_mode_version,
            local_mode=persisted_state.local_mode,
        )
        self._interlock = Interlock(_slots(policy, hardware))
        self._converter = ConverterManager(
            unit_id=self._unit_id,
            hardware=hardware,
            policy=policy,
            driver_hold_s=settings.driver_hold_s,
            retry_ns=timing.retry_ns,
            late_ns=timing.late_ns,
        )
        self._faults = FaultRegistry(
            self._unit_id,
            policy.local_quarantine_ns,
            policy.global_quarantine_ns,
            latch_after=_LATCH_AFTER,
        )
        self._gateway = (
            SharedBattery(self._unit_id, self._interlock) if settings.shares_battery else None
        )
        self._grid_master: GridMaster | None = None
        self._trader = self._make_trader(policy, now_ns)
        self._state = UnitState(
            unit_id=self._unit_id,
            instance_id=settings.instance_id,
            policy=policy,
            policy_hash=policy_hash(policy),
            hardware=hardware,
            scenario=settings.scenario,
            timing=timing,
            election=self._election,
            modes=self._modes,
            interlock=self._interlock,
            converter=self._converter,
            faults=self._faults,
        )
        self._order_handler = OrderHandler(self._state)
        self._check = SelfMonitor(self._state, self._raise_local)
        coming = _written_policy(persisted_state.coming_policy_text)
        self._roll_out = PolicyRollout(self._state, coming, timing.status_ns, now_ns)
        self._offered = self._roll_out.offer(settings.policy)  # told at the start
        # A later start must not take a changed file for what was agreed on.
        is_first = not persisted_state.policy_text
        self._first_policy = [Record(PolicyAdopted(policy_file(policy)))] if is_first else []
        self._next_hardware: Hardware | None = None  # holds as soon as this unit rests
        self._status_publisher = StatusPublisher(
            self._state, self._order_handler, self._roll_out, now_ns
        )
        self._deals: dict[str, Deal] = {}  # last records heard, of deals that are not over
        self._over: dict[str, None] = {}  # the last that are; a late word does not revive them
        self._told_to = (NOBODY, 0)  # the grid master and the term that know our faults
        self._unanswered = (0, now_ns)  # orders to our driver in a row, and since when
        self._namesake = ("", 0)  # another process of our name: its instance, its last sequence
        self._wake_ns: int | None = None  # reckoned when asked for
        self._force_stop_due_ns = NEVER_NS
        self._leave_due_ns = NEVER_NS  # while stopping: when we leave what others have not ended
        self._stop_due_ns = NEVER_NS
        self._is_stopped = False
        # deals that an earlier process had open: it died in the middle of them, so they are over
        # for this unit
        self._left_over = tuple(
            persisted_state.counted.get(deal_id, Receipt(deal_id, 0.0, 0.0))
            for deal_id in persisted_state.open_deals
        )

    # --- what the shell uses ---------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Effect]:
        """Return the first effects of a new process.

        The converter goes to WAIT whatever it was doing, and old deals are closed in the journal.
        """
        effects = self._converter.stop("starting", now_ns, at_once=True, is_routine=True)
        effects += [*self._first_policy, *self._offered]
        for counted in self._left_over:
            receipt = replace(counted, reason=RESTARTED)
            effects.append(Record(DealClosed(receipt)))
            text = f"closes deal {receipt.deal_id}, which an earlier process left open"
            effects.append(Log(text, is_warning=True))
        return [*effects, *self._settle(now_ns)]

    @property
    def member_ids(self) -> tuple[UnitId, ...]:
        """The members of the policy that holds."""
        return self._state.policy.member_unit_ids

    @property
    def converter_mode(self) -> ConverterMode:
        """What its converter was last seen in."""
        return self._converter.reading.mode

    @property
    def slot_directions(self) -> set[Direction]:
        """Directions in which its slots are taken or reserved."""
        return self._interlock.directions

    def is_grid_master(self, now_ns: int) -> bool:
        """Whether it may give orders as the grid master now."""
        return self._election.is_master(now_ns)

    @property
    def status(self) -> UnitStatus | None:
        """What it said last; None = nothing yet."""
        return self._status_publisher.last

    @property
    def grid_master(self) -> GridMasterSnapshot | None:
        """What it does as the grid master; None = it is none."""
        return self._grid_master.snapshot() if self._grid_master is not None else None

    def snapshot(self, now_ns: int) -> UnitSnapshot:
        """A picture of what it knows and does."""
        state = self._state
        return UnitSnapshot(
            unit_id=self._unit_id,
            status=self.status,
            term=self._election.term,
            majority=self._election.majority,
            grid_master_id=self._election.grid_master_id(now_ns),
            grid_master=self.grid_master,
            mode=self._modes.effective,
            policy=state.policy,
            policy_hash=state.policy_hash,
            coming_policy_hash=self._roll_out.coming_hash,
            hardware=state.hardware,
            band=state.band,
            peers=dict(state.peers),
            open_deals=dict(self._deals),
            slot_deals=self._interlock.deals,
            slot_directions=frozenset(self._interlock.directions),
            slot_capacity=self._interlock.capacity,
            shares=self._converter.shares,
            fault_codes=self._faults.codes(),
            faults=self._faults.known,
            why_not_dealing=state.why_not_dealing(now_ns),
        )

    def next_wakeup_ns(self) -> int:
        """When :meth:`handle` wants a :class:`Wake` if nothing else happens."""
        if self._wake_ns is None:
            self._wake_ns = self._earliest_ns()
        return self._wake_ns

    def _earliest_ns(self) -> int:
        if self._is_stopped:
            return NEVER_NS
        return min(
            self._election.wake_ns,
            self._converter.wake_ns,
            self._interlock.wake_ns,
            self._faults.wake_ns,
            self._grid_master.wake_ns if self._grid_master else NEVER_NS,
            self._trader.wake_ns,
            self._status_publisher.due_ns,
            self._order_handler.wake_ns,
            self._roll_out.wake_ns,
            self._force_stop_due_ns,
            self._leave_due_ns,
            self._stop_due_ns,
        )

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event in; get back what to do, in this order."""
        if self._is_stopped or self._is_routine(event, now_ns):
            return []
        if self._gateway is None:
            return self._handle(event, now_ns)
        return self._handle_shared(self._gateway, event, now_ns)

    def _handle_shared(self, gateway: SharedBattery, event: Event, now_ns: int) -> list[Effect]:
        """Handle an event of a unit that shares its battery: a deal waits for the claim."""
        asks = None
        if isinstance(event, Wake):
            asks = self._trader.asks(self._state.trading_conditions(now_ns), now_ns)
        needs, effects = gateway.needs(event, asks)
        if needs:
            return effects
        waiting = gateway.answered(event) if isinstance(event, BatteryClaimed) else []
        for each in (event, *waiting):
            effects += self._handle(each, now_ns)
        return [*effects, *gateway.give_back()]

    def _handle(self, event: Event, now_ns: int) -> list[Effect]:
        self._wake_ns = None
        match event:
            case Wake():
                effects = self._tick(now_ns)
            case Received(message):
                effects = self._receive(message, now_ns)
            case RequestReceived(requester, ControlRequest() as request):
                effects = self._order_handler.obey(requester, request, now_ns)
            case RequestReceived(requester, DealSubmission(deal=deal)):
                effects = self._take_submission(requester, deal, now_ns)
            case ReplyReceived(origin, reply):
                effects = self._answered(origin, reply, now_ns)
            case ConverterRead(reading):
                effects = [
                    *self._converter.hear_reading(reading, now_ns),
                    *self._check.look(now_ns),
                ]
                self._state.look_at_bus(now_ns)
            case BatteryRead(battery):
                if self._state.take_battery(battery):
                    self._trader.look_now(now_ns)
                effects = []
            case RenewalDue():
                effects = self._converter.renew(now_ns)
            case DealWanted():
                conditions = self._state.trading_conditions(now_ns, _BY_HAND)
                effects = self._trader.want(event, conditions, now_ns)
            case DealUnwanted(deal_id):
                self._order_handler.ask_to_end(deal_id, "the operator ends the deal", now_ns)
                effects = []
            case PolicyRead(policy):
                effects = self._roll_out.offer(policy)
            case HardwareRead(hardware):
                self._next_hardware = hardware
                effects = []
            case ScenarioRead(scenario):
                self._state.take_scenario(scenario)
                effects = [Log("goes by another scenario")]
            case ConfigurationRefused(message):
                effects = self._raise_local(
                    "configuration_refused", message, now_ns, FaultCategory.USER, FaultLevel.WARN
                )
            case JournalFailed(reason):
                # without a memory it can neither vote nor deal
                why = f"its journal cannot be written: {reason}"
                category = FaultCategory.FRAMEWORK
                effects = self._raise_local("journal_failed", why, now_ns, category)
            case InternalErrorOccurred(message):
                effects = self._raise_local("uncaught", message, now_ns, FaultCategory.LOGIC)
            case BatteryClaimed(_, _, failure):
                effects = []
                if failure:
                    effects = self._raise_local(
                        "battery_lock_failed",
                        failure,
                        now_ns,
                        FaultCategory.FRAMEWORK,
                        FaultLevel.FATAL,
                    )
            case StopAsked():
                effects = self._stop(now_ns)
        for effect in effects:
            if isinstance(effect, PublishFault):  # what we find out as grid master
                self._faults.add(effect.fault, now_ns)
                effects = [*effects, *self._stop_grid(effect.fault)]
        return [*effects, *self._settle(now_ns)]

    def _is_routine(self, event: Event, now_ns: int) -> bool:
        """Take in what is heard often and changes nothing that anybody waits for."""
        if not isinstance(event, Received):
            return False
        if isinstance(event.message, Deal):
            if self._hear_deal(event.message) and self._grid_master is not None:
                self._grid_master.hear_deal(event.message)
                self._wake_ns = None  # what is left behind has an end, too
            return True
        status = event.message
        if not isinstance(status, UnitStatus) or self._grid_master is not None:
            return False
        known = self._state.peers.get(status.unit_id)
        if known is None or status.policy_hash != known[0].policy_hash:
            return False
        if status.global_mode_version > self._modes.version:
            return False
        if status.global_mode is not self._modes.global_mode:
            return False
        self._state.peers[status.unit_id] = (status, now_ns)
        return True

    # --- time ------------------------------------------------------------------------------------

    def _tick(self, now_ns: int) -> list[Effect]:
        self._faults.tick(now_ns)
        reachable = self._state.reachable(now_ns)
        minority_allowed = self._state.minority_allowed(now_ns)
        effects = [
            *self._election.tick(now_ns, reachable, minority_allowed=minority_allowed),
            *self._converter.tick(now_ns),
        ]
        if self._grid_master is not None:
            effects += self._grid_master.tick(now_ns)
        if self._converter.has_shares and self._state.is_cut_off(now_ns):
            effects += self._converter.stop("it hears neither grid master nor majority", now_ns)
        effects += self._order_handler.drop_expired_slots(now_ns)
        effects += self._order_handler.end_overdue(now_ns)
        effects += self._trader.tick(self._state.trading_conditions(now_ns), now_ns)
        effects += self._roll_out.tick(
            now_ns,
            is_grid_master=self._grid_master is not None,
            is_bus_free=self._grid_master is not None and self._grid_master.is_idle,
        )
        if now_ns >= self._leave_due_ns:
            self._leave_due_ns = NEVER_NS
            effects += self._converter.stop("the process is stopping", now_ns)
        if now_ns >= self._force_stop_due_ns:
            self._force_stop_due_ns = NEVER_NS
            effects += self._converter.stop("the operator's Force stop", now_ns)
        return effects

    def _settle(self, now_ns: int) -> list[Effect]:
        """What follows from any event.

        The lease that comes or goes, deals that can be closed, news about ourselves.
        """
        effects = self._take_rules(now_ns)
        is_master = self._election.is_master(now_ns)
        if is_master and (
            self._grid_master is None or self._grid_master.term != self._election.term
        ):
            effects += self._take_office(now_ns)
        elif not is_master:
            # what it ran ends by the units' hold times, or by its successor
            self._grid_master = None
        stops = self._modes.effective in _ENDS_DEALS
        if not (stops and self._interlock.deals):
            self._force_stop_due_ns = NEVER_NS
        elif self._force_stop_due_ns == NEVER_NS and not self._converter.is_stopping:
            self._force_stop_due_ns = now_ns + self._timing.force_stop_ns
        effects += self._order_handler.close_deals()
        leader_id = self._election.grid_master_id(now_ns)
        effects += self._trader.follow(leader_id, self._election.term, now_ns)
        if self._state.is_stopping and self._is_ready_to_end(now_ns):
            self._is_stopped = True
            return [*effects, *self._election.resign(now_ns), AllowExit()]
        effects += self._tell_faults_again(now_ns)
        status = self._status_publisher.due_status(
            now_ns, is_grid_master=self._grid_master is not None
        )
        if status is not None:
            effects.append(Broadcast(status))
            effects += self._grid_master.hear_status(status, now_ns) if self._grid_master else []
        return effects

    def _take_office(self, now_ns: int) -> list[Effect]:
        statuses = self._state.fresh_statuses(now_ns)
        if self._status_publisher.last is not None:
            statuses[self._unit_id] = self._status_publisher.last
        self._grid_master = GridMaster(
            unit_id=self._unit_id,
            term=self._election.term,
            policy=self._state.policy,
            timing=self._timing,
            random=self._random,
            known_deals=self._deals,
            statuses=statuses,
            heard_ns={u: heard for u, (_, heard) in self._state.peers.items()},
            now_ns=now_ns,
        )
        return self._grid_master.begin(now_ns)

    # --- configuration ---------------------------------------------------------------------------

    def _make_trader(self, policy: Policy, now_ns: int) -> Trader:
        return Trader(
            unit_id=self._unit_id,
            policy=policy,
            timing=self._timing,
            interlock=self._interlock,
            random=self._random,
            now_ns=now_ns,
        )

    def _take_rules(self, now_ns: int) -> list[Effect]:
        """Go by another policy, or another hwConfig, once nothing flows and nothing is agreed."""
        policy, hardware = self._roll_out.decided, self._next_hardware
        if policy is None and hardware is None:
            return []
        rests = not self._interlock.is_used and self._converter.is_off
        if not rests or (self._grid_master is not None and not self._grid_master.is_idle):
            return []
        state = self._state
        state.hardware, self._next_hardware = hardware or state.hardware, None
        effects: list[Effect] = [Log("goes by another hwConfig")] if hardware else []
        if policy is not None:
            effects += self._adopt(policy, now_ns)
        self._interlock.capacity = _slots(state.policy, state.hardware)
        self._converter.take_rules(
            state.policy, state.hardware, self._timing.retry_ns, self._timing.late_ns
        )
        return effects

    def _adopt(self, policy: Policy, now_ns: int) -> list[Effect]:
        state = self._state
        effects: list[Effect] = [Record(PolicyAdopted(policy_file(policy)))]
        members = policy.member_unit_ids
        if set(members) != set(state.policy.member_unit_ids):
            effects.append(FollowMembers(members))
        state.policy, state.policy_hash = policy, policy_hash(policy)
        state.timing = self._timing = Timing.of(policy, *self._limits_ns)
        for unit_id in [peer for peer in state.peers if peer not in members]:
            del state.peers[unit_id]
        if self._unit_id not in members:
            effects += self._election.resign(now_ns)
        self._election.take_rules(
            member_ids=members,
            timing=self._timing.election,
            may_stand=_may_stand(self._unit_id, policy),
            policy_hash=state.policy_hash,
            policy_version=policy.version,
        )
        self._faults.local_quarantine_ns = policy.local_quarantine_ns
        self._faults.global_quarantine_ns = policy.global_quarantine_ns
        if self._modes.version == 0:  # no operator has spoken yet
            self._modes.global_mode = policy.operation_mode
        self._trader = self._make_trader(policy, now_ns)
        self._check = SelfMonitor(state, self._raise_local)
        self._grid_master = None  # opened anew, if it is ours
        self._roll_out.has_adopted()
        return [*effects, Log(f"goes by version {policy.version} of the policy")]

    # --- messages --------------------------------------------------------------------------------

    def _receive(self, message: object, now_ns: int) -> list[Effect]:
        match message:
            case GridMasterClaim():
                return self._election.hear_claim(message, now_ns)
            case LeaseGrant():
                return self._election.hear_grant(message, now_ns)
            case OperationModeOrder():
                is_for_us = message.unit_id in (NOBODY, self._unit_id)
                if is_for_us and message.mode is OperationMode.RUN:
                    self._faults.reset()  # an operator has seen to it
                return self._modes.hear_order(message)
            case UnitStatus():
                return self._hear_status(message, now_ns)
            case InterchangeRequest():
                return self._trader.hear_request(
                    message, self._state.trading_conditions(now_ns), now_ns
                )
            case InterchangeAccept():
                return self._trader.hear_accept(
                    message, self._state.trading_conditions(now_ns), now_ns
                )
            case Fault():
                return self._hear_fault(message, now_ns)
            case PolicyOffer():
                is_master = self._grid_master is not None
                return self._roll_out.hear(message, now_ns, is_grid_master=is_master)
        return []

    def _hear_status(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        if status.unit_id == self._unit_id:
            return self._hear_namesake(status, now_ns)
        if status.unit_id not in self._state.policy.member_unit_ids:
            return []
        self._state.peers[status.unit_id] = (status, now_ns)
        self._roll_out.hear_status(status)
        effects = self._modes.hear_status(status)
        if self._grid_master is not None:
            effects += self._grid_master.hear_status(status, now_ns)
        return effects

    def _hear_namesake(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        """Our own status came to our grid master when it was sent; another process's is a fault.

        One word may be the last of an earlier process of ours. Who speaks twice is alive.
        """
        if status.instance_id == self._state.instance_id:
            return []
        instance_id, sequence = self._namesake
        self._namesake = (status.instance_id, status.sequence)
        if (instance_id, sequence) == self._namesake or instance_id != status.instance_id:
            return []
        message = f"another process says that it is {self._unit_id}; ids must differ"
        effects = self._raise_local(
            "duplicate_unit_id", message, now_ns, FaultCategory.USER, FaultLevel.FATAL
        )
        return [*effects, *self._converter.stop(message, now_ns)]

    def _hear_deal(self, deal: Deal) -> bool:
        """Keep a record of a deal; False if it is older than what is known."""
        known = self._deals.get(deal.deal_id)
        if known is not None and (known.term, known.sequence) >= (deal.term, deal.sequence):
            return False
        if deal.deal_id in self._over:
            return False
        if deal.state.is_over:
            self._deals.pop(deal.deal_id, None)
            self._over[deal.deal_id] = None
            if len(self._over) > _REMEMBERED_DEALS:
                del self._over[next(iter(self._over))]
            return True
        self._deals[deal.deal_id] = deal
        while len(self._deals) > _REMEMBERED_DEALS:
            del self._deals[next(iter(self._deals))]
        slot = self._interlock.held(deal.deal_id)
        if slot is not None:
            slot.energy_wh = max(deal.energy_wh - deal.moved_wh, 0.0)
        return True

    def _hear_fault(self, fault: Fault, now_ns: int) -> list[Effect]:
        is_member = fault.unit_id in self._state.policy.member_unit_ids
        if not is_member or fault.reporter_id == self._unit_id:
            return []  # our own were taken in when they were raised
        is_news = self._faults.add(fault, now_ns)
        if is_news and fault.extent is FaultExtent.LOCAL and fault.unit_id == self._unit_id:
            return self._act_upon(fault, now_ns)  # somebody else has seen that we are amiss
        if self._grid_master is None:
            return []
        return [*self._grid_master.hear_fault(fault, now_ns), *self._stop_grid(fault)]

    def _answered(
        self,
        origin: Origin,
        reply: ControlReply | SubmitReply | ConverterReply | None,
        now_ns: int,
    ) -> list[Effect]:
        if origin.asker is Asker.CONVERTER_MANAGER:
            if reply is not None and not isinstance(reply, ConverterReply):
                raise ProtocolMisuse(f"{origin} is answered by a {type(reply).__name__}")
            effects: list[Effect] = []
            if self._converter.is_switching_on(origin):
                effects += self._note_refusal(reply, now_ns)
            effects += self._converter.answered(origin, reply, self._state.soc_ratio, now_ns)
            effects += self._note_silence(reply is None, now_ns)
            return [*effects, *self._check.look(now_ns)]
        if origin.asker is Asker.TRADER:
            if reply is not None and not isinstance(reply, SubmitReply):
                raise ProtocolMisuse(f"{origin} is answered by a {type(reply).__name__}")
            return self._trader.submission_answered(origin.deal_id, reply)
        if reply is not None and not isinstance(reply, ControlReply):
            raise ProtocolMisuse(f"{origin} is answered by a {type(reply).__name__}")
        return self._grid_master.answered(origin, reply, now_ns) if self._grid_master else []

    def _note_silence(self, is_silent: bool, now_ns: int) -> list[Effect]:
        """A driver that leaves several orders unanswered, and that for long, is a fault."""
        count, since_ns = self._unanswered if self._unanswered[0] else (0, now_ns)
        self._unanswered = (count + 1, since_ns) if is_silent else (0, now_ns)
        attempts = self._state.policy.request_attempts
        is_long = now_ns - since_ns >= attempts * self._timing.deal.answer_ns
        if self._unanswered[0] < attempts or not is_long:
            return []
        message = f"the driver has not answered {self._unanswered[0]} orders in a row"
        return self._raise_local("driver_unreachable", message, now_ns)

    def _note_refusal(self, reply: ConverterReply | None, now_ns: int) -> list[Effect]:
        """Deals that its driver spoils come less and less often, and become a fault."""
        refusals = self._state.refusals
        pause_ns = self._state.policy.local_quarantine_ns
        if not refusals.note(reply, pause_ns, now_ns):
            return []
        message = f"the driver has not obeyed {refusals.count} orders in a row: {refusals.message}"
        return self._raise_local("driver_disobeys", message, now_ns)

    def _take_submission(self, requester: Requester, deal: Deal, now_ns: int) -> list[Effect]:
        if self._grid_master is None or self._state.is_stopping:
            other = self._election.grid_master_id(now_ns)
            other = NOBODY if other == self._unit_id else other
            message = f"{self._unit_id} is not the grid master; ask {other or 'again later'}"
            reply = SubmitReply(
                error=SubmitError.NOT_GRID_MASTER, message=message, grid_master_id=other
            )
            return [Answer(requester, reply)]
        reason = ""
        if now_ns < self._state.paused_until_ns:
            reason = "a new policy is about to hold"
        missed = [u for u in deal.unit_ids if u in self._state.suspect_ids(now_ns)]
        if missed:
            reason = f"{', '.join(missed)} has not been heard for a while"
        if reason:
            reply = SubmitReply(
                error=SubmitError.NOT_DEALING, message=reason, grid_master_id=self._unit_id
            )
            return [Answer(requester, reply)]
        return self._grid_master.submit(requester, deal, self._modes.global_mode, now_ns)

    # --- faults ----------------------------------------------------------------------------------

    def _raise_local(
        self,
        code: str,
        message: str,
        now_ns: int,
        category: FaultCategory = FaultCategory.HARDWARE,
        level: FaultLevel = FaultLevel.ERROR,
    ) -> list[Effect]:
        fault = Fault(
            unit_id=self._unit_id,
            reporter_id=self._unit_id,
            category=category,
            extent=FaultExtent.LOCAL,
            level=level,
            code=code,
            message=message,
        )
        if not self._faults.add(fault, now_ns):
            return []
        return [PublishFault(fault), *self._act_upon(fault, now_ns)]

    def _act_upon(self, fault: Fault, now_ns: int) -> list[Effect]:
        """What a fault of this unit asks it to do."""
        effects: list[Effect] = []
        effects += self._grid_master.hear_fault(fault, now_ns) if self._grid_master else []
        for action in actions_for(fault):
            if action is Action.ASK_TO_END:
                self._order_handler.ask_to_end_all(f"{fault.code}: {fault.message}", now_ns)
            elif action is Action.STEP_DOWN:
                effects += self._election.step_down(now_ns)
            elif action is Action.MODE_STOP_LOCAL:
                order = OperationModeOrder(unit_id=self._unit_id, mode=OperationMode.FORCE_STOP)
                effects += self._modes.hear_order(order)
        return effects

    def _tell_faults_again(self, now_ns: int) -> list[Effect]:
        """A grid master that is new may not have heard what keeps us, or all, from dealing."""
        told_to = (self._election.grid_master_id(now_ns), self._election.term)
        if told_to[0] in (NOBODY, self._unit_id) or told_to == self._told_to:
            return []
        self._told_to = told_to
        return [PublishFault(fault) for fault in self._faults.to_tell_again(now_ns)]

    def _stop_grid(self, fault: Fault) -> list[Effect]:
        """The grid master stops all, if a fault is so bad; the others learn it from its status."""
        if self._grid_master is None or Action.MODE_STOP not in actions_for(fault):
            return []
        order = OperationModeOrder(unit_id=NOBODY, mode=OperationMode.FORCE_STOP)
        return self._modes.hear_order(order)

    # --- stopping the process --------------------------------------------------------------------

    def _stop(self, now_ns: int) -> list[Effect]:
        if self._state.is_stopping:
            return []
        self._state.is_stopping = True
        self._stop_due_ns = now_ns + self._timing.stop_ns
        effects: list[Effect] = [Log("is stopping")]
        if self._grid_master is not None:
            effects += self._grid_master.step_down(f"{self._unit_id} is stopping", now_ns)
        # first orderly, so that a bus that others use is handed over; then by our own will
        self._leave_due_ns = now_ns + self._timing.leave_ns
        for deal in self._interlock.deals:
            self._order_handler.ending[deal.deal_id] = (
                "the process is stopping",
                self._leave_due_ns,
            )
        return effects

    def _is_ready_to_end(self, now_ns: int) -> bool:
        runs_deals = self._grid_master is not None and not self._grid_master.can_hand_off
        waits_for_deals = runs_deals or bool(self._interlock.deals)
        is_off = self.converter_mode in (ConverterMode.WAIT, ConverterMode.UNKNOWN)
        return now_ns >= self._stop_due_ns or (is_off and not waits_for_deals)


def _may_stand(unit_id: UnitId, policy: Policy) -> bool:
    is_fixed = policy.grid_master_strategy is GridMasterStrategy.FIXED
    return not is_fixed or policy.fixed_unit_id in (None, unit_id)


def _rank(unit_id: UnitId, policy: Policy) -> int:
    """The place of a unit among those that may be the grid master."""
    standing = [each for each in policy.member_unit_ids if _may_stand(each, policy)]
    return standing.index(unit_id) if unit_id in standing else 0


def _slots(policy: Policy, hardware: Hardware) -> int:
    """How many deals the converter can carry at once."""
    return int(hardware.grid_current_capacity_a / policy.deal_current_a + 1e-9)


def _written_policy(text: str) -> Policy | None:
    """A policy that the journal holds; None = none, or one that makes no sense any more."""
    try:
        return parse_policy(text, "the journal") if text else None
    except ConfigError:
        return None


def _policy_of(settings: AgentSettings, persisted_state: PersistedState) -> Policy:
    """The policy with which a unit begins.

    A policy that the grid master rolled out is as good as a file; a file that is newer than that
    is offered to the others first. One that does not know this unit is of no use to it.
    """
    written = _written_policy(persisted_state.policy_text)
    if written is None or written.version == settings.policy.version:
        return settings.policy
    return written if settings.unit_id in written.member_unit_ids else settings.policy
