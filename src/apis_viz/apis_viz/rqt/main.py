"""The widget as a program of its own, where there is no rqt.

    ros2 run apis_viz grid_window --cluster village
    python -m apis_viz.rqt.main --picture grid.png      # offscreen, then it ends

It needs Qt: rqt's, or PySide6 (`make desktop`).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from apis_ros.leaving import WRONG, own_arguments, run_in_graph

__all__ = ["main"]

PICTURE_AFTER_MS = 4000  # discovery and the first readings
SIZE_PX = (1000, 760)


def main(arguments: list[str] | None = None) -> int:
    """Show the window until it is closed; give the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_in_graph("grid_window", given, lambda: _run(given))


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="grid_window", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--cluster",
        default=os.environ.get("APIS_CLUSTER", ""),
        help="name of the cluster; without, the one that is found, or the one chosen",
    )
    parser.add_argument("--picture", metavar="FILE", help="save a PNG of the window and end")
    options = parser.parse_args(own_arguments(arguments))
    if options.picture:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        from apis_viz.rqt.qt import QtCore, QtWidgets
        from apis_viz.rqt.widget import GridWidget
    except ImportError as error:
        print(f"grid_window: {error}; `make desktop` installs Qt", file=sys.stderr)
        return WRONG
    from apis_viz.rqt.grid_link import GridLink, clusters

    node = Node("grid_window", start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    application = QtWidgets.QApplication(sys.argv[:1])
    widget = GridWidget(partial(clusters, node), partial(GridLink, node), cluster=options.cluster)
    widget.resize(*SIZE_PX)
    widget.show()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: application.quit())  # seen when the widget's timer fires
    if options.picture:

        def save() -> None:
            widget.refresh()
            widget.grab().save(options.picture)
            application.quit()

        QtCore.QTimer.singleShot(PICTURE_AFTER_MS, save)
    run = getattr(application, "exec", None) or application.exec_
    code = run()
    executor.shutdown()
    thread.join()
    widget.stop()
    node.destroy_node()
    return int(code)


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):  # that is how spinning ends
        executor.spin()


if __name__ == "__main__":
    sys.exit(main())
