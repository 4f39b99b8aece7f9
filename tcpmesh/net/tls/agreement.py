"""What handshakes have agreed on, as facts.

To ask OpenSSL for each of them, and to make words of its answers, takes as long as two or three
messages, and nearly all connections of a context agree on the same.  So only what may differ is
asked for, and what was agreed on before has its words, or all of its facts, already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tcpmesh.net.tls.names import shown_curve
from tcpmesh.net.tls.openssl.engine import VERSION_1_3, CompiledEngine
from tcpmesh.net.tls.openssl.library import session_name
from tcpmesh.values.stream.tls_facts import TlsFacts

MOST_KEPT = 64
"""So many different facts are kept of one context: clients choose the names that they ask for."""


class Agreements:
    """Those of one context.

    :param own: the certificates of this side, in DER.
    :param sees_certificates: whether peers may show theirs.
    :param has_protocols: whether there is an application protocol to be agreed on.
    :param validates: whether a peer that was let in has a certificate that is what was demanded.
    """

    def __init__(
        self,
        own: Sequence[bytes],
        *,
        sees_certificates: bool,
        has_protocols: bool,
        validates: bool,
    ) -> None:
        self._own = own
        self._local = own[0] if own else b""
        self._sees_certificates = sees_certificates
        self._has_protocols = has_protocols
        self._validates = validates
        self._words: dict[Any, tuple[str, str, str]] = {}
        self._kept: dict[Any, TlsFacts] = {}

    def facts(self, engine: CompiledEngine) -> TlsFacts:
        """Those of a handshake that is over."""
        owner = engine.owner
        agreed, reused, name = engine.agreed
        verdict, resumed = owner.verdict, owner.resumed
        if verdict is not None:  # now, or when the session began that is resumed
            validated = verdict.validated
        else:
            validated = reused and (self._validates if resumed is None else resumed.validated)
        has_protocols = self._has_protocols or owner.wanted.application_protocols
        protocol = engine.protocol if has_protocols else ""
        local = self._local if len(self._own) < 2 else self._shown(engine)
        if self._sees_certificates or engine.version_number != VERSION_1_3:
            return self._made(engine, agreed, reused, validated, name, protocol, local)
        key = (agreed, reused, validated, name, protocol, local)
        facts = self._kept.get(key)
        if facts is None:
            facts = self._made(engine, *key)
            if len(self._kept) < MOST_KEPT:
                self._kept[key] = facts
        return facts

    def _made(
        self,
        engine: CompiledEngine,
        agreed: Any,
        reused: bool,
        validated: bool,
        name: str,
        protocol: str,
        local: bytes,
    ) -> TlsFacts:
        words = self._words.get(agreed)
        if words is None:
            words = engine.version, engine.cipher, shown_curve(engine.group)
            self._words[agreed] = words
        version, cipher, group = words
        return TlsFacts(
            version=version,
            cipher=cipher,
            group=group,
            session=str if engine.is_1_3 else partial(session_name, engine.session()),
            application_protocol=protocol,
            server_name=name,
            reused=reused,
            peer_chain=engine.peer_chain if self._sees_certificates else (),
            local_certificate=local,
            validated=validated,
        )

    def _shown(self, engine: CompiledEngine) -> bytes:
        """Which of several certificates this side has shown."""
        leaf = engine.local_certificate
        return leaf if leaf in self._own else b""
