"""Which processes make up a grid: computed here, for the launch file and ``make run`` alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apis_bringup.recording_file import recording_file
from apis_bringup.roles import Role
from apis_bringup.run_folder import RunFolder
from apis_core.config.policy import Policy
from apis_core.config.timing import BUS_DOWN_S, stop_limit_wall_s
from apis_core.model.errors import ConfigError, Problem
from apis_ros.names import cluster_namespace, in_cluster, in_unit
from apis_site.grid import GridDescription, UnitEntry

__all__ = [
    "NO_EXTRAS",
    "Extras",
    "Process",
    "Replay",
    "bus_down_s",
    "dashboard_process",
    "dashboard_url",
    "extra_processes",
    "node_parameters",
    "process_list",
    "stop_limit_s",
]

_DRAIN_S = 6.0  # for converters to WAIT, as far as nobody has done so before
_LEAVE_S = 6.0  # for leaving the graph, on a busy machine
SEPARATE_UP_TO = 8  # units; beyond, a process each costs too much memory and discovery traffic


@dataclass(frozen=True, slots=True)
class Extras:
    """What looks at a grid beside the dashboard; all off by default.

    Attributes:
        markers: Draw the grid for RViz.
        metrics_port: Serve metrics for Prometheus on this port; None = do not.
        compat_http: Serve the HTTP interfaces of the original's apis-web and main controller.
        record: Record all topics into this MCAP file, absolute; None = do not.
        overwrite: Whether that file is replaced if it is there.
    """

    markers: bool = False
    metrics_port: int | None = None
    compat_http: bool = False
    record: Path | None = None
    overwrite: bool = False

    @classmethod
    def of_texts(
        cls, markers: str, metrics_port: str, compat_http: str, record: str = ""
    ) -> Extras:
        """What launch arguments say: all text, and empty for what is not wanted.

        Raises:
            ConfigError: The port is none, or the recording's file is there.
        """
        if metrics_port and not (metrics_port.isdecimal() and 0 < int(metrics_port) < 65536):
            right = "must be a port, 1 to 65535"
            raise ConfigError([Problem("command line", "metrics_port", metrics_port, right)])
        return cls(
            markers=markers == "true",
            metrics_port=int(metrics_port) if metrics_port else None,
            compat_http=compat_http == "true",
            record=recording_file(Path(record), option="record") if record else None,
        )

    def names(self) -> list[str]:
        """Executables of `apis_viz` that are wanted; each has a node of the same name."""
        wanted = {
            "markers": self.markers,
            "metrics": self.metrics_port is not None,
            "compat_http": self.compat_http,
            "recorder": self.record is not None,
        }
        return [name for name, is_wanted in wanted.items() if is_wanted]


NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a grid.

    Attributes:
        name: As people know it, such as ``unit E001``.
        role: What it is for; says when it stops, and what happens when it dies.
        package: Package of its executable.
        executable: As `ros2 run` would name it.
        params_file: ROS parameter file; all nodes of a grid share one.
        arguments: Command line, without ROS arguments.
        namespace: ROS namespace to start it in; empty = it knows its own.
    """

    name: str
    role: Role
    package: str
    executable: str
    params_file: Path
    arguments: tuple[str, ...] = ()
    namespace: str = ""


def process_list(
    grid: GridDescription, run: RunFolder, *, web: bool = True, extras: Extras = NO_EXTRAS
) -> list[Process]:
    """All processes of a grid, in the order in which they start.

    Args:
        grid: Resolved description.
        run: Its run folder.
        web: Whether the dashboard is among them.
        extras: What else looks at the grid.
    """
    namespace = cluster_namespace(grid.cluster)
    params_file = run.params_file
    emulator = Process(
        "emulator", Role.WORLD, "apis_emulator", "emulator", params_file, namespace=namespace
    )
    processes = [
        *([emulator] if _is_emulated(grid) else []),
        *(_driver_process(grid, unit.id, params_file) for unit in _with_drivers(grid)),
        *(_unit_process(grid, ids, params_file) for ids in _unit_groups(grid)),
    ]
    if web:
        processes.append(dashboard_process(grid, run))
    return [*processes, *extra_processes(grid, run, extras)]


