"""``apisctl screenshot``: the picture of the dashboard that the README shows."""

from __future__ import annotations

import socket
from pathlib import Path

from apis_bringup.errors import CommandError, usage_error
from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.session import GridOptions, Session, open_session
from apis_interfaces.msg import Deal

__all__ = ["free_port", "take_picture"]

DEALS_DONE = 2
ENERGY_FLOWS_WITHIN_S = 300.0  # wall


def free_port() -> int:
    """A TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def take_picture(options: GridOptions, out: Path, *, width: int, height: int, dark: bool) -> int:
    """Run a grid until a deal runs and some are done, and photograph its dashboard.

    Returns:
        The exit code of the run.

    Raises:
        ConfigError: A file or the command line is wrong.
        CommandError: No energy flowed, or there is no browser.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise usage_error("--out", out, f"cannot be written: {error.strerror}") from None
    with open_session(options) as session, Graph(session.grid.cluster) as graph:
        observer = GridObserver(graph)
        return session.run_with(
            lambda: _watch(session, observer, out, width=width, height=height, dark=dark),
            cancel=graph.cancel,
        )


def _watch(
    session: Session, observer: GridObserver, out: Path, *, width: int, height: int, dark: bool
) -> None:
    from apis_dashboard.screenshot import take_screenshot

    def is_worth_a_picture() -> bool:
        states = [deal.state for deal in observer.deals.values()]
        done = states.count(Deal.STATE_COMPLETED)
        return done >= DEALS_DONE and Deal.STATE_RUNNING in states

    if not observer.wait_for(is_worth_a_picture, within_s=ENERGY_FLOWS_WITHIN_S):
        raise CommandError(f"too few deals in {ENERGY_FLOWS_WITHIN_S:g} s for a picture")
    assert session.url is not None  # this session has a dashboard
    take_screenshot(session.url, out, width=width, height=height, dark=dark)
