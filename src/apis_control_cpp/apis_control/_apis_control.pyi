"""What the compiled module offers. Misuse raises here, at the border; the C++ behind it never
throws.
"""

from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

class ControlError(ValueError):
    """Base of what this module raises."""

class InvalidTimeStep(ControlError):
    """A time step that is not a finite number > 0."""

class InvalidValue(ControlError):
    """A quantity that is not a finite number, or out of its range."""

class Detached(ControlError):
    """A handle whose unit was taken out of its plant."""

class NotObeyed(ControlError):
    """An order that the loop did not obey, and why."""

class EnergyMeter:
    """Counts the Wh that pass a terminal; + power = charging. Neither counter ever decreases.

    Sums with Neumaier's compensation, so that a year of milliwatt-seconds is not lost beside a
    large total.
    """

    def __init__(self) -> None: ...
    def add(self, power_w: float, dt_s: float) -> None:
        """Add a power sample [W] taken at the end of an interval [s, > 0], by the trapezoid rule.

        The first sample counts as constant over its interval. A change of sign inside an interval
        is split where the line crosses zero.
        """
    def add_mean(self, power_w: float, dt_s: float) -> None:
        """Add an interval [s, > 0] of which the mean power [W] is known."""
    @property
    def charged_wh(self) -> float:
        """Energy of positive power since construction. [Wh, >= 0]"""
    @property
    def discharged_wh(self) -> float:
        """Energy of negative power since construction, as a positive number. [Wh, >= 0]"""

class SlewLimiter:
    """A value that follows its reference no faster than ``rate_per_s`` and meets it without
    overshoot.
    """

    def __init__(self, rate_per_s: float, value: float = 0.0) -> None: ...
    def step(self, reference: float, dt_s: float) -> float:
        """Move towards ``reference`` for ``dt_s`` [s, > 0]; returns the new value."""
    def reset(self, value: float) -> None:
        """Jump to a value, as a trip does."""
    @property
    def value(self) -> float: ...
    @property
    def rate_per_s(self) -> float: ...

class Converter:
    """One DC/DC converter. Currents and powers: + = from the bus into the unit.

    Enums are plain numbers here, those of the messages: mode 1 WAIT, 2 VOLTAGE_REFERENCE,
    3 DISCHARGE, 4 CHARGE; alarm 1 none, 2 light, 3 heavy; stop cause 0 none, 1 energy reached,
    2 hold expired, 3 trip.

    Keyword arguments: fields of ``ConverterParameters`` in converter.hpp (ratings, slew rates,
    loss curve, trips), with their units in their names.

    Raises:
        InvalidValue: A rating or a slew rate is not a finite number > 0.
        TypeError: There is no such parameter.
    """

    alarm: int
    current_a: float  # at the bus terminal, now [A]
    voltage_setpoint_v: float  # ordered; 0 unless a voltage reference [V]
    current_setpoint_a: float  # ordered, or the limit of a voltage reference, >= 0 [A]
    droop_ratio: float  # voltage drop at rated current over the setpoint, 0..0.1
    energy_limit_wh: float | None  # it stops by itself when so much has moved [Wh]
    next_current_a: float  # setpoint that it goes to there instead; 0 = it stops [A]
    current_offset_a: float  # error of its current control [A]
    is_stuck: bool  # fault: it keeps its current whatever it is told, until a trip
    may_charge: bool  # permits of the battery management; taken away they trip
    may_discharge: bool
    def __init__(self, **parameters: float) -> None: ...
    @property
    def mode(self) -> int: ...
    @property
    def stop_cause(self) -> int: ...
    @property
    def stop_detail(self) -> str:
        """Why it left its last active mode by itself, for people."""
    @property
    def regulated_v(self) -> float:
        """What a voltage reference regulates to while it ramps. [V]"""
    @property
    def has_held(self) -> bool:
        """As a reference it has reached its setpoint."""
    @property
    def saturated_s(self) -> float:
        """For how long a reference has been at its current limit. [s]"""
    @property
    def temp_degc(self) -> float: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def is_stopping(self) -> bool: ...
    @property
    def is_reference(self) -> bool: ...
    @property
    def charged_wh(self) -> float:
        """Taken from the bus since the start. [Wh]"""
    @property
    def discharged_wh(self) -> float:
        """Given to the bus since the start. [Wh]"""
    @property
    def moved_wh(self) -> float:
        """Moved over the bus terminal, either way, since the last order of a mode. [Wh]"""
    @property
    def droop_ohm(self) -> float: ...
    def loss_w(self, grid_w: float) -> float:
        """What it burns at this power at the bus terminal. [W]"""
    def start(self, mode: int, *, bus_v: float, energy_limit_wh: float | None) -> None:
        """Enter an active mode, without setpoints. Counting towards the limit begins anew."""
    def acknowledge(self) -> None:
        """Forget the alarm."""
    def stop(self, cause: int, detail: str, *, is_bus_held: bool) -> None:
        """Go to WAIT in order. A first cause stays.

        With the bus held by another reference, a reference lets its current go instead of the
        voltage.
        """
    def trip(self, detail: str) -> None:
        """Off at once, with an alarm."""
    def finish(self) -> None:
        """End an orderly stop now, wherever it is."""
    def count(self, grid_w: float, dt_s: float) -> float:
        """Meter a step of mean power [W, s]; returns what is lost. [W]"""
    def time_to_stop(self, bus_v: float) -> float:
        """Time until its stop must begin to meet its energy limit; inf = not in sight. [s]"""

