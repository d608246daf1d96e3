"""All units in a table."""

from __future__ import annotations

from fastapi import Request
from nicegui import ui

from apis_dashboard import widgets
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.page_layout import page_frame
from apis_dashboard.views.units import unit_state

__all__ = ["add_page"]


def add_page(commands: OperatorCommands) -> None:
    """Serve it at ``/units``."""

    @ui.page("/units")
    def units(request: Request) -> None:
        with page_frame(commands, request, "/units", "Units") as page:
            widgets.tag("h1", "Units", "hidden")
            table = widgets.Units()
            page.keep(
                lambda view: table.show({"units": [unit_state(unit, view) for unit in view.units]})
            )
