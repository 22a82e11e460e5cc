"""The search of the graphics card, built by a C++ compiler, against the compiled loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.cuda.graphics_card import Card, Processor
from molexa_core.base.errors import UsageError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import Hits
from molexa_core.pipeline import devices
from molexa_core.pipeline.chain import reduce as reduce_stage
from molexa_core.pipeline.chain.reduce import Reduction, reduce
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.combinations.shot import BEST
from molexa_core.reduction.gpu.device_search import DeviceSearch
from tests.fakes.host_card import HostCard
from tests.fakes.root_runs import make_channel, make_run, make_setup
from tests.reduction.test_search import gate_of, hits_of, random_shots, shot_of

WATER = make_channel(("O+", 1), ("H+", 2))
CHANNELS = {
    "three ions": WATER,
    "one kind": make_channel(("H+", 4)),
    "windows that overlap": make_channel(("O+", 1), ("C+", 1), ("H+", 2), max_momentum=300.0),
    "three kinds": make_channel(("C+", 1), ("H+", 2), ("O+", 1), max_momentum=200.0),
}
ROUNDING = 1e-13
"""Relative; exponentials and logarithms may differ in their last digit."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostCard:
    return HostCard(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def real() -> Processor:
    return Card(0)


def compare(
    hits: Hits,
    channel: Channel,
    setup: Setup,
    gate: SumGate | None,
    card: Processor,
    *,
    every: bool = False,
) -> int:
    """Search on both; the number of coincidences, which are the same."""
    counts, expected_counts = Tally(), Tally()
    expected = Search(channel, setup).solve(hits, expected_counts, gate, every=every)
    found = Search(channel, setup, card).solve(hits, counts, gate, every=every)
    np.testing.assert_array_equal(found.shot, expected.shot)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.chi_square, expected.chi_square, rtol=ROUNDING, atol=1e-12)
    np.testing.assert_allclose(found.probability, expected.probability, rtol=1e-11)
    for name, values in expected_counts.as_arrays().items():
        np.testing.assert_array_equal(counts.as_arrays()[name], values, err_msg=name)
    return len(found)


def compare_all(name: str, hits: int, card: Processor) -> None:
    channel, setup = CHANNELS[name], make_setup()
    run = random_shots(channel, 200, hits, seed=hits)
    for gate in (gate_of(15.0), gate_of(45.0), None):
        for every in (False, True):
            assert compare(run, channel, setup, gate, card, every=every) >= 200


def compare_fields(regions: int, gauss: float, card: Processor) -> None:
    field = {"magnetic_field_gauss": gauss}
    setup = make_setup(regions)
    setup = setup.model_copy(update={"spectrometer": setup.spectrometer.model_copy(update=field)})
    run = make_run(("O+", "H+", "H+"), make_setup(regions), shots=3000, per_shot=1.0,
                   noise_per_shot=2.0)  # fmt: skip
    assert compare(run.hits, WATER, setup, gate_of(30.0), card) > 20


def sums_and_momenta(card: Processor) -> None:
    """Momenta on the card are those of the search, ions in the order of the channel."""
    channel, setup = CHANNELS["three kinds"], make_setup(2)
    rng = np.random.default_rng(3)
    hits = hits_of([shot_of(channel, [1, 1, 1], rng) for _ in range(300)])
    search, gate = Search(channel, setup), gate_of(30.0)
    device = DeviceSearch(card)
    there = device.hits(hits.offsets, hits.x_mm, hits.y_mm, hits.t_ns)
    found = device.find(there, search.task_of(gate, BEST))
    shots, rows = search.find(hits, Tally(), gate)
    assert found.number == len(shots) > 100
    momenta = np.empty((found.number, 4, 3))
    found.momenta.read(momenta)
    np.testing.assert_allclose(momenta, search.momenta(hits, rows), rtol=ROUNDING)
    assert len(found.left) == 0
    assert (np.abs(momenta.sum(axis=1) - gate.centre) <= gate.half_width).all()


def many_shots(card: Processor) -> None:
    """More shots than one level of the running sums holds, most of them without a coincidence."""
    setup = make_setup()
    run = make_run(("O+", "H+", "H+"), setup, shots=40_000, per_shot=0.2, noise_per_shot=0.5)
    found = compare(run.hits, WATER, setup, gate_of(8.0), card)
    assert found > 3000
    none = Hits.concatenate([run.hits.shots(0, 1)]).shots(0, 0)
    assert compare(none, WATER, setup, gate_of(8.0), card) == 0


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("hits", [5, 9])
def test_coincidences_and_counts_are_those_of_the_compiled_loops(
    name: str, hits: int, host: HostCard
) -> None:
    compare_all(name, hits, host)


@pytest.mark.parametrize(("regions", "gauss"), [(2, 0.0), (4, 0.0), (2, 6.0)])
def test_so_they_are_in_several_fields(regions: int, gauss: float, host: HostCard) -> None:
    compare_fields(regions, gauss, host)


