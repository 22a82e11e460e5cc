"""Weights told the experiment against weights for one pulse, on the test sets of the latter.

    python benchmarks/known_test_sets.py --weights W molexa-stage2 --device cuda --out known.json
    python benchmarks/known_test_sets.py --weights molexa-told --atoms 2 --most-events 1e9 1000

The sets are those of the data set `stage2` (templates/stage2.yaml), made anew with its own random
numbers: geometries of known molecules that its training left out (split by geometry), molecules
that it left out (split by molecule), and molecules of 8 and 9 atoms, which it left out as well. All
explode in its one pulse, which weights are told if they can be. Of each geometry a few combinations
of charges are drawn. `known`: which molecules were in the training of the first weights is in their
card; rows are given with and without those that it left out. `--most-events`: the same for several
limits of the number of events of which weights are told.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.fields import SPLITS
from molexa_core.base.known_explosion import simulated
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import load_network
from molexa_core.physics.molecules.library import Molecule, molecule
from molexa_core.pipeline.datasets.blocks import geometries_of, resolve, stream_seed
from molexa_core.pipeline.datasets.recipe import Recipe
from molexa_core.pipeline.datasets.splits import GEOMETRY_STREAM, places, uniform
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.calibration_run import population_of
from molexa_core.pipeline.evaluation.evaluate_told import DRAWS, MEAN_OF, Distances, row_of
from molexa_core.pipeline.explosions import told_inputs
from molexa_core.pipeline.explosions.explode import explode_geometries
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample

MOST: Final = 4
"""Entries of a geometry."""
SHARE_SHOWN: Final = 0.003
"""Smallest share of a combination, as in the data set."""
GROUPS: Final = {"2": (2, 2), "3-7": (3, 7), "2-7": (2, 7), "8-9": (8, 9)}
SEED: Final = 40_260_000


@dataclass(frozen=True)
class Case:
    """One entry: set, number of the molecule, whether the first weights left it out, truth."""

    of: str
    molecule: int
    held_out: bool
    positions: FloatArray
    entry: ToldEntry


def chosen_geometries(recipe: Recipe, found: Molecule, of: str) -> list[int]:
    """Numbers of the geometries of a molecule that are in a test set."""
    every = geometries_of(recipe, found)
    if of != "new geometries":
        return list(range(len(every)))
    drawn = [uniform(recipe.seed, GEOMETRY_STREAM, found.name, one.label) for one in every]
    split = places(np.array(drawn), recipe.splits)
    return np.flatnonzero(split == SPLITS.index("test")).tolist()


def cases(
    recipe: Recipe,
    held_out: frozenset[str],
    *,
    geometries: int,
    trajectories: int,
    device: str,
) -> list[Case]:
    """Entries of the three sets, of so many geometries each."""
    aside = recipe.splits.set_aside_atoms
    library = [molecule(name) for name in recipe.molecules]
    sets: dict[str, list[tuple[int, Molecule]]] = {
        "new geometries": [],
        "new molecules": [],
        "8 and 9 atoms": [],
    }
    for number, one in enumerate(library):
        if len(one.geometry) >= aside:
            sets["8 and 9 atoms"].append((number, one))
        else:
            sets["new molecules" if one.split == "held-out" else "new geometries"].append(
                (number, one)
            )
    found: list[Case] = []
    for place, (of, some) in enumerate(sets.items()):
        random = np.random.default_rng([SEED, place])
        every = [(n, one, row) for n, one in some for row in chosen_geometries(recipe, one, of)]
        order = random.permutation(len(every))[:geometries]
        by_molecule: dict[int, list[int]] = {}
        for index in order:
            by_molecule.setdefault(every[index][0], []).append(every[index][2])
        for number, rows in sorted(by_molecule.items()):
            one = library[number]
            found += _of_molecule(
                recipe, of, number, one, sorted(rows), one.name in held_out, trajectories, device
            )
    return found


def _of_molecule(
    recipe: Recipe,
    of: str,
    number: int,
    one: Molecule,
    rows: Sequence[int],
    held_out: bool,
    trajectories: int,
    device: str,
) -> list[Case]:
    every = geometries_of(recipe, one)
    positions = np.array([every[row].geometry.positions for row in rows])
    symbols = one.geometry.symbols
    outcomes = explode_geometries(
        symbols,
        positions,
        None,
        recipe.pulse,
        recipe.model,
        trajectories=trajectories,
        seed=stream_seed(recipe, one.name),
        device=device,
        at_least=2,
    )
    random = np.random.default_rng([SEED, number])
    found = []
    for x, outcome in zip(positions, outcomes, strict=True):
        least = max(2.0, SHARE_SHOWN * trajectories)
        kept = np.flatnonzero((outcome.counts > least) & (outcome.charges > 0).all(axis=1))
        for row in random.permutation(kept)[:MOST]:
            ions = tuple(
                parse_ion(f"{symbol}{int(q)}+")
                for symbol, q in zip(symbols, outcome.charges[row], strict=True)
            )
            momenta = np.asarray(outcome.momenta[row], dtype=np.float64)
            variance = np.trace(outcome.covariance[row], axis1=1, axis2=2) / 3.0
            errors = np.sqrt(variance / outcome.counts[row])
            entry = ToldEntry(
                ions,
                momenta - momenta.mean(axis=0),
                "still",
                float(outcome.counts[row]),
                errors,
            )
            found.append(Case(of, number, held_out, x, entry))
    return found


def distances(some: Sequence[Case], drawn: Sequence[FloatArray]) -> Distances:
    """Sums of errors as `evaluate_told` takes them."""
    sums, squares = [], []
    count = len(drawn[0])
    beyond = max(1, round(0.5 * 0.32 * (count + 1)))
    for case, samples in zip(some, drawn, strict=True):
        true = pair_distances(case.positions[None])[0]
        lengths = pair_distances(samples)
        ordered = np.sort(lengths, axis=0)
        inside = (true > ordered[beyond - 1]) & (true < ordered[count - beyond])
        error = lengths[:MEAN_OF].mean(axis=0) - true
        sums.append(
            [
                len(true),
                np.abs(lengths[0] - true).sum(),
                np.abs(error).sum(),
                np.square(error).sum(),
                inside.sum(),
            ]
        )
        expected = lengths.var(axis=0, ddof=1) * (1.0 + 1.0 / count)
        squares.append([np.square(lengths.mean(axis=0) - true).sum(), expected.sum()])
    return Distances(
        np.array(sums, dtype=float),
        np.array(squares),
        np.array([case.molecule for case in some], dtype=float),
        (count + 1 - 2 * beyond) / (count + 1),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="+", required=True, help="those for one pulse last")
    parser.add_argument("--geometries", type=int, default=300, help="of each set")
    parser.add_argument("--trajectories", type=int, default=100_000)
    parser.add_argument("--atoms", type=int, nargs="+", help="sizes, all if not given")
    parser.add_argument("--most-events", type=float, nargs="+", default=[told_inputs.MOST_EVENTS])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = take_device(given.device)
    recipe = resolve("stage2")
    if given.atoms:
        sized = [name for name in recipe.molecules if len(molecule(name).geometry) in given.atoms]
        recipe = replace(recipe, molecules=tuple(sized))
    held = population_of(load_network(given.weights[0])[1]).held_out or frozenset()
    some = cases(
        recipe,
        held,
        geometries=given.geometries,
        trajectories=given.trajectories,
        device=device,
    )
    told = simulated("mcmd", pulse=recipe.pulse, options=recipe.model)
    result: dict[str, Any] = {"entries": len(some), "trajectories": given.trajectories, "rows": {}}
    for name, most in product(given.weights, given.most_events):
        told_inputs.MOST_EVENTS = most  # type: ignore[misc]  # what is measured
        network, card = load_network(name, device)
        shown = card.name
        if len(given.most_events) > 1:
            shown += f", {most:g} events at most"
        engine = Engine(network)
        known = [one for one in some if len(one.entry.ions) <= network.settings.max_atoms]
        kind = told if network.settings.told else None
        drawn = sample(engine, [one.entry for one in known], kind, DRAWS, SEED)
        rows: dict[str, Any] = {}
        for of in dict.fromkeys(one.of for one in known):
            for group, (low, high) in GROUPS.items():
                for held_out in (None, False, True):
                    at = [
                        n
                        for n, one in enumerate(known)
                        if one.of == of
                        and low <= len(one.entry.ions) <= high
                        and held_out in (None, one.held_out)
                    ]
                    if not at:
                        continue
                    row = row_of(distances([known[n] for n in at], [drawn[n] for n in at]))
                    word = {None: "all", False: "known to the first", True: "new to the first"}
                    rows[f"{of}, {group} atoms, {word[held_out]}"] = row
                    print(
                        f"{shown:18} {of:15} {group:4} {word[held_out]:18} "
                        f"n {row['entries']:5}/{row['molecules']:3} one {row['one']:.3f} mean "
                        f"{row['mean']:.3f} rms {row['rms']:.3f} inside {100 * row['inside']:.0f} "
                        f"ratio {row['ratio']:.2f}",
                        flush=True,
                    )
        result["rows"][shown] = {"files": card.files, "rows": rows}
    if given.out is not None:
        given.out.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
