"""Gates act in order on blocks, count what they take, and say who took everything."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.settings import Region
from molexa_core.base.tables import Coincidences
from molexa_core.observables.expression import parse_number
from molexa_core.observables.gating import Gate, Gating, select_where
from molexa_core.observables.syntax import ExpressionError

REGIONS = {
    "slow": Region(x="p(O+)", y="p(C+)", box={"x": (0.0, 50.0), "y": (0.0, 50.0)}),
    "odd": Region(x="tuf(O+)", y="ker", box={"x": (0.0, 1.0), "y": (0.0, 1.0)}),
}


def table(rows: int = 400) -> Coincidences:
    rng = np.random.default_rng(8)
    delay = np.where(np.arange(rows) % 4 == 0, np.nan, np.arange(rows) % 3 * 50.0)
    return Coincidences.of(
        ["O+", "C+"], rng.normal(0.0, 30.0, (rows, 2, 3)), tags={"delay_fs": delay}
    )


def gates() -> list[Gate]:
    return [
        Gate.of_region("slow", REGIONS),
        Gate.of_condition("delay_fs >= 50", REGIONS),
    ]


def test_blocks_give_what_the_whole_gives_and_every_row_is_accounted_for() -> None:
    full = table()
    whole, parts = Gating(gates(), "align"), Gating(gates(), "align")
    kept = whole.select(full)
    pieces = [parts.select(full.select(slice(at, at + 37))) for at in range(0, 400, 37)]  # type: ignore[arg-type]
    joined = Coincidences.concatenate(pieces)
    np.testing.assert_array_equal(joined.event_id, kept.event_id)
    assert parts.record() == whole.record()
    first, second = whole.record()
    assert parts.meta(whole.meta({"a": 1})) == {"a": 1, "gates": [first, second, first, second]}
    sizes = np.linalg.norm(full.momentum, axis=2)
    slow = (sizes <= 50.0).all(axis=1)
    assert (first["rows"], first["kept"]) == (400, slow.sum())
    assert (second["rows"], second["kept"]) == (slow.sum(), len(kept))
    unknown = slow & np.isnan(full.tags["delay_fs"])
    assert second["not_numbers"] == unknown.sum()
    assert first["statement"] == "box in p(O+) and p(C+)"
    assert first["regions"]["slow"]["box"] == {"x": [0.0, 50.0], "y": [0.0, 50.0]}
    assert f"kept {len(kept)} of {slow.sum()}, {unknown.sum()} left out" in whole.sentences()[1]


def test_what_leaves_nothing_is_named_with_the_range_of_the_data() -> None:
    full = table()
    ker = parse_number("ker").values(full)
    gating = Gating([Gate.of_region("slow", REGIONS), Gate.of_condition("ker > 900", {})], "align")
    assert len(gating.select(full)) == 0
    with pytest.raises(NoEventsError) as caught:
        gating.finish()
    kept = gating.record()[0]["kept"]
    text = str(caught.value)
    assert f"'ker > 900' leaves none of {kept} coincidences (slow kept {kept} of 400)" in text
    slow = (np.linalg.norm(full.momentum, axis=2) <= 50.0).all(axis=1)
    assert f"ker from {ker[slow].min():.4g} to {ker[slow].max():.4g} eV" in text


def test_unknown_regions_and_axes_are_refused_before_any_row() -> None:
    with pytest.raises(UsageError, match="Did you mean slow"):
        Gate.of_region("slwo", REGIONS)
    with pytest.raises(ExpressionError, match="unknown observable 'tuf'"):
        Gate.of_region("odd", REGIONS)
    with pytest.raises(ExpressionError, match="no ion C"):
        Gating(gates(), "align").check(Coincidences.of(["O+", "N+"], np.empty((0, 2, 3))))


def test_rows_where_a_condition_holds() -> None:
    full = table()
    cut = select_where(full, "delay_fs == 100")
    assert set(cut.tags["delay_fs"]) == {100.0}
    assert not Gating([], "reduce")
    assert Gating([], "reduce").select(full) is full
