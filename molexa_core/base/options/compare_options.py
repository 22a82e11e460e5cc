"""What a call says about the result that another one is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from molexa_core.base.parameter import Parameter, Parameters


@dataclass(frozen=True)
class Comparing(Parameters):
    """The other result; none if nothing is given.

    Attributes:
        compare: a folder of results, a file of events, or a structure.
        compare_where: conditions on its coincidences; of the same folder, if no other is given.
    """

    compare: Annotated[
        str | None,
        Parameter(
            "another result to show beside this one: a folder, *.events.h5, geom.json, an XYZ "
            "file, or a molecule",
            option="--compare",
        ),
    ] = None
    compare_where: Annotated[
        list[str] | None,
        Parameter(
            "condition on the coincidences of the other result, such as 'ker > 20'",
            note="alone it compares two gates of this folder; may be given several times",
            option="--compare-where",
        ),
    ] = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is compared."""
        return self.compare is None and not self.compare_where


NOTHING: Final = Comparing()
"""No comparison."""
