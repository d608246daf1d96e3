"""Who may say what, and what is refused."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from apis_core.model.errors import ConfigError
from apis_ros.authenticator import (
    COMPLAIN_EVERY_NS,
    FRESH_NS,
    UNSIGNED,
    MessageAuthenticator,
    operator_authenticator,
)
from apis_ros.canonical import canonical_bytes
from apis_site.keys import Keys, Role, make_keys, read_keys

SECOND_NS = 1_000_000_000
STATUS, CONTROL, MODE = "/apis/village/e002/status", "/apis/village/e001/control", "/apis/v/mode"


class Message:
    """Looks like one of rosidl's."""

    _kinds: ClassVar[dict[str, str]] = {}

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        return {**cls._kinds, "signature": "apis_interfaces/Signature"}


@dataclass
class Signature:
    signer: str = ""
    session: int = 0
    stamp_ns: int = 0
    value: Any = b""


@dataclass
class Stamp(Message):
    _kinds: ClassVar = {"sec": "int32", "nanosec": "uint32"}
    sec: int = 1
    nanosec: int = 2


@dataclass
class UnitStatus(Message):
    _kinds: ClassVar = {
        "unit_id": "string",
        "stamp": "builtin_interfaces/Time",
        "soc_ratio": "double",
        "is_grid_master": "boolean",
        "deal_ids": "sequence<string>",
        "term": "uint64",
    }
    unit_id: str = "E002"
    stamp: Stamp = field(default_factory=Stamp)
    soc_ratio: float = 0.5
    is_grid_master: bool = False
    deal_ids: tuple[str, ...] = ("a", "bc")
    term: int = 3
    signature: Signature = field(default_factory=Signature)


@dataclass
class OperationMode(Message):
    _kinds: ClassVar = {"mode": "uint8"}
    mode: int = 1
    signature: Signature = field(default_factory=Signature)


@dataclass
class Fault(Message):
    _kinds: ClassVar = {"reporter_id": "string"}
    reporter_id: str = "E002/driver"
    signature: Signature = field(default_factory=Signature)


class UnitControl_Request(Message):  # noqa: N801 - rosidl names them so
    _kinds: ClassVar = {"grid_master_id": "string", "grid_current_a": "double"}

    def __init__(self, grid_master_id: str = "E002", grid_current_a: float = 1.0) -> None:
        self.grid_master_id, self.grid_current_a = grid_master_id, grid_current_a
        self.signature = Signature()


class UnitControl_Response(Message):  # noqa: N801
    _kinds: ClassVar = {"error_code": "uint16"}

    def __init__(self, error_code: int = 0) -> None:
        self.error_code = error_code
        self.signature = Signature()


@dataclass
class Deal(Message):
    _kinds: ClassVar = {"request_unit_id": "string"}
    request_unit_id: str = "E002"


class SubmitDeal_Request(Message):  # noqa: N801
    _kinds: ClassVar = {"deal": "apis_interfaces/Deal"}

    def __init__(self, request_unit_id: str) -> None:
        self.deal = Deal(request_unit_id)
        self.signature = Signature()


class ConverterCommand_Request(Message):  # noqa: N801
    _kinds: ClassVar = {"mode": "uint8"}

    def __init__(self) -> None:
        self.mode = 3
        self.signature = Signature()


