"""The secrets of TLS that one side has, main or a worker, as of now: the bootstrap's own, and those
that discovery brings and changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

SecretKey: TypeAlias = "tuple[str, ...]"
"""The kind, as `tls_certificate`, and the name; of one that discovery brings also where from."""

STATIC_PARTS = 2
"""Of the key of one of the bootstrap's own."""

HoldSecrets: TypeAlias = "Callable[[Any], Callable[[], None]]"
"""Brings the secrets of discovery that a listener or a cluster needs; what it returns ends that."""


def hold_none(message: Any) -> Callable[[], None]:
    """Where there is no discovery of secrets."""
    return lambda: None


NO_SECRETS: Mapping[SecretKey, Any] = MappingProxyType({})


class SecretTable(Mapping[SecretKey, Any]):
    """What is in each secret: the message of its kind.

    :param static: those of the bootstrap.
    :param counts_changes: whether who uses a secret counts its changes: one side of all does.
    """

    def __init__(
        self, static: Mapping[SecretKey, Any] = NO_SECRETS, counts_changes: bool = True
    ) -> None:
        self._contents = dict(static)
        self._watchers: dict[SecretKey, list[Callable[[], object]]] = {}
        self.counts_changes = counts_changes

    def __getitem__(self, key: SecretKey) -> Any:
        return self._contents[key]

    def __iter__(self) -> Iterator[SecretKey]:
        return iter(self._contents)

    def __len__(self) -> int:
        return len(self._contents)

    def replace_static(self, static: Mapping[SecretKey, Any]) -> None:
        """The bootstrap's own are these now; who uses one of them is built anew."""
        found = {key: each for key, each in self._contents.items() if len(key) > STATIC_PARTS}
        self._contents = {**static, **found}

    def put(self, key: SecretKey, content: Any) -> Iterator[None]:
        """A secret has come, or has changed.

        :return: tells who watches it, one in each step.
        """
        self._contents[key] = content
        return self._telling(key)

    def _telling(self, key: SecretKey) -> Iterator[None]:
        for changed in tuple(self._watchers.get(key, ())):
            if changed in self._watchers.get(key, ()):  # it has not gone meanwhile
                changed()
            yield

    def drop(self, key: SecretKey) -> None:
        """Nobody needs a secret any more."""
        self._contents.pop(key, None)

    def watch(self, keys: Iterable[SecretKey], changed: Callable[[], object]) -> Callable[[], None]:
        """Call this whenever one of these comes or changes.

        :return: ends it.
        """
        watched = tuple(keys)
        for key in watched:
            self._watchers.setdefault(key, []).append(changed)

        def stop() -> None:
            for key in watched:
                watchers = self._watchers[key]
                watchers.remove(changed)
                if not watchers:
                    del self._watchers[key]

        return stop
