"""Pins, their digests and their licences are about the same packages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pins(name: str) -> dict[str, str]:
    """Version by name as indices spell it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


def test_every_pin_has_digests_and_no_other_package_has() -> None:
    assert pins("requirements-hashes.txt") == pins("constraints.txt")


def test_digests_are_sha256_and_name_no_place() -> None:
    for name in ("requirements-hashes.txt", "requirements-hashes-cuda.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        blocks = [block for block in re.split(r"\n(?=\S)", text) if "==" in block.split("\n")[0]]
        for block in blocks:
            first, *digests = block.strip().split("\n")
            assert first.endswith(" \\")
            assert digests
            for digest in digests:
                assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", digest)


def test_what_only_the_gpu_needs_is_apart() -> None:
    assert not pins("requirements-hashes-cuda.txt").keys() & pins("constraints.txt").keys()
    assert "triton" in pins("requirements-hashes-cuda.txt")


def test_the_page_of_licences_has_every_pin() -> None:
    done = subprocess.run(
        [sys.executable, "tools/write_licences.py", "--check"], cwd=ROOT, check=False
    )
    assert done.returncode == 0
