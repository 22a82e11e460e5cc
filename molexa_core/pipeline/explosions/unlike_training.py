"""Is an input like the explosions that weights learned, by the test in their card?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from molexa_core.base.known_explosion import Kind, XrayExplosion
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.network.inference.conformity import CONFORMITY, SUSPECT, Conformity, features
from molexa_core.physics.surrogate.absorption import SYMBOLS
from molexa_core.pipeline.explosions.told_inputs import absorption

MOST_NAMED: Final = 3
_BY_NUMBER: Final = sorted((ELEMENTS[symbol].number, n) for n, symbol in enumerate(SYMBOLS))
_NUMBERS: Final = np.array([number for number, _ in _BY_NUMBER])
_ORDER: Final = torch.tensor([place for _, place in _BY_NUMBER])


def photons_absorbed(numbers: IntArray, pulse: FloatArray) -> FloatArray:
    """(B) ln of the photons that neutral molecules absorb on the axis; not numbers if not known.

    Args:
        numbers: (B, N) atomic numbers.
        pulse: (B, 3) ln of photon energy, fluence and duration.
    """
    known = np.isfinite(pulse[:, :2]).all(axis=1) & np.isin(numbers, _NUMBERS).all(axis=1)
    found = np.full(len(numbers), np.nan)
    if known.any():
        places = torch.from_numpy(np.searchsorted(_NUMBERS, numbers[known]))
        energy, fluence = torch.from_numpy(pulse[known, :2].T).float()
        shells = absorption(torch.device("cpu")).log_photons(_ORDER[places], energy, fluence)
        found[known] = shells.double().logsumexp(dim=(1, 2)).numpy()
    return found


def pulse_of(told: Kind | None) -> FloatArray:
    """(3) ln of photon energy, fluence and duration that are told; not numbers where not."""
    if not isinstance(told, XrayExplosion):
        return np.full(3, np.nan)
    values = (told.photon_ev, told.on_axis, told.duration_fs)
    return np.array([math.nan if one is None else math.log(one.value) for one in values])


def unlike_training(
    data: Mapping[str, Any],
    ions: Sequence[Ion],
    momenta: FloatArray,
    told: Kind | None,
) -> str | None:
    """A sentence if an input is unlike the training; None if it is not, or cannot be told.

    Args:
        data: `data` of the card of the weights.
        ions: (N).
        momenta: (N, 3) a.u. in the centre-of-mass frame.
        told: what is told of the explosion.

    Raises:
        WeightsError: the test in the card is damaged.
    """
    stored = data.get(CONFORMITY)
    if not stored:
        return None
    test = Conformity.from_dict(stored)
    numbers = np.array([[ion.element.number for ion in ions]])
    pulse = pulse_of(told)[None]
    photons = photons_absorbed(numbers, pulse)
    values = features(
        numbers,
        np.array([[float(ion.charge) for ion in ions]]),
        np.array([[ion.mass for ion in ions]]),
        momenta[None],
        pulse,
        photons,
    )
    p_value = float(test.p_values(values, len(ions))[0])
    if p_value >= SUSPECT:
        return None
    named = test.strangest(values[0])[:MOST_NAMED]
    most = f"; most of all: {', '.join(named)}" if named else ""
    return (
        f"fewer than {100 * max(p_value, 1e-3):.2g} % of the explosions of the training are as "
        f"unusual as this one{most}"
    )
