"""Coincidence channels, `channels/*.yaml`: ions of a break-up, gates, molecular frame."""

from __future__ import annotations

import re
from itertools import combinations
from math import isclose
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from molexa_core.base.errors import UnknownIonError, listing
from molexa_core.base.matter.ions import Ion, ion_by_mass, parse_ion
from molexa_core.base.matter.isotopes import Masses
from molexa_core.base.settings.region import Region, RegionName
from molexa_core.base.settings.schema import IonName, Positive, Schema

MOST_IONS: Final = 64
"""Most ions of one kind, and most kinds, of a channel."""


class ChannelIon(Schema):
    """One kind of ion of a channel.

    Attributes:
        ion: ion notation.
        count: number of these ions in a complete break-up.
        detected: number required per event; below `count` the coincidence is partial and
            no momentum-sum gate is applied.
        window_ns: time-of-flight window; found from `max_momentum` where it is not given.
        mass_u: mass of the neutral in u; becomes part of the name of the ion: its isotope where it
            has one of this mass (`37Cl+`), else the mass itself (`Cl+@36.1`).
    """

    ion: IonName
    count: int = Field(default=1, ge=1, le=MOST_IONS)
    detected: int | None = Field(default=None, ge=0, le=MOST_IONS)
    window_ns: tuple[float, float] | None = None
    mass_u: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _named_by_mass(cls, values: Any) -> Any:
        """The ion with the mass in its name; wrong values are left to the checks of the fields."""
        if not isinstance(values, dict):
            return values
        name, mass = values.get("ion"), values.get("mass_u")
        if not isinstance(name, str) or not isinstance(mass, int | float) or not mass > 0:
            return values
        if isinstance(mass, bool):
            return values
        try:
            ion = str(ion_by_mass(parse_ion(name), float(mass)))
        except UnknownIonError as error:
            msg = str(error)
            raise ValueError(msg) from error
        return {**values, "ion": ion, "mass_u": None}

    @model_validator(mode="after")
    def _consistent(self) -> ChannelIon:
        if self.detected is not None and self.detected > self.count:
            msg = f"detected ({self.detected}) is more than count ({self.count})"
            raise ValueError(msg)
        if self.window_ns is not None and not self.window_ns[0] < self.window_ns[1]:
            msg = f"window_ns {list(self.window_ns)}: the first value must be below the second"
            raise ValueError(msg)
        return self

    @property
    def wanted(self) -> int:
        """Number of these ions that an event must contain."""
        return self.count if self.detected is None else self.detected


class Gates(Schema):
    """Gates on the momenta of an event, a.u., and on anything else of it (docs/gates.md).

    Attributes:
        max_momentum: largest momentum of a single ion that is considered.
        sum_half_width: half widths of the momentum-sum gate for x, y, z; found from the data
            (`sum_sigmas` standard deviations of the peak) where not given.
        sum_centre: centre of the gate; found from the data where not given.
        sum_sigmas: half width in standard deviations when found from the data.
        use: regions of the channel in which every coincidence must lie.
        where: condition that every coincidence must fulfil, such as `ker in 20..26`.
    """

    max_momentum: Positive = 400.0
    sum_half_width: tuple[Positive, Positive, Positive] | None = None
    sum_centre: tuple[float, float, float] | None = None
    sum_sigmas: Positive = 3.0
    use: tuple[RegionName, ...] = ()
    where: str | None = None


class Frame(Schema):
    """The molecular frame of the channel: see docs/conventions.md.

    Attributes:
        reference: its momentum is the x axis.
        second: its momentum defines the plane; where not given, the ion with the largest mean
            momentum across the reference.
        plane: the second momentum lies in this plane with a positive second component.
        like: how like ions get their roles. `measured`: from all events together, so that
            reference and second are the same atoms in every event. Event by event:
            `equivalent`, with all choices of a named second at equal weight, or `distinct`, the
            second being the ion most orthogonal to the reference (with both, so is a second that
            is not given).
    """

    reference: IonName
    second: IonName | None = None
    plane: Literal["xy", "xz"] = "xy"
    like: Literal["measured", "equivalent", "distinct"] = "measured"


