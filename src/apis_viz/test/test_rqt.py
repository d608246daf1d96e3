"""The window of rqt, offscreen, on a grid that says what it is told to."""

from __future__ import annotations

import os
import sys
import time
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")
pytest.importorskip(
    "apis_viz.rqt.qt",
    reason="needs Qt: `make desktop`, and on Debian libegl1, libgl1, libxkbcommon0, libdbus-1-3",
    exc_type=ImportError,
)

import rclpy
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from apis_core.config.timing import ORDER_PATIENCE_S
from apis_interfaces.msg import (
    ConverterState,
    Deal,
    Fault,
    OperationMode,
    UnitStatus,
)
from apis_ros.qos import STATE
from apis_site.keys import make_keys
from apis_viz.rqt.grid_link import GridLink, clusters
from apis_viz.rqt.qt import QtCore, QtGui, QtWidgets
from apis_viz.rqt.widget import GridWidget

PACKAGE = Path(__file__).resolve().parents[1]
FORCE_STOP, SOFT_STOP = OperationMode.MODE_FORCE_STOP, OperationMode.MODE_SOFT_STOP


@pytest.fixture(scope="module")
def application():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication(["test"])


class Graph:
    """A node in a graph of some clusters of two units each."""

    def __init__(self, *clusters: str) -> None:
        self.clusters = list(clusters)
        self.heard = []
        self.orders: list[OperationMode] = []

    def get_topic_names_and_types(self):
        units = ("e001", "e002")
        return [(f"/apis/{c}/{unit}/status", []) for c in self.clusters for unit in units]

    def create_subscription(self, _kind, topic, hear, _qos):
        self.heard.append((topic, hear))
        return self.heard[-1]

    def destroy_subscription(self, subscription):
        self.heard.remove(subscription)

    def create_publisher(self, *_):
        return SimpleNamespace(publish=self.orders.append)

    def destroy_publisher(self, _):
        pass

    def create_timer(self, _period_s, call, **_):
        return SimpleNamespace(fire=call)

    def destroy_timer(self, _):
        pass


class Window:
    """A widget and the graph that it is in, and a user who answers questions."""

    def __init__(self, *clusters: str, **options) -> None:
        self.questions: list[str] = []
        self.says_yes = True
        self.graph = Graph(*clusters)
        self.widget = window_on(self.graph, confirm=self._answer, **options)
        self.widget.refresh()

    @property
    def link(self) -> GridLink:
        return self.widget.link

    @property
    def orders(self) -> list[tuple[int, str]]:
        return [(order.mode, order.unit_id) for order in self.graph.orders]

    def _answer(self, question: str, then) -> None:
        self.questions.append(question)
        if self.says_yes:
            then()

    def hear(self, topic: str, message: object) -> None:
        self.link.watch.discover()
        dict(self.graph.heard)[f"/apis/{self.link.cluster}/{topic}"](message)
        self.widget.refresh()

    def press(self, mode: int) -> None:
        self.widget.buttons[mode].click()

    def choose(self, cluster: str) -> None:
        index = self.widget.cluster.findText(cluster)
        self.widget.cluster.setCurrentIndex(index)
        self.widget.cluster.activated.emit(index)

    def text(self) -> str:
        return self.widget.mode.text()

    def can_order(self) -> bool:
        buttons = (*self.widget.buttons.values(), self.widget.follow)
        return any(button.isEnabled() for button in buttons)

    def rows(self, table) -> list[list[str]]:
        columns = range(table.columnCount())
        return [[table.item(r, c).text() for c in columns] for r in range(table.rowCount())]


def window_on(node, **options) -> GridWidget:
    return GridWidget(partial(clusters, node), partial(GridLink, node), **options)


@pytest.fixture
def open_window(application, monkeypatch):
    """Opens windows, and closes them."""
    monkeypatch.delenv("APIS_KEYS", raising=False)
    windows = []

    def open_(*clusters: str, **options) -> Window:
        windows.append(Window(*clusters, **options))
        return windows[-1]

    yield open_
    for window in windows:
        window.widget.stop()
        window.widget.deleteLater()


@pytest.fixture
def window(open_window):
    return open_window("village")


@pytest.fixture
def context(own_ros_domain):
    """Of real nodes."""
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    yield context
    context.try_shutdown()


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
        "The whole cluster village: End all its deals now and put its converters to WAIT?"
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


# --- which cluster -------------------------------------------------------------------------------


