"""Collects what the checks of a finished message find, with places, and without echoes of what was
found before.

A field that could not be read is still empty in the message; a misspelt one too.  Rules that then
complain about its absence would bury the one line that says what happened, so those are dropped
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.messages.scalars import did_you_mean
from tcpmesh.config.text.problems import FieldPath, Path, Place, Problem, path_of, path_text
from tcpmesh.config.text.source_map import SourceMap

#: Comparisons of names that hints may cost: about a second.
_COMPARISONS = 20_000


class Report:
    """Problems of a message, by path; `problems` has them all, errors and warnings.

    Checks also find here what they may look at beside their message: the `bootstrap`, the names of
    its static clusters, the environment variables, how many files the process may open (`None`: no
    limit), and what the command line says in place of fields of the node.
    """

    def __init__(
        self,
        bootstrap: Any,
        places: SourceMap,
        readings: Iterable[Reading],
        environ: Mapping[str, str],
        open_files: int | None = None,
        node_arguments: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.bootstrap = bootstrap
        self.environ = environ
        self.open_files = open_files
        self.node_arguments = node_arguments
        self.cluster_names = dict.fromkeys(
            cluster.name for cluster in bootstrap.static_resources.clusters
        )
        self.has_cluster_discovery = bootstrap.dynamic_resources.HasField("cds_config")
        self.has_listener_discovery = bootstrap.dynamic_resources.HasField("lds_config")
        self.used_clusters: set[str] = set()
        """Names of clusters that some field has been found to name."""
        self.chooses_clusters = False
        """Whether a filter may send a client to a cluster that no field names."""
        self.listener_addresses: dict[str, str] = {}
        """Names of the static listeners by their addresses."""
        self.circular_clusters: set[str] = set()
        """Names of the clusters whose clients would come back to them."""
        self.dns_caches: dict[str, Any] = {}
        """The first `DnsCacheConfig` of each name."""
        self.faultless: set[tuple[str, bytes]] = set()
        """Messages, by type and bytes, in which a check that takes long has found nothing."""
        self.places = places
        self.problems: list[Problem] = []
        self._hints = 0
        self._spoiled: set[Path] = set()
        self._incomplete: set[Path] = set()
        self._touched: set[Path] = set()
        for reading in readings:
            self.problems += reading.problems
            self._spoiled |= reading.spoiled
            self._incomplete |= reading.incomplete
        for path in self._spoiled:
            self._touched.update(path[:end] for end in range(1, len(path) + 1))

    def error(self, field_path: FieldPath, text: str, hint: str = "") -> None:
        """What is there is wrong."""
        self._add(path_of(field_path), text, "error", hint)

    def warning(self, field_path: FieldPath, text: str, hint: str = "") -> None:
        """What is there is legal and surely not meant."""
        self._add(path_of(field_path), text, "warning", hint)

    def absent(
        self, field_path: FieldPath, names: Sequence[str], text: str, hint: str = ""
    ) -> None:
        """One of the fields `names` of the message at `field_path` should be there; of several,
        none is named as the place.
        """
        path = path_of(field_path)
        if path not in self._incomplete and not any(
            (*path, name) in self._touched for name in names
        ):
            self._add((*path, *names) if len(names) == 1 else path, text, "error", hint)

    def place(self, field_path: FieldPath) -> Place:
        """Where a field stands."""
        return self.places.at(*path_of(field_path))

    def near_cluster(self, name: str) -> str:
        """The hint for the misspelt name of a cluster."""
        self._hints += 1
        return (
            did_you_mean(name, self.cluster_names)
            if self._hints * len(self.cluster_names) < _COMPARISONS
            else ""
        )

    def _add(self, path: Path, text: str, severity: str, hint: str) -> None:
        if not any(path[:end] in self._spoiled for end in range(len(path) + 1)):
            self.problems.append(
                Problem(self.places.at(*path), path_text(path), text, severity, hint)
            )