class Clock:
    """UNIX time that goes when it is told to."""

    def __init__(self) -> None:
        self.ns = 1_700_000_000 * SECOND_NS

    def __call__(self) -> int:
        return self.ns

    def go_on(self, seconds: float) -> None:
        self.ns += round(seconds * SECOND_NS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", ["E001", "E002"], ["operator", "night_shift"])
    return tmp_path / "keys"


@pytest.fixture
def keys(folder: Path) -> Keys:
    return read_keys(folder)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def e002(keys: Keys, clock: Clock) -> MessageAuthenticator:
    return MessageAuthenticator(keys, "E002", clock)


@pytest.fixture
def ears(keys: Keys, clock: Clock) -> MessageAuthenticator:
    return MessageAuthenticator(keys, "E001", clock)


# --- what counts ---


def test_a_word_counts_where_it_was_meant_to_be_heard(e002, ears):
    assert ears.why_refused(e002.sign(UnitStatus(), STATUS), STATUS) == ""
    assert ears.refused.total() == 0
    assert ears.complaint() == ""


def test_without_keys_nobody_signs_and_every_word_counts():
    message = UNSIGNED.sign(UnitStatus(), STATUS)
    assert message.signature == Signature()
    assert UNSIGNED.why_refused(message, STATUS) == ""
    assert "open grid" in str(UNSIGNED)


def test_with_keys_a_word_that_is_not_signed_is_refused(ears):
    assert ears.why_refused(UnitStatus(), STATUS) == "it is not signed"
    assert ears.refused == {"UnitStatus": 1}
    assert ears.is_alarmed


# --- what is changed ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("term", 4),
        ("soc_ratio", 0.5000001),
        ("is_grid_master", True),
        ("stamp", Stamp(1, 3)),
        ("deal_ids", ("ab", "c")),
    ],
)
def test_a_changed_field_is_refused(e002, ears, name, value):
    message = e002.sign(UnitStatus(), STATUS)
    setattr(message, name, value)
    assert "the signature is not that of E002" in ears.why_refused(message, STATUS)


def test_every_changed_bit_of_a_signature_is_refused(e002, keys, clock):
    message = e002.sign(UnitStatus(), STATUS)
    good = bytes(message.signature.value)
    for bit in range(0, 8 * len(good), 37):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        message.signature.value = bytes(bad)
        assert "not that of E002" in MessageAuthenticator(keys, "", clock).why_refused(
            message, STATUS
        )
    message.signature.value = b"short"
    assert "not that of E002" in MessageAuthenticator(keys, "", clock).why_refused(message, STATUS)


@pytest.mark.parametrize(("name", "change"), [("session", 1), ("stamp_ns", 1)])
def test_who_and_when_are_signed_too(e002, ears, name, change):
    message = e002.sign(UnitStatus(), STATUS)
    setattr(message.signature, name, getattr(message.signature, name) + change)
    assert "not that of E002" in ears.why_refused(message, STATUS)


def test_an_order_to_one_unit_is_none_to_another(e002, ears):
    order = e002.sign(UnitControl_Request(), CONTROL)
    elsewhere = CONTROL.replace("e001", "e003")
    assert "not that of E002" in ears.why_refused(order, elsewhere)


def test_an_answer_belongs_to_its_question(e002, ears):
    asked, other = (ears.sign(UnitControl_Request("E001"), CONTROL) for _ in range(2))
    answer = e002.sign(UnitControl_Response(), CONTROL, asked)
    assert "not that of E002" in ears.why_refused(answer, CONTROL, speaker="E002", about=other)
    assert ears.why_refused(answer, CONTROL, speaker="E002", about=asked) == ""


# --- who says it ---


def test_a_unit_speaks_for_itself_alone(keys, clock, ears):
    forged = MessageAuthenticator(keys, "E001", clock).sign(UnitStatus(unit_id="E002"), STATUS)
    assert ears.why_refused(forged, STATUS) == "E001 says it for E002"
    forged.signature.signer = "E002"
    assert "the signature is not that of E002" in ears.why_refused(forged, STATUS)


def test_a_stranger_is_refused(tmp_path, clock, ears):
    make_keys(tmp_path / "other", ["E002", "E009"], [])
    others = read_keys(tmp_path / "other")
    same_name = MessageAuthenticator(others, "E002", clock).sign(UnitStatus(), STATUS)
    assert "not that of E002" in ears.why_refused(same_name, STATUS)
    stranger = MessageAuthenticator(others, "E009", clock).sign(UnitStatus(unit_id="E009"), STATUS)
    assert ears.why_refused(stranger, STATUS) == "E009 has no key in this grid"


