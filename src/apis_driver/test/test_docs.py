"""What the documents show is what there is."""

from __future__ import annotations

import re

import pytest
import yaml
from benches import ROOT, example

from apis_driver.codec import parse_table
from apis_driver.registry import check_settings

DRIVERS = (ROOT / "docs" / "drivers.md").read_text()
ADDING = (ROOT / "docs" / "adding-a-device.md").read_text()


def test_every_key_of_a_device_is_in_the_document():
    from apis_driver.devices.eza2500 import Eza2500Settings
    from apis_driver.devices.http import EmulatorSettings
    from apis_driver.devices.modbus_battery import ModbusBatterySettings

    for settings in (Eza2500Settings, ModbusBatterySettings, EmulatorSettings):
        assert [name for name in settings.model_fields if f"`{name}`" not in DRIVERS] == []


def test_every_device_is_in_the_document():
    from apis_driver.registry import BATTERY, DCDC, kinds_of

    for kind in {**kinds_of(DCDC), **kinds_of(BATTERY)}:
        assert f"| `{kind}` |" in DRIVERS


def test_the_settings_in_the_document_are_right():
    [grid] = [b for b in blocks(DRIVERS, "yaml") if b.startswith("units:")]
    driver = yaml.safe_load(grid)["units"][0]["driver"]
    assert check_settings(driver, "docs/drivers.md", "driver") == []


def test_the_battery_table_of_the_walk_through_can_be_read():
    [table] = [b for b in blocks(ADDING, "yaml") if "byte_order" in b]
    assert set(parse_table(table, "docs").commands) == {"state", "meter"}


def test_the_walk_through_shows_the_example_as_it_is():
    source = (ROOT / "docs" / "examples" / "kestrel.py").read_text()
    settings = next(b for b in blocks(ADDING, "python") if b.startswith("class KestrelSettings"))
    assert settings in source
    assert "class Kestrel:" in source
    assert example("kestrel").line_of("SET V=350.00") == b"SET V=350.00*11\n"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.mark.parametrize("text", [DRIVERS, ADDING])
def test_what_it_links_to_is_there(text):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
