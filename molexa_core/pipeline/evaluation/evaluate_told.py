"""Measure weights that are told the experiment: held-out molecules in the pulses A to F.

Pulses, and the molecules that a training leaves out, are in `datasets.measurement_split`. Errors
are those of interatomic distances. Coverage is that of samples alone: an interval from one order
statistic of the samples to another holds the truth with a probability that is known exactly if the
samples are draws of the posterior.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import ModelOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.checksums import sealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray
from molexa_core.network.conditions import CHOICES, DATA_KINDS, QUANTITIES, Told
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.told import sample
from molexa_core.network.network import Network
from molexa_core.network.weights import learned_from, load_network
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.physics.surrogate.entries import FOCI, RULES
from molexa_core.pipeline.datasets.family_draws import (
    DrawnGeometries,
    DrawnSettings,
    draw_geometries,
)
from molexa_core.pipeline.datasets.measurement_split import (
    PULSES,
    SHARE,
    MeasuredPulse,
    molecules_of,
)
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.told_inputs import AT, with_photons
from molexa_core.pipeline.training.stream_entries import (
    StreamEntries,
    batch_of_entries,
    everything_told,
    together,
    with_measurement,
)
from molexa_core.pipeline.training.xray_pairs import PairRecipe, assembled, explode_pairs

Telling = Literal["everything", "pulse", "kind", "nothing", "10 %", "30 %", "60 %"]
TELLINGS: Final[tuple[Telling, ...]] = (
    *("everything", "pulse", "kind", "nothing"),
    *("10 %", "30 %", "60 %"),
)
"""What is told: everything; the pulse, but not the switches of the physics; that it was an X-ray
pulse; nothing; everything, with an uncertainty of fluence and duration from which errors are drawn.
"""
DRAWS: Final = 24
"""Samples of an entry: from the fourth smallest to the fourth largest they cover exactly 68 %."""
WHOLE: Final = 0.68
MEAN_OF: Final = 8
"""Samples whose mean is measured as an answer."""
SEED: Final = 60_260_000
GROUPS: Final = {"2": (2, 2), "3-7": (3, 7), "3-9": (3, 9)} | {str(n): (n, n) for n in range(3, 15)}
"""Numbers of atoms for which results are stated."""
_BOOTSTRAPS: Final = 400
_INTERVAL: Final = (2.5, 97.5)


class Row(TypedDict):
    """Errors of a group of entries.

    `one`, `mean` and `rms`: mean distance error of one sample and of the mean of `MEAN_OF`, and the
    rms error of the latter, bohr. `inside`: share of the distances inside the interval that holds
    `nominal` of them. `ratio`: rms error over rms spread, 1 if the samples are honest. `low`,
    `high`: 95 % intervals of these by resampling whole molecules.
    """

    entries: int
    molecules: int
    one: float
    mean: float
    rms: float
    inside: float
    nominal: float
    ratio: float
    low: dict[str, float]
    high: dict[str, float]


@dataclass(frozen=True)
class ToldMeasurement:
    """How weights are measured.

    Attributes:
        pulses: in which molecules are exploded.
        tellings: what is told of them.
        geometries: of each molecule.
        entries: charge combinations of each geometry at most.
        atoms: smallest and largest number of atoms.
        share: share of the molecules that is held out.
        held_out: whether those molecules are measured that are held out, or those of the training.
        vibrating: means over vibrating molecules, and single events, in place of means over
            molecules at rest.
        explosions: of a geometry, in units of those of the training.
        samples: of each entry.
        molecules: the molecules to measure; by the rule if not given.
        seed: of geometries, explosions and samples.
    """

    pulses: tuple[MeasuredPulse, ...] = PULSES
    tellings: tuple[Telling, ...] = TELLINGS
    geometries: int = 4
    entries: int = 2
    atoms: tuple[int, int] = (2, 10)
    share: float = SHARE
    held_out: bool = True
    vibrating: bool = False
    explosions: int = 1
    samples: int = DRAWS
    molecules: frozenset[str] | None = None
    seed: int = SEED
    elements: tuple[str, ...] = PairRecipe.elements
    options: ModelOptions = field(default_factory=ModelOptions)


def measure_told(
    network: Network | Engine,
    plan: ToldMeasurement,
    *,
    device: str = "cpu",
    tables: PhotonTables | None = None,
    sampler: SamplerSettings | None = None,
    progress: Progress = SILENT,
) -> dict[str, dict[str, dict[str, Row]]]:
    """Errors by pulse, by what is told, and by number of atoms.

    Args:
        network: in evaluation mode, on the device.
        plan: what is measured.
        device: of the explosions.
        tables: atomic tables; from the cache, or computed, if not given.
        sampler: settings that replace those of the network.
        progress: display of the progress.
    """
    energies = [one.pulse.photon_ev for one in plan.pulses]
    tables = tables or pack_photon_tables(energies, plan.elements, progress=progress)
    engine = network if isinstance(network, Engine) else Engine(network)
    found: dict[str, dict[str, dict[str, Row]]] = {}
    with progress.task("measuring", len(plan.pulses) * len(plan.tellings), "sets") as task:
        for number, pulse in enumerate(plan.pulses):
            entries = measured_entries(plan, pulse, tables, device)
            rows: dict[str, dict[str, Row]] = {}
            for place, telling in enumerate(plan.tellings):
                seed = plan.seed + 1000 * number + place
                generator = torch.Generator(entries.numbers.device).manual_seed(seed)
                told = told_as(entries, telling, generator)
                rows[telling] = _measured(engine, entries, told, plan, seed, sampler)
                task.advance()
            found[pulse.name] = rows
    return found


def measured_entries(
    plan: ToldMeasurement, pulse: MeasuredPulse, tables: PhotonTables, device: str
) -> StreamEntries:
    """Entries of held-out molecules in one pulse.

    Raises:
        UsageError: there is no such molecule, or no combination is frequent enough.
    """
    parts = []
    for atoms in range(plan.atoms[0], plan.atoms[1] + 1):
        names = _names_of(plan, atoms)
        if not names:
            continue
        # The same geometries in every pulse.
        random = np.random.default_rng([plan.seed, atoms])
        drawn = _joined(
            [
                draw_geometries(
                    random, atoms, plan.geometries, "held-out", random_share=0.0, names=(name,)
                )
                for name in names
            ]
        )
        recipe = _recipe(plan)
        block = assembled(
            drawn,
            _settings(len(drawn.molecule), pulse, plan.options),
            tables,
            random,
            trajectories=recipe.trajectories[atoms],
            vibrates=plan.vibrating,
            number=atoms,
            seed=plan.seed + atoms,
        )
        made = explode_pairs(recipe, block, tables, device=device, workers=available_cores())
        parts.append(made)
    if not parts or not sum(len(part) for part in parts):
        raise UsageError("no molecules to measure", do="Choose other numbers of atoms.")
    entries = together(parts)
    generator = torch.Generator(entries.numbers.device).manual_seed(plan.seed)
    return with_measurement(entries, generator)


def _recipe(plan: ToldMeasurement) -> PairRecipe:
    whole = PairRecipe()
    sizes = range(plan.atoms[0], plan.atoms[1] + 1)
    return replace(
        whole,
        trajectories={n: whole.trajectories[n] * plan.explosions for n in sizes},
        atoms=dict.fromkeys(sizes, 1.0),
        most=plan.entries,
        events=0.5 if plan.vibrating else 0.0,
        elements=plan.elements,
    )


def _joined(parts: Sequence[DrawnGeometries]) -> DrawnGeometries:
    return DrawnGeometries(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.molecule for part in parts]),
    )


def _settings(count: int, measured: MeasuredPulse, options: ModelOptions) -> DrawnSettings:
    """The same setting for all geometries."""
    pulse = measured.pulse
    transfer = options.transfer_time_fs
    row = [
        math.log(pulse.photon_ev),
        math.log(measured.fluence_um2),
        math.log(pulse.duration_fs),
        float([str(rule) for rule in RULES].index(options.transfer)),
        math.log(transfer) if transfer > 0 else -math.inf,
        float(options.recapture),
        options.shake_off,
        options.double_auger,
        float(FOCI.index(options.focus)),
    ]
    return DrawnSettings((pulse,) * count, (options,) * count, np.tile(row, (count, 1)))


def told_as(entries: StreamEntries, telling: Telling, generator: torch.Generator) -> Told:
    """What is told of entries of X-ray pulses."""
    told = everything_told(entries)
    physics = [AT[name] for name in ("transfer_time_fs", "shake_off", "double_auger")]
    known, choices, kind = told.known.clone(), told.choices, told.kind
    values, widths = told.values, told.widths
    if telling in ("pulse", "kind", "nothing"):
        known[:, physics] = False
        choices = torch.full((len(entries), len(CHOICES)), -1, device=known.device)
    if telling in ("kind", "nothing"):
        known[:] = False
    if telling == "nothing":
        kind = torch.full_like(kind, -1)
    if telling.endswith("%"):
        width = float(telling.split()[0]) / 100.0
        values, widths = values.clone(), widths.clone()
        for name in ("fluence_um2", "duration_fs"):
            place = AT[name]
            error = torch.randn(len(entries), device=known.device, generator=generator)
            values[:, place] += width * QUANTITIES[place].step * error
            widths[:, place] = width
    found = replace(told, kind=kind, known=known, choices=choices, values=values, widths=widths)
    return with_photons(found, entries.numbers.long())


def _measured(
    engine: Engine,
    entries: StreamEntries,
    told: Told,
    plan: ToldMeasurement,
    seed: int,
    sampler: SamplerSettings | None,
) -> dict[str, Row]:
    """Rows by number of atoms; of single events and means apart, if there are both."""
    batch = batch_of_entries(entries, told)
    drawn = sample(
        engine,
        replace(batch, positions=None).to(engine.device),
        plan.samples,
        seed=seed,
        sampler=sampler,
    )
    drawn = drawn.to(entries.numbers.device)
    found: dict[str, Row] = {}
    event = entries.data == DATA_KINDS.index("event")
    for word, which in (("", ~event), (" event", event)):
        for group, (low, high) in GROUPS.items():
            atoms = (entries.numbers > 0).sum(1)
            rows = (which & (atoms >= low) & (atoms <= high)).nonzero()[:, 0]
            if len(rows):
                found[group + word] = row_of(_distances(entries, drawn, rows))
    return found


@dataclass(frozen=True)
class Distances:
    """Sums over the distances of each entry, from which rows are computed.

    Attributes:
        sums: (entries, 6): distances; absolute errors of one sample, of the mean of `MEAN_OF`;
            squared errors of the latter; distances inside; 0.
        squares: (entries, 2) squared errors of the mean of all samples, and squared spreads that
            are expected for them.
        molecule: (entries) number of the molecule.
        nominal: probability of being inside.
    """

    sums: FloatArray
    squares: FloatArray
    molecule: FloatArray
    nominal: float


def _distances(entries: StreamEntries, drawn: Tensor, rows: Tensor) -> Distances:
    n = int((entries.numbers[rows] > 0).sum(1).max())
    one, other = torch.triu_indices(n, n, 1)
    mask = entries.numbers[rows][:, :n] > 0
    pair = (mask[:, one] & mask[:, other]).double()
    truth = entries.positions[rows][:, :n].double()
    x = drawn[rows][:, :, :n].double()
    true = (truth[:, one] - truth[:, other]).norm(dim=2)
    found = (x[:, :, one] - x[:, :, other]).norm(dim=3)
    samples = x.shape[1]
    beyond = max(1, round(0.5 * (1.0 - WHOLE) * (samples + 1)))
    ordered = found.sort(1).values
    inside = (true > ordered[:, beyond - 1]) & (true < ordered[:, samples - beyond])
    few = found[:, :MEAN_OF].mean(1)
    error = few - true
    sums = [
        pair.sum(1),
        ((found[:, 0] - true).abs() * pair).sum(1),
        (error.abs() * pair).sum(1),
        (error.square() * pair).sum(1),
        (inside * pair).sum(1),
    ]
    expected = found.var(1) * (1.0 + 1.0 / samples)
    squares = [
        ((found.mean(1) - true).square() * pair).sum(1),
        (expected * pair).sum(1),
    ]
    return Distances(
        torch.stack(sums, 1).cpu().numpy(),
        torch.stack(squares, 1).cpu().numpy(),
        entries.molecule[rows].cpu().numpy().astype(float),
        (samples + 1 - 2 * beyond) / (samples + 1),
    )


def row_of(found: Distances) -> Row:
    """The errors of a group, with intervals by resampling molecules."""
    numbers, place = np.unique(found.molecule, return_inverse=True)
    random = np.random.default_rng(1)
    drawn = [
        _numbers(
            found, random.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers))), place
        )
        for _ in range(_BOOTSTRAPS if len(numbers) > 1 else 0)
    ]
    values = _numbers(found, np.ones(len(numbers), dtype=np.int64), place)
    low, high = {}, {}
    for name in values:
        if drawn:
            ends = np.percentile([one[name] for one in drawn], _INTERVAL)
            low[name], high[name] = round(float(ends[0]), 4), round(float(ends[1]), 4)
    rounded = {name: round(value, 4) for name, value in values.items()}
    return Row(
        entries=len(found.sums),
        molecules=len(numbers),
        one=rounded["one"],
        mean=rounded["mean"],
        rms=rounded["rms"],
        inside=rounded["inside"],
        nominal=round(found.nominal, 4),
        ratio=rounded["ratio"],
        low=low,
        high=high,
    )


def _numbers(found: Distances, times: np.ndarray, place: np.ndarray) -> dict[str, float]:
    """Errors with every molecule so many times."""
    weight = times[place].astype(float)
    sums, squares = weight @ found.sums, weight @ found.squares
    each = weight @ (found.sums[:, 1:3] / found.sums[:, :1]) / weight.sum()
    return {
        "one": float(each[0]),
        "mean": float(each[1]),
        "rms": float(np.sqrt(sums[3] / sums[0])),
        "inside": float(sums[4] / sums[0]),
        "ratio": float(np.sqrt(squares[0] / max(squares[1], 1e-30))),
    }


def evaluate_told(
    weights: str,
    plan: ToldMeasurement | None = None,
    *,
    steps: int | None = None,
    device: str = "auto",
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure installed weights, and write the result.

    Args:
        weights: name or card; also weights that are told nothing, as a baseline.
        plan: what is measured.
        steps: of the sampler; those of the weights if not given.
        device: `auto`, `cpu` or `cuda`.
        out: JSON file to write.
        progress: display of the progress.

    Returns:
        `conditions`, and `pulses`: rows by pulse, by what is told, by number of atoms.

    Raises:
        InputFileError, WeightsError: no such weights, or damaged ones.
        UsageError: no molecules to measure, or fewer samples than their mean needs.
        OutputError: the result cannot be written.
    """
    plan = plan or ToldMeasurement()
    if plan.samples < MEAN_OF:
        raise UsageError(
            f"{plan.samples} samples of an entry are too few", do=f"Draw {DRAWS} of them."
        )
    where = take_device(device)
    network, card = load_network(weights, where)
    if not network.settings.told:
        plan = replace(plan, tellings=("nothing",))
        progress.warn(f"{card.name} is not told anything: what is known of the pulse is not used")
    atoms = plan.atoms[0], min(plan.atoms[1], network.settings.max_atoms)
    plan = replace(plan, atoms=atoms)
    held = learned_from(card).get("held_out", {}).get("molecules")
    if plan.molecules is None and held:
        plan = replace(plan, molecules=frozenset(map(str, held)))
    elif plan.held_out and not held:
        progress.warn(f"{card.name} may have been trained on these molecules")
    settings = network.settings.sampler
    chosen = settings if steps is None else replace(settings, steps=steps)
    rows = measure_told(network, plan, device=where, sampler=chosen, progress=progress)
    result = {
        "conditions": {
            "weights": card.name,
            "files": card.files,
            "device": where,
            "sampler": asdict(chosen),
            "plan": json.loads(json.dumps(asdict(replace(plan, molecules=None)))),
            "molecules": _names(plan),
        },
        "pulses": rows,
    }
    if out is not None:
        made = Provenance.of(settings={"weights": card.name}, seed=plan.seed)
        whole = {**result, "provenance": json.loads(made.to_json())}
        with atomic_path(Path(out)) as temporary:
            temporary.write_text(
                json.dumps(sealed(whole), indent=1) + "\n", encoding="utf-8", errors=UNWRITABLE
            )
    return result


def _names(plan: ToldMeasurement) -> list[str]:
    """The molecules that are measured."""
    found: list[str] = []
    for atoms in range(plan.atoms[0], plan.atoms[1] + 1):
        found += _names_of(plan, atoms)
    return sorted(found)


def _names_of(plan: ToldMeasurement, atoms: int) -> tuple[str, ...]:
    """Those with this number of atoms."""
    if plan.molecules is not None:
        every = molecules_of(atoms, held_out=None, elements=plan.elements)
        return tuple(name for name in every if (name in plan.molecules) == plan.held_out)
    return molecules_of(atoms, held_out=plan.held_out, elements=plan.elements, share=plan.share)
