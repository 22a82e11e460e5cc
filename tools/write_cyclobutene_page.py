"""Write docs/cyclobutene.md: a ring opening followed by Coulomb explosions, frame by frame.

    python tools/write_cyclobutene_page.py --weights NAME --device cuda

The geometries are those of docs/cyclobutene/path.xyz (tools/cyclobutene_path.py). Each explodes
by the Monte-Carlo model; the mean momenta of one combination of charges get errors of three sizes
and are given to weights that are told the experiment. The page compares answers and error bars with
the geometry that exploded, and asks which of the known structures each sample is nearest to.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import NoEventsError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import Kind, simulated
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry, IntArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.compare import superposed_errors
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.io.xyz import read_xyz
from molexa_core.pipeline.chain.movie import Movie, content_of, movie_of
from molexa_core.pipeline.explosions.simulate_movie import simulate_movie
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample

ROOT: Final = Path(__file__).resolve().parents[1]
PATH: Final = ROOT / "docs" / "cyclobutene" / "path.xyz"
PAGE: Final = ROOT / "docs" / "cyclobutene.md"
FIGURE: Final = ROOT / "docs" / "figures" / "cyclobutene.svg"
NOISE: Final = (0.0, 0.01, 0.05)
"""Errors of each momentum component, shares of the rms momentum."""
SAMPLES: Final = 256
TRAJECTORIES: Final = 200_000
LEAST: Final = 20
"""Smallest number of explosions of a mean."""
OPENED_ANGSTROM: Final = 2.2
"""A ring is open where the two CH2 carbons are further apart."""

PAGE_TEXT: Final = """# Cyclobutene: a ring opening, frame by frame

Ten atoms, from the closed ring to butadiene; distorted structures and structures with a migrated
hydrogen beside them ([path.xyz](cyclobutene/path.xyz), made by `tools/cyclobutene_path.py` with
GFN2-xTB). Each geometry, at rest, exploded {count} times by the Monte-Carlo model in a pulse of
{photon:g} eV, {duration:g} fs, {energy:g} mJ in {focus:g} µm. The mean momenta of {channel}
got errors of {noise} of their rms and were given to {weights}, which is told the pulse. Geometries
of cyclobutene and butadiene need not be new to the weights: their card names the molecules of the
training.

![distances and angles along the path](figures/cyclobutene.svg)

*Along the path, exact momenta: medians and 68 % half-widths of {samples} samples; dashed: the
geometry that exploded.*

MAE of the answer after superposition and mean error of the median distances in bohr, and the share
of the distances inside their 68 % interval:

{tables}

*Second table: of {samples} samples, how many are nearest to a structure with closed ring, open ring
or migrated hydrogen (%; distances sorted within each pair of elements).* The largest share is right
in {right} of {cases} cases.

