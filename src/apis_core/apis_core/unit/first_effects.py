"""What a new process of a unit writes and tells before anything else happens."""

from __future__ import annotations

from dataclasses import replace

from apis_core.config.policy_text import policy_file
from apis_core.events import DealClosed, Effect, Log, PolicyAdopted, Record
from apis_core.model.receipt import Receipt
from apis_core.unit.construction import AgentSettings
from apis_core.unit.persisted_state import RESTARTED, PersistedState
from apis_core.unit.policy_rollout import PolicyRollout
from apis_core.unit.unit_state import UnitState

__all__ = ["first_effects"]


def first_effects(
    state: UnitState,
    roll_out: PolicyRollout,
    settings: AgentSettings,
    persisted_state: PersistedState,
) -> list[Effect]:
    """Write the policy down, offer a newer file to the others, close what was left open."""
    effects: list[Effect] = []
    if not persisted_state.policy_text:
        # a later start must not take a changed file for what was agreed on
        effects.append(Record(PolicyAdopted(policy_file(state.policy))))
    effects += roll_out.offer(settings.policy)
    # an earlier process died in the middle of these deals, so they are over for this unit
    for deal_id in persisted_state.open_deals:
        counted = persisted_state.counted.get(deal_id, Receipt(deal_id, 0.0, 0.0))
        effects.append(Record(DealClosed(replace(counted, reason=RESTARTED))))
        text = f"closes deal {deal_id}, which an earlier process left open"
        effects.append(Log(text, is_warning=True))
    return effects
