"""Options of the Monte-Carlo model, the same for every command that uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import typer

from molexa_core.base.errors import UsageError, listing

PhotonEv = Annotated[
    float | None, typer.Option("--photon-ev", help="mcmd: photon energy in eV. Default 2000.")
]
PulseMj = Annotated[
    float | None, typer.Option("--pulse-mj", help="mcmd: energy of the pulse in mJ. Default 1.")
]
PulseFs = Annotated[
    float | None, typer.Option("--pulse-fs", help="mcmd: FWHM in time in fs. Default 15.")
]
FocusUm = Annotated[
    float | None, typer.Option("--focus-um", help="mcmd: FWHM of the focus in µm. Default 1.")
]
Transmission = Annotated[
    float | None,
    typer.Option("--transmission", help="mcmd: share of the pulse in the focus. Default 1."),
]
Fluence = Annotated[
    float | None,
    typer.Option("--fluence", help="mcmd: photons/µm² on the axis, in place of energy and focus."),
]
Focus = Annotated[
    Literal["axis", "volume"] | None,
    typer.Option("--focus", help="mcmd: on the axis (default), or averaged over the focus."),
]
Transfer = Annotated[
    Literal["none", "neutral", "low", "full", "pair"] | None,
    typer.Option("--transfer", help="mcmd: which atoms give electrons. Default neutral."),
]
TransferFs = Annotated[
    float | None,
    typer.Option("--transfer-fs", help="mcmd: mean time of a transfer in fs, 0: at once."),
]
Recapture = Annotated[
    bool | None, typer.Option("--recapture", help="mcmd: slow electrons are captured by ions.")
]
DoubleAuger = Annotated[
    float | None, typer.Option("--double-auger", help="mcmd: share of decays with two electrons.")
]
ShakeOff = Annotated[
    float | None,
    typer.Option("--shake-off", help="mcmd: share of ionizations with two electrons."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="mcmd: auto (default), cpu, cuda or cuda:0.")
]
PULSE: Final = {
    "photon_ev": "photon_ev",
    "pulse_mj": "energy_mj",
    "pulse_fs": "duration_fs",
    "focus_um": "focus_um",
    "transmission": "transmission",
    "fluence": "fluence_um2",
}
"""The argument of `Pulse` that each parameter of a command sets."""
SWITCHES: Final = {
    "focus": "focus",
    "transfer": "transfer",
    "transfer_fs": "transfer_time_fs",
    "recapture": "recapture",
    "double_auger": "double_auger",
    "shake_off": "shake_off",
}
"""The argument of `Options` likewise."""
DEFAULT_PHOTON_EV = 2000.0


def given(parameters: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Those of the parameters of a command that were given, by the argument that each sets."""
    return {
        names[name]: value
        for name, value in parameters.items()
        if name in names and value is not None
    }


def refuse(model: str, parameters: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse options that the model does not look at.

    Raises:
        UsageError: one of them was given.
    """
    extra = [name for name in names if parameters[name] is not None]
    if extra:
        options = listing([f"--{name.replace('_', '-')}" for name in extra])
        raise UsageError(
            f"{options} has no meaning for the model {model}",
            do="Leave it out, or choose another --model.",
        )
