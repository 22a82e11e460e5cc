"""Are the verdicts of the report true? Each answer in words is counted, and compared with truth.

Molecules of known geometry explode, their mean momenta are reconstructed as `molexa reconstruct`
does it, and the sentences of the report are compared with the truth. Kinds of cases:

* `right`: all charges rise within 45 fs, and that is told exactly (shipped weights);
* `wrong rise`: the same is told, but it was a factor of 1.25 to 1.8 shorter or longer;
* `vibrating`: as `right`, but the momenta are means over a virtual run of vibrating molecules;
* `told`: a window of 45 +- 9 fs is told, and the true explosion is drawn from that belief;
* `told wrong`: the same is told, and the window lies 3 to 5 standard deviations off;
* `other weights`: charges of the Monte-Carlo model in the pulse that other weights learned (those
  of version 0.2 in what is stated; `--one-pulse` names some of your own);
* `other pulse`: the same is told, but the pulse was another one.

"No other was found" is true where a search from ten times as many starts, with another seed, finds
none either, by the same criteria. Molecules, charges, noise and explosions are drawn from the seed.
Seeds below 2000 served to see what the verdicts are worth and to write them anew; what is stated
comes from those above.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/verdicts.py --cases 40 --wider \
        --out verdicts.jsonl
    python benchmarks/verdicts.py --summary verdicts.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _record import RESULTS, commit, machine, versions

from molexa_core.base.errors import MolexaError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.known_explosion import ClassicalExplosion
from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.settings import Channel, Explosion, parse_settings
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.weights import load_network
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.mcmd.trajectories import run_trajectories
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.chain.report_parts.report_findings import findings
from molexa_core.pipeline.chain.report_parts.report_structure import structure_of
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.reconstruction.learned import learned_explosion
from molexa_core.pipeline.reconstruction.reconstruct import SAMPLES, SEARCH, reconstruct
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual

KINDS = (
    "right",
    "wrong rise",
    "vibrating",
    "told",
    "told wrong",
    "other weights",
    "other pulse",
)
MOLECULES = (
    "water",
    "ocs",
    "so2",
    "hcn",
    "ammonia",
    "acetylene",
    "formaldehyde",
    "formic_acid",
    "chloromethane",
    "dichloromethane",
)
VIBRATING = {
    "water": (0.3, 0.7, 8_000),
    "ocs": (0.3, 0.7, 8_000),
    "formaldehyde": (0.3, 0.85, 8_000),
    "acetylene": (0.3, 0.85, 8_000),
}
"""Molecules per shot, detection efficiency and shots."""
TAU_FS, SPREAD_FS = 45.0, 9.0
NOISE = 0.003
"""Standard error of a momentum component, share of the rms momentum."""
DISPLACED_BOHR = 0.08
"""Standard deviation of a coordinate of the truth about that of the library."""
WIDER = 10
OTHER_PULSES = (
    Pulse(photon_ev=1500.0, energy_mj=1.0, duration_fs=25.0, focus_um=1.0),
    Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=5.0, focus_um=1.0),
    Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=40.0, focus_um=1.0),
)
TRAJECTORIES = 3000


def truth_of(random: np.random.Generator, names: Sequence[str]) -> tuple[str, Geometry]:
    """A molecule of the library, somewhat displaced."""
    name = str(random.choice(names))
    rest = molecule(name).geometry
    moved = rest.positions + DISPLACED_BOHR * random.standard_normal(rest.positions.shape)
    return name, Geometry(rest.symbols, moved - moved.mean(axis=0))


def charges_of(random: np.random.Generator, symbols: Sequence[str]) -> list[str]:
    """Ions with one to three charges, protons."""
    return [
        "H+" if symbol == "H" else f"{symbol}{int(random.integers(1, 4))}+".replace("1+", "+")
        for symbol in symbols
    ]


def table_of(
    random: np.random.Generator, ions: Sequence[str], momenta: FloatArray, errors: FloatArray
) -> pd.DataFrame:
    """Momenta in a frame of their own, as `molexa centroid` writes them."""
    turn = rotations_of(random.standard_normal((4, 1)))[0]
    values = momenta @ turn.T
    columns = {axis: values[:, place] for place, axis in enumerate(("px", "py", "pz"))}
    columns |= {f"{axis}_err": errors[:, place] for place, axis in enumerate(("px", "py", "pz"))}
    return pd.DataFrame({"ion": list(ions)} | columns)


def measured(random: np.random.Generator, ions: Sequence[str], exact: FloatArray) -> pd.DataFrame:
    """Exact momenta with noise."""
    sigma = NOISE * float(np.sqrt((exact**2).mean()))
    noisy = exact + sigma * random.standard_normal(exact.shape)
    masses = Fragments.of([parse_ion(ion) for ion in ions]).masses
    noisy -= (masses / masses.sum())[:, None] * noisy.sum(axis=0)
    return table_of(random, ions, noisy, np.full(exact.shape, sigma))


def of_build_up(
    kind: str, random: np.random.Generator
) -> tuple[str, Geometry, pd.DataFrame, Explosion]:
    """A case in which charges rise with time."""
    name, truth = truth_of(random, MOLECULES)
    ions = charges_of(random, truth.symbols)
    exactly = Explosion.of(ClassicalExplosion(Uncertain(TAU_FS)))
    about = Explosion.of(ClassicalExplosion(Uncertain(TAU_FS, SPREAD_FS)))
    knowledge = knowledge_of(about if "told" in kind else exactly, truth.symbols)
    hypothesis = knowledge.hypotheses[0]
    parameters = hypothesis.belief.draw(random, 1)
    sign = 1.0 if random.random() < 0.5 else -1.0
    window = hypothesis.belief.names.index("tau_fs")
    if kind == "wrong rise":
        parameters[0, window] += sign * math.log(random.uniform(1.25, 1.8))
    elif kind == "told wrong":
        parameters[0, window] = (
            hypothesis.belief.mean[window]
            + sign * random.uniform(3.0, 5.0) * (hypothesis.belief.width[window])
        )
    fragments = Fragments.of([parse_ion(ion) for ion in ions])
    exact = hypothesis.family.explode(fragments, truth.positions[None], parameters)[0]
    return name, truth, measured(random, ions, exact), about if "told" in kind else exactly


def of_vibrating(random: np.random.Generator) -> tuple[str, Geometry, pd.DataFrame, Explosion]:
    """Means over a virtual run; the truth is the structure at rest."""
    name = str(random.choice(list(VIBRATING)))
    rest = molecule(name).geometry
    per_shot, efficiency, shots = VIBRATING[name]
    changes = {"explosion": "classical", "tau_fs": TAU_FS, "molecules_per_shot": per_shot}
    setup = with_virtual(default_setup(), changes)
    setup = setup.model_copy(update={"detection_efficiency": efficiency})
    counted = Counter(f"{symbol}+" for symbol in rest.symbols)
    values = {
        "name": name,
        "molecule": name,
        "ions": [{"ion": ion, "count": count} for ion, count in counted.items()],
        "gates": {"max_momentum": 400},
    }
    channel = parse_settings(Channel, values, where="channel")
    run = mock(channel, shots, setup=setup, seed=int(random.integers(2**31)))
    table = centroid(align(reduce([run.hits], channel, setup).table).table)
    return name, rest, table, Explosion.of(ClassicalExplosion(Uncertain(TAU_FS)))


def of_x_rays(
    kind: str, random: np.random.Generator, card: Any
) -> tuple[str, Geometry, pd.DataFrame, Explosion]:
    """Mean momenta of the most frequent combination of charges of the Monte-Carlo model."""
    name, truth = truth_of(random, MOLECULES)
    learned = learned_explosion(card)
    pulse = Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=15.0, focus_um=1.0)
    if kind == "other pulse":
        pulse = OTHER_PULSES[int(random.integers(len(OTHER_PULSES)))]
    found = run_trajectories(
        truth.positions,
        truth.symbols,
        pulse,
        trajectories=TRAJECTORIES,
        seed=int(random.integers(2**31)),
    )
    atoms = len(truth)
    charges = found.charges.reshape(-1, atoms)
    kept = ~found.lost.reshape(-1) & (charges > 0).all(axis=1)
    charges, momenta = charges[kept], found.momenta.reshape(-1, atoms, 3)[kept].astype(float)
    every, counts = np.unique(charges, axis=0, return_counts=True)
    chosen = every[counts.argmax()]
    seen = momenta[(charges == chosen).all(axis=1)]
    ions = [
        f"{symbol}{'' if charge == 1 else charge}+"
        for symbol, charge in zip(truth.symbols, chosen, strict=True)
    ]
    masses = Fragments.of([parse_ion(ion) for ion in ions]).masses
    seen = seen - (masses / masses.sum())[:, None] * seen.sum(axis=1, keepdims=True)
    errors = seen.std(axis=0, ddof=1) / math.sqrt(len(seen))
    size = math.sqrt(float((errors**2).mean()))
    table = table_of(random, ions, seen.mean(axis=0), np.full(errors.shape, size))
    return name, truth, table, Explosion.of(learned)


def one_case(kind: str, seed: int, *, wider: bool, one_pulse: str) -> dict[str, Any]:
    """One case as plain values; lengths in angstrom."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    x_rays = kind.startswith("other")
    weights = load_network(one_pulse if x_rays else "molexa-stage1", "cpu")
    if x_rays:
        name, truth, table, told = of_x_rays(kind, random, weights[1])
    elif kind == "vibrating":
        name, truth, table, told = of_vibrating(random)
    else:
        name, truth, table, told = of_build_up(kind, random)
    row: dict[str, Any] = {"kind": kind, "seed": seed, "molecule": name}
    row["ions"] = " ".join(table["ion"])
    begin = time.process_time()
    try:
        record = reconstruct(
            table,
            options=ReconstructOptions(seed=seed, device="cpu"),
            network=weights,
            explosion=told,
        )
    except MolexaError as error:
        return row | {"failed": str(error)}
    row["seconds"] = time.process_time() - begin
    structure = structure_of(record, truth, "truth")
    row["findings"] = [[one.question, one.tone, one.answer] for one in findings(structure)]
    pairs = [one for one in structure.lengths if one.kind == "distance"]
    row["distances"] = [
        [_short(one.value), _short(one.error), _short(one.known), one.bonded] for one in pairs
    ]
    row["p_value"] = record.explosion.get("p_value")
    row["degrees"] = record.explosion.get("degrees")
    row["share"] = record.closure.get("evidence_share", record.closure.get("share_of_samples"))
    row["alternatives"] = len(record.alternatives)
    row["warnings"] = len(record.warnings)
    if wider and not x_rays and not record.alternatives:
        row["wider"] = found_by_more(table, weights, told, seed)
    return row


