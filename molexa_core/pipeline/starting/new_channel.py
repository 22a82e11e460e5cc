"""A channel file from the name of a molecule, a formula, a structure, or the ions themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, MolexaError, SettingsError, UsageError
from molexa_core.base.matter.elements import sum_formula
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.matter.isotopes import is_nuclide, nuclide
from molexa_core.base.settings import Channel, Setup, parse_settings
from molexa_core.base.settings.channel import MOST_IONS, counted_ions
from molexa_core.base.settings.commented import commented
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM, DALTON_ME, HARTREE_EV
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.molecules.isotopologues import formula_of
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.starting.new_file import require_new, write_new
from molexa_core.reduction.momentum import flight_window

FOLDER: Final = Path("channels")
"""Where channels are found by their names."""
_MARGIN: Final = 1.3
_ROUND: Final = 10.0
_LEAST: Final = 50.0
_NEIGHBOURS: Final = 4
_FAR: Final = 2.5
_PART: Final = re.compile(r"([A-Z][a-z]?)(\d{0,2})")


@dataclass(frozen=True)
class _Target:
    """What breaks up.

    Attributes:
        name: for the channel and its file.
        ions: blocks of the channel.
        molecule: name among the shipped molecules, if it is one.
        geometry: its structure, if one is known.
    """

    name: str
    ions: list[dict[str, Any]]
    molecule: str | None = None
    geometry: Geometry | None = None


def new_channel(
    what: str,
    *,
    ions: str | None = None,
    charge: int = 1,
    setup: Setup | None = None,
    out: Path | str | None = None,
) -> Path:
    """Write a commented channel file.

    Args:
        what: a molecule (`ocs`), a formula (`CH3OH`), an XYZ file, or ions (`O+ C+ 2 H+`).
        ions: the ions, where they are not all atoms with `charge`.
        charge: of every atom.
        setup: spectrometer, for the times of flight in the comments.
        out: the file; `channels/NAME.yaml`, where it is found by its name, if not given.

    Returns:
        The path written.

    Raises:
        InputFileError: no such molecule, formula, file or ions.
        SettingsError: ions that cannot be a channel.
        OutputError: the file exists, or cannot be written.
    """
    target = _target(what, ions, charge)
    path = require_new(FOLDER / f"{target.name}.yaml" if out is None else out)
    values, channel = _values(what, target, path.stem)
    if target.molecule is None:
        del values["molecule"]
    text = commented(
        Channel,
        values,
        head=_head(channel),
        notes={
            "ions": _ions_note(channel, setup),
            "gates.max_momentum": _largest_note(channel, target.geometry),
        },
    )
    return write_new(path, text + _frame(channel))


def described_channel(what: str, *, ions: str | None = None, charge: int = 1) -> Channel:
    """The channel that `new_channel` writes.

    Raises:
        InputFileError, SettingsError: as `new_channel`.
    """
    target = _target(what, ions, charge)
    return _values(what, target, target.name)[1]


def _values(what: str, target: _Target, name: str) -> tuple[dict[str, Any], Channel]:
    """The keys of a channel, and the channel."""
    values: dict[str, Any] = {
        "name": name,
        "description": _description(target),
        "molecule": target.molecule,
        "ions": target.ions,
        "gates": {"max_momentum": 400.0},
    }
    channel = parse_settings(Channel, values, where=what)
    values["gates"]["max_momentum"] = _largest(channel.all_ions, target.geometry)
    return values, parse_settings(Channel, values, where=what)


def _frame(channel: Channel) -> str:
    """The frame as a comment with ions of the channel."""
    names = [entry.ion for entry in channel.ions]
    if len(channel.all_ions) < 3:
        return ""
    return (
        "# The molecular frame; without it molexa align chooses (or is told):\n"
        "# frame:\n"
        f"#   reference: {names[0]}  # its momentum is the x axis\n"
        f"#   second: {names[min(1, len(names) - 1)]}  # its momentum lies in the x-y plane\n"
    )


def _target(what: str, ions: str | None, charge: int) -> _Target:
    if charge < 1:
        raise UsageError(f"a charge of {charge}", setting="charge", do="Give 1 or more.")
    known = _known(what, charge)
    if ions is None:
        return known
    given = _blocks(ions)
    return _Target(known.name, given, known.molecule, known.geometry)


def _known(what: str, charge: int) -> _Target:
    """The molecule, formula, file or ions of a text, each atom with the charge."""
    if "+" in what:
        blocks = _blocks(what)
        words = "_".join(f"{_word(b['ion'])}{b['count'] if b['count'] > 1 else ''}" for b in blocks)
        return _Target(words.lower(), blocks)
    if what.lower().endswith(".xyz"):
        geometry = read_xyz(what)[0]
        name = _file_name(Path(what).stem)
        return _Target(name, _of_atoms(geometry.names, charge), None, geometry)
    try:
        found = molecule(what)
    except InputFileError:
        atoms = _atoms_of_formula(what)
        if not atoms:
            raise
        return _Target(_file_name(what), _of_atoms(atoms, charge))
    return _Target(
        _file_name(what), _of_atoms(found.geometry.names, charge), found.name, found.geometry
    )


def _atoms_of_formula(text: str) -> list[str]:
    """The atoms of a formula such as `CH3OH` or `13CO2`; none if it is no formula."""
    parts = formula_of(text)
    if parts is None:
        found = _PART.findall(text)
        if "".join(symbol + count for symbol, count in found) != text:
            return []
        parts = tuple((symbol, int(count or 1)) for symbol, count in found)
    if any(not is_nuclide(symbol) or not 1 <= count <= MOST_IONS for symbol, count in parts):
        return []
    return [name for name, count in parts for _ in range(count)]


def _of_atoms(names: Sequence[str], charge: int) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for name in names:
        most = min(charge, nuclide(name).element.number)  # hydrogen has one electron
        ion = str(parse_ion(f"{name}{'' if most == 1 else most}+"))
        counts[ion] = counts.get(ion, 0) + 1
    heavy_first = sorted(counts, key=lambda ion: -parse_ion(ion).mass)
    return [{"ion": ion, "count": counts[ion]} for ion in heavy_first]


def _blocks(ions: str) -> list[dict[str, Any]]:
    try:
        blocks = counted_ions(ions)
    except ValueError as error:
        raise SettingsError(str(error), do="Write ions such as O+ C+ 2 H+.") from error
    if not blocks:
        raise SettingsError("no ions given", do="Write ions such as O+ C+ 2 H+.")
    for block in blocks:
        block["ion"] = str(parse_ion(block["ion"]))
    return blocks


def _word(ion: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", ion)


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "_", text.lower()).strip("._") or "channel"


def _description(target: _Target) -> str:
    ions = " ".join(
        f"{block['count']} {block['ion']}" if block["count"] > 1 else block["ion"]
        for block in target.ions
    )
    return f"{target.molecule or target.name}: {ions}"


def _head(channel: Channel) -> str:
    atoms = [
        element.symbol
        for ion in channel.all_ions
        for element, count in ion.elements
        for _ in range(count)
    ]
    charge = sum(ion.charge for ion in channel.all_ions)
    return (
        f"Channel of molexa: {sum_formula(atoms)} breaks up with a total charge of {charge}.\n"
        "Keys with a # in front have the value shown as long as the # stands there."
    )


def _largest(ions: Sequence[Ion], geometry: Geometry | None) -> float:
    """A momentum that no ion exceeds, a.u.: all its Coulomb energy, and a margin."""
    energies = _energies(ions, geometry)
    masses = np.array([ion.mass for ion in ions])
    total = masses.sum()
    reduced = masses * (total - masses) / total if len(masses) > 1 else masses
    largest = _MARGIN * math.sqrt(2.0 * float((reduced * energies).max()))
    return max(_LEAST, _ROUND * math.ceil(largest / _ROUND))


def _energies(ions: Sequence[Ion], geometry: Geometry | None) -> FloatArray:
    """(ions) Coulomb energy of each ion with all others, hartree.

    At the structure where one is known; else the nearest `_NEIGHBOURS` ions are taken at the
    length of a bond and the others at `_FAR` times that.
    """
    charges = np.array([ion.charge for ion in ions], float)
    if geometry is not None and (order := _places(ions, geometry)) is not None:
        positions = geometry.positions[order]
        distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        known: FloatArray = (charges[:, None] * charges[None] / distance).sum(axis=1)
        return known
    radii = np.array(
        [min(element.covalent_radius_angstrom for element, _ in ion.elements) for ion in ions]
    )
    bond = (radii[:, None] + radii[None]) / BOHR_ANGSTROM
    np.fill_diagonal(bond, np.inf)
    pairs = -np.sort(-(charges[:, None] * charges[None] / bond), axis=1)
    guessed: FloatArray = (
        pairs[:, :_NEIGHBOURS].sum(axis=1) + pairs[:, _NEIGHBOURS:].sum(axis=1) / _FAR
    )
    return guessed


def _places(ions: Sequence[Ion], geometry: Geometry) -> list[int] | None:
    """The atom of each ion; None where the ions are not the atoms of the structure."""
    left = list(range(len(geometry)))
    places = []
    for ion in ions:
        symbol = ion.element.symbol if ion.is_atomic else ""
        place = next((one for one in left if geometry.symbols[one] == symbol), None)
        if place is None:
            return None
        left.remove(place)
        places.append(place)
    return None if left else places


def _largest_note(channel: Channel, geometry: Geometry | None) -> str:
    ions = channel.all_ions
    known = geometry is not None and _places(ions, geometry) is not None
    energies = _energies(ions, geometry) * HARTREE_EV
    most = int(energies.argmax())
    return (
        f"{'At its known structure' if known else 'At the distances of bonds'} {ions[most]} has "
        f"{energies[most]:.0f} eV in the field of the others; this is the largest momentum that an "
        "ion can get from it, with a margin"
    )


def _ions_note(channel: Channel, setup: Setup | None) -> str:
    """Mass of each ion, and where it is to be found in the time of flight."""
    said = []
    for entry in channel.ions:
        ion = parse_ion(entry.ion)
        text = f"{ion}: {ion.mass / DALTON_ME:.4f} u, m/q {ion.mass / DALTON_ME / ion.charge:.4f}"
        if setup is not None:
            try:
                first, last = flight_window(ion, setup.spectrometer, channel.gates.max_momentum)
                zero = setup.calibration.time_zero_ns
                text += f", {first + zero:.0f} to {last + zero:.0f} ns"
            except MolexaError as error:
                text += f" ({error.what})"
        said.append(text)
    return "\n" + "\n".join(said)
