"""Where the configuration of a running proxy came from, and what was said of it at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tcpmesh.facts import dataclass

KEPT = 200
"""Warnings that are kept; of more than that nobody reads all."""


@dataclass(frozen=True)
class ConfigWarning:
    """What is surely not meant in a configuration, and where."""

    place: str
    """File, line and column, as `envoy.yaml:12:3`."""

    path: str
    """Of the field, as `static_resources.clusters[0].name`."""

    text: str


@dataclass(frozen=True)
class Origin:
    """How a configuration came to be served."""

    loaded_at: float = 0.0
    """Seconds since 1970."""

    warnings: tuple[ConfigWarning, ...] = ()
    """The first ones, in order of place."""

    warning_count: int = 0
    """How many there were."""


class Said(Protocol):
    """What the judgement of a configuration has to say."""

    @property
    def place(self) -> object:
        """File, line and column."""

    @property
    def path(self) -> str:
        """Of the field."""

    @property
    def text(self) -> str:
        """What is not meant."""


NO_ORIGIN = Origin()


def origin_of(warnings: Sequence[Said], at: float) -> Origin:
    """What is told of a configuration that is loaded at this time.

    :param warnings: in order of place.
    """
    kept = tuple(ConfigWarning(str(w.place), w.path, w.text) for w in warnings[:KEPT])
    return Origin(at, kept, len(warnings))
