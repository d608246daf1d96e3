"""One unit: composes the machines and routes what happens to them.

    effects = agent.handle(event, now_ns)
    wake_ns = agent.next_wakeup_ns()

The agent never sleeps, reads no clock, draws no random number that was not injected. The same
object runs in the ROS node, in the deterministic simulator and in the year-long study.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from apis_core.converter import ConverterKeeper
from apis_core.election import Election
from apis_core.errors import ProtocolMisuse
from apis_core.events import (
    Answer,
    Answered,
    Asked,
    BatteryRead,
    Broadcast,
    ConverterRead,
    DealClosed,
    DealOpened,
    DealUnwanted,
    DealWanted,
    Effect,
    Entry,
    Event,
    GlobalModeSet,
    LeaseGranted,
    LocalModeSet,
    Note,
    Raise,
    Received,
    Record,
    RenewalDue,
    StopAsked,
    Stopped,
    Wake,
)
from apis_core.fault_matrix import Action, actions_for
from apis_core.faults import FaultBook
from apis_core.grid_master import GridMaster
from apis_core.hardware import Hardware
from apis_core.interlock import Interlock
from apis_core.messages import (
    BatteryReading,
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
    SubmitReply,
    UnitStatus,
)
from apis_core.operation_mode import OperationModes
from apis_core.policy import Policy, policy_hash
from apis_core.safety import Debounce, dynamic_violation, mode_violation, static_violation
from apis_core.scenario import Scenario, Section, band_of, section_at
from apis_core.timing import Timing
from apis_core.trader import Standing, Trader
from apis_core.types import (
    NOBODY,
    ControlError,
    ControlOperation,
    ConverterMode,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    GridMasterStrategy,
    OperationMode,
    StopCause,
    SubmitError,
    UnitId,
)
from apis_core.units import NEVER_NS

__all__ = ["Agent", "AgentSettings", "Memory"]

_REMEMBERED_DEALS = 200
_LATCH_AFTER = 3  # a fault that has come back so often stays until an operator says Run
_BEGINS = (  # what a unit that is stopping does not do any more
    ControlOperation.ACQUIRE,
    ControlOperation.VOLTAGE_REFERENCE,
    ControlOperation.CHARGE,
    ControlOperation.DISCHARGE,
    ControlOperation.WILL_TAKE_OVER,
)
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
        network_floor_ns: See :mod:`apis_core.timing`; 0 in real time. [ns]
    """

    unit_id: UnitId
    instance_id: str
    policy: Policy
    hardware: Hardware
    scenario: Scenario
    driver_hold_s: float = 5.0
    network_floor_ns: int = 0


