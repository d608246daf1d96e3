"""Signing and checking the message that is said most: a unit's status."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from apis_interfaces.msg import UnitStatus
from apis_ros.authenticator import MessageAuthenticator
from apis_site.keys import make_keys, read_keys
from bench.report import Report

ROUNDS = 3000
TOPIC = "/apis/village/e001/status"


def measure(report: Report) -> None:
    """Microseconds of CPU time a word."""
    with tempfile.TemporaryDirectory() as folder:
        make_keys(Path(folder), ["E001", "E002", "E003"], [])
        keys = read_keys(Path(folder))
        speaker, first, second = (
            MessageAuthenticator(keys, unit) for unit in ("E001", "E002", "E003")
        )
    deals = ["E001-6f6cc8c82fcabe25", "E002-31c1f0d21e0b7f6a"]
    words = [UnitStatus(unit_id="E001", deal_ids=deals) for _ in range(ROUNDS)]

    def check(ears: MessageAuthenticator) -> None:
        for word in words:
            assert not ears.why_refused(word, TOPIC)

    sign_us = _us_a_word(lambda: [speaker.sign(word, TOPIC) for word in words])
    report.tell("signing.sign", sign_us, "us", "a status")
    report.tell("signing.check", _us_a_word(lambda: check(first)), "us", "the same, heard first")
    again_us = _us_a_word(lambda: check(second))
    report.tell("signing.check_again", again_us, "us", "by another unit of the same process")


def _us_a_word(act: Callable[[], object]) -> float:
    begun_s = time.process_time()
    act()
    return 1e6 * (time.process_time() - begun_s) / ROUNDS
