"""The anode as one flat array for compiled loops: geometry, correction tables, limits.

One array, because a compiled call takes longer with more array arguments. Constants give the
indices of its entries; an entry with one value per layer has u, v, w at consecutive indices.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.settings.anode import Anode, Layer
from molexa_core.base.tables import FloatArray
from molexa_core.detector.methods import method_table, quad_method_table

GRID: Final = 513
"""Points of a table across a layer."""
N_LAYERS, SIGMA, RADIUS, DEAD_ANODE, DEAD_MCP, CONSISTENCY, MAX_METHOD = range(7)
"""Layers; uncertainty of a signal's time in ns, which deviations are counted in; the limits."""
AXIS_X, AXIS_Y, SCALE, HALF_WIDTH, RUN_TIME, EARLY, LATE = range(7, 28, 3)
"""Position on a layer = axis . (x, y); mm/ns of the difference; ns; limits of t - t_mcp in ns."""
SUM_MIDDLE, PLACE_MIDDLE, LOW_NS, PER_NS, LOW_MM, PER_MM = range(28, 46, 3)
"""Time sum and position where t1 = t2; begin and inverse step of the grids."""
SLOPE_X, SLOPE_Y = 46, 49
"""ns/mm: how the time of an end changes with x and y."""
METHOD: Final = 52
"""54 method numbers by ends present on u, v, w (0 to 2) and the MCP."""
SUMS: Final = 106
"""Time sums in ns on the grid of differences t1 - t2."""
FORWARD: Final = SUMS + 3 * GRID
"""Positions in mm on the grid of differences, offset and correction included."""
INVERSE: Final = FORWARD + 3 * GRID
"""Differences in ns on the grid of positions."""
_SIZE: Final = INVERSE + 3 * GRID
_MARGIN_NS: Final = 10.0
_HALF_WIDTH_IN_SIGMAS: Final = 10.0
"""A half width of four standard deviations of a time sum, which has 2.4 of those of a signal."""
_ROOT3: Final = 3.0**0.5
_HEXANODE: Final = ((1.0, 0.0), (0.5, -0.5 * _ROOT3), (0.5, 0.5 * _ROOT3))
_QUAD: Final = ((1.0, 0.0), (0.0, 1.0))


def model_of(anode: Anode) -> FloatArray:
    """The array of an anode."""
    hexanode = anode.kind == "hexanode"
    layers = anode.layers
    m = np.zeros(_SIZE)
    m[N_LAYERS] = len(layers)
    widths = [layer.time_sum_half_width_ns for layer in layers]
    m[SIGMA] = sum(widths) / len(widths) / _HALF_WIDTH_IN_SIGMAS
    m[RADIUS] = anode.mcp_radius_mm
    m[DEAD_ANODE], m[DEAD_MCP] = anode.dead_time_anode_ns, anode.dead_time_mcp_ns
    m[CONSISTENCY], m[MAX_METHOD] = anode.layer_consistency_mm, anode.max_method
    m[METHOD:SUMS] = (method_table() if hexanode else quad_method_table()).ravel()
    for row, layer in enumerate(layers):
        m[AXIS_X + row], m[AXIS_Y + row] = (_HEXANODE if hexanode else _QUAD)[row]
        m[SCALE + row] = anode.mm_per_ns(layer)
        m[SLOPE_X + row] = 0.5 * m[AXIS_X + row] / m[SCALE + row]
        m[SLOPE_Y + row] = 0.5 * m[AXIS_Y + row] / m[SCALE + row]
        m[HALF_WIDTH + row] = layer.time_sum_half_width_ns
        m[RUN_TIME + row] = layer.run_time_ns
        _tabulate(m, row, anode, layer)
    return m


def _tabulate(m: FloatArray, row: int, anode: Anode, layer: Layer) -> None:
    reach = layer.run_time_ns + _MARGIN_NS
    difference = np.linspace(-reach, reach, GRID)
    sums = time_sum(anode, layer, difference)
    forward = position(anode, layer, difference)
    place = np.linspace(forward[0], forward[-1], GRID)
    for table, values in (
        (SUMS, sums),
        (FORWARD, forward),
        (INVERSE, np.interp(place, forward, difference)),
    ):
        m[table + row * GRID : table + (row + 1) * GRID] = values
    m[LOW_NS + row], m[PER_NS + row] = difference[0], (GRID - 1) / (2.0 * reach)
    m[LOW_MM + row], m[PER_MM + row] = place[0], (GRID - 1) / (place[-1] - place[0])
    m[SUM_MIDDLE + row], m[PLACE_MIDDLE + row] = sums[GRID // 2], forward[GRID // 2]
    m[EARLY + row] = 0.5 * (sums.min() - layer.run_time_ns) - layer.time_sum_half_width_ns
    m[LATE + row] = 0.5 * (sums.max() + layer.run_time_ns) + layer.time_sum_half_width_ns


def position(anode: Anode, layer: Layer, difference: FloatArray) -> FloatArray:
    """Position on a layer in mm for differences t1 - t2 in ns."""
    plain = anode.mm_per_ns(layer) * difference
    return plain + layer.offset_mm + _correction(layer.position_correction, plain)


def time_sum(anode: Anode, layer: Layer, difference: FloatArray) -> FloatArray:
    """Time sum of a layer in ns for differences t1 - t2 in ns."""
    plain = anode.mm_per_ns(layer) * difference
    return layer.time_sum_ns + _correction(layer.time_sum_correction, plain)


def _correction(table: tuple[tuple[float, float], ...], place: FloatArray) -> FloatArray:
    if not table:
        return np.zeros_like(place)
    points = np.array(table)
    found: FloatArray = np.interp(place, points[:, 0], points[:, 1])
    return found