def test_a_mode_is_an_operators_word_and_a_status_is_not(keys, clock, e002, ears):
    operator = MessageAuthenticator(keys, "operator", clock)
    assert ears.why_refused(operator.sign(OperationMode(), MODE), MODE) == ""
    refused = ears.why_refused(e002.sign(OperationMode(), MODE), MODE)
    assert refused == "only an operator may say this, and E002 is a unit"
    status = operator.sign(UnitStatus(unit_id="operator"), STATUS)
    assert "operator is an operator" in ears.why_refused(status, STATUS)


def test_a_driver_speaks_with_the_key_of_its_unit(e002, keys, clock, ears):
    topic = "/apis/village/faults"
    assert ears.why_refused(e002.sign(Fault(), topic), topic) == ""
    assert ears.why_refused(e002.sign(Fault("E001/driver"), topic), topic)
    by_hand = MessageAuthenticator(keys, "operator", clock).sign(Fault("dashboard"), topic)
    assert ears.why_refused(by_hand, topic) == ""


def test_w33_a_deal_is_handed_in_by_the_unit_that_asked_alone(keys, clock, e002):
    channel = "/apis/village/e001/submit_deal"
    master = MessageAuthenticator(keys, "E001", clock)
    own = e002.sign(SubmitDeal_Request("E002"), channel)
    assert master.why_refused(own, channel) == ""
    foreign = e002.sign(SubmitDeal_Request("E001"), channel)
    assert master.why_refused(foreign, channel) == "E002 says it for E001"


def test_a_converter_obeys_its_own_unit_and_operators(keys, clock, e002):
    channel = "/apis/village/e001/converter/command"
    driver = MessageAuthenticator(keys, "E001", clock)
    for signer, why in (
        ("E001", ""),
        ("operator", ""),
        ("E002", "E002 says it for E001"),
    ):
        order = MessageAuthenticator(keys, signer, clock).sign(ConverterCommand_Request(), channel)
        clock.go_on(1.0)
        assert driver.why_refused(order, channel, speaker="E001") == why


# --- when it is said ---


def test_a_repeated_word_is_refused(e002, ears):
    order = e002.sign(UnitControl_Request(), CONTROL)
    assert ears.why_refused(order, CONTROL) == ""
    assert ears.why_refused(order, CONTROL) == "E002 has said it, or something newer, before"


def test_an_older_word_after_a_newer_one_is_refused(e002, ears):
    older, newer = (e002.sign(UnitControl_Request(), CONTROL) for _ in range(2))
    assert ears.why_refused(newer, CONTROL) == ""
    assert "something newer" in ears.why_refused(older, CONTROL)


def test_a_refused_word_does_not_shut_out_the_next_one(e002, ears):
    """Else anybody could silence a unit with a stamp far in the future."""
    forged = e002.sign(UnitStatus(), STATUS)
    forged.signature.stamp_ns += FRESH_NS // 2
    assert ears.why_refused(forged, STATUS)
    assert ears.why_refused(e002.sign(UnitStatus(), STATUS), STATUS) == ""


def test_who_has_just_started_takes_no_old_word_for_a_new_one(e002, keys, clock):
    order = e002.sign(UnitControl_Request(), CONTROL)
    clock.go_on(FRESH_NS / SECOND_NS + 1.0)
    started = MessageAuthenticator(keys, "E001", clock)
    assert "it is 31.0 s old; repeated" in started.why_refused(order, CONTROL)


def test_a_clock_that_is_ahead_is_told(e002, keys, clock):
    order = e002.sign(UnitControl_Request(), CONTROL)
    behind = Clock()
    behind.go_on(-60.0)
    why = MessageAuthenticator(keys, "E001", behind).why_refused(order, CONTROL)
    assert "60.0 s in the future" in why
    assert "the clock of E002 or ours is wrong" in why