Samples = float | tuple[npt.ArrayLike, float, float]
"""One value, or (values, step_s, origin_s): joined by lines, and after the last comes the first.
float32 arrays are not copied.
"""

class PlantUnit:
    """A unit of a plant; every column of the plant is an attribute of the same name.

    Raises:
        Detached: It was taken out of its plant.
    """

    voltage_offset_v: float
    stored_wh: float
    has_mains: float
    is_bypass: float
    is_ac_charging: float
    is_dark: float
    pack_degc: float
    converter_degc: float
    @property
    def converter(self) -> Converter: ...
    @property
    def index(self) -> int: ...
    @property
    def is_attached(self) -> bool: ...
    @property
    def bus_v(self) -> float:
        """At its bus terminal. [V]"""
    @property
    def open_circuit_v(self) -> float: ...
    @property
    def soc_ratio(self) -> float:
        """Stored energy over capacity, 0..1."""
    @property
    def is_empty(self) -> bool: ...
    @property
    def is_full(self) -> bool: ...
    @property
    def battery_charged_wh(self) -> float:
        """Through the converter's battery terminals since the start. [Wh]"""
    @property
    def battery_discharged_wh(self) -> float:
        """The same way out, idle losses included. [Wh]"""
    def __getattr__(self, column: str) -> float: ...

