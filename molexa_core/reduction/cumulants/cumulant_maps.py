"""Maps of cumulants: for every pair of bins of two axes, with errors.

Order two is the covariance of the hits in two bins, also with the part taken off that follows a
control variable (partial covariance); orders three and four add one or two windows of further
ions. The hits of a pair are different ones (factorial cumulants), so that the diagonal of a map of
like ions needs no special care. Estimates and variances are those of `kstatistics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.cumulants.pair_sums import add_pairs

Kind = Literal["plain", "partial", "three", "four"]
_BASIS: Final[dict[str, int]] = {"plain": 0, "partial": 1, "three": 1, "four": 2}
"""Number of functions of the shot that a kind of map needs."""


class CumulantMap:
    """Sums over shots for one map, and the map itself.

    Args:
        shape: number of bins of both axes.
        kind: `plain`, covariance; `partial`, with a control variable; `three` and `four`, with the
            numbers of hits in one or two further windows, which must not contain hits of the axes.
    """

    def __init__(self, shape: tuple[int, int], kind: Kind = "plain") -> None:
        self._kind = kind
        self._products = _products(kind)
        k = len(self._products)
        self._n = 0
        self._pairs = np.zeros((5, k, *shape))
        self._x, self._y = np.zeros((2, k, shape[0])), np.zeros((2, k, shape[1]))
        self._ones = np.zeros(k)

    def add(self, offsets: IntArray, x: IntArray, y: IntArray, centred: FloatArray) -> None:
        """Add shots.

        Args:
            offsets: (shots + 1) where the hits of each shot begin.
            x: (hits) bin of each hit on the first axis, -1 for none.
            y: (hits) on the second.
            centred: (shots, 0, 1 or 2) control variable or numbers of hits in further windows, with
                their means over all shots taken off.
        """
        if centred.shape[1] != _BASIS[self._kind]:
            raise UsageError(f"a {self._kind} map needs {_BASIS[self._kind]} values of each shot")
        functions = _functions(self._kind, centred)
        weights = np.stack([functions[:, i] * functions[:, j] for i, j in self._products], axis=1)
        add_pairs(
            np.ascontiguousarray(offsets, np.int64), np.ascontiguousarray(x, np.int64),
            np.ascontiguousarray(y, np.int64), weights, self._pairs, self._x, self._y,
        )  # fmt: skip
        self._ones += weights.sum(axis=0)
        self._n += len(functions)

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays by name, for `absorb`."""
        return {
            "pairs": self._pairs, "x": self._x, "y": self._y, "ones": self._ones,
            "n": np.array(self._n),
        }  # fmt: skip

    def absorb(self, sums: Mapping[str, NDArray[Any]]) -> None:
        """Add the sums over the shots that follow, of a map of the same kind and shape."""
        self._pairs += sums["pairs"]
        self._x += sums["x"]
        self._y += sums["y"]
        self._ones += sums["ones"]
        self._n += int(sums["n"])

    @property
    def shots(self) -> int:
        """Number of shots so far."""
        return self._n

    def result(self) -> tuple[FloatArray, FloatArray]:
        """(bins, bins) cumulant per shot, and its standard error.

        Raises:
            UsageError: too few shots.
        """
        if self._n < 10:
            raise UsageError(f"{self._n} shots are too few for a map of cumulants")
        value, on = {
            "plain": self._plain,
            "partial": self._partial,
            "three": self._three,
            "four": self._four,
        }[self._kind]()
        return value, self._error(*on)

    def _mean(self, of: str, *place: int) -> FloatArray:
        """Mean of P, x y, x or y times the product of functions; the constant one if none given."""
        k = self._products.index((0, 0) if not place else (min(place), max(place)))
        if of == "1":
            alone: FloatArray = np.array(self._ones[k] / self._n)
            return alone
        if of in {"x", "y"}:
            row: FloatArray = (self._x if of == "x" else self._y)[1, k] / self._n
            return row[:, np.newaxis] if of == "x" else row[np.newaxis, :]
        mean: FloatArray = self._pairs[3 if of == "P" else 4, k] / self._n
        return mean

    def _plain(self) -> tuple[FloatArray, _Influence]:
        n = self._n
        x, y, xy, pairs = (self._mean(of) for of in ("x", "y", "xy", "P"))
        value = pairs - (n * x * y - xy) / (n - 1)
        return value, ([1.0], [-y], [-x], [x * y])

    def _partial(self) -> tuple[FloatArray, _Influence]:
        n = self._n
        x, y, xy, pairs = (self._mean(of) for of in ("x", "y", "xy", "P"))
        spread = float(self._mean("1", 1, 1))
        if spread <= 0.0:
            raise UsageError("the control variable is the same in all shots")
        slope_x, slope_y = self._mean("x", 0, 1) / spread, self._mean("y", 0, 1) / spread
        left = xy - x * y - slope_x * slope_y * spread
        value = n / (n - 2) * left - (xy - pairs)
        return value, (
            [1.0, 0.0, 0.0],
            [-y, -slope_y, 0.0],
            [-x, -slope_x, 0.0],
            [x * y, x * slope_y + y * slope_x, slope_x * slope_y],
        )

    def _three(self) -> tuple[FloatArray, _Influence]:
        n = self._n
        x, y, pairs = (self._mean(of) for of in ("x", "y", "P"))
        x_c, y_c, xy_c = (self._mean(of, 0, 1) for of in ("x", "y", "xy"))
        same_c = xy_c - self._mean("P", 0, 1)
        every = xy_c - x * y_c - y * x_c
        value = n**2 / ((n - 1) * (n - 2)) * every - n / (n - 1) * same_c
        covariance = pairs - x * y
        return value, (
            [0.0, 1.0],
            [-y_c, -y],
            [-x_c, -x],
            [y_c * x + x_c * y, x * y - covariance],
        )

    def _four(self) -> tuple[FloatArray, _Influence]:
        n = self._n
        x, y, xy, pairs = (self._mean(of) for of in ("x", "y", "xy", "P"))
        x_c, x_d, x_cd = (self._mean("x", 0, k) for k in (1, 2, 3))
        y_c, y_d, y_cd = (self._mean("y", 0, k) for k in (1, 2, 3))
        cd = float(self._mean("1", 0, 3))
        xy_cd = self._mean("xy", 0, 3)
        every = xy_cd - x * y_cd - y * x_cd + x * y * cd
        of_pairs = (xy - x * y) * cd + x_c * y_d + x_d * y_c
        same = xy_cd - self._mean("P", 0, 3) - (xy - pairs) * cd
        third = n**2 / ((n - 1) * (n - 2))
        value = third / (n - 3) * ((n + 1) * every - (n - 1) * of_pairs) - third * same
        covariance = pairs - x * y
        q_c = self._mean("P", 0, 1) - y * x_c - x * y_c
        q_d = self._mean("P", 0, 2) - y * x_d - x * y_d
        return value, (
            [-cd, 0.0, 0.0, 1.0],
            [2.0 * y * cd - y_cd, -y_d, -y_c, -y],
            [2.0 * x * cd - x_cd, -x_d, -x_c, -x],
            [
                y_cd * x + x_cd * y - x * y * cd,
                y_d * x + x_d * y - q_d,
                y_c * x + x_c * y - q_c,
                x * y - covariance,
            ],
        )

    def _error(self, of_pair: _Part, of_x: _Part, of_y: _Part, alone: _Part) -> FloatArray:
        """Standard error from the influence P f + x g + y h + e of each shot."""
        shape = self._pairs.shape[2:]
        square, mean = np.zeros(shape), np.zeros(shape)
        size = len(alone)
        parts = [
            np.stack([np.broadcast_to(np.asarray(one, np.float64), shape) for one in part])
            for part in (of_pair, of_x, of_y, alone)
        ]
        f, g, h, e = parts
        x2, x1 = (self._x[k][:, :, None] for k in (0, 1))
        y2, y1 = (self._y[k][:, None, :] for k in (0, 1))
        for i in range(size):
            for j in range(size):
                k = self._products.index((min(i, j), max(i, j)))
                square += (
                    f[i] * f[j] * self._pairs[0, k] + g[i] * g[j] * x2[k] + h[i] * h[j] * y2[k]
                )
                square += (
                    2.0
                    * f[i]
                    * (
                        g[j] * self._pairs[1, k]
                        + h[j] * self._pairs[2, k]
                        + e[j] * self._pairs[3, k]
                    )
                )
                square += 2.0 * (
                    g[i] * h[j] * self._pairs[4, k] + e[j] * (g[i] * x1[k] + h[i] * y1[k])
                )
                square += e[i] * e[j] * self._ones[k]
            k = self._products.index((0, i))
            mean += f[i] * self._pairs[3, k] + g[i] * x1[k] + h[i] * y1[k] + e[i] * self._ones[k]
        variance = square / self._n - np.square(mean / self._n)
        error: FloatArray = np.sqrt(np.maximum(variance, 0.0) / (self._n - 1))
        return error


_Part = list[FloatArray | float]
_Influence = tuple[_Part, _Part, _Part, _Part]


def _functions(kind: Kind, centred: FloatArray) -> FloatArray:
    """(shots, functions) the functions of each shot, the first of which is one."""
    ones = np.ones((len(centred), 1))
    if kind == "partial":
        return np.hstack([ones, centred, centred**2])
    if kind == "four":
        return np.hstack([ones, centred, centred[:, :1] * centred[:, 1:]])
    return np.hstack([ones, centred])


def _products(kind: Kind) -> list[tuple[int, int]]:
    size = {"plain": 1, "partial": 3, "three": 2, "four": 4}[kind]
    return [(i, j) for i in range(size) for j in range(i, size)]
