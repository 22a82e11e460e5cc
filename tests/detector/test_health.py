"""What is odd in hits is counted and told, and hits of a working detector are not called odd."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from molexa_core.base.fields import TAG_TIMESTAMP
from molexa_core.base.settings.setup import Detector
from molexa_core.base.tables import Hits, offsets_of
from molexa_core.detector.health import HitHealth
from molexa_core.detector.hot_spots import Sample

DETECTOR = Detector(dead_time_ns=15, dead_radius_mm=10, slots=16)
SHOTS = 4000
PEAKS = (400.0, 1700.0, 2100.0, 2600.0)
"""Times of flight of ions without recoil, which all arrive at one place."""


def run(seed: int = 1, *, dark: float = 0.05, jet: float = 0.5, shots: int = SHOTS) -> Hits:
    """Pairs of fragments back to back, ions of cold gas in a spot of 1 mm, dark counts."""
    rng = np.random.default_rng(seed)
    pairs, cold, noise = (rng.poisson(mean, shots) for mean in (0.3, jet, dark))
    shot = np.concatenate([np.repeat(np.arange(shots), n) for n in (2 * pairs, cold, noise)])
    n_pairs, n_cold, n_dark = (int(n.sum()) for n in (pairs, cold, noise))
    way = rng.normal(size=(n_pairs, 3))
    way *= 25 / np.linalg.norm(way, axis=1, keepdims=True)
    both = np.stack([way, -way], axis=1).reshape(-1, 3)
    at = rng.choice(PEAKS, n_cold)
    angle, radius = rng.uniform(0, 2 * np.pi, n_dark), 60 * np.sqrt(rng.random(n_dark))
    x = np.concatenate([both[:, 0], rng.normal(2.0, 1.0, n_cold), radius * np.cos(angle)])
    y = np.concatenate([both[:, 1], rng.normal(0.5, 1.0, n_cold), radius * np.sin(angle)])
    t = np.concatenate([1100 + 4 * both[:, 2], at + rng.normal(0, 3, n_cold),
                        rng.uniform(0, 12_000, n_dark)])  # fmt: skip
    return alive(hits_of(shot, x, y, t, shots))


def hits_of(shot: Any, x: Any, y: Any, t: Any, shots: int = SHOTS) -> Hits:
    order = np.lexsort((t, shot))
    counts = np.bincount(shot, minlength=shots)
    offsets = offsets_of(counts)
    method = np.zeros(len(x), np.int16)
    return Hits(0, offsets, x[order], y[order], t[order], method, {})


def alive(hits: Hits) -> Hits:
    """Without hits in the dead time of the one before."""
    shot = hits.shot
    near = (np.diff(shot) == 0) & (np.diff(hits.t_ns) < 15)
    near &= np.hypot(np.diff(hits.x_mm), np.diff(hits.y_mm)) < 10
    keep = np.concatenate([[True], ~near])
    return hits_of(shot[keep], hits.x_mm[keep], hits.y_mm[keep], hits.t_ns[keep], hits.n_shots)


def with_more(hits: Hits, shot: Any, x: Any, y: Any, t: Any) -> Hits:
    own = hits.shot
    return hits_of(
        np.concatenate([own, shot]), np.concatenate([hits.x_mm, x]),
        np.concatenate([hits.y_mm, y]), np.concatenate([hits.t_ns, t]), hits.n_shots,
    )  # fmt: skip


def health(*chunks: Hits, detector: Detector | None = DETECTOR) -> HitHealth:
    found = HitHealth(detector)
    for _ in found.watch(chunks):
        pass
    return found


@pytest.mark.parametrize("detector", [DETECTOR, Detector(), None])
@pytest.mark.parametrize(("jet", "dark"), [(0.5, 0.05), (3.0, 0.0), (0.0, 2.0), (0.02, 0.02)])
@pytest.mark.parametrize("seed", range(4))
def test_a_working_detector_is_not_called_odd(
    seed: int, jet: float, dark: float, detector: Detector | None
) -> None:
    assert health(run(seed, jet=jet, dark=dark), detector=detector).warnings() == []


def test_positions_in_steps_are_not_called_odd() -> None:
    """Pixels of 0.25 mm and bins of 0.5 ns, with half of the hits in the spot of the jet."""
    hits = run(2, jet=1.0, shots=20_000)
    steps = replace(hits, x_mm=np.rint(4 * hits.x_mm) / 4, y_mm=np.rint(4 * hits.y_mm) / 4,
                    t_ns=np.rint(2 * hits.t_ns) / 2)  # fmt: skip
    assert health(steps).warnings() == []


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_every_hit_twice(shift: float) -> None:
    hits = run()
    shot = hits.shot
    rng = np.random.default_rng(3)
    noise = shift * rng.normal(size=(3, hits.n_hits))
    twice = with_more(hits, shot, hits.x_mm + noise[0], hits.y_mm + noise[1], hits.t_ns + noise[2])
    for detector in (DETECTOR, None):
        found = health(twice, detector=detector)
        (told,) = found.warnings()
        assert "(50 %)" in told
        assert ("to the last digit" in told) == (shift == 0)
        count = found.as_dict()["hits_twice_exactly" if shift == 0 else "hits_twice_nearly"]
        assert abs(count - hits.n_hits) < 0.01 * hits.n_hits
    assert any("twice" in row[0] or "nearer" in row[0] for row in found.rows())


def test_hits_within_the_dead_time_that_the_setup_states() -> None:
    hits = run()
    shot = hits.shot[::8]
    late = with_more(hits, shot, hits.x_mm[::8] + 3, hits.y_mm[::8], hits.t_ns[::8] + 6)
    (told,) = health(late).warnings()
    assert "dead time and radius of the setup (15 ns, 10 mm)" in told
    assert health(late, detector=Detector()).warnings() == []  # nothing was stated


def test_a_file_that_is_in_the_run_twice() -> None:
    first = run()
    second = replace(first, first_shot=SHOTS)
    (told,) = health(first, second).warnings()
    assert "hold exactly the hits of another shot: a file may be in the run twice" in told


@pytest.mark.parametrize("share", [0.03, 0.9])
@pytest.mark.parametrize("size", [0.02, 0.4])
def test_a_hot_spot_knows_no_time_of_flight(share: float, size: float) -> None:
    hits = run()
    rng = np.random.default_rng(8)
    n = int(share / (1 - share) * hits.n_hits)
    hot = with_more(
        hits, rng.integers(0, SHOTS, n), rng.normal(-31, size, n), rng.normal(12, size, n),
        rng.uniform(0, 12_000, n),
    )  # fmt: skip
    found = health(hot)
    spots = found.as_dict()["hot_spots"]
    assert len(spots) == 1
    assert abs(spots[0]["x_mm"] + 31) < 1.5
    assert abs(spots[0]["y_mm"] - 12) < 1.5
    assert any("at all times of flight: a hot spot" in told for told in found.warnings())


def test_a_position_that_stands_for_none() -> None:
    """A fifth of the hits has no position, and zero in its place, at the times of all ions."""
    hits = run()
    lost = np.random.default_rng(5).random(hits.n_hits) < 0.2
    found = health(replace(hits, x_mm=np.where(lost, 0.0, hits.x_mm),
                           y_mm=np.where(lost, 0.0, hits.y_mm)))  # fmt: skip
    (told,) = found.warnings()
    assert f"{100 * lost.mean():.2g} % of the hits are exactly at x = 0 mm, y = 0 mm" in told


def test_slots_that_are_full() -> None:
    hits = run(jet=0.0, dark=4.0)
    counts = np.minimum(hits.counts, 4)
    place = np.arange(hits.n_hits) - np.repeat(hits.offsets[:-1], hits.counts)
    keep = place < 4
    shot = hits.shot[keep]
    cut = hits_of(shot, hits.x_mm[keep], hits.y_mm[keep], hits.t_ns[keep])
    (told,) = health(cut, detector=None).warnings()
    assert told.startswith(f"{(counts == 4).sum()} of {SHOTS} shots have 4 hits, the most that")


def test_full_slots_that_move_nothing_are_a_remark() -> None:
    """Numbers of hits that fall by one factor: the estimate is that of a series."""
    number, slots = np.arange(80), 16
    sizes = np.round(3000 * 0.8**number).astype(np.int64)
    sizes[1] = 4_000_000
    found = HitHealth()
    found.shots, found.hits = int(sizes.sum()), int(sizes @ number.clip(0, slots))
    found._sizes[:slots] = sizes[:slots]
    found._sizes[slots] = sizes[slots:].sum()
    lost = int(sizes @ (number - slots).clip(0))
    assert found.warnings() == []
    (told,) = found.remarks()
    assert f"of {found.shots} shots have 16 hits, the most that there is room for" in told
    full = found._full_slots()
    assert full is not None
    assert full.lost == pytest.approx(lost, rel=0.2)
    # With fewer other hits the same loss is one that a result may notice.
    found.shots, found.hits = found.shots // 10, found.hits // 10
    assert found.remarks() == []
    assert "% of the hits" in found.warnings()[0]


def test_shots_of_one_size_are_not_full() -> None:
    """Coincidences that somebody else picked: three hits in every shot."""
    rng = np.random.default_rng(1)
    n = 3 * SHOTS
    picked = hits_of(np.repeat(np.arange(SHOTS), 3), rng.normal(0, 20, n), rng.normal(0, 20, n),
                     np.tile([500.0, 1500, 2500], SHOTS) + rng.normal(0, 50, n))  # fmt: skip
    assert health(picked).warnings() == []


def test_a_detector_that_was_off() -> None:
    parts = [run(1), run(2)]
    nothing = Hits(SHOTS, np.zeros(SHOTS + 1, np.int64), *[np.empty(0)] * 3,
                   np.empty(0, np.int16))  # fmt: skip
    found = health(parts[0], nothing, replace(parts[1], first_shot=2 * SHOTS))
    (told,) = found.warnings()
    assert "(33 % of the run)" in told
    assert abs(found.as_dict()["longest_stretch_without_hits"] - SHOTS) < 50


@pytest.mark.parametrize(("tag", "unit"), [("timestamp", 1.0), ("train_id", 0.1)])
def test_gaps_in_time(tag: str, unit: float) -> None:
    steps = np.ones(SHOTS) * 0.1 / unit
    steady = replace(run(1), tags={tag: 1000 + np.cumsum(steps)})
    assert health(steady).warnings() == []
    steps[3000] = 200 / unit
    (told,) = health(replace(steady, tags={tag: 1000 + np.cumsum(steps)})).warnings()
    assert "no shots in 33 % of the time" in told
    assert "200 s, ends at shot 3000" in told


def test_columns_that_never_change() -> None:
    hits = run()
    (told,) = health(replace(hits, y_mm=np.full(hits.n_hits, 3.0))).warnings()
    assert told == "y is 3 mm in all hits"
    (told,) = health(replace(hits, y_mm=hits.x_mm)).warnings()
    assert told.startswith("x and y are the same")


def test_few_hits_say_nothing() -> None:
    hits = hits_of(np.zeros(20, int), np.ones(20), np.ones(20), np.ones(20))
    assert health(hits).warnings() == []
    assert health(hits_of(*[np.empty(0, int)] * 4)).as_dict() == {}


def sampled(shots: int, chunk: int) -> Sample:
    sample = Sample()
    for low in range(0, shots, chunk):
        values = np.arange(low, min(shots, low + chunk), dtype=float)
        sample.add(low, np.ones(len(values), np.int64), values, values, values)
    return sample


def test_the_sample_is_even_and_bounded_and_the_same_for_any_chunks() -> None:
    n = 1_700_000
    kept = sampled(n, 70_001).values()[0]
    assert 20_000 <= len(kept) <= 60_000
    tenths = np.histogram(kept, bins=10, range=(0, n))[0]
    assert np.abs(tenths - len(kept) / 10).max() < 5 * math.sqrt(len(kept) / 10)
    odd = (kept % 8).astype(int)  # pulses of a train
    assert np.abs(np.bincount(odd) - len(kept) / 8).max() < 5 * math.sqrt(len(kept) / 8)
    np.testing.assert_array_equal(kept, sampled(n, 1_000_003).values()[0])


def test_what_parts_of_a_run_tell_is_what_the_whole_tells() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(1.5, 60_000)
    counts[20_000:31_000] = 0  # the detector was off
    x, y, t = rng.normal(0.0, 20.0, (3, int(counts.sum())))
    x[::9], y[::9] = 3.0, 4.0
    shots = np.repeat(np.arange(len(counts)), counts)
    time = np.arange(len(counts)) * 1e-3 + 50.0 * (np.arange(len(counts)) > 40_000)
    hits = replace(hits_of(shots, x, y, 500.0 + t, len(counts)), tags={TAG_TIMESTAMP: time})
    whole = HitHealth(DETECTOR)
    joined = HitHealth(DETECTOR)
    for chunk in hits.in_chunks(7000):
        whole.add(chunk)
        part = HitHealth(DETECTOR)
        part.add(chunk)
        joined.absorb({name: values.copy() for name, values in part.as_arrays().items()})
        joined.tick(chunk.first_shot, chunk.tags)
    assert joined.as_dict() == whole.as_dict()
    assert {"hot_spots", "longest_stretch_without_hits"} <= set(whole.as_dict())
    assert joined.warnings() == whole.warnings()
