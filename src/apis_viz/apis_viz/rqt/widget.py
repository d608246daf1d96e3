"""The widget: three tables and the mode switch of the cluster that it has joined.

Size: Qt wants every part of a window kept by the window; most attributes are its labels, tables
and buttons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from apis_interfaces.msg import OperationMode
from apis_viz.rqt import rows
from apis_viz.rqt.grid_link import GridLink, LinkError
from apis_viz.rqt.qt import QtCore, QtGui, QtWidgets

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
        find: Names the clusters that there are.
        join: Opens a link to one of them; it is closed when another one is chosen, or at the end.
        cluster: The one to look at; empty = the one that there is, or the one that is chosen.
        confirm: Asks the user a question, and calls back if the answer is yes; None = with a
            message box.
        number: Which of several windows this is; the others than the first say so in their title.
    """

    def __init__(
        self,
        find: Callable[[], Iterable[str]],
        join: Callable[[str], GridLink],
        *,
        cluster: str = "",
        confirm: Callable[[str, Callable[[], None]], None] | None = None,
        number: int = 1,
    ) -> None:
        super().__init__()
        self.setObjectName("ApisGrid")
        self._find = find
        self._join = join
        self._given = cluster
        self._chosen = ""
        self._found: list[str] = []
        self.confirm = confirm or self.ask
        self._number = f" ({number})" if number > 1 else ""
        self.link: GridLink | None = None
        self._why_not = ""  # no order can be given; empty = one can
        self._failure = ""  # of the last order
        self.mode = QtWidgets.QLabel()
        self.mode.setWordWrap(True)
        self.cluster = QtWidgets.QComboBox()
        self.target = QtWidgets.QComboBox()
        self.target.addItem(WHOLE_CLUSTER)
        self.buttons = {mode: QtWidgets.QPushButton(name) for mode, name in rows.MODES.items()}
        self.follow = QtWidgets.QPushButton(rows.FOLLOW)
        self.units, self.deals, self.faults = map(_table, (rows.UNITS, rows.DEALS, rows.FAULTS))
        self.tables = {"units": self.units, "deals": self.deals, "faults": self.faults}
        self.split = QtWidgets.QSplitter(QtCore.Qt.Orientation.Vertical)
        self._lay_out()
        for mode, button in self.buttons.items():
            button.clicked.connect(lambda _=False, mode=mode: self._order(mode))
        self.follow.clicked.connect(lambda _=False: self._order(OperationMode.MODE_UNSET))
        self.target.currentIndexChanged.connect(lambda _: self._enable())
        self.cluster.activated.connect(lambda index: self._choose(self.cluster.itemText(index)))
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(REFRESH_MS)
        self.refresh()

    def stop(self) -> None:
        """Look no longer."""
        self._timer.stop()
        self._leave()

    def refresh(self) -> None:
        """Look which clusters there are, and show what has been heard of ours by now."""
        try:
            self._why_not = self._look()
        except LinkError as error:
            self._why_not = str(error)
        self._show()

    def state(self) -> dict[str, Any]:
        """What the user made of the window. Not whom an order is for: that is chosen afresh."""
        headers = {
            name: table.horizontalHeader().saveState() for name, table in self.tables.items()
        }
        return {"cluster": self._chosen, "split": self.split.saveState(), **headers}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Make it so again, as far as it is known; the cluster, unless one was given."""
        if state["cluster"] and not self._given:
            self._choose(state["cluster"])
        if state["split"]:
            self.split.restoreState(state["split"])
        for name, table in self.tables.items():
            if state[name]:
                table.horizontalHeader().restoreState(state[name])
        # rqt restores the title next, and with it the name of another cluster, perhaps; it takes
        # ours again when that changes, which is at the next look
        self.setWindowTitle("")

    def _lay_out(self) -> None:
        where = QtWidgets.QHBoxLayout()
        where.addWidget(self.mode, 1)
        where.addWidget(self.cluster)
        switch = QtWidgets.QHBoxLayout()
        for part in (self.target, *self.buttons.values(), self.follow):
            switch.addWidget(part)
        switch.addStretch(1)
        for name, table in self.tables.items():
            box = QtWidgets.QGroupBox(name.capitalize())
            QtWidgets.QVBoxLayout(box).addWidget(table)
            self.split.addWidget(box)
        self.split.setSizes([300, 200, 140])
        whole = QtWidgets.QVBoxLayout(self)
        whole.addLayout(where)
        whole.addLayout(switch)
        whole.addWidget(self.split, 1)

    # --- which cluster ---------------------------------------------------------------------------

    def _look(self) -> str:
        """Join the cluster that is meant, if that is clear. Why no order can be given now."""
        before, self._found = self._found, list(self._find())
        if self.link is None:
            # the only one, not just the first one: a graph is discovered bit by bit
            is_only_one = len(before) == 1 and before == self._found
            meant = self._chosen or self._given or (before[0] if is_only_one else "")
            if meant:
                self.link = self._join(meant)
        ours = self.link.cluster if self.link else ""
        names = sorted({*self._found, ours} - {""})
        if names != [self.cluster.itemText(index) for index in range(self.cluster.count())]:
            self.cluster.clear()
            self.cluster.addItems(names)
        self.cluster.setCurrentIndex(self.cluster.findText(ours) if ours else -1)
        self.cluster.setVisible(len(names) > 1)
        if self.link is None:
            return "several grids, choose one" if len(names) > 1 else "looking for a grid"
        return self.link.why_silent

    def _choose(self, cluster: str) -> None:
        self._chosen = cluster
        if self.link is None or self.link.cluster != cluster:
            self._leave()
            self.refresh()

    def _leave(self) -> None:
        if self.link is not None:
            self.link.close()
        self.link = None
        self._failure = ""
        self.target.clear()
        self.target.addItem(WHOLE_CLUSTER)
        for table in self.tables.values():
            _fill(table, ())

    # --- what it says ----------------------------------------------------------------------------

    def _show(self) -> None:
        which = f": {self.link.cluster}" if self.link else ""
        self.setWindowTitle(f"APIS grid{which}{self._number}")
        said = self._show_what_is_heard(self.link) if self.link else ()
        remarks = dict.fromkeys((*said, self._failure, self._why_not))
        self.mode.setText(" · ".join(filter(None, remarks)))
        self._enable()

    def _show_what_is_heard(self, link: GridLink) -> tuple[str, str]:
        with link.watch.lock:
            said = rows.mode_text(link.watch), link.order_text()
            units = rows.unit_rows(link.watch)
            deals = rows.deal_rows(link.watch)
            faults = rows.fault_rows(link.watch)
        _fill(self.units, units)
        _fill(self.deals, deals)
        _fill(self.faults, faults)
        for row, (_, _, level, *_) in enumerate(faults):
            self.faults.item(row, 2).setForeground(
                QtGui.QBrush(QtGui.QColor(LEVEL_COLOURS.get(level, "#000000")))
            )
        known = [self.target.itemText(index) for index in range(self.target.count())]
        self.target.addItems([unit[0] for unit in units if unit[0] not in known])
        return said

    # --- orders ----------------------------------------------------------------------------------

    def _enable(self) -> None:
        is_one_unit = self.target.currentIndex() > 0
        fits = dict.fromkeys((*self.buttons.values(), self.follow), True)
        fits[self.buttons[GLOBAL_ONLY]] = not is_one_unit
        fits[self.follow] = is_one_unit
        for button, does_fit in fits.items():
            button.setEnabled(does_fit and not self._why_not)
            button.setToolTip(self._why_not)

    def _order(self, mode: int) -> None:
        link = self.link  # the one that is meant, whatever is joined when the answer comes
        if link is None:
            return
        unit_id = self.target.currentText() if self.target.currentIndex() > 0 else ""

        def order() -> None:
            self._failure = ""
            try:
                link.set_mode(mode, unit_id)
            except LinkError as error:
                self._failure = str(error)
            self._show()

        if mode in ASKS_FIRST:
            whom = f"{unit_id} in" if unit_id else "The whole cluster"
            self.confirm(f"{whom} {link.cluster}: {ASKS_FIRST[mode]}", order)
        else:
            order()

    def ask(self, question: str, then: Callable[[], None]) -> None:
        """Ask in a box, and call back if the answer is yes."""
        # An event loop of its own (`question()`, `exec()`) would lie on the stack when rqt ends.
        boxes = QtWidgets.QMessageBox
        yes, no = boxes.StandardButton.Yes, boxes.StandardButton.No
        box = boxes(boxes.Icon.Question, "APIS grid", question, yes | no, self)
        box.setDefaultButton(no)  # Enter must not stop a grid
        box.setAttribute(QtCore.Qt.WidgetAttribute.WA_DeleteOnClose)
        box.finished.connect(lambda answer: then() if answer == yes else None)
        box.open()


def _table(columns: Sequence[str]) -> QtWidgets.QTableWidget:
    table = QtWidgets.QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.verticalHeader().setVisible(False)
    table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
    header = table.horizontalHeader()
    header.setStretchLastSection(True)
    for column in range(len(columns) - 1):
        table.setColumnWidth(column, header.sectionSizeHint(column))
    return table


def _fill(table: QtWidgets.QTableWidget, contents: Iterable[Sequence[str]]) -> None:
    """Change the cells that differ, so that selection and scrolling stay."""
    contents = list(contents)
    table.setRowCount(len(contents))
    has_changed = False
    for row, texts in enumerate(contents):
        for column, text in enumerate(texts):
            item = table.item(row, column)
            if item is None:
                item = QtWidgets.QTableWidgetItem()
                table.setItem(row, column, item)
            if item.text() != text:
                item.setText(text)
                item.setToolTip(text)  # a narrow window cuts remarks and reasons off
                has_changed = True
            is_number = text[:1].isdigit() or text[:2].strip("-").isdigit()
            flags = QtCore.Qt.AlignmentFlag
            side = flags.AlignRight if is_number else flags.AlignLeft
            item.setTextAlignment(side | flags.AlignVCenter)
    if has_changed:  # columns only grow: the user may have made one wider; the last takes the rest
        for column in range(table.columnCount() - 1):
            width = max(table.columnWidth(column), table.sizeHintForColumn(column))
            table.setColumnWidth(column, width)
