"""The metrics process: a page for Prometheus, in its text format, at ``/metrics``.

Parameters beside those of every window: ``host`` (127.0.0.1 by default) and ``port``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from rclpy.node import Node

from apis_ros.grid_listener import GridListener
from apis_ros.parameters import NodeParameter
from apis_ros.window import WindowError, WindowFiles, run_window
from apis_viz.metrics.collector import GridCollector

__all__ = ["main"]

PORT = 4383
PARAMETERS = (
    NodeParameter(name="host", default="127.0.0.1", about="Address that it listens on"),
    NodeParameter(
        name="port", default=PORT, about="Port of the page; 0 = any", least=0, most=65535
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; give the exit code."""
    return run_window("metrics", PARAMETERS, _build, arguments)


def _build(node: Node, files: WindowFiles, own: dict[str, Any], stack: ExitStack) -> None:
    registry = CollectorRegistry()
    watch = GridListener(
        node, (unit.id for unit in files.grid.units), authenticator=files.authenticator
    )
    registry.register(GridCollector(watch, files.grid.cluster))
    try:
        server, thread = start_http_server(own["port"], addr=own["host"], registry=registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WindowError(
            f"cannot listen on {own['host']}:{own['port']} ({reason}); choose another port"
        ) from error
    app = server.get_app()
    assert app is not None  # start_wsgi_server has set it
    server.set_app(_with_head(app))
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    print(f"metrics: http://{own['host']}:{server.server_port}/metrics", flush=True)


def _with_head(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The same pages, also for HEAD: what a GET would say, without its content."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start)
        list(app({**environ, "REQUEST_METHOD": "GET"}, start))
        return []

    return answer


if __name__ == "__main__":
    sys.exit(main())
