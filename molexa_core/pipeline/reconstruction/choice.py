"""Reconstruct: choice of the answer among the structures found, and remarks on the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, NotRequired, TypedDict

import numpy as np

from molexa_core.base.errors import listing
from molexa_core.base.matter.ions import Ion
from molexa_core.base.numbers import percent
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.pipeline.reconstruction.solutions import Solution, ranked

OTHER_MODEL: Final = (
    "the closure is that of the classical model; the weights learned X-ray explosions (MC/MD), "
    "which differ from it by some per cent"
)
"""Remark on the closure of weights that were trained on another forward model."""


class Closure(TypedDict):
    """How well the explosion of a structure gives the measured momenta back, as it is recorded."""

    remark: NotRequired[str]
    model: Literal["classical"]
    tau_fs: float
    residual: float
    residual_meaning: str
    refined: bool
    explains_momenta: bool | None
    share_of_samples: float
    residuals_of_samples: list[float]
    chosen_sample: int | None


def chosen(
    found: list[Solution],
    samples: FloatArray,
    residuals: FloatArray,
    *,
    forward: str,
    chemistry: bool,
) -> tuple[Solution, list[Solution]]:
    """The answer, and the other structures that explain the momenta.

    If the training used another forward model, the closure residual in the classical model exceeds
    the errors of the momenta; it is then neither used for the choice nor as an explanation.
    """
    if forward != "classical":
        unjudged = [replace(one, explains=False) for one in found]
        return ranked(unjudged, chemistry=chemistry)[0], []
    answer = found[0] if found[0].explains else _closest(found, samples, residuals)
    return answer, [one for one in found if one is not answer and one.explains]


def _closest(found: list[Solution], samples: FloatArray, residuals: FloatArray) -> Solution:
    """If nothing explains the momenta: the solution or sample with the smallest residual."""
    best = min(found, key=lambda one: one.residual)
    index = int(np.argmin(residuals))
    if best.residual <= residuals[index]:
        return best
    positions = samples[index] - samples[index].mean(axis=0)
    return replace(best, positions=positions, residual=float(residuals[index]), sample=index)


def choice(answer: Solution, alternatives: list[Solution], *, chemistry: bool) -> list[str]:
    """Sentences for the user on the choice of the answer."""
    if not answer.explains:
        size = f"{percent(answer.residual)} %"
        return [f"no structure explains the momenta; the nearest one misses them by {size} (rms)"]
    warnings = []
    if alternatives:
        one = len(alternatives) == 1
        what = "1 other structure fits" if one else f"{len(alternatives)} other structures fit"
        plausible = sum(other.plausible for other in alternatives)
        if not chemistry or not answer.plausible:
            why = "this one was drawn most often"
        elif plausible:
            why = f"{plausible} of them chemically plausible too; this one was drawn most often"
        else:
            why = "this one is the only chemically plausible one"
        warnings.append(f"{what} these momenta as well; {why}")
    if answer.objections and chemistry:
        first = listing(answer.objections, limit=3)
        warnings.append(f"as a molecule at rest the structure is unusual: {first}")
    return warnings


def other_model(forward: str, *, refined: bool) -> list[str]:
    """A warning if structures are refined on a model that differs from that of the training."""
    if forward == "classical" or not refined:
        return []
    sentence = (
        "structures were refined on the classical model, but the weights learned X-ray explosions "
        "(MC/MD), which pulls the answer off; leave out `refine=True`"
    )
    return [sentence]


def closure_record(
    residuals: FloatArray, answer: Solution, tau_fs: float, *, forward: str, refined: bool
) -> Closure:
    """The agreement of the structure with the momenta, for the record."""
    judged = forward == "classical"
    record: Closure = {
        "model": "classical",
        "tau_fs": tau_fs,
        "residual": answer.residual,
        "residual_meaning": "rms difference of the momenta over their rms",
        "refined": refined,
        "explains_momenta": answer.explains if judged else None,
        "share_of_samples": answer.share,
        "residuals_of_samples": residuals.tolist(),
        "chosen_sample": answer.sample,
    }
    return record if judged else {"remark": OTHER_MODEL, **record}


def closure_residuals(
    samples: FloatArray, ions: Sequence[Ion], momenta: FloatArray, tau_fs: float
) -> FloatArray:
    """The misfit of the momenta from the explosion of each structure (closure).

    Args:
        samples: (samples, N, 3) bohr.
        ions: (N).
        momenta: (N, 3) a.u.
        tau_fs: window of the charge build-up.

    Returns:
        (samples) root of sum |p - p'|^2 over sum |p|^2; infinite where atoms coincide.
    """
    charges = np.array([float(ion.charge) for ion in ions])
    masses = np.array([ion.mass for ion in ions])
    residuals = np.full(len(samples), np.inf)
    distances = np.linalg.norm(samples[:, :, None] - samples[:, None], axis=3)
    apart = (distances + 1e9 * np.eye(len(ions)) > 1e-3).all(axis=(1, 2))
    if apart.any():
        exploded = explode_many(samples[apart], charges, masses, build_up=ErrorFunctionRise(tau_fs))
        squares = ((exploded - momenta) ** 2).sum(axis=(1, 2))
        residuals[apart] = np.sqrt(squares / (momenta**2).sum())
    return residuals
