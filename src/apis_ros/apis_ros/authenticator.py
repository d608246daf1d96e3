"""Signs what is said, and refuses what the wrong one says, what was changed, and what is old.

A word is signed over the bytes of the message, its type, the name of the topic or service that it
goes over (so that an order to one unit is none to another), who says it, and when. It is refused
unless all of these hold:

* the signature is right, and its signer is on the list;
* the signer may say it: ``_RULES`` has it for every type;
* it is newer than the last one of the same process on the same channel: a repeated word is old;
* it is not older than :data:`FRESH_NS`, by the clocks of the two computers. What a topic retains
  for those who come late may be older, if no newer process of the same unit has been heard.

The last rule compares the clocks of two computers, as nothing else in APIS does: who has just
started remembers no words, and would take an old one for new. A grid with keys needs its clocks
right to within half a minute.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apis_ros.canonical import canonical_bytes
from apis_site.keys import Keys, Role, read_keys

__all__ = ["FRESH_NS", "UNSIGNED", "MessageAuthenticator", "is_signed", "operator_authenticator"]

FRESH_NS = 30_000_000_000  # more than any message takes, and than clocks that are kept differ
COMPLAIN_EVERY_NS = 10_000_000_000
_KEPT_MARKS = 2048
_HEAD = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Who may send a message of one type.

    Attributes:
        speaker: Field with the unit that says it; empty = where it is heard, that is known.
        unit: Whether that unit may.
        operator: Whether operators may.
    """

    speaker: str = ""
    unit: bool = True
    operator: bool = False


_OPERATORS_ALONE = _Rule(unit=False, operator=True)
_RULES = {
    "ConverterState": _Rule("unit_id"),
    "Deal": _Rule("grid_master_id"),
    "Fault": _Rule("reporter_id", operator=True),
    "GridMasterClaim": _Rule("unit_id"),
    "InterchangeAccept": _Rule("unit_id"),
    "InterchangeRequest": _Rule("unit_id"),
    "LeaseGrant": _Rule("unit_id"),
    "OperationMode": _OPERATORS_ALONE,
    "PolicyOffer": _Rule("unit_id"),
    "UnitStatus": _Rule("unit_id"),
    "ConverterCommand_Request": _Rule(operator=True),
    "ConverterCommand_Response": _Rule(),
    "EmulatorControl_Request": _OPERATORS_ALONE,
    "InjectFault_Request": _OPERATORS_ALONE,
    "Interchange_Goal": _OPERATORS_ALONE,
    "SubmitDeal_Request": _Rule("deal.request_unit_id"),
    "SubmitDeal_Response": _Rule(),
    "UnitControl_Request": _Rule("grid_master_id"),
    "UnitControl_Response": _Rule(),
    "UnitMaintenance_Request": _OPERATORS_ALONE,
}


def is_signed(type_: type) -> bool:
    """Whether messages of a type are signed where there are keys."""
    return type_.__name__ in _RULES


