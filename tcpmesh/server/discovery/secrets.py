"""Secrets as files have them (SDS), of all listeners and clusters that name some.

Main holds a secret as long as a listener or a cluster has a TLS context that names it; who names
the same secret of the same file shares it.  It is read when the first of them comes, before workers
are told of that, so nobody is accepted with nothing to show.  Where it is wrong, or not what the
file has, clients of it are closed until it is right (`tcpmesh.connection.tls.unready`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from tcpmesh.config.messages.types import unpack
from tcpmesh.config.secrets import SecretUse, secret_uses
from tcpmesh.interfaces import INetwork
from tcpmesh.net.cooperator import do_all
from tcpmesh.server.discovery.secret import SecretDiscovery
from tcpmesh.stats.store import Store
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.link import DropSecret, PutSecret, ToWorker
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.shared.secrets import SecretKey, SecretTable
from tcpmesh.values.statuses import DynamicStatus

Release = Callable[[], None]
"""Ends a hold."""

_CONTEXTS = frozenset(
    f"envoy.extensions.transport_sockets.tls.v3.{name}TlsContext"
    for name in ("Downstream", "Upstream")
)


class SecretDiscoveries:
    """Those of one proxy.

    :param table: main's secrets, which it changes.
    :param send: tells workers.
    """

    def __init__(
        self,
        bootstrap: Any,
        table: SecretTable,
        send: Callable[[ToWorker], object],
        store: Store,
        network: INetwork,
        options: ServerOptions,
    ) -> None:
        self._bootstrap = bootstrap
        self._table = table
        self._send = send
        self._store = store
        self._network = network
        self._options = options
        self._known: dict[SecretKey, SecretDiscovery] = {}
        self.on_change: Callable[[], object] = lambda: None
        """Called when a secret has come or changed."""

    def hold(self, message: Any) -> Release:
        """Have all secrets ready that a `listener.v3.Listener` or a `cluster.v3.Cluster` needs.

        :return: to be called once it needs them no more; a second call does nothing.
        :raise tcpmesh.net.moves.CannotWatch: where the directory of a file is not there.
        """
        with all_or_nothing() as undo:
            for context in tls_contexts(message):
                for key, config, use in secret_uses(context):
                    self._hold(key, config, use)
                    undo.callback(self._release, key, use)
            return undo.pop_all().close

    def told(self) -> tuple[PutSecret, ...]:
        """What a worker that begins is told."""
        found = self._known.items()
        return tuple(
            PutSecret(key, each.found.whole) for key, each in found if each.found is not None
        )

    def statuses(self) -> tuple[DynamicStatus, ...]:
        """All of them, as they are now, each kind by itself."""
        found = sorted(self._known.items(), key=lambda item: item[0][0])
        return tuple(each.status for _, each in found)

    def stop(self) -> None:
        """No more updates."""
        for each in self._known.values():
            each.stop()

    def _hold(self, key: SecretKey, config: Any, use: SecretUse) -> None:
        known = self._known.get(key)
        if known is not None:
            known.uses[use] += 1
            return
        with all_or_nothing() as undo:
            made = SecretDiscovery(
                key,
                config,
                self._bootstrap,
                self._store,
                self._network,
                self._options,
                self._changed,
            )
            undo.callback(made.stop)
            made.uses[use] = 1
            self._known[key] = made
            undo.callback(self._known.pop, key)
            made.start()

    def _release(self, key: SecretKey, use: SecretUse) -> None:
        known = self._known[key]
        known.uses[use] -= 1
        if known.uses[use]:
            return
        del known.uses[use]
        if not known.uses:
            del self._known[key]
            known.stop()
            self._table.drop(key)
            self._send(DropSecret(key))

    def _changed(self, discovery: SecretDiscovery) -> None:
        found = discovery.found
        assert found is not None
        telling = self._table.put(discovery.key, getattr(found.whole, discovery.key[0]))
        do_all(self._network.cooperator, telling)
        self._send(PutSecret(discovery.key, found.whole))
        self.on_change()


def tls_contexts(message: Any) -> Iterator[Any]:
    """The TLS contexts in a listener or a cluster, also in transport sockets that hold others."""
    if message.DESCRIPTOR.name == "Cluster":
        sockets = [message.transport_socket] if message.HasField("transport_socket") else []
        sockets += [each.transport_socket for each in message.transport_socket_matches]
    else:
        chains = [*message.filter_chains, message.default_filter_chain]
        sockets = [each.transport_socket for each in chains if each.HasField("transport_socket")]
    for socket in sockets:
        yield from _inside(unpack(socket.typed_config))


def _inside(message: Any) -> Iterator[Any]:
    if message is None:
        return
    if message.DESCRIPTOR.full_name in _CONTEXTS:
        yield message
        return
    for _, value in message.ListFields():
        if not isinstance(value, Message):
            continue
        yield from _inside(unpack(value) if isinstance(value, AnyMessage) else value)
