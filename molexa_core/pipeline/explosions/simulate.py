"""Simulate: the Coulomb explosion of a known geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from molexa_core.base.errors import UsageError, about_file, listing
from molexa_core.base.fields import EXPLOSION, ION, LABEL, MOMENTUM, WARNINGS
from molexa_core.base.forward_model import TAU_FS, ChargeBuildUp
from molexa_core.base.known_explosion import block_of, simulated
from molexa_core.base.matter.ions import Ion, isotopes_of, parse_ion, parse_ions
from molexa_core.base.matter.isotopes import Masses, nuclide
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.shown import Shown
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry, ion_labels
from molexa_core.base.units import ATOMIC_TIME_FS, HARTREE_EV
from molexa_core.io.results.channel_csv import warnings_of, write_channel_csv
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.coulomb.batches import (
    explode_many,
    path_of,
    require_apart,
    require_explosive,
)
from molexa_core.physics.coulomb.build_up import build_up, rises_of_atoms
from molexa_core.physics.coulomb.explosion import accuracy_of
from molexa_core.pipeline.given.given_structure import Structure, structure_of
from molexa_core.pipeline.output_guard import require_outputs

Model = Literal["instant", "classical"]
FRAMES: Final = 101
UNTIL_FS: Final = 100.0
ACCURACY: Final = "fine"


@dataclass(frozen=True, repr=False)
class Explosion(Shown):
    """The result of one simulated explosion.

    Attributes:
        table: one row per ion as in channel.csv: ion, momenta in a.u., label; its
            `attrs["warnings"]` holds warnings on the geometry.
        ions: the ion of each atom.
        momentum: (atoms, 3) a.u.
        energy_ev: (atoms) kinetic energy of each ion.
        ker_ev: kinetic energy release.
        coulomb_ev: Coulomb energy of the final charges in the initial geometry: the kinetic energy
            release in the model `instant`.
        trajectory: geometries at `times_fs`.
        times_fs: the requested times.
    """

    table: pd.DataFrame
    ions: tuple[Ion, ...]
    momentum: FloatArray
    energy_ev: FloatArray
    ker_ev: float
    coulomb_ev: float
    trajectory: tuple[Geometry, ...] = ()
    times_fs: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        rows = self.table.assign(energy_ev=self.energy_ev)
        return {
            "ions": rows.to_dict(orient="records"),
            "ker_ev": self.ker_ev,
            "coulomb_ev": self.coulomb_ev,
            "momentum_unit": "a.u.",
            WARNINGS: warnings_of(self.table),
        }


def simulate(
    structure: Structure,
    ions: Sequence[Ion | str] | str | None = None,
    *,
    model: Model = "classical",
    tau_fs: float = TAU_FS,
    rises: ChargeBuildUp | None = None,
    masses: Masses = "isotope",
    accuracy: str = ACCURACY,
    times_fs: Sequence[float] = (),
    out: Path | str | None = None,
    trajectory: Path | str | None = None,
    progress: Progress = SILENT,
) -> Explosion:
    """Simulate the explosion of a geometry at rest; returns asymptotic momenta.

    Args:
        structure: positions in bohr; or a reconstruction, a molecule, an XYZ file (its first
            structure), or the name of a shipped molecule.
        ions: the ion that each atom becomes, in the order of the atoms, also as `O+,H+,H+`; from
            the charges of the geometry if not given.
        model: `instant`, or `classical`: the charges rise as (1 + erf(6.3 (t/tau - 1/2))) / 2.
        tau_fs: window of the rise.
        rises: for `classical`: windows and onsets of hydrogen and the other atoms, in place of
            `tau_fs`.
        masses: `isotope` (the most abundant, which a spectrometer detects) or `average` (as in
            published data sets); the average mass appears in the names of the ions, as `Cl+@35.45`.
        accuracy: `draft`, `fast` or `fine`.
        times_fs: times at which the geometry is stored; those of `movie_times` if not given and a
            movie is written.
        out: file for the momenta to write, in the format of channel.csv.
        trajectory: file for the movie to write, in XYZ format.
        progress: receives notices on the choices made.

    Returns:
        Momenta in the frame of the geometry, energies, and the geometries at `times_fs`.

    Raises:
        InputFileError: no such file or molecule, or two atoms of it are in one place.
        UsageError: ions that do not fit the atoms, fewer than two ions, overlapping atoms, or an
            option out of range.
        OutputError: a result cannot be written.

    Example:
        >>> from molexa_core.physics.molecules.library import molecule
        >>> boom = simulate(molecule("nitrogen"), ["N+", "N+"], model="instant")
        >>> abs(boom.ker_ev / boom.coulomb_ev - 1) < 1e-6
        True
    """
    geometry, inputs = geometry_to_explode(structure, progress)
    require_outputs((out, FileKind.MOMENTA), (trajectory, FileKind.GEOMETRY), inputs=inputs)
    if trajectory is not None and not len(times_fs):
        times_fs = movie_times()
    wanted = parse_ions(ions) if isinstance(ions, str) else ions
    chosen = tuple(ion.with_masses(masses) for ion in ions_of_atoms(geometry, wanted))
    cut, rise = accuracy_of(accuracy), build_up(model, tau_fs)
    if rises is not None:
        if model != "classical":
            raise UsageError(
                f"rises of the charges with the model {model}", do="Choose the model classical."
            )
        rise = rises_of_atoms(rises, geometry.symbols)
    charge = np.array([float(ion.charge) for ion in chosen])
    mass = np.array([ion.mass for ion in chosen])
    x = geometry.positions
    require_explosive(geometry.symbols, x, charge.tolist(), where=geometry.comment or None)
    p = explode_many(x[None], charge, mass, build_up=rise, accuracy=cut)[0]
    energy = np.sum(p**2, axis=1) / (2 * mass) * HARTREE_EV
    frames: tuple[Geometry, ...] = ()
    if len(times_fs):
        times = np.asarray(times_fs, dtype=np.float64)
        path = path_of(x, charge, mass, times / ATOMIC_TIME_FS, build_up=rise, accuracy=cut)
        charges = tuple(ion.charge for ion in chosen)
        frames = tuple(
            Geometry(
                geometry.symbols,
                at,
                charges=charges,
                comment=f"{time:g} fs",
                isotopes=isotopes_of(chosen),
            )
            for time, at in zip(times, path, strict=True)
        )
    columns: dict[str, Any] = {ION: [str(ion) for ion in chosen]}
    columns |= {name: p[:, axis] for axis, name in enumerate(MOMENTUM)}
    table = pd.DataFrame(columns | {LABEL: ion_labels(chosen)})
    table.attrs[WARNINGS] = list(geometry.warnings)
    told = ChargeBuildUp(tau_fs=tau_fs) if rises is None else rises
    table.attrs[EXPLOSION] = block_of(simulated(model, rises=told))
    result = Explosion(
        table=table,
        ions=chosen,
        momentum=p,
        energy_ev=energy,
        ker_ev=float(energy.sum()),
        coulomb_ev=_coulomb(x, charge) * HARTREE_EV,
        trajectory=frames,
        times_fs=tuple(float(time) for time in times_fs),
    )
    if out is None and trajectory is None:
        return result
    settings: dict[str, Any] = {
        "geometry": str(structure) if isinstance(structure, Path | str) else geometry.comment,
        "ions": [str(ion) for ion in chosen],
        "model": model,
        "tau_fs": tau_fs if model == "classical" else None,
        "masses": masses,
        "accuracy": accuracy,
        **({} if rises is None else asdict(rises)),
        EXPLOSION: table.attrs[EXPLOSION],
    }
    record = Provenance.of(inputs=inputs, settings=settings)
    if out is not None:
        write_channel_csv(out, table, record)
    if trajectory is not None:
        write_xyz(trajectory, frames, record)
    return result


def movie_times(frames: int = FRAMES, until_fs: float = UNTIL_FS) -> list[float]:
    """Times of the frames of a movie of an explosion, from the start of the charge build-up, fs.

    Raises:
        UsageError: fewer than two frames, or no time.
    """
    if frames < 2 or not 0 < until_fs < np.inf:
        raise UsageError(
            f"a movie of {frames} frames over {until_fs} fs",
            do="Give at least 2 frames and a time above 0.",
        )
    times: list[float] = np.linspace(0.0, until_fs, frames).tolist()
    return times


def geometry_to_explode(
    source: Structure, progress: Progress = SILENT
) -> tuple[Geometry, tuple[Path, ...]]:
    """The geometry of what is to explode, and the files that were read and checked.

    Raises:
        InputFileError: the name is neither a file nor a molecule, or two atoms are in one place.
    """
    geometry, files = structure_of(source, progress)
    if not isinstance(source, Path | str):
        return geometry, files
    with about_file(source):
        require_apart(geometry.symbols, geometry.positions, where=None)
    return geometry, files


def ions_of_atoms(
    geometry: Geometry, ions: Sequence[Ion | str] | None = None, *, exploded: bool = False
) -> tuple[Ion, ...]:
    """The ion of each atom, from the charges of the geometry if not given.

    An ion may name an isotope that the geometry does not specify.

    Args:
        geometry: the geometry before the explosion.
        ions: the ions in the order of its atoms.
        exploded: whether the explosion has been computed, so that all isotopes are fixed.

    Raises:
        UsageError: the ions do not fit the atoms, or the charges are unknown.
    """
    if ions is None:
        if geometry.charges is None:
            raise UsageError(
                "the charges are not given",
                do="Name an ion for every atom, such as `charges='O+,H+,H+'`.",
            )
        if min(geometry.charges) < 1:
            raise UsageError(
                "an atom of the geometry has no positive charge", do="Name the ions instead."
            )
        ions = [
            f"{name}{charge}+"
            for name, charge in zip(geometry.names, geometry.charges, strict=True)
        ]
    chosen = tuple(parse_ion(ion) if isinstance(ion, str) else ion for ion in ions)
    order = f"The atoms are {listing(geometry.names, limit=30)}; name an ion for each, in order."
    order += _in_order(geometry, chosen)
    if len(chosen) != len(geometry):
        raise UsageError(f"{len(chosen)} ions for {len(geometry)} atoms", do=order)
    for number, (ion, name) in enumerate(zip(chosen, geometry.names, strict=True), start=1):
        atom = nuclide(name)
        fits = ion.is_atomic and atom.may_be(ion.nuclide)
        if fits and exploded:
            fits = atom.mass_da == ion.nuclide.mass_da and ion.mass_u is None
        if not fits:
            same = ion.is_atomic and ion.element == atom.element
            hint = f"Write {name}{ion.charge if ion.charge > 1 else ''}+." if same else order
            raise UsageError(f"ion {number} is {ion}, but atom {number} is {name}", do=hint)
    return chosen


def _in_order(geometry: Geometry, ions: Sequence[Ion]) -> str:
    """The ions in the order of the atoms if they fit except for the order; otherwise empty."""
    left = [(ion.element.symbol if ion.is_atomic else "", ion) for ion in ions]
    if sorted(symbol for symbol, _ in left) != sorted(geometry.symbols):
        return ""
    sorted_ions = []
    for symbol in geometry.symbols:
        place = next(place for place, (found, _) in enumerate(left) if found == symbol)
        sorted_ions.append(str(left.pop(place)[1]))
    if sorted_ions == [str(ion) for ion in ions]:
        return ""
    return f" In this order yours are {','.join(sorted_ions)}."


def _coulomb(x: FloatArray, charge: FloatArray) -> float:
    i, j = np.triu_indices(len(x), 1)
    return float(np.sum(charge[i] * charge[j] / np.linalg.norm(x[i] - x[j], axis=1)))
