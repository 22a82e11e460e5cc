"""What a result says, in words: is it unique, does it explain the momenta, what is uncertain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.plausibility import plausibility
from molexa_core.report.content import Finding, LengthRow, Structure, Tone
from molexa_core.report.structure import share_of
from molexa_core.report.text_tables import dashed, decimal, small_percent, text_of

_UNKNOWN: Final = object()
_NOT_SEARCHED: Final = (
    "The answer is drawn by the network; other structures with these momenta were not looked for. "
    "There often are some."
)
SURE: Final = 0.95
"""Share above which one of several structures is called the likely one."""
UNLIKELY: Final = 0.05
REJECTED: Final = 0.001
"""p-values below which momenta are explained poorly, and not at all."""
NOTHING_CONTRADICTS: Final = "nothing contradicts"
_ONE_CHANNEL: Final = (
    "That is no proof: one channel has as many unknowns as momenta, and only bond lengths that no "
    "molecule has can contradict. A third of the wrong explosions in a test passed as well. "
    "Further channels or molecules that are known tell more."
)
_POORLY: Final = (
    "The momenta are explained poorly; in a test of wrong explosions the ± were then three to "
    "eleven times too small."
)
_ONLY_ONE: Final = (
    "In a test, ten times as many starts found others in 16 of 81 such cases, but none that could "
    "be a molecule at rest."
)
_NOT_TESTED: Final = (
    "These weights learned explosions that cannot be computed again here, so that nothing was "
    "tested: if the pulse was another one than they learned, the ± do not hold."
)
_EXACT: Final = (
    "The explosion was told exactly, which no experiment can: tell it with its uncertainty (such "
    "as 45 +- 9), and it is in the ±."
)
_OF_MEANS: Final = (
    "Mean momenta were inverted: that molecules vibrate is not in the ±, which in a test were then "
    "six times too small. Single events have no such error (molexa reconstruct of the events file)."
)
_ORIGINS: Final = {
    "told": "as told by",
    "calibrated": "as calibrated on known molecules, from",
}


def findings(structure: Structure) -> tuple[Finding, ...]:
    """The answers to a reader's first questions.

    Args:
        structure: with lengths, alternatives and what was recorded of the fit.
    """
    explains = _explains(structure)
    refuted = explains.tone == "bad"
    found = [_unique(structure, refuted=refuted), explains, _uncertain(structure, explains.tone)]
    if (known := _against_known(structure)) is not None:
        found.append(known)
    return tuple(found)


def _unique(structure: Structure, *, refuted: bool) -> Finding:
    question = "Is it the only structure?"
    others = structure.alternatives
    if not others:
        judged = structure.closure.get("explains_momenta", _UNKNOWN)
        if judged is _UNKNOWN and "evidence_share" not in structure.closure:
            return Finding(question, "plain", "not recorded")
        if judged is None:
            return Finding(
                question,
                "plain",
                "not searched for",
                (_NOT_SEARCHED,),
            )
        if refuted:
            return Finding(
                question,
                "plain",
                "none explains the momenta",
                ("So nothing is known about others: this one only comes nearest.",),
            )
        return Finding(
            question,
            "good",
            "no other was found",
            ("The search found no other structure that explains these momenta.", _ONLY_ONE),
        )
    count = len(others)
    fits = "1 other fits" if count == 1 else f"{count} others fit"
    own = share_of(structure.closure)
    size = structure.closure.get("evidence_share", structure.closure.get("share_of_samples"))
    sure = isinstance(size, int | float) and size >= SURE
    plausible = sum(1 for one in others if not one.get("objections"))
    details = [
        f"This one has {own}; the next best has {share_of(others[0]) or 'no share'}."
    ] * bool(own)
    apart = others[0].get("distance_from_answer_bohr")
    if isinstance(apart, int | float):
        details.append(
            f"Coordinates of the next best differ by {BOHR_ANGSTROM * apart:.2f} Å on average."
        )
    own_objections = plausibility(structure.geometry).objections
    details.append(
        "Chemistry objects to all of the others as molecules at rest."
        if not plausible
        else f"Chemistry objects to {'none' if plausible == count else count - plausible} "
        f"of the others as a molecule at rest."
    )
    if own_objections:
        details.append("It objects to this one too.")
    likely = sure or not (plausible or own_objections)
    answer = f"no: {fits} these momenta too"
    return Finding(question, "doubt" if likely else "bad", answer, tuple(details))


def _explains(structure: Structure) -> Finding:
    question = "Does it explain the momenta?"
    p_value = structure.explosion.get("p_value")
    closure = structure.closure.get("residual", structure.closure.get("relative_momentum_residual"))
    details = []
    if isinstance(p_value, int | float):
        chi_square, degrees = (
            structure.explosion.get("chi_square"),
            structure.explosion.get("degrees"),
        )
        text = f"p = {_p(p_value)}"
        if isinstance(chi_square, int | float) and degrees is not None:
            text = f"chi-square {chi_square:.2f} for {degrees} degrees of freedom, {text}"
        details.append(f"{text[:1].upper()}{text[1:]}.")
        tone: Tone = "good" if p_value >= UNLIKELY else "doubt" if p_value >= REJECTED else "bad"
        answer = {"good": "yes", "doubt": "poorly", "bad": "no"}[tone]
        if tone == "good" and not structure.input.get("further_channels"):
            tone, answer = "plain", NOTHING_CONTRADICTS
            details.append(_ONE_CHANNEL)
        if tone in ("doubt", "bad") and (worst := _worst(structure.explosion.get("worst"))):
            details.append(worst)
    elif isinstance(explains := structure.closure.get("explains_momenta"), bool):
        tone, answer = ("plain", NOTHING_CONTRADICTS) if explains else ("bad", "no")
        details += [_ONE_CHANNEL] * explains
    elif "explains_momenta" in structure.closure:
        tone, answer = "plain", "not tested"
        details.append(_NOT_TESTED)
    else:
        tone, answer = "plain", "not recorded"
    if isinstance(closure, int | float):
        details.append(
            f"Exploding it again misses the momenta by {small_percent(closure)} % (rms): how far "
            "the search converged, not how accurate it is."
        )
    if statement := structure.explosion.get("statement"):
        kind, source = structure.explosion.get("origin"), structure.explosion.get("source")
        origin = (
            f" ({source})" if kind == "unknown" else f", {_ORIGINS.get(str(kind), 'from')} {source}"
        )
        details.append(f"Assumed: {statement}{origin if source else ''}.")
    return Finding(question, tone, answer, tuple(details))


def _p(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def _worst(worst: Any) -> str:
    if not isinstance(worst, dict):
        return ""
    sigma = worst.get("sigma")
    much = f" by {abs(sigma):.1f} sigma" if isinstance(sigma, int | float) else ""
    return f"Least explained: {worst.get('ion')} in {worst.get('channel')}{much}."


def _uncertain(structure: Structure, explained: Tone) -> Finding:
    question = "What is uncertain, and why?"
    if structure.uncertainty_reason:
        reason = structure.uncertainty_reason.removeprefix("no error bars: ")
        return Finding(
            question,
            "bad",
            "no error bars",
            (f"{reason[:1].upper()}{reason[1:]}".rstrip(".") + ".",),
        )
    known = [row for row in structure.lengths if row.error is not None]
    if not known:
        return Finding(question, "plain", "no error bars were recorded")
    bonded = [row for row in known if row.bonded and row.kind == "distance"] or [
        row for row in known if row.kind == "distance"
    ]
    details = []
    answer = ""
    if worst := _least_certain(bonded):
        answer = f"most of all {dashed(worst.of)}, by ±{worst.error:.2g} Å"
        if worst.region:
            details.append(f"{dashed(worst.of)} has several intervals: {worst.region} Å.")
    angles = [row for row in known if row.kind == "angle" and row.bonded]
    if angle := _least_certain(angles):
        details.append(
            f"The least certain angle between bonds is {dashed(angle.of)}, by ±{angle.error:.2g}°."
        )
    details.append(f"± is a 68 % interval and contains {structure.intervals}.")
    left_out = "what the assumed explosion leaves out"
    if structure.alternatives:
        left_out += ", nor the other structures that fit"
    details.append(f"It does not contain {left_out}.")
    if structure.exact:
        details.append(_EXACT)
    if not structure.of_events:
        details.append(_OF_MEANS)
    if explained == "bad":
        details.insert(0, "The explosion that was assumed does not give these momenta.")
        return Finding(question, "bad", "everything: the ± do not hold", tuple(details))
    wide = any(row.error is not None and row.error > _WIDE * row.value for row in bonded)
    if explained == "doubt":
        details.insert(0, _POORLY)
        answer = f"the ± may be too small; {answer}" if answer else "the ± may be too small"
    doubt = wide or explained == "doubt" or structure.exact or not structure.of_events
    return Finding(
        question, "doubt" if doubt else "good", answer or "see the table", tuple(details)
    )


_WIDE: Final = 0.1
"""Half-width over length above which a bond is called uncertain."""


def _least_certain(rows: Sequence[LengthRow]) -> LengthRow | None:
    return max(rows, key=lambda row: row.error or 0.0, default=None)


def _against_known(structure: Structure) -> Finding | None:
    if structure.known is None:
        return None
    pairs = [row for row in structure.lengths if row.kind == "distance" and row.known is not None]
    if not pairs:
        return None
    off = [abs(row.value - (row.known or 0.0)) for row in pairs]
    answer = f"distances off by {decimal(sum(off) / len(off), 3)} Å on average"
    details = [f"At most {decimal(max(off), 3)} Å."]
    judged = [(away, row.error) for away, row in zip(off, pairs, strict=True) if row.error]
    tone: Tone = "plain"
    if judged:
        inside = sum(away <= half for away, half in judged)
        ratio = math.sqrt(sum(away**2 for away, _ in judged) / sum(half**2 for _, half in judged))
        tone = "good" if ratio <= 1.5 else "doubt" if ratio <= 3.0 else "bad"
        details.append(
            f"{text_of(inside)} of {text_of(len(judged))} distances lie within their ±; their rms "
            f"error is {ratio:.1f} times the rms ±, 1 on average if the ± are honest."
        )
    name = structure.known_name
    return Finding(
        f"Against the known structure{f' ({name})' if name else ''}", tone, answer, tuple(details)
    )
