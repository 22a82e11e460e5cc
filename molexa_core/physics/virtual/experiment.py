"""A virtual experiment: shots of a reaction microscope on molecules of known structure.

Shots are simulated in blocks of fixed size. Every block has random generators seeded by (seed,
number of the block, purpose). A block can therefore be simulated alone, in any order and on any
machine, effects do not change the draws of others, and a longer run begins with the shots of a
shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.matter.ions import Ion, isotopes_of
from molexa_core.base.matter.isotopes import nuclide
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import Geometry, Hits, IntArray, offsets_of
from molexa_core.base.truth import VirtualTruth
from molexa_core.physics.coulomb.batches import require_explosive
from molexa_core.physics.molecules.library import Molecule
from molexa_core.physics.virtual.ion_flight import Arrivals, as_written, dark_counts, detect
from molexa_core.physics.virtual.sources import (
    Fragments,
    Molecules,
    Target,
    draw_molecules,
    explode_molecules,
    molecular_ions,
    residual_ions,
)

BLOCK_SHOTS: Final = 4096
"""Shots per block; it must not change, since runs of a given seed depend on it."""
MOLECULES_PER_BLOCK: Final = 2**24
"""Number of molecules per block for the numbering of random numbers of explosions."""
_MOLECULES, _RESIDUAL, _DARK, _DETECTOR = range(4)


@dataclass(frozen=True)
class Block:
    """A block of a virtual run.

    Attributes:
        hits: hits as stored in the run.
        truth: true molecules and origins of the hits; molecules are numbered within the block.
        tally: the shot (within the block) of every molecule, ion, stored hit and lost hit, by kind
            and reason.
    """

    hits: Hits
    truth: VirtualTruth
    tally: dict[str, IntArray]

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of shots, molecules, ions, hits and losses."""
        return {"shots": self.hits.n_shots} | {k: len(shots) for k, shots in self.tally.items()}


def target_of(channel: Channel, molecule: Molecule) -> Target:
    """The molecule with its atoms in the order of the channel's ions.

    Like atoms are assigned to like ions in the order of the molecule. An ion may name an isotope
    that the molecule does not specify; it is then that of the atom.

    Raises:
        UsageError: the channel has molecular ions, or its ions are not the molecule's atoms.
    """
    return target_of_ions(channel.all_ions, molecule, where=f"channel {channel.name}")


def target_of_ions(ions: tuple[Ion, ...], molecule: Molecule, *, where: str) -> Target:
    """The molecule with its atoms in the order of these ions; see `target_of`.

    Args:
        ions: one for each atom.
        molecule: the molecule.
        where: what the ions are those of, for messages.

    Raises:
        UsageError: molecular ions, or ions that are not the molecule's atoms.
    """
    fragments = [str(ion) for ion in ions if not ion.is_atomic]
    if fragments:
        raise UsageError(
            f"{listing(fragments)} is not an atomic ion; the virtual experiment explodes "
            "molecules into atomic ions",
            where=where,
            do="Use a channel of atomic ions.",
        )
    order = _atoms_of(ions, molecule, where)
    mass = np.array([ion.neutral_mass for ion in ions])
    geometry = molecule.geometry
    positions = geometry.positions[order]
    symbols = [geometry.symbols[atom] for atom in order]
    charges = [float(ion.charge) for ion in ions]
    require_explosive(symbols, positions, charges, where=molecule.name)
    of_atoms = np.empty_like(mass)
    of_atoms[order] = mass
    modes = molecule.modes(of_atoms)
    if modes is not None:
        modes = type(modes)(modes.frequency, modes.displacement[:, order])
    centre = mass @ positions / mass.sum()
    return Target(ions, positions - centre, modes)


