"""Reconstruct: read and check the measured momenta, with warnings about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import ColumnError, UsageError, listing
from molexa_core.base.fields import ION, MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.known_explosion import Kind
from molexa_core.base.matter.elements import sum_formula
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.network.inference.conformity import CONFORMITY
from molexa_core.network.inference.familiarity import objections, read_ranges
from molexa_core.network.weights import ModelCard

SUM_TOLERANCE: Final = 0.01
"""Largest sum of the momenta without a warning, as a share of the largest momentum."""
SUM_SIGMAS: Final = 3.0
"""The same in standard errors, if errors are given."""


def read_columns(table: pd.DataFrame) -> tuple[list[Ion], FloatArray, FloatArray | None]:
    """Ions, momenta (N, 3) and, if given, their standard errors (N, 3), a.u.

    Raises:
        ColumnError: a column is missing.
        UsageError: a momentum is not a number.
    """
    missing = [name for name in (ION, *MOMENTUM) if name not in table]
    if missing:
        raise ColumnError(
            f"column {listing(missing)} is missing; there are {listing(table.columns)}",
            do="A row per ion with ion, px, py, pz is needed.",
        )
    ions = [parse_ion(str(text)) for text in table[ION]]
    momenta = table[list(MOMENTUM)].to_numpy(dtype=np.float64)
    if not np.isfinite(momenta).all():
        raise UsageError("a momentum is not a number", do="Check the columns px, py, pz.")
    if not all(name in table for name in MOMENTUM_ERROR):
        return ions, momenta, None
    errors = table[list(MOMENTUM_ERROR)].to_numpy(dtype=np.float64)
    return ions, momenta, errors if np.isfinite(errors).all() else None


def require_atoms(table: pd.DataFrame, known: Geometry, path: Path | str | None) -> None:
    """Check that a known structure has the same atoms as the ions.

    Raises:
        UsageError: it has other atoms.
    """
    ions = [parse_ion(str(text)) for text in table[ION]]
    if not all(ion.is_atomic for ion in ions):
        return  # reported when the ions are passed to the network
    atoms = [ion.element.symbol for ion in ions]
    if sorted(atoms) != sorted(known.symbols):
        raise UsageError(
            f"the known structure is {sum_formula(known.symbols)}, the ions are those of "
            f"{sum_formula(atoms)}",
            where=path,
            do="Name the structure of the molecule that exploded with `truth=`.",
        )


def without_sum(
    ions: Sequence[Ion], momenta: FloatArray, errors: FloatArray | None
) -> tuple[FloatArray, list[str]]:
    """Momenta in the centre-of-mass frame, and a warning if their sum is not zero."""
    total = momenta.sum(axis=0)
    size = float(np.linalg.norm(total))
    largest = float(np.linalg.norm(momenta, axis=1).max())
    warnings = []
    allowed = SUM_TOLERANCE * largest
    compared = f"{100 * SUM_TOLERANCE:g} % of the largest momentum"
    if errors is not None:
        allowed = SUM_SIGMAS * float(np.sqrt((errors**2).sum()))
        compared = f"{SUM_SIGMAS:g} standard errors"
    # A sum below a ten-thousandth of the largest momentum is negligible, even if its error is
    # smaller.
    if size > max(allowed, 1e-4 * largest):
        x, y, z = total
        warnings.append(
            f"the momenta do not sum to zero: ({x:.3g}, {y:.3g}, {z:.3g}) a.u., more than "
            f"{compared} ({allowed:.3g} a.u.); the sum was removed in proportion to the masses"
        )
    masses = np.array([ion.mass for ion in ions])
    return momenta - np.outer(masses / masses.sum(), total), warnings


def unfamiliar(
    card: ModelCard, ions: Sequence[Ion], momenta: FloatArray, told: Kind | None = None
) -> list[str]:
    """A warning if the input differs from those of the training, according to the card.

    A card with a test whose rate of false alarms is known (`network.inference.conformity`) is asked
    by it, others by the ranges of a few quantities.
    """
    if card.data.get(CONFORMITY):
        return _unusual(card, ions, momenta, told) if momenta.any() else []
    ranges = read_ranges(card.data)
    if ranges is None:
        return high_charges(card, ions)
    if not momenta.any():
        return []
    charges = np.array([float(ion.charge) for ion in ions])
    masses = np.array([ion.mass for ion in ions])
    found = objections(ranges, charges, masses, momenta)
    if not found:
        return []
    sentence = (
        f"the input is unlike anything that {card.name} was trained on, so the structure and its "
        f"error bars may be far off: {listing(found)}"
    )
    return [sentence]


def _unusual(
    card: ModelCard, ions: Sequence[Ion], momenta: FloatArray, told: Kind | None
) -> list[str]:
    # Cross sections need torch, which cards without the test do not.
    from molexa_core.pipeline.explosions.unlike_training import unlike_training  # noqa: PLC0415

    why = unlike_training(card.data, ions, momenta, told)
    if why is None:
        return []
    sentence = (
        f"the input is unlike anything that {card.name} was trained on, so the structure and its "
        f"error bars may be far off: {why}"
    )
    return [sentence]


def high_charges(card: ModelCard, ions: Sequence[Ion]) -> list[str]:
    """A warning about charges above those of the training, for cards without ranges."""
    most = card.network.max_charge
    high = sorted({str(ion) for ion in ions if ion.charge > most})
    return [f"{listing(high)}: no charge above {most} was in the training"] if high else []
