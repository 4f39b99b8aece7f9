"""Where a configuration comes from, and how it is judged before it replaces another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tcpmesh.config.changes.difference import Difference, difference, settled_problems
from tcpmesh.config.checks.limits import open_files
from tcpmesh.config.load import Loaded, load
from tcpmesh.config.rules.deprecated import DEPRECATED
from tcpmesh.config.text.problems import ConfigError, Problem, by_place
from tcpmesh.config.text.source import Document, taking_apart
from tcpmesh.server.reload.packing import Packed, pack, unpack
from tcpmesh.values.server_options import ServerOptions

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
        """Those that are said, as at the start."""
        skips = self._options.skip_deprecated_logs
        return by_place(w for w in loaded.warnings if not (skips and w.text == DEPRECATED))


@dataclass(frozen=True)
class Judged:
    """A configuration that was compared with the one that is served."""

    loaded: Loaded | None
    """`None` where it is wrong."""

    problems: tuple[Problem, ...]
    """What is wrong with it, or cannot change while the proxy runs."""

    warnings: tuple[Problem, ...] = ()
    difference: Difference = field(default_factory=Difference)
    packed: Packed | None = None
    served: Packed | None = None
    """The one that is served."""

    documents: tuple[Document, ...] = ()

    def let_go(self) -> None:
        """Nobody asks for lines any more; to be done by a thread."""
        _let_go(self.documents)


def judge(read: Read, source: Source, served: Any, packed: Packed | None) -> Judged:
    """Load a configuration, judge it and compare it: by a thread.

    :param served: the bootstrap that is served.
    :param packed: the same, where it is known.
    :raise NoSource: where there is none.
    """
    documents: list[Document] = []
    try:
        loaded = read(documents)
    except ConfigError as error:
        _let_go(documents)
        return Judged(None, error.problems, error.warnings)
    return Judged(
        loaded,
        settled_problems(served, loaded.bootstrap, loaded.places),
        source.warnings(loaded),
        difference(served, loaded.bootstrap),
        pack(loaded.bootstrap),
        packed or pack(served),
        tuple(documents),
    )


def _let_go(documents: Iterable[Document]) -> None:
    for document in documents:
        for _ in taking_apart(document.root):
            pass
