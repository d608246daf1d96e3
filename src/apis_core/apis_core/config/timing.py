"""All times of one unit's agent, from the policy and from what the network can do.

Under an accelerated clock the network does not get faster: a round trip of a few wall milliseconds
is seconds of simulated time. The *network floor* is the time, on the agent's clock, that an answer
may reasonably take; nothing waits for an answer for less.
"""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.config.policy import Policy
from apis_core.model.units import SECOND_NS, ns_from_s, s_from_ns

__all__ = [
    "BUS_DOWN_S",
    "ORDER_PATIENCE_S",
    "SILENT_AFTER_S",
    "DealTiming",
    "ElectionTiming",
    "Timing",
    "network_floor_ns",
    "stop_limit_wall_s",
]

SILENT_AFTER_S = 15.0  # a unit speaks at least every data acquisition period, 5 s in the original
ORDER_PATIENCE_S = 20.0  # after that, units that do not follow an operator's order are named
BUS_DOWN_S = 5.0  # by when a real converter is in WAIT after the order; see the driver's rules

_HEARTBEAT_NS = SECOND_NS  # a grid master that is gone is replaced within about five of these
_LEASE_HEARTBEATS = 4
_LEASE_FLOORS = 10  # a process that gets no turn for a second is not gone, however fast time goes
_SUSPECT_FLOORS = 5
_SILENT_FLOORS = 8
_HOLD_POLLS = 3
_NETWORK_FLOOR_WALL_S = 0.4  # what an answer may take on a busy machine
_FRESH_POLL_NS = SECOND_NS // 20
_DWELL_NS = 220_000_000  # longer than a driver's reading may be old
_LOST_NS = 3 * SECOND_NS // 2
_BATTERY_NS = 16 * SECOND_NS
_HOLD_LEASES = 2  # a deal outlives the loss of its grid master, and the election of the next


@dataclass(frozen=True, slots=True)
class ElectionTiming:
    """Times by which units elect a grid master and renew its lease.

    Attributes:
        heartbeat_ns: Between two claims of the grid master.
        lease_ns: How long a grant lasts; several heartbeats, so that a lost one does no harm.
    """

    heartbeat_ns: int
    lease_ns: int