def test_what_a_topic_retains_may_be_old_but_not_of_a_process_that_was_followed(e002, keys, clock):
    last_words = e002.sign(UnitStatus(), STATUS)
    clock.go_on(3600.0)
    late = MessageAuthenticator(keys, "E001", clock)
    assert late.why_refused(last_words, STATUS, retained=True) == ""
    restarted = MessageAuthenticator(keys, "E002", clock)
    again = MessageAuthenticator(keys, "E001", clock)
    assert again.why_refused(restarted.sign(UnitStatus(), STATUS), STATUS, retained=True) == ""
    assert "3600.0 s old" in again.why_refused(last_words, STATUS, retained=True)


def test_a_clock_that_is_set_back_a_little_keeps_a_process_speaking(e002, ears, clock):
    assert ears.why_refused(e002.sign(UnitStatus(), STATUS), STATUS) == ""
    clock.go_on(-5.0)
    assert ears.why_refused(e002.sign(UnitStatus(), STATUS), STATUS) == ""


def test_two_tools_of_one_operator_do_not_silence_each_other(keys, clock, ears):
    dashboard = MessageAuthenticator(keys, "operator", clock)
    clock.go_on(10.0)
    command = MessageAuthenticator(keys, "operator", clock)
    for words in (command, dashboard, command, dashboard):
        assert ears.why_refused(words.sign(OperationMode(), MODE), MODE) == ""


def test_marks_of_processes_that_have_gone_are_forgotten(keys, clock, ears, monkeypatch):
    monkeypatch.setattr("apis_ros.authenticator._KEPT_MARKS", 20)
    first = MessageAuthenticator(keys, "operator", clock).sign(OperationMode(), MODE)
    assert ears.why_refused(first, MODE) == ""
    for _ in range(100):
        clock.go_on(5.0)
        word = MessageAuthenticator(keys, "operator", clock).sign(OperationMode(), MODE)
        assert ears.why_refused(word, MODE) == ""
    assert ears.kept_marks <= 21
    assert "s old" in ears.why_refused(first, MODE)  # and yet it does not count again


# --- what people are told ---


def test_refused_words_are_told_at_most_once_in_ten_seconds(ears, clock):
    for _ in range(50):
        ears.why_refused(UnitStatus(), STATUS)
    assert (
        ears.complaint() == f"50 words refused, the last: UnitStatus on {STATUS}: it is not signed"
    )
    ears.why_refused(UnitStatus(), STATUS)
    assert ears.complaint() == ""
    clock.go_on(COMPLAIN_EVERY_NS / SECOND_NS)
    assert ears.complaint().startswith("1 words refused")
    clock.go_on(61.0)
    assert not ears.is_alarmed


# --- the bytes ---


def test_bytes_are_packed_and_leave_the_signature_out():
    message = UnitStatus()
    expected = (
        b"\x04\0\0\0E002"
        b"\x01\0\0\0\x02\0\0\0"
        b"\0\0\0\0\0\0\xe0?\0"
        b"\x02\0\0\0\x01\0\0\0a\x02\0\0\0bc"
        b"\x03\0\0\0\0\0\0\0"
    )
    assert canonical_bytes(message) == expected
    message.signature.value = b"x"
    assert canonical_bytes(message) == expected


def test_a_kind_of_field_that_cannot_be_signed_is_an_error():
    class Odd(Message):
        _kinds: ClassVar = {"matrix": "double[9]"}

    with pytest.raises(TypeError, match=r"Odd.matrix is double\[9\]"):
        canonical_bytes(Odd())


# --- the folder ---


