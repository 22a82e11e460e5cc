"""Write `requirements-hashes.txt`: every pin of `constraints.txt` with the digests of its files.

    python tools/write_hashes.py PYTHON3.11 PYTHON3.12

Each interpreter is asked what its pip (25 or later) would install, once as it is set up here and
once without local folders of wheels, so that both PyTorch's build for processors and its build for
NVIDIA GPUs are known.
Nothing is installed; files are downloaded only if the index does not list their digests. Packages
that only the GPU build needs are written to `requirements-hashes-cuda.txt`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PINS: Final = ROOT / "constraints.txt"
MAIN: Final = ROOT / "requirements-hashes.txt"
CUDA: Final = ROOT / "requirements-hashes-cuda.txt"
Found = dict[tuple[str, str], set[str]]
HEAD: Final = """\
# {what}, with the SHA-256 of the wheels for
# Linux on x86-64 and Python 3.11 and 3.12. Made by tools/write_hashes.py from constraints.txt.
#   pip install --require-hashes -r {files}
#   pip install --no-deps -e .
"""


def pins() -> dict[str, str]:
    """Version by name, as `constraints.txt` has them."""
    rows = PINS.read_text(encoding="utf-8").splitlines()
    return dict(row.split("==") for row in rows if row and not row.startswith("#"))


def normal(name: str) -> str:
    """A name as indices spell it."""
    return name.lower().replace("_", "-").replace(".", "-")


def resolved(python: str, environment: dict[str, str]) -> Found:
    """Digests of what pip would install, by name and version."""
    with tempfile.TemporaryDirectory() as folder:
        report, wanted = Path(folder) / "report.json", Path(folder) / "wanted.txt"
        wanted.write_text("".join(f"{n}=={v}\n" for n, v in pins().items()), encoding="utf-8")
        subprocess.run(
            [python, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--quiet",
             "--ignore-installed", "--only-binary=:all:", "--report", str(report),
             "-r", str(wanted)],
            check=True, env=os.environ | environment,
        )  # fmt: skip
        found: Found = {}
        for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
            meta, info = item["metadata"], item["download_info"]["archive_info"]
            # A local build, such as 2.13.0+cpu, is what the pin without that part means.
            key = (normal(meta["name"]), meta["version"].split("+")[0])
            found.setdefault(key, set()).add(info["hashes"]["sha256"])
        return found


def text(found: Found, what: str, files: str) -> str:
    """The lines of a file of requirements."""
    lines = [HEAD.format(what=what, files=files)]
    for (name, version), digests in sorted(found.items()):
        hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(digests))
        lines.append(f"{name}=={version} \\\n{hashes}\n")
    return "".join(lines)


def main() -> None:
    """Write both files."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    every: Found = {}
    for python in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as empty:
            for environment in ({}, {"PIP_FIND_LINKS": empty}):
                for key, digests in resolved(python, environment).items():
                    every.setdefault(key, set()).update(digests)
    own = {(normal(name), version) for name, version in pins().items()}
    pinned = {key: digests for key, digests in every.items() if key in own}
    if missing := sorted(own - set(pinned)):
        sys.exit(f"not found: {missing}")
    more = {key: digests for key, digests in every.items() if key not in own}
    MAIN.write_text(text(pinned, "All that the tests ran with", MAIN.name), encoding="utf-8")
    files = f"{MAIN.name} -r {CUDA.name}"
    what = "What PyTorch's build for NVIDIA GPUs needs"
    CUDA.write_text(text(more, what, files), encoding="utf-8")
    print(f"{len(pinned)} packages in {MAIN.name}, {len(more)} in {CUDA.name}")


if __name__ == "__main__":
    main()
