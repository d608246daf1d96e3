"""The pages, one a module; each has an ``add_page`` that serves it."""

from __future__ import annotations

from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.pages import deals, energy, grid, steering, unit, units

__all__ = ["add_pages"]


def add_pages(commands: OperatorCommands) -> None:
    """Serve all of them."""
    for module in (grid, units, unit, deals, energy, steering):
        module.add_page(commands)
