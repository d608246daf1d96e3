"""What an operator is told before something that should not happen by mistake."""

from __future__ import annotations

from dataclasses import dataclass

from apis_viz.model import GridView
from apis_viz.records import Mode

__all__ = ["Question", "confirmation"]


@dataclass(frozen=True)
class Question:
    """A confirmation: what is asked, what will happen, and what the button says that does it."""

    title: str
    consequences: tuple[str, ...]
    button: str


def confirmation(mode: Mode, view: GridView) -> Question | None:
    """Say what will happen if the mode is ordered now; ``None`` if nobody need be asked."""
    pairs = ", ".join(f"{deal.discharge_unit_id} → {deal.charge_unit_id}" for deal in view.running)
    deals = (
        f"Running deals end now: {pairs}."
        if pairs
        else "No deal is running now; none will be made."
    )
    if mode is Mode.FORCE_STOP:
        return Question(
            title="Force stop the whole cluster?",
            consequences=(
                deals,
                "Every converter goes to waiting and the bus goes down.",
                "Each house goes on with its own battery, sun and mains.",
                "Nothing is exchanged until somebody chooses Run again.",
            ),
            button="Force stop",
        )
    if mode is Mode.MANUAL:
        return Question(
            title="Hand the cluster over to manual operation?",
            consequences=(
                deals,
                "No unit makes deals by itself any more.",
                "Converters may be operated by hand, by people who know what is connected.",
                "It stays so until somebody chooses Run again.",
            ),
            button="Manual",
        )
    return None