def make_block(target: Target, setup: Setup, seed: int, number: int) -> Block:
    """Simulate one block of `BLOCK_SHOTS` shots.

    Args:
        target: the molecule.
        setup: apparatus and imperfections.
        seed: seed of the run.
        number: number of the block.

    Raises:
        UsageError: ions would start outside the first region of the spectrometer.
        ComputationError: two atoms of a drawn molecule coincide.
    """
    molecules = draw_molecules(target, setup, BLOCK_SHOTS, _random(seed, number, _MOLECULES))
    fragments = explode_molecules(
        target, molecules, setup, seed=seed, first=number * MOLECULES_PER_BLOCK
    )
    exploded = molecular_ions(target, molecules, fragments, setup)
    residual = residual_ions(setup, BLOCK_SHOTS, _random(seed, number, _RESIDUAL))
    dark = dark_counts(setup, BLOCK_SHOTS, _random(seed, number, _DARK))
    detector = _random(seed, number, _DETECTOR)
    stored, lost = detect(exploded.followed_by(residual), dark, setup, detector)
    tally = {
        "molecules": molecules.shot,
        "molecular_ions": exploded.shot,
        "residual_ions": residual.shot,
        "dark_counts": dark.shot,
        "hits": stored.shot,
        **{f"lost_{reason}": shots for reason, shots in lost.items()},
    }
    first_shot = number * BLOCK_SHOTS
    truth = _truth(target, molecules, fragments, stored, first_shot)
    if fragments.charge is not None:
        tally["molecules_in_channel"] = molecules.shot[truth.in_channel]
    return Block(_hits(stored, setup, first_shot), truth, tally)


def run_blocks(target: Target, setup: Setup, seed: int, shots: int) -> Iterator[Block]:
    """The blocks of a run; molecules of the truth are numbered consecutively."""
    molecules = 0
    for number, start in enumerate(range(0, shots, BLOCK_SHOTS)):
        block = make_block(target, setup, seed, number)
        wanted = min(BLOCK_SHOTS, shots - start)
        if wanted < BLOCK_SHOTS:
            block = _first_shots(block, wanted)
        yield replace(block, truth=block.truth.numbered_from(molecules))
        molecules += len(block.truth)


def equilibrium_of(target: Target) -> Geometry:
    """The equilibrium geometry, one atom per ion."""
    symbols = tuple(ion.element.symbol for ion in target.ions)
    charges = tuple(ion.charge for ion in target.ions)
    isotopes = isotopes_of(target.ions)
    return Geometry(symbols, target.positions, charges=charges, isotopes=isotopes)


def _atoms_of(ions: tuple[Ion, ...], molecule: Molecule, where: str) -> list[int]:
    atoms = [nuclide(name) for name in molecule.geometry.names]
    free = list(range(len(atoms)))
    order = []
    for ion in ions:
        known = ion.nuclide
        fitting = [atom for atom in free if atoms[atom] == known]
        fitting += [atom for atom in free if atoms[atom].may_be(known)]
        if not fitting:
            break
        order.append(fitting[0])
        free.remove(fitting[0])
    if len(order) < len(ions) or free:
        raise UsageError(
            f"the ions {listing(ions)} are not the atoms of {molecule.name} ({molecule.formula})",
            where=where,
            do="Give the geometry of a molecule with exactly these atoms; a D of it needs a D+.",
        )
    return order


def _random(seed: int, number: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, number, purpose])))


def _first_shots(block: Block, shots: int) -> Block:
    """The first shots of a block."""
    hits = block.hits.shots(0, shots)
    known = block.truth.first(block.hits.first_shot + shots, hits.n_hits)
    tally = {kind: of[of < shots] for kind, of in block.tally.items()}
    return Block(hits, known, tally)


def _hits(stored: Arrivals, setup: Setup, first_shot: int) -> Hits:
    x, y, t = as_written(stored, setup.calibration)
    counts = np.bincount(stored.shot, minlength=BLOCK_SHOTS)
    return Hits(first_shot, offsets_of(counts), x, y, t, np.zeros(len(stored), np.int16))


def _truth(
    target: Target, molecules: Molecules, fragments: Fragments, stored: Arrivals, first_shot: int
) -> VirtualTruth:
    detected = np.zeros(fragments.momentum.shape[:2], dtype=np.bool_)
    known = stored.molecule >= 0
    detected[stored.molecule[known], stored.ion[known]] = True
    return VirtualTruth(
        ions=target.ions,
        equilibrium=equilibrium_of(target),
        shot=molecules.shot + first_shot,
        momentum=fragments.momentum,
        position=molecules.position,
        detected=detected,
        hit_molecule=stored.molecule,
        hit_ion=stored.ion,
        charge=fragments.charge,
    )
