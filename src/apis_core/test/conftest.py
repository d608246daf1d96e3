"""What tests of the core share: the sample configuration, and `import simulated_cluster`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import Section, parse_scenario
from apis_core.converter.manager import ConverterManager

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"

# pytest's importlib mode does not put a test's folder on the path
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Deals of 50 Wh at 2 A, a bus of 300..380 V around 350 V."""
    return parse_policy((DATA / "policy.json").read_text(), "policy.json")


@pytest.fixture(scope="session")
def hardware() -> Hardware:
    """A battery of 4800 Wh behind a converter of 2.3 A."""
    return parse_hardware((DATA / "hardware.json").read_text(), "hardware.json")


@pytest.fixture(scope="session")
def section() -> Section:
    """Short below 2880 Wh, scarce to 3600, sufficient to 4320, then excess."""
    return parse_scenario((DATA / "scenario.json").read_text(), "scenario.json").sections[0]


@pytest.fixture
def manager(policy: Policy, hardware: Hardware) -> ConverterManager:
    """Of unit E001, whose converter has not been read yet."""
    from converter_bench import DRIVER_HOLD_S, RETRY_NS

    return ConverterManager(
        unit_id="E001",
        hardware=hardware,
        policy=policy,
        driver_hold_s=DRIVER_HOLD_S,
        retry_ns=RETRY_NS,
    )
