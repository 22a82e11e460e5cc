"""Values stored as whole numbers with a scale and an offset, as netCDF and xarray write them.

The value is `stored * scale_factor + add_offset` (CF conventions 1.11, section 8.1); the number for
missing values, `_FillValue`, is one of those stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError

SCALE: Final = "scale_factor"
OFFSET: Final = "add_offset"


@dataclass(frozen=True)
class Packing:
    """Scale and offset of a column.

    Attributes:
        scale: what one step of the stored numbers is.
        offset: what a stored 0 is.
    """

    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, attributes: Mapping[str, Any], column: str, where: object) -> Self | None:
        """The packing that attributes state; None if they state none.

        Raises:
            InputFileError: scale or offset is no single number, or the scale is 0.
        """
        found = {SCALE: 1.0, OFFSET: 0.0}
        for name in found:
            if name not in attributes:
                continue
            value = np.asarray(attributes[name]).ravel()
            good = len(value) == 1 and value.dtype.kind in "iuf" and np.isfinite(value[0])
            if not good or (name == SCALE and value[0] == 0):
                raise InputFileError(
                    f"attribute {name} of {column} is {attributes[name]!s}, which is no "
                    f"{'scale' if name == SCALE else 'offset'}",
                    where=where,
                    do="Correct it, or delete it if the values are stored as they are.",
                )
            found[name] = float(value[0])
        packing = cls(found[SCALE], found[OFFSET])
        return None if packing == cls() else packing

    def unpack(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """The values of stored numbers."""
        return np.asarray(stored.astype(np.float64) * self.scale + self.offset)
