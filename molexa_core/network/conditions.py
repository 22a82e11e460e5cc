"""What a network is told of the experiment, as numbers for its first layers.

Each number of the explosion enters with a flag that says whether it is known, and with its
declared uncertainty; what is not known is zero, flag included, so that a batch without any of this
and one of which nothing is known are the same. Numbers of the entry (how many events, how well the
momenta are known, whether it is one event or a mean) are told in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import torch
from torch import Tensor

KINDS: Final = ("xray", "laser", "ion", "build_up", "classical", "instant")
"""Kinds of explosions, as in `base.known_explosion.KINDS`."""
DataKind = Literal["still", "mean", "event"]
DATA_KINDS: Final[tuple[DataKind, ...]] = ("still", "mean", "event")
"""Momenta are means over explosions of one geometry, as simulations give them; means over vibrating
molecules, each event in a frame of its own; or those of a single event."""


@dataclass(frozen=True)
class Quantity:
    """A number that may be told.

    Attributes:
        name: as in the blocks of `base.known_explosion`, with the kind where two share a name.
        centre: a typical value, at which the input is 0.
        scale: by how much the coordinate changes where the input changes by 1.
        log: whether the coordinate is the logarithm of the value; otherwise it is the value.
        floor: smallest value that is told apart, for logarithms.
        rough: smallest and largest uncertainty in trainings, in units of `widths` of `Told`.
    """

    name: str
    centre: float
    scale: float
    log: bool = True
    floor: float = 1e-30
    rough: tuple[float, float] = (0.05, 1.0)

    def coordinate(self, value: float) -> float:
        """The input for a value, without its flag."""
        if self.log:
            return (math.log(max(value, self.floor)) - math.log(self.centre)) / self.scale
        return (value - self.centre) / self.scale

    @property
    def step(self) -> float:
        """By how much the coordinate changes where the value changes by one of its `widths`."""
        return 1.0 / self.scale if self.log else 1.0


QUANTITIES: Final = (
    Quantity("photon_ev", 1500.0, 1.0, rough=(0.003, 0.05)),
    Quantity("fluence_um2", 2.75e12, 2.0),
    Quantity("duration_fs", 15.0, 1.0),
    Quantity("transfer_time_fs", 1.0, 1.0, floor=0.05),
    Quantity("shake_off", 0.0, 0.1, log=False),
    Quantity("double_auger", 0.0, 0.1, log=False),
    Quantity("laser_duration_fs", 35.0, 1.0),
    Quantity("tau_fs", 45.0, 1.0),
    Quantity("hydrogen_window", 1.0, 0.5),
    Quantity("hydrogen_onset", 0.0, 0.2, log=False),
)
"""Hydrogen: window and onset of its rise over the window of the other atoms."""
NAMES: Final = tuple(one.name for one in QUANTITIES)
CHOICES: Final = {"transfer": 3, "recapture": 2, "focus": 2}
"""Switches of the Monte-Carlo model and the number of their positions: rules of electron transfer
(neutral, low, full), recapture (no, yes), fluence (on the axis, averaged over the focus)."""
PHOTONS: Final = 2
"""Per atom: ln of the photons that it absorbs, as a neutral atom, in all shells and in the K
shell."""
COLUMNS: Final = len(KINDS) + 3 * len(QUANTITIES) + sum(CHOICES.values()) + len(DATA_KINDS) + 2 + 2
"""Length of the input that is common to all atoms of a molecule."""
ATOM_COLUMNS: Final = PHOTONS + 1 + 2
"""Length of the input of each atom."""
CLOSED: Final = -12.0
"""ln of the photons of a shell that cannot absorb, and the smallest that is told apart."""


@dataclass(frozen=True)
class Told:
    """What is told of B entries of N atoms. Tensors on one device.

    Attributes:
        kind: (B) int64 place in `KINDS`, -1 where it is not known.
        values: (B, Q) values of `QUANTITIES` as their coordinates, see `Quantity.coordinate`.
        known: (B, Q) bool, which of them are told.
        widths: (B, Q) declared standard deviations: of ln(value), or of the value over its scale
            where it has no logarithm; 0 for what is exact.
        choices: (B, 3) int64 positions of `CHOICES`, -1 where they are not known.
        data: (B) int64 place in `DATA_KINDS`, -1 where it is not known.
        count: (B) number of events, 0 where it is not known.
        errors: (B, N) standard error of a momentum component of each atom, a.u.; negative where it
            is not known, 0 for exact momenta.
        photons: (B, N, PHOTONS) ln of the photons absorbed at the fluence that is told; NaN where
            fluence or photon energy are not known.
    """

    kind: Tensor
    values: Tensor
    known: Tensor
    widths: Tensor
    choices: Tensor
    data: Tensor
    count: Tensor
    errors: Tensor
    photons: Tensor

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.kind)

    @classmethod
    def nothing(cls, count: int, atoms: int, device: torch.device | str = "cpu") -> Told:
        """Nothing is told."""
        q, c = len(QUANTITIES), len(CHOICES)
        return cls(
            kind=torch.full((count,), -1, device=device),
            values=torch.zeros(count, q, device=device),
            known=torch.zeros(count, q, dtype=torch.bool, device=device),
            widths=torch.zeros(count, q, device=device),
            choices=torch.full((count, c), -1, device=device),
            data=torch.full((count,), -1, device=device),
            count=torch.zeros(count, device=device),
            errors=torch.full((count, atoms), -1.0, device=device),
            photons=torch.full((count, atoms, PHOTONS), torch.nan, device=device),
        )

    def inputs(self, momenta: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of the network: (B, COLUMNS), and (B, N, ATOM_COLUMNS) of each atom.

        Args:
            momenta: (B, N, 3) a.u., 0 for padding; errors are told relative to their rms.
        """
        known = self.known.to(momenta.dtype)
        rms = momenta.square().sum((1, 2)).clamp_min(1e-12)
        present = (momenta != 0).any(2)
        rms = (rms / (3.0 * present.sum(1).clamp_min(1))).sqrt()
        stated = self.errors >= 0
        relative = ((self.errors.clamp_min(0) / rms[:, None]).clamp_min(1e-4).log() + 4.0) / 2.0
        relative = torch.where(stated, relative, 0.0)
        common = (relative * present).sum(1) / present.sum(1).clamp_min(1)
        counted = self.count > 0
        events = torch.where(counted, (self.count.clamp_min(1) / 300.0).log() / 2.0, 0.0)
        whole = [
            _one_hot(self.kind, len(KINDS)),
            known,
            known * self.values,
            known * self.widths,
            *(
                _one_hot(self.choices[:, place], positions)
                for place, positions in enumerate(CHOICES.values())
            ),
            _one_hot(self.data, len(DATA_KINDS)),
            torch.stack((counted.float(), events, stated.any(1).float(), common), dim=1),
        ]
        told = ~self.photons.isnan()
        photons = torch.where(told, self.photons, 0.0).clamp_min(CLOSED) / 3.0
        atoms = torch.cat(
            (
                photons,
                told[..., :1].float(),
                stated[..., None].float(),
                relative[..., None],
            ),
            dim=2,
        )
        return (
            torch.cat([one.to(momenta.dtype) for one in whole], dim=1),
            atoms.to(momenta.dtype),
        )

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Told:
        """The same with every tensor changed."""
        return Told(**{field.name: change(getattr(self, field.name)) for field in fields(self)})

    def to(self, device: torch.device | str) -> Told:
        """The same on another device."""
        return self.mapped(lambda value: value.to(device))

    def taken(self, rows: slice | Tensor) -> Told:
        """What is told of these entries."""
        return self.mapped(lambda value: value[rows])

    def repeated(self, times: int) -> Told:
        """Every entry several times, one after the other."""
        return self.mapped(lambda value: value.repeat_interleave(times, 0))

    def reordered(self, place: Tensor) -> Told:
        """The atoms of each entry in another order, (B, N) indices."""
        wide = place[..., None].expand(-1, -1, PHOTONS)
        return replace(
            self, errors=self.errors.gather(1, place), photons=self.photons.gather(1, wide)
        )

    def cut(self, atoms: int) -> Told:
        """The first atoms of each entry."""
        return replace(self, errors=self.errors[:, :atoms], photons=self.photons[:, :atoms])

    def padded(self, atoms: int) -> Told:
        """With room for this many atoms."""
        missing = atoms - self.errors.shape[1]
        pad = torch.nn.functional.pad
        return replace(
            self,
            errors=pad(self.errors, (0, missing), value=-1.0),
            photons=pad(self.photons, (0, 0, 0, missing), value=torch.nan),
        )

    def copy_(self, other: Told) -> None:
        """Overwrite the values in place."""
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name))


def told_together(parts: Sequence[Told]) -> Told:
    """All entries of several parts, in their order; they have the same number of atoms."""
    return Told(
        **{
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in fields(Told)
        }
    )


def _one_hot(place: Tensor, positions: int) -> Tensor:
    """(B, positions), zeros where the place is -1."""
    return (place[:, None] == torch.arange(positions, device=place.device)).float()
