"""What the page of energy shows of all units together."""

from __future__ import annotations

from apis_dashboard import formatting
from apis_dashboard.views.common import State, tile
from apis_site.history_values import Energy

__all__ = ["energy_tiles"]


def energy_tiles(whole: Energy) -> State:
    """The figures of all units together."""
    line_loss_wh = max(whole.discharged_wh - whole.charged_wh, 0.0)
    alone, together = whole.alone_ratio, whole.self_sufficiency_ratio
    gain = (
        f"{100.0 * (together - alone):.1f} points more than each alone"
        if alone is not None and together is not None
        else ""
    )
    unused_wh = max(whole.available_wh - whole.solar_wh, 0.0)
    return {
        "tiles": [
            tile(
                "Sun",
                formatting.energy(whole.solar_wh),
                f"{formatting.energy(unused_wh)} left unused",
            ),
            tile(
                "Load",
                formatting.energy(whole.load_wh),
                f"{formatting.energy(whole.unserved_wh)} unserved",
            ),
            tile("Bought", formatting.energy(whole.mains_wh), "from the mains"),
            tile(
                "Exchanged",
                formatting.energy(whole.charged_wh),
                f"received over the bus, for {formatting.amount(whole.paid_pt, 'pt')}",
            ),
            tile(
                "Lost",
                formatting.energy(line_loss_wh + whole.converter_loss_wh),
                f"{formatting.energy(line_loss_wh)} in lines, "
                f"{formatting.energy(whole.converter_loss_wh)} in converters",
            ),
            tile("Own sun used", formatting.percent(whole.own_sun_ratio), "stayed in its house"),
            tile("Self-sufficiency", formatting.percent(together), gain),
            tile("Without the bus", formatting.percent(alone), "each house alone"),
        ]
    }
