"""Entries of a training that is told the explosion: momenta, structures, and all there is to tell.

Everything is known here; `partly_told` draws what the network gets to know of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import FloatArray
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import (
    DATA_KINDS,
    KINDS,
    QUANTITIES,
    Told,
)
from molexa_core.pipeline.explosions.told_inputs import AT, with_photons

NOTHING: Final = 0.2
"""Share of the entries of which nothing is told; half of them not even the kind of explosion."""
EVERYTHING: Final = 0.2
PULSE_ALONE: Final = 0.2
"""Shares of which everything is told, and of which all but the switches of the physics is. Of the
rest each group of numbers is told with the probability 1/2."""
ROUGH: Final = (0.25, 0.5)
"""Shares in which some numbers are uncertain: of the entries of `EVERYTHING` and `PULSE_ALONE`, and
of the rest."""
OF_PHYSICS: Final = 0.8
"""Probability of each of the switches, where some of them are told."""
COUNTED: Final = 0.9
"""Probability that the number of events, and that the errors of the momenta are told."""
EVENT_ERRORS: Final = (0.002, 0.05)
"""Range of the error of a momentum component of single events, over the rms momentum component."""
_PULSE: Final = [AT[name] for name in ("photon_ev", "fluence_um2", "duration_fs")]
_PHYSICS: Final = [AT[name] for name in ("transfer_time_fs", "shake_off", "double_auger")]
_OTHERS: Final = [
    AT[name] for name in ("laser_duration_fs", "tau_fs", "hydrogen_window", "hydrogen_onset")
]


@dataclass(frozen=True)
class StreamEntries:
    """M entries of up to N atoms; atomic units, zeros for padding.

    Attributes:
        numbers: [M, N] int8 atomic numbers.
        charges: [M, N] int8.
        positions: [M, N, 3] bohr, centred, in the frame of the momenta.
        momenta: [M, N, 3].
        errors: [M, N] standard error of a momentum component, rms over the three.
        count: [M] float, events behind the means.
        kind: [M] int8 place in `KINDS`.
        values: [M, Q] coordinates of `QUANTITIES`.
        applies: [M, Q] bool, which of them there are for this kind.
        choices: [M, 3] int8 as in `Told.choices`.
        data: [M] int8 place in `DATA_KINDS`.
        pair: [M] int64 number of the pair of geometry and explosion.
        molecule: [M] int64 number of the molecule in the library, -1 for clusters.
    """

    numbers: Tensor
    charges: Tensor
    positions: Tensor
    momenta: Tensor
    errors: Tensor
    count: Tensor
    kind: Tensor
    values: Tensor
    applies: Tensor
    choices: Tensor
    data: Tensor
    pair: Tensor
    molecule: Tensor

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.numbers)

    @classmethod
    def room(cls, count: int, atoms: int, device: torch.device | str) -> StreamEntries:
        """Room for so many entries, all zero."""
        q = len(QUANTITIES)
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "numbers": ((atoms,), torch.int8),
            "charges": ((atoms,), torch.int8),
            "positions": ((atoms, 3), torch.float32),
            "momenta": ((atoms, 3), torch.float32),
            "errors": ((atoms,), torch.float32),
            "count": ((), torch.float32),
            "kind": ((), torch.int8),
            "values": ((q,), torch.float32),
            "applies": ((q,), torch.bool),
            "choices": ((3,), torch.int8),
            "data": ((), torch.int8),
            "pair": ((), torch.int64),
            "molecule": ((), torch.int64),
        }
        return cls(
            **{
                name: torch.zeros((count, *shape), dtype=kind, device=device)
                for name, (shape, kind) in shapes.items()
            }
        )

    def taken(self, rows: slice | Tensor) -> StreamEntries:
        """These entries."""
        return StreamEntries(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def to(self, device: torch.device | str) -> StreamEntries:
        """The same on another device."""
        return StreamEntries(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def padded(self, atoms: int) -> StreamEntries:
        """With room for this many atoms."""
        changed = {}
        for name in ("numbers", "charges", "positions", "momenta", "errors"):
            value = getattr(self, name)
            missing = atoms - value.shape[1]
            sides = (0, missing) if value.ndim == 2 else (0, 0, 0, missing)
            changed[name] = torch.nn.functional.pad(value, sides)
        return replace(self, **changed)


def together(parts: Sequence[StreamEntries]) -> StreamEntries:
    """All entries of several parts of one width."""
    return StreamEntries(
        **{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(parts[0])}
    )


def values_of(count: int, told: dict[str, FloatArray]) -> tuple[Tensor, Tensor]:
    """Coordinates [count, Q] of values, and which there are, for `StreamEntries`.

    Args:
        count: number of entries.
        told: (count) values by the names of `QUANTITIES`.
    """
    values, applies = np.zeros((count, len(QUANTITIES))), np.zeros((count, len(QUANTITIES)), bool)
    for name, given in told.items():
        one = QUANTITIES[AT[name]]
        if one.log:
            known = np.log(np.maximum(given, one.floor))
            values[:, AT[name]] = (known - math.log(one.centre)) / one.scale
        else:
            values[:, AT[name]] = (given - one.centre) / one.scale
        applies[:, AT[name]] = True
    return torch.from_numpy(values).float(), torch.from_numpy(applies)


def batch_of_entries(entries: StreamEntries, told: Told) -> Batch:
    """Entries as the input of the network.

    Args:
        entries: on the device of the training.
        told: what is told of them.
    """
    numbers = entries.numbers.long()
    masses = _masses(numbers.device)[numbers]
    return Batch(
        numbers=numbers,
        charges=entries.charges.float(),
        masses=masses,
        momenta=entries.momenta,
        mask=numbers > 0,
        positions=entries.positions,
        told=told,
    )


_KEPT: dict[torch.device, Tensor] = {}


def _masses(device: torch.device) -> Tensor:
    """Masses of the most abundant isotopes by atomic number; 1 for padding."""
    if device not in _KEPT:
        masses = torch.ones(max(BY_NUMBER) + 1)
        for number, one in BY_NUMBER.items():
            masses[number] = one.isotope_mass
        _KEPT[device] = masses.to(device)
    return _KEPT[device]


def everything_told(entries: StreamEntries) -> Told:
    """All that there is to tell, exactly."""
    return Told(
        kind=entries.kind.long(),
        values=entries.values,
        known=entries.applies,
        widths=torch.zeros_like(entries.values),
        choices=entries.choices.long(),
        data=entries.data.long(),
        count=entries.count,
        errors=torch.where(entries.numbers > 0, entries.errors, torch.zeros_like(entries.errors)),
        photons=torch.zeros(*entries.numbers.shape, 2, device=entries.numbers.device),
    )


def partly_told(entries: StreamEntries, generator: torch.Generator) -> Told:
    """What a network is told of each entry, drawn at random; see `partly`."""
    return partly(everything_told(entries), entries.numbers.long(), generator)


def partly(whole: Told, numbers: Tensor, generator: torch.Generator) -> Told:
    """A part of what could be told, drawn at random; see the shares above.

    An uncertain number is told with an error that is drawn from its declared uncertainty.

    Args:
        whole: all that could be told, exactly.
        numbers: [M, N] int64 atomic numbers, 0 for padding.
        generator: of the draws.
    """
    count, device = len(whole), numbers.device

    def chance(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=generator)

    mode = chance()
    nothing = mode < NOTHING
    some = mode >= NOTHING + EVERYTHING + PULSE_ALONE
    without_physics = (mode >= NOTHING + EVERYTHING) & ~some
    groups = chance(len(_PULSE) + 1 + len(_OTHERS)) < 0.5
    known = whole.known.clone()
    for place, column in enumerate([*_PULSE, *_OTHERS]):
        known[:, column] &= ~nothing & (groups[:, place] | ~some)
    physics = ~nothing & ~without_physics & (groups[:, -1] | ~some)
    switches = chance(len(_PHYSICS) + 3) < OF_PHYSICS
    for place, column in enumerate(_PHYSICS):
        known[:, column] &= physics & (switches[:, place] | ~some)
    named = physics[:, None] & (switches[:, len(_PHYSICS) :] | ~some[:, None])
    kind_told = torch.where(nothing, chance() < 0.5, ~some | (chance() < 0.7) | known.any(1))
    rough = ~nothing & (chance() < torch.where(some, ROUGH[1], ROUGH[0]))
    values, widths = _uncertain(whole.values, known, rough, generator)
    counted, measured, stated = (chance() < COUNTED for _ in range(3))
    told = replace(
        whole,
        kind=torch.where(kind_told, whole.kind, -1),
        values=values,
        known=known,
        widths=widths,
        choices=torch.where(named, whole.choices, -1),
        data=torch.where(stated, whole.data, -1),
        count=torch.where(counted, whole.count, 0.0),
        errors=torch.where(measured[:, None], whole.errors, -1.0),
    )
    return with_photons(told, numbers)


def _uncertain(
    values: Tensor, known: Tensor, rough: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Values with errors that are drawn from declared uncertainties, and these."""
    shape, device = values.shape, values.device
    low = torch.tensor([one.rough[0] for one in QUANTITIES], device=device).log()
    high = torch.tensor([one.rough[1] for one in QUANTITIES], device=device).log()
    step = torch.tensor([one.step for one in QUANTITIES], device=device)
    drawn = torch.rand(shape, device=device, generator=generator)
    width = (low + (high - low) * drawn).exp()
    which = torch.rand(shape, device=device, generator=generator) < 0.5
    width = torch.where(rough[:, None] & which & known, width, 0.0)
    error = torch.randn(shape, device=device, generator=generator)
    return values + width * step * error, width


