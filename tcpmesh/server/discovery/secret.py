"""One secret that a file has (SDS), and the files that it names.

The file is looked after as that of every discovery.  So are the files with the certificate, the key
and the like, in the directory that `watched_directory` says, or else where they are: whatever is
moved there, they are read again.  What is wrong leaves the secret as it is, and is told with its
line; it counts as rejected, or, where the files are wrong that it names, as a rotation that failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from time import time
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from twisted.logger import Logger

from tcpmesh.config.resources import NotReadable, Resources
from tcpmesh.config.secrets import (
    Folders,
    FoundSecret,
    SecretUse,
    folders_of,
    load_secret,
    read_again,
)
from tcpmesh.config.text.problems import Problem
from tcpmesh.interfaces import INetwork
from tcpmesh.net.moves import CannotWatch, watch_moves
from tcpmesh.stats.store import Store, sanitize
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.shared.secrets import SecretKey
from tcpmesh.values.statuses import DynamicStatus
from tcpmesh.xds.stats import SubscriptionStats, unknown_fields
from tcpmesh.xds.subscription import FileSubscription, Outcome, Reread

log = Logger(namespace="config")

NOT_YET = "uninitialized"
"""Envoy's word for the version of a secret that is not there yet."""

Rotation = tuple[FoundSecret, "FoundSecret | tuple[Problem, ...]"]
"""Of which secret files were read again, and what came of it."""


class SecretDiscovery:
    """See the module's text.

    :param config: the `tls.v3.SdsSecretConfig`.
    :param changed: is told when there is another content.
    """

    def __init__(
        self,
        key: SecretKey,
        config: Any,
        bootstrap: Any,
        store: Store,
        network: INetwork,
        options: ServerOptions,
        changed: Callable[[SecretDiscovery], object],
    ) -> None:
        self.key = key
        self.name = key[1]
        self.uses: Counter[SecretUse] = Counter()
        """By whom it is used, and how often."""
        self.found: FoundSecret | None = None
        """What it is; `None` as long as it is not there."""
        self.status = DynamicStatus(Secret(name=self.name), NOT_YET, time())
        self._clock = network.clock
        self._changed = changed
        self._load_file = partial(
            load_secret,
            key=key,
            bootstrap=bootstrap,
            allow_unknown_fields=not options.reject_unknown_dynamic_fields,
            allow_unsupported=options.allow_unsupported,
        )
        self._subscription = FileSubscription(config.sds_config, network, self._load, self._update)
        self._files: Reread[Rotation] = Reread(network, self._read_files, self._rotate)
        self._folders = Folders()
        self._stop_watching: Callable[[], None] = lambda: None
        self._count_unknown = unknown_fields(store, options)
        with all_or_nothing() as undo:
            self._stats = SubscriptionStats(store, f"sds.{sanitize(self.name)}")
            undo.callback(self._stats.scope.close)
            self._failed_rotations = self._stats.scope.counter("key_rotation_failed")

    def start(self) -> None:
        """Read it, and look after it from now on.

        :raise CannotWatch: where the directory of its file is not there.
        """
        self._subscription.start()

    def stop(self) -> None:
        """Look after it no more."""
        self._subscription.stop()
        self._files.stop()
        self._stop_watching()
        self._stop_watching = lambda: None
        self._stats.scope.close()

    # Its file

    def _load(self, path: str) -> Resources:
        return self._load_file(path, uses=tuple(self.uses))

    def _update(self, outcome: Outcome) -> Iterator[None]:
        self._stats.attempts.tally += 1
        began = self._clock.seconds()
        if isinstance(outcome, NotReadable):
            self._stats.failures.tally += 1
            self._complain(str(outcome))
            return
        self._count_unknown(outcome.unknown_fields)
        for warning in outcome.warnings:
            log.warn("{problem}", problem=str(warning))
        if outcome.errors:
            self._stats.rejections.tally += 1
            self._complain("; ".join(map(str, outcome.errors)))
            return
        found: FoundSecret = outcome.messages[0]
        if self.found is None or self.found.message != found.message:
            self._take(found, outcome.version)
            self._watch(folders_of(found.message))
        self._stats.updated(outcome.version, time(), self._clock.seconds() - began)
        yield

    def _take(self, found: FoundSecret, version: str) -> None:
        self.found = found
        self.status = DynamicStatus(found.whole, version, time())
        self._changed(self)

    def _complain(self, why: str) -> None:
        stays = "is not there yet" if self.found is None else "stays as it is"
        log.warn("the secret {name} {stays}: {why}", name=self.name, stays=stays, why=why)

    # The files that it names

    def _watch(self, folders: Folders) -> None:
        if folders == self._folders:
            return
        self._stop_watching()
        self._folders, self._stop_watching = folders, lambda: None
        try:
            self._stop_watching = watch_moves(
                self._clock, folders.paths, self._files.read, folders.writes
            )
        except CannotWatch as error:
            self._folders = Folders()
            log.warn("the files of the secret {name}: {why}", name=self.name, why=str(error))

    def _read_files(self) -> Rotation:
        found = self.found
        assert found is not None
        return found, read_again(found, self.key, tuple(self.uses))

    def _rotate(self, rotation: Rotation) -> Iterator[None]:
        before, after = rotation
        if self.found is not before:  # its own file was faster
            return
        if not isinstance(after, FoundSecret):
            self._failed_rotations.tally += 1
            self._complain("; ".join(map(str, after)))
        elif after != before:
            self._take(after, self.status.version)
        yield
