"""Faults for tests, on an emulated grid: some that units only hear of, and broken hardware."""

from __future__ import annotations

from nicegui import ui

from apis_dashboard import formatting, widgets
from apis_dashboard.confirm import break_question, fault_question
from apis_dashboard.grid_source import BreakKind, BreakWish, FaultWish
from apis_dashboard.model import GridView
from apis_dashboard.page_layout import Page, ask, order
from apis_dashboard.records import FaultCategory, FaultExtent, FaultLevel

__all__ = ["add_broken_hardware", "add_made_faults"]


def add_made_faults(page: Page) -> None:
    """Put the card on the page that is being built."""
    commands = page.commands
    ids = list(commands.source.site.unit_ids)
    with widgets.card("Make a fault"):
        widgets.tag(
            "p",
            "For tests, on an emulated grid: all units hear of a fault that nobody has, and do "
            "what the fault matrix says.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            unit = ui.select(ids, value=ids[0], label="Unit").props(widgets.FIELD)
            category = _words(FaultCategory, "Category", "HARDWARE")
            extent = _words(FaultExtent, "Concerns", "LOCAL")
            level = _words(FaultLevel, "Level", "WARN")
            words = ui.input("Message", value="made by hand").props(widgets.FIELD)
            words.classes("span")

        async def make() -> None:
            wish = FaultWish(
                unit_id=unit.value,
                category=FaultCategory[category.value],
                extent=FaultExtent[extent.value],
                level=FaultLevel[level.value],
                message=words.value or "made by hand",
            )
            if await ask(fault_question(wish)):
                order(lambda: commands.report_fault(page.who, wish))

        with ui.element("div").classes("actions"):
            ui.button("Make it…", color=None, on_click=make).props("unelevated no-caps").classes(
                "danger"
            )


def _words(
    kind: type[FaultCategory] | type[FaultExtent] | type[FaultLevel], label: str, first: str
) -> ui.select:
    choices = {word.name: word.name.capitalize() for word in kind if word.value}
    return ui.select(choices, value=first, label=label).props(widgets.FIELD)


def _break_problem(wish: BreakWish) -> str:
    if wish.quantity and not wish.value:
        return "By how much the sensor reads too high is missing."
    if wish.duration_s is not None and wish.duration_s <= 0.0:
        return "The time must be more than 0 min; empty means for good."
    return ""


def add_broken_hardware(page: Page) -> None:
    """Put the card on the page that is being built."""
    commands = page.commands
    site = commands.source.site
    ids = list(site.unit_ids)
    ends: dict[str, list[str]] = {unit_id: [] for unit_id in ids}
    for line in site.plan.lines:
        ends[line.from_id].append(line.to_id)
        ends[line.to_id].append(line.from_id)
    with widgets.card("Break the hardware", "wide"):
        widgets.tag(
            "p",
            "For tests, on an emulated grid: something of a house, a converter or a cable really "
            "is broken, and the units have to find out.",
            "hint",
        )
        with ui.element("div").classes("fields"):
            kinds = {kind.name: words for kind, words in formatting.BREAK_WORDS.items()}
            kind = ui.select(kinds, value="SENSOR_OFFSET", label="What").props(widgets.FIELD)
            kind.classes("span")
            unit = ui.select(ids, value=ids[0], label="Whose").props(widgets.FIELD)
            other = ui.select(ends[ids[0]], label="Line to").props(widgets.FIELD)
            quantities = {name: words for name, (words, _) in formatting.QUANTITY_WORDS.items()}
            quantity = ui.select(quantities, value="grid_current_a", label="Sensor")
            quantity.props(widgets.FIELD).classes("span")
            value = ui.number("Too high by", value=0.2).props(widgets.FIELD)
            minutes = ui.number("For [min]", placeholder="for good").props(
                f"{widgets.FIELD} stack-label"
            )
        complaint = widgets.tag("p", "", "complaint")

        def suit() -> None:
            is_line = kind.value == BreakKind.LINE_BREAK.name
            is_sensor = kind.value == BreakKind.SENSOR_OFFSET.name
            other.set_visibility(is_line)
            quantity.set_visibility(is_sensor)
            value.set_visibility(is_sensor)
            value.props(f'suffix="{formatting.QUANTITY_WORDS[quantity.value][1]}"')
            others = ends[unit.value]
            other.set_options(
                others, value=other.value if other.value in others else next(iter(others), None)
            )

        for field in (kind, unit, quantity):
            field.on_value_change(suit)
        suit()

        def wish() -> BreakWish:
            chosen = BreakKind[kind.value]
            is_line = chosen is BreakKind.LINE_BREAK
            is_sensor = chosen is BreakKind.SENSOR_OFFSET
            return BreakWish(
                kind=chosen,
                unit_id=unit.value,
                other_unit_id=other.value or "" if is_line else "",
                quantity=quantity.value if is_sensor else "",
                value=value.value if is_sensor else None,
                duration_s=None if minutes.value is None else 60.0 * minutes.value,
            )

        async def break_it() -> None:
            complaint.clear()
            wanted = wish()
            if words := _break_problem(wanted):
                with complaint:
                    ui.label(words)
                return
            if await ask(break_question(wanted, commands.source.view())):
                order(lambda: commands.break_hardware(page.who, wanted))

        with ui.element("div").classes("actions"):
            ui.button("Break it…", color=None, on_click=break_it).props(
                "unelevated no-caps"
            ).classes("danger")
            repair_all = (
                ui.button(
                    "Repair all",
                    color=None,
                    on_click=lambda: order(lambda: commands.repair(page.who, "")),
                )
                .props("outline no-caps")
                .classes("quiet")
            )
        listing = ui.element("ul").classes("plain broken")
        shown: list[str] = ["?"]

        def show(_: GridView) -> None:
            lines = list(commands.source.broken())
            if lines == shown:
                return
            shown[:] = lines
            repair_all.set_visibility(bool(lines))
            listing.clear()
            with listing:
                if not lines:
                    widgets.tag("li", "Nothing is broken.")
                for line in lines:
                    fault_id, what = line.partition(": ")[::2]
                    with ui.element("li"):
                        widgets.tag("span", f"{fault_id}: {what.replace('_', ' ')}")
                        ui.button(
                            "Repair",
                            color=None,
                            on_click=lambda fault_id=fault_id: order(
                                lambda: commands.repair(page.who, fault_id)
                            ),
                        ).props(f'flat dense no-caps aria-label="Repair {fault_id}"').classes(
                            "quiet"
                        )

        page.keep(show)
