"""Random molecules for training: uniform boxes, chemistry-like clusters, symmetric molecules.

The map from geometry to momenta is not one-to-one, so the geometries of the training determine
the answer of a network if several geometries fit the momenta. Three kinds are mixed:

* `box`: the published distribution, positions uniform in a cube of half-width 10 bohr, contacts
  above 1.5 bohr.
* `chemical`: atoms are added one by one at 0.9 to 1.3 times the sum of the covalent radii from
  an earlier atom with a free valence, hydrogens and halogens as leaves, element frequencies like
  those of small organic and inorganic molecules. Of a part of them some atoms are then displaced
  by up to 3 bohr (bonds break, protons migrate).
* `symmetric`: a central atom with equal or unequal ligands in ideal directions (linear,
  trigonal, tetrahedral, ...), most of them slightly distorted, some exact: molecules in which an
  ion stays at rest.

All draws are made for whole batches on the device, without loops over molecules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.units import BOHR_ANGSTROM

SYMBOLS: Final = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")
_FREQUENCY: Final = (0.30, 0.26, 0.09, 0.11, 0.07, 0.03, 0.03, 0.05, 0.06)
_VALENCE: Final = (1, 4, 3, 2, 1, 4, 3, 2, 1)
CONTACT: Final = 1.5
"""Smallest distance in a box, bohr."""
BOX: Final = 10.0
"""Half-width of the box, bohr."""
NEAREST: Final = 1.2
"""Smallest distance of two atoms in any molecule, bohr (H2 has 1.4)."""
DISPLACEMENT: Final = 3.0
"""Largest displacement of an atom of a chemical cluster, bohr."""
CLASH: Final = 0.75
"""Chemical clusters: smallest distance of atoms as a share of the sum of their covalent radii."""
_TRIES: Final = 24


@dataclass(frozen=True)
class Mixture:
    """The mixture of molecules in a batch.

    Attributes:
        box, chemical, symmetric: shares; they are normalised.
        displaced: share of the chemical clusters in which some atoms are displaced.
        charge_caps: upper limits of the charges in a molecule (at most the number of electrons)
            with their shares; charges are uniform from 1 to the limit.
    """

    box: float = 0.25
    chemical: float = 0.6
    symmetric: float = 0.15
    displaced: float = 0.5
    charge_caps: tuple[tuple[int, float], ...] = (
        (1, 0.3),
        (2, 0.1),
        (3, 0.1),
        (4, 0.1),
        (8, 0.4),
    )


@dataclass(frozen=True)
class Clusters:
    """Molecules of up to N atoms, padded. Atomic units.

    Attributes:
        numbers: (B, N) int64 atomic numbers, 0 where padded.
        charges: (B, N) charges, 0 where padded.
        masses: (B, N) masses of the most abundant isotopes in electron masses, 1 where padded.
        positions: (B, N, 3) bohr, 0 where padded.
        mask: (B, N) bool.
    """

    numbers: Tensor
    charges: Tensor
    masses: Tensor
    positions: Tensor
    mask: Tensor


class ClusterSource:
    """Draws batches of molecules on one device.

    Args:
        mixture: the kinds of molecules.
        device: device of the batches.
        seed: of the random numbers; the same seed gives the same batches on the same device.
    """

    def __init__(self, mixture: Mixture, device: torch.device | str, seed: int) -> None:
        self.mixture = mixture
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device)
        self.seed(seed)
        elements = [ELEMENTS[symbol] for symbol in SYMBOLS]
        self._number = self._tensor([element.number for element in elements]).long()
        self._mass = self._tensor([element.isotope_mass for element in elements])
        radius = [element.covalent_radius_angstrom / BOHR_ANGSTROM for element in elements]
        self._radius = self._tensor(radius)
        self._valence = self._tensor(list(_VALENCE))
        self._frequency = self._tensor(list(_FREQUENCY))

    def seed(self, seed: int) -> None:
        """Restart the random numbers with another seed."""
        self.generator.manual_seed(seed)

    def draw(self, batch: int, atoms: Tensor, width: int) -> Clusters:
        """Draw molecules.

        Args:
            batch: number of molecules B.
            atoms: (B) number of atoms of each molecule, 2 to `width`.
            width: N of the padded tensors.
        """
        mixture = self.mixture
        share = self._tensor([mixture.box, mixture.chemical, mixture.symmetric])
        kind = torch.multinomial(share, batch, replacement=True, generator=self.generator)
        mask = torch.arange(width, device=self.device) < atoms[:, None]
        species = self._species(batch, width)
        species, positions = self._chemical(species, mask)
        box_species = self._uniform_species(batch, width)
        species = torch.where((kind == 0)[:, None], box_species, species)
        positions = torch.where((kind == 0)[:, None, None], self._box(mask), positions)
        symmetric_species, symmetric = self._symmetric(mask)
        species = torch.where((kind == 2)[:, None], symmetric_species, species)
        positions = torch.where((kind == 2)[:, None, None], symmetric, positions)
        # Shuffle, so that the order of placement gives no information.
        order = torch.rand(batch, width, device=self.device, generator=self.generator)
        order = torch.where(mask, order, torch.full_like(order, 2.0)).argsort(1)
        species = species.gather(1, order)
        positions = positions.gather(1, order[..., None].expand(-1, -1, 3))
        return self._finish(species, positions, mask)

    def _finish(self, species: Tensor, positions: Tensor, mask: Tensor) -> Clusters:
        batch, width = mask.shape
        # Molecules that are still too crowded are scaled up as a whole, which keeps symmetry.
        closest = self._distances(positions, mask).amin((1, 2))
        positions = positions * (NEAREST / closest).clamp_min(1.0)[:, None, None]
        number = self._number[species]
        caps = self._tensor([cap for cap, _ in self.mixture.charge_caps])
        shares = self._tensor([share for _, share in self.mixture.charge_caps])
        drawn = torch.multinomial(shares, batch, replacement=True, generator=self.generator)
        highest = torch.minimum(number.float(), caps[drawn][:, None])
        charge = (self._rand(batch, width) * highest).floor() + 1.0
        return Clusters(
            torch.where(mask, number, torch.zeros_like(number)),
            torch.where(mask, charge, torch.zeros_like(charge)),
            torch.where(mask, self._mass[species], torch.ones_like(charge)),
            torch.where(mask[..., None], positions, torch.zeros_like(positions)),
            mask,
        )

    def _species(self, batch: int, width: int) -> Tensor:
        drawn = torch.multinomial(
            self._frequency, batch * width, replacement=True, generator=self.generator
        )
        return drawn.view(batch, width)

    def _uniform_species(self, batch: int, width: int) -> Tensor:
        size = (batch, width)
        return torch.randint(len(SYMBOLS), size, device=self.device, generator=self.generator)

    def _box(self, mask: Tensor) -> Tensor:
        batch, width = mask.shape
        positions = (2.0 * self._rand(batch, width, 3) - 1.0) * BOX
        for _ in range(_TRIES):
            close = self._closest(positions, mask) < CONTACT
            fresh = (2.0 * self._rand(batch, width, 3) - 1.0) * BOX
            positions = torch.where((close & mask)[..., None], fresh, positions)
        return positions

    def _chemical(self, species: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Grow clusters atom by atom; atoms of high valence come first and form the core."""
        batch, width = mask.shape
        valence = torch.where(
            mask, self._valence[species], torch.full_like(species, -1.0, dtype=torch.float32)
        )
        jitter = 0.9 * self._rand(batch, width)
        species = species.gather(1, (-(valence.clamp_max(2.0) + jitter)).argsort(1))
        radius = self._radius[species]
        free = self._valence[species].clone()
        positions = torch.zeros(batch, width, 3, device=self.device)
        for i in range(1, width):
            present = mask[:, :i].float()
            open_bonds = free[:, :i].clamp_min(0.0) * present
            open_bonds = torch.where(
                open_bonds.sum(1, keepdim=True) > 0, open_bonds, 0.01 * present + 1e-6
            )
            parent = torch.multinomial(open_bonds, 1, generator=self.generator)[:, 0]
            rows = torch.arange(batch, device=self.device)
            length = (radius[:, i] + radius[rows, parent]) * (0.9 + 0.4 * self._rand(batch))
            origin = positions[rows, parent]
            best = origin + self._direction(batch) * length[:, None]
            clearance = self._clearance(
                best, positions[:, :i], radius[:, i], radius[:, :i], present
            )
            for _ in range(_TRIES // 3):
                other = origin + self._direction(batch) * length[:, None]
                room = self._clearance(
                    other, positions[:, :i], radius[:, i], radius[:, :i], present
                )
                better = room > clearance
                # Beyond 1.3 radii there is enough space: do not always take the most open position.
                better &= clearance < 1.3
                best = torch.where(better[:, None], other, best)
                clearance = torch.where(better, room, clearance)
            positions[:, i] = best
            free[:, i] -= 1.0
            free[rows, parent] -= 1.0
        return species, self._displace(positions, radius, mask)

    def _displace(self, positions: Tensor, radius: Tensor, mask: Tensor) -> Tensor:
        """Displace some atoms of some clusters by up to `DISPLACEMENT`, if they do not clash."""
        batch, width = mask.shape
        chosen = (self._uniform(batch) < self.mixture.displaced)[:, None]
        moving = chosen & (self._rand(batch, width) < self._rand(batch, 1))
        reach = DISPLACEMENT * self._rand(batch, width, 1)
        shifted = positions + self._direction(batch, width) * reach
        for _ in range(4):
            trial = torch.where(moving[..., None], shifted, positions)
            sums = radius[:, :, None] + radius[:, None]
            ratio = self._distances(trial, mask) / sums
            clash = (ratio < CLASH).any(2)
            reach = reach * 0.5
            shifted = torch.where(
                clash[..., None], positions + self._direction(batch, width) * reach, shifted
            )
        trial = torch.where(moving[..., None], shifted, positions)
        clash = (self._distances(trial, mask) / sums < CLASH).any(2).any(1)
        return torch.where(clash[:, None, None], positions, trial)

    def _symmetric(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A centre with ligands in ideal directions; the ligands are equal or of two kinds."""
        batch, width = mask.shape
        count = mask.sum(1)
        directions = _ideal_directions(width, self.device)[count - 1]
        species = self._uniform_species(batch, width)
        # Prefer a centre of high valence with light ligands, as in real molecules.
        centre = torch.multinomial(
            self._tensor([0.01, 0.45, 0.1, 0.1, 0.01, 0.15, 0.06, 0.1, 0.02]),
            batch,
            replacement=True,
            generator=self.generator,
        )
        ligand = torch.multinomial(
            self._tensor([0.35, 0.05, 0.05, 0.15, 0.2, 0.03, 0.02, 0.05, 0.1]),
            batch,
            replacement=True,
            generator=self.generator,
        )
        second = self._rand(batch, width) < 0.3 * (self._uniform(batch) < 0.3)[:, None]
        species = torch.where(second, species, ligand[:, None].expand(-1, width))
        species = torch.cat((centre[:, None], species[:, 1:]), dim=1)
        radius = self._radius[species]
        stretch = 0.9 + 0.4 * self._rand(batch, 1) + 0.8 * self._rand(batch, 1) ** 6
        length = (radius + radius[:, :1]) * stretch
        positions = directions * length[..., None]
        positions[:, 0] = 0.0
        amount = 0.6 * self._rand(batch, 1, 1) ** 3
        amount = torch.where(self._rand(batch, 1, 1) < 0.25, torch.zeros_like(amount), amount)
        distortion = torch.randn(batch, width, 3, device=self.device, generator=self.generator)
        return species, self._rotate(positions + amount * distortion)

    def _rotate(self, positions: Tensor) -> Tensor:
        q = torch.randn(len(positions), 4, device=self.device, generator=self.generator)
        w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
        rows = (
            torch.stack((1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)), 1),
            torch.stack((2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)), 1),
            torch.stack((2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)), 1),
        )
        return torch.einsum("bxk,bnk->bnx", torch.stack(rows, 1), positions)

    def _closest(self, positions: Tensor, mask: Tensor) -> Tensor:
        return self._distances(positions, mask).amin(2)

    def _distances(self, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, N, N) distances; large on the diagonal and for padding."""
        difference = positions[:, :, None] - positions[:, None]
        distance = (difference**2).sum(3).sqrt()
        apart = torch.eye(mask.shape[1], device=self.device, dtype=torch.bool)
        away = apart[None] | ~mask[:, None] | ~mask[:, :, None]
        out: Tensor = distance.masked_fill(away, 1e6)
        return out

    @staticmethod
    def _clearance(
        place: Tensor, others: Tensor, radius: Tensor, radii: Tensor, present: Tensor
    ) -> Tensor:
        """(B) smallest distance to the atoms present, as a share of the sum of the radii."""
        distance = (place[:, None] - others).norm(dim=2) / (radius[:, None] + radii)
        away = torch.full_like(distance, 1e6)
        return torch.where(present > 0, distance, away).amin(1)

    def _direction(self, *size: int) -> Tensor:
        vector = torch.randn(*size, 3, device=self.device, generator=self.generator)
        unit: Tensor = vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        return unit

    def _rand(self, *size: int) -> Tensor:
        return torch.rand(size, device=self.device, generator=self.generator)

    def _uniform(self, size: int) -> Tensor:
        return self._rand(size)

    def _tensor(self, values: list[float] | list[int]) -> Tensor:
        return torch.tensor(values, device=self.device, dtype=torch.float32)


def _ideal_directions(width: int, device: torch.device) -> Tensor:
    """(ligands + 1, width, 3) unit vectors by number of ligands; entry 0 of each is the centre."""
    root = math.sqrt(1.0 / 3.0)
    third = 2.0 * math.pi / 3.0
    ring = [(math.cos(k * third), math.sin(k * third), 0.0) for k in range(3)]
    axis = [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0)]
    square = [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)]
    tetrahedron = [
        (root, root, root),
        (root, -root, -root),
        (-root, root, -root),
        (-root, -root, root),
    ]
    cube = [(x * root, y * root, z * root) for x in (1, -1) for y in (1, -1) for z in (1, -1)]
    shapes = {
        1: axis[:1],
        2: axis,
        3: ring,
        4: tetrahedron,
        5: ring + axis,
        6: square + axis,
        7: [*square, *axis, (root, root, root)],
        8: cube,
    }
    table = torch.zeros(width, width, 3)
    for count in range(1, width):
        for k in range(count):
            # For more ligands a spiral distributes them evenly enough.
            vector = shapes[count][k] if count in shapes else _spiral(k, count)
            table[count, k + 1] = torch.tensor(vector)
    moved: Tensor = table.to(device)
    return moved


def _spiral(k: int, count: int) -> tuple[float, float, float]:
    height = 1.0 - 2.0 * (k + 0.5) / count
    around = math.pi * (3.0 - math.sqrt(5.0)) * k
    ring = math.sqrt(1.0 - height * height)
    return ring * math.cos(around), ring * math.sin(around), height
