"""What a `TcpProxy` message says, as a value that its sessions read."""

from __future__ import annotations

from random import Random
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from tcpmesh.cluster.balancing.hash_policy import ClientHash, proxy_hash
from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.state_objects import IDLE_TIMEOUT_MS, Long
from tcpmesh.facts import dataclass
from tcpmesh.values.stream.stream_info import StreamInfo

IDLE_TIMEOUT = 3600.0
"""Seconds: `idle_timeout` where nothing is said, and the longest that a side may flush where there
is no idle timeout.
"""


@dataclass(frozen=True)
class Backoff:
    """The pause before a further attempt (`backoff_options`): random, from a range that doubles up
    to a maximum; both in seconds.
    """

    base: float
    most: float

    def pause(self, failures: int, random: Random) -> float:
        """Seconds to wait after so many failures, 1 or more."""
        return random.uniform(0, min(self.base * 2 ** min(failures - 1, 62), self.most))


@dataclass(frozen=True)
class Settings:
    """How a tcp_proxy treats its clients; all times in seconds."""

    idle_timeout: float | None
    """Without a byte either way for so long a client is closed; `None` for no limit."""

    max_attempts: int
    """`max_connect_attempts`."""

    backoff: Backoff | None
    """`None` where another attempt is made at once."""

    early_limit: int | None
    """Bytes the client may send before the upstream is connected; `None` where it is not read until
    then.
    """

    waits_for_data: bool
    """Whether nothing is looked up before the client has sent something."""

    waits_for_handshake: bool
    """Whether nothing is looked up before the TLS handshake with the client is over."""

    max_duration: float | None
    duration_jitter: float
    """By how much the maximum duration may be exceeded at random: 1.0 is twice as long."""

    closes_draining: bool
    """Whether a connection is closed when it carries bytes and its listener drains."""

    hash_of: ClientHash | None
    """What consistent hashing goes by."""

    def idle_timeout_of(self, info: StreamInfo) -> float | None:
        """The idle timeout of a client with filter state: what that says goes first."""
        own = info.filter_state.get(IDLE_TIMEOUT_MS)
        # There, unlike in the configuration, 0 is no time at all: Envoy closes such a client at
        # once.
        return max(own.value, 1) / 1000 if isinstance(own, Long) else self.idle_timeout


def settings_of(message: Any) -> Settings:
    """What a `TcpProxy` message says."""

    def given(field: str) -> float | None:
        return seconds(getattr(message, field)) if message.HasField(field) else None

    idle = given("idle_timeout")
    attempts, early = message.max_connect_attempts, message.max_early_data_bytes
    jitter = message.max_downstream_connection_duration_jitter_percentage.value
    return Settings(
        idle_timeout=IDLE_TIMEOUT if idle is None else idle or None,
        max_attempts=attempts.value if message.HasField("max_connect_attempts") else 1,
        backoff=_backoff(message.backoff_options) if message.HasField("backoff_options") else None,
        early_limit=early.value if message.HasField("max_early_data_bytes") else None,
        waits_for_data=message.upstream_connect_mode == tcp_proxy_pb2.ON_DOWNSTREAM_DATA,
        waits_for_handshake=(
            message.upstream_connect_mode == tcp_proxy_pb2.ON_DOWNSTREAM_TLS_HANDSHAKE
        ),
        max_duration=given("max_downstream_connection_duration"),
        duration_jitter=jitter / 100,
        closes_draining=message.check_drain_close.value,
        hash_of=proxy_hash(message.hash_policy),
    )


def _backoff(options: Any) -> Backoff:
    base = seconds(options.base_interval)
    most = seconds(options.max_interval) if options.HasField("max_interval") else 10 * base
    return Backoff(base, most)
