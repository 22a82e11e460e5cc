"""Evaluate: is the posterior of weights, or of the inversion, what it claims to be?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.forward_model import TAU_FS, ModelOptions, Pulse
from molexa_core.base.known_explosion import ClassicalExplosion, XrayExplosion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion, load_explosion
from molexa_core.base.storage.checksums import sealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path, make_folder
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import (
    ModelCard,
    default_weights,
    learned_from,
    load_network,
    tau_of,
)
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.calibration_measures import Calibration, measure, verdict
from molexa_core.pipeline.evaluation.known_explosions import (
    KINDS,
    KnownExplosions,
    Population,
    Telling,
    family_explosions,
    prior_explosions,
    random_explosions,
    stored_explosions,
)
from molexa_core.pipeline.evaluation.samplers import InversionSampler, NetworkSampler, Sampler
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.output_guard import (
    Output,
    data_set_inputs,
    require_outputs,
    settings_inputs,
)
from molexa_core.pipeline.reconstruction.learned import learned_explosion

RANDOM: Final = "stage1"
PRIOR: Final = "prior"
SETS: Final = {
    RANDOM: "random molecules as in the training of stage 1, classical model",
    PRIOR: "geometries of the prior of the inversion, exploded as it believes",
    **KINDS,
}
"""Sets that are made for the purpose; any other name is the folder of a data set."""
SAMPLES: Final = 63
"""Draws of each case that are ranked."""
CASES: Final = 1000
"""Geometries of a set."""
INVERSION: Final = "inversion"
ERROR: Final = 0.01
"""Error of momenta, share of their rms, in the set `prior`."""
PAGE: Final = "calibration.html"
FIGURES: Final = ("coverage", "ranks")


@dataclass(frozen=True)
class CalibrationRun:
    """Tests of a posterior and their conditions.

    Attributes:
        sets: by name of the set.
        conditions: sampler, samples, seed, device.
    """

    sets: dict[str, Calibration]
    conditions: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "conditions": self.conditions,
            "failed": verdict(self.sets),
            "calibration": {name: one.to_dict() for name, one in self.sets.items()},
        }


def calibrate_posterior(
    sampler: str | None = None,
    sets: Sequence[str] = (RANDOM,),
    *,
    split: str = "test",
    by: str = "molecule",
    samples: int = SAMPLES,
    steps: int | None = None,
    telling: Telling = "everything",
    cases: int = CASES,
    atoms: tuple[int, int] | None = None,
    explosion: Explosion | None = None,
    setup: Path | str | None = None,
    trajectories: int | None = None,
    device: str = "auto",
    seed: int = 40_260_000,
    out: Path | str | None = None,
    figures: Path | str | None = None,
    progress: Progress = SILENT,
) -> CalibrationRun:
    """Test draws from a posterior on explosions of known geometry, one entry per geometry.

    Args:
        sampler: name or card of weights, the default ones if not given, or `inversion`.
        sets: names of `SETS`, or folders of data sets.
        split: split of a data set.
        by: `entry`, `geometry` or `molecule`, see `pipeline.datasets.read.read_dataset`.
        samples: draws of each case.
        steps: number of steps of the sampler of a network; that of the network if not given.
        telling: what weights that can be told the experiment are told of explosions by the
            Monte-Carlo model.
        cases: geometries of each set.
        atoms: smallest and largest number; 2 to that of the training if not given.
        explosion: what the inversion is told, and what is exploded in the set `prior`; that all
            charges rise within 45 fs +- 20 % if not given.
        setup: file with the block `explosion`, in place of `explosion`.
        trajectories: explosions of each geometry by the Monte-Carlo model.
        device: `auto`, `cpu` or `cuda`.
        seed: of geometries, explosions and draws.
        out: JSON file to write.
        figures: folder for the page with figures.
        progress: display of the progress.

    Raises:
        InputFileError, WeightsError: no such weights or data, or damaged ones.
        UsageError: too few cases or samples.
        OutputError: a result cannot be written.
    """
    if cases < 24 or samples < 7:
        raise UsageError(
            f"{cases} cases with {samples} samples are too few to test a posterior",
            do="Take at least 24 cases and 7 samples; 1000 and 63 are usual.",
        )
    by_inversion = sampler == INVERSION
    weights = None if by_inversion else sampler or default_weights()
    folders = [name for name in sets if name not in SETS]
    _require_results(out, figures, folders, weights, setup)
    where = take_device(device)
    if setup is not None:
        explosion = load_explosion(setup)
    told = explosion or Explosion.of(ClassicalExplosion(Uncertain(TAU_FS, 0.2 * TAU_FS)))
    tau_fs, most = _window(told), 9
    chosen: Sampler
    population = Population()
    if weights is None:
        chosen = InversionSampler(told)
    else:
        network, card = load_network(weights, where)
        settings = None if steps is None else replace(network.settings.sampler, steps=steps)
        chosen = NetworkSampler(Engine(network), card.name, where, settings, telling)
        tau_fs, most = tau_of(card), network.settings.max_atoms
        population = population_of(card)
    span = atoms or (2, min(most, 9))
    found = {}
    for name in sets:
        made_of = _Making(
            cases, span, seed, where, tau_fs, told, trajectories, split, by, population
        )
        known = _explosions(name, made_of, progress)
        found[_shown(name)] = _measured(chosen, known, samples, seed, name, progress)
    conditions: dict[str, Any] = {"sampler": chosen.name, "samples": samples, "seed": seed}
    conditions |= {"device": where, "atoms": list(span)}
    if weights is not None and network.settings.told:
        conditions |= {"told": telling}
    if folders:
        conditions |= {"split": split, "by": by}
    run = CalibrationRun(found, conditions)
    made = Provenance.of(settings={"sampler": chosen.name, "data": list(sets)}, seed=seed)
    if out is not None:
        _write(run, Path(out), made)
    if figures is not None:
        _draw(run, Path(figures), made)
    return run


@dataclass(frozen=True)
class _Making:
    """How sets are made; see `calibrate_posterior`."""

    cases: int
    atoms: tuple[int, int]
    seed: int
    device: str
    tau_fs: float
    explosion: Explosion
    trajectories: int | None
    split: str
    by: str
    population: Population


def _explosions(name: str, of: _Making, progress: Progress) -> dict[int, KnownExplosions]:
    """The explosions of one set."""
    if name == RANDOM:
        return random_explosions(
            of.cases, atoms=of.atoms, tau_fs=of.tau_fs, seed=of.seed, device=of.device
        )
    if name == PRIOR:
        knowledge = knowledge_of(of.explosion)
        return prior_explosions(of.cases, knowledge, atoms=of.atoms, error=ERROR, seed=of.seed)
    if name in KINDS:
        return family_explosions(
            name,
            of.cases,
            atoms=of.atoms,
            seed=of.seed,
            device=of.device,
            trajectories=of.trajectories,
            population=of.population,
            progress=progress,
        )
    return stored_explosions(name, of.split, by=of.by, count=of.cases, seed=of.seed)


def _measured(
    sampler: Sampler,
    known: dict[int, KnownExplosions],
    samples: int,
    seed: int,
    name: str,
    progress: Progress,
) -> Calibration:
    if sum(map(len, known.values())) < 24:
        raise UsageError(
            f"{name} has {sum(map(len, known.values()))} geometries, too few to test a posterior",
            do="Choose another split or set.",
        )
    return measure(sampler, known, samples=samples, seed=seed, progress=progress)


def population_of(card: ModelCard) -> Population:
    """What the explosions of these weights' training were drawn from, as far as the card says."""
    found = Population()
    held = learned_from(card).get("held_out")
    if isinstance(held, Mapping) and held.get("molecules"):
        found = replace(found, held_out=frozenset(map(str, held["molecules"])))
    told = learned_explosion(card)
    if isinstance(told, XrayExplosion):
        found = _in_pulse(found, told)
    return found