def _short(value: float | None) -> float | None:
    """Angstrom to a hundred-thousandth."""
    return None if value is None else round(value, 5)


def found_by_more(table: pd.DataFrame, weights: Any, told: Explosion, seed: int) -> tuple[int, int]:
    """Other structures of a search from ten times as many starts, and chemically plausible ones."""
    more = reconstruct(
        table,
        options=ReconstructOptions(
            seed=seed + 1, samples=2 * SAMPLES, search=WIDER * SEARCH, device="cpu"
        ),
        network=weights,
        explosion=told,
    )
    return len(more.alternatives), sum(not one["objections"] for one in more.alternatives)


QUESTIONS = ("only", "explains", "uncertain", "known")


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each kind, what was answered and how often it was true."""
    found = []
    for kind in KINDS:
        cases = [row for row in rows if row["kind"] == kind and "failed" not in row]
        if not cases:
            continue
        said = {
            question: [row["findings"][place][1:] for row in cases if len(row["findings"]) > place]
            for place, question in enumerate(QUESTIONS)
        }
        found.append(
            {
                "kind": kind,
                "cases": len(cases),
                "failed": sum(row["kind"] == kind and "failed" in row for row in rows),
                "only": only(cases),
                "explains": dict(Counter(answer for _, answer in said["explains"])),
                "uncertain": {
                    tone: lengths_of(
                        [
                            one
                            for one, (seen, _) in zip(cases, said["uncertain"], strict=True)
                            if seen == tone
                        ]
                    )
                    for tone in ("good", "doubt", "bad", "plain")
                },
                "known": dict(Counter(tone for tone, _ in said["known"])),
                "warned": sum(bool(row["warnings"]) for row in cases),
                "explained": {
                    answer: lengths_of(
                        [
                            one
                            for one, (_, seen) in zip(cases, said["explains"], strict=True)
                            if seen == answer
                        ]
                    )
                    for answer in sorted({answer for _, answer in said["explains"]})
                },
            }
        )
    return found


def only(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often "no other was found" was said, and how often more searching found none either."""
    none = [row for row in cases if row["findings"][0][1] == "good"]
    looked = [row for row in none if "wider" in row]
    return {
        "no other was found": len(none),
        "searched again": len(looked),
        "nor by more searching": sum(row["wider"][0] == 0 for row in looked),
        "nor a plausible one": sum(row["wider"][1] == 0 for row in looked),
        "others fit": sum(row["alternatives"] > 0 for row in cases),
        "truth of no other": lengths_of(none),
        "truth of others": lengths_of([row for row in cases if row["alternatives"]]),
    }


