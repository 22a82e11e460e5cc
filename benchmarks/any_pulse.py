"""Are structures and their errors right in any X-ray pulse, after a calibration on N2, CO, water?

    python benchmarks/any_pulse.py --members 60 --workers 16 --out any_pulse.json
    python benchmarks/any_pulse.py --members 60 --workers 16 --wrong rule --out any_pulse_rule.json

Members of the family of Monte-Carlo models are drawn: photon energy (one of those that the
surrogate was trained with), fluence, duration, rule and time of transfer, recapture, shake-off,
double Auger, place in the focus. In each, vibrating
molecules of N2, CO and water explode (the Monte-Carlo model itself, not the surrogate) until their
most frequent combination of charges was seen 2000 times; members in which one that is used holds
less than 1 % of the explosions are drawn anew. The explosion is calibrated on these coincidences
and on how often combinations occur, knowing photon energy, focus and recapture, duration and
fluence within 30 %, and nothing else. Then formaldehyde, CO2, SO2 and CH2Cl2 are reconstructed from
mean momenta of explosions of their equilibrium (`--vibrating`: of vibrating molecules, aligned and
averaged as `molexa align` and `centroid` do).

`--wrong` leaves out physics on purpose: `rule` (another rule of transfer is told than the true
one), `shake-off` (0.15 in truth, none told), `rates` (Auger rates of the truth changed by 20 %).

`--near` asks only what a reconstruction that finds the right branch would say: it descends from the
true geometry, and takes errors and p-values there in linear approximation. Half a minute for a
member instead of five, so that the p-values of many members can be measured:

    python benchmarks/any_pulse.py --near --members 400 --minutes 12 --out any_pulse_near.json

`--also-full 3` searches one target of every third member in full besides, each in turn: what
`--near` cannot see (twins, and how wide the posterior is where it bends) is then in the same run.

Each row has the residuals of the references at the true parameters, too: what the error of the
surrogate is in them. `--minutes` ends a run in time; with the same OUT it goes on.

Every member is a line in OUT.members.jsonl; a run that was stopped goes on where it was. The
summary is printed and written to OUT.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as FuturesTimeout
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import MolexaError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.settings.explosion_block import Reference as ReferenceBlock
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.frame.align import align_events, heaviest_frame
from molexa_core.frame.axes import without_recoil
from molexa_core.frame.centroid import centroids
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables, pack_molecule
from molexa_core.physics.mcmd.state import AUGER, DECAY_SUM, KIND, KIND_MASK, VALUE
from molexa_core.physics.mcmd.trajectories import run_trajectories
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.physics.surrogate.xray_family import XrayFamily
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.calibrate_explosion import (
    calibrate_explosion,
    calibrated_block,
    conditions_of,
)
from molexa_core.pipeline.calibration.calibration import Calibration
from molexa_core.pipeline.calibration.pairs import Observed
from molexa_core.pipeline.calibration.references import Reference, YieldReference
from molexa_core.pipeline.calibration.tension import LinearModel
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.misspecification import misfit_at
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer
from molexa_core.pipeline.inversion.problem import Problem, search
from molexa_core.pipeline.inversion.residuals import ChannelData
from molexa_core.pipeline.inversion.sampling import anchor_at

REFERENCES: Final = ("nitrogen", "carbon_monoxide", "water")
TARGETS: Final = ("formaldehyde", "co2", "so2", "ch2cl2")
WRONG: Final = ("none", "rule", "shake-off", "rates")
RULES: Final = ("neutral", "low", "full")
LEAST_SHARE: Final = 0.01
"""Smallest share of explosions of a channel that is used."""
PILOT: Final = 1500
"""Explosions from which the channel is chosen."""
FIRST: Final = 150
SAME_ENERGY: Final = 20
"""Members that are tried with one photon energy."""
ENERGIES: Final = (
    *(300.0, 360.0, 450.0, 600.0, 760.0, 960.0, 1200.0, 1500.0),
    *(1750.0, 2000.0, 2300.0, 2700.0, 3300.0, 4500.0, 6500.0, 10_000.0),
)
"""Photon energies, eV, of the tables that the surrogate was trained with."""
CHUNK: Final = 4000
CHUNK_OF_GPU: Final = 40_000
LEAST_EVIDENCE: Final = 1e-3
"""Smallest share of a hypothesis that is looked at."""
FEWEST: Final = 100
"""Fewest coincidences of a target."""
DECLARED: Final = 0.3
"""What duration and fluence are told within, relative."""
MOST_COMBINATIONS: Final = 4
SEEN: Final = 100
"""Counts of a combination whose yield is used."""
EFFICIENCY_ERROR: Final = 0.05


@dataclass(frozen=True)
class Member:
    """One member of the family of Monte-Carlo models, and what is told of it."""

    number: int
    photon_ev: float
    fluence_um2: float
    duration_fs: float
    transfer: str
    transfer_time_fs: float
    recapture: bool
    shake_off: float
    double_auger: float
    focus: str
    auger_factor: float
    told_duration_fs: float
    told_fluence_um2: float
    told_transfer: str | None

    def pulse(self) -> Pulse:
        """The pulse of the truth."""
        return Pulse(
            photon_ev=self.photon_ev,
            duration_fs=self.duration_fs,
            fluence_um2=self.fluence_um2,
        )

    def model(self) -> ModelOptions:
        """The processes of the truth."""
        return ModelOptions(
            transfer=self.transfer,  # type: ignore[arg-type]
            transfer_time_fs=self.transfer_time_fs,
            recapture=self.recapture,
            shake_off=self.shake_off,
            double_auger=self.double_auger,
            focus=self.focus,  # type: ignore[arg-type]
        )

    def told(self, wrong: str) -> XrayExplosion:
        """What the user says of it."""
        return XrayExplosion(
            photon_ev=Uncertain(self.photon_ev),
            duration_fs=Uncertain(self.told_duration_fs, DECLARED * self.told_duration_fs),
            fluence_um2=Uncertain(self.told_fluence_um2, DECLARED * self.told_fluence_um2),
            transfer=self.told_transfer,  # type: ignore[arg-type]
            recapture=self.recapture,
            shake_off=Uncertain(0.0) if wrong == "shake-off" else None,
            focus=self.focus,  # type: ignore[arg-type]
        )


def drawn(number: int, attempt: int, wrong: str, seed: int) -> Member:
    """A random member of the family; the photon energy, whose tables take a minute, is kept."""
    random = np.random.default_rng([seed, number, attempt])
    energies = np.random.default_rng([seed, number, 1000 + attempt // SAME_ENERGY])

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    duration, fluence = log_uniform(1.0, 60.0), log_uniform(10**9.5, 10**13.5)
    rule = RULES[random.integers(3)]
    others = [one for one in RULES if one != rule]
    said = np.exp(math.sqrt(math.log1p(DECLARED**2)) * random.standard_normal(2))
    shake_off = 0.15 if wrong == "shake-off" else float(random.uniform(0.0, 0.2))
    factor = float(random.choice([0.8, 1.2])) if wrong == "rates" else 1.0
    return Member(
        number=number,
        photon_ev=ENERGIES[energies.integers(len(ENERGIES))],
        fluence_um2=fluence,
        duration_fs=duration,
        transfer=rule,
        transfer_time_fs=log_uniform(0.2, 5.0),
        recapture=bool(random.integers(2)),
        shake_off=shake_off,
        double_auger=float(random.uniform(0.0, 0.15)),
        focus=("axis", "volume")[random.integers(2)],
        auger_factor=factor,
        told_duration_fs=duration * float(said[0]),
        told_fluence_um2=fluence * float(said[1]),
        told_transfer=others[random.integers(2)] if wrong == "rule" else None,
    )


@dataclass
class Exploded:
    """Explosions of one molecule. t explosions, n atoms."""

    charges: NDArray[np.int8]
    momenta: FloatArray

    def joined(self, other: Exploded) -> Exploded:
        """These explosions and others."""
        return Exploded(
            np.concatenate([self.charges, other.charges]),
            np.concatenate([self.momenta, other.momenta]),
        )

    def combinations(self) -> list[tuple[tuple[int, ...], int]]:
        """Combinations in which every atom is charged, with their counts, most frequent first.

        Like atoms are equivalent in all molecules used: charges are sorted among them (see
        `Molecule.sorted_charges`).
        """
        rows, counts = np.unique(self.charges, axis=0, return_counts=True)
        found = [
            (tuple(int(q) for q in row), int(count))
            for row, count in zip(rows, counts, strict=True)
            if (row > 0).all()
        ]
        return sorted(found, key=lambda one: -one[1])


@cache
def tables_of(name: str, photon_ev: float, factor: float) -> MoleculeTables:
    """Atomic tables, with Auger rates changed by a factor."""
    tables = pack_molecule(molecule(name).geometry.symbols, photon_ev)
    if factor == 1.0:
        return tables
    move, config = tables.move_real.copy(), tables.config_real.copy()
    auger = (tables.move_int[:, KIND] & KIND_MASK) == AUGER
    first = tables.config_int[:, 0]
    added = np.where(auger, (factor - 1.0) * move[:, VALUE], 0.0)
    move[auger, VALUE] *= factor
    sums = np.concatenate([[0.0], np.cumsum(added, dtype=np.float64)])
    config[:-1, DECAY_SUM] += (sums[first[1:]] - sums[first[:-1]]).astype(np.float32)
    return replace(tables, move_real=move, config_real=config)


@dataclass(frozen=True)
class Way:
    """How explosions of one molecule are computed: seed, whether it vibrates, and the device."""

    seed: int
    vibrating: bool
    device: str = "cpu"

    @property
    def chunk(self) -> int:
        """Explosions at once."""
        return CHUNK if self.device == "cpu" else CHUNK_OF_GPU


def explode(name: str, member: Member, count: int, way: Way, *, first: int) -> Exploded:
    """Explosions of a molecule, each of a structure of its own if it vibrates."""
    known = molecule(name)
    random = np.random.default_rng([way.seed, member.number, first, len(name)])
    modes = known.modes()
    if way.vibrating and modes is not None:
        positions = sample_ground_state(known.geometry.positions, modes.stiffened(), count, random)
        per_geometry = 1
    else:
        positions, per_geometry = known.geometry.positions[None], count
    found = run_trajectories(
        positions,
        known.geometry.symbols,
        member.pulse(),
        member.model(),
        trajectories=per_geometry,
        seed=int(random.integers(2**62)),
        device=way.device,
        workers=1,
        tables=tables_of(name, member.photon_ev, member.auger_factor),
    )
    atoms = len(known.geometry)
    kept = ~found.lost.reshape(-1)
    charges = found.charges.reshape(-1, atoms)[kept]
    momenta = found.momenta.reshape(-1, atoms, 3)[kept].astype(np.float64)
    return alike(known.geometry.symbols, charges, momenta, vibrating=way.vibrating)


def alike(
    symbols: Sequence[str], charges: NDArray[np.int8], momenta: FloatArray, *, vibrating: bool
) -> Exploded:
    """With like atoms in the order of their charges, where the molecule vibrates.

    A detector cannot tell which of two equivalent atoms has which charge. At rest they are told by
    their places.
    """
    if not vibrating:
        return Exploded(charges, momenta)
    order = np.tile(np.arange(len(symbols)), (len(charges), 1))
    for symbol in set(symbols):
        of_kind = [i for i, one in enumerate(symbols) if one == symbol]
        by_charge = np.argsort(-charges[:, of_kind].astype(int), axis=1, kind="stable")
        order[:, of_kind] = np.array(of_kind)[by_charge]
    rows = np.arange(len(charges))[:, None]
    return Exploded(charges[rows, order], momenta[rows, order])


def pilot(name: str, member: Member, way: Way) -> Exploded | None:
    """Some explosions; None if the most frequent channel is too rare."""
    # Most members are told by a few explosions to break no molecule completely.
    if not explode(name, member, FIRST, way, first=10**9).combinations():
        return None
    found = explode(name, member, PILOT, way, first=0)
    seen = found.combinations()
    return found if seen and seen[0][1] >= LEAST_SHARE * PILOT else None


def enough(
    name: str, member: Member, found: Exploded, wanted: int, most: int, way: Way
) -> tuple[tuple[int, ...], Exploded]:
    """The most frequent channel of a pilot, and its explosions."""
    charges = found.combinations()[0][0]
    total = PILOT
    while total < most:
        count = int((found.charges == np.array(charges)).all(axis=1).sum())
        if count >= wanted:
            break
        more = explode(name, member, way.chunk, way, first=total)
        found, total = found.joined(more), total + way.chunk
    return charges, found


def ions_of(name: str, charges: Sequence[int]) -> tuple[Ion, ...]:
    """The ions of a combination of charges."""
    symbols = molecule(name).geometry.symbols
    return tuple(parse_ion(f"{s}{q}+") for s, q in zip(symbols, charges, strict=True))


def selected(exploded: Exploded, charges: Sequence[int], wanted: int | None = None) -> FloatArray:
    """Momenta of the explosions that ended in a combination, at most so many."""
    rows = (exploded.charges == np.array(charges)).all(axis=1)
    return np.asarray(exploded.momenta[rows][:wanted])


def references_of(
    name: str, charges: tuple[int, ...], exploded: Exploded, wanted: int
) -> list[Reference | YieldReference]:
    """The channel of a reference, and how often its combinations occur."""
    ions = ions_of(name, charges)
    momenta = selected(exploded, charges, wanted)
    target = target_of_ions(ions, molecule(name), where=name)
    observed = observe(Coincidences.of(ions, momenta), target)
    found: list[Reference | YieldReference] = [Reference(name, name, ions, target, observed)]
    frequent = [one for one in exploded.combinations() if one[1] >= SEEN][:MOST_COMBINATIONS]
    if len(frequent) > 1:
        counts = np.array([count for _, count in frequent], dtype=float)
        random = np.random.default_rng(int(counts.sum()))
        efficiency = np.exp(EFFICIENCY_ERROR * random.standard_normal(len(counts)))
        variance = 1.0 / counts + EFFICIENCY_ERROR**2
        values = np.log(counts * efficiency)
        covariance = np.diag(variance[1:]) + variance[0]
        names = tuple(" ".join(map(str, ions_of(name, q))) for q, _ in frequent)
        targets = tuple(
            target_of_ions(ions_of(name, q), molecule(name), where=name) for q, _ in frequent
        )
        ratios = Observed(names[1:], values[1:] - values[0], covariance)
        found.append(YieldReference(f"yields of {name}", name, targets, ratios))
    return found


def channel_of(
    name: str, charges: tuple[int, ...], exploded: Exploded, wanted: int, *, vibrating: bool
) -> MeasuredChannel:
    """Mean momenta of a target: in the frame of the molecule at rest, or aligned event by event."""
    ions = ions_of(name, charges)
    momenta = selected(exploded, charges, wanted)
    fragments = Fragments.of(ions)
    if vibrating:
        table = align_events(Coincidences.of(ions, momenta), heaviest_frame(ions)).table
        rows = centroids(table)
        errors = rows[["px_err", "py_err", "pz_err"]].to_numpy(dtype=np.float64)
        mean = rows[["px", "py", "pz"]].to_numpy(dtype=np.float64)
        return MeasuredChannel(fragments, mean, np.diag(np.square(errors).reshape(-1)))
    momenta = without_recoil(momenta, fragments.masses)
    flat = momenta.reshape(len(momenta), -1)
    covariance = np.cov(flat.T) / len(flat)
    return MeasuredChannel(fragments, momenta.mean(axis=0), covariance)


def parameter(found: Calibration, word: str) -> tuple[float, float] | None:
    """Mean and width of a coordinate over all hypotheses; None if the family has none of it."""
    parts = []
    for fit in found.fits:
        for row, one in enumerate(fit.coordinates):
            if word in one.name:
                parts.append((fit.weight[1], fit.here.mean[row], fit.here.width[row]))
                break
    if not parts:
        return None
    weight, mean, width = (np.array(column) for column in zip(*parts, strict=True))
    weight = weight / weight.sum()
    middle = float(weight @ mean)
    return middle, float(np.sqrt(weight @ (width**2 + (mean - middle) ** 2)))


def pulls_of(found: Calibration, member: Member) -> dict[str, float]:
    """Parameters less their true values, standard deviations of the posterior."""
    truth = {
        "duration": math.log(member.duration_fs),
        "fluence": math.log(member.fluence_um2),
        "transfer_time": math.log(member.transfer_time_fs),
    }
    pulls = {}
    for word, value in truth.items():
        known = parameter(found, word)
        if known is not None:
            pulls[word] = (known[0] - value) / known[1]
    return pulls


def device_of(number: int, device: str) -> str:
    """`cuda` means all GPUs in turn."""
    if device != "cuda":
        return device
    import torch  # noqa: PLC0415

    return f"cuda:{number % max(1, torch.cuda.device_count())}"


def measured(number: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything about one member."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    wrong, seed = settings["wrong"], settings["seed"]
    vibrating = settings["vibrating"]
    names = (*REFERENCES, *settings["targets"])
    ways = {
        name: Way(seed, name in REFERENCES or vibrating, device_of(number, settings["device"]))
        for name in names
    }
    for attempt in range(500):
        member = drawn(number, attempt, wrong, seed)
        pilots: dict[str, Exploded] = {}
        for name in names:
            try:
                tried = pilot(name, member, ways[name])
            except MolexaError:
                tried = None
            if tried is None:
                break
            pilots[name] = tried
        if len(pilots) == len(names):
            break
    else:
        return {"number": number, "failed": "no member with channels of 1 %"}
    runs = {
        name: enough(
            name,
            member,
            pilots[name],
            settings["coincidences"],
            settings["most"] * (5 if name in REFERENCES else 1),
            ways[name],
        )
        for name in names
    }
    return {"number": number, "attempt": attempt, **judged(member, runs, settings)}


def judged(
    member: Member,
    runs: dict[str, tuple[tuple[int, ...], Exploded]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Calibration and reconstructions of one member."""
    wanted, seed = settings["coincidences"], settings["seed"]
    references = [one for name in REFERENCES for one in references_of(name, *runs[name], wanted)]
    told = member.told(settings["wrong"])
    conditions = conditions_of(told, [])
    used: list[Reference | YieldReference] = list(references)
    start = time.perf_counter()
    try:
        found = calibrate_explosion(used, conditions, advise=False, seed=seed)
    except MolexaError as error:
        if "how often" not in str(error):
            return {"member": asdict(member), "failed": f"calibration: {error}"}
        used = [one for one in references if isinstance(one, Reference)]
        found = calibrate_explosion(used, conditions, advise=False, seed=seed)
    seconds = time.perf_counter() - start
    blocks = [ReferenceBlock(file=one.label, molecule=one.molecule) for one in used]
    knowledge = knowledge_of(Explosion.of(told, calibrated_block(found, conditions, blocks, {})))
    pulls = pulls_of(found, member)
    heading = f"member {member.number}"
    print(f"{heading}: p {found.p_value:.3f}, {seconds:.0f} s, pulls {pulls}", flush=True)
    rows = []
    for place, name in enumerate(settings["targets"]):
        charges, exploded = runs[name]
        count = len(selected(exploded, charges, wanted))
        row: dict[str, Any] = {"molecule": name, "charges": charges, "count": count}
        rows.append(row)
        if count < FEWEST:
            row["failed"] = "too few coincidences"
            continue
        channel = channel_of(name, charges, exploded, wanted, vibrating=settings["vibrating"])
        symbols = molecule(name).geometry.symbols
        begin = time.perf_counter()
        right = pair_distances(molecule(name).geometry.positions[None])[0]
        if settings["near"]:
            row |= near_truth(channel, knowledge, GeometryPrior.of(symbols), name)
            row["seconds"] = time.perf_counter() - begin
            if not also_full(member.number, place, settings):
                continue
            row = {**{key: row[key] for key in ("molecule", "charges", "count")}, "full": True}
            rows.append(row)
            begin = time.perf_counter()
        try:
            posterior = infer([channel], knowledge, geometry=GeometryPrior.of(symbols), seed=seed)
        except MolexaError as error:
            row["failed"] = str(error)
            continue
        distances = posterior.distances()
        row |= {
            "seconds": time.perf_counter() - begin,
            "errors": (distances.median - right).tolist(),
            "half_widths": distances.half_width.tolist(),
            "p_value": posterior.p_value,
            "effective_samples": posterior.effective_samples,
        }
        print(f"{heading}: {json.dumps(row, default=int)}", flush=True)
    return {
        "member": asdict(member),
        "calibration": {
            "seconds": seconds,
            "p_value": found.p_value,
            "misfit": found.misfit,
            "family": found.best.family.name,
            "effective_samples": found.best.effective,
            "pulls": pulls,
            "sigmas": [one.pull for one in found.best.pulls],
            "chi_square": found.best.chi_square,
            "values": found.best.values,
            "linear": linear_rows(found.best.linear),
            "at_truth": at_truth(member, used),
        },
        "targets": rows,
    }


