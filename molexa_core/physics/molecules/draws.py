"""Number and kinds of the geometries of a molecule in a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from molexa_core.base.errors import UsageError
from molexa_core.base.fields import VARIATION_KINDS
from molexa_core.base.parameter import Parameter, Parameters

MOST_DRAWS: Final = 100_000
"""Largest number of variations of one kind (and one k)."""
HOTTEST_K: Final = 5000.0
"""Highest temperature, K; above it the harmonic approximation is meaningless."""
MOST_ATOMS: Final = 64
"""Largest number of atoms of a molecule in a data set."""
Atoms = Annotated[int, Parameter("number of atoms", "", 2, MOST_ATOMS)]
Geometries = Annotated[int, Parameter("number of geometries", "", 1, MOST_DRAWS)]


@dataclass(frozen=True)
class Variations(Parameters):
    """Numbers of variations of each kind; `physics.molecules.variations` describes the kinds.

    Attributes:
        equilibrium: whether the equilibrium geometry is included.
        displaced: number of draws for each number k = 1 .. N - 1 of displaced atoms.
        zero_point: number of draws from the vibrational ground state.
        thermal: number of draws from the thermal distribution at `temperature_k`.
        temperature_k: temperature of the thermal draws.
        velocities: whether vibrating molecules start with the velocities that were drawn with
            their positions. The model has no bonds, and mean momenta are compared with geometries:
            at rest is the better choice for training.
        least: smallest number of geometries of a molecule, by number of atoms, such as
            `{2: 80, 3: 20}`; further displaced draws are added if the numbers above give fewer.

    Raises:
        UsageError: a number is out of range, or there is no geometry.
    """

    equilibrium: Annotated[bool, Parameter("equilibrium geometry")] = True
    displaced: Annotated[
        int, Parameter("number of displaced draws for each k", "", 0, MOST_DRAWS)
    ] = 1
    zero_point: Annotated[int, Parameter("number of zero-point draws", "", 0, MOST_DRAWS)] = 0
    thermal: Annotated[int, Parameter("number of thermal draws", "", 0, MOST_DRAWS)] = 0
    temperature_k: Annotated[
        float, Parameter("temperature of the thermal draws", "K", 0.0, HOTTEST_K)
    ] = 300.0
    velocities: Annotated[bool, Parameter("start with the drawn velocities")] = False
    least: Annotated[
        dict[Atoms, Geometries], Parameter("least number of geometries, by number of atoms")
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for atoms, count in self.least.items():
            if not 2 <= atoms <= MOST_ATOMS or not 1 <= count <= MOST_DRAWS:
                raise UsageError(
                    f"least is {count} for {atoms} atoms",
                    where=f"least -> {atoms}",
                    do=f"Give 2 to {MOST_ATOMS} atoms, and 1 to {MOST_DRAWS} geometries.",
                )
        each = self.equilibrium or self.displaced or self.zero_point or self.thermal
        if not (each or self.least):
            raise UsageError(
                "no geometry is asked for", do="Give a number of draws or equilibrium: true."
            )

    def count(self, atoms: int) -> int:
        """Number of geometries of a molecule with this number of atoms."""
        return self._without_further(atoms) + self.further(atoms)

    def further(self, atoms: int) -> int:
        """Number of additional displaced draws because of `least`."""
        return max(self.least.get(atoms, 0) - self._without_further(atoms), 0)

    def labels(self, atoms: int) -> list[str]:
        """Labels of the geometries of a molecule with this number of atoms, in their order."""
        equilibrium, displaced, zero_point, thermal, _ = VARIATION_KINDS
        called = [equilibrium] if self.equilibrium else []
        called += [f"{displaced}-{k}-{n}" for k in range(1, atoms) for n in range(self.displaced)]
        called += [f"{zero_point}-{n}" for n in range(self.zero_point)]
        called += [f"{thermal}-{n}" for n in range(self.thermal)]
        for number in range(self.further(atoms)):
            turn, k = divmod(number, atoms - 1)
            called.append(f"{displaced}-{k + 1}-{self.displaced + turn}")
        return called

    def _without_further(self, atoms: int) -> int:
        drawn = self.displaced * (atoms - 1) + self.zero_point + self.thermal
        return int(self.equilibrium) + drawn


PUBLISHED: Final = Variations(displaced=10)
"""The published protocol: the equilibrium and ten draws for each k = 1..N-1."""
