"""Where a configuration comes from, and how it is judged before it replaces another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any, TypeAlias

from tcpmesh.config.changes.difference import Difference, difference, settled_problems
from tcpmesh.config.checks.limits import open_files
from tcpmesh.config.load import Loaded, load
from tcpmesh.config.rules.deprecated import DEPRECATED
from tcpmesh.config.text.problems import ConfigError, Problem, by_place
from tcpmesh.config.text.source import Document, taking_apart
from tcpmesh.facts import dataclass
from tcpmesh.server.reload.packing import Packed, pack, unpack
from tcpmesh.values.live.origin import NO_ORIGIN, Origin, origin_of
from tcpmesh.values.server_options import ServerOptions

TOLD = 200
"""Problems of a configuration that are told; more than that have one cause or two."""

Read: TypeAlias = Callable[[list[Document]], Loaded]
"""Loads a configuration, by a thread; see `tcpmesh.config.load.load`."""


class NoSource(Exception):
    """The configuration was no file; the text says so."""


class Source:
    """The file of a proxy, with what its command line says of it."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options

    def read(self, documents: list[Document]) -> Loaded:
        """The configuration as it is in the file now.

        :raise ConfigError: where it is wrong.
        :raise NoSource: where there is no file.
        """
        options = self._options
        if not options.config_path:
            raise NoSource("the configuration came without a file: there is nothing to read again")
        return self._load(
            documents, config_path=options.config_path, config_yaml=options.config_yaml
        )

    def again(self, packed: Packed) -> Read:
        """What loads one of before: what it names may have gone meanwhile."""
        return lambda documents: self._load(documents, given=unpack(packed))

    def _load(self, documents: list[Document], **given: Any) -> Loaded:
        return load(
            allow_unknown_fields=self._options.allow_unknown_static_fields,
            allow_unsupported=self._options.allow_unsupported,
            open_files=open_files(),
            node_arguments=self._options.node_arguments,
            documents=documents,
            **given,
        )

    def warnings(self, loaded: Loaded) -> tuple[Problem, ...]:
        """Those that are told, as at the start."""
        skips = self._options.skip_deprecated_logs
        return by_place(w for w in loaded.warnings if not (skips and w.text == DEPRECATED))


@dataclass(frozen=True)
class Judged:
    """A configuration that was compared with the one that is served."""

    loaded: Loaded | None
    """`None` where it is wrong."""

    errors: tuple[str, ...]
    """What is wrong with it, or cannot change while the proxy runs."""

    warnings: tuple[str, ...] = ()
    origin: Origin = NO_ORIGIN
    difference: Difference = field(default_factory=Difference)
    packed: Packed | None = None
    served: Packed | None = None
    """The one that is served."""

    documents: tuple[Document, ...] = ()

    def let_go(self) -> None:
        """Nobody asks for lines any more; to be done by a thread."""
        _let_go(self.documents)


def judge(
    read: Read, source: Source, served: Any, packed: Packed | None, at: float = 0.0
) -> Judged:
    """Load a configuration, judge it and compare it: by a thread.

    :param served: the bootstrap that is served.
    :param packed: the same, where it is known.
    :param at: what time it is, in seconds since 1970.
    :raise NoSource: where there is none.
    """
    documents: list[Document] = []
    try:
        loaded = read(documents)
    except ConfigError as error:
        _let_go(documents)
        return Judged(None, texts(error.problems))
    warnings = source.warnings(loaded)
    return Judged(
        loaded,
        texts(settled_problems(served, loaded.bootstrap, loaded.places)),
        texts(warnings),
        origin_of(warnings, at),
        difference(served, loaded.bootstrap),
        pack(loaded.bootstrap),
        packed or pack(served),
        tuple(documents),
    )


def texts(problems: Iterable[Problem]) -> tuple[str, ...]:
    """They, as they are told: the first ones, where they are many."""
    found = by_place(problems)
    more = (f"... and {len(found) - TOLD} more",) if len(found) > TOLD else ()
    return (*map(str, found[:TOLD]), *more)


def _let_go(documents: Iterable[Document]) -> None:
    for document in documents:
        for _ in taking_apart(document.root):
            pass
