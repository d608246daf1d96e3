"""What can happen to a unit, and what it can want. Events are past facts, effects are imperatives.

Effects are carried out in the order of the list. A :class:`Record` is on disk before the effect
behind it happens.

Size: the whole vocabulary between the core and what carries it out, a few lines a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.config.scenario import Scenario
from apis_core.model.messages import (
    BatteryReading,
    ControlReply,
    ControlRequest,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
    Deal,
    DealSubmission,
    Fault,
    InterchangeAccept,
    Message,
    SubmitReply,
)
from apis_core.model.origin import Origin, Requester
from apis_core.model.receipt import Receipt
from apis_core.model.types import Direction, InterchangeError, OperationMode, UnitId

__all__ = [
    "AllowExit",
    "Answer",
    "BatteryClaimed",
    "BatteryRead",
    "Broadcast",
    "Call",
    "ClaimBattery",
    "Command",
    "ConfigurationRefused",
    "ConverterRead",
    "DealClosed",
    "DealCounted",
    "DealOpened",
    "DealUnwanted",
    "DealWanted",
    "Effect",
    "Entry",
    "Event",
    "FaultsLatched",
    "FollowMembers",
    "FreeBattery",
    "GlobalModeSet",
    "HardwareRead",
    "HourCounted",
    "InternalErrorOccurred",
    "JournalFailed",
    "LeaseGranted",
    "LocalModeSet",
    "Log",
    "PolicyAdopted",
    "PolicyPrepared",
    "PolicyRead",
    "PublishFault",
    "Received",
    "Record",
    "RefuseDeal",
    "RenewalDue",
    "ReplyReceived",
    "RequestReceived",
    "ScenarioRead",
    "Send",
    "StopAsked",
    "Wake",
]

# --- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wake:
    """A timer fired. Early or stale ones do no harm."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the network, perhaps our own, perhaps late or twice."""

    message: Message


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A peer called a service of ours.

    An :class:`Answer` with the same ``requester`` is owed, now or later.
    """

    requester: Requester
    request: ControlRequest | DealSubmission


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The answer to a :class:`Call` or :class:`Command` of ours.

    ``reply is None`` = it can never come any more.
    """

    origin: Origin
    reply: ControlReply | SubmitReply | ConverterReply | None


@dataclass(frozen=True, slots=True)
class ConverterRead:
    """The own converter was read."""

    reading: ConverterReading


@dataclass(frozen=True, slots=True)
class BatteryRead:
    """The own battery was read."""

    reading: BatteryReading


@dataclass(frozen=True, slots=True)
class HourCounted:
    """The meters of the house have counted a whole hour: an event, and an entry of the journal.

    Attributes:
        hour: Which, from any midnight on, local time.
        solar_wh: Sun that was used, or was to be had; >= 0. [Wh]
        load_wh: Load that was wanted, >= 0. [Wh]
        is_curtailed: Whether a full battery may have hidden some of the sun.
    """

    hour: int
    solar_wh: float
    load_wh: float
    is_curtailed: bool


@dataclass(frozen=True, slots=True)
class RenewalDue:
    """The steady clock says that the own converter's hold wants renewing.

    Comes a few times per hold time, always.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DealWanted:
    """An operator wants a deal of this unit, whatever the scenarios say.

    Attributes:
        deal_id: Unique.
        peer_unit_id: The other side.
        type: This unit's direction.
        energy_wh: > 0. [Wh]
        current_a: > 0; None = the policy's. [A]
        price_point_per_wh: None = no price. [point/Wh]
    """

    deal_id: str
    peer_unit_id: UnitId
    type: Direction
    energy_wh: float
    current_a: float | None = None
    price_point_per_wh: float | None = None


@dataclass(frozen=True, slots=True)
class DealUnwanted:
    """The operator wants a deal of this unit to end."""

    deal_id: str


@dataclass(frozen=True, slots=True)
class PolicyRead:
    """The policy's file has changed; a newer one is rolled out by the grid master."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class HardwareRead:
    """The hwConfig has changed; it holds as soon as the converter is off and no deal needs it."""

    hardware: Hardware


@dataclass(frozen=True, slots=True)
class ScenarioRead:
    """The scenario has changed; it holds at once."""

    scenario: Scenario


@dataclass(frozen=True, slots=True)
class ConfigurationRefused:
    """A file has changed and is wrong: the old one still holds.

    ``message`` says which, where, and what would be right.
    """

    message: str


