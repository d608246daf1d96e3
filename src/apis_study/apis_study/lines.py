"""Voltages on the wires of the bus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apis_core.model.types import UnitId
from apis_emulator.wires import Wire

__all__ = ["BusLines"]


class BusLines:
    """The wires between units as one matrix: from currents to voltages.

    Args:
        unit_ids: The units, in their order.
        wires: Between which of them, and their resistance.
    """

    def __init__(self, unit_ids: Sequence[UnitId], wires: Sequence[Wire]) -> None:
        index = {unit_id: k for k, unit_id in enumerate(unit_ids)}
        laplacian = np.zeros((len(unit_ids), len(unit_ids)))
        for a, b, ohm in wires:
            i, j = index[a], index[b]
            conductance = 1.0 / ohm
            laplacian[i, i] += conductance
            laplacian[j, j] += conductance
            laplacian[i, j] -= conductance
            laplacian[j, i] -= conductance
        self._ohm = np.linalg.pinv(laplacian, hermitian=True)

    def voltages_v(
        self, currents_a: Sequence[tuple[int, float]], reference: int, reference_v: float
    ) -> list[float]:
        """The voltage at each unit that carries a current. [V]

        Args:
            currents_a: Units by their number, and what flows into them. [A]
            reference: Which unit holds the voltage.
            reference_v: At what. [V]
        """
        at = [index for index, _ in currents_a]
        into_a = np.array([current_a for _, current_a in currents_a])
        rows = self._ohm[np.ix_([*at, reference], at)] @ into_a
        return [reference_v - float(row - rows[-1]) for row in rows[:-1]]
