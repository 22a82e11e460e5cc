"""What is believed about the geometry before momenta are looked at, as a call says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from molexa_core.base.errors import UsageError
from molexa_core.base.options.reconstruct_options import (
    ALIKE,
    LEARNED,
    LIBRARY,
    USUAL_PRIOR,
    ReconstructOptions,
)
from molexa_core.base.progress import SILENT, Progress
from molexa_core.io.xyz import read_xyz
from molexa_core.pipeline.inversion.bond_weights import BondWeights, bonds_of, library_bonds
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior

_LENGTHS: Final = "bonds of about 0.6 to 2 times the sum of covalent radii, in any direction"


@dataclass(frozen=True)
class GeometryBelief:
    """What is believed.

    Attributes:
        name: `learned`, `library`, `alike`, the name of a file, or `none` without chemistry.
        chemistry: whether bonds have about the length of bonds.
        bonds: how often atoms of two elements are bonded; None where all are alike.
        samples: whether structures are also weighed by how often the network draws their like,
            where it is told the explosion.
    """

    name: str
    chemistry: bool = True
    bonds: BondWeights | None = None
    samples: bool = False

    def prior(self, symbols: Sequence[str]) -> GeometryPrior:
        """The density of geometries of atoms of these elements."""
        if not self.chemistry:
            return GeometryPrior.scale_free(symbols)
        return GeometryPrior.of(symbols, bonds=self.bonds)

    def statement(self, *, samples: bool) -> str:
        """In words.

        Args:
            samples: whether samples of a network counted.
        """
        if not self.chemistry:
            return "any size, neighbours at distances alike within a factor of two; no chemistry"
        said = f"{_LENGTHS}; which atoms are bonded: "
        if self.bonds is None:
            said += "all alike"
        else:
            said += f"as in {self.bonds.source}, to the power {self.bonds.power:g}"
        if samples:
            said += (
                "; structures are as probable as their evidence and the network say together, "
                "which learned molecules at rest, vibrating, stretched and displaced"
            )
        return said


def believed(
    options: ReconstructOptions, *, usual: str = USUAL_PRIOR, progress: Progress = SILENT
) -> GeometryBelief:
    """What a call believes.

    Args:
        options: its options.
        usual: what is taken where they say nothing.
        progress: receiver of remarks about a file.

    Raises:
        UsageError: a prior together with no chemistry, or a file without a molecule of three atoms.
        InputFileError: the file cannot be read.
    """
    if not options.plausible:
        if options.prior is not None:
            raise UsageError(
                "no bonds are expected without chemistry",
                setting="prior",
                do="Leave out one of `prior` and `chemistry`.",
            )
        return GeometryBelief("none", chemistry=False)
    name = options.prior or usual
    if name == ALIKE:
        return GeometryBelief(name)
    if name == LEARNED:
        return GeometryBelief(name, samples=True)
    if name == LIBRARY:
        return GeometryBelief(name, bonds=library_bonds(), samples=True)
    path = Path(name)
    if path.suffix.lower() != ".xyz":
        raise UsageError(
            f"no prior {name!r}",
            setting="prior",
            do=f"Write {LEARNED}, {LIBRARY}, {ALIKE}, or an XYZ file.",
        )
    own = [one for one in read_xyz(path, progress) if len(one.symbols) > 2]
    if not own:
        raise UsageError(
            f"{path} holds no molecule of three or more atoms, which alone say what is bonded",
            setting="prior",
        )
    many = f"{len(own)} structures" if len(own) > 1 else "the structure"
    return GeometryBelief(path.name, bonds=bonds_of(own, f"{many} in {path.name}"))