def _in_pulse(found: Population, told: XrayExplosion) -> Population:
    """The same with the one pulse and the switches of the model that were learned."""
    if told.photon_ev is None or told.duration_fs is None or told.on_axis is None:
        return found
    pulse = Pulse(
        photon_ev=told.photon_ev.value,
        duration_fs=told.duration_fs.value,
        fluence_um2=told.on_axis.value,
    )
    given: dict[str, Any] = {
        name: value.value if isinstance(value, Uncertain) else value
        for name in (
            "transfer",
            "transfer_time_fs",
            "recapture",
            "shake_off",
            "double_auger",
            "focus",
        )
        if (value := getattr(told, name)) is not None
    }
    return replace(found, pulse=pulse, options=replace(ModelOptions(), **given))


def _window(told: Explosion) -> float:
    """Window of the rise in the set `stage1`, for the inversion."""
    found = told.told
    return found.window.value if isinstance(found, ClassicalExplosion) else TAU_FS


def _shown(name: str) -> str:
    return name if name in SETS else Path(name).name


def _require_results(
    out: Path | str | None,
    figures: Path | str | None,
    folders: Sequence[str],
    weights: str | None,
    setup: Path | str | None,
) -> None:
    """Check what is asked for, before minutes are spent on it."""
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(
                f"no set {folder!r} to test a posterior on, and no folder of this name",
                do=f"Sets are {listing(SETS)}, or the folder of a data set.",
            )
    drawn: list[Output] = []
    if figures is not None:
        drawn = [(Path(figures, PAGE), FileKind.REPORT)]
        drawn += [(Path(figures, f"{name}.svg"), FileKind.FIGURE) for name in FIGURES]
    read = settings_inputs(weights=weights, setup=setup)
    for folder in folders:
        read += data_set_inputs(folder)
    require_outputs((out, FileKind.EVALUATION), *drawn, inputs=read, folder=figures)


def _write(run: CalibrationRun, out: Path, made: Provenance) -> None:
    values = sealed({**run.to_dict(), "provenance": json.loads(made.to_json())})
    with atomic_path(out) as temporary:
        temporary.write_text(
            json.dumps(values, indent=1) + "\n", encoding="utf-8", errors=UNWRITABLE
        )


def _draw(run: CalibrationRun, folder: Path, made: Provenance) -> None:
    # matplotlib is imported only if figures are requested.
    from molexa_core.report import calibration_page  # noqa: PLC0415
    from molexa_core.report.style import save_svg  # noqa: PLC0415

    make_folder(folder)
    values = run.to_dict()["calibration"]
    ranks = {name: one.ranks for name, one in run.sets.items()}
    drawings = {
        "coverage": calibration_page.coverage_curves(values),
        "ranks": calibration_page.rank_histograms(ranks),
    }
    for name, uri in drawings.items():
        save_svg(uri, folder / f"{name}.svg", made)
    text = calibration_page.page(
        str(run.conditions["sampler"]), values, verdict(run.sets), drawings, made
    )
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNWRITABLE)