def test_a_key_folder_has_private_keys_that_nobody_else_can_read(folder, keys):
    assert sorted(path.name for path in folder.iterdir()) == [
        "E001.pem", "E002.pem", "night_shift.pem", "operator.pem", "public_keys.json",
    ]  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.pem"))
    assert keys.roles["E001"] is Role.UNIT
    assert keys.roles["operator"] is Role.OPERATOR


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_w35_a_private_key_that_is_open_to_others_is_refused(folder, keys, mode):
    path = folder / "E001.pem"
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"open to others \(mode {mode:04o}\).*chmod 600"):
        MessageAuthenticator(keys, "E001")


def test_a_key_of_somebody_else_is_refused(folder, keys):
    (folder / "E001.pem").write_bytes((folder / "E002.pem").read_bytes())
    with pytest.raises(ConfigError, match=r"is not the key that public_keys.json has for E001"):
        MessageAuthenticator(keys, "E001")


def test_a_private_key_that_is_missing_or_no_key_is_told(folder, keys):
    (folder / "E001.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match="must be an Ed25519 private key"):
        MessageAuthenticator(keys, "E001")
    (folder / "E001.pem").unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        MessageAuthenticator(keys, "E001")
    with pytest.raises(ConfigError, match=r"E005.*has no public key there"):
        MessageAuthenticator(keys, "E005")


def test_every_wrong_entry_of_the_list_is_told(folder):
    short = base64.b64encode(b"short").decode()
    (folder / "public_keys.json").write_text(
        f'{{"units": {{"E001": "{short}", "../x": "{short}"}}, "operators": {{"E001": 7}}}}'
    )
    with pytest.raises(ConfigError) as caught:
        read_keys(folder)
    assert [problem.key for problem in caught.value.problems] == [
        "units.E001", "units.../x", "operators.E001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("{", "must be JSON"),
        ("[]", "must have the groups units and operators"),
        ('{"units": {}}', "must have the groups units and operators"),
        ('{"units": [], "operators": {}}', "must be id → public key"),
    ],
)
def test_a_list_that_is_none_is_told(folder, text, right):
    (folder / "public_keys.json").write_text(text)
    with pytest.raises(ConfigError, match=right):
        read_keys(folder)


def test_keys_are_added_and_none_is_replaced(folder, keys):
    before = {path.name: path.read_bytes() for path in folder.glob("*.pem")}
    assert make_keys(folder, ["E001", "E003"], ["operator"]) == ["E003"]
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert read_keys(folder).roles.keys() == {*keys.roles, "E003"}
    (folder / "E004.pem").write_text("somebody's")
    with pytest.raises(ConfigError, match="does not know it"):
        make_keys(folder, ["E004"], [])
    assert (folder / "E004.pem").read_text() == "somebody's"
    with pytest.raises(ConfigError, match="another role's key"):
        make_keys(folder, ["operator"], [])


def test_a_tool_speaks_as_the_one_operator_who_is_here(folder, monkeypatch):
    monkeypatch.delenv("APIS_OPERATOR", raising=False)
    monkeypatch.delenv("APIS_KEYS", raising=False)
    assert operator_authenticator(None) is UNSIGNED
    with pytest.raises(ConfigError, match=r"must name one.*night_shift, operator"):
        operator_authenticator(str(folder))
    monkeypatch.setenv("APIS_OPERATOR", "night_shift")
    assert operator_authenticator(str(folder)).signer == "night_shift"
    monkeypatch.setenv("APIS_OPERATOR", "E001")
    with pytest.raises(ConfigError, match="APIS_OPERATOR is E001"):
        operator_authenticator(str(folder))
    monkeypatch.delenv("APIS_OPERATOR")
    os.remove(folder / "night_shift.pem")
    monkeypatch.setenv("APIS_KEYS", str(folder))
    assert operator_authenticator(None).signer == "operator"
    os.remove(folder / "operator.pem")
    with pytest.raises(ConfigError, match="must have the private key of one operator"):
        operator_authenticator(None)
    assert "listens only" in str(operator_authenticator(None, may_be_silent=True))