def test_a_grid_that_appears_later_is_found(open_window):
    window = open_window()
    assert (window.text(), window.can_order()) == ("looking for a grid", False)

    window.graph.clusters.append("hamlet")
    window.widget.refresh()
    window.widget.refresh()
    assert window.widget.windowTitle() == "APIS grid: hamlet"
    assert (window.text(), window.can_order()) == ("no unit heard yet", True)
    window.hear("e001/status", status("E001"))
    assert [row[0] for row in window.rows(window.widget.units)] == ["E001"]
    assert not window.widget.cluster.isVisibleTo(window.widget)


def test_of_several_grids_the_user_chooses(open_window):
    window = open_window()
    for cluster in ("hamlet", "village"):  # one is discovered before the other
        window.graph.clusters.append(cluster)
        window.widget.refresh()
    assert (window.text(), window.can_order()) == ("several grids, choose one", False)
    assert window.widget.cluster.isVisibleTo(window.widget)

    window.choose("hamlet")
    window.hear("e001/status", status("E001"))
    window.widget.target.setCurrentIndex(1)
    window.choose("village")
    assert window.widget.windowTitle() == "APIS grid: village"
    assert window.rows(window.widget.units) == []
    assert window.widget.target.currentText() == "whole cluster"
    assert not any(topic.startswith("/apis/hamlet/") for topic, _ in window.graph.heard)


def test_a_grid_that_was_named_is_taken_and_others_are_offered(open_window):
    window = open_window("village", cluster="hamlet")
    assert window.widget.windowTitle() == "APIS grid: hamlet"
    offered = [window.widget.cluster.itemText(i) for i in range(window.widget.cluster.count())]
    assert offered == ["hamlet", "village"]
    assert window.widget.cluster.currentText() == "hamlet"


@pytest.mark.ros
def test_units_are_found_while_the_simulated_clock_stands_still(context, monkeypatch):
    monkeypatch.delenv("APIS_KEYS", raising=False)
    peer = Node("peer", context=context)
    peer.create_publisher(UnitStatus, "/apis/village/e001/status", STATE).publish(status("E001"))
    stopped = [Parameter("use_sim_time", value=True)]
    node = Node("window", context=context, parameter_overrides=stopped)
    link = GridLink(node, "village")
    spin_until(node, lambda: "E001" in link.watch.statuses)
    link.close()


# --- orders --------------------------------------------------------------------------------------


@pytest.mark.ros
def test_when_ros_ends_the_window_says_so_and_stays(application, context, monkeypatch):
    monkeypatch.delenv("APIS_KEYS", raising=False)
    monkeypatch.setattr(sys, "excepthook", (raised := []).append)
    widget = window_on(Node("window", context=context), cluster="village")
    context.shutdown()
    widget.buttons[SOFT_STOP].click()
    assert (
        widget.mode.text() == "no unit heard yet · ROS was shut down here, nothing more is heard"
    )
    widget.refresh()
    assert not widget.buttons[SOFT_STOP].isEnabled()
    assert (
        widget.mode.text() == "no unit heard yet · ROS was shut down here, nothing more is heard"
    )
    widget.stop()
    widget.deleteLater()
    assert raised == []


def test_the_question_does_not_block_and_enter_says_no(open_window):
    window = open_window("village")
    window.widget.confirm = window.widget.ask
    window.widget.show()
    window.press(FORCE_STOP)  # would not return from a box with an event loop of its own
    box = window.widget.findChild(QtWidgets.QMessageBox)
    enter = QtCore.QEvent.Type.KeyPress, QtCore.Qt.Key.Key_Return
    press = QtGui.QKeyEvent(*enter, QtCore.Qt.KeyboardModifier.NoModifier)
    QtWidgets.QApplication.sendEvent(box, press)
    assert not box.isVisible()
    assert window.orders == []

    delete_what_is_due()
    window.press(FORCE_STOP)
    (box,) = window.widget.findChildren(QtWidgets.QMessageBox)
    box.button(QtWidgets.QMessageBox.StandardButton.Yes).click()
    assert window.orders == [(FORCE_STOP, "")]


def test_who_has_no_key_cannot_order_in_a_signed_grid(open_window, monkeypatch, tmp_path):
    make_keys(tmp_path, ["E001", "E002"], ["ann"])
    window = open_window("village")
    monkeypatch.setenv("APIS_KEYS", str(tmp_path))
    assert open_window("village").can_order()

    (tmp_path / "ann.pem").unlink()
    window = open_window("village")
    why = "only looks on: there is no operator's key in the folder that APIS_KEYS names"
    assert (window.text(), window.can_order()) == (f"no unit heard yet · {why}", False)
    assert window.widget.buttons[SOFT_STOP].toolTip() == why


