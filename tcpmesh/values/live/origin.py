"""Where the configuration of a running proxy came from, and what was said of it at the start."""

from __future__ import annotations

from dataclasses import dataclass

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


NO_ORIGIN = Origin()
