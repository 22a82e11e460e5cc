"""What the coincidences of a stretch add to the counts of a run.

It depends on the rows of the stretch alone, so that whoever searches the stretch can count it, and
whoever puts a run together only adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.fields import TAG_SHOT
from molexa_core.base.storage.named_arrays import as_part, part_of
from molexa_core.base.subtraction import Subtracted
from molexa_core.base.tables import Coincidences
from molexa_core.reduction.energy import Energies
from molexa_core.reduction.mixing.mixer import MixingTally

_ENERGIES = "energies"


@dataclass(frozen=True)
class CountedRows:
    """Counts of the coincidences of a stretch.

    Attributes:
        rows: coincidences.
        energies: their kinetic energy releases.
        mixed: whether false coincidences are known.
        false: their sum of weights.
        variance: of coincidences minus false ones.
        false_variance: of the sum of weights.
        false_rows: rows of false coincidences.
    """

    rows: int
    energies: Energies
    mixed: bool = False
    false: float = 0.0
    variance: float = 0.0
    false_variance: float = 0.0
    false_rows: int = 0

    @classmethod
    def of(cls, table: Coincidences, highest: float, last_shots: int | None) -> CountedRows:
        """Count the rows of a stretch.

        Args:
            table: coincidences, with the false ones where shots were mixed.
            highest: see `Energies.of`.
            last_shots: shots of the stretch; None without mixing.
        """
        energy, false = table.kinetic_energy().sum(axis=1), table.false
        if last_shots is None or false is None or false.source is None:
            return cls(len(table), Energies.of(energy, highest))
        shots, of_false = table.tags[TAG_SHOT], false.kinetic_energy().sum(axis=1)
        values = np.column_stack([np.ones(len(table)), energy])
        weighted = false.weight[:, None] * np.column_stack([np.ones(len(false)), of_false])
        total = Subtracted.of(shots, values, false.source, weighted, last_shots)
        alone = Subtracted.of(shots, np.zeros(len(table)), false.source, false.weight, last_shots)
        return cls(
            len(table),
            Energies.of(energy, highest, of_false, false.weight, total.covariance),
            mixed=True,
            false=float(false.weight.sum()),
            variance=float(total.variance[0]),
            false_variance=float(alone.variance[0]),
            false_rows=len(false),
        )

    def add_to(self, tally: MixingTally) -> None:
        """Add the numbers of rows to the sums of event mixing."""
        if not self.mixed:
            return
        tally.found += self.rows
        tally.false += self.false
        tally.variance += self.variance
        tally.false_variance += self.false_variance
        tally.rows += self.false_rows

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays by name."""
        energies = {name: np.asarray(one) for name, one in vars(self.energies).items()}
        own = asdict(self)
        del own[_ENERGIES]
        return {name: np.asarray(one) for name, one in own.items()} | as_part(_ENERGIES, energies)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CountedRows:
        """What `as_arrays` gave."""
        energies: dict[str, Any] = part_of(arrays, _ENERGIES)
        energies["total"] = int(energies["total"])
        own: dict[str, Any] = {
            name: one.item() for name, one in arrays.items() if not name.startswith(_ENERGIES)
        }
        return cls(energies=Energies(**energies), **own)
