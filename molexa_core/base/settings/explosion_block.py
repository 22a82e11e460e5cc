"""The `explosion` block of `setup.yaml`: what is known about the explosion, and its calibration.

The told part is one of the kinds of `base.known_explosion`. The calibrated part is written by
`molexa calibrate explosion`; it holds what reference molecules of known geometry say about the
parameters of a family of forward models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from molexa_core.base.belief import Belief
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.known_explosion import (
    KINDS,
    BuildUpExplosion,
    ClassicalExplosion,
    InstantExplosion,
    IonExplosion,
    Kind,
    LaserExplosion,
    XrayExplosion,
)
from molexa_core.base.settings.schema import NotNegative, Positive, Schema
from molexa_core.base.uncertain import UNKNOWN_WORD

Numbers = tuple[float, ...]
FamilyName = Literal["xray", "laser", "ion", "build_up"]
"""The families of forward models by name (`physics.family`)."""
MOST_NUMBERS: Final = 400
"""Most rows of a covariance."""


class CalibratedPoint(Schema):
    """What references say at one set of conditions.

    Attributes:
        conditions: numbers of the told block under which the references were measured, such as
            `duration_fs: 30`; empty where they do not matter.
        mean: (P) coordinates of the parameters, in the order of `CalibratedHypothesis.parameters`.
    """

    conditions: dict[str, Positive] = Field(default_factory=dict)
    mean: Numbers


class CalibratedAtoms(Schema):
    """How the atoms of a reference deviate from the family, in its channels.

    Standard normal numbers of each element: how far the sum of its atoms deviates
    (`physics.family.atom_deviations`). They are used for the same molecule alone.

    Attributes:
        molecule: its name.
        elements: (E) in alphabetical order.
        counts: (E) atoms of each.
        points: (L) number, from 0, of the conditions of each channel.
        charges: (L, E) mean charges of the elements in each channel.
        mean: (L M) of the deviations, channel by channel and element by element.
        along: (L M, K P) their change with the parameters at all conditions.
        covariance: (L M, L M) at fixed parameters.
    """

    molecule: str
    elements: tuple[str, ...] = Field(min_length=1)
    counts: tuple[int, ...]
    points: tuple[int, ...] = Field(min_length=1)
    charges: tuple[tuple[Positive, ...], ...]
    mean: Numbers
    along: tuple[Numbers, ...]
    covariance: tuple[Numbers, ...] = Field(max_length=MOST_NUMBERS)

    @model_validator(mode="after")
    def _fits(self) -> CalibratedAtoms:
        kinds, channels, count = len(self.elements), len(self.points), len(self.mean)
        if len(self.counts) != kinds or count % (kinds * channels):
            msg = f"{count} numbers for {kinds} elements in {channels} channels"
            raise ValueError(msg)
        if len(self.charges) != channels or any(len(row) != kinds for row in self.charges):
            msg = f"charges are not those of {kinds} elements in {channels} channels"
            raise ValueError(msg)
        if len(self.along) != count or len({len(row) for row in self.along}) > 1:
            msg = f"the change with the parameters is not one row for each of {count} numbers"
            raise ValueError(msg)
        square = all(len(row) == count for row in self.covariance)
        if len(self.covariance) != count or not square:
            msg = f"the covariance is not {count} x {count} numbers"
            raise ValueError(msg)
        return self


class CalibratedHypothesis(Schema):
    """A family of forward models with what references say about its parameters.

    Attributes:
        family: which.
        choices: rules that are not numbers, such as `transfer: low`, `recapture: false`.
        weight: probability among the hypotheses of the calibration.
        parameters: (P) names of the coordinates, as in the family (`Family.coordinates`).
        points: K sets of conditions; one suffices.
        covariance: (K P, K P) of all means, point by point.
        common: names of parameters that are the same number at all conditions, such as the time of
            a transfer; the others deviate from the law of the family at other conditions, the more
            the further these are (`pipeline.calibration.prior`).
        atoms: how the atoms of the references deviate from the family, of each molecule.
    """

    family: FamilyName
    choices: dict[str, str | bool] = Field(default_factory=dict)
    weight: Positive = 1.0
    parameters: tuple[str, ...]
    points: tuple[CalibratedPoint, ...] = Field(min_length=1)
    covariance: tuple[Numbers, ...] = Field(max_length=MOST_NUMBERS)
    common: tuple[str, ...] = ()
    atoms: tuple[CalibratedAtoms, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> CalibratedHypothesis:
        count = len(self.parameters)
        for number, point in enumerate(self.points, start=1):
            if len(point.mean) != count:
                msg = f"point {number} has {len(point.mean)} means for {count} parameters"
                raise ValueError(msg)
            if set(point.conditions) != set(self.points[0].conditions):
                msg = f"point {number} has other conditions than point 1"
                raise ValueError(msg)
        if strange := sorted(set(self.common) - set(self.parameters)):
            msg = f"{listing(strange)} is common to all conditions, but no parameter"
            raise ValueError(msg)
        rows = count * len(self.points)
        if any(len(row) != rows for row in self.covariance) or len(self.covariance) != rows:
            msg = f"the covariance is not {rows} x {rows} numbers"
            raise ValueError(msg)
        for one in self.atoms:
            if len(one.along[0]) != rows or not 0 <= min(one.points) <= max(one.points) < len(
                self.points
            ):
                msg = f"the atoms of {one.molecule} belong to other points or parameters"
                raise ValueError(msg)
        try:
            self.belief()
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    def belief(self) -> Belief:
        """All parameters at all points, named `parameter @ point` (from 0), as one distribution."""
        names = [f"{name} @ {k}" for k in range(len(self.points)) for name in self.parameters]
        mean = np.array([value for point in self.points for value in point.mean])
        covariance = np.array(self.covariance, float).reshape(len(names), len(names))
        if np.abs(covariance - covariance.T).max(initial=0.0) > 1e-6 * np.abs(covariance).max(
            initial=0.0
        ):
            raise UsageError("the covariance is not symmetric")
        return Belief(tuple(names), mean, (covariance + covariance.T) / 2.0)


class ModelError(Schema):
    """Misfit of the references that no parameter removes, as it is expected of other molecules.

    Attributes:
        relative: relative error of the momenta of any molecule (`physics.family.calibrated`).
    """

    relative: NotNegative = 0.0


class Reference(Schema):
    """A measured channel of a molecule of known geometry that was used.

    Attributes:
        file: name of the file.
        molecule: name or formula.
        ions: that were measured.
        count: coincidences.
        digest: SHA-256 of the file.
        conditions: numbers of the told block under which it was measured.
    """

    file: str
    molecule: str
    ions: tuple[str, ...] = ()
    count: NotNegative | None = None
    digest: str | None = None
    conditions: dict[str, Positive] = Field(default_factory=dict)


class Calibrated(Schema):
    """What `molexa calibrate explosion` found.

    Attributes:
        hypotheses: families with their parameters.
        model_error: what the families leave unexplained.
        references: the molecules it rests on.
        p_value: probability of a misfit of the references as large as found; null if not known.
        notes: sentences, such as what the references cannot fix.
        made: version, command and time.
    """

    hypotheses: tuple[CalibratedHypothesis, ...] = Field(min_length=1)
    model_error: ModelError = ModelError()
    references: tuple[Reference, ...] = Field(min_length=1)
    p_value: Annotated[float, Field(ge=0, le=1)] | None = None
    notes: tuple[str, ...] = ()
    made: dict[str, str] = Field(default_factory=dict)


class Explosion(Schema):
    """What is known about the explosion of an experiment; nothing, if the block is empty.

    Attributes:
        xray, laser, ion, build_up, classical, instant: what is told; at most one of them. A number
            that is left out or `unknown` is not known.
        calibrated: what reference molecules say; its conditions may differ from those told here.
    """

    xray: XrayExplosion | None = None
    laser: LaserExplosion | None = None
    ion: IonExplosion | None = None
    build_up: BuildUpExplosion | None = None
    classical: ClassicalExplosion | None = None
    instant: InstantExplosion | None = None
    calibrated: Calibrated | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_unknown(cls, values: Any) -> Any:
        """Leave out what is said to be unknown; a kind with nothing behind it has no numbers."""
        if not isinstance(values, Mapping):
            return values
        kept: dict[Any, Any] = dict(values)
        for name, of in KINDS.items():
            block = kept.get(name)
            if name in kept and block is None:
                kept[name] = {}
            if isinstance(block, Mapping):
                known = {field.name for field in fields(of)}
                kept[name] = {
                    key: value
                    for key, value in block.items()
                    if not (key in known and value == UNKNOWN_WORD)
                }
        return kept

    @model_validator(mode="after")
    def _one_kind(self) -> Explosion:
        told = [name for name in KINDS if getattr(self, name) is not None]
        if len(told) > 1:
            msg = f"{listing(told)} are given, and a molecule explodes in one way; keep one of them"
            raise ValueError(msg)
        return self

    @model_serializer(mode="wrap")
    def _known_alone(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is known, without the rest."""
        return dict(_without_none(inner(self)))

    @property
    def told(self) -> Kind | None:
        """The block of the kind that is told, if any."""
        found = (getattr(self, name) for name in KINDS)
        return next((block for block in found if block is not None), None)

    @classmethod
    def of(cls, told: Kind | None, calibrated: Calibrated | None = None) -> Explosion:
        """From a block of a kind and a calibration."""
        values = {} if told is None else {told.kind: told}
        return cls(**values, calibrated=calibrated)

    def plain(self) -> dict[str, Any]:
        """As it is written to files: what is not known is left out; `parse_settings` reads it."""
        return self.model_dump(mode="json")


def _without_none(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_none(value) for key, value in values.items() if value is not None}
    return [_without_none(value) for value in values] if isinstance(values, list) else values
