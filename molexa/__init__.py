"""molexa in Python: from a raw run to the structure of the molecule that exploded.

    import molexa as mx

    events = mx.reduce("r42/*.h5", "water", setup="setup.yaml")
    found = mx.reconstruct(mx.centroid(mx.align(events)))

A verb takes an object or the path of a file, and writes its result as well if `out=` names a file.
Atomic units inside; `mx.convert_units` gives others. Names are loaded when they are first used, so
that the import itself takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from molexa_core import __version__
from molexa_core.base.shown import Shower, shown_by

if TYPE_CHECKING:
    from molexa.calibrations import calibrate as calibrate
    from molexa.chain import align as align
    from molexa.chain import centroid as centroid
    from molexa.chain import reconstruct as reconstruct
    from molexa.chain import reduce as reduce
    from molexa.chain import report as report
    from molexa.comparisons import compare as compare
    from molexa.comparisons import movie as movie
    from molexa.comparisons import series as series
    from molexa.figures import plot as plot
    from molexa.files import convert as convert
    from molexa.files import inspect as inspect
    from molexa.files import open_run as open_run
    from molexa.files import read as read
    from molexa.handover import run_numbers as run_numbers
    from molexa.handover import to_awkward as to_awkward
    from molexa.handover import to_parquet as to_parquet
    from molexa.selections import gate as gate
    from molexa.selections import join as join
    from molexa.selections import spectrum as spectrum
    from molexa.settings import setup as setup
    from molexa.simulations import molecule as molecule
    from molexa.tables import from_pandas as from_pandas
    from molexa.tables import to_pandas as to_pandas
    from molexa.units import convert_units as convert_units
    from molexa_core.base.errors import MolexaError as MolexaError
    from molexa_core.base.forward_model import ModelOptions as ModelOptions
    from molexa_core.base.forward_model import Pulse as Pulse
    from molexa_core.base.matter.ions import Ion as Ion
    from molexa_core.base.settings import Channel as Channel
    from molexa_core.base.settings import Explosion as Explosion
    from molexa_core.base.settings import Setup as Setup
    from molexa_core.base.spectrum import Spectrum as Spectrum
    from molexa_core.base.tables import Coincidences as Coincidences
    from molexa_core.base.tables import Edges as Edges
    from molexa_core.base.tables import Geometry as Geometry
    from molexa_core.base.tables import Hits as Hits
    from molexa_core.io.results.geometry_json import ReconstructionRecord as Reconstruction
    from molexa_core.physics.molecules.library import Molecule as Molecule
    from molexa_core.pipeline.chain.covariance_maps import covariance as covariance
    from molexa_core.pipeline.chain.score import score as score
    from molexa_core.pipeline.chain.update import update as update
    from molexa_core.pipeline.explosions.simulate import simulate as simulate
    from molexa_core.pipeline.explosions.simulate_mcmd import simulate_mcmd as explode
    from molexa_core.pipeline.given.given_channel import channel as channel
    from molexa_core.pipeline.runs.mock import mock as mock

_PLACES: Final = {
    "calibrate": "molexa.calibrations",
    **dict.fromkeys(("align", "centroid", "reconstruct", "reduce", "report"), "molexa.chain"),
    "plot": "molexa.figures",
    **dict.fromkeys(("compare", "movie", "series"), "molexa.comparisons"),
    **dict.fromkeys(("gate", "join", "spectrum"), "molexa.selections"),
    "setup": "molexa.settings",
    "channel": "molexa_core.pipeline.given.given_channel",
    "covariance": "molexa_core.pipeline.chain.covariance_maps",
    "score": "molexa_core.pipeline.chain.score",
    "update": "molexa_core.pipeline.chain.update",
    "simulate": "molexa_core.pipeline.explosions.simulate",
    "explode": "molexa_core.pipeline.explosions.simulate_mcmd",
    **dict.fromkeys(("convert", "inspect", "open_run", "read"), "molexa.files"),
    "mock": "molexa_core.pipeline.runs.mock",
    "molecule": "molexa.simulations",
    **dict.fromkeys(("from_pandas", "to_pandas"), "molexa.tables"),
    **dict.fromkeys(("run_numbers", "to_awkward", "to_parquet"), "molexa.handover"),
    "convert_units": "molexa.units",
    "MolexaError": "molexa_core.base.errors",
    **dict.fromkeys(("ModelOptions", "Pulse"), "molexa_core.base.forward_model"),
    "Ion": "molexa_core.base.matter.ions",
    **dict.fromkeys(("Channel", "Explosion", "Setup"), "molexa_core.base.settings"),
    "Spectrum": "molexa_core.base.spectrum",
    **dict.fromkeys(("Coincidences", "Edges", "Geometry", "Hits"), "molexa_core.base.tables"),
    "Reconstruction": "molexa_core.io.results.geometry_json",
    "Molecule": "molexa_core.physics.molecules.library",
}
"""The module of each name."""
_OTHER_NAMES: Final = {"Reconstruction": "ReconstructionRecord", "explode": "simulate_mcmd"}
"""What a name is called where it is defined, if it is not the same."""
__all__ = [
    "Channel",
    "Coincidences",
    "Edges",
    "Explosion",
    "Geometry",
    "Hits",
    "Ion",
    "ModelOptions",
    "Molecule",
    "MolexaError",
    "Pulse",
    "Reconstruction",
    "Setup",
    "Spectrum",
    "__version__",
    "align",
    "calibrate",
    "centroid",
    "channel",
    "compare",
    "convert",
    "convert_units",
    "covariance",
    "explode",
    "from_pandas",
    "gate",
    "inspect",
    "join",
    "mock",
    "molecule",
    "movie",
    "open_run",
    "plot",
    "read",
    "reconstruct",
    "reduce",
    "report",
    "run_numbers",
    "score",
    "series",
    "setup",
    "simulate",
    "spectrum",
    "to_awkward",
    "to_pandas",
    "to_parquet",
    "update",
]


def _shower() -> Shower:
    """What shows results; it is loaded when one is shown."""
    from molexa import showing  # noqa: PLC0415

    return showing


shown_by(_shower)


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        from molexa_core.base.errors import near_matches  # noqa: PLC0415

        near = near_matches(name, __all__)
        hint = f". Did you mean {near[0]}?" if near else ""
        msg = f"module 'molexa' has no attribute {name!r}{hint}"
        raise AttributeError(msg)
    value = getattr(import_module(place), _OTHER_NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
