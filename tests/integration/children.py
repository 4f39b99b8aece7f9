"""Real twistd processes for the integration tests, and waiting for what they do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TWISTD = str(Path(sys.executable).with_name("twistd"))


def wait_until(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Look every 20 ms until C{condition} is true.

    @raise AssertionError: it was not, for C{timeout} seconds; the text names C{what} was waited for.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(0.02)


class Child:
    """A process of ours with its output in a file.  Whoever makes one must C{stop} it."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=output.parent)

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return self._output.read_text(errors="replace")

    def wait_for_line(self, text: str) -> None:
        """Wait until it has printed C{text}; fail at once, with its output, where it ends without."""

        def printed() -> bool:
            ended = self._process.poll() is not None
            if text in self.output:
                return True
            if ended:
                raise AssertionError(f"ended with status {self._process.returncode} before it printed {text!r}:\n{self.output}")
            return False

        wait_until(printed, f"{text!r} in the output")

    def wait(self) -> int:
        """Wait until it ends by itself, 20 seconds at most; return its exit status."""
        return self._process.wait(20.0)

    def stop(self) -> int:
        """End it with SIGTERM, after 10 seconds with SIGKILL; return its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
