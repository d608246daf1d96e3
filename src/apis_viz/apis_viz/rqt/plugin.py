"""The plugin: rqt brings the node, spins it, and keeps what the window looked like."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from rqt_gui_py.plugin import Plugin

from apis_viz.rqt.grid_link import GridLink, clusters
from apis_viz.rqt.widget import GridWidget

__all__ = ["GridPlugin"]


class GridPlugin(Plugin):
    """Window `APIS grid` in rqt. APIS_CLUSTER names a cluster, else it is found or chosen."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.setObjectName("ApisGrid")
        self._widget = GridWidget(
            partial(clusters, context.node),
            partial(GridLink, context.node),
            cluster=os.environ.get("APIS_CLUSTER", ""),
            number=context.serial_number(),
        )
        context.add_widget(self._widget)

    def save_settings(self, plugin_settings: Any, instance_settings: Any) -> None:
        """Called by rqt, for the next start or another perspective."""
        for key, value in self._widget.state().items():
            instance_settings.set_value(key, value)

    def restore_settings(self, plugin_settings: Any, instance_settings: Any) -> None:
        """Called by rqt after the window was opened."""
        self._widget.restore({key: instance_settings.value(key) for key in self._widget.state()})

    def shutdown_plugin(self) -> None:
        """Called by rqt when the window closes."""
        self._widget.stop()
        self._widget.deleteLater()  # rqt only takes it out of its dock
