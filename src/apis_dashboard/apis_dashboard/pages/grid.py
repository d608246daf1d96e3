"""The first page: the picture of the grid, what flows, and what is wrong."""

from __future__ import annotations

from fastapi import Request
from nicegui import ui

from apis_dashboard import widgets
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.page_layout import page_frame
from apis_dashboard.views.deals import deal_state
from apis_dashboard.views.events import event_state
from apis_dashboard.views.grid import grid_frame, plan_state, summary_state

__all__ = ["add_page"]

DEALS_SHOWN = 6  # the others stand on the page of deals


def add_page(commands: OperatorCommands) -> None:
    """Serve it at ``/``."""
    site = commands.source.site

    @ui.page("/")
    def grid(request: Request) -> None:
        with page_frame(commands, request, "/", "Grid") as page:
            widgets.tag("h1", "Grid", "hidden")
            tiles = widgets.Tiles()
            page.keep(lambda view: tiles.show(summary_state(view)))
            picture = widgets.GridPicture(
                plan_state(site.plan), grid_frame(commands.source.view(), site.plan, site.zone)
            )
            page.keep(lambda view: picture.show(grid_frame(view, site.plan, site.zone)))
            with ui.element("div").classes("apis-columns"):
                deals = widgets.DealCards()
                events = widgets.Events()
            page.keep(
                lambda view: deals.show(
                    {
                        "most": DEALS_SHOWN,
                        "deals": [
                            deal_state(deal, view.ros_time_s, site.zone) for deal in view.running
                        ],
                    }
                )
            )
            page.keep(
                lambda view: events.show(
                    {"events": [event_state(event, site.zone) for event in view.events[:40]]}
                )
            )