def also_full(number: int, place: int, settings: dict[str, Any]) -> bool:
    """Whether a target of a member is searched in full besides."""
    every = settings["also_full"]
    if not every or number % every:
        return False
    return bool(number // every % len(settings["targets"]) == place)


def near_truth(
    channel: MeasuredChannel, knowledge: ExplosionKnowledge, prior: GeometryPrior, name: str
) -> dict[str, Any]:
    """Errors, half-widths and p-value of the solution next to the truth, linearly."""
    known = molecule(name)
    data = [ChannelData(channel, gives_frame=True)]
    right = pair_distances(known.geometry.positions[None])[0]
    found = []
    for hypothesis in knowledge.hypotheses:
        problem = Problem(hypothesis.family, hypothesis.belief, data, prior)
        start = problem.join(
            known.geometry.positions[None] - known.geometry.positions.mean(axis=0),
            np.zeros((1, problem.free)),
        )
        z, height = search(problem, start, stages=1)
        anchor = anchor_at(problem, z[0]) if len(z) and np.isfinite(height[0]) else None
        if anchor is None:
            continue
        misfit = misfit_at(problem, z[0])
        moved = anchor.root @ np.random.default_rng(0).standard_normal((len(anchor.root), 400))
        drawn = pair_distances(problem.split(z + moved.T)[0])
        here = pair_distances(problem.split(z)[0])[0]
        weight = anchor.log_evidence + math.log(hypothesis.weight)
        found.append((weight, here, drawn.std(axis=0), misfit))
    if not found:
        return {"failed": "no solution near the truth"}
    share = np.exp(np.array([one[0] for one in found]) - max(one[0] for one in found))
    share /= share.sum()
    places, widths = np.stack([one[1] for one in found]), np.stack([one[2] for one in found])
    middle = share @ places
    width = np.sqrt(share @ (widths**2 + (places - middle) ** 2))
    least = min(
        (one[3] for one, s in zip(found, share, strict=True) if s > LEAST_EVIDENCE),
        key=lambda each: each.chi_square,
    )
    return {
        "errors": (middle - right).tolist(),
        "half_widths": width.tolist(),
        "p_value": least.p_value,
        "chi_square": least.chi_square,
        "degrees": least.degrees,
        "effective_samples": 1.0,
    }


def linear_rows(model: LinearModel) -> dict[str, Any]:
    """What the p-value is made of, so that others can be tried."""
    return {
        "data": model.data.tolist(),
        "slope": model.slope.tolist(),
        "best": model.best.tolist(),
        "shares": [one.share.tolist() for one in model.blocks],
        "freedoms": [one.size.freedom for one in model.blocks],
        "error_shares": [one.size.share for one in model.blocks],
    }


def at_truth(member: Member, references: Sequence[Reference | YieldReference]) -> list[Any]:
    """Of each reference: measured less predicted at the true parameters, and the covariances.

    M of the measurement (vibration included) and A of the family's own error, as it claims it.
    """
    family = XrayFamily(member.transfer, member.focus, member.recapture)  # type: ignore[arg-type]
    values = [getattr(member, one.name) for one in family.coordinates]
    at = np.array(
        [one.of_value(value) for one, value in zip(family.coordinates, values, strict=True)]
    )
    rows = []
    for one in references:
        predicted, own, _ = one.evaluate(family, at[None])
        added, further = one.correction(family, at)
        rows.append(
            {
                "label": one.label,
                "residuals": (one.observed.values - predicted[0] - added).tolist(),
                "values": one.observed.values.tolist(),
                "measurement": (one.observed.covariance + further).tolist(),
                "own": own[0].tolist(),
                "charges": [ion.charge for ion in one.ions] if isinstance(one, Reference) else None,
            }
        )
    return rows


def summary(members: Sequence[dict[str, Any]], *, full: bool = False) -> dict[str, Any]:
    """The numbers of the bars, of targets that were searched in full besides or of the others."""
    good = [one for one in members if "failed" not in one]
    rows = [
        {**row, "duration": one["member"]["duration_fs"], "p_cal": one["calibration"]["p_value"]}
        for one in good
        for row in one["targets"]
        if "failed" not in row and row.get("full", False) == full
    ]
    p_values = [min(1.0, 2.0 * min(row["p_value"], row["p_cal"])) for row in rows]
    # Where the momenta contradict the model, the program claims nothing.
    without = sum(not row["effective_samples"] for row in rows)
    rows = [row for row in rows if row["effective_samples"]]
    if not rows:
        return {"members": len(good), "reconstructions": 0}
    errors = [np.array(row["errors"]) for row in rows]
    widths = [np.array(row["half_widths"]) for row in rows]
    ratios = np.array(
        [
            np.sqrt(np.mean(e**2) / max(np.mean(w**2), 1e-12))
            for e, w in zip(errors, widths, strict=True)
        ]
    )
    p_value = np.array([min(1.0, 2.0 * min(row["p_value"], row["p_cal"])) for row in rows])
    short = np.array([row["duration"] <= 15.0 for row in rows])
    means = np.array([np.abs(e).mean() for e in errors])
    every, wide = np.concatenate(errors), np.concatenate(widths)

    def median_of(mask: NDArray[np.bool_]) -> float | None:
        values = np.concatenate([np.abs(e) for e, m in zip(errors, mask, strict=True) if m] or [[]])
        return float(np.median(values)) if len(values) else None

    pulls: dict[str, list[float]] = {}
    for one in good:
        for word, value in one["calibration"]["pulls"].items():
            pulls.setdefault(word, []).append(value)
    far = ratios > 3.0
    seconds = [one["calibration"]["seconds"] for one in good]
    return {
        "members": len(good),
        "reconstructions": len(rows) + without,
        "without_error_bars": without,
        "ratio": float(np.sqrt(np.mean(every**2) / np.mean(wide**2))),
        "ratio_of_medians": float(np.median(np.abs(every)) / np.median(wide)),
        "inside_68": float(np.mean(np.abs(every) < wide)),
        "median_error_up_to_15_fs": median_of(short),
        "median_error_beyond_15_fs": median_of(~short),
        "mean_error": float(means.mean()),
        "median_claim": float(np.median(wide)),
        "pull_widths": {k: float(np.sqrt(np.mean(np.square(v)))) for k, v in pulls.items()},
        "pull_means": {k: float(np.mean(v)) for k, v in pulls.items()},
        "rejected": float(np.mean(np.array(p_values) < 0.01)),
        "rejected_calibrations": float(
            np.mean([one["calibration"]["p_value"] < 0.01 for one in good])
        ),
        "above_3": int(far.sum()),
        "above_3_rejected": float(np.mean(p_value[far] < 0.01)) if far.any() else None,
        "median_misfit": float(np.median([one["calibration"]["misfit"] for one in good])),
        "calibration_seconds": [float(np.median(seconds)), float(np.max(seconds))],
        "reconstruction_seconds": float(np.median([row["seconds"] for row in rows])),
        "by_molecule": {
            name: {
                "ratio": float(
                    np.sqrt(
                        np.mean(np.concatenate([errors[k] for k in at]) ** 2)
                        / np.mean(np.concatenate([widths[k] for k in at]) ** 2)
                    )
                ),
                "median_error": float(np.median(np.abs(np.concatenate([errors[k] for k in at])))),
            }
            for name in dict.fromkeys(row["molecule"] for row in rows)
            if (at := [k for k, row in enumerate(rows) if row["molecule"] == name])
        },
    }


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first member")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--coincidences", type=int, default=2000)
    parser.add_argument("--most", type=int, default=40_000, help="explosions of a target, at most")
    parser.add_argument("--targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--wrong", choices=WRONG, default="none")
    parser.add_argument("--vibrating", action="store_true", help="targets vibrate too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--near", action="store_true", help="only next to the true geometries")
    parser.add_argument(
        "--also-full", type=int, default=0, help="with --near: every how many members"
    )
    parser.add_argument("--minutes", type=float, default=1e4, help="when to stop")
    parser.add_argument("--device", default="cpu", help="of the explosions: cpu, cuda, cuda:1")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Measure all members and print the summary."""
    options = arguments()
    settings = {
        name: getattr(options, name)
        for name in (
            *("coincidences", "most", "targets", "wrong", "vibrating", "seed", "device", "near"),
            "also_full",
        )
    }
    log = options.out.with_suffix(".members.jsonl")
    done: dict[int, dict[str, Any]] = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            if one["settings"] == settings:
                done[one["number"]] = one
    wanted = range(options.first, options.first + options.members)
    todo = [number for number in wanted if number not in done]
    end = time.monotonic() + 60.0 * options.minutes
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.workers, mp_context=context)
    futures = {pool.submit(measured, number, settings): number for number in todo}
    with log.open("a", encoding="utf-8") as stream:
        try:
            for future in as_completed(futures, timeout=max(end - time.monotonic(), 0.0)):
                number = futures[future]
                try:
                    one = future.result()
                except Exception as error:  # noqa: BLE001  # a bug in one member: note it and go on
                    one = {"number": number, "failed": f"{type(error).__name__}: {error}"}
                one["settings"] = settings
                done[number] = one
                stream.write(json.dumps(one) + "\n")
                stream.flush()
                print(f"member {number}: {one.get('failed') or said(one)}", flush=True)
        except FuturesTimeout:
            print(f"{options.minutes:g} minutes are over", flush=True)
            for process in list(pool._processes.values()):  # noqa: SLF001  # they would go on
                process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)
    rows = [done[number] for number in wanted if number in done]
    result: dict[str, Any] = {"settings": settings, "summary": summary(rows)}
    if settings["also_full"]:
        result["summary_full"] = summary(rows, full=True)
    result["members"] = rows
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in result if "summary" in key}, indent=2))


def said(one: dict[str, Any]) -> str:
    """One member in a line."""
    member, found = one["member"], one["calibration"]
    pulls = " ".join(f"{word} {value:+.1f}" for word, value in found["pulls"].items())
    rows = [row for row in one["targets"] if "failed" not in row]
    ratios = " ".join(
        f"{row['molecule']} "
        f"{np.sqrt(np.mean(np.square(row['errors'])) / np.mean(np.square(row['half_widths']))):.1f}"
        for row in rows
    )
    return (
        f"{member['photon_ev']:.0f} eV {member['duration_fs']:.1f} fs "
        f"{member['fluence_um2']:.1e}/um2; p {found['p_value']:.2f}, misfit "
        f"{100 * found['misfit']:.1f} %, {found['seconds']:.0f} s; pulls {pulls}; ratios {ratios}"
    )


if __name__ == "__main__":
    main()
