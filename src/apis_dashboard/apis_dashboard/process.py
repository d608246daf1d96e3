"""The dashboard process: the page in the main thread, the graph in another.

Parameters: ``grid_file`` (resolved grid description, JSON), ``host`` and ``port`` (left out: as
the grid description says), ``access_file`` (who may log in), ``history_file`` and ``audit_file``
(left out: beside the grid file). Exit codes: 0 stopped by SIGINT or SIGTERM, 1 the graph's thread
failed, 2 a wrong parameter or a busy port.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rclpy.context import Context
from rclpy.node import Node

from apis_dashboard.access import AccessError, Users, is_loopback, read_users
from apis_dashboard.audit import Audit
from apis_dashboard.history import History
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.parameters import PARAMETERS
from apis_dashboard.ros_source import GraphLink
from apis_dashboard.server import PortBusy, make_server, open_port, serve
from apis_ros.leaving import (
    LEFT_UNDONE,
    STOPPED,
    WRONG,
    StartError,
    leave_within_limit,
    run_in_graph,
)
from apis_ros.parameters import declare_parameters
from apis_site.grid import GridDescription
from apis_site.site import read_site

__all__ = ["run"]


@dataclass(frozen=True)
class _Options:
    grid: GridDescription
    host: str
    port: int
    folder: Path  # of the run
    users: Users | None
    history_file: Path
    audit_file: Path
    is_simulated: bool


def run(arguments: list[str] | None = None) -> int:
    """Serve the dashboard until a signal comes; give the exit code."""
    context = Context()

    # The web server owns the signals: it closes the pages first, then we leave the graph.
    return run_in_graph("dashboard", arguments, lambda: _run(context), context=context)


def _run(context: Context) -> int:
    options = _read_options(context)
    try:
        listener = open_port(options.host, options.port)
    except PortBusy as error:
        print(error, file=sys.stderr)
        return WRONG
    host, port = listener.getsockname()[:2]

    def fail() -> None:
        server.should_exit = True

    site = read_site(options.grid, options.folder, is_simulated=options.is_simulated)
    link = GraphLink(site, context, on_failure=fail)
    history = History(options.history_file, site.zone)
    commands = OperatorCommands(link, history, Audit(options.audit_file))
    server = make_server(commands, options.users)

    def begin() -> None:
        link.start()
        commands.start()
        print(f"dashboard: http://{host}:{port}", flush=True)

    serve(server, listener, ready=begin)
    commands.stop()
    leave_within_limit()
    try:
        link.stop()
    except Exception as error:
        print(f"dashboard: stopped listening to the graph: {error!r}", file=sys.stderr)
        return LEFT_UNDONE
    return STOPPED


def _read_options(context: Context) -> _Options:
    """Read the parameters by a passing node: the real one's namespace stands in the file."""
    node = Node("dashboard", context=context, start_parameter_services=False, enable_rosout=False)
    try:
        own = declare_parameters(node, PARAMETERS)
        is_simulated = node.get_parameter("use_sim_time").value
    finally:
        node.destroy_node()
    file, history_file, audit_file = own["grid_file"], own["history_file"], own["audit_file"]
    if not file:
        raise StartError("parameter grid_file is missing: --ros-args -p grid_file:=FILE.json")
    try:
        grid = GridDescription.model_validate_json(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"grid_file {file}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StartError(f"grid_file {file}: {place}: {first['msg']}") from error
    host = own["host"] or grid.web.host
    access_file = own["access_file"] or grid.web.access_file
    try:
        users = read_users(Path(access_file)) if access_file else None
    except AccessError as error:
        raise StartError(f"{error}") from error
    if users is None and not is_loopback(host):
        raise StartError(
            f"host {host} can be reached from the network: needs access_file, the file "
            "of who may log in (see docs/dashboard.md)"
        )
    folder = Path(file).resolve().parent
    return _Options(
        grid=grid,
        host=host,
        port=own["port"] or grid.web.port,
        folder=folder,
        users=users,
        history_file=Path(history_file or folder / "history.sqlite"),
        audit_file=Path(audit_file or folder / "audit.jsonl"),
        is_simulated=bool(is_simulated),
    )
