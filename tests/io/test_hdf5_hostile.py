"""HDF5 files that reach for other files, for all of the memory, or never end: one sentence each."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from molexa_core.base.errors import InputFileError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.storage.checksums import CHECKSUM
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.io.formats import recognise
from molexa_core.io.hdf5 import checks as hdf5_checks
from molexa_core.io.hdf5.file import attribute, open_hdf5, read_array, read_strings, read_text
from molexa_core.io.results.events import read_events, write_events
from molexa_core.io.tables.hdf5_table import open_hdf5_table
from tests.fakes.hdf5_edits import edited

IONS = tuple(parse_ion(ion) for ion in ("O+", "H+", "H+"))


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "run.events.h5"
    momentum = np.random.default_rng(1).normal(0, 50, (2000, 3, 3))
    write_events(path, Coincidences.of(IONS, momentum, meta={"note": "x"}), Provenance.of("test"))
    return path


def run(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    for name in "xyt":
        file[name] = np.arange(6.0)
    file["shot"] = np.repeat(np.arange(3), 2)
    return file


def external_link(path: Path) -> str:
    with h5py.File(path.with_name("secret.h5"), "w") as other:
        other["x"] = np.arange(6.0)
    with run(path) as file:
        del file["x"]
        file["x"] = h5py.ExternalLink("secret.h5", "/x")
    return r"x is a link to another file secret\.h5"


def external_link_in_a_group(path: Path) -> str:
    with run(path) as file:
        file["deep/down/there"] = h5py.ExternalLink("/nowhere.h5", "/")
        file["x2"] = h5py.SoftLink("/deep/down/there")
    return r"deep/down/there is a link to another file /nowhere\.h5"


def external_storage(path: Path) -> str:
    secret = path.with_name("secret.bin")
    secret.write_bytes(np.arange(6.0).tobytes())
    with run(path) as file:
        del file["x"]
        file.create_dataset("x", (6,), "f8", external=[(str(secret), 0, 48)])
    return r"values of x stand in another file \(.*secret\.bin\)"


def virtual(path: Path) -> str:
    with h5py.File(path.with_name("part.h5"), "w") as other:
        other["x"] = np.arange(6.0)
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource(path.with_name("part.h5"), "x", (6,))
    with run(path) as file:
        del file["x"]
        file.create_virtual_dataset("x", layout)
    return r"x is a virtual dataset.*Give the original files"


def large_chunk(path: Path) -> str:
    with run(path) as file:
        del file["x"]
        file.create_dataset(
            "x", (6,), "f8", chunks=(60_000_000,), maxshape=(None,), compression="gzip"
        )
    return r"x is stored in chunks of 480 MB"


def packed_twice(path: Path) -> str:
    with run(path) as file:
        del file["x"]
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_chunk((6,))
        layout.set_deflate(9)
        layout.set_filter(1, 0, (9,))
        space = h5s.create_simple((6,))
        h5d.create(file.id, b"x", h5t.IEEE_F64LE, space, layout)
    return "x is packed with gzip more than once"


def unknown_filter(path: Path) -> str:
    with run(path) as file:
        del file["x"]
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_chunk((6,))
        layout.set_filter(32008, 1, (0,))
        space = h5s.create_simple((6,))
        h5d.create(file.id, b"x", h5t.IEEE_F64LE, space, layout)
    return r"x is packed with bitshuffle \(HDF5 filter 32008\)"


def no_values(path: Path) -> str:
    with run(path) as file:
        del file["x"]
        file.create_dataset("x", (2**40,), "f8", chunks=(1024,))
    return "x claims 8796093022208 bytes"


FORMS = (
    external_link,
    external_link_in_a_group,
    external_storage,
    virtual,
    large_chunk,
    packed_twice,
    unknown_filter,
    no_values,
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("reader", [open_hdf5_table, recognise])
def test_a_table_that_reaches_out_is_refused(
    tmp_path: Path, form: Callable[[Path], str], reader: Callable[[Path], object]
) -> None:
    path = tmp_path / "run.h5"
    sentence = form(path)
    with pytest.raises(InputFileError, match=sentence) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_chunk_that_unpacks_to_more_than_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_checks, "_BOMB_BYTES", 2**20)
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", (6,), "f8", chunks=(6,), maxshape=(None,), compression=9)
        made.id.write_direct_chunk((0,), zlib.compress(bytes(2**23)))
    with open_hdf5(path) as file, pytest.raises(InputFileError, match="unpacks to more than"):
        read_array(file, "x", kinds="f", ndim=1)


def test_links_that_lead_round_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with run(path) as file:
        file["g/again"] = file["/"]
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
    assert recognise(path).format.name == "hdf5-run"
    with pytest.raises(InputFileError, match="too many links"), open_hdf5(path) as file:
        file["a"]


def heaps(content: bytes) -> list[int]:
    found, at = [], content.find(b"GCOL\x01\0\0\0")
    while at >= 0:
        found.append(at)
        at = content.find(b"GCOL\x01\0\0\0", at + 1)
    return found


@pytest.mark.parametrize("size", [0, 8, 2**62])
def test_a_damaged_heap_of_texts_does_not_hang(events: Path, size: int) -> None:
    with edited(events):
        pass
    content = bytearray(events.read_bytes())
    places = heaps(content)
    assert places
    for at in places:
        length = struct.unpack_from("<Q", content, at + 8)[0]
        content[at + 16 : at + length] = bytes(length - 16)
        struct.pack_into("<Q", content, at + 24, size)
    events.write_bytes(content)
    with pytest.raises(InputFileError, match="damaged"):
        read_events(events)


def test_texts_that_are_not_utf8_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("text", data=b"10 \xb5s", dtype=h5py.string_dtype())
        file.create_dataset("list", data=[b"\xff"], dtype=h5py.string_dtype())
        file.create_dataset("fixed", data=np.array([b"\xff"], "S1"))
        file.attrs.create("loose", b"\xb5m", dtype=h5py.string_dtype())
        file.attrs["fixed"] = np.bytes_(b"\xb5m")
    with open_hdf5(path) as file:
        for read in (
            lambda: read_text(file, "text"),
            lambda: read_strings(file, "list", limit=3),
            lambda: read_strings(file, "fixed", limit=3),
            lambda: attribute(file, "loose"),
            lambda: attribute(file, "fixed"),
        ):
            with pytest.raises(InputFileError, match=r"holds a text that is not UTF-8"):
                read()


def test_attributes_are_plain_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=("v108", "v110")) as file:
        file.attrs["text"] = "µm"
        file.attrs["bytes"] = np.bytes_("µm".encode())
        file.attrs["number"] = 2.5
        file.attrs["list"] = [1, 2]
        file.attrs["nothing"] = h5py.Empty("f8")
        file.attrs["huge"] = np.zeros(2**24 // 8 * 5)
        file.attrs["many"] = ["a"] * 1000
        file.attrs["reference"] = file.ref
        file.attrs["compound"] = np.zeros(1, [("a", "i4")])
        ragged = np.empty(1, object)
        ragged[0] = np.arange(3, dtype="i4")
        file.attrs.create("ragged", ragged, dtype=h5py.vlen_dtype("i4"))
    with open_hdf5(path) as file:
        assert attribute(file, "text") == attribute(file, "bytes") == "µm"
        assert attribute(file, "number") == 2.5
        assert attribute(file, "list").tolist() == [1, 2]
        assert attribute(file, "nothing") is None
        assert attribute(file, "absent", 3) == 3
        for name, why in (
            ("many", "too large"),
            ("huge", "too large"),
            ("reference", "neither text nor number"),
            ("compound", "neither text nor number"),
            ("ragged", "neither text nor number"),
        ):
            with pytest.raises(InputFileError, match=f"attribute {name} is {why}"):
                attribute(file, name)


def test_a_file_of_ours_says_that_it_has_a_checksum(events: Path) -> None:
    with h5py.File(events) as file:
        assert b"SHA-256" in file.attrs[CHECKSUM]
    assert read_events(events)[0].momentum.shape == (2000, 3, 3)


def test_every_kind_of_damage_to_a_file_of_ours_is_seen(events: Path) -> None:
    sound = events.read_bytes()
    random = np.random.default_rng(5)
    for number in range(60):
        at, length = int(random.integers(len(sound))), int(random.integers(1, 600))
        to = int(random.integers(len(sound) - length))
        damaged = bytearray(sound)
        if number % 5 == 0:
            damaged[at] ^= 1 << int(random.integers(8))
        elif number % 5 == 1:
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        elif number % 5 == 2:
            del damaged[at:]
        elif number % 5 == 3:
            damaged[at:at] = random.bytes(length)
        else:
            damaged[to : to + length] = random.bytes(length)
        if bytes(damaged) == sound:
            continue
        events.write_bytes(damaged)
        with pytest.raises(InputFileError):
            read_events(events)


def test_a_file_changed_with_h5py_says_how_to_declare_it(events: Path) -> None:
    with h5py.File(events, "r+") as file:
        file["events/weight"][3] = 2.0
    with pytest.raises(InputFileError, match=r"changed since .*attribute 'checksum'"):
        read_events(events)
    with edited(events) as file:
        file["events/weight"][4] = 2.0
    assert read_events(events)[0].weight[2:6].tolist() == [1, 2, 2, 1]
