"""What starting the program loads: nothing heavy until a command needs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from molexa_cli.main import COMMANDS
from molexa_core import __version__

HEAVY = {
    *("torch", "matplotlib", "pandas", "uproot", "awkward", "h5py", "scipy", "numba", "numpy"),
    *("jinja2", "yaml"),
}
PROBE = """
import json, sys
from molexa_cli.main import main
code = main({arguments!r})
print(json.dumps([code, sorted({{name.split(".")[0] for name in sys.modules}})]))
"""


def loaded(*arguments: str) -> set[str]:
    """The top-level packages loaded after running the program with these arguments."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    assert loaded(*arguments) & HEAVY == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(name: str) -> None:
    assert loaded(name, "--help") & HEAVY == set()


def test_reduce_loads_no_torch() -> None:
    """It takes longer to load than all the rest of `reduce` on a small run."""
    line = "import sys, molexa_core.pipeline.chain.reduce; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_version_names_what_matters() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "molexa_cli.main", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"molexa {__version__} (python 3.")
    for name in ("torch", "numpy", "uproot", "h5py"):
        assert f"{name} " in done.stdout
    assert done.stderr == ""
