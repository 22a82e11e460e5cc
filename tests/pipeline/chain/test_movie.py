"""Movies: atoms are followed through frames and files, with the error bars of reconstructions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.xyz import read_xyz, write_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.movie import movie_files, movie_of

SYMBOLS = ("C", "O", "H", "H")


def _turned(random: np.random.Generator) -> FloatArray:
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    return np.asarray(q)


def _stretching(count: int) -> list[FloatArray]:
    """Formaldehyde whose C-O bond grows by 0.3 bohr a frame."""
    start = molecule("formaldehyde").geometry
    order = [start.symbols.index("C"), start.symbols.index("O")]
    order += [n for n, symbol in enumerate(start.symbols) if symbol == "H"]
    x = start.positions[order]
    along = (x[1] - x[0]) / np.linalg.norm(x[1] - x[0])
    # The hydrogens differ, so that a swap would show.
    x[2] *= 1.1
    return [x + 0.3 * n * np.outer([0.0, 1.0, 0.0, 0.0], along) for n in range(count)]


def _record(positions: FloatArray, order: list[int], half: float) -> ReconstructionRecord:
    symbols = tuple(SYMBOLS[n] for n in order)
    x = positions[order]
    lengths, angles = pair_distances(x[None])[0], triplet_angles(x[None])[0]
    return ReconstructionRecord(
        symbols=symbols,
        positions_bohr=x,
        uncertainty_bohr=np.full(x.shape, 0.02),
        distances=tuple(
            {"of": f"{n}", "median": float(v), "half_width": half + 0.01 * n}
            for n, v in enumerate(lengths)
        ),
        angles=tuple(
            {"of": f"{n}", "median": float(v), "half_width": 1.0} for n, v in enumerate(angles)
        ),
    )


def test_atoms_are_followed_through_turns_and_other_orders() -> None:
    random = np.random.default_rng(1)
    frames = _stretching(5)
    given, orders = [], []
    for x in frames:
        order = random.permutation(4)
        turned = x[order] @ _turned(random).T + random.normal(size=3)
        given.append(Geometry(tuple(SYMBOLS[n] for n in order), turned))
        orders.append(order)
    movie = movie_of(given, at=[0, 10, 20, 30, 40])
    first = orders[0]
    for frame, x in zip(movie.frames, frames, strict=True):
        assert frame.geometry.symbols == tuple(SYMBOLS[n] for n in first)
        assert pair_distances(frame.geometry.positions[None])[0] == pytest.approx(
            pair_distances(x[first][None])[0]
        )
        assert frame.rmsd < 0.3
        assert np.abs(frame.geometry.positions.mean(axis=0)).max() < 1e-9
    # Nothing turns from frame to frame: the oxygen alone moves, along the bond.
    c, o = (movie.frames[0].geometry.symbols.index(one) for one in "CO")
    bond = [f.geometry.positions[o] - f.geometry.positions[c] for f in movie.frames]
    units = [one / np.linalg.norm(one) for one in bond]
    assert min(units[0] @ one for one in units) > 0.99
    distances, _ = movie.shown()
    names = ["-".join(movie.names[a] for a in movie.pairs[n]) for n in distances]
    assert any({name[0] for name in one.split("-")} == {"C", "O"} for one in names)


def test_error_bars_follow_the_atoms() -> None:
    x = _stretching(2)
    one, other = _record(x[0], [0, 1, 2, 3], 0.1), _record(x[1], [3, 1, 0, 2], 0.1)
    movie = movie_of([one.geometry(), other.geometry()], records=[one, other])
    for n, (i, j) in enumerate(movie.pairs):
        assert movie.frames[0].distances[n].half_width == pytest.approx(0.1 + 0.01 * n)
        mine = sorted(movie.frames[1].assignment[[i, j]].tolist())
        place = [list(p) for p in movie.pairs].index(mine)
        value = movie.frames[1].distances[n]
        assert value.half_width == pytest.approx(0.1 + 0.01 * place)
        placed = movie.frames[1].geometry.positions
        assert value.value == pytest.approx(float(np.linalg.norm(placed[i] - placed[j])))
    for n, (i, vertex, j) in enumerate(movie.triplets):
        placed = movie.frames[1].geometry.positions
        a, b = placed[i] - placed[vertex], placed[j] - placed[vertex]
        angle = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
        assert movie.frames[1].angles[n].value == pytest.approx(float(angle))


def test_files_give_frames_a_figure_and_a_page(tmp_path: Path) -> None:
    x = _stretching(3)
    paths = []
    for n, order in enumerate(([0, 1, 2, 3], [1, 0, 3, 2])):
        paths.append(tmp_path / f"{n}.json")
        write_geometry_json(paths[-1], _record(x[n], order, 0.1))
    paths.append(tmp_path / "last.xyz")
    write_xyz(paths[-1], [Geometry(SYMBOLS, x[2])])
    truth = tmp_path / "known.xyz"
    write_xyz(truth, [Geometry(SYMBOLS, one) for one in x])
    out = tmp_path / "film.xyz"
    movie = movie_files(paths, out, at=[0.0, 20.0, 40.0], known=truth)
    assert [frame.source for frame in movie.frames] == ["0.json", "1.json", "last.xyz"]
    read = read_xyz(out)
    assert len(read) == 3
    assert {one.symbols for one in read} == {SYMBOLS}
    assert "20 fs" in read[1].comment
    for one, frame in zip(read, movie.frames, strict=True):
        assert one.positions == pytest.approx(frame.geometry.positions, abs=1e-4)
        assert frame.known is not None
        assert frame.known.positions == pytest.approx(frame.geometry.positions, abs=1e-6)
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page)[1])  # type: ignore[index]
    assert [one["label"] for one in scene["frames"]] == ["0 fs", "20 fs", "40 fs"]
    assert scene["frames"][2]["uncertainty"] is None
    assert scene["frames"][0]["uncertainty"] is not None
    assert 'max="2"' in page
    for path, kind in ((out, "XYZ file"), (out.with_suffix(".svg"), "figure")):
        assert str(kind_of_result(path)) == kind
    assert str(kind_of_result(out.with_suffix(".html"))) == "report page"


def test_what_is_no_series_is_refused(tmp_path: Path) -> None:
    x = _stretching(2)
    one = Geometry(SYMBOLS, x[0])
    with pytest.raises(UsageError, match="1 structure for a movie"):
        movie_of([one])
    with pytest.raises(UsageError, match="other atoms"):
        movie_of([one, Geometry(("C", "O", "H", "F"), x[1])])
    with pytest.raises(UsageError, match="3 delays for 2"):
        movie_of([one, one], at=[0, 1, 2])
    with pytest.raises(UsageError, match="1 known"):
        movie_of([one, one], known=[one])
    with pytest.raises(UsageError, match=r"does not end in \.xyz"):
        movie_files([tmp_path / "a.xyz"], tmp_path / "movie.html")
