"""A runtime value, as main tells it to workers."""

from __future__ import annotations

from tcpmesh.facts import dataclass

MOST_WHOLE = 1 << 64
"""Larger numbers are no integers, as in Envoy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value under its key: a value has no type of its own, and is worth something as a number, as
    a truth and as a share, or as nothing of the kind.
    """

    text: str
    """As it was written; `/runtime` shows it."""

    number: float | None = None
    truth: bool | None = None
    fraction: tuple[int, int] | None = None
    """Numerator and denominator."""

    @property
    def whole(self) -> int | None:
        """The number without its fraction, where it is none below 0."""
        if self.number is None or not 0 <= self.number <= MOST_WHOLE:
            return None
        return min(int(self.number), MOST_WHOLE - 1)
