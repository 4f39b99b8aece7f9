"""What handshakes count under `ssl.`, and the facts that they leave in the `StreamInfo`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tcpmesh.net.tls import failures
from tcpmesh.net.tls.names import shown_curve
from tcpmesh.net.tls.openssl.library import TlsError
from tcpmesh.net.tls.reasons import failure_text
from tcpmesh.stats.metrics import Counter, Merge
from tcpmesh.stats.scope import Scope
from tcpmesh.stats.store import Declaration

SERVER = "server_ssl_socket_factory"
CLIENT = "client_ssl_socket_factory"

_FACTORY = (
    "downstream_context_secrets_not_ready",
    "ssl_context_update_by_sds",
    "upstream_context_secrets_not_ready",
)

_EXPIRATION = "expiration_unix_time_seconds"

_NO_CERTIFICATE = 199
"""The reason SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE."""


class TlsStats:
    """Those of one scope: the watcher of its transports.

    :param scope: of its own, with the prefix of a listener's or a cluster's.
    :param factory: `SERVER` or `CLIENT`.
    """

    def __init__(self, scope: Scope, factory: str) -> None:
        self._scope = scope
        self._factory = factory
        scope.declare(Declaration(tuple(f"{factory}.{name}" for name in _FACTORY)))
        self.connection_error = scope.counter("ssl.connection_error")
        self.handshake = scope.counter("ssl.handshake")
        self.session_reused = scope.counter("ssl.session_reused")
        self.no_certificate = scope.counter("ssl.no_certificate")
        self._verdicts = {
            name: scope.counter(f"ssl.{name}")
            for name in (
                "fail_verify_no_cert",
                "fail_verify_error",
                "fail_verify_san",
                "fail_verify_cert_hash",
            )
        }
        self._staples = {
            name: scope.counter(f"ssl.ocsp_staple_{name}")
            for name in ("requests", "responses", "omitted", "failed")
        }
        self._agreed: dict[tuple[str, str, str], list[Counter]] = {}

    def close(self) -> None:
        """Let go of all names."""
        self._scope.close()

    def secret_changes(self) -> None:
        """Discovery has brought a secret, or another content of one."""
        self._scope.counter(f"{self._factory}.ssl_context_update_by_sds").tally += 1

    def not_ready(self) -> None:
        """A connection has to end, for a secret is not there."""
        side = "downstream" if self._factory == SERVER else "upstream"
        self._scope.counter(f"{self._factory}.{side}_context_secrets_not_ready").tally += 1

    def expires(self, name: str, seconds: int) -> None:
        """A certificate of this name expires then, in seconds since 1970."""
        gauge = self._scope.gauge(f"ssl.certificate.{name}.{_EXPIRATION}", Merge.MAX)
        gauge.set(seconds)

    def tls_done(self, transport: Any) -> None:
        """A handshake is over: count it, and note what it has agreed on."""
        transport.facts = facts = transport.context.facts(transport.engine)
        verdict = transport.verdict
        self.handshake.tally += 1
        if facts.reused:
            self.session_reused.tally += 1
        if not facts.peer_chain:
            self.no_certificate.tally += 1
        key = facts.version, facts.cipher, facts.group
        for counter in self._agreed.get(key) or self._counters_of(key):
            counter.tally += 1
        if verdict is not None and verdict.counter is not None:
            self._verdicts[verdict.counter].tally += 1

    def tls_staple_asked(self) -> None:
        """A client has asked for an OCSP response."""
        self._staples["requests"].tally += 1

    def tls_stapled(self, outcome: str) -> None:
        """What it got."""
        self._staples[outcome].tally += 1

    def tls_failed(self, transport: Any, error: TlsError) -> str:
        """A handshake has failed, or a connection is broken: count it; why, in Envoy's words."""
        engine, verdict = transport.engine, transport.verdict
        if verdict is not None and not verdict.accepted:
            reason: str = verdict.reason
            if verdict.counter is not None:
                self._verdicts[verdict.counter].tally += 1
            if reason == failures.WRONG_KEY_USAGE:
                self.connection_error.tally += 1
        else:
            reason = failure_text(
                error.errors,
                is_unanswered=not transport.context.is_server and engine.judged is None,
                is_open=transport.is_ready,
            )
            if any(each.reason == _NO_CERTIFICATE for each in error.errors):
                self._verdicts["fail_verify_no_cert"].tally += 1
            else:
                # Of a connection that was open Envoy counts the failure to say goodbye, too.
                self.connection_error.tally += 2 if transport.is_ready else 1
        cipher, facts = engine.cipher, transport.facts
        if cipher and not facts.cipher:
            group = shown_curve(engine.group)
            facts = replace(facts, version=engine.version, cipher=cipher, group=group)
        # Who it was that is refused: as in Envoy, access logs tell.
        chain = facts.peer_chain or engine.chain
        transport.facts = replace(facts, peer_chain=chain, failure=reason)
        return reason

    def _counters_of(self, agreed: tuple[str, str, str]) -> list[Counter]:
        kinds = zip(("versions", "ciphers", "curves"), agreed, strict=True)
        found = [self._scope.counter(f"ssl.{kind}.{name}") for kind, name in kinds if name]
        self._agreed[agreed] = found
        return found