def test_keys_that_cannot_be_read_are_told_and_read_again(open_window, monkeypatch, tmp_path):
    monkeypatch.setenv("APIS_KEYS", str(tmp_path / "keys"))
    window = open_window("village")
    assert "public_keys.json" in window.text()
    assert not window.can_order()

    make_keys(tmp_path / "keys", ["E001", "E002"], ["ann"])
    window.widget.refresh()
    assert (window.text(), window.can_order()) == ("no unit heard yet", True)


def test_units_that_do_not_follow_an_order_are_named(window, monkeypatch):
    for unit_id in ("E001", "E002"):
        window.hear(f"{unit_id.lower()}/status", status(unit_id, global_mode_version=4))
    window.press(SOFT_STOP)
    assert window.text().endswith(" · Soft stop not yet followed by E001, E002")

    followed = {"global_mode": SOFT_STOP, "global_mode_version": 5}
    window.hear("e001/status", status("E001", **followed))
    now_s = time.monotonic() + ORDER_PATIENCE_S
    monkeypatch.setattr("apis_viz.rqt.grid_link.time.monotonic", lambda: now_s)
    window.widget.refresh()
    assert window.text().endswith(" · Soft stop not followed by E002")
    window.hear("e002/status", status("E002", **followed))
    assert window.text() == "Soft stop · no grid master"


def test_a_unit_that_does_not_follow_its_own_order_is_named_until_it_does(window):
    window.hear("e001/status", status("E001"))
    window.hear("e002/status", status("E002"))
    window.widget.target.setCurrentIndex(2)
    window.press(SOFT_STOP)
    assert window.text().endswith(" · Soft stop not yet followed by E002")
    window.hear("e002/status", status("E002", local_mode=SOFT_STOP))
    assert "followed" not in window.text()
    window.hear("e002/status", status("E002"))  # somebody else's order
    assert "followed" not in window.text()


def test_an_order_of_somebody_else_takes_the_place_of_ours(window):
    window.hear("e001/status", status("E001", global_mode_version=4))
    window.press(SOFT_STOP)
    window.hear("e001/status", status("E001", global_mode_version=6))
    assert "followed" not in window.text()


# --- the look ------------------------------------------------------------------------------------


def deal(deal_id: str, **fields) -> Deal:
    units = {"discharge_unit_id": "E001", "charge_unit_id": "E002"}
    return Deal(deal_id=deal_id, reason="why", **units, **fields)


def test_columns_keep_the_users_width_and_the_last_one_takes_the_rest(window):
    table = window.widget.deals
    window.widget.resize(1200, 700)
    window.widget.show()
    QtWidgets.QApplication.processEvents()
    table.setColumnWidth(0, 150)
    for number in range(3):
        window.hear("deals", deal(str(number)))
        assert table.columnWidth(0) == 150
        assert table.horizontalHeader().length() == table.viewport().width()
    before = table.columnWidth(4)
    window.hear("deals", deal("2", moved_wh=1e12))  # no new row
    assert table.columnWidth(4) >= max(before, table.sizeHintForColumn(4))
    assert table.horizontalHeader().length() == table.viewport().width()


def test_the_window_can_be_narrow(window):
    for unit_id in ("E001", "E002"):
        window.hear(f"{unit_id.lower()}/status", status(unit_id, is_grid_master=True))
    assert window.widget.minimumSizeHint().width() < 700


def test_nothing_is_minus_zero(window):
    reading = ConverterState(grid_current_a=-0.004, grid_power_w=-0.4, grid_voltage_v=-0.06)
    unit = UnitStatus(unit_id="E001", converter=reading)
    window.hear("e001/status", unit)
    assert window.rows(window.widget.units)[0][4:7] == ["-0.1", "0.00", "0"]


