"""What a call says about how structures are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from molexa_core.base.device import DEVICE
from molexa_core.base.parameter import SEED, Parameter, Parameters

SAMPLES: Final = 16
"""Structures that the network draws for mean momenta."""
SAMPLES_OF_EVENTS: Final = 32
"""Structures that it draws for single events: half for means of events, half for events."""
SEARCH: Final = 24
"""Further starts of the search."""
MOST: Final = 4096
LEARNED: Final = "learned"
"""Prior of geometries by which any two atoms are as likely bonded, and structures as probable as a
network draws them that is told the explosion."""
LIBRARY: Final = "library"
"""The same with atoms bonded as often as in the shipped molecules."""
ALIKE: Final = "alike"
"""Prior of geometries by which any two atoms are as likely bonded; samples of a network are starts
alone."""
USUAL_PRIOR: Final = LEARNED
"""That of mean momenta, where a call says nothing."""


@dataclass(frozen=True)
class ReconstructOptions(Parameters):
    """How structures are looked for, from mean momenta as from single events.

    Attributes:
        samples: number of structures that the network draws as starts.
        search: number of further starts, to find structures that the network does not draw.
        chemistry: whether a chemically plausible structure is preferred if several fit; switch it
            off for dissociating molecules.
        prior: what is expected of bonds, before momenta are looked at: `learned`, molecules like
            those from which the network learned, where it is told the explosion; `library`, also
            bonds as often as in the shipped molecules; `alike`, any two atoms; or an XYZ file with
            molecules of your own, such as an intermediate or a fragment.
        weights: name or path of the weights of the network; shipped ones if not given.
        seed: of all random draws.
        device: `auto`, `cpu` or `cuda`, of the network.
    """

    samples: Annotated[
        int | None,
        Parameter(
            "number of structures that the network draws",
            low=1,
            high=MOST,
            note=f"{SAMPLES} for mean momenta, {SAMPLES_OF_EVENTS} for single events, if not given",
            option="--samples",
        ),
    ] = None
    search: Annotated[
        int,
        Parameter("number of further starts of the search", low=0, high=MOST, option="--search"),
    ] = SEARCH
    chemistry: Annotated[
        bool | None,
        Parameter(
            "preference for a structure like a molecule at rest, of those that fit",
            note="on if not given",
            option="--chemistry",
        ),
    ] = None
    prior: Annotated[
        str | None,
        Parameter(
            "expectation of bonds: `learned`, structures as the network draws them; `library`, "
            "also bonds as often as in the shipped molecules; `alike`, any two atoms; or an XYZ "
            "file of molecules of your own",
            note=f"`{USUAL_PRIOR}` for mean momenta and `{ALIKE}` for single events if not given; "
            "stretched and broken bonds are possible with each",
            option="--prior",
        ),
    ] = None
    weights: Annotated[
        str | None,
        Parameter("name or JSON file of the network weights", option="--weights"),
    ] = None
    seed: Annotated[int, SEED] = 0
    device: Annotated[str, DEVICE] = "auto"

    @property
    def plausible(self) -> bool:
        """Whether a chemically plausible structure is preferred."""
        return self.chemistry is not False

    @property
    def prior_files(self) -> list[Path]:
        """The file of one's own molecules, if there is one."""
        return [] if self.prior in (None, LEARNED, LIBRARY, ALIKE) else [Path(str(self.prior))]

    def plain(self, *, weights: str, samples: int) -> dict[str, Any]:
        """What the provenance of a structure says of them.

        Args:
            weights: name of the weights that were used.
            samples: number of structures that were drawn.
        """
        return {
            "weights": weights,
            "samples": samples,
            "search": self.search,
            "chemistry": self.plausible,
            "prior": self.prior,
            "device": self.device,
        }


USUAL: Final = ReconstructOptions()
"""The options of a call that says nothing."""
