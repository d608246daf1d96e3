"""Qt, by whichever binding there is: rqt's own, or PySide6."""

from __future__ import annotations

try:
    from python_qt_binding import QtCore, QtGui, QtWidgets
except ImportError:
    from PySide6 import QtCore, QtGui, QtWidgets

__all__ = ["QtCore", "QtGui", "QtWidgets"]