@dataclass(frozen=True, slots=True)
class JournalFailed:
    """A :class:`Record` could not be written, and nothing that stands behind it was said.

    Comes again as long as the journal cannot be written.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class BatteryClaimed:
    """The answer to :class:`ClaimBattery`.

    Attributes:
        type: The direction.
        is_granted: Whether it is ours until :class:`FreeBattery`.
        failure: Why it could not even be tried; empty = it could.
    """

    type: Direction
    is_granted: bool
    failure: str = ""


@dataclass(frozen=True, slots=True)
class InternalErrorOccurred:
    """An event could not be dealt with, because of a bug of ours; it is lost."""

    message: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The process is to end: everything of ours off, then :class:`AllowExit`."""


Event: TypeAlias = (
    Wake
    | Received
    | RequestReceived
    | ReplyReceived
    | ConverterRead
    | BatteryRead
    | HourCounted
    | RenewalDue
    | DealWanted
    | DealUnwanted
    | PolicyRead
    | HardwareRead
    | ScenarioRead
    | ConfigurationRefused
    | JournalFailed
    | InternalErrorOccurred
    | BatteryClaimed
    | StopAsked
)

# --- what is journalled --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """This unit gave its vote in a term.

    It will not give another one in it, also after a restart.
    """

    term: int
    unit_id: UnitId


@dataclass(frozen=True, slots=True)
class LocalModeSet:
    """The operator set the local mode."""

    mode: OperationMode


@dataclass(frozen=True, slots=True)
class GlobalModeSet:
    """A newer global mode became known."""

    mode: OperationMode
    version: int


@dataclass(frozen=True, slots=True)
class FaultsLatched:
    """These faults, and no others, keep this unit from dealing until an operator says Run."""

    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class PolicyPrepared:
    """The grid master asked to be ready for a newer policy; ``text`` is its file."""

    text: str


@dataclass(frozen=True, slots=True)
class PolicyAdopted:
    """This policy holds from now; ``text`` is its file."""

    text: str


@dataclass(frozen=True, slots=True)
class DealOpened:
    """A slot was taken for a deal."""

    deal: Deal


@dataclass(frozen=True, slots=True)
class DealCounted:
    """What this unit has counted so far for a deal that runs; survives the end of its process."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class DealClosed:
    """The slot of a deal was given back; the receipt is what this unit counted."""

    receipt: Receipt


Entry: TypeAlias = (
    LeaseGranted
    | LocalModeSet
    | GlobalModeSet
    | FaultsLatched
    | PolicyPrepared
    | PolicyAdopted
    | DealOpened
    | DealCounted
    | DealClosed
    | HourCounted
)

# --- effects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Write this to the journal before doing anything that stands behind it."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Publish a message to all units."""

    message: Message


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a message to one unit."""

    to: UnitId
    message: InterchangeAccept


@dataclass(frozen=True, slots=True)
class Call:
    """Call a service of a unit, perhaps our own; :class:`ReplyReceived` brings the answer."""

    origin: Origin
    to: UnitId
    request: ControlRequest | DealSubmission


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the request of another unit that came as :class:`RequestReceived`."""

    requester: Requester
    reply: ControlReply | SubmitReply


@dataclass(frozen=True, slots=True)
class Command:
    """Order the own converter; the answer comes back as :class:`ReplyReceived`."""

    origin: Origin
    order: ConverterOrder


@dataclass(frozen=True, slots=True)
class PublishFault:
    """Tell everybody of a fault."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class RefuseDeal:
    """A deal that was wanted does not come about."""

    deal_id: str
    error: InterchangeError
    message: str


@dataclass(frozen=True, slots=True)
class ClaimBattery:
    """Claim a direction of the battery that other units of this host share.

    Answered by :class:`BatteryClaimed` before any other event.
    """

    type: Direction


@dataclass(frozen=True, slots=True)
class FreeBattery:
    """Give a direction of the shared battery back."""

    type: Direction


@dataclass(frozen=True, slots=True)
class FollowMembers:
    """The policy has other members now: listen to these."""

    unit_ids: tuple[UnitId, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """Write one line to the log.

    Attributes:
        text: The line.
        is_warning: It tells of what is not as it should be, or of what was done about that.
    """

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class AllowExit:
    """Nothing of ours is on any more; the process may end."""


Effect: TypeAlias = (
    Record
    | Broadcast
    | Send
    | Call
    | Answer
    | Command
    | PublishFault
    | RefuseDeal
    | ClaimBattery
    | FreeBattery
    | FollowMembers
    | Log
    | AllowExit
)