class Plant:
    """Houses, converters and bus in virtual time. Equal steps and orders give equal bits, on any
    machine.

    Args:
        bus: Fields of ``BusParameters`` (plant.hpp).
        house: Fields of ``HouseParameters`` (house.hpp), with the sources of their values.
        cells: Tables of ``BatteryCells`` (house.hpp): ``soc_ratio``, ``open_circuit_v`` [V],
            ``resistance_soc_ratio``, and ``charge_10degc_mohm``, ``..._25degc_...``,
            ``..._40degc_...``, the same of ``discharge`` [mohm].

    Raises:
        InvalidValue: A value is out of its range, or a table is none.
        TypeError: There is no such field or table.
    """

    time_s: float  # since the start [s]
    voltage_v: float  # mean of the largest part of the bus [V]
    def __init__(
        self,
        bus: dict[str, float] = ...,
        house: dict[str, float] = ...,
        cells: dict[str, Sequence[float]] = ...,
    ) -> None: ...
    def add(
        self,
        converter: Converter,
        *,
        capacity_wh: float,
        stored_wh: float,
        solar: Samples,
        load: Samples,
        has_mains: bool = True,
        voltage_offset_v: float = 0.0,
    ) -> PlantUnit:
        """One more unit, also in mid-run. Arrays of columns and lines must be got and set anew."""
    def remove(self, index: int) -> None: ...
    def set_profiles(self, index: int, solar: Samples, load: Samples) -> None: ...
    def set_lines(self, lines: Sequence[tuple[int, int, float]]) -> None:
        """Wires between units: (index, index, ohm of both conductors). None = an ideal bus."""
    def set_line_open(self, line: int, is_open: bool) -> None:
        """Break or mend a line; the parts of a bus that was split live on by themselves."""
    def step(self, dt_s: float) -> None:
        """Let a time pass [s, > 0]. Gives up the GIL meanwhile."""
    def column(self, name: str) -> npt.NDArray[np.float64]:
        """One value per unit, in the plant's own memory.

        State, writable: stored_wh, has_mains, is_bypass, is_ac_charging, is_dark, pack_degc,
        converter_degc. Fixed: capacity_wh. Mean powers of the last step [W]: solar_w,
        solar_available_w, load_w, unserved_w, mains_w, ac_loss_w, dc_loss_w, battery_w,
        battery_loss_w, overcharge_w; battery_v, battery_a. Sums [Wh]: solar_wh, curtailed_wh,
        load_wh, unserved_wh, mains_wh, ac_loss_wh, dc_loss_wh, battery_loss_wh.

        Raises:
            InvalidValue: There is no such column.
        """
    def bus_v(self, index: int, /) -> float: ...
    def is_held_without(self, index: int, /) -> bool:
        """Whether another unit is the voltage reference there and means to stay so."""
    def has_other_reference(self, index: int, /) -> bool:
        """The same, or is on its way down from that: two must not both take the voltage down."""
    def line_current_a(self, line: int, /) -> float:
        """From the first of its units to the second, in the last sub-step. [A]"""
    @property
    def units(self) -> list[PlantUnit]: ...
    @property
    def transported_power_w(self) -> float:
        """Sum of what units feed into the bus. [W]"""
    @property
    def bled_wh(self) -> float:
        """Burned by a bus that nothing held, and by switching. [Wh]"""
    @property
    def line_loss_w(self) -> float: ...
    @property
    def line_loss_wh(self) -> float: ...
    @property
    def bus_stored_wh(self) -> float: ...
    @property
    def bytes_per_unit(self) -> int: ...

class HouseTables:
    """What houses of a study are made of: house and cells as for a plant."""

    def __init__(
        self,
        house: dict[str, float] = {},
        cells: dict[str, Sequence[float]] = {},
    ) -> None: ...

