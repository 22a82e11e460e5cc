"""Write the tables of docs/molecules.md: contents of the library, accuracy of its geometries.

Usage: python tools/write_molecule_tables.py; needs the extra `molecules`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data.g2 import data as g2_data
from molecule_list import bonds_of, skeleton
from numpy.typing import NDArray

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.molecules.draws import Variations
from molexa_core.physics.molecules.library import SPLITS, Molecule, molecule, molecules
from molexa_core.physics.molecules.measured import PICK, Comparison, comparisons, measures
from molexa_core.physics.molecules.variations import variations

PAGE = Path(__file__).resolve().parent.parent / "docs" / "molecules.md"
STRETCHED = 1.35
"""A bond counts as broken beyond this many sums of covalent radii."""


def main() -> None:
    """Replace the text between the marks of each part."""
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in (
        ("content", content()),
        ("variations", varied()),
        ("experiment", experiment()),
        ("g2", g2_set()),
        ("typed", experiment_against_g2()),
    ):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        after = rest.split(end)[1]
        page = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after
    PAGE.write_text(page, encoding="utf-8")


def content() -> Iterator[str]:
    """How many molecules, by number of atoms and split."""
    found = list(molecules())
    atoms = sorted({min(len(entry.geometry), 10) for entry in found})
    count = Counter((entry.split, min(len(entry.geometry), 10)) for entry in found)
    header = ["atoms", *("10 to 14" if n == 10 else str(n) for n in atoms), "all"]
    rows = [
        [f"`{split}`", *(count[split, n] for n in atoms), sum(count[split, n] for n in atoms)]
        for split in SPLITS
    ]
    rows.append(["all", *(sum(count[s, n] for s in SPLITS) for n in atoms), len(found)])
    yield from _table(header, rows)
    yield ""
    inside = Counter(s for entry in found for s in set(entry.geometry.symbols))
    yield "Molecules with each element: " + ", ".join(f"{s} {n}" for s, n in inside.most_common())
    yield f"\nIn the G2/97 set: {sum(entry.g2 for entry in found)}."
    held = ", ".join(f"`{entry.name}`" for entry in found if entry.split == "held-out")
    yield f"\nHeld out: {held}."


def varied() -> Iterator[str]:
    """What the displacements do, over the molecules that a network may learn from."""
    broken: Counter[int] = Counter()
    moved: Counter[int] = Counter()
    total: Counter[int] = Counter()
    nearest = np.inf
    for entry in molecules(splits=["train"]):
        radii = _radii(entry)
        for found in variations(entry, Variations(equilibrium=False, displaced=10), seed=1):
            x = found.geometry.positions
            distance = np.linalg.norm(x[:, None] - x, axis=-1)
            nearest = min(nearest, distance[~np.eye(len(x), dtype=bool)].min())
            near = distance < STRETCHED * radii
            total[found.k] += 1
            broken[found.k] += any(not near[i, j] for i, j in entry.bonds)
            moved[found.k] += _migrated(entry, near)
    rows = [[k, total[k], _share(broken[k], total[k]), _share(moved[k], total[k])] for k in total]
    yield from _table(["k", "structures", "a bond broken", "a hydrogen at another atom"], rows)
    yield f"\nSmallest distance among them: {nearest:.2f} bohr."


def experiment() -> Iterator[str]:
    """Deviations in all, then one by one."""
    found = comparisons()
    bonds = [item for item in found if not item.is_angle]
    angles = [item for item in found if item.is_angle]
    rows = [_summary("bond lengths / Å", bonds, 3), _summary("angles / degrees", angles, 1)]
    header = ["", "values", "mean", "mean absolute", "median absolute", "worst"]
    yield from _table(header, rows)
    for title, items, digits in (("bond", bonds, 3), ("angle", angles, 1)):
        yield ""
        rows = [
            [
                item.molecule,
                "-".join(item.atoms) + ("" if item.pick == "only" else f" ({item.pick})"),
                f"{item.experiment:.{digits}f}",
                f"{item.shipped:.{digits}f}",
                f"{item.deviation:+.{digits}f}",
            ]
            for item in items
        ]
        yield from _table(["molecule", title, "experiment", "molexa", "difference"], rows)


def g2_set() -> Iterator[str]:
    """Bond lengths against the geometries that the G2/97 set is defined with."""
    shipped: dict[str, Molecule] = {}
    for entry in molecules(g2=True):
        graph = skeleton(entry.geometry.symbols, frozenset(entry.bonds))
        shipped.setdefault(graph, entry)  # singlet and triplet CH2, SiH2: the first by name
    deviation, names = [], []
    for reference in g2_data.values():
        atoms = Atoms(reference["symbols"], positions=reference["positions"])
        symbols, x = atoms.get_chemical_symbols(), atoms.get_positions()
        joined = bonds_of(symbols, x)
        found = shipped.get(skeleton(symbols, joined)) if len(symbols) > 1 else None
        if found is not None:
            here = found.geometry.positions * BOHR_ANGSTROM
            theirs, ours = (
                _lengths(symbols, joined, x),
                _lengths(found.geometry.symbols, found.bonds, here),
            )
            deviation += [b[1] - a[1] for a, b in zip(theirs, ours, strict=True)]
            names += [found.name] * len(theirs)
    size = np.abs(deviation)
    yield (
        f"{len(set(names))} molecules, {len(size)} bonds: mean {np.mean(deviation):+.3f}, mean "
        f"absolute {size.mean():.3f}, median absolute {np.median(size):.3f}, worst "
        f"{deviation[int(size.argmax())]:+.3f} Å ({names[int(size.argmax())]})."
    )


def experiment_against_g2() -> Iterator[str]:
    """The experimental values, which were typed, against geometries that nobody typed here."""
    references = {}
    for entry in g2_data.values():
        atoms = Atoms(entry["symbols"], positions=entry["positions"])
        symbols, x = tuple(atoms.get_chemical_symbols()), atoms.get_positions()
        joined = bonds_of(symbols, x)
        references[skeleton(symbols, joined)] = Geometry(symbols, x / BOHR_ANGSTROM), joined
    known = comparisons()
    checked = []
    for item in known:
        entry = molecule(item.molecule)
        found = references.get(skeleton(entry.geometry.symbols, frozenset(entry.bonds)))
        if found is not None:
            there = replace(entry, geometry=found[0], bonds=tuple(found[1]))
            checked.append(replace(item, shipped=PICK[item.pick](measures(there, item.atoms))))
    for text, atoms_of, digits, unit in (("bond lengths", 2, 3, "Å"), ("angles", 3, 1, "degrees")):
        items = [item for item in checked if len(item.atoms) == atoms_of]
        typed = sum(len(item.atoms) == atoms_of for item in known)
        size = np.array([abs(item.deviation) for item in items])
        worst = items[int(size.argmax())]
        yield (
            f"{len(items)} of {typed} {text}: mean absolute difference {size.mean():.{digits}f}, "
            f"largest {size.max():.{digits}f} {unit} ({worst.molecule}, {'-'.join(worst.atoms)})."
        )


def _lengths(
    symbols: Sequence[str], bonds: Iterable[tuple[int, int]], x: NDArray[np.float64]
) -> list[tuple[str, float]]:
    """Kind and length of the bonds, sorted: the n-th longest of a kind belongs to the n-th."""
    return sorted(
        ("-".join(sorted((symbols[one], symbols[two]))), float(np.linalg.norm(x[one] - x[two])))
        for one, two in bonds
    )


def _summary(name: str, items: Sequence[Comparison], digits: int) -> list[object]:
    deviation = np.array([item.deviation for item in items])
    size = np.abs(deviation)
    worst = items[int(size.argmax())]
    return [
        name,
        len(items),
        f"{deviation.mean():+.{digits}f}",
        f"{size.mean():.{digits}f}",
        f"{np.median(size):.{digits}f}",
        f"{worst.deviation:+.{digits}f} ({worst.molecule}, {'-'.join(worst.atoms)})",
    ]


def _migrated(entry: Molecule, near: NDArray[np.bool_]) -> bool:
    """Whether a hydrogen is bonded to a heavier atom that it was not bonded to."""
    symbols = entry.geometry.symbols
    old = {frozenset(pair) for pair in entry.bonds}
    return any(
        near[h, other] and symbols[other] != "H" and frozenset((h, other)) not in old
        for h, symbol in enumerate(symbols)
        if symbol == "H"
        for other in range(len(symbols))
    )


def _radii(entry: Molecule) -> NDArray[np.float64]:
    radius = np.array([element(s).covalent_radius_angstrom for s in entry.geometry.symbols])
    sums: NDArray[np.float64] = (radius[:, None] + radius) / BOHR_ANGSTROM
    return sums


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.0f} %"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


if __name__ == "__main__":
    main()
