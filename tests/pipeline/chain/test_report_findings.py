"""What the report says in words, against records whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from molexa_core.base.tables import Geometry
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.pipeline.chain.report_parts.report_findings import NOTHING_CONTRADICTS, findings
from molexa_core.pipeline.chain.report_parts.report_structure import (
    BY_CHEMISTRY,
    BY_EVIDENCE,
    BY_SAMPLES,
    structure_of,
)
from molexa_core.report.content import Finding
from tests.fakes.chain import KNOWN

WATER = KNOWN["water"]


def record(**values: Any) -> ReconstructionRecord:
    made = ReconstructionRecord(
        symbols=("O", "H", "H"),
        positions_bohr=WATER,
        uncertainty_bohr=np.full((3, 3), 0.02),
        closure={"residual": 0.001, "explains_momenta": True, "share_of_samples": 0.5},
        explosion={"p_value": 0.4, "chi_square": 2.0, "degrees": 2, "statement": "a laser pulse"},
    )
    return replace(made, **values)


def other(share: float, *objections: str, key: str = "share_of_samples") -> dict[str, Any]:
    moved = WATER + np.array([[0.0, 0, 0], [0.3, 0, 0], [0, 0.3, 0]])
    return {
        "positions_bohr": moved.tolist(),
        "residual": 0.01 * (1.0 - share),
        key: share,
        "objections": list(objections),
        "distance_from_answer_bohr": 0.2,
    }


def said(of: ReconstructionRecord, known: Geometry | None = None) -> dict[str, Finding]:
    return {one.question.split(" ")[0]: one for one in findings(structure_of(of, known))}


def test_one_structure_that_explains_the_momenta() -> None:
    found = said(record())
    assert found["Is"].tone == "good"
    assert found["Is"].answer == "no other was found"
    assert (found["Does"].tone, found["Does"].answer) == ("plain", NOTHING_CONTRADICTS)
    assert any("a laser pulse" in text for text in found["Does"].details)
    assert "Against" not in found


@pytest.mark.parametrize(
    ("p_value", "tone", "answer"),
    [(0.06, "good", "yes"), (0.04, "doubt", "poorly"), (0.0005, "bad", "no")],
)
def test_small_p_values_are_doubts_and_smaller_ones_say_no(
    p_value: float, tone: str, answer: str
) -> None:
    worst = {"ion": "O+", "channel": "a.csv", "sigma": -4.2}
    channels = {"further_channels": [{"ions": ["O2+", "H+", "H+"]}]}
    found = said(record(explosion={"p_value": p_value, "worst": worst}, input=channels))["Does"]
    assert (found.tone, found.answer) == (tone, answer)
    assert any("O+ in a.csv by 4.2 sigma" in text for text in found.details) is (tone != "good")


def test_one_channel_alone_proves_no_explosion() -> None:
    alone = said(record(explosion={"p_value": 0.5}))["Does"]
    assert (alone.tone, alone.answer) == ("plain", NOTHING_CONTRADICTS)
    assert any("no proof" in text for text in alone.details)
    assert said(record(explosion={"p_value": 0.005}))["Does"].tone == "doubt"
    of_events = said(record(explosion={}, events={"systematic_bohr": [[0.1]]}))["Does"]
    assert of_events.tone == "plain"


def test_without_a_test_the_closure_decides_and_without_both_nothing_is_claimed() -> None:
    failed = {"residual": 0.3, "explains_momenta": False}
    assert said(record(explosion={}, closure=failed))["Does"].answer == "no"
    nothing = said(record(explosion={}, closure={}))
    assert nothing["Does"].answer == nothing["Is"].answer == "not recorded"


def test_where_nothing_was_searched_the_structure_is_not_called_the_only_one() -> None:
    unjudged = said(record(explosion={}, closure={"residual": 0.05, "explains_momenta": None}))
    assert (unjudged["Is"].tone, unjudged["Is"].answer) == ("plain", "not searched for")
    assert (unjudged["Does"].tone, unjudged["Does"].answer) == ("plain", "not tested")


def test_where_the_momenta_are_not_explained_nothing_else_is_praised() -> None:
    refuted = said(record(explosion={"p_value": 1e-5}))
    assert refuted["Is"].tone == "plain"
    assert refuted["What"].tone == "bad"
    assert "do not hold" in refuted["What"].answer


def test_where_the_momenta_are_explained_poorly_the_error_bars_are_doubted() -> None:
    narrow = {"uncertainty_bohr": np.full((3, 3), 0.01), "events": {"systematic_bohr": [[0.1]]}}
    found = said(record(explosion={"p_value": 0.01}, **narrow))["What"]
    assert found.tone == "doubt"
    assert found.answer.startswith("the ± may be too small; most of all")


def test_others_that_chemistry_allows_are_worse_than_others_that_it_refuses() -> None:
    refused = said(record(alternatives=(other(0.3, "too near"),)))["Is"]
    assert refused.tone == "doubt"
    assert refused.answer == "no: 1 other fits these momenta too"
    allowed = said(record(alternatives=(other(0.3), other(0.1, "too near"))))["Is"]
    assert allowed.tone == "bad"
    assert allowed.answer == "no: 2 others fit these momenta too"
    sure = {"residual": 0.0, "evidence_share": 0.99}
    likely = said(record(closure=sure, alternatives=(other(0.01, key="evidence_share"),)))["Is"]
    assert likely.tone == "doubt"
    assert any("99 % of the evidence" in text for text in likely.details)


def test_alternatives_stand_in_the_order_that_is_stated() -> None:
    found = (other(0.1), other(0.4, "too near"), other(0.2))
    shares = lambda one: [row["share_of_samples"] for row in one.alternatives]  # noqa: E731
    plain = structure_of(record(alternatives=found))
    assert (plain.order, shares(plain)) == (BY_SAMPLES, [0.4, 0.2, 0.1])
    chemical = structure_of(record(alternatives=found, input={"chemistry": True}))
    assert (chemical.order, shares(chemical)) == (BY_CHEMISTRY, [0.2, 0.1, 0.4])
    weighed = tuple(other(share, key="evidence_share") for share in (0.1, 0.3))
    judged = structure_of(record(alternatives=weighed))
    assert judged.order == BY_EVIDENCE
    assert [row["evidence_share"] for row in judged.alternatives] == [0.3, 0.1]
    assert all(row["bonds"] for row in judged.alternatives)


def test_what_is_uncertain_is_named_with_its_size() -> None:
    widths = np.array([[0.01] * 3, [0.01] * 3, [0.3] * 3])
    found = said(record(uncertainty_bohr=widths))["What"]
    assert "O1\N{EN DASH}H3" in found.answer
    assert found.answer.endswith("Å")
    assert found.tone == "doubt"
    narrow = {"uncertainty_bohr": np.full((3, 3), 0.01), "events": {"systematic_bohr": [[0.1]]}}
    assert said(record(**narrow))["What"].tone == "good"
    reason = "no error bars: the momenta are those of no molecule"
    none = said(record(uncertainty_bohr=None, uncertainty_reason=reason))["What"]
    assert (none.tone, none.answer) == ("bad", "no error bars")
    assert none.details == ("The momenta are those of no molecule.",)


def test_an_error_bar_that_lacks_vibration_or_the_explosion_is_a_doubt_and_says_so() -> None:
    narrow: dict[str, Any] = {"uncertainty_bohr": np.full((3, 3), 0.01)}
    told = {"statement": "charges that rise", "origin": "told"}
    unknown = {"statement": "charges that rise", "origin": "unknown"}

    def uncertain(**values: Any) -> tuple[str, bool, bool]:
        found = said(record(**narrow, **values))["What"]
        texts = " ".join(found.details)
        return found.tone, "vibrate" in texts, "told exactly" in texts

    assert uncertain(explosion=unknown) == ("doubt", True, False)
    assert uncertain(explosion=told) == ("doubt", True, True)
    uncertain_window, exact_window = [40.0, 45.0, 50.0], [45.0, 45.0, 45.0]
    for before, exact in ((uncertain_window, False), (exact_window, True)):
        hypotheses = [{"parameters": [{"name": "tau_fs", "before": before}]}]
        assert uncertain(explosion=told | {"hypotheses": hypotheses}) == ("doubt", True, exact)
    assert uncertain(explosion=told, events={"systematic_bohr": None}) == ("doubt", False, True)
    assert uncertain(explosion=told, events={"systematic_bohr": [[0.1]]}) == ("good", False, False)


# Half-widths of distances are 0.02 sqrt(2) bohr: the ratio is 78 times the stretch beyond 1.
@pytest.mark.parametrize(("stretch", "tone"), [(1.0, "good"), (1.03, "doubt"), (1.4, "bad")])
def test_against_a_known_structure_errors_are_held_against_their_bars(
    stretch: float, tone: str
) -> None:
    found = said(record(), Geometry(("O", "H", "H"), stretch * WATER))["Against"]
    assert found.tone == tone
    inside = "3 of 3" if stretch == 1.0 else "0 of 3"
    assert any(text.startswith(inside) for text in found.details)