def with_measurement(entries: StreamEntries, generator: torch.Generator) -> StreamEntries:
    """Single events with errors of their measurement: one resolution for all ions of an event.

    Means are unchanged, their statistical errors are in them.
    """
    device = entries.numbers.device
    event = entries.data == DATA_KINDS.index("event")
    present = (entries.numbers > 0).float()
    rms = (entries.momenta.square().sum((1, 2)) / (3.0 * present.sum(1))).sqrt()
    low, high = (math.log(one) for one in EVENT_ERRORS)
    share = torch.rand(len(entries), device=device, generator=generator) * (high - low) + low
    width = torch.where(event, rms * share.exp(), 0.0)
    noise = torch.randn(entries.momenta.shape, device=device, generator=generator)
    noise = noise * width[:, None, None] * present[..., None]
    # The sum of the momenta is measured, too: it is set to zero before anything else is done.
    noise = noise - noise.sum(1, keepdim=True) * (present / present.sum(1, keepdim=True))[..., None]
    return replace(
        entries,
        momenta=entries.momenta + noise,
        errors=torch.where(event[:, None], width[:, None] * present, entries.errors),
    )


def mirrored(entries: StreamEntries, generator: torch.Generator) -> StreamEntries:
    """Every second entry, on average, as its mirror image."""
    device = entries.numbers.device
    sign = torch.ones(len(entries), 1, 3, device=device)
    sign[:, 0, 2] = 1.0 - 2.0 * (torch.rand(len(entries), device=device, generator=generator) < 0.5)
    return replace(entries, momenta=entries.momenta * sign, positions=entries.positions * sign)


XRAY: Final = KINDS.index("xray")
