"""What a call says about the result that another one is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from molexa_core.base.options.gate_options import Selection
from molexa_core.base.parameter import Parameter, Parameters


@dataclass(frozen=True)
class SecondGate(Parameters):
    """Conditions on the coincidences of the second of two results.

    Attributes:
        second_where: conditions, in place of those of the first; of the same result, if no second
            one is given. With none the second has those of the first.
    """

    second_where: Annotated[
        list[str] | None,
        Parameter(
            "condition on the coincidences of the second result, in place of --where, such as "
            "'ker > 20'",
            note="alone it compares two gates of one result; may be given several times",
            option="--second-where",
        ),
    ] = None

    def of(self, first: Selection) -> Selection:
        """The conditions on the second result, from those on the first."""
        if not self.second_where:
            return first
        return Selection(where=self.second_where, gate=first.gate, regions=first.regions)


@dataclass(frozen=True)
class Comparing(SecondGate):
    """The other result; none if nothing is given.

    Attributes:
        compare: a folder of results, a file of events, or a structure.
    """

    compare: Annotated[
        str | None,
        Parameter(
            "another result to show beside this one: a folder, *.events.h5, geom.json, an XYZ "
            "file, or a molecule",
            option="--compare",
        ),
    ] = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is compared."""
        return self.compare is None and not self.second_where


AS_FIRST: Final = SecondGate()
"""The second has the conditions of the first."""
NOTHING: Final = Comparing()
"""No comparison."""