def test_the_look_and_the_choice_come_back_but_not_whom_an_order_is_for(open_window):
    first = open_window("hamlet", "village")
    first.choose("village")
    first.hear("e002/status", status("E002"))
    first.widget.target.setCurrentIndex(1)
    first.widget.resize(1000, 760)
    first.widget.show()
    first.widget.split.setSizes([150, 400, 150])
    first.widget.deals.setColumnWidth(2, 333)

    second = open_window("hamlet")  # the other one is not seen yet
    second.widget.resize(1000, 760)
    second.widget.show()
    second.widget.restore(first.widget.state())
    second.widget.refresh()
    assert second.widget.windowTitle() == "APIS grid: village"
    assert shares(second.widget.split) == pytest.approx(shares(first.widget.split), abs=0.02)
    assert second.widget.deals.columnWidth(2) == 333
    assert second.widget.target.currentText() == "whole cluster"

    named = open_window(cluster="hamlet")
    named.widget.restore(first.widget.state())
    named.widget.refresh()
    assert named.widget.windowTitle() == "APIS grid: hamlet"


def shares(split) -> list[float]:
    return [size / sum(split.sizes()) for size in split.sizes()]


def test_what_was_found_and_not_chosen_is_not_kept(open_window):
    tomorrow = open_window()
    tomorrow.widget.restore(open_window("hamlet").widget.state())
    tomorrow.graph.clusters.append("village")
    tomorrow.widget.refresh()
    tomorrow.widget.refresh()
    assert tomorrow.widget.windowTitle() == "APIS grid: village"


def test_the_title_is_told_again_after_rqt_has_restored_an_old_one(open_window):
    window = open_window(cluster="village")
    state = window.widget.state()
    told = []
    window.widget.restore(state)
    window.widget.windowTitleChanged.connect(told.append)
    window.widget.refresh()
    assert told == ["APIS grid: village"]


# --- the plugin ----------------------------------------------------------------------------------


class Settings(dict):
    """As rqt's: what was never set is None."""

    set_value = dict.__setitem__
    value = dict.get


@pytest.fixture
def plugin_class(application, monkeypatch):
    """The plugin on a stand-in for rqt's base class."""

    class Plugin(QtCore.QObject):
        def __init__(self, _context) -> None:
            super().__init__()

    for name in ("rqt_gui_py", "rqt_gui_py.plugin"):
        monkeypatch.setitem(sys.modules, name, module := ModuleType(name))
        module.Plugin = Plugin
    monkeypatch.delitem(sys.modules, "apis_viz.rqt.plugin", raising=False)
    monkeypatch.delenv("APIS_CLUSTER", raising=False)
    monkeypatch.delenv("APIS_KEYS", raising=False)
    from apis_viz.rqt.plugin import GridPlugin

    return GridPlugin


def test_the_plugin_finds_its_grid_late_keeps_its_look_and_leaves_nothing(plugin_class):
    graph, widgets, settings, deleted = Graph(), [], Settings(), []
    contexts = (
        SimpleNamespace(node=graph, serial_number=lambda n=n: n, add_widget=widgets.append)
        for n in (1, 2)
    )
    first, second = map(plugin_class, contexts)
    graph.clusters.append("hamlet")
    for widget in (*widgets, *widgets):
        widget.refresh()
    titles = [widget.windowTitle() for widget in widgets]
    assert titles == ["APIS grid: hamlet", "APIS grid: hamlet (2)"]

    widgets[0].deals.setColumnWidth(2, 333)
    first.save_settings(Settings(), settings)
    second.restore_settings(Settings(), Settings())  # the first time
    second.restore_settings(Settings(), settings)
    assert widgets[1].deals.columnWidth(2) == 333

    for widget in widgets:
        widget.destroyed.connect(lambda *_: deleted.append(True))
    first.shutdown_plugin()
    second.shutdown_plugin()
    delete_what_is_due()
    assert (graph.heard, len(deleted)) == ([], 2)


def delete_what_is_due() -> None:
    deferred = QtCore.QEvent.Type.DeferredDelete
    QtCore.QCoreApplication.sendPostedEvents(None, getattr(deferred, "value", deferred))


def spin_until(node: Node, condition) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end_s, "did not come true in 20 s"
        executor.spin_once(timeout_sec=0.05)
    executor.remove_node(node)


def test_rqt_finds_the_plugin():
    package = ElementTree.parse(PACKAGE / "package.xml")
    (export,) = package.findall("./export/rqt_gui")
    plugin = ElementTree.parse(PACKAGE / export.get("plugin").removeprefix("${prefix}/"))
    module, _, name = plugin.find("class").get("type").rpartition(".")

    assert plugin.find("class").get("base_class_type") == "rqt_gui_py::Plugin"
    source = (PACKAGE / module.replace(".", "/")).with_suffix(".py").read_text()
    assert f"class {name}(Plugin):" in source
    assert "plugin.xml" in (PACKAGE / "setup.py").read_text()
