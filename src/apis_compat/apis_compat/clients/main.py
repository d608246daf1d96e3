"""The process that serves the original's HTTP interfaces.

Parameters beside those of every window: ``host`` (127.0.0.1 by default: there is no login, and GET
changes state, as the original's clients expect) and the ports ``budo_port`` (43830),
``emulator_port`` (43900), ``hardware_port`` (4390), ``api_port`` (9999), ``generator_port`` (9998)
and ``controller_port`` (4381; the original's 4382 is the dashboard's). A port of 0 leaves an
interface out.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from apis_compat.clients.interfaces import (
    ApiServer,
    BudoEmulator,
    Controller,
    DealGenerator,
    EmulatorEmulator,
    HardwareEmulator,
    Interface,
    Place,
)
from apis_compat.clients.manual_control import Limits, ManualControl
from apis_compat.clients.orders import Orders
from apis_compat.clients.schedules import Schedules
from apis_compat.clients.server import Servers
from apis_interfaces.msg import OperationMode
from apis_ros.grid_listener import GridListener
from apis_ros.parameters import NodeParameter
from apis_ros.window import WindowError, WindowFiles, run_window
from apis_site.site import Site, read_site

__all__ = ["main"]

PORTS = {
    "budo_port": 43830,
    "emulator_port": 43900,
    "hardware_port": 4390,
    "api_port": 9999,
    "generator_port": 9998,
    "controller_port": 4381,
}
PARAMETERS = (
    NodeParameter(name="host", default="127.0.0.1", about="Address that it listens on"),
    NodeParameter(
        name="schedule_file", default="", about="Path of its soft stops; empty = beside grid_file"
    ),
    *(
        NodeParameter(
            name=name, default=port, about="Port of this interface; 0 = off", least=0, most=65535
        )
        for name, port in PORTS.items()
    ),
)
SCHEDULE_PERIOD_S = 0.5  # wall


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; give the exit code."""
    return run_window("compat_http", PARAMETERS, _build, arguments)


def _build(node: Node, files: WindowFiles, own: dict[str, Any], stack: ExitStack) -> None:
    grid = files.grid
    watch = GridListener(node, (unit.id for unit in grid.units), authenticator=files.authenticator)
    place = Place(watch, ZoneInfo(grid.emulator.place.timezone), grid.cluster)
    orders = Orders(node, place.watch)
    budo = BudoEmulator(place, orders)
    file = own["schedule_file"] or Path(own["grid_file"]).with_name("soft_stops.json")
    schedules = Schedules(Path(file))
    folder = Path(own["grid_file"]).parent
    manual_control = ManualControl(watch, orders, _limits(read_site(grid, folder)))
    hardware = HardwareEmulator(place, manual_control)
    api = ApiServer(orders)
    interfaces: dict[str, Interface] = {
        "budo_port": budo,
        "emulator_port": EmulatorEmulator(place),
        "hardware_port": hardware,
        "api_port": api,
        "generator_port": DealGenerator(api),
        "controller_port": Controller(place, orders, budo, hardware, schedules),
    }
    try:
        servers = Servers(
            own["host"],
            {own[name]: one for name, one in interfaces.items() if own[name]},
            manual_control.hear,
        )
    except OSError as error:
        raise WindowError(str(error)) from error
    stack.callback(servers.stop)
    servers.start()

    def look_at_schedules() -> None:
        now_s = node.get_clock().now().nanoseconds * 1e-9
        schedules.fire(
            now_s, lambda unit_id: orders.send_mode(OperationMode.MODE_SOFT_STOP, unit_id)
        )

    node.create_timer(
        SCHEDULE_PERIOD_S, look_at_schedules, clock=Clock(clock_type=ClockType.STEADY_TIME)
    )
    ports = ", ".join(str(own[name]) for name in PORTS if own[name])
    print(f"HTTP as the original's, on {own['host']}: {ports}", flush=True)


def _limits(site: Site) -> Limits:
    policy = site.policy
    return Limits(
        (policy.grid_voltage_min_v, policy.grid_voltage_max_v) if policy else None,
        {
            unit_id: unit.hardware.grid_current_capacity_a
            for unit_id, unit in site.units.items()
            if unit.hardware
        },
    )


if __name__ == "__main__":
    sys.exit(main())
