"""Which explosion a reconstruction assumes: what options, settings and files say about it.

In this order: settings of the call, the setup that it names, the setup of `molexa.yaml`, the record
of how the input was made (`molexa reduce` and `molexa simulate` write it there). What none of them
says is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import MolexaError, UsageError, listing
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.known_explosion import (
    KINDS,
    BuildUpExplosion,
    ClassicalExplosion,
    ExplosionKind,
    Kind,
    Model,
    XrayExplosion,
)
from molexa_core.base.parameter import parameters
from molexa_core.base.settings import Explosion, load_explosion, load_project, parse_settings
from molexa_core.base.storage.files import PROJECT_FILE
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.uncertain import UNKNOWN_WORD, Uncertain

Numbers = dict[str, Any]
BY_ENERGY: Final = ("energy_mj", "focus_um", "transmission")
"""Numbers that give the fluence together, in place of the fluence itself."""
NOWHERE: Final = "nothing says what the explosion was"


@dataclass(frozen=True)
class Changes:
    """What a call says about the explosion, in place of what its files say.

    Attributes:
        model: the kind of explosion, or that it is unknown; None for the kind of the files, or the
            one that the numbers are of.
        numbers: by kind, values of fields of its class; a text is read as in settings files, and
            `unknown` stands for what is not known.
    """

    model: Model | None = None
    numbers: Mapping[ExplosionKind, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def none(self) -> bool:
        """Whether nothing is said."""
        return self.model is None and not any(self.numbers.values())


@dataclass(frozen=True)
class Assumed:
    """The explosion that a reconstruction assumes.

    Attributes:
        explosion: what is known about it.
        source: where that is said, in words.
        remarks: on choices made, for the user.
    """

    explosion: Explosion = field(default_factory=Explosion)
    source: str = NOWHERE
    remarks: tuple[str, ...] = ()


def assumed_explosion(
    *,
    changes: Changes | None = None,
    setup: Path | str | None = None,
    record: Provenance | None = None,
    path: Path | str | None = None,
) -> Assumed:
    """What is known about the explosion of the ions in a file.

    Args:
        changes: what the call itself says.
        setup: setup that the call names, or a file with a block `explosion` alone.
        record: how the file was made.
        path: the file, for messages.

    Raises:
        InputFileError, SettingsError: a setup does not exist or is not valid, or the one that is
            named says nothing about the explosion.
        UsageError: numbers of different kinds of explosions, or a value out of range.
    """
    found = _of_files(setup, record, path)
    return found if changes is None else with_changes(found, changes)


def with_changes(found: Assumed, changes: Changes) -> Assumed:
    """What is known with what the call says in place of it.

    Raises:
        UsageError: numbers of different kinds of explosions, or a value out of range.
    """
    if changes.none:
        return found
    explosion = changed(found.explosion, changes)
    beside = found.source != NOWHERE and explosion.told is not None
    kept = beside and type(explosion.told) is type(found.explosion.told)
    remarks = []
    if found.explosion.calibrated is not None and explosion.calibrated is None:
        remarks.append(f"the calibration of {found.source} is left out: the call tells otherwise")
    source = f"options and {found.source}" if kept else "options"
    return Assumed(explosion, source, tuple(remarks))


def _of_files(setup: Path | str | None, record: Provenance | None, path: object) -> Assumed:
    if setup is not None:
        told = load_explosion(setup)
        if told is not None:
            return Assumed(told, str(setup))
    else:
        named = load_project().setup
        told = None if named is None else load_explosion(named)
        if told is not None:
            return Assumed(told, f"{named}, named in {PROJECT_FILE}")
    told = explosion_of_record(record)
    if told is not None:
        return Assumed(told, f"the record in {path}" if path is not None else "its record")
    return Assumed()


def explosion_of_record(record: Provenance | None) -> Explosion | None:
    """What the steps that made a file say about the explosion, the latest first."""
    if record is None:
        return None
    for step in (record.own_record(), *reversed(record.history)):
        settings = step.get("settings")
        if not isinstance(settings, Mapping):
            continue
        setup = settings.get("setup")
        inner = setup.get(EXPLOSION) if isinstance(setup, Mapping) else None
        for block in (settings.get(EXPLOSION), inner):
            if isinstance(block, Mapping):
                try:
                    return parse_settings(Explosion, dict(block), where="provenance")
                except MolexaError:
                    return None  # written by a later version
    return None


def changed(explosion: Explosion, changes: Changes) -> Explosion:
    """What is known with the changes of a call.

    Numbers of the kind that is told already replace those told; otherwise the kind is another one,
    and nothing else is kept. A calibration is kept as long as none of its own parameters is told
    anew: other conditions only widen it.

    Raises:
        UsageError: numbers of different kinds, or a value out of range.
    """
    given: dict[ExplosionKind, Numbers] = {
        kind: dict(values) for kind, values in changes.numbers.items() if values
    }
    if changes.model == UNKNOWN_WORD:
        _require_only(given, None)
        return Explosion()
    told = explosion.told
    if told is not None and told.kind == "classical" and changes.model in (None, "classical"):
        given = _as_classical(given)
    kind = changes.model or next(iter(given), None)
    if kind == "classical":
        given = _as_classical(given)
    _require_only(given, kind)
    if kind is None:
        return explosion
    own = given.get(kind, {})
    same = told is not None and told.kind == kind
    values = {name: _read(KINDS[kind], name, value) for name, value in own.items()}
    if same and told is not None:
        values = _instead(told, values)
    try:
        new: Kind = replace(told, **values) if same and told is not None else KINDS[kind](**values)
    except UsageError as error:  # its field has one name in several kinds: the sentence says which
        raise UsageError(error.what, do=error.do) from error
    return Explosion.of(new, _kept(explosion, set(own)) if same else None)


def _instead(told: Kind, values: Numbers) -> Numbers:
    """The changed numbers, and those told that they stand in place of, as not known."""
    if isinstance(told, BuildUpExplosion) and {"tau_fs", "tau_width"} & set(values):
        tau = told.tau_fs
        if values.get("tau_width") is not None and tau is not None:
            tau = Uncertain(tau.value)
        return {"tau_fs": tau, "tau_width": None} | values
    if isinstance(told, XrayExplosion) and values.get("fluence_um2") is not None:
        return dict.fromkeys(BY_ENERGY) | values
    if isinstance(told, XrayExplosion) and set(BY_ENERGY) & set(values):
        return {"fluence_um2": None} | values
    return values


def _as_classical(given: Mapping[ExplosionKind, Numbers]) -> dict[ExplosionKind, Numbers]:
    """Numbers of a build-up as those of the exact model, where it has them."""
    numbers = given.get("build_up", {})
    found = dict(given)
    if numbers and set(numbers) <= set(parameters(ClassicalExplosion)):
        del found["build_up"]
        found["classical"] = numbers
    return found


def _require_only(given: Mapping[ExplosionKind, Any], kind: ExplosionKind | None) -> None:
    """Refuse numbers of other kinds of explosions than one.

    Raises:
        UsageError: there are some.
    """
    others = [name for name in given if name != kind]
    if not others:
        return
    stated = [(KINDS[other], name) for other in others for name in given[other]]
    meanings = listing(
        f"the {parameters(of)[name].parameter.meaning}"  # type: ignore[arg-type]
        for of, name in stated
    )
    of = "an explosion that is unknown" if kind is None else f"the explosion {kind!r}"
    raise UsageError(
        f"{meanings} has no meaning for {of}",
        do="Say numbers of one kind of explosion, the one of `model=`.",
    )


def _read(of: type[Kind], name: str, value: Any) -> Any:
    """The value of a field as its class takes it.

    Raises:
        UsageError: it is no number.
    """
    if value is None or value == UNKNOWN_WORD:
        return None
    stated = parameters(of)  # type: ignore[arg-type]  # mypy: a union of classes is not hashable
    if stated[name].kind is not Uncertain:
        return value
    try:
        return Uncertain.of(value)
    except UsageError as error:
        what = f"the {stated[name].parameter.meaning}: {error.what}"
        raise UsageError(what, do=error.do) from error


def _kept(explosion: Explosion, changed_names: set[str]) -> Any:
    """The calibration, unless it holds a parameter that is told anew and is no condition of it."""
    found = explosion.calibrated
    if found is None:
        return None
    known: set[str] = set()
    for one in found.hypotheses:
        known |= {*one.parameters, *one.choices} - set(one.points[0].conditions)
    return None if known & changed_names else found