What this does not show: molecules that vibrate, other models of the explosion than the one
that was learned, a detector. The path is that of a neutral molecule in its ground state. Written by
`tools/write_cyclobutene_page.py`.
"""
Draw = Callable[[Sequence[ToldEntry], Kind, int, int], list[FloatArray]]
"""(entries, told, samples, seed) to structures of each."""


@dataclass(frozen=True)
class Shot:
    """One geometry and its measured momenta at one size of errors.

    Attributes:
        name: of the geometry.
        kind: closed, open or migrated.
        truth: the geometry.
        entry: what is measured.
        noise: error of the momenta, share of their rms.
    """

    name: str
    kind: str
    truth: Geometry
    entry: ToldEntry
    noise: float


@dataclass(frozen=True)
class Answer:
    """A reconstruction beside the truth.

    Attributes:
        shot: what was measured.
        record: structure, distances and angles with half-widths.
        mae: mean absolute error of coordinates after superposition, bohr.
        distance_error: mean error of distances, bohr.
        inside: share of distances within their 68 % interval.
        shares: of the samples, by kind of the nearest known structure.
    """

    shot: Shot
    record: ReconstructionRecord
    mae: float
    distance_error: float
    inside: float
    shares: dict[str, float]


def kind_of(geometry: Geometry) -> str:
    """Whether the ring is closed or open, or a hydrogen has moved to another carbon."""
    x = geometry.positions * BOHR_ANGSTROM
    carbons = [n for n, symbol in enumerate(geometry.symbols) if symbol == "C"]
    hydrogens = [n for n, symbol in enumerate(geometry.symbols) if symbol == "H"]
    owners = [min(carbons, key=lambda c: float(np.linalg.norm(x[c] - x[h]))) for h in hydrogens]
    counts = [owners.count(c) for c in carbons]
    ends = [c for c, count in zip(carbons, counts, strict=True) if count == 2]
    if sorted(counts) != [1, 1, 2, 2]:
        return "migrated"
    middles = [c for c in carbons if c not in ends]
    # In the chain and in the ring every CH2 has one CH beside it, and the CH are neighbours.
    beside = [sum(np.linalg.norm(x[e] - x[m]) < 1.75 for m in middles) for e in ends]
    if beside != [1, 1] or np.linalg.norm(x[middles[0]] - x[middles[1]]) > 1.75:
        return "migrated"
    return "open" if np.linalg.norm(x[ends[0]] - x[ends[1]]) > OPENED_ANGSTROM else "closed"


def fingerprint(symbols: Sequence[str], positions: FloatArray) -> FloatArray:
    """(n, pairs) distances, sorted within each pair of elements: alike for any order."""
    lengths = pair_distances(positions)
    one, two = np.triu_indices(len(symbols), k=1)
    pair = np.array(
        ["".join(sorted(symbols[i] + symbols[j])) for i, j in zip(one, two, strict=True)]
    )
    parts = [np.sort(lengths[:, pair == name], axis=1) for name in sorted(set(pair.tolist()))]
    return np.concatenate(parts, axis=1)


def combination(outcomes: Sequence[Outcomes]) -> IntArray:
    """(N) charges of the combination that is frequent in every frame, all atoms charged.

    Raises:
        NoEventsError: there is none.
    """
    counts: dict[tuple[int, ...], list[int]] = {}
    for one in outcomes:
        for charges, count in zip(one.charges.tolist(), one.counts.tolist(), strict=True):
            if min(charges) > 0:
                counts.setdefault(tuple(charges), []).append(int(count))
    common = {key: min(each) for key, each in counts.items() if len(each) == len(outcomes)}
    if not common or max(common.values()) < 2:
        raise NoEventsError(
            "no combination of charges occurred in every frame", do="Follow more explosions."
        )
    return np.array(max(common, key=lambda key: common[key]), dtype=np.int64)


def shots(
    frames: Sequence[Geometry], outcomes: Sequence[Outcomes], noise: Sequence[float], seed: int
) -> list[Shot]:
    """Mean momenta of the same combination in every frame, with errors of each size."""
    charges = combination(outcomes)
    ions = tuple(
        parse_ion(f"{s}{q if q > 1 else ''}+")
        for s, q in zip(frames[0].symbols, charges, strict=True)
    )
    random = np.random.default_rng(seed)
    found = []
    for frame, one in zip(frames, outcomes, strict=True):
        row = int(np.flatnonzero((one.charges == charges).all(axis=1))[0])
        momenta = np.asarray(one.momenta[row], dtype=np.float64)
        scale = float(np.sqrt((momenta**2).mean()))
        for share in noise:
            moved = momenta + share * scale * random.standard_normal(momenta.shape)
            moved -= moved.mean(axis=0)
            statistical = np.trace(one.covariance[row], axis1=1, axis2=2) / 3.0 / one.counts[row]
            spread = np.sqrt((share * scale) ** 2 + statistical)
            entry = ToldEntry(ions, moved, "still", float(one.counts[row]), spread)
            found.append(Shot(frame.comment, kind_of(frame), frame, entry, share))
    return found


def reconstruct(all_shots: Sequence[Shot], told: Kind, draw: Draw, seed: int) -> list[Answer]:
    """The answer to every shot: the sample in the middle, with half-widths of the samples."""
    drawn = draw([one.entry for one in all_shots], told, SAMPLES, seed)
    plain = [one for one in all_shots if not one.name.startswith("distorted")]
    known = {one.name: one for one in plain}.values()
    marks = np.concatenate(
        [fingerprint(one.truth.symbols, one.truth.positions[None]) for one in known]
    )
    kinds = [one.kind for one in known]
    return [
        _answer(shot, samples, marks, kinds) for shot, samples in zip(all_shots, drawn, strict=True)
    ]


def _answer(shot: Shot, samples: FloatArray, marks: FloatArray, kinds: Sequence[str]) -> Answer:
    symbols = shot.truth.symbols
    lengths, angles = pair_distances(samples), triplet_angles(samples)
    middle = np.median(lengths, axis=0)
    chosen = samples[int(np.square(lengths - middle).sum(axis=1).argmin())]
    rows = [_rows(one) for one in (lengths, angles)]
    record = ReconstructionRecord(
        symbols=symbols, positions_bohr=chosen, distances=rows[0], angles=rows[1]
    )
    true = pair_distances(shot.truth.positions[None])[0]
    held = [
        bool(row["low"] <= value <= row["high"]) for row, value in zip(rows[0], true, strict=True)
    ]
    errors, _ = superposed_errors(chosen, shot.truth.positions, symbols)
    near = (
        np.square(fingerprint(symbols, samples)[:, None] - marks[None]).sum(axis=2).argmin(axis=1)
    )
    names = np.array(kinds)[near]
    return Answer(
        shot=shot,
        record=record,
        mae=float(errors.mae),
        distance_error=float(np.abs(middle - true).mean()),
        inside=float(np.mean(held)),
        shares={kind: float((names == kind).mean()) for kind in ("closed", "open", "migrated")},
    )


def _rows(values: FloatArray) -> tuple[dict[str, Any], ...]:
    low, median, high = np.quantile(values, [0.15865, 0.5, 0.84135], axis=0)
    return tuple(
        {
            "of": str(n),
            "median": float(m),
            "low": float(a),
            "high": float(b),
            "half_width": float(b - a) / 2,
        }
        for n, (a, m, b) in enumerate(zip(low, median, high, strict=True))
    )


def tables(answers: Sequence[Answer], noise: Sequence[float]) -> str:
    """Markdown tables: errors by frame and noise, and which kind the samples are of."""
    names = list(dict.fromkeys(one.shot.name for one in answers))
    by = {(one.shot.name, one.shot.noise): one for one in answers}
    heads = [f"{100 * one:g} %" for one in noise]

    def row(*cells: str) -> str:
        return f"| {' | '.join(cells)} |"

    errors = [f"{what} {one}" for one in heads for what in ("MAE", "distances", "in 68 %")]
    lines = [row("geometry", *errors), "|---" * (1 + len(errors)) + "|"]
    for name in names:
        cells = []
        for one in noise:
            found = by[name, one]
            cells += [f"{found.mae:.3f}", f"{found.distance_error:.3f}"]
            cells.append(f"{100 * found.inside:.0f} %")
        lines.append(row(name, *cells))
    kinds = [f"closed / open / migrated {one}" for one in heads]
    lines += ["", row("geometry", "is", *kinds), "|---" * (2 + len(kinds)) + "|"]
    for name in names:
        shares = [by[name, one].shares.values() for one in noise]
        cells = [" / ".join(f"{100 * share:.0f}" for share in each) for each in shares]
        lines.append(row(name, by[name, noise[0]].shot.kind, *cells))
    return "\n".join(lines)


def movie(answers: Sequence[Answer]) -> Movie:
    """The path at the smallest noise, reconstructed beside the truth."""
    chosen = [one for one in answers if one.shot.name.startswith("path") and one.shot.noise == 0.0]
    return movie_of(
        [one.record.geometry() for one in chosen],
        records=[one.record for one in chosen],
        known=[one.shot.truth for one in chosen],
        sources=[one.shot.name for one in chosen],
    )


def told_of_pulse(pulse: Pulse, options: ModelOptions) -> Kind:
    """Everything about the explosions, as it is told."""
    return simulated("mcmd", pulse=pulse, options=options)


def page(answers: Sequence[Answer], pulse: Pulse, weights: str, ions: Sequence[Ion]) -> str:
    """The page."""
    right = sum(max(one.shares, key=lambda k: one.shares[k]) == one.shot.kind for one in answers)
    noise = sorted({one.shot.noise for one in answers})
    return PAGE_TEXT.format(
        count=TRAJECTORIES,
        photon=pulse.photon_ev,
        duration=pulse.duration_fs,
        energy=pulse.energy_mj,
        focus=pulse.focus_um,
        channel=" ".join(str(ion) for ion in ions),
        noise=", ".join(f"{100 * one:g} %" for one in noise),
        weights=weights,
        samples=SAMPLES,
        tables=tables(answers, noise),
        right=right,
        cases=len(answers),
    )


def main() -> None:
    """Explode, reconstruct, write."""
    from molexa_core.report.movie import movie_page  # noqa: PLC0415  matplotlib
    from molexa_core.report.style import save_svg  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="weights that are told the experiment")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--trajectories", type=int, default=TRAJECTORIES)
    parser.add_argument("--keep", type=Path, help="file (npz) for samples and geometries")
    given = parser.parse_args()
    pulse, options = Pulse(), ModelOptions()
    frames = read_xyz(PATH)
    scenes = simulate_movie(
        frames,
        pulse=pulse,
        options=options,
        trajectories=given.trajectories,
        seed=1,
        device=given.device,
    )
    every = shots(frames, [scene.outcomes for scene in scenes], NOISE, seed=2)
    device = "cpu" if given.device == "auto" else given.device

    def draw(entries: Sequence[ToldEntry], told: Kind, count: int, seed: int) -> list[FloatArray]:
        found = sample(given.weights, entries, told, count, seed, device=device)
        if given.keep is not None:
            np.savez_compressed(
                given.keep,
                samples=np.array(found, dtype=np.float32),
                truth=np.array([one.truth.positions for one in every]),
                momenta=np.array([one.entry.momenta for one in every]),
                names=[one.name for one in every],
                kinds=[one.kind for one in every],
                noise=[one.noise for one in every],
                symbols=every[0].truth.symbols,
            )
        return found

    answers = reconstruct(every, told_of_pulse(pulse, options), draw, seed=3)
    name = Path(given.weights).stem
    made = Provenance.of("python tools/write_cyclobutene_page.py", settings={"weights": name})
    save_svg(movie_page.curves(content_of(movie(answers))), FIGURE, made)
    PAGE.write_text(page(answers, pulse, name, every[0].entry.ions), encoding="utf-8")
    print(tables(answers, NOISE))


if __name__ == "__main__":
    main()
