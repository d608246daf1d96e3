"""Another policy, or another hwConfig, comes into force on one unit."""

from __future__ import annotations

from random import Random

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy, policy_hash
from apis_core.config.policy_text import policy_file
from apis_core.config.timing import Timing
from apis_core.events import Effect, FollowMembers, Log, PolicyAdopted, Record
from apis_core.trading.trader import Trader
from apis_core.unit.construction import AgentSettings, may_stand, slot_capacity
from apis_core.unit.policy_rollout import PolicyRollout
from apis_core.unit.self_monitor import SelfMonitor
from apis_core.unit.unit_state import UnitState

__all__ = ["RulesChange"]


class RulesChange:
    """Changes the rules of a unit once nothing flows and nothing is agreed.

    Args:
        state: The unit's state.
        settings: With the times that no policy changes.
        roll_out: Knows the policy that is decided.
        monitor: Judges the converter by the rules.
        random: Source of jitter for the trader.

    Attributes:
        hardware: The hwConfig that holds as soon as this unit rests; None = the present one.
    """

    def __init__(
        self,
        state: UnitState,
        settings: AgentSettings,
        roll_out: PolicyRollout,
        monitor: SelfMonitor,
        random: Random,
    ) -> None:
        self.hardware: Hardware | None = None
        self._state = state
        self._limits_ns = settings.network_floor_ns, settings.bus_down_ns
        self._roll_out = roll_out
        self._monitor = monitor
        self._random = random

    def take(self, now_ns: int) -> list[Effect]:
        """Go by the new rules, if there are any and the unit rests."""
        policy, hardware = self._roll_out.decided, self.hardware
        if policy is None and hardware is None:
            return []
        state = self._state
        rests = not state.interlock.is_used and state.converter.is_off
        if not rests or (state.grid_master is not None and not state.grid_master.is_idle):
            return []
        state.hardware, self.hardware = hardware or state.hardware, None
        effects: list[Effect] = [Log("goes by another hwConfig")] if hardware else []
        if policy is not None:
            effects += self._adopt(policy, now_ns)
        state.interlock.capacity = slot_capacity(state.policy, state.hardware)
        state.converter.take_rules(
            state.policy, state.hardware, state.timing.retry_ns, state.timing.late_ns
        )
        return effects

    def _adopt(self, policy: Policy, now_ns: int) -> list[Effect]:
        state, members = self._state, policy.member_unit_ids
        effects: list[Effect] = [Record(PolicyAdopted(policy_file(policy)))]
        if set(members) != set(state.policy.member_unit_ids):
            effects.append(FollowMembers(members))
        state.policy, state.policy_hash = policy, policy_hash(policy)
        state.timing = Timing.of(policy, *self._limits_ns)
        for unit_id in [peer for peer in state.peers if peer not in members]:
            del state.peers[unit_id]
        if state.unit_id not in members:
            effects += state.election.resign(now_ns)
        state.election.take_rules(
            member_ids=members,
            timing=state.timing.election,
            may_stand=may_stand(state.unit_id, policy),
            policy_hash=state.policy_hash,
            policy_version=policy.version,
        )
        state.faults.local_quarantine_ns = policy.local_quarantine_ns
        state.faults.global_quarantine_ns = policy.global_quarantine_ns
        if state.modes.version == 0:  # no operator has spoken yet
            state.modes.global_mode = policy.operation_mode
        state.trader = Trader(
            unit_id=state.unit_id,
            policy=policy,
            timing=state.timing,
            interlock=state.interlock,
            random=self._random,
            now_ns=now_ns,
        )
        self._monitor.take_rules()
        state.grid_master = None  # opened anew, if it is ours
        self._roll_out.has_adopted()
        return [*effects, Log(f"goes by version {policy.version} of the policy")]