class HouseRun:
    """One house over a year, behind a converter whose power is constant between events.

    It has a time of its own: it is brought up to date when somebody looks at it, and it says
    beforehand when its battery will leave a range. The physics is the plant's. Sums are in Wh
    since the start.

    Args:
        tables: What it is made of.
        capacity_wh: What its battery holds when full, > 0. [Wh]
        stored_wh: What it holds at the start. [Wh]
        solar: Sun that is to be had. [W]
        load: Load that is wanted. [W]
        has_mains: Whether it is connected to the mains.
        step_s: How long sun and load are taken for constant, > 0. [s]

    Raises:
        InvalidValue: A value is out of its range.
    """

    def __init__(
        self,
        tables: HouseTables,
        *,
        capacity_wh: float,
        stored_wh: float,
        solar: Samples,
        load: Samples,
        has_mains: bool = True,
        step_s: float = 60.0,
    ) -> None: ...
    def set_converter(self, grid_w: float, loss_w: float, is_on: bool) -> None:
        """Let the converter carry this power from now on.

        At the bus, + = into the house, and lost in the converter. [W]
        """
    def advance(self, to_s: float) -> None:
        """Let time pass until `to_s`; nothing happens if that is past. [s]"""
    def leaves_at(
        self,
        low_wh: float,
        high_wh: float,
        until_s: float,
        committed_wh: float = 0.0,
        committed_wh_per_s: float = 0.0,
        floor_wh: float = ...,
        ceiling_wh: float = ...,
    ) -> float:
        """When its battery leaves a range, if nothing changes; at the latest `until_s`. [s]

        Args:
            low_wh: Of store and `committed_wh`, included. [Wh]
            high_wh: Of both, not included. [Wh]
            until_s: How far to look. [s]
            committed_wh: What counts beside the store, now. [Wh]
            committed_wh_per_s: How fast that changes. [Wh/s]
            floor_wh: Of the store alone. [Wh]
            ceiling_wh: Of the store alone. [Wh]
        """
    @property
    def time_s(self) -> float:
        """How far it is. [s]"""
    @property
    def unserved_s(self) -> float:
        """How long some load was not supplied. [s]"""
    @property
    def stored_wh(self) -> float: ...
    @property
    def capacity_wh(self) -> float: ...
    @property
    def battery_v(self) -> float: ...
    @property
    def solar_wh(self) -> float: ...
    @property
    def curtailed_wh(self) -> float: ...
    @property
    def load_wh(self) -> float: ...
    @property
    def unserved_wh(self) -> float: ...
    @property
    def mains_wh(self) -> float: ...
    @property
    def ac_loss_wh(self) -> float: ...
    @property
    def dc_loss_wh(self) -> float: ...
    @property
    def battery_loss_wh(self) -> float: ...
    @property
    def received_wh(self) -> float:
        """Energy over the bus terminal, into the house. [Wh]"""
    @property
    def sent_wh(self) -> float:
        """Energy over the bus terminal, out of the house. [Wh]"""
    @property
    def converter_on_wh(self) -> float:
        """Energy lost in the converter while it was on. [Wh]"""
    @property
    def converter_off_wh(self) -> float:
        """Energy lost in the converter while it was off. [Wh]"""
    @property
    def charged_wh(self) -> float:
        """Energy into the battery, at its terminals. [Wh]"""
    @property
    def discharged_wh(self) -> float:
        """Energy out of the battery, at its terminals. [Wh]"""

class BusNetwork:
    """Lines with resistance between nodes: the DC power flow of trees and meshes.

    Args:
        nodes: How many.
        lines: (node, node, ohm of both conductors); none = all nodes are one.
    """

    def __init__(self, nodes: int, lines: Sequence[tuple[int, int, float]]) -> None: ...
    def set_open(self, line: int, is_open: bool) -> None: ...
    @property
    def islands(self) -> int: ...
    def solve(
        self,
        currents_a: Sequence[float],
        references: Sequence[tuple[int, float, float, float]],
    ) -> tuple[
        npt.NDArray[np.float64], npt.NDArray[np.float64], list[float], list[bool], float, bool
    ]:
        """Steady state.

        Args:
            currents_a: Of the current sources, one per node, + = into the unit. [A]
            references: (node, source [V], droop [ohm], limit [A]).

        Returns:
            Node voltages (NaN where nothing holds them) [V], line currents from first to second
            node [A], currents of the references [A], which of them are at their limit, loss in
            the lines [W], and whether everything that carries a current is held.
        """

class PowerStage:
    """The hardware below a loop: made by :class:`SimulatedBus`, by a C++ class of an integrator's
    own, or a :class:`MailboxStage`.
    """

class MailboxStage(PowerStage):
    """Meters and power stage at the far end of a slow line: a driver posts what it reads, and
    fetches what to send.

    Args:
        fresh_s: A reading that is older is none. [s, > 0]
    """

    def __init__(self, fresh_s: float) -> None: ...
    def post(
        self,
        bus_v: float,
        current_a: float,
        battery_w: float | None = None,
        temp_degc: float | None = None,
    ) -> None:
        """What was read just now. None = not read. [V, A, W into the battery, degC]"""
    def fetch(self) -> tuple[bool, float]:
        """What the power stage is to do: whether it is on, and its current at the bus. [A]"""