def lengths_of(cases: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Whether the +- of distances held, of those cases that have any."""
    judged = [
        [(value - known, error) for value, error, known, _ in row["distances"] if error]
        for row in cases
    ]
    judged = [one for one in judged if one]
    if not judged:
        return None
    off = np.array([pair for one in judged for pair in one])
    worst = [math.sqrt(sum(a * a for a, _ in one) / sum(b * b for _, b in one)) for one in judged]
    return {
        "cases": len(judged),
        "inside": round(float((np.abs(off[:, 0]) <= off[:, 1]).mean()), 3),
        "ratio": round(float(np.sqrt((off[:, 0] ** 2).sum() / (off[:, 1] ** 2).sum())), 2),
        "ratio above 2": sum(one > 2.0 for one in worst),
        "error_angstrom": round(float(np.sqrt((off[:, 0] ** 2).mean())), 4),
    }


def main() -> None:
    """Draw cases, or sum them up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=[k for k in KINDS if "other" not in k])
    parser.add_argument("--one-pulse", default="", help="weights, for the kinds `other ...`")
    parser.add_argument("--first", type=int, default=2000)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--wider", action="store_true", help="search again from more starts")
    parser.add_argument("--out", type=Path, default=Path("verdicts.jsonl"))
    parser.add_argument("--summary", type=Path, nargs="+", help="lines to sum up")
    parser.add_argument("--store", action="store_true", help="among the results")
    given = parser.parse_args()
    if given.summary:
        rows = [json.loads(line) for path in given.summary for line in path.open()]
        found = summary(rows)
        print(json.dumps(found, indent=1))
        if given.store:
            made = {"machine": machine(), "commit": commit(), "versions": versions()}
            whole: dict[str, Any] = {"summary": found, "cases": rows, **made}
            path = RESULTS / "accuracy" / "verdicts.json"
            path.write_text(json.dumps(whole, separators=(",", ":")) + "\n")
        return
    with given.out.open("a", encoding="utf-8") as stream:
        for seed in range(given.first, given.first + given.cases):
            for kind in given.kinds:
                row = one_case(kind, seed, wider=given.wider, one_pulse=given.one_pulse)
                stream.write(json.dumps(row) + "\n")
                stream.flush()


if __name__ == "__main__":
    main()