@dataclass(slots=True)
class Memory:
    """What the journal of an earlier process of this unit says, folded into the present state."""

    term: int = 0
    granted_to: UnitId = NOBODY
    local_mode: OperationMode = OperationMode.UNSET
    global_mode: OperationMode = OperationMode.UNSET
    global_mode_version: int = 0
    open_deals: dict[str, Deal] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Fold in one more journal entry, in the order in which they were written."""
        match entry:
            case LeaseGranted(term, unit_id):
                self.term, self.granted_to = term, unit_id
            case LocalModeSet(mode):
                self.local_mode = mode
            case GlobalModeSet(mode, version):
                self.global_mode, self.global_mode_version = mode, version
            case DealOpened(deal):
                self.open_deals[deal.deal_id] = deal
            case DealClosed(receipt):
                self.open_deals.pop(receipt.deal_id, None)


class Agent:
    """One unit.

    Args:
        settings: See :class:`AgentSettings`.
        memory: From the journal; a fresh one if there is none.
        random: Source of back-off, jitter and deal ids; injected so that a seed fixes them.
        now_ns: Present time.
    """

    def __init__(
        self, settings: AgentSettings, memory: Memory, random: Random, now_ns: int
    ) -> None:
        policy, hardware = settings.policy, settings.hardware
        if settings.unit_id not in policy.member_unit_ids:
            raise ProtocolMisuse(f"{settings.unit_id} is not a member of its policy")
        self._settings = settings
        self._unit_id = settings.unit_id
        self._policy = policy
        self._hardware = hardware
        self._random = random
        self._timing = timing = Timing.of(policy, settings.network_floor_ns)
        self._policy_hash = policy_hash(policy)
        is_fixed = policy.grid_master_strategy is GridMasterStrategy.FIXED
        self._election = Election(
            unit_id=self._unit_id,
            instance_id=settings.instance_id,
            member_ids=policy.member_unit_ids,
            timing=timing.election,
            random=random,
            now_ns=now_ns,
            term=memory.term,
            granted_to=memory.granted_to,
            may_stand=not is_fixed or policy.fixed_unit_id in (None, self._unit_id),
            policy_hash=self._policy_hash,
        )
        self._modes = OperationModes(
            unit_id=self._unit_id,
            global_mode=memory.global_mode or policy.operation_mode,
            version=memory.global_mode_version,
            local_mode=memory.local_mode,
        )
        self._interlock = Interlock(
            int(hardware.grid_current_capacity_a / policy.deal_current_a + 1e-9)
        )
        self._converter = ConverterKeeper(
            unit_id=self._unit_id,
            hardware=hardware,
            policy=policy,
            driver_hold_s=settings.driver_hold_s,
            retry_ns=timing.retry_ns,
            late_ns=timing.late_ns,
        )
        self._faults = FaultBook(
            self._unit_id,
            policy.local_quarantine_ns,
            policy.global_quarantine_ns,
            latch_after=_LATCH_AFTER,
        )
        self._office: GridMaster | None = None
        self._trader = Trader(
            unit_id=self._unit_id,
            policy=policy,
            timing=timing,
            interlock=self._interlock,
            random=random,
            now_ns=now_ns,
        )
        self._battery: BatteryReading | None = None
        self._section: Section | None = None  # of the scenario, for the battery's time of day
        self._band = ""  # of the battery in it
        self._peers: dict[UnitId, tuple[UnitStatus, int]] = {}
        self._deals: dict[str, Deal] = {}  # last records heard, of deals that are not over
        self._closing: dict[
            str, str
        ] = {}  # deals to be closed once the converter is off -> call to answer
        # deals that the grid master is asked to end: why, and when we do it ourselves
        self._ending: dict[str, tuple[str, int]] = {}
        self._namesake = ("", 0)  # another process of our name: its instance, its last sequence
        self._debounce = Debounce(timing.debounce_ns)
        self._wake_ns: int | None = None  # reckoned when asked for
        self._status_sequence = 0
        self._last_status: UnitStatus | None = None
        self._last_gist: tuple[object, ...] = ()
        self._status_due_ns = now_ns
        self._force_stop_due_ns = NEVER_NS
        self._leave_due_ns = NEVER_NS  # while stopping: when we leave what others have not ended
        self._stop_due_ns = NEVER_NS
        self._is_stopping = False
        self._is_stopped = False
        # deals that an earlier process had open: it died in the middle of them, so they are over
        # for this unit
        self._left_over = tuple(memory.open_deals.values())

    # --- what the shell uses ---------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Effect]:
        """First effects.

        The converter goes to WAIT whatever it was doing, and old deals are closed in the journal.
        """
        effects = self._converter.stop("starting", now_ns, at_once=True)
        for deal in self._left_over:
            receipt = self._converter.ledger.close(deal.deal_id, "the unit was restarted")
            effects.append(Record(DealClosed(receipt)))
            effects.append(Note(f"closes deal {deal.deal_id}, which an earlier process left open"))
        return [*effects, *self._settle(now_ns)]

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
            self._office.wake_ns if self._office else NEVER_NS,
            self._trader.wake_ns,
            self._status_due_ns,
            min((due_ns for _, due_ns in self._ending.values()), default=NEVER_NS),
            self._force_stop_due_ns,
            self._leave_due_ns,
            self._stop_due_ns,
        )

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event in; get back what to do, in this order."""
        if self._is_stopped or self._is_routine(event, now_ns):
            return []
        self._wake_ns = None
        match event:
            case Wake():
                effects = self._tick(now_ns)
            case Received(message):
                effects = self._receive(message, now_ns)
            case Asked(call_id, ControlRequest() as request):
                effects = self._obey(call_id, request, now_ns)
            case Asked(call_id, DealSubmission(deal=deal)):
                effects = self._take_submission(call_id, deal, now_ns)
            case Answered(call_id, reply):
                effects = self._answered(call_id, reply, now_ns)
            case ConverterRead(reading):
                effects = [
                    *self._converter.hear_reading(reading, now_ns),
                    *self._check_converter(now_ns),
                ]
            case BatteryRead(battery):
                self._take_battery(battery)
                effects = []
            case RenewalDue():
                effects = self._converter.renew(now_ns)
            case DealWanted():
                standing = self._standing(now_ns, _BY_HAND)
                effects = self._trader.want(event, standing, now_ns)
            case DealUnwanted(deal_id):
                effects = self._give_up(deal_id, now_ns)
            case StopAsked():
                effects = self._stop(now_ns)
        for effect in effects:
            if isinstance(effect, Raise):  # what our office finds out concerns ourselves, too
                self._faults.add(effect.fault, now_ns)
                effects = [*effects, *self._stop_grid(effect.fault)]
        return [*effects, *self._settle(now_ns)]

    def _is_routine(self, event: Event, now_ns: int) -> bool:
        """Take in what is heard often and changes nothing that anybody waits for."""
        if not isinstance(event, Received):
            return False
        if isinstance(event.message, Deal):
            self._hear_deal(event.message)
            if self._office is not None:
                self._office.hear_deal(event.message)
            return True
        status = event.message
        if not isinstance(status, UnitStatus) or self._office is not None:
            return False
        known = self._peers.get(status.unit_id)
        if known is None or status.policy_hash != known[0].policy_hash:
            return False
        if status.global_mode_version > self._modes.version:
            return False
        if status.global_mode is not self._modes.global_mode:
            return False
        self._peers[status.unit_id] = (status, now_ns)
        return True

    # --- time ------------------------------------------------------------------------------------

    def _tick(self, now_ns: int) -> list[Effect]:
        self._faults.tick(now_ns)
        reachable = len(self._live_peer_ids(now_ns)) + 1
        effects = [*self._election.tick(now_ns, reachable), *self._converter.tick(now_ns)]
        if self._office is not None:
            effects += self._office.tick(now_ns)
        effects += self._drop_expired_slots(now_ns)
        effects += self._end_overdue(now_ns)
        effects += self._trader.tick(self._standing(now_ns), now_ns)
        if now_ns >= self._leave_due_ns:
            self._leave_due_ns = NEVER_NS
            effects += self._converter.stop("the process is stopping", now_ns)
        if now_ns >= self._force_stop_due_ns:
            self._force_stop_due_ns = NEVER_NS
            effects += self._converter.stop("the operator's Force stop", now_ns)
        return effects

    def _settle(self, now_ns: int) -> list[Effect]:
        """What follows from any event.

        The office that comes or goes, deals that can be closed, news about ourselves.
        """
        effects: list[Effect] = []
        is_master = self._election.is_master(now_ns)
        if is_master and (self._office is None or self._office.term != self._election.term):
            self._office = GridMaster(
                unit_id=self._unit_id,
                term=self._election.term,
                policy=self._policy,
                timing=self._timing,
                random=self._random,
                known_deals=self._deals,
                statuses=self._known_statuses(now_ns),
                now_ns=now_ns,
            )
            effects += self._office.begin(now_ns)
        elif not is_master:
            self._office = None  # what it ran ends by the units' hold times, or by its successor
        stops = self._modes.effective in (OperationMode.FORCE_STOP, OperationMode.MANUAL)
        if not (stops and self._interlock.deals):
            self._force_stop_due_ns = NEVER_NS
        elif self._force_stop_due_ns == NEVER_NS and not self._converter.is_stopping:
            self._force_stop_due_ns = now_ns + self._timing.force_stop_ns
        effects += self._close_deals(now_ns)
        if self._is_stopping and self._is_ready_to_end(now_ns):
            self._is_stopped = True
            return [*effects, *self._election.resign(now_ns), Stopped()]
        return [*effects, *self._tell_status(now_ns)]

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
                return self._trader.hear_request(message, self._standing(now_ns), now_ns)
            case InterchangeAccept():
                return self._trader.hear_accept(message, self._standing(now_ns), now_ns)
            case Fault():
                return self._hear_fault(message, now_ns)
        return []

    def _hear_status(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        if status.unit_id == self._unit_id:
            return self._hear_namesake(status, now_ns)
        if status.unit_id not in self._policy.member_unit_ids:
            return []
        self._peers[status.unit_id] = (status, now_ns)
        effects = self._modes.hear_status(status)
        if self._office is not None:
            effects += self._office.hear_status(status, now_ns)
        return effects

    def _hear_namesake(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        """Our own status came to the office when it was sent; another process's is a fault.

        One word may be the last of an earlier process of ours. Who speaks twice is alive.
        """
        if status.instance_id == self._settings.instance_id:
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

    def _hear_deal(self, deal: Deal) -> None:
        known = self._deals.get(deal.deal_id)
        if known is not None and (known.term, known.sequence) >= (deal.term, deal.sequence):
            return
        if deal.state.is_over:
            self._deals.pop(deal.deal_id, None)
            return
        self._deals[deal.deal_id] = deal
        while len(self._deals) > _REMEMBERED_DEALS:
            del self._deals[next(iter(self._deals))]
        slot = self._interlock.held(deal.deal_id)
        if slot is not None:
            slot.energy_wh = max(deal.energy_wh - deal.moved_wh, 0.0)

    def _hear_fault(self, fault: Fault, now_ns: int) -> list[Effect]:
        if fault.unit_id not in self._policy.member_unit_ids or fault.reporter_id == self._unit_id:
            return []  # our own were taken in when they were raised
        self._faults.add(fault, now_ns)
        if self._office is None:
            return []
        return [*self._office.hear_fault(fault, now_ns), *self._stop_grid(fault)]

    def _answered(
        self, call_id: str, reply: ControlReply | SubmitReply | ConverterReply | None, now_ns: int
    ) -> list[Effect]:
        if call_id.startswith("converter/"):
            if reply is not None and not isinstance(reply, ConverterReply):
                raise ProtocolMisuse(f"{call_id} is answered by a {type(reply).__name__}")
            effects = self._converter.answered(call_id, reply, self._soc_ratio, now_ns)
            return [*effects, *self._check_converter(now_ns)]
        if call_id.startswith("submit/"):
            if reply is not None and not isinstance(reply, SubmitReply):
                raise ProtocolMisuse(f"{call_id} is answered by a {type(reply).__name__}")
            return self._trader.submission_answered(call_id.removeprefix("submit/"), reply)
        if reply is not None and not isinstance(reply, ControlReply):
            raise ProtocolMisuse(f"{call_id} is answered by a {type(reply).__name__}")
        return self._office.answered(call_id, reply, now_ns) if self._office else []

    # --- dealing ---------------------------------------------------------------------------------

    def _why_not_dealing(
        self, now_ns: int, modes: tuple[OperationMode, ...] = (OperationMode.RUN,)
    ) -> str:
        """Why this unit neither asks, accepts nor begins deals now; empty = it does."""
        if self._is_stopping:
            return "is stopping"
        effective = self._modes.effective
        if effective not in modes:
            return f"is in {effective.name.replace('_', ' ').lower()}"
        if self._converter.reading.mode is ConverterMode.UNKNOWN:
            return "its converter has not been read"
        if self._battery is None or self._battery.soc_ratio is None:
            return "its battery has not been read"
        reason = self._faults.why_not()
        if reason:
            return reason
        grid_master_id = self._election.grid_master_id(now_ns)
        if grid_master_id == NOBODY:
            return "there is no grid master"
        peer = self._peers.get(grid_master_id)
        if peer is not None and peer[0].policy_hash not in ("", self._policy_hash):
            return f"its policy differs from that of {grid_master_id}"
        return (
            "" if self._section is not None else "the scenario has no section for this time of day"
        )

    def _standing(
        self, now_ns: int, modes: tuple[OperationMode, ...] = (OperationMode.RUN,)
    ) -> Standing:
        return Standing(
            why_not=self._why_not_dealing(now_ns, modes),
            section=self._section,
            expected_wh=self._expected_wh,
            efficient_grid_voltage_v=self._efficient_grid_voltage_v,
            grid_master_id=self._election.grid_master_id(now_ns),
            live_peer_ids=self._live_peer_ids(now_ns),
        )

    def _live_peer_ids(self, now_ns: int) -> tuple[UnitId, ...]:
        return tuple(
            unit_id
            for unit_id, (_, heard_ns) in self._peers.items()
            if now_ns - heard_ns < self._timing.silent_ns
        )

    def _give_up(self, deal_id: str, now_ns: int) -> list[Effect]:
        """Ask the grid master to end a deal; what it does not do in time we do ourselves."""
        if self._interlock.held(deal_id) is not None:
            self._ending.setdefault(
                deal_id, ("the operator ends the deal", now_ns + self._timing.force_stop_ns)
            )
        return []

    def _end_overdue(self, now_ns: int) -> list[Effect]:
        """Leave the deals that the grid master was asked to end and has not."""
        effects: list[Effect] = []
        for deal_id, (reason, due_ns) in list(self._ending.items()):
            if self._interlock.held(deal_id) is None:
                del self._ending[deal_id]
            elif now_ns >= due_ns:
                del self._ending[deal_id]
                self._closing.setdefault(deal_id, "")
                if self._converter.works_for(deal_id):
                    effects += self._converter.leave(deal_id, reason, now_ns)
        return effects

    def _take_submission(self, call_id: str, deal: Deal, now_ns: int) -> list[Effect]:
        if self._office is None or self._is_stopping:
            other = self._election.grid_master_id(now_ns)
            other = NOBODY if other == self._unit_id else other
            message = f"{self._unit_id} is not the grid master; ask {other or 'again later'}"
            reply = SubmitReply(
                error=SubmitError.NOT_GRID_MASTER, message=message, grid_master_id=other
            )
            return [Answer(call_id, reply)]
        return self._office.submit(call_id, deal, self._modes.global_mode, now_ns)

    # --- obeying ---------------------------------------------------------------------------------

    def _obey(self, call_id: str, request: ControlRequest, now_ns: int) -> list[Effect]:
        error, message = self._why_not_obeying(request, now_ns)
        if error is not ControlError.NONE:
            return [Answer(call_id, self._report(request.deal_id, error, message))]
        slot = self._interlock.held(request.deal_id)
        if request.operation is ControlOperation.ACQUIRE:
            return self._acquire(call_id, request, now_ns)
        if slot is None and not (
            request.operation is ControlOperation.WAIT and not request.deal_id
        ):
            reply = self._report(
                request.deal_id, ControlError.UNKNOWN_DEAL, f"holds no slot for {request.deal_id}"
            )
            return [Answer(call_id, reply)]
        if request.operation is ControlOperation.RELEASE:
            self._closing[request.deal_id] = call_id
            if not self._converter.works_for(request.deal_id):
                return []
            return self._converter.leave(request.deal_id, "its slot is released", now_ns)
        if slot is not None:
            slot.until_ns = now_ns + max(request.hold_ns, self._timing.deal.hold_ns)
        return self._converter.obey(call_id, request, slot.deal if slot else None, now_ns)

    def _why_not_obeying(self, request: ControlRequest, now_ns: int) -> tuple[ControlError, str]:
        if request.term < self._election.term:
            return ControlError.OLD_TERM, f"term {self._election.term} has begun"
        if not self._election.obeys(request.grid_master_id, request.term, now_ns):
            holder = self._election.grid_master_id(now_ns) or "nobody"
            return ControlError.NOT_MY_GRID_MASTER, f"its grid master is {holder}"
        if self._is_stopping and request.operation in _BEGINS:
            return ControlError.NOT_READY, "is stopping"
        return ControlError.NONE, ""

    def _acquire(self, call_id: str, request: ControlRequest, now_ns: int) -> list[Effect]:
        def answer(error: ControlError, message: str) -> list[Effect]:
            return [Answer(call_id, self._report(request.deal_id, error, message))]

        deal = request.deal
        type_ = deal.type_of(self._unit_id) if deal is not None else None
        if deal is None or type_ is None or deal.deal_id != request.deal_id:
            return answer(ControlError.OUT_OF_RANGE, f"has no part in deal {request.deal_id}")
        capacity_a = self._hardware.grid_current_capacity_a
        if not 0.0 < deal.current_a <= capacity_a:
            return answer(
                ControlError.OUT_OF_RANGE,
                f"current_a is {deal.current_a:g}; it must be above 0 and <= {capacity_a:g} A",
            )
        reason = self._faults.why_not()
        if self._modes.effective not in (OperationMode.RUN, OperationMode.SOFT_STOP):
            reason = f"is in {self._modes.effective.name.replace('_', ' ').lower()}"
        elif self._converter.reading.mode is ConverterMode.UNKNOWN:
            reason = "its converter has not been read"
        if reason:
            return answer(ControlError.NOT_DEALING, reason)
        was_held = self._interlock.held(deal.deal_id) is not None
        until_ns = now_ns + max(request.hold_ns, self._timing.deal.hold_ns)
        error, message = self._interlock.acquire(deal, type_, until_ns)
        if error is not ControlError.NONE or was_held:
            return answer(error, message)
        return [Record(DealOpened(deal)), *answer(ControlError.NONE, "")]

    def _close_deals(self, now_ns: int) -> list[Effect]:
        """Give back the slots that were asked back, once the converter has left them."""
        effects: list[Effect] = []
        for deal_id, call_id in list(self._closing.items()):
            if self._converter.works_for(deal_id):
                continue
            del self._closing[deal_id]
            report = self._report(deal_id, ControlError.NONE, "")
            if self._interlock.release(deal_id) is not None:
                receipt = self._converter.close(deal_id)
                effects.append(Record(DealClosed(receipt)))
            if call_id:
                effects.append(Answer(call_id, report))
        return effects

    def _drop_expired_slots(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for deal_id in self._interlock.expired(now_ns):
            if self._interlock.held(deal_id) is None:
                self._interlock.release(deal_id)
                continue
            effects.append(Note(f"gives up deal {deal_id}: nobody renews it"))
            if self._converter.works_for(deal_id):
                effects += self._converter.leave(deal_id, f"nobody renews deal {deal_id}", now_ns)
            self._closing.setdefault(deal_id, "")
            slot = self._interlock.held(deal_id)
            if slot is not None:
                slot.until_ns = NEVER_NS  # closed as soon as the converter is off
        return effects

    def _report(self, deal_id: str, error: ControlError, message: str) -> ControlReply:
        return self._converter.report(deal_id, self._soc_ratio, error, message)

    # --- own converter and faults ----------------------------------------------------------------

    def _check_converter(self, now_ns: int) -> list[Effect]:
        """What the newest reading asks for: hard limits stop at once, without asking anybody."""
        reading = self._converter.reading
        effects: list[Effect] = []
        broken = static_violation(reading, self._hardware)
        if broken is not None:
            effects += self._converter.stop(broken[1], now_ns, at_once=True)
            news = self._raise_local(*broken, now_ns)
            # once, when it is news: an alarm that stays keeps the unit in quarantine
            effects += [*news, *self._converter.acknowledge()] if news else []
        else:
            effects += self._check_obedience(now_ns)
        has_tripped = reading.mode is ConverterMode.WAIT and reading.stop_cause is StopCause.TRIP
        if has_tripped and self._interlock.held(reading.deal_id) is not None:
            effects += self._raise_local("converter_trip", reading.stop_detail, now_ns)
        return effects

    def _check_obedience(self, now_ns: int) -> list[Effect]:
        """Whether the converter does what it was told, and that for somebody."""
        reading, keeper = self._converter.reading, self._converter
        if self._modes.effective is OperationMode.MANUAL or keeper.is_stopping:
            self._debounce.keep_only(())
            return []
        seen = dynamic_violation(
            reading,
            self._hardware,
            self._policy,
            is_voltage_masked=keeper.is_voltage_masked(now_ns),
        )
        amiss = [seen, mode_violation(reading.mode, keeper.types)]
        violations = [violation for violation in amiss if violation is not None]
        self._debounce.keep_only([code for code, _ in violations])
        effects: list[Effect] = []
        for code, message in violations:
            if self._debounce.is_real(code, reading.stamp_ns, now_ns):
                effects += self._raise_local(code, message, now_ns)
                if not keeper.types:
                    effects += keeper.stop(message, now_ns)
        return effects

    def _ask_to_end(self, reason: str, now_ns: int) -> None:
        """Ask the grid master to end all our deals; later we do it ourselves."""
        for deal in self._interlock.deals:
            due_ns = now_ns + self._timing.force_stop_ns
            self._ending.setdefault(deal.deal_id, (reason, due_ns))

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
        effects: list[Effect] = [Raise(fault)]
        effects += self._office.hear_fault(fault, now_ns) if self._office else []
        for action in actions_for(fault):
            if action is Action.ASK_TO_END:
                self._ask_to_end(f"{code}: {message}", now_ns)
            elif action is Action.LEAVE_OFFICE:
                effects += self._election.step_down(now_ns)
            elif action is Action.MODE_STOP_LOCAL:
                order = OperationModeOrder(unit_id=self._unit_id, mode=OperationMode.FORCE_STOP)
                effects += self._modes.hear_order(order)
        return effects

    def _stop_grid(self, fault: Fault) -> list[Effect]:
        """The grid master stops all, if a fault is so bad; the others learn it from its status."""
        if self._office is None or Action.MODE_STOP not in actions_for(fault):
            return []
        order = OperationModeOrder(unit_id=NOBODY, mode=OperationMode.FORCE_STOP)
        return self._modes.hear_order(order)

    # --- stopping the process --------------------------------------------------------------------

    def _stop(self, now_ns: int) -> list[Effect]:
        if self._is_stopping:
            return []
        self._is_stopping = True
        self._stop_due_ns = now_ns + self._timing.stop_ns
        effects: list[Effect] = [Note("is stopping")]
        if self._office is not None:
            effects += self._office.leave(f"{self._unit_id} is stopping", now_ns)
        # first orderly, so that a bus that others use is handed over; then by our own will
        self._leave_due_ns = now_ns + self._timing.leave_ns
        for deal in self._interlock.deals:
            self._ending[deal.deal_id] = ("the process is stopping", self._leave_due_ns)
        return effects

    def _is_ready_to_end(self, now_ns: int) -> bool:
        runs_deals = self._office is not None and not self._office.can_be_left
        waits_for_deals = runs_deals or bool(self._interlock.deals)
        is_off = self._converter.reading.mode in (ConverterMode.WAIT, ConverterMode.UNKNOWN)
        return now_ns >= self._stop_due_ns or (is_off and not waits_for_deals)

    # --- about ourselves -------------------------------------------------------------------------

    @property
    def _soc_ratio(self) -> float | None:
        return self._battery.soc_ratio if self._battery else None

    @property
    def _remaining_wh(self) -> float | None:
        soc = self._soc_ratio
        return None if soc is None else soc * self._hardware.battery_capacity_wh

    @property
    def _expected_wh(self) -> float | None:
        """Energy in the battery once everything agreed has moved. [Wh]"""
        remaining_wh = self._remaining_wh
        return None if remaining_wh is None else remaining_wh + self._interlock.committed_wh

    def _take_battery(self, battery: BatteryReading) -> None:
        """What follows from a reading is worked out once, and asked for often."""
        self._battery = battery
        self._section = section_at(self._settings.scenario, battery.seconds_of_day)
        remaining_wh = self._remaining_wh
        self._band = ""
        if self._section is not None and remaining_wh is not None:
            self._band = band_of(self._section, remaining_wh) or ""

    @property
    def _efficient_grid_voltage_v(self) -> float | None:
        ratio = self._hardware.efficient_grid_voltage_ratio
        battery_v = self._converter.reading.battery_voltage_v
        return None if ratio is None or battery_v is None else ratio * battery_v

    def _status(self, now_ns: int) -> UnitStatus:
        return UnitStatus(
            unit_id=self._unit_id,
            instance_id=self._settings.instance_id,
            sequence=self._status_sequence,
            global_mode=self._modes.global_mode,
            global_mode_version=self._modes.version,
            local_mode=self._modes.local_mode,
            effective_mode=self._modes.effective,
            grid_master_id=self._election.grid_master_id(now_ns),
            term=self._election.term,
            is_grid_master=self._office is not None,
            policy_hash=self._policy_hash,
            soc_ratio=self._soc_ratio,
            remaining_wh=self._remaining_wh,
            capacity_wh=self._hardware.battery_capacity_wh,
            battery_band=self._band,
            committed_wh=self._interlock.committed_wh,
            efficient_grid_voltage_ratio=self._hardware.efficient_grid_voltage_ratio,
            converter=self._converter.reading,
            deal_ids=tuple(deal.deal_id for deal in self._interlock.deals),
            slot_capacity=self._interlock.capacity,
            flowing_deal_ids=self._converter.deal_ids,
            ending_deal_ids=tuple(self._ending),
            ending_reason=next((reason for reason, _ in self._ending.values()), ""),
            in_quarantine=bool(self._faults.why_not()),
            fault_codes=self._faults.codes(),
            not_dealing_reason=self._why_not_dealing(now_ns),
        )

    def _gist(self, now_ns: int) -> tuple[object, ...]:
        """The part of the status whose change is news; what drifts all the time is not."""
        reading = self._converter.reading
        return (
            self._modes.version,
            self._modes.global_mode,
            self._modes.local_mode,
            self._election.grid_master_id(now_ns),
            self._election.term,
            self._office is not None,
            self._band,
            reading.mode,
            reading.stop_cause,
            self._converter.deal_ids,
            tuple(self._ending),
            tuple(deal.deal_id for deal in self._interlock.deals),
            self._faults.codes(),
            self._why_not_dealing(now_ns),
        )

    def _known_statuses(self, now_ns: int) -> dict[UnitId, UnitStatus]:
        """What units have said lately.

        An older word may tell of deals that are over: who goes on with those takes them up anew.
        """
        oldest_ns = now_ns - self._timing.silent_ns
        statuses = {
            unit_id: status
            for unit_id, (status, heard_ns) in self._peers.items()
            if heard_ns >= oldest_ns
        }
        if self._last_status is not None:
            statuses[self._unit_id] = self._last_status
        return statuses

    def _tell_status(self, now_ns: int) -> list[Effect]:
        """Publish the status if it is due, or if something changed that others act upon."""
        gist = self._gist(now_ns)
        if now_ns < self._status_due_ns and gist == self._last_gist:
            return []
        self._last_gist = gist
        self._status_sequence += 1
        self._status_due_ns = now_ns + self._timing.status_ns
        self._last_status = self._status(now_ns)
        told = self._office.hear_status(self._last_status, now_ns) if self._office else []
        return [Broadcast(self._last_status), *told]
