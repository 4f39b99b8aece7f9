"""The certificates of all TLS contexts: what they are, and when the first of them expires.

Main looks at them when it has built all, so the files are read as workers have just read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from tcpmesh.config.fields.tls.secrets import Secrets
from tcpmesh.config.messages.types import unpack
from tcpmesh.values.statuses import TlsContextStatus

_CONTEXTS = frozenset(
    f"envoy.extensions.transport_sockets.tls.v3.{name}TlsContext"
    for name in ("Downstream", "Upstream")
)


class Certificates:
    """Those of one proxy.

    :param secrets: the static ones of the bootstrap.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._known: dict[bytes, TlsContextStatus] = {}
        self.first_end: int | None = None
        """When the first certificate expires, in seconds since 1970."""

        self.first_ocsp_end: int | None = None
        """The same of OCSP responses."""

    def forget(self) -> None:
        """Static secrets are others now: look at all contexts anew, when they are asked for."""
        self._known = {}

    def statuses(self, messages: Iterable[Any]) -> list[TlsContextStatus]:
        """What is shown of the contexts in listeners and clusters, in their order."""
        found: list[TlsContextStatus] = []
        for _ in self._finding(messages, found):
            pass
        return found

    def _finding(self, messages: Iterable[Any], found: list[TlsContextStatus]) -> Iterator[None]:
        """Find them, a listener or cluster in each step."""
        known: dict[bytes, TlsContextStatus] = {}
        for message in messages:
            for context in _contexts(message):
                key = context.SerializeToString(deterministic=True)
                status = known.get(key) or self._known.get(key)
                if status is None:
                    from tcpmesh.extensions.transport_sockets.tls.shown import context_status

                    status = context_status(context.common_tls_context, self._secrets)
                known[key] = status
                if status.ca_cert or status.cert_chain:
                    found.append(status)
            yield
        self._known = known

    def look_at(self, messages: Iterable[Any]) -> None:
        """Find out anew what expires first."""
        for _ in self.looking_at(messages):
            pass

    def looking_at(self, messages: Iterable[Any]) -> Iterator[None]:
        """The same in small steps."""
        found: list[TlsContextStatus] = []
        yield from self._finding(messages, found)
        certificates = [each for status in found for each in (*status.ca_cert, *status.cert_chain)]
        self.first_end = min((each.ends for each in certificates), default=None)
        responses = [each.ocsp[1] for each in certificates if each.ocsp is not None]
        self.first_ocsp_end = min(responses, default=None)


def _contexts(message: Any) -> Iterator[Any]:
    """The TLS contexts in a listener or cluster, also in transport sockets that hold others."""
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
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE or field.is_repeated:
            continue
        is_any = field.message_type.full_name == "google.protobuf.Any"
        yield from _inside(unpack(value) if is_any else value)
