"""What a unit knows of its earlier processes: the journal, folded into the present state."""

from __future__ import annotations

from dataclasses import dataclass, field

from apis_core.events import (
    DealClosed,
    DealCounted,
    DealOpened,
    Entry,
    FaultsLatched,
    GlobalModeSet,
    HourCounted,
    LeaseGranted,
    LocalModeSet,
    PolicyAdopted,
    PolicyPrepared,
)
from apis_core.model.messages import Deal, Fault
from apis_core.model.receipt import Receipt
from apis_core.model.types import NOBODY, OperationMode, UnitId
from apis_core.trading.energy_history import EnergyHistory

__all__ = ["RESTARTED", "PersistedState"]

RESTARTED = "the unit was restarted"  # why a deal is closed that an earlier process left open


@dataclass(slots=True)
class PersistedState:
    """What the journal of an earlier process of this unit says, folded into the present state."""

    term: int = 0
    granted_to: UnitId = NOBODY
    local_mode: OperationMode = OperationMode.UNSET
    global_mode: OperationMode = OperationMode.UNSET
    global_mode_version: int = 0
    latched: tuple[Fault, ...] = ()  # until an operator says Run
    policy_text: str = ""  # of the policy that was adopted last; empty = none ever was
    coming_policy_text: str = ""  # of a newer one that it was ready for
    open_deals: dict[str, Deal] = field(default_factory=dict)
    counted: dict[str, Receipt] = field(default_factory=dict)  # of the open deals, as last written
    history: EnergyHistory = field(default_factory=EnergyHistory)  # of a unit with the value rule

    def add(self, entry: Entry) -> None:
        """Fold in one more journal entry, in the order in which they were written."""
        match entry:
            case LeaseGranted(term, unit_id):
                self.term, self.granted_to = term, unit_id
            case LocalModeSet(mode):
                self.local_mode = mode
            case GlobalModeSet(mode, version):
                self.global_mode, self.global_mode_version = mode, version
            case FaultsLatched(faults):
                self.latched = faults
            case PolicyPrepared(text):
                self.coming_policy_text = text
            case PolicyAdopted(text):
                self.policy_text, self.coming_policy_text = text, ""
            case DealOpened(deal):
                self.open_deals[deal.deal_id] = deal
            case DealCounted(receipt):
                self.counted[receipt.deal_id] = receipt
            case DealClosed(receipt):
                self.open_deals.pop(receipt.deal_id, None)
                self.counted.pop(receipt.deal_id, None)
            case HourCounted(hour, solar_wh, load_wh, is_curtailed):
                self.history.add(hour, solar_wh, load_wh, is_curtailed=is_curtailed)
