"""One grid that this process runs: its run folder, its lock, its children."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from honcho.printer import Printer

from apis_bringup.errors import CancelledError, CommandError, usage_error
from apis_bringup.grid_file import resolve, write_run_folder
from apis_bringup.overrides import NO_OVERRIDES, Overrides
from apis_bringup.processes import (
    NO_EXTRAS,
    Extras,
    Process,
    Replay,
    dashboard_url,
    process_list,
    stop_limit_s,
)
from apis_bringup.recording import recorded_grid
from apis_bringup.roles import Role
from apis_bringup.run_folder import RunFolder, run_folder
from apis_bringup.run_lock import RunningGrid, claim, members_environment
from apis_bringup.runner import Child, Runner
from apis_bringup.shared_memory import remove_dead_segments
from apis_core.config.policy import Policy, parse_policy
from apis_ros.ros_environment import check_ros_environment, log_folder_of_ours
from apis_site.grid import GridDescription

__all__ = [
    "GridOptions",
    "PreparedGrid",
    "Session",
    "default_config",
    "find_executable",
    "open_session",
    "prepare",
]


@dataclass(frozen=True, slots=True)
class GridOptions:
    """What the command line says of a grid to run.

    Attributes:
        config: Grid file; None = the one that comes with the project.
        overrides: What to change of it.
        web: Whether to start the dashboard.
        keep_journal: Whether units remember what they did in an earlier run.
        quiet: Whether the children's output goes to their log files alone.
        fail_fast: Whether the first process that dies ends the run.
        extras: What else looks at the grid.
        replay: A recording to show instead of a grid.
    """

    config: Path | None = None
    overrides: Overrides = NO_OVERRIDES
    web: bool = True
    keep_journal: bool = False
    quiet: bool = False
    fail_fast: bool = False
    extras: Extras = NO_EXTRAS
    replay: Replay | None = None


@dataclass(frozen=True, slots=True)
class PreparedGrid:
    """A grid that may start now; nothing else starts on its ROS domain meanwhile."""

    grid: GridDescription
    policy: Policy | None
    run: RunFolder
    processes: tuple[Process, ...]
    url: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A prepared grid and the runner of its processes."""

    grid: GridDescription
    run: RunFolder
    runner: Runner
    url: str | None

    def run_with(self, watch: Callable[[], None], *, cancel: Callable[[], None]) -> int:
        """Run the grid while `watch` works in a thread of its own; stop it when `watch` returns.

        Args:
            watch: What to do meanwhile.
            cancel: Makes `watch` raise CancelledError soon; called when the grid has ended.

        Returns:
            The runner's exit code.

        Raises:
            BaseException: What `watch` raised, after the grid has been stopped.
        """
        failures: list[BaseException] = []

        def watching() -> None:
            try:
                watch()
            except BaseException as error:
                failures.append(error)
            finally:
                self.runner.request_stop()

        thread = threading.Thread(target=watching, name="watch", daemon=True)
        thread.start()
        code = self.runner.run()
        cancel()
        thread.join()
        # A watch that was cancelled had lost what it watched: the runner has said why.
        if failures and not isinstance(failures[0], CancelledError):
            raise failures[0]
        return code


@contextmanager
def prepare(options: GridOptions) -> Iterator[PreparedGrid]:
    """Read a grid's files, take its domain and port, write its run folder.

    Raises:
        ConfigError: A file or the command line is wrong, or the port is busy.
        CommandError: Another grid runs on this domain, or the environment is wrong.
    """
    check_ros_environment()
    replay = options.replay
    if replay:
        resolved = recorded_grid(replay.file, options.overrides.port)
    else:
        resolved = resolve(options.config or default_config(), options.overrides)
    grid = resolved.description
    run = run_folder(grid, "-replay" if replay else "")
    url = dashboard_url(grid) if options.web else None
    ids = tuple(unit.id for unit in grid.units)
    with claim(RunningGrid(grid.cluster, ids, str(run.path), url)):
        if options.web:
            _check_port(grid.web.host, grid.web.port)
        extras = options.extras
        if extras.metrics_port is not None:
            _check_port("127.0.0.1", extras.metrics_port, "--metrics-port")
        try:
            write_run_folder(
                resolved,
                run,
                keep_journal=options.keep_journal,
                extras=extras,
                replay=options.replay,
            )
        except OSError as error:
            raise CommandError(f"cannot write into {run.path}: {error.strerror}") from None
        list_of = replay.process_list if replay else process_list
        processes = list_of(grid, run, web=options.web, extras=extras)
        policy = parse_policy(resolved.policy_text, grid.policy) if not replay else None
        remove_dead_segments()  # of earlier runs
        try:
            yield PreparedGrid(grid, policy, run, tuple(processes), url)
        finally:
            remove_dead_segments()


