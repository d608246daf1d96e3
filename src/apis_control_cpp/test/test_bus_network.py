"""The bus solver against an independent one: scipy's sparse solve of the nodal equations."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from apis_control import BusNetwork, InvalidValue

Lines = list[tuple[int, int, float]]


@st.composite
def networks(draw: st.DrawFn) -> tuple[int, Lines, list[float]]:
    """A random tree, at times with a few lines more, and a current at every node."""
    nodes = draw(st.integers(2, 40))
    ohm = st.floats(0.01, 2.0)
    lines = [(draw(st.integers(0, i - 1)), i, draw(ohm)) for i in range(1, nodes)]
    for _ in range(draw(st.integers(0, 4))):
        a, b = draw(st.integers(0, nodes - 1)), draw(st.integers(0, nodes - 1))
        if a != b:
            lines.append((a, b, draw(ohm)))
    return nodes, lines, draw(st.lists(st.floats(-8.0, 8.0), min_size=nodes, max_size=nodes))


def by_scipy(
    nodes: int, lines: Lines, currents_a: list[float], references: list[tuple[int, float, float]]
) -> np.ndarray:
    """Node voltages, with references as sources behind their droop. [V]"""
    conductance = lil_matrix((nodes, nodes))
    injected_a = -np.array(currents_a)
    for a, b, ohm in lines:
        for i, j in ((a, b), (b, a)):
            conductance[i, i] += 1.0 / ohm
            conductance[i, j] -= 1.0 / ohm
    for node, source_v, droop_ohm in references:
        conductance[node, node] += 1.0 / droop_ohm
        injected_a[node] += source_v / droop_ohm
    return spsolve(conductance.tocsc(), injected_a)


@settings(max_examples=150, deadline=None)
@given(networks(), st.data())
def test_equals_a_sparse_solve(network, data):
    nodes, lines, currents_a = network
    count = data.draw(st.integers(1, min(3, nodes)))
    where = data.draw(
        st.lists(st.integers(0, nodes - 1), min_size=count, max_size=count, unique=True)
    )
    references = [
        (node, data.draw(st.floats(345.0, 355.0)), data.draw(st.floats(0.1, 3.0)))
        for node in where
    ]
    found_v, line_a, reference_a, is_saturated, loss_w, is_held = BusNetwork(nodes, lines).solve(
        currents_a, [(*reference, 1e6) for reference in references]
    )
    assert is_held
    assert not any(is_saturated)
    expected_v = by_scipy(nodes, lines, currents_a, references)
    assert found_v == pytest.approx(expected_v, abs=1e-6)

    # Kirchhoff's current law at every node, and his voltage law along every line
    into_a = np.array(currents_a)
    for (node, _, _), current_a in zip(references, reference_a, strict=True):
        into_a[node] += current_a
    for (a, b, ohm), current_a in zip(lines, line_a, strict=True):
        into_a[a] += current_a
        into_a[b] -= current_a
        assert found_v[a] - found_v[b] == pytest.approx(ohm * current_a, abs=1e-9)
    assert np.abs(into_a).max() < 1e-9
    assert loss_w == pytest.approx(
        sum(ohm * current_a**2 for (*_, ohm), current_a in zip(lines, line_a, strict=True))
    )


@settings(max_examples=60, deadline=None)
@given(
    networks(),
    st.lists(st.tuples(st.floats(340.0, 360.0), st.floats(0.0, 3.0)), min_size=2, max_size=4),
    st.floats(0.5, 9.0),
)
def test_references_never_exceed_their_limits(network, sources, limit_a):
    """Each carries what its voltage asks for, or its limit, and then it would want more."""
    nodes, lines, currents_a = network
    references = [(k % nodes, v, ohm, limit_a) for k, (v, ohm) in enumerate(sources)]
    found_v, _, reference_a, is_saturated, _, is_held = BusNetwork(nodes, lines).solve(
        currents_a, references
    )
    assert all(abs(current_a) <= limit_a for current_a in reference_a)
    if not is_held:
        assert all(is_saturated)
        return
    assert sum(reference_a) == pytest.approx(-sum(currents_a), abs=1e-9)
    for (node, source_v, ohm, _), current_a, saturated in zip(
        references, reference_a, is_saturated, strict=True
    ):
        over_v = found_v[node] - source_v - max(ohm, 0.005) * current_a
        assert over_v * math.copysign(1.0, current_a) >= -1e-6 if saturated else abs(over_v) < 1e-6


@given(st.lists(st.floats(0.0, 5.0), min_size=2, max_size=6), st.floats(0.0, 3.0))
def test_droop_is_monotone(loads_a, droop_ohm):
    network = BusNetwork(2, [(0, 1, 0.2)])
    held_v = [
        network.solve([0.0, load_a], [(0, 350.0, droop_ohm, 100.0)])[0][0]
        for load_a in sorted(loads_a)
    ]
    assert all(later <= before + 1e-9 for before, later in pairwise(held_v))


@pytest.mark.parametrize(
    ("lines", "word"),
    [([(0, 5, 0.1)], "0-5"), ([(0, 0, 0.1)], "0-0"), ([(0, 1, 0.0)], "resistance_ohm")],
)
def test_impossible_lines_are_refused(lines, word):
    with pytest.raises(InvalidValue, match=word):
        BusNetwork(3, lines)


def test_wrong_number_of_currents_is_refused():
    with pytest.raises(InvalidValue, match="one per node"):
        BusNetwork(3, []).solve([1.0], [])
