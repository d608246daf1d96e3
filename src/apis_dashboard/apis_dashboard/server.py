"""Serving the page: the port is taken before anything starts, and a signal ends it cleanly."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from nicegui import app, ui

from apis_dashboard.access import Users
from apis_dashboard.login_guard import Guard
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.pages import add_pages
from apis_dashboard.widgets import ICON

__all__ = ["PortBusy", "make_server", "open_port", "serve"]


class PortBusy(Exception):
    """The address cannot be had; the text is one line for people."""


def open_port(host: str, port: int) -> socket.socket:
    """Take the address now, so that a busy port is found out before anything else starts.

    Raises:
        PortBusy: Somebody else has it, or this machine does not have the address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(
                64
            )  # SO_REUSEADDR lets two bind; only listening tells that it is taken
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise PortBusy(
            f"dashboard: cannot listen on {host}:{port} ({reason}); "
            "choose another port or stop what is there"
        ) from error
    return listener


def make_server(commands: OperatorCommands, users: Users | None = None) -> uvicorn.Server:
    """Make the web server with the pages on it; it does not run yet.

    Args:
        commands: What the pages show and steer.
        users: Who may log in; None = nobody needs to.
    """
    web = FastAPI(title="APIS dashboard", docs_url=None, redoc_url=None, openapi_url=None)
    add_pages(commands)
    ui.run_with(
        web,
        title=f"APIS · {commands.source.site.cluster}",
        favicon=ICON,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=60.0,  # [s] a phone that slept, or a busy machine: go on, do not reload
        binding_refresh_interval=None,  # no bindings: the pages have their own timer
    )
    guard = Guard(web, users, cluster=commands.source.site.cluster, audit=commands.audit.note)
    if users is not None:
        commands.is_open = lambda who: guard.sessions.find(who.session) is not None
    # Open pages hold a connection for ever: without a limit they keep a stopping server alive.
    config = uvicorn.Config(
        guard, log_level="warning", timeout_graceful_shutdown=1, ws_per_message_deflate=False
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, or until ``server.should_exit`` is set.

    Args:
        server: From :func:`make_server`.
        listener: From :func:`open_port`.
        ready: Called once, when requests are about to be answered. Threads begin here and not
            before: when it starts, NiceGUI walks over all objects of the process, and a tuple that
            another thread is building at that moment fails with a SystemError.
    """

    def leave(*_: object) -> None:
        server.should_exit = True

    # For the moment before uvicorn has handlers of its own, and for the one after: when it is
    # done, it sends itself the signal once more, which must not kill what has to be closed.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, leave)
    app.on_startup(ready)
    server.run(sockets=[listener])
