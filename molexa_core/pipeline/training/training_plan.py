"""The plan of a training: network, recipe, data, length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, cast, get_args

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.network.config import Preset, TrainingSettings, preset
from molexa_core.pipeline.datasets.measurement_split import SHARE, measurement_box
from molexa_core.pipeline.training.stage1 import StageOneData
from molexa_core.pipeline.training.told_stream import StreamRecipe

TOLD_ATOMS: Final = 10
"""Largest molecules that a network that is told the experiment is trained on, by default."""
_LARGER: Final = 0.3
"""How often a block has a number of atoms above the recipe's, if larger molecules are wanted."""
UNCERTAINTY_BATCH: Final = 256
"""Default number of molecules per step of the uncertainty stage."""

Stage = Literal["1", "2", "uncertainty"]


@dataclass(frozen=True)
class TrainingPlan:
    """The plan of a training, as given to `molexa train`.

    Attributes:
        preset: network and recipe.
        stage: `1` trains on simulated classical explosions; `2` on a data set; `uncertainty`
            trains the uncertainty module of finished weights, with the rest frozen.
        steps: number of steps; 0 until it has been determined from `seconds`.
        seconds: duration of the training on its device, from which the number of steps is
            determined (`network.training.rehearsal`); None if the number is given.
        seed: of weights, molecules and noise.
        largest: largest number of atoms per molecule.
        weights: initial weights of the stage `uncertainty`.
        init: initial weights of stage 1 or 2; a new network if not given.
        data: folder of the data set of stage 2. The stage `uncertainty` trains on its validation
            split, as published, or on stage-1 molecules if not given.
        split_by: `entry`, `geometry` or `molecule`: way of splitting the data set.
        simulated: share of stage-1 molecules in stage 2.
        device: `cpu` or `cuda`.
        checkpoint_every_s: longest time between two checkpoints, seconds.
        stop_after_s: stop with a checkpoint after this many seconds, to be resumed later.
        validation: number of molecules in the final validation.
        pool: number of predicted molecules for the stage `uncertainty`.
        stream: explosions of a network that is told the experiment, if it is not trained on a data
            set.
    """

    preset: Preset
    stage: Stage
    steps: int
    seconds: float | None = None
    seed: int = 0
    largest: int = 9
    weights: str | None = None
    init: str | None = None
    data: str | None = None
    split_by: str = "entry"
    simulated: float = 0.0
    device: str = "cpu"
    checkpoint_every_s: float = 900.0
    stop_after_s: float | None = None
    validation: int = 16384
    pool: int = 65536
    stream: StreamRecipe | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for `--dry-run`."""
        return {**asdict(self), "stage_1_molecules": asdict(stage_one_data(self))}


def require_stage(stage: str) -> None:
    """Check the name of a stage, before anything else is said about a training.

    Raises:
        UsageError: there is no such stage.
    """
    stages = get_args(Stage)
    if stage not in stages:
        raise UsageError(
            f"no training stage {stage!r}", setting="stage", do=f"There are {listing(stages)}."
        )


def training_plan(
    preset_name: str,
    stage: str,
    steps: int | None = None,
    *,
    batch: int | None = None,
    draws: int | None = None,
    learning_rate: float | None = None,
    recipe: Sequence[str] = (),
    memory: bool = True,
    seconds: float | None = TrainingPlan.seconds,
    seed: int = TrainingPlan.seed,
    largest: int | None = None,
    elements: Sequence[str] = (),
    held_out_share: float = SHARE,
    weights: str | None = TrainingPlan.weights,
    init: str | None = TrainingPlan.init,
    data: str | None = TrainingPlan.data,
    split_by: str = TrainingPlan.split_by,
    simulated: float = TrainingPlan.simulated,
    device: str = TrainingPlan.device,
    checkpoint_every_s: float = TrainingPlan.checkpoint_every_s,
    stop_after_s: float | None = TrainingPlan.stop_after_s,
    validation: int = TrainingPlan.validation,
    pool: int = TrainingPlan.pool,
) -> TrainingPlan:
    """A plan from a preset, with parts of the recipe replaced.

    Args:
        preset_name: `molexa`, `told` or `paper`.
        stage: `1`, `2` or `uncertainty`.
        steps: number of steps; None if `seconds` is given.
        batch: molecules per step, instead of that of the preset.
        draws: noise draws per molecule, likewise.
        learning_rate: likewise.
        recipe: changes of further values of the recipe (`TrainingSettings`), as `name=value`.
        memory: whether to keep the gated memory of the preset; plain skip connections otherwise.
        seconds: duration of the training, instead of the number of steps.
        seed: see `TrainingPlan`, as for all that follow.
        largest: most atoms per molecule; 9 if not given, 10 for a network that is told the
            experiment.
        elements: of the molecules of a network that is told the experiment; those of the preset if
            not given.
        held_out_share: share of the shipped molecules that such a network is not trained on, and
            whether the pulses of the measurement are left out (if it is above 0); see
            `datasets.measurement_split`.
        weights: finished weights that the stage `uncertainty` starts from.
        init: finished weights that stage 1 or 2 starts from.
        data: folder of the data set.
        split_by: how the data set is split.
        simulated: share of stage-1 molecules in stage 2.
        device: `cpu` or `cuda`.
        checkpoint_every_s: longest time between two checkpoints.
        stop_after_s: when to stop with a checkpoint.
        validation: molecules of the validation at the end.
        pool: molecules whose prediction `uncertainty` trains on.

    Raises:
        UsageError: unknown preset, stage or value of the recipe; the network has no memory blocks;
            not exactly one of steps and seconds; `uncertainty` without weights; stage 2 without
            data; molecules that are too large for the network, or elements that it is not made for.
    """
    require_stage(stage)
    if (steps is None) == (seconds is None):
        raise UsageError(
            "a training needs its number of steps or its time",
            do="Give one of `steps=` and `seconds=`.",
        )
    chosen = preset(preset_name)
    parts = chosen.training
    parts = replace(
        parts,
        batch=batch or parts.batch,
        draws=draws or parts.draws,
        learning_rate=learning_rate or parts.learning_rate,
    )
    if stage == "uncertainty":
        parts = replace(
            parts,
            batch=batch or UNCERTAINTY_BATCH,
            uniform_atoms=True,
            uncertainty_share=1.0,
            warm_up=min(parts.warm_up, 50),
        )
    chosen = replace(chosen, training=changed_recipe(parts, recipe))
    if not memory:
        chosen = _without_memory(chosen)
    told = chosen.network.told
    if elements and not told:
        raise UsageError(
            "the elements of this network are those of its data", do="Leave out `elements=`."
        )
    if elements:
        chosen = replace(chosen, network=replace(chosen.network, elements=tuple(elements)))
    atoms = largest or (TOLD_ATOMS if told else TrainingPlan.largest)
    if atoms > chosen.network.max_atoms:
        raise UsageError(
            f"molecules of {atoms} atoms are too large for the preset {preset_name}",
            do=f"Choose a `largest=` of {chosen.network.max_atoms} at most.",
        )
    if stage == "2" and not data and not told:
        raise UsageError("stage 2 needs a data set", do="Name its folder with `data=`.")
    if told and simulated > 0.0:
        raise UsageError(
            "a network that is told the experiment simulates its molecules without being asked",
            do="Leave out `simulated=`.",
        )
    if stage == "1" and data:
        raise UsageError(
            "stage 1 simulates its molecules", do="Leave out `data=`, or choose `stage='2'`."
        )
    if stage == "uncertainty" and not weights:
        raise UsageError(
            "the uncertainty stage needs finished weights", do="Name them with `weights=`."
        )
    return TrainingPlan(
        preset=chosen,
        stage=cast("Stage", stage),
        steps=steps or 0,
        seconds=seconds,
        seed=seed,
        largest=atoms,
        weights=weights,
        init=init,
        data=data,
        split_by=split_by,
        simulated=simulated,
        device=device,
        checkpoint_every_s=checkpoint_every_s,
        stop_after_s=stop_after_s,
        validation=validation,
        pool=pool,
        stream=None
        if not told or data
        else stream_recipe(chosen, seed, atoms, held_out_share, classical_alone=stage == "1"),
    )


def stream_recipe(
    chosen: Preset, seed: int, largest: int, held_out_share: float, *, classical_alone: bool
) -> StreamRecipe:
    """The explosions that a network is trained on that is told the experiment.

    Args:
        chosen: network and recipe.
        seed: of molecules and explosions.
        largest: most atoms per molecule.
        held_out_share: see `training_plan`.
        classical_alone: whether there are no X-ray pulses.
    """
    whole = StreamRecipe()
    pairs, classical = whole.pairs, whole.classical
    if pairs is None or classical is None:
        msg = "the whole stream has both"
        raise ValueError(msg)
    elements = chosen.network.elements
    weights = pairs.atoms | dict.fromkeys(range(TOLD_ATOMS + 1, largest + 1), _LARGER)
    atoms = {n: share for n, share in weights.items() if n <= largest}
    common: dict[str, Any] = {"seed": seed, "elements": elements, "atoms": atoms}
    common["share"] = held_out_share
    box = measurement_box() if held_out_share > 0 else pairs.box
    return replace(
        whole,
        pairs=None if classical_alone else replace(pairs, **common, box=box),
        classical=replace(classical, **common),
    )


def stage_one_data(plan: TrainingPlan) -> StageOneData:
    """The stage-1 molecules of a plan."""
    return StageOneData(largest=plan.largest, uniform_atoms=plan.preset.training.uniform_atoms)


def changed_recipe(recipe: TrainingSettings, changes: Sequence[str]) -> TrainingSettings:
    """A recipe with some of its values replaced.

    Args:
        recipe: the recipe to change.
        changes: each as `name=value`.

    Raises:
        UsageError: no such name (the message lists similar ones), or an impossible value.
    """
    known = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            near = near_matches(name, known)
            hint = f"Did you mean {listing(near)}?" if near else f"There are: {listing(known)}."
            raise UsageError(f"a recipe has no part {name!r}", setting="recipe", do=hint)
        changed: dict[str, Any] = {name: _value(name, text, known[name])}
        recipe = replace(recipe, **changed)
    return recipe


def _value(name: str, text: str, kind: type) -> float | str | bool:
    choices = {"schedule": ("constant", "cosine")}.get(name, ("true", "false"))
    try:
        if kind in (int, float):
            number: float = kind(text)
            if not 0 <= abs(number) < float("inf") or (number < 0 and name != "noise_mean"):
                raise ValueError
            return number
        if text not in choices:
            raise ValueError
    except ValueError as error:
        wanted = {int: "a whole number from 0", float: "a number from 0"}.get(kind)
        raise UsageError(
            f"{name} cannot be {text!r}",
            setting="recipe",
            do=f"Give {wanted or listing(choices)}.",
        ) from error
    return text if kind is str else text == "true"


def _without_memory(chosen: Preset) -> Preset:
    if not chosen.network.memory:
        raise UsageError(
            f"the {chosen.name} preset has no memory blocks",
            do="Leave out `memory=False`, or choose `preset_name='paper'`.",
        )
    return replace(chosen, network=replace(chosen.network, memory=False))
