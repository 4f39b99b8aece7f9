"""The certificates of all TLS contexts: what they are, and when the first of them expires.

Main looks at them when it has built all, so the files are read as workers have just read them, and
again when discovery has changed something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from twisted.internet.task import Cooperator

from tcpmesh.config.fields.tls.secrets import Secrets, discovered_secrets
from tcpmesh.net.cooperator import do_all
from tcpmesh.server.discovery.secrets import tls_contexts
from tcpmesh.values.statuses import TlsContextStatus


class Certificates:
    """Those of one proxy.

    :param secrets: those that are there.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._known: dict[bytes, TlsContextStatus] = {}
        self.first_end: int | None = None
        """When the first certificate expires, in seconds since 1970."""

        self.first_ocsp_end: int | None = None
        """The same of OCSP responses."""
        self._has_changed = self._is_looking = False

    def forget(self) -> None:
        """Static secrets are others now: look at all contexts anew, when they are asked for."""
        self._known = {}

    def statuses(self, messages: Iterable[Any]) -> list[TlsContextStatus]:
        """What is shown of the contexts in listeners and clusters, in their order."""
        known: dict[bytes, TlsContextStatus] = {}
        found = []
        for context in chain.from_iterable(map(tls_contexts, messages)):
            found.append(self._status(context, known))
        self._known = known
        return [each for each in found if each.ca_cert or each.cert_chain]

    def _status(self, context: Any, known: dict[bytes, TlsContextStatus]) -> TlsContextStatus:
        key = self._key(context)
        status = known.get(key) or self._known.get(key)
        if status is None:
            from tcpmesh.extensions.transport_sockets.tls.shown import context_status

            status = context_status(context.common_tls_context, self._secrets)
        known[key] = status
        return status

    def _key(self, context: Any) -> bytes:
        """What has to be the same where the certificates are."""
        parts = [context]
        for key, _ in discovered_secrets(context.common_tls_context):
            if key in self._secrets:
                parts.append(self._secrets[key])
        return b"".join(each.SerializeToString(deterministic=True) for each in parts)

    def look_again(self, cooperator: Cooperator, messages: Callable[[], Iterable[Any]]) -> None:
        """Find out anew what expires first, a little in each turn; whatever changes meanwhile is
        looked at once more.

        :param messages: tells the listeners and clusters.
        """
        self._has_changed = True
        if self._is_looking:
            return
        self._is_looking = True

        def look() -> Iterator[None]:
            try:
                while self._has_changed:
                    self._has_changed = False
                    yield from self._looking(messages())
            finally:
                self._is_looking = False

        do_all(cooperator, look())

    def look_at(self, messages: Iterable[Any]) -> None:
        """Find out at once what expires first."""
        for _ in self._looking(messages):
            pass

    def _looking(self, messages: Iterable[Any]) -> Iterator[None]:
        known: dict[bytes, TlsContextStatus] = {}
        for message in messages:
            yield
            for context in tls_contexts(message):
                self._status(context, known)
                yield
        self._known = known
        certificates = [
            each for status in known.values() for each in (*status.ca_cert, *status.cert_chain)
        ]
        self.first_end = min((each.ends for each in certificates), default=None)
        responses = [each.ocsp[1] for each in certificates if each.ocsp is not None]
        self.first_ocsp_end = min(responses, default=None)