def test_momenta_are_those_of_the_search(host: HostCard) -> None:
    sums_and_momenta(host)


def test_coincidences_of_many_shots_stand_in_their_order(host: HostCard) -> None:
    many_shots(host)


def test_crowded_shots_are_left_to_the_compiled_loops(host: HostCard) -> None:
    rng, setup = np.random.default_rng(5), make_setup()
    numbers = [[1, 2], [8, 20], [0, 30], [3, 70], [0, 0]] * 6
    hits = hits_of([shot_of(WATER, number, rng) for number in numbers])
    search, gate, device = Search(WATER, setup), gate_of(20.0), DeviceSearch(host)
    there = device.hits(hits.offsets, hits.x_mm, hits.y_mm, hits.t_ns)
    left = device.find(there, search.task_of(gate, BEST)).left
    assert set(range(30)) - set((left + 0).tolist()) >= {5 * turn for turn in range(6)}
    assert {5 * turn + 1 for turn in range(6)} <= set(left.tolist())
    assert compare(hits, WATER, setup, gate, host) >= 30
    assert compare(hits, WATER, setup, gate, host, every=True) >= 30


def test_hits_at_one_place_are_told_apart_as_on_the_processor(host: HostCard) -> None:
    rng, setup = np.random.default_rng(6), make_setup()
    shots = [shot_of(WATER, [0, 1], rng) for _ in range(20)]
    doubled = hits_of([np.concatenate([shot, shot], axis=1) for shot in shots])
    assert compare(doubled, WATER, setup, gate_of(20.0), host) >= 20
    backwards = hits_of([shot[:, ::-1] for shot in shots])
    assert compare(backwards, WATER, setup, gate_of(20.0), host) >= 20


def test_a_hit_that_is_no_number_is_no_candidate(host: HostCard) -> None:
    run = random_shots(WATER, 50, 5, seed=1)
    x, t = run.x_mm.copy(), run.t_ns.copy()
    x[::7], t[::11] = np.nan, np.nan
    broken = replace(run, x_mm=x, t_ns=t)
    assert compare(broken, WATER, make_setup(), gate_of(30.0), host) > 3


def reduction(device: str, progress: CollectingProgress) -> Reduction:
    setup = make_setup()
    run = make_run(("O+", "H+", "H+"), setup, shots=20_000, per_shot=0.5, noise_per_shot=1.0)
    chunks = run.chunks(5000)
    return reduce(chunks, WATER, setup, device=device, mixing=False, progress=progress)


def same_reduction(device: str) -> None:
    """Reduce on both."""
    found, expected = (reduction(one, CollectingProgress()) for one in (device, "cpu"))
    np.testing.assert_array_equal(found.table.momentum, expected.table.momentum)
    assert found.summary == expected.summary
    for name, spectrum in expected.spectra.items():
        np.testing.assert_array_equal(found.spectra[name].counts, spectrum.counts)
    assert len(found.table) > 3000


def test_reduce_gives_the_same_on_a_card(host: HostCard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a card is asked wherever a card would be."""
    monkeypatch.setattr(
        reduce_stage, "card_or_processor", lambda device, _: host if device == "cuda" else None
    )
    searches: list[int] = []
    find = DeviceSearch.find
    monkeypatch.setattr(
        DeviceSearch, "find", lambda *given: searches.append(given[1].shots) or find(*given)
    )
    same_reduction("cuda")
    assert sum(searches) == 20_000


def test_without_a_card_the_processor_searches_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "number_of_cards", lambda: 0)
    progress = CollectingProgress()
    assert devices.card_or_processor("cuda:2", progress) is None
    (line,) = progress.said
    assert "no CUDA device 2 found here" in line
    assert devices.card_or_processor("cpu", progress) is None
    assert devices.card_or_processor("auto", progress) is None
    assert len(progress.said) == 1
    with pytest.raises(UsageError):
        devices.card_or_processor("tpu", progress)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CHANNELS)
def test_on_a_graphics_card_coincidences_and_counts_are_the_same(
    name: str, real: Processor
) -> None:
    for hits in (5, 9, 13):
        compare_all(name, hits, real)


@pytest.mark.gpu
@pytest.mark.parametrize(("regions", "gauss"), [(2, 0.0), (4, 0.0), (2, 6.0)])
def test_on_a_graphics_card_so_they_are_in_several_fields(
    regions: int, gauss: float, real: Processor
) -> None:
    compare_fields(regions, gauss, real)


@pytest.mark.gpu
def test_on_a_graphics_card_momenta_and_order_are_the_same(real: Processor) -> None:
    sums_and_momenta(real)
    many_shots(real)


@pytest.mark.gpu
def test_on_a_graphics_card_reduce_gives_the_same() -> None:
    same_reduction("cuda")
