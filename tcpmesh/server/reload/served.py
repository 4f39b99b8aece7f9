"""What is reloaded, as far as a reload has to know it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.config.load import Loaded
from tcpmesh.config.text.problems import Path, Problem
from tcpmesh.interfaces import INetwork
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.server.discovery.discoveries import Discoveries
from tcpmesh.stats.store import Store
from tcpmesh.values.live.origin import Origin


class ServedMain(Protocol):
    """What decides."""

    clusters: ClusterManager
    listeners: ListenerManager
    discoveries: Discoveries

    def set_secrets(self, messages: Iterable[Any]) -> None:
        """These are the static secrets, for what is built from now on."""

    def looking_at_all(self) -> Iterator[None]:
        """Find out what follows from all listeners and clusters that there are, in small steps."""


class Rehearsal(Protocol):
    """Builds things and gives them back, to see whether they can be."""

    def looking(self, message: Any, path: Path, problems: list[Problem]) -> Iterator[None]:
        """Find out what is wrong with the listener or cluster at this path: in small steps."""


class Settings(Protocol):
    """What a server has by its bootstrap beside listeners and clusters, built and not yet in
    effect.
    """

    def taking_effect(self) -> Iterator[None]:
        """From now on they are, in place of what was there: in small steps."""

    def close(self) -> None:
        """They are not wanted after all."""


class Served(Protocol):
    """What has a configuration."""

    bootstrap: Any
    store: Store

    @property
    def main(self) -> ServedMain:
        """Its main, where it serves."""

    @property
    def network(self) -> INetwork:
        """Its network, likewise."""

    @property
    def is_stopping(self) -> bool:
        """Whether it closes all that it has."""

    def why_not_now(self) -> str:
        """Why its configuration cannot be replaced now; empty where it can."""

    def rehearsal(self, loaded: Loaded) -> Rehearsal:
        """Builds the listeners and clusters of a configuration, to see whether they can be."""

    def settings(self, bootstrap: Any) -> Settings:
        """What it has of its own by this bootstrap.

        :raise CannotLog: where an access log cannot be opened.
        :raise tcpmesh.registry.BrokenExtension: where another package's sink fails.
        """

    def serves(self, bootstrap: Any, origin: Origin) -> None:
        """Its configuration is this one now."""
