"""Converters by hand: what each is to do, and a button that must be held."""

from __future__ import annotations

from dataclasses import dataclass

from nicegui import ui

from apis_dashboard import formatting, widgets
from apis_dashboard.manual_control import Setting, Stage, why_not
from apis_dashboard.model import GridView
from apis_dashboard.page_layout import Page, order
from apis_dashboard.records import ConverterMode, Mode
from apis_site.site import Site

__all__ = ["add_manual_control"]

DOING = {
    "Stopped": ConverterMode.WAIT,
    "Hold the voltage": ConverterMode.VOLTAGE_REFERENCE,
    "Give": ConverterMode.DISCHARGE,
    "Take": ConverterMode.CHARGE,
}
ALL_SHOWN = 8  # with more units than that, one chooses whose converters stand here


@dataclass
class _Row:
    """One converter's line."""

    box: ui.element
    doing: ui.select
    setpoint: ui.number
    reading: ui.label

    @property
    def setting(self) -> Setting:
        mode, value = DOING[self.doing.value], self.setpoint.value
        is_voltage = mode is ConverterMode.VOLTAGE_REFERENCE
        return Setting(mode, value if is_voltage else None, None if is_voltage else value)


@dataclass(frozen=True)
class _Voltages:
    """What a converter that holds the bus may be set to. [V]"""

    low: float = 320.0
    high: float = 380.0
    usual: float = 350.0

    @classmethod
    def of(cls, site: Site) -> _Voltages:
        policy = site.policy
        if policy is None:
            return cls()
        return cls(policy.grid_voltage_min_v, policy.grid_voltage_max_v, policy.grid_voltage_v)


def add_manual_control(page: Page) -> None:
    """Put the card on the page that is being built."""
    commands = page.commands
    site = commands.source.site
    volts = _Voltages.of(site)
    rows: dict[str, _Row] = {}
    with widgets.card("Converters by hand", "wide"):
        widgets.tag(
            "p",
            "In Manual only. Choose what each converter does, then hold the button: one holds the "
            f"voltage ({volts.low:g} to {volts.high:g} V, on a dead bus), the others give or take "
            "a current. Let go, or lose the connection, and all of them switch off, currents "
            "first.",
            "hint",
        )
        place = ui.element("div").classes("by-hand")
        if len(site.unit_ids) <= ALL_SHOWN:
            for unit_id in site.unit_ids:
                rows[unit_id] = _row(place, unit_id, site, volts)
        else:
            _chooser(page, place, rows, volts)
        why = ui.element("ul").classes("complaint plain")
        button = widgets.HoldButton(state={"enabled": False, "words": "Hold to run"})
        stage = ui.label().classes("note").props('role="status"')

    def settings() -> dict[str, Setting]:
        return {unit_id: row.setting for unit_id, row in rows.items()}

    button.on("press", lambda: order(lambda: commands.start_manual_control(page.who, settings())))
    button.on("held", commands.renew_manual_control)
    button.on("release", commands.stop_manual_control)

    def let_go() -> None:
        if commands.manual_control.who == page.who.name:
            commands.stop_manual_control()

    ui.context.client.on_disconnect(let_go)
    shown: list[str] = []

    def show(view: GridView) -> None:
        for unit in view.units:
            if unit.unit_id in rows and unit.converter:
                reading = unit.converter
                rows[unit.unit_id].reading.set_text(
                    f"{formatting.CONVERTER_WORDS[reading.mode]}, "
                    f"{formatting.amount(reading.grid_voltage_v, 'V', 0)}, "
                    f"{formatting.amount(reading.grid_current_a, 'A', 2)}"
                )
        is_on = commands.manual_control.stage is not Stage.IDLE
        reasons = [] if is_on else why_not(settings(), view, site)
        if view.mode.reported is not Mode.MANUAL and not is_on:
            reasons = ["The cluster is not in Manual. Choose Manual above."]
        if reasons != shown:
            shown[:] = reasons
            why.clear()
            with why:
                for reason in reasons:
                    widgets.tag("li", reason)
        button.show({"enabled": is_on or not reasons, "words": "Hold to run"})
        ended = (
            f"ended: {commands.manual_control.reason}" if commands.manual_control.reason else ""
        )
        stage.text = (
            f"{commands.manual_control.stage.value}, by {commands.manual_control.who}"
            if is_on
            else ended
        )

    page.keep(show)


def _chooser(page: Page, place: ui.element, rows: dict[str, _Row], volts: _Voltages) -> None:
    """A list from which converters are put into the card, and a way to take each out again."""
    site = page.commands.source.site

    def put(unit_id: str | None) -> None:
        if unit_id is None or unit_id in rows:
            return
        rows[unit_id] = row = _row(place, unit_id, site, volts)
        with row.box:
            ui.button("✕", color=None, on_click=lambda: take_out(unit_id)).props(
                f'flat dense aria-label="Without {unit_id}"'
            ).classes("quiet")
        chosen.set_options([u for u in site.unit_ids if u not in rows], value=None)
        page.refresh()

    def take_out(unit_id: str) -> None:
        if page.commands.manual_control.stage is Stage.IDLE:
            rows.pop(unit_id).box.delete()
            chosen.set_options([u for u in site.unit_ids if u not in rows], value=None)

    chosen = ui.select(
        list(site.unit_ids),
        label="Add a converter",
        with_input=True,
        on_change=lambda event: put(event.value),
    )
    chosen.props(widgets.FIELD).classes("by-hand-add")


def _row(place: ui.element, unit_id: str, site: Site, volts: _Voltages) -> _Row:
    hardware = site.units[unit_id].hardware if unit_id in site.units else None
    most_a = hardware.grid_current_capacity_a if hardware else 10.0
    with place, ui.element("div").classes("unit-row") as box:
        widgets.tag("b", unit_id)
        doing = ui.select(list(DOING), value="Stopped").props(
            f'{widgets.FIELD} aria-label="{unit_id} does"'
        )
        setpoint = ui.number(value=None).props(f'{widgets.FIELD} aria-label="{unit_id} set point"')
        reading = ui.label().classes("reading")

    def suit() -> None:
        mode = DOING[doing.value]
        setpoint.set_enabled(mode is not ConverterMode.WAIT)
        is_voltage = mode is ConverterMode.VOLTAGE_REFERENCE
        setpoint.props(f"suffix={'V' if is_voltage else 'A'}")
        # The limits first: each change of one forces the value between them.
        setpoint.min, setpoint.max = (volts.low, volts.high) if is_voltage else (0.1, most_a)
        setpoint.value = None if mode is ConverterMode.WAIT else volts.usual if is_voltage else 1.0

    doing.on_value_change(suit)
    suit()
    return _Row(box, doing, setpoint, reading)