class SimulatedBus:
    """A bus with a capacitance, and power stages that follow with a lag, in real time.

    Args:
        stages: How many.
        values: ``capacitance_f`` (4 mF), ``lag_s`` (2 ms), ``bleed_ohm`` (25 kohm), ``start_v``
            (0).

    Raises:
        InvalidValue: One of them is not > 0.
        IndexError: There is no such stage.
    """

    def __init__(self, stages: int, **values: float) -> None: ...
    def stage(self, index: int, /) -> PowerStage: ...
    @property
    def voltage_v(self) -> float: ...
    def current_a(self, index: int, /) -> float:
        """What a stage carries, + = from the bus. [A]"""
    def set_meter_offset_a(self, index: int, offset_a: float, /) -> None:
        """Its meter reads so much too much from now. [A]"""
    def set_stage_offset_a(self, index: int, offset_a: float, /) -> None:
        """It carries so much more than it is told from now. [A]"""
    def set_temp_degc(self, index: int, temp_degc: float, /) -> None: ...

class Snapshot:
    """A loop's state after a tick, all of one instant. Numbers of mode, alarm and stop cause: see
    :class:`Converter`.
    """

    @property
    def time_s(self) -> float:
        """When, on the loop's clock. [s]"""
    @property
    def mode(self) -> int: ...
    @property
    def alarm(self) -> int: ...
    @property
    def stop_cause(self) -> int: ...
    @property
    def stop_detail(self) -> str:
        """Why it left its last active mode by itself, for people."""
    @property
    def is_stopping(self) -> bool: ...
    @property
    def bus_v(self) -> float:
        """Measured. [V]"""
    @property
    def current_a(self) -> float:
        """Measured, + = from the bus. [A]"""
    @property
    def ordered_a(self) -> float:
        """What the power stage was told. [A]"""
    @property
    def trim_a(self) -> float:
        """The part of that which makes up for its errors. [A]"""
    @property
    def temp_degc(self) -> float: ...
    @property
    def charged_wh(self) -> float:
        """Taken from the bus since the start. [Wh]"""
    @property
    def discharged_wh(self) -> float: ...
    @property
    def battery_charged_wh(self) -> float: ...
    @property
    def battery_discharged_wh(self) -> float: ...
    @property
    def moved_wh(self) -> float:
        """Moved over the bus terminal, either way, since the last order of a mode. [Wh]"""
    @property
    def voltage_setpoint_v(self) -> float: ...
    @property
    def current_setpoint_a(self) -> float: ...
    @property
    def droop_ratio(self) -> float: ...
    @property
    def energy_limit_wh(self) -> float | None: ...
    @property
    def hold_remaining_s(self) -> float:
        """Until the order ends, unless it is renewed. [s]"""
    @property
    def waiting_since_s(self) -> float:
        """When it last came to WAIT, on the loop's clock. [s]"""
    @property
    def ticks(self) -> int:
        """Since the start of the loop."""

