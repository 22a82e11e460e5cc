"""Event tables: columns stay together, identity is not lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.matter.ions import parse_ions
from molexa_core.base.tables import (
    Coincidences,
    DetectorValues,
    Edges,
    Geometry,
    Hits,
    ion_labels,
    offsets_of,
)
from molexa_core.base.units import HARTREE_EV


def table(n: int = 6) -> Coincidences:
    rng = np.random.default_rng(1)
    return Coincidences.of(
        ["O+", "H+", "H+"],
        rng.normal(size=(n, 3, 3)),
        event_id=np.arange(100, 100 + n),
        tags={"shot": np.arange(n) * 7},
        meta={"channel": "water"},
    )


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_filter_keeps_ids_momenta_and_tags_together(keep: list[bool]) -> None:
    full = table()
    mask = np.array(keep)
    cut = full.select(mask)
    assert len(cut) == mask.sum()
    assert set(cut.event_id) <= set(full.event_id)
    for row, event in enumerate(cut.event_id):
        source = int(event) - 100
        np.testing.assert_array_equal(cut.momentum[row], full.momentum[source])
        assert cut.tags["shot"][row] == 7 * source
    assert cut.meta == full.meta
    assert cut.ions == full.ions


def test_rows_can_be_picked_and_repeated_by_number() -> None:
    picked = table().select(np.array([2, 2, 0]))
    assert picked.event_id.tolist() == [102, 102, 100]


def test_columns_of_different_length_are_refused() -> None:
    full = table()
    with pytest.raises(UsageError, match="momentum has shape"):
        Coincidences(full.ions, full.event_id[:-1], full.momentum, full.weight)
    with pytest.raises(UsageError, match="'weight' has 5 rows, expected 6"):
        Coincidences(full.ions, full.event_id, full.momentum, full.weight[:-1])
    with pytest.raises(UsageError, match="'delay' has 1 rows, expected 6"):
        Coincidences.of(full.ions, full.momentum, tags={"delay": np.zeros(1)})
    with pytest.raises(UsageError, match=r"expected \(6, 2, 3\)"):
        Coincidences.of(["O+", "H+"], full.momentum)


def test_kinetic_energy_of_the_two_body_break_up() -> None:
    # N2 -> N+ + N+ at 1.098 angstrom: 13.1 eV shared equally, back to back
    n_ion = parse_ions("N+")[0]
    energy = 13.1 / HARTREE_EV
    momentum = np.sqrt(2.0 * n_ion.mass * energy / 2.0)
    pair = Coincidences.of(["N+", "N+"], np.array([[[0, 0, momentum], [0, 0, -momentum]]]))
    np.testing.assert_allclose(pair.kinetic_energy() * HARTREE_EV, [[6.55, 6.55]], rtol=1e-12)
    np.testing.assert_allclose(pair.momentum_sum(), 0.0, atol=1e-12)


def test_as_pandas() -> None:
    frame = table().to_pandas()
    assert list(frame.columns[:4]) == ["event_id", "O+.px", "O+.py", "O+.pz"]
    assert "H+#2.pz" in frame
    assert frame["shot"].tolist() == [0, 7, 14, 21, 28, 35]
    np.testing.assert_array_equal(frame["H+#2.py"], table().momentum[:, 2, 1])


def test_labels_number_like_ions() -> None:
    assert ion_labels(parse_ions("C+,H+,H+,C+,H+")) == ["C+", "H+", "H+#2", "C+#2", "H+#3"]


def test_hits_know_their_shot() -> None:
    hits = Hits(
        first_shot=10,
        offsets=np.array([0, 2, 2, 3]),
        x_mm=np.zeros(3),
        y_mm=np.zeros(3),
        t_ns=np.arange(3.0),
        method=np.zeros(3, np.int16),
    )
    assert (hits.n_shots, hits.n_hits) == (3, 3)
    assert hits.shot.tolist() == [10, 10, 12]


def test_geometry() -> None:
    water = Geometry(("O", "H", "H"), np.array([[0.0, 0, 3], [1, 0, 0], [2, 0, 0]]))
    assert len(water) == 3
    np.testing.assert_allclose(water.centred().positions.mean(axis=0), 0.0, atol=1e-15)
    with pytest.raises(InputFileError, match="2 atoms but positions of shape"):
        Geometry(("O", "H"), water.positions)


def _some_hits(tagged: bool = True) -> Hits:
    counts = np.array([2, 0, 3, 1, 0])
    values = np.arange(6.0)
    tags = {"delay_fs": np.arange(5.0)} if tagged else {}
    return Hits(
        7, offsets_of(counts), values, values + 10, values + 100, np.arange(6, dtype=np.int16), tags
    )


def _some_edges() -> Edges:
    counts = np.array([1, 4, 0, 2])
    return Edges(3, offsets_of(counts), np.arange(7, dtype=np.int16), np.arange(7.0))


@pytest.mark.parametrize("chunk", [_some_hits(), _some_edges()])
@pytest.mark.parametrize("shots", [1, 2, 3, 10])
def test_shots_cut_and_joined_are_the_same(chunk: Hits | Edges, shots: int) -> None:
    parts: list[Any] = list(chunk.in_chunks(shots))
    assert [part.first_shot for part in parts] == list(
        range(chunk.first_shot, chunk.first_shot + chunk.n_shots, shots)
    )
    np.testing.assert_array_equal(np.concatenate([part.shot for part in parts]), chunk.shot)
    again = type(parts[0]).concatenate(parts)
    for name in ("first_shot", "offsets", *chunk.VALUES):
        np.testing.assert_array_equal(getattr(again, name), getattr(chunk, name))
    for name, column in chunk.tags.items():
        np.testing.assert_array_equal(again.tags[name], column)


def test_a_mask_keeps_shots_and_their_tags() -> None:
    hits = _some_hits()
    mask = hits.x_mm % 2 == 0
    some = hits.select(mask)
    assert some.counts.tolist() == [1, 0, 2, 0, 0]
    np.testing.assert_array_equal(some.shot, hits.shot[mask])
    np.testing.assert_array_equal(some.t_ns, hits.t_ns[mask])
    np.testing.assert_array_equal(some.tags["delay_fs"], hits.tags["delay_fs"])
    assert hits.select(np.zeros(6, np.bool_)).n_shots == 5


def test_empty_shots_have_the_same_tags() -> None:
    gap = _some_hits().empty(12, 3)
    assert (gap.first_shot, gap.n_shots, gap.n_hits) == (12, 3, 0)
    assert np.isnan(gap.tags["delay_fs"]).all()
    assert Hits.none().n_shots == Edges.none().n_shots == 0


def test_offsets_of_counts() -> None:
    assert offsets_of(np.zeros(0, np.int32)).tolist() == [0]
    assert offsets_of(np.array([True, False, True])).tolist() == [0, 1, 1, 2]
    assert offsets_of(np.array([3, 1], np.uint8)).dtype == np.int64


def test_tables_of_coincidences_are_joined() -> None:
    random = np.random.default_rng(2)
    parts = [
        Coincidences.of(
            ["O+", "H+"], random.normal(size=(n, 2, 3)), tags={"shot": np.arange(n)}, meta={"n": n}
        )
        for n in (2, 0, 3)
    ]
    whole = Coincidences.concatenate(parts)
    assert len(whole) == 5
    assert whole.meta == {"n": 2}
    assert whole.tags["shot"].tolist() == [0, 1, 0, 1, 2]
    np.testing.assert_array_equal(whole.momentum[2:], parts[2].momentum)
    assert Coincidences.concatenate(parts, meta={"a": 1}).meta == {"a": 1}


def measured(rows: int, first: int = 0) -> DetectorValues:
    """Values that tell row and ion: hundreds are rows, units ions."""
    values = 100.0 * np.arange(first, first + rows)[:, None] + np.arange(3)
    return DetectorValues(values, values + 0.1, values + 0.2)


def test_detector_values_stay_with_their_rows_and_ions() -> None:
    bare = table()
    with_hits = Coincidences.of(
        bare.ions, bare.momentum, tags={"shot": np.arange(6)}, detector=measured(6)
    )
    cut = with_hits.select(np.array([4, 1])).detector
    assert cut is not None
    np.testing.assert_array_equal(cut.tof_ns[:, 0], [400.0, 100.0])
    turned = cut.reordered(np.array([[0, 2, 1], [0, 1, 2]]))
    np.testing.assert_array_equal(turned.x_mm[0] - 0.1, [400.0, 402.0, 401.0])
    np.testing.assert_array_equal(turned.y_mm[1], cut.y_mm[1])
    frame = with_hits.to_pandas()
    np.testing.assert_array_equal(frame["H+#2.tof_ns"], 100.0 * np.arange(6) + 2)
    with pytest.raises(UsageError, match=r"tof_ns has shape \(5, 3\)"):
        Coincidences.of(bare.ions, bare.momentum, detector=measured(5))


def test_joined_tables_keep_what_all_of_them_have() -> None:
    parts = [
        Coincidences.of(["O+", "H+", "H+"], np.ones((n, 3, 3)), detector=measured(n, n))
        for n in (2, 3)
    ]
    joined = Coincidences.concatenate(parts).detector
    assert joined is not None
    np.testing.assert_array_equal(joined.tof_ns[:, 1], [201.0, 301.0, 301.0, 401.0, 501.0])
    bare = Coincidences.of(["O+", "H+", "H+"], np.ones((1, 3, 3)))
    assert Coincidences.concatenate([*parts, bare]).detector is None
    with pytest.raises(UsageError, match="tag shot is missing"):
        Coincidences.concatenate([table(), bare])
    with pytest.raises(UsageError, match="other ions"):
        Coincidences.concatenate([bare, Coincidences.of(["O+", "H+"], np.ones((1, 2, 3)))])
