"""The plugin: rqt brings the node and spins it; the cluster is the first that is found."""

from __future__ import annotations

import os
from typing import Any

from rqt_gui_py.plugin import Plugin

from apis_viz.rqt.link import GridLink, clusters
from apis_viz.rqt.widget import GridWidget

__all__ = ["GridPlugin"]


class GridPlugin(Plugin):
    """Window `APIS grid` in rqt. APIS_CLUSTER names the cluster where there are several."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.setObjectName("ApisGrid")
        found = clusters(context.node)
        cluster = os.environ.get("APIS_CLUSTER") or (found[0] if found else "village")
        self._link = GridLink(context.node, cluster)
        self._widget = GridWidget(self._link.watch, self._link.set_mode)
        self._widget.setWindowTitle(f"APIS grid: {cluster}")
        context.add_widget(self._widget)

    def shutdown_plugin(self) -> None:
        """Called by rqt when the window closes."""
        self._widget.stop()
        self._link.close()
