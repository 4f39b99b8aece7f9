"""Holds connections to the table of their phases, which nobody looks at while they are served."""

from __future__ import annotations

from typing import Any

from tcpmesh.connection import connection, relay
from tcpmesh.values.stream.phase import ALLOWED, Phase
from tcpmesh.values.stream.stream_info import StreamInfo


class PhaseError(AssertionError):
    """A connection came into a phase that does not follow the one it was in."""


class CheckedStreamInfo(StreamInfo):
    """One that refuses a phase which the table does not let follow.

    What raises in an event of a connection is often caught and logged, so `violations` of the class
    keeps each.
    """

    __slots__ = ("_phase",)

    violations: list[str]

    @property
    def phase(self) -> Any:
        """Where the connection is."""
        return self._phase

    @phase.setter
    def phase(self, after: Phase) -> None:
        before: Phase | None = getattr(self, "_phase", None)
        self._phase = after
        if before is None or before is after or (before, after) in ALLOWED:
            return
        self.violations.append(f"{before!r} -> {after!r}")
        raise PhaseError(self.violations[-1])


def check_phases(test: Any) -> list[str]:
    """Hold all connections that a trial `TestCase` makes from now on to `TRANSITIONS`.

    :return: where what is refused is listed; the test fails at its end if there is anything.
    """
    found: list[str] = []
    checked = type("Checked", (CheckedStreamInfo,), {"__slots__": (), "violations": found})
    for module in (connection, relay):
        test.patch(module, "StreamInfo", checked)
    test.addCleanup(lambda: test.assertEqual([], found))
    return found
