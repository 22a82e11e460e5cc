"""Atom: binding energies, cross sections and decays of an atom or ion in an X-ray pulse."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.units import ATOMIC_TIME_FS, BOHR2_BARN, HARTREE_EV
from molexa_core.physics.atomic.cache import atomic_tables, cache_file
from molexa_core.physics.atomic.configuration import Configuration, compute_configuration
from molexa_core.physics.atomic.element_tables import AtomicTables, changed
from molexa_core.physics.atomic.kept_rows import rows_folder
from molexa_core.physics.atomic.on_demand import growing_tables
from molexa_core.physics.atomic.shells import (
    NAMES,
    ON_DEMAND,
    Occupation,
    covered_element,
    ground_occupation,
    occupation_text,
    parse_occupation,
)


@dataclass(frozen=True)
class SubshellData:
    """One occupied subshell of the configuration.

    The widths are those of the configuration with an additional hole in this subshell and include
    only the decays that fill it.

    Attributes:
        subshell: such as `2p`.
        electrons: number of electrons in it.
        binding_energy_ev: minus the orbital energy.
        cross_section_barn: photoionization cross section.
        hole_auger_width_ev: Auger and Coster-Kronig width of a hole.
        hole_fluorescence_width_ev: radiative width of a hole.
        hole_width_ev: sum of both.
        hole_lifetime_fs: lifetime of a hole; None if it does not decay.
        fluorescence_yield: radiative share of the width; None if the hole does not decay.
    """

    subshell: str
    electrons: int
    binding_energy_ev: float
    cross_section_barn: float
    hole_auger_width_ev: float
    hole_fluorescence_width_ev: float
    hole_width_ev: float
    hole_lifetime_fs: float | None
    fluorescence_yield: float | None


@dataclass(frozen=True)
class DecayData:
    """One decay channel of the configuration.

    Attributes:
        kind: `auger` (Coster-Kronig included) or `fluorescence`.
        hole: subshell that is filled.
        electrons_from: the subshell (two for an Auger decay) of the electrons involved.
        width_ev: rate times hbar.
        rate_per_fs: rate.
        energy_ev: energy of the electron or photon that leaves.
    """

    kind: str
    hole: str
    electrons_from: tuple[str, ...]
    width_ev: float
    rate_per_fs: float
    energy_ev: float


@dataclass(frozen=True)
class AtomicData:
    """Properties of an atom or ion, as printed by `molexa atom`.

    Attributes:
        element: symbol.
        photon_ev: photon energy.
        occupation: the configuration, such as `1s2.2s2.2p2`.
        charge: its charge.
        total_cross_section_barn: of the neutral atom, all subshells.
        configuration_cross_section_barn: of this configuration, all subshells.
        lifetime_fs: of this configuration; None if it does not decay.
        subshells: its occupied subshells.
        decays: its decays.
        in_tables: whether the pulse can create this configuration, so that the tables contain it.
        configurations: configurations in the tables; of Br, Kr, I and Xe, those computed so far.
        transitions: transitions in the tables.
    """

    element: str
    photon_ev: float
    occupation: str
    charge: int
    total_cross_section_barn: float
    configuration_cross_section_barn: float
    lifetime_fs: float | None
    subshells: tuple[SubshellData, ...]
    decays: tuple[DecayData, ...]
    in_tables: bool
    configurations: int
    transitions: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)


def atom(
    element: str,
    photon_ev: float,
    occupation: str | None = None,
    *,
    use_cache: bool = True,
    progress: Progress = SILENT,
) -> AtomicData:
    """Structure and decay of an atom or ion, in the Hartree-Fock-Slater model.

    The tables of the element for this photon energy are computed on first use (seconds) and stored
    in the cache folder of the user; configurations outside the tables are computed directly. The
    tables of Br, Kr, I and Xe grow: only configurations that are needed are computed.

    Args:
        element: symbol, H to Ar, Br, Kr, I, Xe.
        photon_ev: photon energy, eV; rounded to 1 meV.
        occupation: configuration such as `1s1.2s2.2p6.3s2.3p5`; the neutral ground state if None.
        use_cache: read and write the cache folder.
        progress: display of the progress.

    Raises:
        UnknownIonError: the element is not covered.
        UsageError: the photon energy is below every edge or out of range, or the occupation is
            impossible.
        ComputationError: a configuration did not converge.

    Example:
        >>> round(atom("H", 2000.0, use_cache=False).subshells[0].binding_energy_ev, 4)
        13.6057
    """
    known = covered_element(element)
    ground = ground_occupation(known.number)
    chosen = ground if occupation is None else parse_occupation(occupation, known)
    tables = _tables(element, photon_ev, chosen, use_cache=use_cache, progress=progress)
    here, neutral = _configuration(tables, chosen), _configuration(tables, ground)
    return AtomicData(
        element=element,
        photon_ev=tables.photon_ev,
        occupation=occupation_text(chosen),
        charge=here.charge,
        total_cross_section_barn=float(neutral.cross_section.sum()) * BOHR2_BARN,
        configuration_cross_section_barn=float(here.cross_section.sum()) * BOHR2_BARN,
        lifetime_fs=_lifetime_fs(sum(decay.rate for decay in here.decays)),
        subshells=tuple(
            _subshell(tables, here, index) for index, count in enumerate(chosen) if count
        ),
        decays=_decays(here),
        in_tables=tables.find(chosen) is not None,
        configurations=len(tables),
        transitions=len(tables.kind),
    )


def cached_file(element: str, photon_ev: float) -> str | None:
    """The cache file or folder of the tables of an element; None if it does not exist."""
    photon_ev = round(photon_ev, 3)
    find = rows_folder if element in ON_DEMAND else cache_file
    path = find(element, photon_ev)
    return str(path) if path is not None and path.exists() else None


def _tables(
    element: str, photon_ev: float, chosen: Occupation, *, use_cache: bool, progress: Progress
) -> AtomicTables:
    """The tables; growing ones include the configuration and all with one more hole."""
    if element not in ON_DEMAND:
        return atomic_tables(element, photon_ev, use_cache=use_cache, progress=progress)
    growing = growing_tables(element, photon_ev, use_cache=use_cache, progress=progress)
    holes = [changed(chosen, {index: -1}) for index, count in enumerate(chosen) if count]
    growing.add([item for item in (chosen, *holes) if growing.covers(item)])
    growing.save()
    return growing.tables


def _configuration(tables: AtomicTables, occupation: Occupation) -> Configuration:
    """A configuration, from the tables if they contain it, otherwise computed."""
    row = tables.find(occupation)
    if row is not None:
        return tables.configuration(row)
    number = covered_element(tables.symbol).number
    return compute_configuration(number, occupation, tables.photon_ev / HARTREE_EV)


def _subshell(tables: AtomicTables, here: Configuration, index: int) -> SubshellData:
    with_hole = _configuration(tables, changed(here.occupation, {index: -1}))
    rate = {
        kind: sum(d.rate for d in with_hole.decays if d.kind == kind and d.hole == index)
        for kind in ("auger", "fluorescence")
    }
    total = sum(rate.values())
    return SubshellData(
        subshell=NAMES[index],
        electrons=here.occupation[index],
        binding_energy_ev=-float(here.energy[index]) * HARTREE_EV,
        cross_section_barn=float(here.cross_section[index]) * BOHR2_BARN,
        hole_auger_width_ev=rate["auger"] * HARTREE_EV,
        hole_fluorescence_width_ev=rate["fluorescence"] * HARTREE_EV,
        hole_width_ev=total * HARTREE_EV,
        hole_lifetime_fs=_lifetime_fs(total),
        fluorescence_yield=rate["fluorescence"] / total if total > 0.0 else None,
    )


def _decays(here: Configuration) -> tuple[DecayData, ...]:
    return tuple(
        DecayData(
            kind=decay.kind,
            hole=NAMES[decay.hole],
            electrons_from=tuple(NAMES[i] for i in (decay.first, decay.second) if i >= 0),
            width_ev=decay.rate * HARTREE_EV,
            rate_per_fs=decay.rate / ATOMIC_TIME_FS,
            energy_ev=decay.energy * HARTREE_EV,
        )
        for decay in here.decays
    )


def _lifetime_fs(rate: float) -> float | None:
    return ATOMIC_TIME_FS / rate if rate > 0.0 else None
