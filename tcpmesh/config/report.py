"""Collects what the checks of a finished message find, with places, and without echoes of what was found before.

A field that could not be read is still empty in the message; a misspelt one too.  Rules that then complain about its absence would
bury the one line that says what happened, so those are dropped here.
"""

from __future__ import annotations

from collections.abc import Iterable

from tcpmesh.config.messages import Reading
from tcpmesh.config.places import Places
from tcpmesh.config.problems import Path, Problem, Trail, path_of, path_text


class Report:
    """Problems of a message, by path; `problems` has them all, errors and warnings."""

    def __init__(self, places: Places, readings: Iterable[Reading]) -> None:
        self.places = places
        self.problems: list[Problem] = []
        self._spoiled: set[Path] = set()
        self._incomplete: set[Path] = set()
        for reading in readings:
            self.problems += reading.problems
            self._spoiled |= reading.spoiled
            self._incomplete |= reading.incomplete

    def error(self, trail: Trail, text: str, hint: str = "") -> None:
        """What is there is wrong."""
        self._add(path_of(trail), text, "error", hint)

    def warning(self, trail: Trail, text: str, hint: str = "") -> None:
        """What is there is legal and surely not meant."""
        self._add(path_of(trail), text, "warning", hint)

    def absent(self, trail: Trail, names: Iterable[str], text: str) -> None:
        """One of the fields `names` of the message at `trail` should be there; the first is the one named."""
        path = path_of(trail)
        names = list(names)
        if path not in self._incomplete and not any((*path, name) in self._spoiled for name in names):
            self._add((*path, *names[:1]), text, "error", "")

    def _add(self, path: Path, text: str, severity: str, hint: str) -> None:
        if not any(path[:end] in self._spoiled for end in range(len(path) + 1)):
            self.problems.append(Problem(self.places.at(*path), path_text(path), text, severity, hint))
