"""Tables of one element at one photon energy: configurations and the transitions between them.

The configurations are those that the neutral atom can reach by photoionization, Auger decay,
fluorescence and capture of electrons into its valence shell, with no subshell fuller than in the
neutral atom. Transitions lie in compressed rows: those of configuration c are `first[c]` to
`first[c + 1]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.configuration import Configuration, compute_configuration, mesh_for
from molexa_core.physics.atomic.decay import Decay
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import (
    NAMES,
    SUBSHELLS,
    Occupation,
    covered_element,
    ground_occupation,
    occupation_text,
    valence_subshells,
)

HIGHEST_PHOTON_EV: Final = 20_000.0
"""Beyond this the nonrelativistic dipole approximation is not worth computing."""
PHOTO: Final = 0
AUGER: Final = 1
FLUORESCENCE: Final = 2
"""Kinds of transitions. Photo: `value` is a cross section; else a rate."""


@dataclass(frozen=True)
class AtomicTables:
    """Configurations and transitions of one element. n configurations, t transitions.

    Attributes:
        symbol: element.
        photon_ev: photon energy, eV.
        occupation: (n, 5) electrons in 1s, 2s, 2p, 3s, 3p; row 0 is the neutral atom.
        charge: (n) charge.
        energy: (n, 5) orbital energies, hartree.
        removed: (n, 5) row with one electron less in the subshell; -1 where there is none.
        added: (n, 5) row with one electron more in the subshell; -1 where there is none.
        first: (n + 1) where the transitions of a row begin.
        kind: (t) `PHOTO`, `AUGER` or `FLUORESCENCE`.
        value: (t) cross section in bohr^2 (photo) or rate per atomic unit of time.
        target: (t) row of the configuration that it becomes.
        released: (t) energy of the electron that leaves or of the photon, hartree.
        shells: (t, 3) subshell that is ionized or filled, then those that give the electrons;
            -1 where there is none.
    """

    symbol: str
    photon_ev: float
    occupation: NDArray[np.int8]
    charge: NDArray[np.int8]
    energy: FloatArray
    removed: NDArray[np.int32]
    added: NDArray[np.int32]
    first: NDArray[np.int32]
    kind: NDArray[np.int8]
    value: FloatArray
    target: NDArray[np.int32]
    released: FloatArray
    shells: NDArray[np.int8]

    def __len__(self) -> int:
        """How many configurations there are."""
        return len(self.occupation)

    def find(self, occupation: Occupation) -> int | None:
        """The row of a configuration, None if it is not reached."""
        rows = np.flatnonzero((self.occupation == np.array(occupation)).all(axis=1))
        return int(rows[0]) if len(rows) else None

    def configuration(self, row: int) -> Configuration:
        """One row as the record it was made from."""
        cross_section = np.zeros(len(SUBSHELLS))
        decays = []
        for t in range(self.first[row], self.first[row + 1]):
            i, j, k = (int(shell) for shell in self.shells[t])
            if self.kind[t] == PHOTO:
                cross_section[i] = self.value[t]
            else:
                rate, energy = float(self.value[t]), float(self.released[t])
                how: Any = "auger" if self.kind[t] == AUGER else "fluorescence"
                decays.append(Decay(how, i, j, k, rate, energy))
        occupation = tuple(int(count) for count in self.occupation[row])
        number = int(self.charge[row]) + sum(occupation)
        return Configuration(number, occupation, self.energy[row], cross_section, tuple(decays))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS: Final = tuple(
    item.name for item in fields(AtomicTables) if item.name not in {"symbol", "photon_ev"}
)
"""Names of the arrays of the tables."""
Transition = tuple[int, float, Occupation, float, tuple[int, int, int]]


def build_tables(symbol: str, photon_ev: float, *, progress: Progress = SILENT) -> AtomicTables:
    """Compute the tables of one element.

    Args:
        symbol: element, H to Ar.
        photon_ev: photon energy, eV.
        progress: where to report.

    Raises:
        UnknownIonError: the element is not covered.
        UsageError: the photon energy is not usable, see `require_photon`.
        ComputationError: a configuration did not converge.
    """
    element = covered_element(symbol)
    edges = require_photon(symbol, photon_ev)
    number, photon = element.number, photon_ev / HARTREE_EV
    candidates = _candidates(ground_occupation(number), edges, photon_ev)
    mesh = mesh_for(number, photon, open_k="1s" in _open(edges, photon_ev))
    solved: dict[Occupation, Configuration] = {}
    label = f"{symbol} at {photon_ev:g} eV"
    with progress.task(label, len(candidates), "configurations") as task:
        for occupation in candidates:
            solved[occupation] = compute_configuration(number, occupation, photon, mesh)
            task.advance()
    transitions = {
        occupation: _transitions(configuration, photon)
        for occupation, configuration in solved.items()
    }
    order = _reachable(candidates, transitions, valence_subshells(number))
    return _assemble(symbol, photon_ev, [solved[c] for c in order], transitions)


def require_photon(symbol: str, photon_ev: float) -> dict[str, float]:
    """Check a photon energy and return the binding energies of the neutral atom, eV, by subshell.

    Raises:
        UnknownIonError: the element is not covered.
        UsageError: not a finite positive number, too high, or below every edge of the atom.
    """
    number = covered_element(symbol).number
    ground = ground_occupation(number)
    if not 0.0 < photon_ev <= HIGHEST_PHOTON_EV:  # false for nan too
        raise UsageError(
            f"the photon energy is {photon_ev:g} eV",
            do=f"Choose one above 0 and up to {HIGHEST_PHOTON_EV:g} eV.",
        )
    energy = solve_orbitals(number, ground).energy
    edges = {
        name: -float(value) * HARTREE_EV
        for name, value, electrons in zip(NAMES, energy, ground, strict=True)
        if electrons
    }
    lowest = min(edges.values())
    if photon_ev <= lowest:
        raise UsageError(
            f"a photon of {photon_ev:g} eV ionizes no subshell of {symbol}",
            do=f"The lowest edge of this model is {lowest:.2f} eV.",
        )
    return edges


def _open(edges: Mapping[str, float], photon_ev: float) -> set[str]:
    """Subshells that can get holes: every later hole is bound more tightly than in the neutral."""
    return {name for name, edge in edges.items() if edge < photon_ev}


def _candidates(
    ground: Occupation, edges: Mapping[str, float], photon_ev: float
) -> list[Occupation]:
    """All occupations with holes in open subshells only, the neutral atom first."""
    can = _open(edges, photon_ev)
    ranges = [
        range(count, -1, -1) if name in can else range(count, count - 1, -1)
        for name, count in zip(NAMES, ground, strict=True)
    ]
    return list(product(*ranges))


def changed(occupation: Occupation, changes: Mapping[int, int]) -> Occupation:
    """The occupation with electrons added to subshells (or removed, if negative)."""
    return tuple(count + changes.get(index, 0) for index, count in enumerate(occupation))


def _transitions(configuration: Configuration, photon: float) -> list[Transition]:
    """Kind, value, target, released energy and subshells of all transitions."""
    start = configuration.occupation
    found: list[Transition] = [
        (
            PHOTO,
            float(sigma),
            changed(start, {i: -1}),
            photon + float(configuration.energy[i]),
            (i, -1, -1),
        )
        for i, sigma in enumerate(configuration.cross_section)
        if sigma > 0.0
    ]
    for decay in configuration.decays:
        i, j, k = decay.hole, decay.first, decay.second
        changes = {i: 1, j: -2} if j == k else {i: 1, j: -1} | ({k: -1} if k >= 0 else {})
        kind = AUGER if decay.kind == "auger" else FLUORESCENCE
        found.append((kind, decay.rate, changed(start, changes), decay.energy, (i, j, k)))
    return found


def _reachable(
    candidates: Sequence[Occupation],
    transitions: Mapping[Occupation, Sequence[Transition]],
    valence: Sequence[int],
) -> list[Occupation]:
    """Those candidates that the first of them reaches, in their order."""
    ground = candidates[0]
    seen, todo = {ground}, [ground]
    while todo:
        start = todo.pop()
        targets = [transition[2] for transition in transitions[start]]
        targets += [changed(start, {i: 1}) for i in valence if start[i] < ground[i]]
        for target in targets:
            if target not in transitions:
                raise ComputationError(
                    f"{occupation_text(start)} decays to {occupation_text(target)}, "
                    "which is not among the configurations"
                )
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return [occupation for occupation in candidates if occupation in seen]


def _assemble(
    symbol: str,
    photon_ev: float,
    configurations: Sequence[Configuration],
    transitions: Mapping[Occupation, Sequence[Transition]],
) -> AtomicTables:
    row = {item.occupation: index for index, item in enumerate(configurations)}
    rows = [transitions[item.occupation] for item in configurations]
    flat = [transition for some in rows for transition in some]
    near = {
        sign: [
            [row.get(changed(item.occupation, {i: sign}), -1) for i in range(len(SUBSHELLS))]
            for item in configurations
        ]
        for sign in (-1, 1)
    }
    return AtomicTables(
        symbol=symbol,
        photon_ev=photon_ev,
        occupation=np.array([item.occupation for item in configurations], dtype=np.int8),
        charge=np.array([item.charge for item in configurations], dtype=np.int8),
        energy=np.array([item.energy for item in configurations]),
        removed=np.array(near[-1], dtype=np.int32),
        added=np.array(near[1], dtype=np.int32),
        first=np.concatenate([[0], np.cumsum([len(some) for some in rows])]).astype(np.int32),
        kind=np.array([item[0] for item in flat], dtype=np.int8),
        value=np.array([item[1] for item in flat], dtype=np.float64),
        target=np.array([row[item[2]] for item in flat], dtype=np.int32),
        released=np.array([item[3] for item in flat], dtype=np.float64),
        shells=np.array([item[4] for item in flat], dtype=np.int8).reshape(-1, 3),
    )