class MessageAuthenticator:
    """One speaker signs its messages with it, and checks those of the others.

    Args:
        keys: Of the grid; None = it has none, nothing is signed and nothing refused.
        signer: Who speaks: a unit or an operator; empty = only listens.
        now_ns: UNIX time. [ns]

    Attributes:
        keys: The same.
        signer: The same.
        said: How many words were signed.
        heard: How many words counted.
        refused: How many words were refused, by type.
        last_refusal: Why the last one was; empty = none was.

    Raises:
        ConfigError: The signer's private key cannot be used.
    """

    def __init__(
        self, keys: Keys | None, signer: str = "", now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.keys = keys
        self.signer = signer
        self.said = self.heard = 0
        self.refused: Counter[str] = Counter()
        self.last_refusal = ""
        self._now_ns = now_ns
        self._session = self._stamp_ns = now_ns()
        self._key: Ed25519PrivateKey | None = None
        if keys is not None and signer:
            self._key = keys.private_key(signer)
        self._marks: dict[tuple[str, int, str], int] = {}
        self._newest: dict[str, int] = {}  # session by signer
        self._told = 0
        self._tell_ns = 0
        self._refused_ns: int | None = None

    def __str__(self) -> str:
        """Who listens to whom, in one line for people."""
        if self.keys is None:
            return "open grid: no keys, nobody signs, every word counts"
        count = Counter(self.keys.roles.values())
        who = f"speaks as {self.signer}" if self.signer else "listens only"
        units, operators = count[Role.UNIT], count[Role.OPERATOR]
        return f"signed grid: {who}; there are keys of units: {units}, of operators: {operators}"

    # --- saying ----------------------------------------------------------------------------------

    def sign(self, message: Any, channel: str, about: Any = None) -> Any:
        """Sign a message; without keys it stays as it is.

        Args:
            message: Of the graph; its ``signature`` is filled in.
            channel: Full name of the topic or service over which it goes.
            about: The request that a response answers.

        Returns:
            The same message.
        """
        if self._key is None:
            return message
        signature = message.signature
        self._stamp_ns = max(self._stamp_ns + 1, self._now_ns())
        signature.signer = self.signer
        signature.session = self._session
        signature.stamp_ns = self._stamp_ns
        self.said += 1
        signature.value = array("B", self._key.sign(_signed_bytes(message, channel, about)))
        return message

    # --- hearing ---------------------------------------------------------------------------------

    def why_refused(
        self,
        message: Any,
        channel: str,
        *,
        speaker: str = "",
        about: Any = None,
        retained: bool = False,
    ) -> str:
        """Why a message does not count; empty = it does.

        Args:
            message: As it came.
            channel: Full name of the topic or service over which it came.
            speaker: The unit that must have said it, where the message itself does not tell.
            about: The request that a response answers.
            retained: Whether the topic keeps old words for those who come late.
        """
        if self.keys is None:
            return ""
        why = self._why_refused(message, channel, speaker, about, retained)
        if why:
            type_name = type(message).__name__
            self.refused[type_name] += 1
            self.last_refusal = f"{type_name} on {channel}: {why}"
            self._refused_ns = self._now_ns()
        else:
            self.heard += 1
        return why

    def complaint(self) -> str:
        """What to tell people of refused words: at most one line in ten seconds; empty = none."""
        count = self.refused.total()
        now_ns = self._now_ns()
        if count == self._told or now_ns < self._tell_ns:
            return ""
        new, self._told, self._tell_ns = count - self._told, count, now_ns + COMPLAIN_EVERY_NS
        return f"{new} words refused, the last: {self.last_refusal}"

    def forget(self) -> None:
        """Forget what was heard, to hear it again."""
        self._marks.clear()
        self._newest.clear()

    @property
    def is_alarmed(self) -> bool:
        """Whether a word was refused not long ago."""
        return self._refused_ns is not None and self._now_ns() - self._refused_ns < 2 * FRESH_NS

    # --- inside ----------------------------------------------------------------------------------

    def _why_refused(
        self, message: Any, channel: str, speaker: str, about: Any, retained: bool
    ) -> str:
        keys, signature = self.keys, message.signature
        assert keys is not None
        signer = signature.signer
        if not signer:
            return "it is not signed"
        role = keys.roles.get(signer)
        if role is None:
            return f"{signer} has no key in this grid"
        why = _why_not_theirs(_RULES[type(message).__name__], message, signer, role, speaker)
        if why:
            return why
        now_ns, stamp_ns, session = self._now_ns(), signature.stamp_ns, signature.session
        is_fresh = abs(now_ns - stamp_ns) <= FRESH_NS
        is_of_an_older_process = session < self._newest.get(signer, 0)
        if not is_fresh and (not retained or (role is Role.UNIT and is_of_an_older_process)):
            apart_s = (now_ns - stamp_ns) * 1e-9
            when = f"{apart_s:.1f} s old" if apart_s > 0 else f"{-apart_s:.1f} s in the future"
            return f"it is {when}; repeated, or the clock of {signer} or ours is wrong"
        mark = (signer, session, channel)
        if stamp_ns <= self._marks.get(mark, 0):
            return f"{signer} has said it, or something newer, before"
        # last, as it costs most
        data = _signed_bytes(message, channel, about)
        if not keys.has_signed(signer, bytes(signature.value), data):
            return f"the signature is not that of {signer} under this message"
        self._newest[signer] = max(session, self._newest.get(signer, 0))
        self._marks[mark] = stamp_ns
        if len(self._marks) > _KEPT_MARKS:
            self._forget_old_marks(now_ns)
        return ""

    @property
    def kept_marks(self) -> int:
        """How many speakers' newest stamps it remembers."""
        return len(self._marks)

    def _forget_old_marks(self, now_ns: int) -> None:
        """Of processes that have gone: what they said is too old to be heard again."""
        self._marks = {
            (signer, session, channel): stamp_ns
            for (signer, session, channel), stamp_ns in self._marks.items()
            if session == self._newest[signer] or now_ns - stamp_ns <= 2 * FRESH_NS
        }


UNSIGNED = MessageAuthenticator(None)


def operator_authenticator(
    folder: str | None, *, may_be_silent: bool = False
) -> MessageAuthenticator:
    """The authenticator of a tool.

    Args:
        folder: The grid's key folder; None or empty = the one that ``APIS_KEYS`` names, if any.
        may_be_silent: Whether a tool without an operator's private key may look on.

    Raises:
        ConfigError: The keys cannot be used.
    """
    folder = folder or os.environ.get("APIS_KEYS", "")
    if not folder:
        return UNSIGNED
    keys = read_keys(Path(folder))
    is_silent = may_be_silent and not keys.ids_here(Role.OPERATOR)
    return MessageAuthenticator(keys, "" if is_silent else keys.operator_here())


def _why_not_theirs(rule: _Rule, message: Any, signer: str, role: Role, speaker: str) -> str:
    """Why this is not for the signer to say; empty = it is."""
    if role is Role.OPERATOR:
        return "" if rule.operator else f"{signer} is an operator, who may not say this"
    if not rule.unit:
        return f"only an operator may say this, and {signer} is a unit"
    for name in filter(None, rule.speaker.split(".")):
        speaker = message = getattr(message, name)
    # a part of a unit, such as its driver, has its own name behind the unit's
    if speaker.partition("/")[0] != signer:
        return f"{signer} says it for {speaker or 'nobody'}"
    return ""


def _signed_bytes(message: Any, channel: str, about: Any) -> bytes:
    signature = message.signature
    asked = b"" if about is None else bytes(about.signature.value)
    texts = (type(message).__name__.encode(), channel.encode(), signature.signer.encode(), asked)
    head = b"".join(len(text).to_bytes(4, "little") + text for text in (b"apis/1", *texts))
    return head + _HEAD.pack(signature.session, signature.stamp_ns) + canonical_bytes(message)
