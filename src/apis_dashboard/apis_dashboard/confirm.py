"""What an operator is told before something that should not happen by mistake."""

from __future__ import annotations

from dataclasses import dataclass

from apis_dashboard.formatting import break_words, follows
from apis_dashboard.grid_source import BreakKind, BreakWish, FaultWish
from apis_dashboard.model import GridView
from apis_dashboard.records import Mode

__all__ = [
    "Question",
    "break_question",
    "fault_question",
    "local_mode_question",
    "mode_question",
    "shutdown_question",
]


@dataclass(frozen=True)
class Question:
    """A confirmation: what is asked, what will happen, and what the button says that does it."""

    title: str
    consequences: tuple[str, ...]
    button: str
    type_to_confirm: str = ""  # what must be typed first; empty = nothing


def mode_question(mode: Mode, view: GridView) -> Question | None:
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


def shutdown_question(unit_ids: tuple[str, ...], view: GridView) -> Question:
    """Say what follows if the programs of these units end."""
    is_all = len(unit_ids) == len(view.units)
    who = "the whole cluster" if is_all else ", ".join(unit_ids)
    on = [
        unit.unit_id
        for unit in view.units
        if unit.unit_id in unit_ids and unit.converter and unit.converter.mode.is_active
    ]
    return Question(
        title=f"Shut down {who}?",
        consequences=(
            f"{len(unit_ids)} programs end: {', '.join(unit_ids[:12])}"
            + (" and more." if len(unit_ids) > 12 else "."),
            f"Converters that are on go off: {', '.join(on)}." if on else "No converter is on.",
            "Each house goes on with its own battery, sun and mains.",
            "Nobody can start them again from here: somebody has to on each machine.",
        ),
        button="Shut down",
        type_to_confirm="all" if is_all else unit_ids[0],
    )


def local_mode_question(mode: Mode, unit_id: str, view: GridView) -> Question | None:
    """Say what follows for one unit; ``None`` if nobody need be asked."""
    if mode is not Mode.FORCE_STOP:
        return None
    pairs = ", ".join(
        f"{deal.discharge_unit_id} → {deal.charge_unit_id}"
        for deal in view.running
        if unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
    )
    return Question(
        title=f"Force stop {unit_id}?",
        consequences=(
            f"Its deals end now: {pairs}." if pairs else "It has no deal now; it will make none.",
            "Its converter goes to waiting; the house goes on with battery, sun and mains.",
            "The others go on. It stays so until somebody chooses “As the cluster” again.",
        ),
        button="Force stop",
    )


FOLLOWS = {
    BreakKind.SENSOR_OFFSET: (
        "The unit takes the wrong reading for a right one, until something contradicts it."
    ),
    BreakKind.STUCK_CONVERTER: (
        "Orders are answered and not carried out; its trips and its dead man still work."
    ),
    BreakKind.LOST_COMMUNICATION: (
        "Nobody hears the hardware any more and no order reaches it, an emergency stop neither; "
        "its dead man works."
    ),
    BreakKind.BATTERY_PERMIT: "The converter stops in order, and starts no more.",
    BreakKind.LINE_BREAK: "The bus falls apart; the part that nobody holds dies by itself.",
}


def break_question(wish: BreakWish, view: GridView) -> Question:
    """Say what follows if this breaks."""
    deals = [
        f"{deal.discharge_unit_id} → {deal.charge_unit_id}"
        for deal in view.running
        if wish.kind is BreakKind.LINE_BREAK
        or wish.unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
    ]
    return Question(
        title=f"{break_words(wish)}?",
        consequences=(
            "This is emulated hardware: nothing real breaks.",
            FOLLOWS[wish.kind],
            f"Deals under way there: {', '.join(deals)}."
            if deals
            else "No deal is under way there.",
            "It stays so until somebody repairs it."
            if wish.duration_s is None
            else "Then it repairs itself.",
        ),
        button="Break it",
    )


def fault_question(wish: FaultWish) -> Question:
    """Say what a fault that nobody has will lead to."""
    return Question(
        title="Make a fault?",
        consequences=(
            f"All units hear of a fault of {wish.unit_id}: {wish.level.name}, "
            f"{wish.category.name}, {wish.extent.name}.",
            f"What follows: {follows(wish)}.",
        ),
        button="Make the fault",
    )
