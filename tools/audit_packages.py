"""Check the packages that molexa depends on for known security faults.

    python tools/audit_packages.py      needs pip-audit (not a dependency) and a network

Asks about the versions in `requirements-hashes.txt`. Where pip-audit or the network is missing, the
reason is printed with exit code 0; a known fault gives exit code 1.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

PINS: Final = Path(__file__).resolve().parents[1] / "requirements-hashes.txt"
UNREACHED: Final = ("ConnectionError", "Connection", "Max retries", "timed out", "ServiceError",
                    "HTTPError", "Name or service not known", "service unavailable")  # fmt: skip


def main() -> int:
    """Ask, and tell."""
    if importlib.util.find_spec("pip_audit") is None:
        print("skipped: pip-audit is not installed (pip install pip-audit)")
        return 0
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes",
         "--progress-spinner", "off", "--requirement", str(PINS)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    told = done.stdout + done.stderr
    if done.returncode and any(word in told for word in UNREACHED):
        print(
            f"skipped: the list of known faults cannot be reached ({told.splitlines()[-1][:200]})"
        )
        return 0
    print(told.strip())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