def extra_processes(grid: GridDescription, run: RunFolder, extras: Extras) -> list[Process]:
    """What else looks at a grid."""
    namespace = cluster_namespace(grid.cluster)
    return [
        Process(
            name,
            Role.RECORDER if name == "recorder" else Role.WINDOW,
            "apis_compat" if name == "compat_http" else "apis_viz",
            name,
            run.params_file,
            namespace=namespace,
        )
        for name in extras.names()
    ]


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded day to show again.

    Attributes:
        file: The MCAP file, absolute.
        speed: Recorded seconds per second; 0 = as fast as it was recorded.
        start_s: How much of its beginning to leave out. [s]
    """

    file: Path
    speed: float = 0.0
    start_s: float = 0.0

    def process_list(
        self,
        grid: GridDescription,
        run: RunFolder,
        *,
        web: bool = True,
        extras: Extras = NO_EXTRAS,
    ) -> list[Process]:
        """The player instead of emulator and units, and what looks at it."""
        namespace = cluster_namespace(grid.cluster)
        player = Process(
            "player", Role.WORLD, "apis_viz", "player", run.params_file, namespace=namespace
        )
        pages = [dashboard_process(grid, run)] if web else []
        return [player, *pages, *extra_processes(grid, run, extras)]

    def parameters(self, grid: GridDescription, run: RunFolder) -> dict[str, dict[str, Any]]:
        """ROS parameters of the player."""
        own = {"file": str(self.file), "speed": float(self.speed), "start_s": float(self.start_s)}
        return {in_cluster(grid.cluster, "player"): {"grid_file": str(run.grid_file), **own}}


def dashboard_process(grid: GridDescription, run: RunFolder) -> Process:
    """The web page of a grid."""
    namespace = cluster_namespace(grid.cluster)
    return Process(
        "dashboard",
        Role.WINDOW,
        "apis_dashboard",
        "dashboard",
        run.params_file,
        namespace=namespace,
    )


def node_parameters(
    grid: GridDescription,
    run: RunFolder,
    policy_file: Path,
    *,
    use_sim_time: bool = True,
    extras: Extras = NO_EXTRAS,
) -> dict[str, dict[str, Any]]:
    """ROS parameters by fully qualified node name.

    Args:
        grid: Resolved description.
        run: Its run folder.
        policy_file: Which its units share.
        use_sim_time: Whether the nodes live by `/clock`; the emulator, which makes it, never does.
        extras: What else looks at the grid.
    """
    namespace = cluster_namespace(grid.cluster)
    use_sim_time = use_sim_time and _is_emulated(grid)  # else nobody makes a `/clock`
    nodes: dict[str, dict[str, Any]] = {
        f"{namespace}/emulator": {"grid_file": str(run.grid_file), "speed": grid.emulator.speed},
        f"{namespace}/dashboard": {
            "use_sim_time": use_sim_time,
            "grid_file": str(run.grid_file),
            "host": grid.web.host,
            "port": grid.web.port,
        },
    }
    own: dict[str, dict[str, Any]] = {
        "metrics": {"port": extras.metrics_port},
        "recorder": {"file": str(extras.record), "overwrite": extras.overwrite},
    }
    for name in extras.names():
        nodes[f"{namespace}/{name}"] = {
            "use_sim_time": use_sim_time,
            "grid_file": str(run.grid_file),
            "policy_file": str(policy_file),
            **own.get(name, {}),
        }
    for unit in grid.units:
        nodes[in_unit(grid.cluster, unit.id, "unit")] = {
            "use_sim_time": use_sim_time,
            "unit_id": unit.id,
            "cluster": grid.cluster,
            "policy_file": str(policy_file),
            "hardware_file": unit.hardware,
            "scenario_file": unit.scenario,
            "battery": unit.battery or "",
            "keys": grid.keys or "",
            "journal_file": str(run.journal_file(unit.id)),
            "timezone": grid.emulator.place.timezone,
            "speed": grid.emulator.speed,
            "bus_down_s": bus_down_s(grid),
        }
    for unit in _with_drivers(grid):
        nodes[in_unit(grid.cluster, unit.id, "driver")] = {
            "use_sim_time": use_sim_time and unit.driver is None,  # energy takes its own time
            "hardware_file": unit.hardware,
            "speed": grid.emulator.speed,
            "keys": grid.keys or "",
            **_devices(unit, run),
        }
    return nodes


def bus_down_s(grid: GridDescription) -> float:
    """How long a voltage reference may take to WAIT after the order. [s, simulated]"""
    bus = grid.emulator.bus
    emulated_s = bus.over_voltage_trip_v / bus.ramp_down_v_per_s if _is_emulated(grid) else 0.0
    return max(emulated_s, BUS_DOWN_S)


def stop_limit_s(process: Process, grid: GridDescription, policy: Policy | None) -> float:
    """How long a process may take to stop before it is killed. [s, wall]"""
    if process.role is not Role.UNIT or policy is None:
        return _DRAIN_S + _LEAVE_S
    return stop_limit_wall_s(policy, grid.emulator.speed, bus_down_s(grid)) + _LEAVE_S


def dashboard_url(grid: GridDescription) -> str:
    """Where people open the dashboard."""
    host = f"[{grid.web.host}]" if ":" in grid.web.host else grid.web.host
    return f"http://{host}:{grid.web.port}"


def _with_drivers(grid: GridDescription) -> list[UnitEntry]:
    """Units whose devices are not the emulator's own."""
    return [unit for unit in grid.units if unit.driver or unit.device.kind != "native"]


