"""How many explosions per second make entries of the Monte-Carlo model over its whole family?

Every geometry has its own pulse (0.3 to 10 keV, 1 to 60 fs, four decades of fluence) and switches.
For each number of atoms the kernel alone is timed, then a block as a training takes it: geometries
and settings drawn in a thread, explosions, averages of the charge combinations on the device. The
mixture of all numbers of atoms is stored. With `--tables` the atomic tables are computed anew
first, on all cores; with `--exact` a block of the evaluation is looked at as well.

    python benchmarks/family_entries_speed.py [--repeats 5] [--tables] [--exact] [--save FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from itertools import islice

import torch
from _record import store, time_runs

from molexa_core.base.progress import SILENT
from molexa_core.physics.atomic.cache import cache_file
from molexa_core.physics.mcmd.gpu.launch import batches
from molexa_core.physics.mcmd.photon_tables import (
    ELEMENTS_OF_TABLES,
    PHOTON_GRID_EV,
    PhotonTables,
    pack_photon_tables,
)
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.physics.surrogate.entries import FamilyEntries, concatenate
from molexa_core.pipeline.datasets.family_entries import (
    FamilyRecipe,
    exact_recipe,
    family_block,
    family_blocks,
    prepare_block,
)

BLOCKS = 40
"""Blocks of the mixture in a timed run."""
SAVED = 16


def build_tables() -> None:
    """Compute all atomic tables anew and say how long that takes."""
    for photon_ev in PHOTON_GRID_EV:
        for symbol in ELEMENTS_OF_TABLES:
            path = cache_file(symbol, photon_ev)
            if path is not None:
                path.unlink(missing_ok=True)
    start = time.perf_counter()
    found = pack_photon_tables()
    print(
        f"tables of {len(ELEMENTS_OF_TABLES)} elements at {len(PHOTON_GRID_EV)} photon energies: "
        f"{time.perf_counter() - start:.1f} s on {available_cores()} cores, "
        f"{len(found.config_int)} configurations, {len(found.move_int)} transitions, "
        f"{sum(array.nbytes for array in found.arrays().values()) / 1e6:.1f} MB"
    )


def quality(entries: FamilyEntries) -> str:
    """Entries of a geometry, their counts and statistical errors, in words."""
    geometries = len(entries.geometry.unique())
    relative = (entries.errors.square().sum((1, 2)) / entries.momenta.square().sum((1, 2))).sqrt()
    lower, middle, upper = (float(relative.quantile(share)) for share in (0.1, 0.5, 0.9))
    return (
        f"{len(entries)} entries of {geometries} geometries, median count "
        f"{float(entries.count.float().median()):.0f}, statistical error of the momenta "
        f"{100 * lower:.2f} / {100 * middle:.2f} / {100 * upper:.2f} % (10, 50, 90 % of entries), "
        f"{100 * float((relative <= 3e-3).float().mean()):.0f} % of entries within 0.3 %"
    )


def one_size(atoms: int, tables: PhotonTables, repeats: int) -> None:
    """Kernel alone, block on the device, and drawing on the host, for a number of atoms."""
    recipe = FamilyRecipe(seed=99, atoms={atoms: 1.0})
    start = time.perf_counter()
    block = prepare_block(recipe, 0, tables)
    drawn = time.perf_counter() - start
    total = len(block.job.start) * block.job.trajectories
    kernel = time_runs(
        lambda: [None for _ in batches(block.job, 0)],
        repeats=repeats,
        synchronise=torch.cuda.synchronize,
    )
    whole = time_runs(
        lambda: family_block(recipe, 0, device="cuda", tables=tables),
        repeats=repeats,
        synchronise=torch.cuda.synchronize,
    )
    entries = family_block(recipe, 0, device="cuda", tables=tables)
    print(
        f"{atoms} atoms: {len(block.job.start)} geometries x {block.job.trajectories}, kernel "
        f"{total / statistics.median(kernel) / 1e6:.1f} M/s, drawn and averaged one after the "
        f"other {total / statistics.median(whole) / 1e6:.1f} M/s, drawing {1e3 * drawn:.0f} ms; "
        f"{quality(entries)}",
        flush=True,
    )


def mixture(tables: PhotonTables, repeats: int) -> None:
    """Blocks one after the other as a training takes them; stored."""
    recipe = FamilyRecipe(seed=7)
    blocks = [prepare_block(recipe, number, tables) for number in range(BLOCKS)]
    total = sum(len(block.job.start) * block.job.trajectories for block in blocks)
    geometries = sum(len(block.job.start) for block in blocks)
    made: list[FamilyEntries] = []

    def work() -> None:
        made[:] = islice(family_blocks(recipe, device="cuda", tables=tables), BLOCKS)

    runs = time_runs(work, repeats=repeats, synchronise=torch.cuda.synchronize)
    entries = concatenate(made)
    rate = geometries / statistics.median(runs)
    store(
        "family-entries-gpu",
        "How many explosions per second make entries of the family, 2 to 9 atoms?",
        runs,
        amount=total,
        unit="explosions",
        sizes={
            "blocks": BLOCKS,
            "geometries": geometries,
            "atoms": {str(n): share for n, share in recipe.atoms.items()},
            "explosions_of_a_geometry": {str(n): t for n, t in recipe.trajectories.items()},
        },
        notes=f"{rate:.3g} geometries and {len(entries) / statistics.median(runs):.3g} entries per "
        f"second; {quality(entries)}",
        device=torch.cuda.get_device_name(),
        dtype="float32",
    )


def evaluation(tables: PhotonTables) -> None:
    """One exact block of every number of atoms: how exact, how long."""
    for atoms in sorted(FamilyRecipe().atoms):
        recipe = replace(exact_recipe(), atoms={atoms: 1.0})
        start = time.perf_counter()
        entries = family_block(recipe, 0, device="cuda", tables=tables)
        torch.cuda.synchronize()
        print(
            f"exact, {atoms} atoms: {time.perf_counter() - start:.1f} s for "
            f"{recipe.geometries(atoms)} geometries; {quality(entries)}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tables", action="store_true", help="compute the atomic tables anew")
    parser.add_argument("--exact", action="store_true", help="look at blocks of the evaluation")
    parser.add_argument("--save", help="write the entries of 16 blocks to this file")
    chosen = parser.parse_args()
    if chosen.tables:
        build_tables()
    known = pack_photon_tables(progress=SILENT)
    for size in sorted(FamilyRecipe().atoms):
        one_size(size, known, chosen.repeats)
    mixture(known, chosen.repeats)
    if chosen.exact:
        evaluation(known)
    if chosen.save:
        some = islice(family_blocks(FamilyRecipe(), device="cuda", tables=known), SAVED)
        concatenate(list(some)).save(chosen.save)
