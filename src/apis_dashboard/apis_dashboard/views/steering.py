"""What the page of steering shows: orders and how far they are, and what is written down."""

from __future__ import annotations

from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.views.common import State

__all__ = ["steering_state"]


def steering_state(commands: OperatorCommands) -> State:
    """Orders and how far they are, and what is written down."""
    return {
        "orders": [
            {
                "number": order.number,
                "at": order.at,
                "who": order.who,
                "what": order.what,
                "text": order.text or "on its way…",
                "state": "pending"
                if not order.is_over
                else "done"
                if order.is_done
                else "refused",
            }
            for order in commands.orders()[:20]
        ],
        "audit": [
            {"when": entry.when[:19].replace("T", " "), "who": entry.who, "what": entry.what}
            | {"outcome": entry.outcome}
            for entry in commands.audit.entries()[:60]
        ],
    }
