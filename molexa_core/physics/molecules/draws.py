"""How many geometries of a molecule a data set explodes, and of which kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from molexa_core.base.errors import UsageError
from molexa_core.base.fields import VARIATION_KINDS
from molexa_core.base.parameter import Parameter, Parameters

MOST_DRAWS: Final = 100_000
"""Most variations of one kind (and one k)."""
HOTTEST_K: Final = 5000.0
"""Highest temperature; a harmonic molecule means nothing there."""
MOST_ATOMS: Final = 64
"""Most atoms of a molecule in a data set."""
Atoms = Annotated[int, Parameter("number of atoms", "", 2, MOST_ATOMS)]
Geometries = Annotated[int, Parameter("number of geometries", "", 1, MOST_DRAWS)]


@dataclass(frozen=True)
class Variations(Parameters):
    """How many variations of each kind; the kinds are explained in `physics.molecules.variations`.

    Attributes:
        equilibrium: whether the equilibrium geometry is one of them.
        displaced: draws for each number k = 1 .. N - 1 of displaced atoms.
        zero_point: draws from the vibrational ground state.
        thermal: draws from the thermal distribution at `temperature_k`.
        temperature_k: temperature of the thermal draws.
        velocities: whether vibrating molecules start with the velocities that were drawn with
            their positions. The model has no bonds, and mean momenta are compared with geometries:
            at rest is the better choice for training.
        least: geometries that a molecule has at least, by its number of atoms, such as
            `{2: 80, 3: 20}`; further displaced draws where the numbers above give fewer.

    Raises:
        UsageError: a number out of range, or no geometry at all.
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
        """How many geometries a molecule of so many atoms has."""
        return self._without_further(atoms) + self.further(atoms)

    def further(self, atoms: int) -> int:
        """Displaced draws beyond the same number for every k, which `least` asks for."""
        return max(self.least.get(atoms, 0) - self._without_further(atoms), 0)

    def labels(self, atoms: int) -> list[str]:
        """What the geometries of a molecule of so many atoms are called, in their order."""
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
