"""The widget: three tables and the mode switch. It looks at a watch, and orders through a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from apis_interfaces.msg import OperationMode
from apis_viz.rqt import rows
from apis_viz.rqt.qt import QtCore, QtGui, QtWidgets
from apis_viz.watch import GridWatch

__all__ = ["GridWidget"]

REFRESH_MS = 500
WHOLE_CLUSTER = "whole cluster"
ASKS_FIRST = {
    OperationMode.MODE_FORCE_STOP: "End all its deals now and put its converters to WAIT?",
    OperationMode.MODE_MANUAL: "End all deals, so that converters can be operated by hand?",
}
GLOBAL_ONLY = OperationMode.MODE_MANUAL
LEVEL_COLOURS = {"warn": "#b36b00", "error": "#b00020", "fatal": "#b00020"}


class GridWidget(QtWidgets.QWidget):
    """Units, deals and faults of one cluster, and its mode.

    Args:
        watch: What was heard; the widget takes its lock while it looks.
        set_mode: Orders a mode (``OperationMode.MODE_*``) of a unit, or of the cluster if empty.
        confirm: Asks the user a question; None = with a message box.
    """

    def __init__(
        self,
        watch: GridWatch,
        set_mode: Callable[[int, str], None],
        confirm: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__()
        self.setObjectName("ApisGrid")
        self.setWindowTitle("APIS grid")
        self._watch = watch
        self._set_mode = set_mode
        self._confirm = confirm or self._ask
        self.mode = QtWidgets.QLabel()
        self.target = QtWidgets.QComboBox()
        self.target.addItem(WHOLE_CLUSTER)
        self.buttons = {mode: QtWidgets.QPushButton(name) for mode, name in rows.MODES.items()}
        self.follow = QtWidgets.QPushButton("Follow cluster")
        self.units = _table(rows.UNITS)
        self.deals = _table(rows.DEALS)
        self.faults = _table(rows.FAULTS)
        self._lay_out()
        for mode, button in self.buttons.items():
            button.clicked.connect(lambda _=False, mode=mode: self._order(mode))
        self.follow.clicked.connect(lambda _=False: self._order(OperationMode.MODE_UNSET))
        self.target.currentIndexChanged.connect(lambda _: self._enable())
        self._enable()
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(REFRESH_MS)
        self.refresh()

    def stop(self) -> None:
        """Look no longer."""
        self._timer.stop()

    def refresh(self) -> None:
        """Show what the watch has heard by now."""
        with self._watch.lock:
            mode = rows.mode_text(self._watch)
            units = rows.unit_rows(self._watch)
            deals = rows.deal_rows(self._watch)
            faults = rows.fault_rows(self._watch)
        self.mode.setText(mode)
        _fill(self.units, units)
        _fill(self.deals, deals)
        _fill(self.faults, faults)
        for row, (_, _, level, *_) in enumerate(faults):
            self.faults.item(row, 2).setForeground(
                QtGui.QBrush(QtGui.QColor(LEVEL_COLOURS.get(level, "#000000")))
            )
        known = [self.target.itemText(index) for index in range(self.target.count())]
        self.target.addItems([unit[0] for unit in units if unit[0] not in known])

    def _lay_out(self) -> None:
        switch = QtWidgets.QHBoxLayout()
        switch.addWidget(self.mode, 1)
        switch.addWidget(self.target)
        for button in (*self.buttons.values(), self.follow):
            switch.addWidget(button)
        split = QtWidgets.QSplitter(QtCore.Qt.Vertical)
        for title, table in (
            ("Units", self.units),
            ("Deals", self.deals),
            ("Faults", self.faults),
        ):
            box = QtWidgets.QGroupBox(title)
            QtWidgets.QVBoxLayout(box).addWidget(table)
            split.addWidget(box)
        split.setSizes([300, 200, 140])
        whole = QtWidgets.QVBoxLayout(self)
        whole.addLayout(switch)
        whole.addWidget(split, 1)

    def _enable(self) -> None:
        is_one_unit = self.target.currentIndex() > 0
        self.buttons[GLOBAL_ONLY].setEnabled(not is_one_unit)
        self.follow.setEnabled(is_one_unit)

    def _order(self, mode: int) -> None:
        unit_id = self.target.currentText() if self.target.currentIndex() > 0 else ""
        question = ASKS_FIRST.get(mode)
        if question is None or self._confirm(f"{unit_id or 'The whole cluster'}: {question}"):
            self._set_mode(mode, unit_id)

    def _ask(self, question: str) -> bool:
        answer = QtWidgets.QMessageBox.question(self, "APIS grid", question)
        return bool(answer == QtWidgets.QMessageBox.Yes)


def _table(columns: Sequence[str]) -> QtWidgets.QTableWidget:
    table = QtWidgets.QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.verticalHeader().setVisible(False)
    table.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
    table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
    table.horizontalHeader().setStretchLastSection(True)
    return table


def _fill(table: QtWidgets.QTableWidget, contents: Iterable[Sequence[str]]) -> None:
    """Change the cells that differ, so that selection and scrolling stay."""
    contents = list(contents)
    is_larger = table.rowCount() < len(contents)
    table.setRowCount(len(contents))
    for row, texts in enumerate(contents):
        for column, text in enumerate(texts):
            item = table.item(row, column)
            if item is None:
                item = QtWidgets.QTableWidgetItem(text)
                table.setItem(row, column, item)
            elif item.text() != text:
                item.setText(text)
            is_number = text[:1].isdigit() or text[:2].strip("-").isdigit()
            side = QtCore.Qt.AlignRight if is_number else QtCore.Qt.AlignLeft
            item.setTextAlignment(side | QtCore.Qt.AlignVCenter)
    if is_larger:
        table.resizeColumnsToContents()
