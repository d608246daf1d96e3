"""The window of rqt, offscreen."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")
pytest.importorskip(
    "apis_viz.rqt.qt",
    reason="needs Qt: `make desktop`, and on Debian libegl1, libgl1, libxkbcommon0, libdbus-1-3",
    exc_type=ImportError,
)

from builtin_interfaces.msg import Time

from apis_interfaces.msg import (
    ConverterState,
    Deal,
    Fault,
    OperationMode,
    UnitStatus,
)
from apis_viz.rqt.qt import QtWidgets
from apis_viz.rqt.widget import GridWidget
from apis_viz.watch import GridWatch

PACKAGE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def application():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication(["test"])


class Window:
    """A widget on a grid that says what it is told to, and a user who answers questions."""

    def __init__(self) -> None:
        self.heard = {}
        self.orders: list[tuple[int, str]] = []
        self.questions: list[str] = []
        self.says_yes = True
        node = SimpleNamespace(
            create_subscription=lambda _kind, topic, hear, _qos: self.heard.update({topic: hear})
        )
        self.watch = GridWatch(node, ("E001", "E002"))
        self.widget = GridWidget(
            self.watch, lambda mode, unit_id: self.orders.append((mode, unit_id)), self._answer
        )

    def _answer(self, question: str) -> bool:
        self.questions.append(question)
        return self.says_yes

    def hear(self, topic: str, message: object) -> None:
        self.heard[topic](message)
        self.widget.refresh()

    def press(self, mode: int) -> None:
        self.widget.buttons[mode].click()

    def rows(self, table) -> list[list[str]]:
        columns = range(table.columnCount())
        return [[table.item(r, c).text() for c in columns] for r in range(table.rowCount())]


@pytest.fixture
def window(application):
    window = Window()
    yield window
    window.widget.stop()
    window.widget.deleteLater()


def status(unit_id: str, **fields) -> UnitStatus:
    converter = ConverterState(
        mode=ConverterState.MODE_CHARGE,
        grid_voltage_v=350.0,
        grid_current_a=2.0,
        grid_power_w=float("nan"),
    )
    return UnitStatus(unit_id=unit_id, soc_ratio=0.31, converter=converter, **fields)


def test_units_appear_and_what_is_not_known_stays_empty(window):
    run = {"global_mode": OperationMode.MODE_RUN, "effective_mode": OperationMode.MODE_RUN}
    window.hear("e002/status", status("E002", is_grid_master=True, term=3, **run))
    window.hear("e001/status", status("E001", fault_codes=["bus_low"], **run))

    assert window.rows(window.widget.units) == [
        ["E001", "31 %", "Run", "charge", "350.0", "2.00", "", "", "bus_low"],
        ["E002", "31 %", "Run", "charge", "350.0", "2.00", "", "", "grid master"],
    ]
    assert window.widget.mode.text() == "Run · grid master E002, term 3"
    targets = [window.widget.target.itemText(i) for i in range(window.widget.target.count())]
    assert targets == ["whole cluster", "E002", "E001"]


def test_deals_and_faults_come_the_newest_first(window):
    for number, (state, moved_wh) in enumerate(
        [(Deal.STATE_COMPLETED, 100.0), (Deal.STATE_RUNNING, 45.0)]
    ):
        deal = Deal(deal_id=str(number), state=state, moved_wh=moved_wh, energy_wh=100.0)
        deal.discharge_unit_id, deal.charge_unit_id, deal.current_a = "E001", "E002", 2.0
        deal.created_at = Time(sec=1000 + number)
        window.hear("deals", deal)
    for code in ("first", "second"):
        window.hear("faults", Fault(unit_id="E001", level=Fault.LEVEL_ERROR, code=code))

    deals, faults = window.rows(window.widget.deals), window.rows(window.widget.faults)
    assert deals[0] == ["E001", "E002", "running", "2.0", "45.0", "100", ""]
    assert [row[2] for row in deals] == ["running", "completed"]
    assert [(row[2], row[3]) for row in faults] == [("error", "second"), ("error", "first")]


def test_dangerous_modes_ask_first(window):
    window.press(OperationMode.MODE_SOFT_STOP)
    window.says_yes = False
    window.press(OperationMode.MODE_FORCE_STOP)
    assert window.orders == [(OperationMode.MODE_SOFT_STOP, "")]
    assert window.questions == [
        "The whole cluster: End all its deals now and put its converters to WAIT?"
    ]

    window.says_yes = True
    window.press(OperationMode.MODE_FORCE_STOP)
    assert window.orders[-1] == (OperationMode.MODE_FORCE_STOP, "")


def test_one_unit_has_its_own_mode_but_never_manual(window):
    window.hear("e001/status", status("E001"))
    assert not window.widget.follow.isEnabled()
    window.widget.target.setCurrentIndex(1)

    assert not window.widget.buttons[OperationMode.MODE_MANUAL].isEnabled()
    window.press(OperationMode.MODE_SOFT_STOP)
    window.widget.follow.click()
    assert window.orders == [
        (OperationMode.MODE_SOFT_STOP, "E001"),
        (OperationMode.MODE_UNSET, "E001"),
    ]


def test_rqt_finds_the_plugin():
    package = ElementTree.parse(PACKAGE / "package.xml")
    (export,) = package.findall("./export/rqt_gui")
    plugin = ElementTree.parse(PACKAGE / export.get("plugin").removeprefix("${prefix}/"))
    module, _, name = plugin.find("class").get("type").rpartition(".")

    assert plugin.find("class").get("base_class_type") == "rqt_gui_py::Plugin"
    source = (PACKAGE / module.replace(".", "/")).with_suffix(".py").read_text()
    assert f"class {name}(Plugin):" in source
    assert "plugin.xml" in (PACKAGE / "setup.py").read_text()
