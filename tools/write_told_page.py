"""Write docs/lab/told-tables.md: weights that are told the experiment, from benchmarks/results.

    python tools/write_told_page.py [FOLDER]

FOLDER (benchmarks/results/accuracy if not given) holds what these commands store; what is missing
is left out:

    molexa evaluate --data pulses --weights W --out told-pulses.json
    molexa evaluate --calibration --weights W --data ... --out told-calibration.json
    python benchmarks/known_test_sets.py --out told-known-sets.json
    python benchmarks/outside_the_box.py --out told-outside.json
    python benchmarks/averaged_runs.py --out told-averaged.json
    python benchmarks/posterior_start.py --out told-posterior.json
    python benchmarks/ambiguity.py --result told-twins
    python benchmarks/one_pulse_loss.py --rows LINES (told-one-pulse.json holds them)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results" / "accuracy"
PAGE: Final = ROOT / "docs" / "lab" / "told-tables.md"
HEAD: Final = """# Weights that are told the experiment: tables

How these tables are made: `tools/write_told_page.py`; how such weights are trained:
[lab notes](told.md). Distances in bohr unless said otherwise; *inside*: share of the distances
inside the central 68 % of samples; *ratio*: rms error over rms spread, 1 is honest. In brackets:
95 % intervals by resampling whole molecules. Samples alone, no factors of a calibration.
Averaged runs, the posterior, structures with the same momenta in a box: with the sampler before
([lab notes](told.md#what-was-measured)).
"""
ENDS: Final = {"value": "", "low": "_low", "high": "_high"}
TELLINGS: Final = {
    "everything": "everything",
    "pulse": "the pulse, not the switches of the physics",
    "kind": "that it was an X-ray pulse",
    "nothing": "nothing",
    "10 %": "fluence and duration within 10 %",
    "30 %": "within 30 %",
    "60 %": "within 60 %",
}


WAYS: Final = {
    "samples": "Samples of the weights (told the errors of the means; since then they are told the "
    "scatter of the events: [lab notes](told.md#averaged-runs))",
    "samples, frames of the training": "Samples of the weights, like ions known apart and every "
    "event turned by the same two ions, as in the training (no measured run is so)",
    "samples, frames event by event": "Samples of the weights, frames event by event",
    "posterior": "`molexa reconstruct`",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def cell(row: Mapping[str, Any], *, intervals: bool = False) -> str:
    """Error of the mean of 8, rms error, inside, ratio."""
    inside, ratio = f"{100 * row['inside']:.0f}", f"{row['ratio']:.2f}"
    low, high = row.get("low"), row.get("high")
    if intervals and low and high:
        inside += f" ({100 * low['inside']:.0f}-{100 * high['inside']:.0f})"
        ratio += f" ({low['ratio']:.2f}-{high['ratio']:.2f})"
    return f"{row['mean']:.2f} / {row['rms']:.2f} / {inside} / {ratio}"


def pulses(found: Mapping[str, Any]) -> str:
    """Held-out molecules in the pulses A to F, by size and by what is told."""
    by_kind = found["results"] if "results" in found else {"still": found["pulses"]}
    parts = ["## Molecules that the training left out\n"]
    parts.append(found.get("what", ""))
    for kind, by_pulse in by_kind.items():
        names = {t: TELLINGS[t] for t in TELLINGS if any(t in rows for rows in by_pulse.values())}
        for group in ("3-7", "3-9", "2", "10"):
            rows = [
                [
                    pulse,
                    *(
                        cell(told[one][group], intervals=one == "everything")
                        if group in told.get(one, {})
                        else ""
                        for one in names
                    ),
                ]
                for pulse, told in sorted(by_pulse.items())
            ]
            if not any(any(row[1:]) for row in rows):
                continue
            parts.append(
                f"{kind}, {group.replace('-', ' to ')} atoms: error of the mean of 8 samples / its "
                "rms / % inside / ratio\n"
            )
            parts.append(table(["pulse", *names.values()], rows))
    return "\n\n".join(part for part in parts if part)


def calibration(found: Mapping[str, Any]) -> str:
    """SBC, TARP and coverage on each kind of set."""
    rows = []
    for name, one in found["calibration"].items():
        least = min(one["tests"], key=lambda test: test["p_value_after_holm"])
        curve = max(one["curves"], key=lambda curve: curve["largest_deviation"])
        every = one["groups"]["all"]
        rows.append(
            [
                name,
                str(one["cases"]),
                _share(every["inside_68"]),
                f"{every['ratio']['value']:.2f}",
                f"{curve['largest_deviation']:.3f} ({curve['of']})",
                f"{least['p_value_after_holm']:.2g} ({least['test']})",
            ]
        )
    head = ["set", "geometries", "% inside", "ratio", "largest error of a coverage curve"]
    told = found["conditions"].get("told", "everything")
    return (
        f"## Is it the posterior? One entry per geometry, told {told}\n\n"
        + table([*head, "smallest p-value after Holm"], rows)
        + "\n\n[What these tests ask](../error-bars-tested.md)."
    )


def _share(of: Mapping[str, float]) -> str:
    """A share and its interval, %."""
    return f"{100 * of['value']:.0f} ({100 * of['low']:.0f}-{100 * of['high']:.0f})"


def known_sets(found: Mapping[str, Any]) -> str:
    """The test sets of the weights for one pulse."""
    names = list(found["rows"])
    rows = []
    for group in found["rows"][names[0]]["rows"]:
        cells = []
        for name in names:
            row = found["rows"][name]["rows"].get(group)
            cells.append("" if row is None else cell(row))
        rows.append([group, *cells])
    return (
        "## Test sets of weights for one pulse\n\nError of the mean of 8 samples / rms / % inside "
        "/ ratio\n\n" + table(["set", *names], rows)
    )


def outside(found: Mapping[str, Any]) -> str:
    """Called unlike the training."""
    told = {
        "111": "photon energy, fluence, duration",
        "110": "photon energy, fluence",
        "001": "duration",
        "000": "nothing",
    }
    rows = [
        [name, str(row["cases"]), *(f"{100 * row[k]:.1f}" if k in row else "" for k in told)]
        for name, row in found["called_unlike"].items()
    ]
    return "## Called unlike the training, %, by what is told\n\n" + table(
        ["explosions", "cases", *told.values()], rows
    )


def averaged(found: Mapping[str, Any]) -> str:
    """Bond lengths from means over vibrating molecules."""
    parts = [
        (
            "## Means over vibrating molecules\n\nVirtual runs, each with its own molecule, pulse "
            "and random numbers, averaged as `molexa align` and `molexa centroid` do. Bond lengths "
            "in Å against those of the geometry about which the molecule vibrates."
        )
    ]
    for way, word in WAYS.items():
        if way not in found:
            continue
        rows = [
            [
                group,
                f"{one['runs']}",
                f"{one['bonds']}",
                _share({end: one[f"inside_68{of}"] for end, of in ENDS.items()}),
                f"{100 * one['beyond_4']:.1f}",
                f"{one['ratio']:.2f}",
                f"{one['mean_error_angstrom']:.3f}",
                f"{one['half_width_angstrom']:.3f}",
            ]
            for group, one in found[way]["groups"].items()
            if one["bonds"]
        ]
        head = ["molecules", "runs", "bonds", "% inside", "% beyond 4 half-widths", "ratio"]
        parts.append(f"{word}:\n\n" + table([*head, "mean error", "mean half-width"], rows))
        bias = [
            [
                group,
                ", ".join(
                    f"{one['bond']} {one['bias_angstrom']:+.3f} ± {one['error_of_bias'] or 0:.3f} "
                    f"({one['half_width_angstrom']:.3f})"
                    for one in some
                ),
            ]
            for group, some in found[way]["bias"].items()
        ]
        if bias:
            parts.append(table(["molecule", "bias of each bond (mean half-width)"], bias))
    return "\n\n".join(parts)


def posterior(found: Mapping[str, Any]) -> str:
    """The posterior that starts from the samples."""
    rows = []
    for telling, groups in found["tellings"].items():
        for name, one in groups.items():
            if name == "rows":
                continue
            rows.append(
                [
                    telling,
                    name,
                    f"{one['with_error_bars']} of {one['cases']}",
                    f"{one['network']:.3f}",
                    f"{one['posterior']:.3f}",
                    f"{one['ratio']:.2f} ({one['low']:.2f}-{one['high']:.2f})",
                    f"{one['error_over_claim']:.2f}",
                ]
            )
    head = ["told", "atoms", "with error bars", "samples", "posterior", "posterior / samples"]
    return (
        "## The posterior that starts from the samples\n\nPulse A, new molecules. *wrong*: a "
        "duration 30 % too short, told within 30 %.\n\n" + table([*head, "error / claim"], rows)
    )


def twins(found: Mapping[str, Any]) -> str:
    """Shares of twins."""
    rows = [
        [
            row["kind"],
            str(row["atoms"]),
            str(row["cases"]),
            f"{100 * row['truth_drawn']:.0f}",
            f"{100 * row['truth_and_another_drawn']:.0f}",
            f"{row['calibration_error']:.3f}",
            f"{row['bayes_difference']:.3f}" if "bayes_difference" in row else "",
        ]
        for row in found["rows"]
    ]
    head = ["molecules", "atoms", "cases", "truth drawn, %", "truth and another, %"]
    return (
        f"## Structures with the same momenta\n\n{found['conditions']['samples']} samples; what "
        "the columns mean: [all tables](../accuracy-tables.md).\n\n"
        + table([*head, "calibration error", "off Bayes"], rows)
    )


def twin_shares(found: Mapping[str, Any]) -> str:
    """Shares of twins by the posterior."""
    rows = []
    for atoms, both in found["shares"].items():
        for of in ("posterior", "samples"):
            one = both[of]
            if not one["molecules"]:
                continue
            low, high = one["interval"]
            off = f"{one['off']:.3f} ({low:.3f}-{high:.3f})"
            row = [of, atoms, str(one["molecules"]), off, f"{one['median']:.3f}"]
            rows.append([*row, f"{100 * one['beyond_bar']:.0f}"])
    head = ["shares of", "atoms", "molecules with twins", "off Bayes, mean", "median"]
    return (
        "## Shares of twins by the posterior\n\nMolecules of the prior of the inversion, momenta "
        f"with an error of {100 * found['error']:g} %, {found['draws']} weighted draws started by "
        f"samples of the weights; beside it {found['samples']} samples alone, whose prior is "
        "another (`benchmarks/twin_shares.py`).\n\n" + table([*head, "beyond 0.06, %"], rows)
    )


def predicted(found: Mapping[str, Any]) -> str:
    """Errors that the uncertainty head predicts for one sample, beside the true ones."""
    rows = []
    for name, one in found.items():
        pulse, atoms = name.split()
        fifths = one["fifths"]
        rows.append(
            [
                pulse,
                atoms,
                f"{one['predicted']:.3f}",
                f"{one['true']:.3f}",
                *(f"{some['predicted']:.3f} / {some['true']:.3f}" for some in fifths),
            ]
        )
    head = ["pulse", "atoms", "predicted", "true", "least fifth", "2", "3", "4", "largest fifth"]
    return (
        "## Errors that the network predicts\n\nMean absolute error of a coordinate of one sample, "
        "predicted and true; by fifths of the predicted one.\n\n" + table(head, rows)
    )


def one_pulse(found: Mapping[str, Any]) -> str:
    """What a network for all explosions loses against one for one pulse, trained as long."""
    every, *others = found["networks"]
    rows = []
    for one in others:
        pulse = one["network"]
        for group in ("2", "3-7"):
            a, b = every["pulses"][pulse][group], one["pulses"][pulse][group]
            rows.append([pulse, group, cell(a), cell(b), f"{a['mean'] / b['mean']:.2f}"])
    return (
        f"## All explosions or one pulse\n\n{every['steps']} steps of {every['batch']} entries "
        "each, from the same start. Error of the mean of 8 samples / rms / % inside / ratio\n\n"
        + table(["pulse", "atoms", "all explosions", "this pulse alone", "times the error"], rows)
    )


PARTS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "told-pulses": pulses,
    "told-calibration": calibration,
    "told-calibration-nothing": calibration,
    "told-known-sets": known_sets,
    "told-outside": outside,
    "told-averaged": averaged,
    "told-posterior": posterior,
    "told-twins": twins,
    "told-twin-shares": twin_shares,
    "told-predicted-errors": predicted,
    "told-one-pulse": one_pulse,
}


def page(folder: Path) -> str:
    """The page from the results in a folder."""
    parts = [HEAD]
    for name, part in PARTS.items():
        path = folder / f"{name}.json"
        if path.exists():
            parts.append(part(json.loads(path.read_text(encoding="utf-8"))))
    return "\n\n".join(one.strip() for one in parts) + "\n"


def main() -> None:
    """Write the page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    PAGE.write_text(page(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