class Channel(Schema):
    """A coincidence channel.

    Attributes:
        name: short name, as on the command line.
        description: one line for people.
        molecule: name of the molecule for the virtual experiment, if it is a shipped one.
        ions: the ions of a complete break-up; a short form is `O+ C+ 2 H+`, or a list of such
            words, in which an ion that stands twice counts twice.
        gates, frame: defaults for `reduce` and `align`.
        regions: regions in two observables by name, for `gates: use:`, `--gate` and conditions.
    """

    name: str
    description: str = ""
    molecule: str | None = None
    ions: tuple[ChannelIon, ...] = Field(min_length=1, max_length=MOST_IONS)
    gates: Gates = Gates()
    frame: Frame | None = None
    regions: dict[RegionName, Region] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short_ions(cls, values: Any) -> Any:
        """Ions in their short form as blocks."""
        if not isinstance(values, dict):
            return values
        ions = values.get("ions")
        if isinstance(ions, str):
            return {**values, "ions": counted_ions(ions)}
        if isinstance(ions, list) and any(isinstance(ion, str) for ion in ions):
            words = " ".join(ion for ion in ions if isinstance(ion, str))
            blocks = [ion for ion in ions if not isinstance(ion, str)]
            return {**values, "ions": [*counted_ions(words), *blocks]}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Channel:
        names = [entry.ion for entry in self.ions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"{', '.join(twice)} stands in more than one entry; use count"
            raise ValueError(msg)
        for first, second in combinations((parse_ion(name) for name in names), 2):
            if first.charge == second.charge and isclose(first.mass, second.mass, rel_tol=1e-6):
                msg = f"{first} and {second} have one mass and charge: they cannot be told apart"
                raise ValueError(msg)
        for name in self.gates.use:
            if name not in self.regions:
                msg = f"gates use the region {name}, but regions are {listing(self.regions)}"
                raise ValueError(msg)
        if self.frame is not None:
            for role in (self.frame.reference, self.frame.second):
                if role is not None and role not in names:
                    msg = f"frame ion {role} is not among the ions {', '.join(names)}"
                    raise ValueError(msg)
        return self

    def with_masses(self, masses: Masses) -> Channel:
        """The channel with the masses of a rule for isotopes that are not stated in its ions.

        Raises:
            UsageError: an unknown rule.
        """
        names = {entry.ion: str(parse_ion(entry.ion).with_masses(masses)) for entry in self.ions}
        ions = tuple(entry.model_copy(update={"ion": names[entry.ion]}) for entry in self.ions)
        frame = self.frame and self.frame.model_copy(
            update={
                "reference": names[self.frame.reference],
                "second": self.frame.second and names[self.frame.second],
            }
        )
        return self.model_copy(update={"ions": ions, "frame": frame})

    @property
    def all_ions(self) -> tuple[Ion, ...]:
        """Every ion of a complete break-up, like ions side by side."""
        return tuple(parse_ion(entry.ion) for entry in self.ions for _ in range(entry.count))

    @property
    def wanted_ions(self) -> tuple[Ion, ...]:
        """Every ion that an event must contain, like ions side by side."""
        return tuple(parse_ion(entry.ion) for entry in self.ions for _ in range(entry.wanted))

    @property
    def is_complete(self) -> bool:
        """Whether all ions of the break-up are required."""
        return all(entry.wanted == entry.count for entry in self.ions)


def counted_ions(text: str) -> list[dict[str, Any]]:
    """The ions in a short form, such as `O+ C+ 2 H+`, as blocks of a channel.

    Numbers before an ion, alone or with x (`2x H+`), count it; commas may stand between ions.

    Raises:
        ValueError: a number without an ion.

    Example:
        >>> counted_ions("O+ C+ 2 H+ H+")
        [{'ion': 'O+', 'count': 1}, {'ion': 'C+', 'count': 1}, {'ion': 'H+', 'count': 3}]
    """
    counts: dict[str, int] = {}
    number: int | None = None
    for word in text.replace(",", " ").split():
        if re.fullmatch(r"[1-9]\d{0,2}[x×]?", word):
            if number is not None:
                msg = f"{text!r}: {number} stands before another number"
                raise ValueError(msg)
            number = int(word.rstrip("x×"))
            continue
        counts[word] = counts.get(word, 0) + (number or 1)
        number = None
    if number is not None:
        msg = f"{text!r}: {number} stands before no ion"
        raise ValueError(msg)
    return [{"ion": ion, "count": count} for ion, count in counts.items()]
