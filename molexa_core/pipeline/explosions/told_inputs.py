"""From what is told of an explosion to the inputs of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from molexa_core.base.errors import InputFileError
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    Kind,
    LaserExplosion,
    XrayExplosion,
)
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.conditions import (
    CHOICES,
    CLOSED,
    DATA_KINDS,
    KINDS,
    NAMES,
    PHOTONS,
    QUANTITIES,
    DataKind,
    Told,
)
from molexa_core.physics.surrogate.absorption import SYMBOLS, AbsorptionTable, absorption_table
from molexa_core.physics.surrogate.entries import FOCI, RULES
from molexa_core.physics.surrogate.surrogate_card import load_surrogate

AT: Final = {name: place for place, name in enumerate(NAMES)}
"""Place of each quantity by its name."""
MOST_EVENTS: Final = 1000.0
"""Events of means in an X-ray pulse of which a network is told at most.

Training has 2048 explosions of a pair of two atoms and up to 8192 of larger molecules, in all
charges together, so that more events of one combination are rare. Told more, samples were too
sure (docs/lab/told.md, many events).
"""


def told_of(
    told: Sequence[Kind | None],
    numbers: Tensor,
    *,
    data: DataKind | None = None,
    count: Tensor | None = None,
    errors: Tensor | None = None,
) -> Told:
    """What is told of B entries, as the input of a network.

    Args:
        told: (B) what is known of each explosion; None where nothing is.
        numbers: (B, N) atomic numbers, 0 for padding.
        data: what the momenta are; None where that is not known.
        count: (B) number of events behind the means; above `MOST_EVENTS` in an X-ray pulse, fewer
            are told.
        errors: (B, N) standard error of a momentum component of each atom, a.u.
    """
    found = Told.nothing(len(told), numbers.shape[1])
    for row, one in enumerate(told):
        if one is not None:
            _tell(found, row, one)
    if data is not None:
        found = replace(found, data=torch.full_like(found.data, DATA_KINDS.index(data)))
    if count is not None:
        found = replace(found, count=count.to(found.count))
    if errors is not None:
        found = replace(found, errors=errors.to(found.errors))
    found = _as_learned(found)
    return with_photons(found.to(numbers.device), numbers)


def _as_learned(told: Told) -> Told:
    """Means of more events than the training had, told as if they were of `MOST_EVENTS`.

    Errors are then those that so many events would have.
    """
    xray = told.kind == KINDS.index("xray")
    over = torch.where(xray, (told.count / MOST_EVENTS).clamp_min(1.0), 1.0)
    errors = torch.where(told.errors >= 0, told.errors * over.sqrt()[:, None], told.errors)
    return replace(told, count=told.count / over, errors=errors)


def _tell(found: Told, row: int, told: Kind) -> None:
    """Write what is told of one explosion into a row."""
    found.kind[row] = KINDS.index(told.kind)

    def number(name: str, value: Uncertain | None, over: float = 1.0) -> None:
        if value is None:
            return
        quantity = QUANTITIES[AT[name]]
        place = (row, AT[name])
        found.known[place] = True
        found.values[place] = quantity.coordinate(value.value / over)
        width = value.relative if quantity.log else value.uncertainty / over / quantity.scale
        found.widths[place] = width

    if isinstance(told, XrayExplosion):
        number("photon_ev", told.photon_ev)
        number("fluence_um2", told.on_axis)
        number("duration_fs", told.duration_fs)
        number("transfer_time_fs", told.transfer_time_fs)
        number("shake_off", told.shake_off)
        number("double_auger", told.double_auger)
        switches = {
            "transfer": None if told.transfer is None else RULES.index(told.transfer),
            "recapture": None if told.recapture is None else int(told.recapture),
            "focus": None if told.focus is None else FOCI.index(told.focus),
        }
        for place, name in enumerate(CHOICES):
            if (position := switches[name]) is not None:
                found.choices[row, place] = position
    elif isinstance(told, LaserExplosion):
        number("laser_duration_fs", told.duration_fs)
    elif isinstance(told, ClassicalExplosion):
        tau = told.window
        number("tau_fs", tau)
        number("hydrogen_window", told.hydrogen_tau_fs or Uncertain(tau.value), tau.value)
        first, then = told.onset_fs or Uncertain(0.0), told.hydrogen_onset_fs or Uncertain(0.0)
        number("hydrogen_onset", Uncertain(then.value - first.value), tau.value)
    elif isinstance(told, BuildUpExplosion) and told.tau_fs is not None:
        width = min(told.tau_relative, 3.0)
        tau = Uncertain(told.tau_fs.value, width * told.tau_fs.value)
        number("tau_fs", tau)
        number("hydrogen_window", told.hydrogen_tau_fs, tau.value)
        if told.onset_fs is not None or told.hydrogen_onset_fs is not None:
            first, then = told.onset_fs or Uncertain(0.0), told.hydrogen_onset_fs or Uncertain(0.0)
            width = math.hypot(first.uncertainty, then.uncertainty)
            number("hydrogen_onset", _difference(then.value - first.value, width), tau.value)


def _difference(value: float, width: float) -> Uncertain:
    """A difference, which may be near zero with any uncertainty."""
    return Uncertain(value, min(width, 3.0 * abs(value)) if value else 0.0)


def with_photons(told: Told, numbers: Tensor) -> Told:
    """The same with the photons that each atom absorbs, where photon energy and fluence are told.

    Args:
        told: B entries.
        numbers: (B, N) atomic numbers, 0 for padding.
    """
    photon, fluence = QUANTITIES[AT["photon_ev"]], QUANTITIES[AT["fluence_um2"]]
    known = told.known[:, AT[photon.name]] & told.known[:, AT[fluence.name]]
    log_energy = told.values[:, AT[photon.name]] * photon.scale + math.log(photon.centre)
    log_fluence = told.values[:, AT[fluence.name]] * fluence.scale + math.log(fluence.centre)
    table = absorption(numbers.device)
    places = _places(numbers.device)[numbers]
    shells = table.log_photons(places.clamp_min(0), log_energy, log_fluence)
    photons = torch.stack((shells.logsumexp(2), shells[..., 0]), dim=2).clamp_min(CLOSED)
    usable = known[:, None] & (places >= 0)
    nothing = photons.new_full((*numbers.shape, PHOTONS), torch.nan)
    return replace(told, photons=torch.where(usable[..., None], photons, nothing))


@lru_cache(maxsize=8)
def absorption(device: torch.device) -> AbsorptionTable:
    """The cross sections of the elements on a device: those of the surrogate, or computed."""
    try:
        found = load_surrogate().network.momenta.absorption
    except InputFileError:
        found = absorption_table()
    return AbsorptionTable(found.low.float().to(device), found.log_sigma.float().to(device))


@lru_cache(maxsize=8)
def _places(device: torch.device) -> Tensor:
    """Place of each atomic number in `SYMBOLS`; -1 for others and for padding."""
    found = torch.full((130,), -1)
    for place, symbol in enumerate(SYMBOLS):
        found[ELEMENTS[symbol].number] = place
    return found.to(device)
