"""Python processes of their own: what protobuf knows is one thing for a whole process."""

from __future__ import annotations

import os
import subprocess
import sys


def printed(program: str, implementation: str = "upb") -> list[str]:
    """The lines that a program prints; a failure is an error with its traceback."""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation},
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise AssertionError(ran.stderr)
    return ran.stdout.splitlines()
