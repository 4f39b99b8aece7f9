"""Network filters of Envoy's that read the protocol of a database as it passes, and count what they
see: named exceptions of `--allow-unsupported`.

They change nothing of the traffic, so a connection is served just as well without them; that option
lets them through, and nothing watches.  Not so where one was told to do more than watch (to end
TLS, to rewrite, to delay), or where another filter of its chain goes by what it finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from tcpmesh.config.messages.types import extension_type, unpack
from tcpmesh.facts import dataclass

_NETWORK = "envoy.extensions.filters.network."


@dataclass(frozen=True)
class Watcher:
    """One of them."""

    protocol: str
    harmless: frozenset[str]
    """The fields that only say what it counts or writes down."""

    metadata: str = ""
    """Where in the dynamic metadata it leaves what it finds out."""


WATCHERS = {
    _NETWORK + "kafka_broker.v3.KafkaBroker": Watcher("Kafka", frozenset({"stat_prefix"})),
    _NETWORK + "mongo_proxy.v3.MongoProxy": Watcher(
        "MongoDB",
        frozenset(
            {"stat_prefix", "access_log", "emit_dynamic_metadata", "commands", "max_bson_depth"}
        ),
        "envoy.filters.network.mongo_proxy",
    ),
    _NETWORK + "mysql_proxy.v3.MySQLProxy": Watcher(
        "MySQL", frozenset({"stat_prefix", "access_log"}), "envoy.filters.network.mysql_proxy"
    ),
    _NETWORK + "postgres_proxy.v3alpha.PostgresProxy": Watcher(
        "PostgreSQL",
        frozenset({"stat_prefix", "enable_sql_parsing"}),
        "envoy.filters.network.postgres_proxy",
    ),
    _NETWORK + "zookeeper_proxy.v3.ZooKeeperProxy": Watcher(
        "ZooKeeper",
        frozenset(
            {
                "stat_prefix",
                "access_log",
                "max_packet_bytes",
                "enable_latency_threshold_metrics",
                "default_latency_threshold",
                "latency_threshold_overrides",
                "enable_per_opcode_request_bytes_metrics",
                "enable_per_opcode_response_bytes_metrics",
                "enable_per_opcode_decoder_error_metrics",
            }
        ),
        "envoy.filters.network.zookeeper_proxy",
    ),
}


def is_watcher(network_filter: Any) -> bool:
    """Whether a `listener.v3.Filter` is one of them, and so not there for its connections."""
    return extension_type(network_filter.typed_config) in WATCHERS


def changing_fields(full_name: str, content: Message) -> list[str]:
    """The fields by which one of them does more than watch, as far as they are set."""
    harmless = WATCHERS[full_name].harmless
    return [field.name for field, _ in content.ListFields() if field.name not in harmless]


def missed_metadata(chain: Any) -> Iterator[tuple[int, str]]:
    """Which filters of a `FilterChain` read what its watchers would have left for them.

    :return: the number of each in the chain, and the key of the dynamic metadata.
    """
    types = [extension_type(each.typed_config) for each in chain.filters]
    found = {WATCHERS[name].metadata for name in types if name in WATCHERS} - {""}
    if not found:
        return
    for index, each in enumerate(chain.filters):
        content = unpack(each.typed_config) if types[index] not in WATCHERS else None
        texts = set(_texts(content)) if content is not None else set()
        for key in sorted(found):
            if any(key in text for text in texts):
                yield index, key


def _texts(message: Message) -> Iterator[str]:
    """All texts of a message, but for what is only written down."""
    for field, value in message.ListFields():
        if field.name == "access_log":
            continue
        values = value if field.is_repeated else (value,)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from (key for key in value if isinstance(key, str))
            values = value.values()
        for each in values:
            if isinstance(each, str):
                yield each
            elif isinstance(each, Message):
                inner = unpack(each) if each.DESCRIPTOR.name == "Any" else each  # type: ignore[arg-type]
                yield from _texts(inner) if inner is not None else ()