class Timing:
    """How late ticks began, and how many did not begin before the next was due (misses)."""

    @property
    def ticks(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def jitter_p50_us(self) -> float: ...
    @property
    def jitter_p99_us(self) -> float: ...
    @property
    def jitter_p999_us(self) -> float: ...
    @property
    def jitter_max_us(self) -> float: ...
    @property
    def is_realtime(self) -> bool:
        """Whether the scheduler granted a real-time priority."""

class ControlLoop:
    """The loop of one converter, in a C++ thread of its own, without the GIL.

    Every order waits for the tick that obeys it, without the GIL. What a converter does, its modes
    and its parameters: :class:`Converter`. Currents of orders are >= 0; the mode has the sign.

    Args:
        stage: What it measures and drives.
        converter: Fields of ``ConverterParameters`` (converter.hpp).
        control: Fields of ``ControlParameters`` (controller.hpp).
        rate_hz: Ticks a second, 1..10,000.
        priority: 1..99 asks for SCHED_FIFO; not granted, it runs without. 0 = does not ask.

    Raises:
        InvalidValue: A value out of its range, here or in an order.
        NotObeyed: The converter is not in a state to obey, or the loop has ended.
    """

    def __init__(
        self,
        stage: PowerStage,
        *,
        converter: dict[str, float] = ...,
        control: dict[str, float] = ...,
        rate_hz: float = 1000.0,
        priority: int = 0,
    ) -> None: ...
    def set_mode(
        self,
        mode: int,
        *,
        hold_s: float,
        current_a: float | None = None,
        voltage_v: float | None = None,
        droop_ratio: float = 0.0,
        energy_limit_wh: float | None = None,
        next_current_a: float = 0.0,
    ) -> None:
        """Enter an active mode for a hold time [s]; a reference's current is its limit."""
    def set_current(self, current_a: float, *, hold_s: float | None = None) -> None: ...
    def set_voltage(
        self,
        voltage_v: float | None = None,
        *,
        droop_ratio: float | None = None,
        hold_s: float | None = None,
    ) -> None:
        """Move a reference; None = as it is."""
    def hold(
        self, hold_s: float, *, energy_limit_wh: float | None = None, next_current_a: float = 0.0
    ) -> None:
        """Let the present order last for so long from now. [s]"""
    def wait(self) -> None:
        """To WAIT, in order."""
    def snapshot(self) -> Snapshot: ...
    def timing(self) -> Timing: ...
    def reset_timing(self) -> None: ...
    def end(self) -> None:
        """Off at once, and end the thread."""
    @property
    def is_running(self) -> bool: ...
    def __enter__(self) -> ControlLoop: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
    @staticmethod
    def now_s() -> float:
        """Now, on the loop's clock (steady). [s]"""

class Controller:
    """What a loop does every tick, without a thread or a clock. Arguments and orders: see
    :class:`ControlLoop`; `now_s` is the steady time. [s]
    """

    def __init__(
        self, *, converter: dict[str, float] = ..., control: dict[str, float] = ...
    ) -> None: ...
    def set_mode(
        self,
        mode: int,
        now_s: float,
        *,
        hold_s: float,
        current_a: float | None = None,
        voltage_v: float | None = None,
        droop_ratio: float = 0.0,
        energy_limit_wh: float | None = None,
        next_current_a: float = 0.0,
    ) -> None: ...
    def set_current(
        self, current_a: float, now_s: float, *, hold_s: float | None = None
    ) -> None: ...
    def set_voltage(
        self,
        voltage_v: float | None,
        now_s: float,
        *,
        droop_ratio: float | None = None,
        hold_s: float | None = None,
    ) -> None: ...
    def hold(
        self,
        hold_s: float,
        now_s: float,
        *,
        energy_limit_wh: float | None = None,
        next_current_a: float = 0.0,
    ) -> None: ...
    def wait(self, now_s: float) -> None: ...
    def tick(
        self,
        bus_v: float,
        current_a: float,
        dt_s: float,
        now_s: float,
        *,
        battery_w: float | None = None,
        temp_degc: float | None = None,
    ) -> tuple[bool, float]:
        """One tick: what was measured at its end; returns whether the power stage is on, and its
        current. [V, A, s, s, W, degC; A]
        """
    def run(
        self, bus_v: npt.ArrayLike, current_a: npt.ArrayLike, dt_s: float, now_s: float
    ) -> npt.NDArray[np.float64]:
        """Ticks of equal length, one a sample of both arrays (one dimension); returns the currents
        that the power stage is told. [A]
        """
    @property
    def converter(self) -> Converter:
        """A copy of it."""
    @property
    def trim_a(self) -> float: ...
    @property
    def ramp_a(self) -> float: ...
