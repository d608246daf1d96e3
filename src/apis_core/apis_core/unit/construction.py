"""Builds the state of one unit from its settings and from what its journal says."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from apis_core.cluster.election import Election
from apis_core.cluster.fault_registry import FaultRegistry
from apis_core.cluster.operation_mode import OperationModes
from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy, parse_policy, policy_hash
from apis_core.config.scenario import Scenario
from apis_core.config.timing import BUS_DOWN_S, Timing
from apis_core.converter.manager import ConverterManager
from apis_core.model.errors import ConfigError, ProtocolMisuse
from apis_core.model.types import GridMasterStrategy, UnitId
from apis_core.model.units import ns_from_s
from apis_core.trading.interlock import Interlock
from apis_core.trading.trader import Trader
from apis_core.unit.persisted_state import PersistedState
from apis_core.unit.unit_state import UnitState

__all__ = [
    "AgentSettings",
    "make_state",
    "may_stand",
    "slot_capacity",
    "written_policy",
]

_LATCH_AFTER = 3  # a fault that has come back so often stays until an operator says Run


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent is made with.

    Attributes:
        unit_id: The unit's id, such as E001; a member of the policy.
        instance_id: The id of this process, new at every start.
        policy: The policy of the cluster, as the unit's file has it.
        hardware: What this unit's battery and converter can bear.
        scenario: When this unit asks and accepts.
        driver_hold_s: Hold time given to the driver, on the steady clock; ``RenewalDue`` comes
            several times within it. [s]
        network_floor_ns: What an answer may take, see :mod:`apis_core.config.timing`; 0 in real
            time. [ns]
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


def make_state(
    settings: AgentSettings, persisted_state: PersistedState, random: Random, now_ns: int
) -> UnitState:
    """The state in which a process of a unit begins, with all machines that last.

    Args:
        settings: What the agent is made with.
        persisted_state: What the journal says; a fresh one if there is none.
        random: Source of back-off, jitter and deal ids.
        now_ns: Present time.

    Raises:
        ProtocolMisuse: The unit is not a member of its policy.
    """
    unit_id, hardware = settings.unit_id, settings.hardware
    if unit_id not in settings.policy.member_unit_ids:
        raise ProtocolMisuse(f"{unit_id} is not a member of its policy")
    policy = _policy_of(settings, persisted_state)
    timing = Timing.of(policy, settings.network_floor_ns, settings.bus_down_ns)
    interlock = Interlock(slot_capacity(policy, hardware))
    election = Election(
        unit_id=unit_id,
        instance_id=settings.instance_id,
        member_ids=policy.member_unit_ids,
        timing=timing.election,
        random=random,
        now_ns=now_ns,
        term=persisted_state.term,
        granted_to=persisted_state.granted_to,
        may_stand=may_stand(unit_id, policy),
        rank=_rank(unit_id, policy),
        policy_hash=policy_hash(policy),
        policy_version=policy.version,
    )
    faults = FaultRegistry(
        unit_id,
        policy.local_quarantine_ns,
        policy.global_quarantine_ns,
        latch_after=_LATCH_AFTER,
    )
    faults.restore(persisted_state.latched, now_ns)
    return UnitState(
        unit_id=unit_id,
        instance_id=settings.instance_id,
        policy=policy,
        policy_hash=policy_hash(policy),
        hardware=hardware,
        scenario=settings.scenario,
        history=persisted_state.history,
        timing=timing,
        election=election,
        modes=OperationModes(
            unit_id=unit_id,
            global_mode=persisted_state.global_mode or policy.operation_mode,
            version=persisted_state.global_mode_version,
            local_mode=persisted_state.local_mode,
        ),
        interlock=interlock,
        converter=ConverterManager(
            unit_id=unit_id,
            hardware=hardware,
            policy=policy,
            driver_hold_s=settings.driver_hold_s,
            retry_ns=timing.retry_ns,
            late_ns=timing.late_ns,
        ),
        faults=faults,
        trader=Trader(
            unit_id=unit_id,
            policy=policy,
            timing=timing,
            interlock=interlock,
            random=random,
            now_ns=now_ns,
        ),
    )


def may_stand(unit_id: UnitId, policy: Policy) -> bool:
    """Whether a policy lets a unit be the grid master."""
    is_fixed = policy.grid_master_strategy is GridMasterStrategy.FIXED
    return not is_fixed or policy.fixed_unit_id in (None, unit_id)


def slot_capacity(policy: Policy, hardware: Hardware) -> int:
    """How many deals the converter can carry at once, >= 0."""
    return int(hardware.grid_current_capacity_a / policy.deal_current_a + 1e-9)


def written_policy(text: str) -> Policy | None:
    """A policy that the journal holds; None = none, or one that makes no sense any more."""
    try:
        return parse_policy(text, "the journal") if text else None
    except ConfigError:
        return None


def _rank(unit_id: UnitId, policy: Policy) -> int:
    """The place of a unit among those that may be the grid master."""
    standing = [each for each in policy.member_unit_ids if may_stand(each, policy)]
    return standing.index(unit_id) if unit_id in standing else 0


def _policy_of(settings: AgentSettings, persisted_state: PersistedState) -> Policy:
    """The policy with which a unit begins.

    A policy that the grid master rolled out is as good as a file; a file that is newer than that
    is offered to the others first. One that does not know this unit is of no use to it.
    """
    written = written_policy(persisted_state.policy_text)
    if written is None or written.version == settings.policy.version:
        return settings.policy
    return written if settings.unit_id in written.member_unit_ids else settings.policy
