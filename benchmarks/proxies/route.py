"""What a proxy of the comparison is to do, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.backends import Backends
from benchmarks.certificates import Certificates, Pair

PLAIN = ("web", "bulk")
"""Listeners that forward to the web backends in turn, and to the bulk peer."""

LOGGED = ("text", "json")
"""Listeners for the web backends that log each connection in a file, as text and as JSON."""

TERMINATING = ("tls-ecdsa", "tls-rsa", "tls-bulk")
"""Listeners whose clients speak TLS: to the web backends, with a certificate of this kind, and to
the bulk peer.
"""

ORIGINATING = ("out", "out-bulk")
"""Listeners that speak TLS to the web backends and to the bulk peer."""

UNENCRYPTED, ENCRYPTED = (*PLAIN, *LOGGED), (*TERMINATING, *ORIGINATING)
"""What a proxy has at once: its memory at the start, and that of idle connections, are measured
where nothing of TLS is loaded.
"""

BARE, CHAIN = "bare", "chain"
FILTERING = (BARE, CHAIN)
"""Listeners that forward to the web backends: with nothing before tcp_proxy, and with rbac and
local_ratelimit before it, which let everybody pass.
"""

TUNNELS = ("tunnel1", "tunnel1-bulk", "tunnel2", "tunnel2-bulk")
"""Listeners that forward through a proxy that is asked by CONNECT: in HTTP/1.1, and in HTTP/2."""

INNER = ("inner", "inner-bulk")
"""Listeners that forward through a second one in the same process."""

THROUGH = (*TUNNELS, *INNER)

OTHERS = (*UNENCRYPTED, *ENCRYPTED)
ALL = (*OTHERS, *FILTERING, *THROUGH)


@dataclass(frozen=True)
class Command:
    """How to run a proxy: words and additions to the environment."""

    words: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """The listeners that a proxy is to have, by the names above, each with its port; and where they
    forward to.
    """

    ports: Mapping[str, int]
    backends: Backends
    certificates: Certificates | None = None
    """What listeners with TLS need."""

    def servers(self, name: str) -> tuple[int, ...]:
        """The ports that a listener forwards to."""
        backends = self.backends
        if name in ORIGINATING:
            return backends.web_tls if name == "out" else backends.bulk_tls
        if name in TUNNELS:
            return (backends.connect,)
        return (backends.bulk,) if name.endswith("bulk") else backends.web

    def pair(self, name: str) -> Pair | None:
        """The certificate of a listener whose clients speak TLS."""
        if name not in TERMINATING or self.certificates is None:
            return None
        return self.certificates.rsa if name == "tls-rsa" else self.certificates.ecdsa


def written(path: Path, text: str) -> str:
    """A path, with this text in its file."""
    path.write_text(text)
    return str(path)


def log_path(stem: Path, name: str) -> Path:
    """The access log of a listener."""
    return stem.with_name(f"{stem.name}-{name}.access")
