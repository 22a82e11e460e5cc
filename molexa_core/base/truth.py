"""The truth behind a virtual run: which molecules exploded, with which momenta and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import BoolArray, FloatArray, Geometry, IntArray


@dataclass(frozen=True)
class VirtualTruth:
    """The truth behind a virtual run, or a stretch of it.

    Attributes:
        ions: the ion of each column, in the order of the channel.
        equilibrium: the geometry at rest, one atom per ion, in the order of the ions.
        shot: (n) number of the shot in which each molecule exploded.
        momentum: (n, ions, 3) laboratory momenta in a.u., motion of the jet included.
        position: (n, ions, 3) exploded geometry in bohr, in its orientation in the laboratory.
        detected: (n, ions) whether the ion gave a hit that is in the run.
        hit_molecule: (hits) row of the molecule that each hit of the run came from, -1 for
            residual gas and dark counts.
        hit_ion: (hits) column of the ion of each hit, -1 for residual gas and dark counts.
        charge: (n, ions) final charges where they differ from shot to shot; None where every
            molecule breaks into the ions of the channel.
    """

    ions: tuple[Ion, ...]
    equilibrium: Geometry
    shot: IntArray
    momentum: FloatArray
    position: FloatArray
    detected: BoolArray
    hit_molecule: IntArray
    hit_ion: IntArray
    charge: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.shot)

    @property
    def charges(self) -> NDArray[np.int8]:
        """(n, ions) final charge of each atom."""
        if self.charge is not None:
            return self.charge
        channel = np.array([ion.charge for ion in self.ions], dtype=np.int8)
        return np.repeat(channel[None], len(self), axis=0)

    @property
    def in_channel(self) -> BoolArray:
        """(n) whether the molecule broke into the ions of the channel.

        Atoms of one element and isotope may exchange their charges: the channel does not
        distinguish them.
        """
        wanted = np.array([ion.charge for ion in self.ions], dtype=np.int8)
        symbols = np.array(self.equilibrium.names)
        same = np.ones(len(self), dtype=np.bool_)
        for symbol in set(self.equilibrium.names):
            like = symbols == symbol
            found = np.sort(self.charges[:, like], axis=1)
            same &= (found == np.sort(wanted[like])).all(axis=1)
        return same

    def numbered_from(self, molecules: int) -> VirtualTruth:
        """The same stretch where `molecules` molecules come before it."""
        known = self.hit_molecule >= 0
        return replace(self, hit_molecule=np.where(known, self.hit_molecule + molecules, -1))

    def first(self, shot: int, hits: int) -> VirtualTruth:
        """What belongs to the shots before `shot`, which have `hits` hits."""
        n = int(np.searchsorted(self.shot, shot))
        return replace(
            self,
            shot=self.shot[:n],
            momentum=self.momentum[:n],
            position=self.position[:n],
            detected=self.detected[:n],
            charge=None if self.charge is None else self.charge[:n],
            hit_molecule=self.hit_molecule[:hits],
            hit_ion=self.hit_ion[:hits],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[VirtualTruth]) -> VirtualTruth:
        """Consecutive stretches, already numbered, as one."""
        same = all(part.charge is None for part in parts)
        return cls(
            ions=parts[0].ions,
            equilibrium=parts[0].equilibrium,
            shot=np.concatenate([part.shot for part in parts]),
            momentum=np.concatenate([part.momentum for part in parts]),
            position=np.concatenate([part.position for part in parts]),
            detected=np.concatenate([part.detected for part in parts]),
            hit_molecule=np.concatenate([part.hit_molecule for part in parts]),
            hit_ion=np.concatenate([part.hit_ion for part in parts]),
            charge=None if same else np.concatenate([part.charges for part in parts]),
        )
