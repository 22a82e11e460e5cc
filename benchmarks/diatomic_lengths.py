"""How well does a data set determine the bond lengths of diatomic molecules, whatever the network?

    python benchmarks/diatomic_lengths.py FOLDER

Three answers from the kinetic energy release of the entries of two atoms, mean errors in bohr:
the statistical limit; interpolation between geometries of the same molecule and charges; and a
small regression over all molecules, for known molecules in new geometries and for those held out.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import BoolArray, FloatArray
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.recipe import recipe_of
from molexa_core.pipeline.datasets.splits import rows_of

HIDDEN = 96
STEPS = 6000
BATCH = 1024


@dataclass(frozen=True)
class Diatomics:
    """Entries of two atoms. E entries.

    Attributes:
        length: (E) bond length, bohr.
        ratio: (E) kinetic energy release divided by q1 q2 / R.
        relative_error: (E) standard error of the release divided by it.
        apparent: (E) the length at which q1 q2 / R is the release, bohr.
        features: (E, F) of the regression, atoms in pairs of columns but for the first.
        keys: (E) molecule and charges.
        held_out: (E) whether the molecule is held out.
        splits: by geometry, (E) each.
    """

    length: FloatArray
    ratio: FloatArray
    relative_error: FloatArray
    apparent: FloatArray
    features: FloatArray
    keys: list[tuple[int, ...]]
    held_out: BoolArray
    splits: dict[str, BoolArray]


def diatomics(folder: Path) -> Diatomics:
    """The entries of two atoms of a data set."""
    table, recipe = read_dataset(folder), recipe_of(folder)
    two = table.atoms == 2
    names = ("train", "validation", "test")
    splits = {name: rows_of(table, name, "geometry", recipe)[two] for name in names}
    table = table.select(two)
    bond = (table.positions[:, 0] - table.positions[:, 1]).astype(np.float64)
    length = np.linalg.norm(bond, axis=1)
    charge, number = table.charges.astype(np.float64), table.numbers.astype(np.float64)
    known = {int(n): BY_NUMBER[int(n)].isotope_mass for n in np.unique(table.numbers)}
    mass = np.vectorize(known.__getitem__)(table.numbers) - charge
    momentum = table.momenta.astype(np.float64)
    release = ((momentum**2).sum(axis=2) / (2.0 * mass)).sum(axis=1)
    # Both ions have the same momentum, so dK = p dp (1/m1 + 1/m2), along the bond.
    axis = bond / length[:, None]
    along = np.abs((momentum[:, 0] * axis).sum(axis=1))
    error = np.sqrt(((table.errors[:, 0].astype(np.float64) * axis) ** 2).sum(axis=1))
    apparent = charge.prod(axis=1) / release
    pairs = (np.log(charge), np.log(number), charge / number, np.log(mass), charge, number - charge)
    return Diatomics(
        length=length,
        ratio=length / apparent,
        relative_error=along * error * (1.0 / mass).sum(axis=1) / release,
        apparent=apparent,
        features=np.column_stack([np.log(apparent), *pairs]),
        keys=[(int(m), *q) for m, q in zip(table.molecule, table.charges.tolist(), strict=True)],
        held_out=table.held_out[table.molecule],
        splits=splits,
    )


def interpolation_errors(found: Diatomics) -> FloatArray:
    """|R' - R| of the test geometries, interpolated between others of the same charges."""
    bank: dict[tuple[int, ...], list[int]] = {}
    for row in np.flatnonzero(found.splits["train"] | found.splits["validation"]):
        bank.setdefault(found.keys[row], []).append(int(row))
    errors = []
    for row in np.flatnonzero(found.splits["test"]):
        near = np.array(bank.get(found.keys[row], []), np.int64)
        if len(near) < 2:
            continue
        near = near[np.argsort(found.apparent[near])]
        guess = np.interp(found.apparent[row], found.apparent[near], found.length[near])
        errors.append(abs(guess - found.length[row]))
    return np.array(errors)


def regression_errors(found: Diatomics, seed: int) -> FloatArray:
    """|R' - R| of all entries after a regression on the training geometries."""
    torch.manual_seed(seed)
    features = found.features
    swapped = features.copy()
    swapped[:, 1::2], swapped[:, 2::2] = features[:, 2::2], features[:, 1::2]
    rows = np.flatnonzero(found.splits["train"])
    centre, width = features[rows].mean(axis=0), features[rows].std(axis=0)
    x = torch.tensor((np.concatenate([features, swapped]) - centre) / width, dtype=torch.float32)
    target = np.log(found.length / found.apparent)
    middle, scale = target[rows].mean(), target[rows].std()
    y = torch.tensor(np.tile((target - middle) / scale, 2), dtype=torch.float32)
    training = torch.tensor(np.concatenate([rows, rows + len(features)]))
    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN),
        torch.nn.SiLU(),
        torch.nn.Linear(HIDDEN, HIDDEN),
        torch.nn.SiLU(),
        torch.nn.Linear(HIDDEN, 1),
    )
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, STEPS)
    for _ in range(STEPS):
        batch = training[torch.randint(len(training), (BATCH,))]
        loss = torch.nn.functional.smooth_l1_loss(network(x[batch])[:, 0], y[batch], beta=0.1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        answer = network(x[: len(features)])[:, 0].double().numpy() * scale + middle
    errors: FloatArray = np.abs(np.exp(answer) * found.apparent - found.length)
    return errors


def _shown(label: str, errors: NDArray[np.float64]) -> str:
    if not len(errors):
        return f"{label}: none"
    middle = float(np.median(errors))
    return f"{label}: {errors.mean():.4f} (median {middle:.4f}, {len(errors)} entries)"


def main() -> None:
    """Print the answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the data set")
    parser.add_argument("--seed", type=int, default=0, help="of the regression")
    chosen = parser.parse_args()
    found = diatomics(chosen.folder)
    low, high = np.quantile(found.ratio, [0.05, 0.95])
    print(f"release divided by q1 q2 / R: {low:.2f} to {high:.2f} (5 and 95 %)")
    print(f"lengths: {found.length.min():.2f} to {found.length.max():.2f} bohr")
    print(_shown("statistical limit", found.relative_error * found.length))
    print(_shown("known molecules, interpolated", interpolation_errors(found)))
    errors = regression_errors(found, chosen.seed)
    print(_shown("known molecules, regression", errors[found.splits["test"]]))
    print(_shown("molecules held out, regression", errors[found.held_out]))


if __name__ == "__main__":
    main()
