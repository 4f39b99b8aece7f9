"""Extensions of another package that have no messages, for tests: what they are configured with is
a TypedStruct.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tcpmesh.config.fields.settings import settings_of
from tcpmesh.registry import WorkerContext, extension


@dataclass(frozen=True)
class Settings:
    """Of any of them."""

    word: str = ""


class Built:
    """Reads its settings."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self.settings = settings_of(message, Settings)

    def close(self) -> None:
        """Nothing has to be given back."""


@extension("my.kinds.v1.Sink")
class Sink(Built):
    """A stats sink."""

    wants_values = False

    def flush(self, snapshot: Any) -> None:
        """Nothing is sent."""


@extension("my.kinds.v1.Monitor")
class Monitor(Built):
    """A resource monitor."""

    def pressure(self) -> float:
        """None."""
        return 0.0


@extension("my.kinds.v1.Logger")
class Logger(Built):
    """An access logger."""

    def log(self, info: Any, at: Any) -> None:
        """Nothing is written."""


@extension("my.kinds.v1.Filter")
class LogFilter(Built):
    """Says which connections are logged."""

    def passes(self, info: Any, at: Any) -> bool:
        """All."""
        return True


@extension("my.kinds.v1.Resolver")
class Resolver(Built):
    """Finds no address."""

    def resolve(self, name: str, family: Any) -> Any:
        """Nothing is found."""


@extension("my.kinds.v1.Listener")
class ListenerFilter(Built):
    """A listener filter."""

    def accept(self, connection: Any) -> None:
        """Lets everybody pass."""