def _is_emulated(grid: GridDescription) -> bool:
    """Whether there is anything for the emulator to do."""
    return any(unit.driver is None for unit in grid.units)


# an emulated device answers at once, but on a busy machine its thread may have to wait, also in
# the middle of an answer
_EMULATED_LINE = {"reply_timeout_s": 0.5, "byte_gap_s": 0.15}
_EMULATED_RULES = {"stop_slew_a_per_s": 1000.0}  # WAIT switches it off at once


def _devices(unit: UnitEntry, run: RunFolder) -> dict[str, dict[str, Any]]:
    """Where a driver finds its devices: real ones, or those that the emulator serves."""
    if unit.driver is not None:
        parts = unit.driver.model_dump(mode="json", exclude_none=True)
        return {name: part for name, part in parts.items() if part}
    device = unit.device
    if device.kind == "http":
        url = f"http://127.0.0.1:{device.http_port}"
        return {
            "converter": {"kind": "http", "url": url},
            "battery": {"kind": "http", "url": url},
            "rules": {**_EMULATED_RULES},
        }
    return {
        "rules": {**_EMULATED_RULES},
        "converter": {
            "kind": "eza2500",
            "port": str(run.tty(unit.id, "dcdc")),
            "baud": device.dcdc_baud,
            **_EMULATED_LINE,
        },
        "battery": {
            "kind": "modbus",
            "port": str(run.tty(unit.id, "battery")),
            "baud": device.battery_baud,
            "registers": "modbus_battery_meter",
            **_EMULATED_LINE,
        },
    }


def _driver_process(grid: GridDescription, unit_id: str, params_file: Path) -> Process:
    """A process for each, so that one that hangs holds up its own converter alone."""
    arguments = ("--cluster", grid.cluster, "--unit", unit_id)
    return Process(
        f"driver {unit_id}", Role.DRIVER, "apis_driver", "driver", params_file, arguments
    )


def _unit_groups(grid: GridDescription) -> list[tuple[str, ...]]:
    """Unit ids by process."""
    ids = tuple(unit.id for unit in grid.units)
    is_shared = grid.composition == "shared" or (
        grid.composition == "auto" and len(ids) > SEPARATE_UP_TO
    )
    return [ids] if is_shared else [(unit_id,) for unit_id in ids]


def _unit_process(grid: GridDescription, ids: tuple[str, ...], params_file: Path) -> Process:
    return Process(
        name=f"unit {ids[0]}" if len(ids) == 1 else f"units {ids[0]}..{ids[-1]}",
        role=Role.UNIT,
        package="apis_node",
        executable="unit",
        params_file=params_file,
        arguments=("--cluster", grid.cluster, "--units", *ids),
    )