@contextmanager
def open_session(options: GridOptions) -> Iterator[Session]:
    """Prepare a grid, and a runner for its processes.

    Raises:
        ConfigError: A file or the command line is wrong, or the port is busy.
        CommandError: Another grid runs on this domain, or the workspace is not built.
    """
    with prepare(options) as prepared:
        runner = Runner(
            [_child(process, prepared) for process in prepared.processes],
            log_folder=prepared.run.log_folder,
            env=_child_environment(prepared.run),
            printer=Printer(sys.stderr if options.quiet else sys.stdout),
            quiet=options.quiet,
            fail_fast=options.fail_fast,
        )
        yield Session(prepared.grid, prepared.run, runner, prepared.url)


def default_config() -> Path:
    """The grid file that comes with the project: of the source tree, or as installed."""
    source_tree = Path(__file__).resolve().parents[3]
    folders = [source_tree, *(prefix / "share" / "apis_bringup" for prefix in _prefixes())]
    for folder in folders:
        file = folder / "config" / "sim_grid.yaml"
        if file.is_file():
            return file
    raise CommandError("config/sim_grid.yaml is not found; name a grid file with --config")


def find_executable(package: str, executable: str) -> Path:
    """The program that `ros2 run PACKAGE EXECUTABLE` would start."""
    for prefix in _prefixes():
        path = prefix / "lib" / package / executable
        if os.access(path, os.X_OK):
            return path
    raise CommandError(f"{package} {executable} is not built: run `make setup`")


def _prefixes() -> list[Path]:
    return [
        Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix
    ]


def _child(process: Process, prepared: PreparedGrid) -> Child:
    rescue = _command(process, "--put-to-wait") if process.role is Role.DRIVER else ()
    limit_s = stop_limit_s(process, prepared.grid, prepared.policy)
    return Child(process.name, _command(process), process.role, limit_s, rescue)


def _command(process: Process, *more: str) -> tuple[str, ...]:
    """How to start a process without `launch`, with the same arguments as `launch_ros` gives."""
    program = find_executable(process.package, process.executable)
    remap = ("-r", f"__ns:={process.namespace}") if process.namespace else ()
    params = ("--params-file", str(process.params_file))
    return (str(program), *process.arguments, *more, "--ros-args", *remap, *params)


def _child_environment(run: RunFolder) -> Mapping[str, str]:
    """Ours, with short log lines (the runner adds time and name) and no files at home."""
    ours = {
        "RCUTILS_CONSOLE_OUTPUT_FORMAT": "{severity} {message}",
        "RCUTILS_COLORIZED_OUTPUT": "0",
        "ROS_LOG_DIR": str(run.log_folder / "ros"),
    }
    given = dict(os.environ)
    if given.get("ROS_LOG_DIR") == str(log_folder_of_ours()):
        del given["ROS_LOG_DIR"]
    return {**ours, **given, **members_environment(), "PYTHONUNBUFFERED": "1"}


def _check_port(host: str, port: int, option: str = "--port") -> None:
    """Find a busy port before anything starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as web servers do
        try:
            probe.bind((host, port))
        except UnicodeError:  # of the name, made an address
            raise usage_error("host", host, "must be an address or the name of a host") from None
        except OSError as error:
            right = f"is not free on {host} ({error.strerror}); choose another"
            raise usage_error(option, port, right) from None