@dataclass(frozen=True, slots=True)
class DealTiming:
    """Times by which a grid master runs a deal.

    Attributes:
        poll_ns: Between two looks at the units while nothing changes quickly.
        quick_poll_ns: Between two looks while the bus or a current ramps down.
        fresh_poll_ns: Between two looks while something waits for a reading that shows what was
            ordered: as often as a reading may be a new one.
        dwell_ns: What a reading shows is believed when another one shows it so much later; a
            driver's reading may be 0.2 s old.
        answer_ns: A unit that has not answered an order for this long does not.
        hold_ns: How long an order lasts without a renewal; several polls.
        lost_ns: An order or its answer that is not there by then may be lost: it is said again.
        silence_ns: A unit of a deal that gives no sign of life for so long is taken for dead.
        quit_ns: A unit that was ordered WAIT and has not confirmed it by then is not waited for:
            the others are ordered, too.
    """

    poll_ns: int
    quick_poll_ns: int
    fresh_poll_ns: int
    dwell_ns: int
    answer_ns: int
    hold_ns: int
    lost_ns: int = 3 * SECOND_NS // 2
    silence_ns: int = 8 * SECOND_NS
    quit_ns: int = 3 * SECOND_NS // 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one agent, all in ns of its clock.

    Attributes:
        status_ns: At most this long between two status messages.
        housekeeping_ns: Mean time between two looks at the scenario.
        window_ns: How long answers to a request are taken.
        submit_ns: How long the grid master may take to answer a submission (it locks two units
            meanwhile).
        reservation_ns: How long a slot is kept for a negotiation.
        suspect_ns: A unit not heard for this long begins no deal.
        silent_ns: One not heard for this long is taken for gone, and not waited for.
        dead_bus_ns: On a bus that has been dead for so long no order of anybody is left.
        retry_ns: Between two tries to stop the own converter.
        late_ns: The longest that a reading may be under way.
        battery_ns: How long a state of charge holds that no newer one follows.
        leave_ns: How long a process that stops lets the grid master end its deals.
        stop_ns: The longest that stopping the process may take on this clock.
        debounce_ns: What a converter does wrong for less than this may pass.
        force_stop_ns: In Force stop, how long the grid master has to end our deals before we do it
            ourselves.
        election: See :class:`ElectionTiming`.
        deal: See :class:`DealTiming`.
    """

    status_ns: int
    housekeeping_ns: int
    window_ns: int
    submit_ns: int
    reservation_ns: int
    suspect_ns: int
    silent_ns: int
    dead_bus_ns: int
    retry_ns: int
    late_ns: int
    battery_ns: int
    leave_ns: int
    stop_ns: int
    debounce_ns: int
    force_stop_ns: int
    election: ElectionTiming
    deal: DealTiming

    @staticmethod
    def of(
        policy: Policy,
        network_floor_ns: int = 0,
        bus_down_ns: int = ns_from_s(BUS_DOWN_S),
    ) -> Timing:
        """The times that follow from a policy.

        Args:
            policy: Of the cluster.
            network_floor_ns: See the module's text; 0 in real time. [ns]
            bus_down_ns: From the order to the WAIT of a voltage reference. [ns]
        """
        heartbeat_ns = max(min(policy.grid_master_heartbeat_ns, _HEARTBEAT_NS), network_floor_ns)
        # polls wait for the answer to the last one, so they may come quicker than answers do
        pace_ns = network_floor_ns // 4
        poll_ns = max(policy.main_loop_period_ns, pace_ns)
        answer_ns = max(policy.request_timeout_ns, 4 * network_floor_ns)
        window_ns = max(policy.negotiation_timeout_ns, 2 * network_floor_ns)
        submit_ns = 3 * answer_ns
        leave_ns = max(2 * SECOND_NS, 4 * network_floor_ns)
        status_ns = max(policy.data_acquisition_period_ns, pace_ns)
        lost_ns = max(_LOST_NS, network_floor_ns)
        lease_ns = max(_LEASE_HEARTBEATS * heartbeat_ns, _LEASE_FLOORS * network_floor_ns)
        hold_ns = max(_HOLD_POLLS * poll_ns + 2 * answer_ns, _HOLD_LEASES * lease_ns)
        return Timing(
            status_ns=status_ns,
            housekeeping_ns=max(policy.housekeeping_period_ns, network_floor_ns),
            window_ns=window_ns,
            submit_ns=submit_ns,
            reservation_ns=window_ns + submit_ns,
            suspect_ns=max(2 * status_ns + network_floor_ns, _SUSPECT_FLOORS * network_floor_ns),
            silent_ns=max(3 * status_ns + 2 * network_floor_ns, _SILENT_FLOORS * network_floor_ns),
            dead_bus_ns=lease_ns + hold_ns + policy.scram_reference_delay_ns,
            retry_ns=max(SECOND_NS, pace_ns),
            late_ns=max(60 * SECOND_NS, 10 * network_floor_ns),
            battery_ns=max(_BATTERY_NS, 3 * status_ns + SECOND_NS, 8 * network_floor_ns),
            leave_ns=leave_ns,
            stop_ns=leave_ns
            + max(policy.scram_reference_delay_ns, 4 * network_floor_ns)
            + bus_down_ns
            + 2 * SECOND_NS,
            debounce_ns=max(policy.data_acquisition_period_ns, network_floor_ns),
            force_stop_ns=max(policy.stop_me_timeout_ns, 8 * network_floor_ns),
            election=ElectionTiming(heartbeat_ns, lease_ns),
            deal=DealTiming(
                poll_ns=poll_ns,
                quick_poll_ns=max(SECOND_NS, pace_ns),
                fresh_poll_ns=max(_FRESH_POLL_NS, pace_ns),
                dwell_ns=_DWELL_NS,
                answer_ns=answer_ns,
                hold_ns=hold_ns,
                lost_ns=lost_ns,
                # both polls and statuses are signs of life, and what is lost is asked once more
                silence_ns=max(
                    min(poll_ns, status_ns) + 2 * lost_ns, _LEASE_FLOORS * network_floor_ns
                ),
                quit_ns=max(_LOST_NS, 2 * network_floor_ns),
            ),
        )


def network_floor_ns(speed: float) -> int:
    """The network floor at a speed: simulated seconds per second, > 0. [ns]"""
    return ns_from_s(_NETWORK_FLOOR_WALL_S * speed) if speed > 1.0 else 0


def stop_limit_wall_s(policy: Policy, speed: float, bus_down_s: float) -> float:
    """The longest that a unit may take to stop, by the clock on the wall. [s]

    Args:
        policy: Of the cluster.
        speed: Simulated seconds per second, > 0.
        bus_down_s: From the order to the WAIT of a voltage reference. [s, simulated]
    """
    timing = Timing.of(policy, network_floor_ns(speed), ns_from_s(bus_down_s))
    return s_from_ns(timing.stop_ns) / speed
