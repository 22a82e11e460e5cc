"""Tables of docs/accuracy-tables.md in Markdown, from stored results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

MEASURES = (
    "mae",
    "mean_distance_error",
    "max_distance_error",
    "mean_angle_error",
    "max_angle_error",
)
ONE = "one sample"
TITLES = {
    "mean of the samples": "mean of {} samples",
    "best closure": "of {} samples the one of best closure",
    "nearest sample (told the truth)": "of {} samples the nearest to the truth (needs the truth)",
}
SHARE_BINS = (0.0, 0.02, 0.2, 0.4, 0.6, 0.8, 0.98, 1.01)
"""As in benchmarks/ambiguity.py."""
AVERAGED = (
    "modes",
    "truth_drawn",
    "truth_and_another_drawn",
    "share_at_truth",
    "share_between",
    "bayes_difference",
)
COMPARED_SETS = {
    "validation": "known molecules, new entries",
    "test": "new molecules",
    "set_aside": "8 and 9 atoms",
    "random": "random molecules of stage 1",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def evaluation_tables(
    title: str, values: Mapping[str, Any], published: str, figures: Mapping[str, str]
) -> str:
    """One set: errors by answer, by size, by predicted error; intervals; diatomics; spread."""
    given = values["conditions"]
    lines = [f"### {title}", ""]
    lines.append(
        f"Weights `{given['weights']}`, {given['entries']} entries drawn at random "
        f"({given['split']}, split by {given['by']}), {given['sampler_steps']} sampler steps, "
        f"{given['samples']} samples, seed {given['seed']}. In brackets the 95 % interval of the "
        "mean, geometries resampled."
    )
    lines += [f"\n**Warning**: {text}." for text in given.get("warnings", [])]
    rows = []
    if published:
        rows.append(["published network on its own data", *published.split(" / ")])
    rows += [
        [_answer(method, given["samples"]), *_cells(groups["all"])]
        for method, groups in values["errors"].items()
        if "all" in groups
    ]
    header = ["answer", "MAE", "mean DE", "max DE", "mean AE", "max AE"]
    lines += ["", *table(header, rows), "", "By number of atoms, one sample:", ""]
    spread = values.get("spread") or {}
    held = values.get("coverage") or {}
    lines += _by_size(values["errors"][ONE], spread, held)
    if held:
        told = "`in 68 %`, `in 95 %`: share of the coordinates inside the calibrated intervals."
        lines += ["", told]
    else:
        lines += ["", "These weights have no calibrated intervals."]
    lines += ["", "By predicted error, one sample:", "", *_by_certainty(values)]
    ranked = values.get("ranking") or {}
    if ranked:
        parts = [
            f"{ranked[name]:.2f} {words}"
            for name, words in (
                ("between_entries", "between entries"),
                ("between_entries_by_rank", "between their ranks"),
                ("between_samples_of_an_entry", "between the samples of one entry"),
            )
            if name in ranked
        ]
        lines += ["", f"Correlation of predicted and true error: {', '.join(parts)}."]
    lines += _diatomics(values["diatomics"])
    if "all" in spread:
        two = spread["all"]
        told = (
            "Repeated predictions of one entry: standard deviation of a coordinate "
            f"{two['deviation']:.3f} bohr, two differ by {two['difference']:.3f} bohr (published: "
            "about 0.07)."
        )
        lines += ["", told]
    for figure in figures.values():
        lines += ["", figure.rstrip()]
    return "\n".join([*lines, ""])


def _answer(method: str, samples: int) -> str:
    return TITLES.get(method, method).format(samples)


def _by_size(
    rows: Mapping[str, Any],
    spread: Mapping[str, Mapping[str, float]],
    held: Mapping[str, Sequence[float]],
) -> list[str]:
    header = ["atoms", "entries", "MAE", "median", "mean DE", "max DE", "mean AE", "max AE"]
    header += ["two samples differ by"] if spread else []
    header += ["in 68 %", "in 95 %"] if held else []
    cells = []
    for group, row in rows.items():
        if not group.isdigit() and group != "all":
            continue
        line = [group, str(row["entries"]), _interval(row["mae"]), f"{row['mae']['median']:.3f}"]
        line += _means(row)[1:]
        line += [f"{spread[group]['difference']:.3f}"] if spread else []
        line += [f"{100 * one:.1f} %" for one in held.get(group, ())] if held else []
        cells.append(line)
    return table(header, cells)


def _by_certainty(values: Mapping[str, Any]) -> list[str]:
    header = ["entries", "predicted MAE", "MAE", "median", "mean DE", "max DE", "mean AE", "max AE"]
    rows = [
        [f"fifth {number} of 5", *_certainty_cells(row)]
        for number, row in enumerate(values.get("by_uncertainty", ()), start=1)
    ]
    rows += [
        [f"most certain {row['share']:.0%}", *_certainty_cells(row)]
        for row in values.get("most_certain", ())
        if row["share"] < 1.0
    ]
    return table(header, rows)


def _certainty_cells(row: Mapping[str, float]) -> list[str]:
    cells = [f"{row['predicted_mean']:.3f}", f"{row['mae_mean']:.3f}", f"{row['mae_median']:.3f}"]
    for name in MEASURES[1:]:
        digits = 2 if "angle" in name else 3
        value = row.get(f"{name}_mean")
        cells.append("" if value is None else f"{value:.{digits}f}")
    return cells


def _diatomics(pairs: Mapping[str, float]) -> list[str]:
    if not pairs:
        return []
    told = f"{pairs['network']:.3f}"
    if "network low" in pairs:
        told += (
            f" ({pairs['network low']:.3f}–{pairs['network high']:.3f}), "
            f"median {pairs['network median']:.3f}"
        )
    rows = [
        ["network", told, "0.155"],
        ["q1 q2/KER", f"{pairs['c / KER with c = 1']:.3f}", "1.27"],
        [
            f"c q1 q2/KER, c = {pairs['c fitted']:.3f} fitted to these",
            f"{pairs['c / KER with c fitted']:.3f}",
            "0.49 (c = 0.797)",
        ],
    ]
    header = [f"bond lengths of {pairs['entries']:.0f} diatomics", "mean error, bohr"]
    return ["", *table([*header, "published, other data"], rows)]


def _means(row: Mapping[str, Any]) -> list[str]:
    cells = []
    for name in MEASURES:
        digits = 2 if "angle" in name else 3
        cells.append(f"{row[name]['mean']:.{digits}f}" if name in row else "")
    return cells


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [_interval(row["mae"]), *_means(row)[1:]]


def _interval(one: Mapping[str, float]) -> str:
    return f"{one['mean']:.3f} ({one['low']:.3f}–{one['high']:.3f})"


def shipped_table(
    values: Mapping[str, Any], title: str = "Shipped molecules, classical model"
) -> str:
    """Real molecules: one sample, best of 8, `molexa reconstruct`."""
    given = values["conditions"]
    lines = [f"### {title}", ""]
    lines.append(
        f"{given['molecules']} {given['what']}. Weights `{given['weights']}`, trained on random "
        f"clusters; {given['samples']} samples, {given['search']} further starts."
    )
    methods = ("one sample", "best closure of 8", "molexa reconstruct")
    methods += ("nearest of all listed structures",)
    header = ["molecules", *(f"{name}: mean / median" for name in methods), "structures that fit"]
    rows = []
    for group, row in values["rows"].items():
        cells = [f"{row[name]['mean']:.3f} / {row[name]['median']:.4f}" for name in methods]
        fits = f"{row['mean_structures_that_fit']:.1f}"
        rows.append([f"{group} ({row['molecules']})", *cells, fits])
    wrong = ", ".join(name.replace("_", " ") for name in values["wrong"])
    lines += ["", *table(header, rows), ""]
    lines += [f"More than 0.05 bohr off ({len(values['wrong'])}): {wrong or 'none'}.", ""]
    return "\n".join(lines)


def beyond_table(found: Mapping[str, Any], refined: Mapping[str, Any] | None) -> str:
    """Molecules larger than any of the training, with a warning."""
    lines = ["### The known limit: more atoms than in any training", ""]
    lines.append(
        "The network has no fixed number of atoms, but no training had more than 9. `molexa "
        "reconstruct` refuses more; `molexa evaluate --largest` or `--names` answers with a "
        "warning. **These numbers stand for nothing but themselves**: few molecules, classical "
        "explosions, all ions singly charged, and no calibration of the error bars. MAE in bohr "
        "in the model frame."
    )
    for values in found.values():
        given = values["conditions"]
        methods = [
            key
            for key in values["molecules"][0]
            if key not in ("name", "atoms", "predicted", "equilibrium of the formula")
        ]
        lines += ["", f"Weights `{given['weights']}`, {given['samples']} samples, "]
        lines[-1] += f"{given['sampler_steps']} sampler steps:"
        header = ["molecule", "atoms", *(_answer(one, given["samples"]) for one in methods)]
        rows = [
            [
                one["name"].replace("_", " "),
                str(one["atoms"]),
                *(f"{one[method]:.3f}" for method in methods),
                f"{one['predicted']:.3f}",
            ]
            for one in sorted(values["molecules"], key=lambda one: (one["atoms"], one["name"]))
        ]
        lines += ["", *table([*header, "predicted error"], rows)]
    if refined is not None:
        lines += ["", shipped_table(refined, "The same, refined and searched as in reconstruct")]
    return "\n".join([*lines, ""])


def comparison_tables(values: Mapping[str, Any]) -> str:
    """Presets, stages and memory compared at equal time."""
    lines = ["### Presets, stages and memory at equal time", ""]
    lines.append(
        f"Every training had {values['seconds']:g} s on one device, compilation not counted; "
        f"data set `{values['data']}`, split {values['split']}; the same {values['entries']} "
        "entries of each set for all. In brackets 95 % intervals, geometries resampled. "
        "`benchmarks/compare_training.py` has recipes and learning rates."
    )
    header = ["ratio of mean errors, one sample", "set", "MAE", "mean DE", "mean AE", "expected"]
    rows = []
    for row in values["comparisons"]:
        for name, ratios in row[ONE].items():
            cells = [
                f"{ratios[one]['ratio']:.3f} ({ratios[one]['low']:.3f}–{ratios[one]['high']:.3f})"
                if one in ratios
                else ""
                for one in ("mae", "mean_distance_error", "mean_angle_error")
            ]
            what = f"{row['what']} (`{row['run']}`/`{row['relative_to']}`)"
            rows.append([what, COMPARED_SETS.get(name, name), *cells, row.get("bar", "")])
    lines += ["", *table(header, rows), ""]
    rows = []
    for name, run in values["runs"].items():
        training = run["training"]
        cells = [
            f"{run['errors'][one][ONE]['mae']['mean']:.3f} / "
            f"{run['errors'][one][ONE]['mean_distance_error']['mean']:.3f}"
            if one in run["errors"]
            else ""
            for one in COMPARED_SETS
        ]
        rows.append(
            [f"`{name}`: {run['what']}", f"{training['steps']}", f"{training['molecules']}", *cells]
        )
    header = [
        "run",
        "steps",
        "molecules",
        *(f"{one}: MAE / mean DE" for one in COMPARED_SETS.values()),
    ]
    lines += table(header, rows)
    if values.get("open"):
        told = "; ".join(
            f"`{name}`: {why.splitlines()[0][:120]}" for name, why in values["open"].items()
        )
        lines += ["", f"Not finished: {told}."]
    return "\n".join([*lines, ""])


def ambiguity_table(values: Mapping[str, Any], figure: str) -> str:
    """Whether samples represent all geometries of the momenta, in proportion."""
    given = values["conditions"]
    lines = ["### Does the sampler represent ambiguity?", ""]
    lines.append(
        "Random molecules were exploded, and further geometries with the same momenta (to 1e-6) "
        "found by refinement from many starts, without the network. For each molecule with at "
        f"least two such modes {given['samples']} samples of `{given['weights']}` were drawn and "
        "counted at the nearest mode. *Training*: molecules as in the training of stage 1; a "
        "sampler of the posterior is calibrated: of all modes with share s, s are the truth. "
        "*Box*: atoms uniform in a cube and far apart, where the probability of a mode follows "
        "from Bayes' rule, density / |det dp/dx|. Between modes: further from the nearest mode "
        "than 35 % of the way to its neighbour."
    )
    header = ["molecules", "atoms", "sampler", "cases", "modes", "truth drawn", "truth and another"]
    header += ["share at the truth", "between modes", "calibration error", "off Bayes"]
    rows = []
    for row in [*values["rows"], *together(values["rows"])]:
        bayes = row.get("bayes_difference")
        rows.append(
            [
                row["kind"],
                str(row["atoms"]),
                row["sampler"],
                f"{row['cases']} of {row['looked_at']}",
                f"{row['modes']:.1f}",
                f"{100 * row['truth_drawn']:.0f} %",
                f"{100 * row['truth_and_another_drawn']:.0f} %",
                f"{100 * row['share_at_truth']:.0f} %",
                f"{100 * row['share_between']:.0f} %",
                f"{row['calibration_error']:.3f}",
                "" if bayes is None else f"{bayes:.3f}",
            ]
        )
    lines += ["", *table(header, rows), "", figure]
    return "\n".join(lines)


def together(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of each kind of molecules and sampler as one, weighted by molecules or modes."""
    found = []
    for kind, sampler in dict.fromkeys((row["kind"], row["sampler"]) for row in rows):
        mine = [row for row in rows if (row["kind"], row["sampler"]) == (kind, sampler)]
        cases = sum(row["cases"] for row in mine)
        whole: dict[str, Any] = {"kind": kind, "sampler": sampler, "atoms": "all", "cases": cases}
        whole["looked_at"] = sum(row["looked_at"] for row in mine)
        for name in AVERAGED:
            if all(name in row for row in mine):
                whole[name] = sum(row["cases"] * row[name] for row in mine) / cases
        whole["pairs"] = [pair for row in mine for pair in row.get("pairs", ())]
        groups = [group for row in mine for group in row["reliability"]]
        whole["reliability"] = []
        for low, high in pairwise(SHARE_BINS):
            inside = [one for one in groups if low <= one["mean_share"] < high]
            modes = sum(one["modes"] for one in inside)
            if modes:
                means = {
                    name: sum(one["modes"] * one[name] for one in inside) / modes
                    for name in ("mean_share", "is_the_truth")
                }
                whole["reliability"].append({"modes": modes, **means})
        gaps = [
            one["modes"] * abs(one["mean_share"] - one["is_the_truth"])
            for one in whole["reliability"]
        ]
        whole["calibration_error"] = sum(gaps) / sum(one["modes"] for one in whole["reliability"])
        found.append(whole)
    return found
