"""Imported by each Python of a program whose wall clock a test sets, as this folder is on its path:
that clock is so many seconds ahead as a file says.
"""

from __future__ import annotations

import os
import time

FILE = "TCPMESH_TEST_WALL_CLOCK"


def _wall(path: str) -> None:
    real = time.time

    def ahead() -> float:
        with open(path) as file:
            return real() + float(file.read() or 0)

    time.time = ahead


if FILE in os.environ:
    _wall(os.environ[FILE])
