"""Where cached files go."""

from __future__ import annotations

from pathlib import Path

import pytest

from molexa_core.base.storage.user_cache import cache_folder, cache_root


def test_xdg_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "molexa"
    assert cache_folder("things") == tmp_path / "molexa" / "things"
    assert (tmp_path / "molexa" / "things").is_dir()


@pytest.mark.parametrize("value", [None, "", "relative/folder"])
def test_otherwise_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_root() == tmp_path / ".cache" / "molexa"


def test_none_where_no_folder_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder("things") is None
