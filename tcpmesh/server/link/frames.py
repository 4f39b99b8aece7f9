"""The byte form of every message between main and workers: one table for each way.

A frame is a byte for the version, a number for the type of the message, and its fields.  The
numbers stay what they are: a type that is not used any more leaves its number unused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig
from envoy.config.core.v3.base_pb2 import Metadata, Node
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.metrics.v3.stats_pb2 import StatsConfig
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from tcpmesh.server.link.codec import (
    ADDRESS,
    BYTES,
    FRACTION,
    TEXT,
    TRUTH,
    WHOLE,
    Form,
    LinkError,
    Mapped,
    Optional,
    Record,
    Several,
    Together,
    enum_form,
    mapping_form,
    message_form,
)
from tcpmesh.server.link.numbers import Numbers
from tcpmesh.stats.deltas import Deltas, GaugeValue, Interval, Names
from tcpmesh.stats.metrics import Merge
from tcpmesh.values import link
from tcpmesh.values.drain import DrainScope, DrainStrategy, DrainTimes
from tcpmesh.values.hosts import Assignment, HostSpec, Locality
from tcpmesh.values.lifecycle import moving
from tcpmesh.values.live import clients, traffic
from tcpmesh.values.overload import OverloadSettings, TimerScale
from tcpmesh.values.runtime import Entry
from tcpmesh.values.stream import live

VERSION = 1


class Table:
    """The messages of one way, by the numbers of their types."""

    def __init__(self, *records: tuple[int, Record]) -> None:
        self.records = dict(records)
        self._numbers = {record.kind: number for number, record in records}

    def encode(self, message: Any) -> bytes:
        """The frame of a message."""
        number = self._numbers[type(message)]
        out = bytearray((VERSION,))
        WHOLE.write(number, out)
        self.records[number].write(message, out)
        return bytes(out)

    def decode(self, frame: bytes) -> Any:
        """The message of a frame.

        :raise LinkError: where it is none.
        """
        if not frame or frame[0] != VERSION:
            raise LinkError("a frame of another version")
        data = memoryview(frame)
        number, at = WHOLE.read(data, 1)
        if number not in self.records:
            raise LinkError(f"no message has the number {number}")
        message, at = self.records[number].read(data, at)
        if at != len(frame):
            raise LinkError(f"{len(frame) - at} bytes follow a message")
        return message


LOCALITY = Record(Locality, region=TEXT, zone=TEXT, sub_zone=TEXT)
HOST_SPEC = Record(
    HostSpec,
    address=ADDRESS,
    hostname=TEXT,
    weight=WHOLE,
    priority=WHOLE,
    locality=LOCALITY,
    health_status=TEXT,
    metadata=message_form(Metadata),
    locality_metadata=message_form(Metadata),
    health_check_config=message_form(Endpoint.HealthCheckConfig),
    endpoint=WHOLE,
    additional_addresses=Several(ADDRESS),
)
ASSIGNMENT = Record(
    Assignment,
    hosts=Several(HOST_SPEC),
    locality_weights=Several(Together(WHOLE, LOCALITY, WHOLE)),
    overprovisioning_factor=WHOLE,
    weighted_priority_health=TRUTH,
)
ENTRY = Record(
    Entry,
    text=TEXT,
    number=Optional(FRACTION),
    truth=Optional(TRUTH),
    fraction=Optional(Together(WHOLE, WHOLE)),
)
REFUSAL = enum_form(link.Refusal)
SCOPE = enum_form(DrainScope)
STRATEGY = Mapped(TEXT, lambda strategy: strategy.value, DrainStrategy)
LEVELS = Several(Together(TEXT, FRACTION))
OVERLOAD = Record(
    OverloadSettings,
    points=Several(TEXT),
    timers=Several(
        Record(TimerScale, timer=TEXT, seconds=Optional(FRACTION), share=FRACTION),
    ),
    most_connections=Optional(WHOLE),
    limit_name=TEXT,
    levels=LEVELS,
)
NAME_STATE = Record(link.NameState, key=TEXT, addresses=Several(ADDRESS), has_room=TRUTH)
MERGE = Mapped(TEXT, lambda merge: merge.value, Merge)
INTERVAL = Together(TEXT, FRACTION, Several(Together(WHOLE, WHOLE)), Several(FRACTION))
NAMES = Mapped(Together(*[Several(TEXT)] * 4), tuple, lambda names: Names(*names))


def packed_names(shown: Mapping[str, Names]) -> tuple[Any, Any]:
    """Names by prefix, of which many are equal, and then one object: each once, and which of them
    is whose.
    """
    places = {id(names): place for place, names in enumerate(_once(shown.values()))}
    each = tuple((prefix, places[id(names)]) for prefix, names in shown.items())
    return _once(shown.values()), each


def unpacked_names(packed: tuple[Any, Any]) -> dict[str, Names]:
    """What `packed_names` has packed."""
    names, each = packed
    return {prefix: names[place] for prefix, place in each}


def _once(names: Iterable[Names]) -> tuple[Names, ...]:
    return tuple({id(each): each for each in names}.values())


DELTAS = Record(
    Deltas,
    counters=mapping_form(WHOLE),
    gauges=mapping_form(Mapped(Together(MERGE, WHOLE), tuple, lambda pair: GaugeValue(*pair))),
    histograms=mapping_form(Mapped(INTERVAL, tuple, lambda parts: Interval(*parts))),
    text_readouts=mapping_form(TEXT),
    shown=Mapped(
        Together(Several(NAMES), Several(Together(TEXT, WHOLE))), packed_names, unpacked_names
    ),
    is_whole=TRUTH,
    tags=mapping_form(Together(TEXT, Several(Together(TEXT, TEXT)))),
)
FILTERS = Several(
    Mapped(Together(TEXT, TEXT), tuple, lambda pair: live.FieldFilter(*pair)),
)
CONNECTION_QUERY = Record(
    live.ConnectionQuery, filters=FILTERS, sort=TEXT, descending=TRUTH, limit=WHOLE
)
CLOSE_QUERY = Record(live.CloseQuery, filters=FILTERS, limit=WHOLE)
CLIENT_QUERY = Record(clients.ClientQuery, limit=TEXT, client=TEXT, rows=WHOLE)
ROW_FORMS: dict[str, Form] = {
    "str": TEXT,
    "int": WHOLE,
    "float": FRACTION,
    "int | None": Optional(WHOLE),
    "float | None": Optional(FRACTION),
}


def row_form(row: type) -> Record:
    """The form of a row, all of whose fields are plain values."""
    return Record(row, **{each.name: ROW_FORMS[str(each.type)] for each in fields(row)})


CONNECTION_ROW = row_form(live.ConnectionRow)
CLOSE_ROW = row_form(live.CloseRow)
CLIENT_ROW = row_form(clients.ClientRow)

SECRET_KEY = Several(TEXT)
PUT_SECRET = Record(link.PutSecret, key=SECRET_KEY, message=message_form(Secret))

TO_WORKER = Table(
    (
        1,
        Record(
            link.Begin,
            index=WHOLE,
            node=message_form(Node),
            local_cluster=TEXT,
            bind_config=message_form(BindConfig),
            stats_config=message_form(StatsConfig),
            keeps_values=TRUTH,
            file_flush_interval_msec=WHOLE,
            file_flush_min_size_kb=WHOLE,
            runtime=Several(Together(TEXT, ENTRY)),
            secrets=Several(message_form(Secret)),
            drain=Record(DrainTimes, seconds=WHOLE, strategy=STRATEGY),
            discovered_secrets=Several(PUT_SECRET),
            overload=OVERLOAD,
            workers=WHOLE,
            generation=WHOLE,
            internal_buffer=WHOLE,
        ),
    ),
    (2, Record(link.AddCluster, cluster=WHOLE, message=message_form(Cluster))),
    (3, Record(link.ServeCluster, cluster=WHOLE)),
    (4, Record(link.RemoveCluster, cluster=WHOLE)),
    (
        5,
        Record(
            link.Hosts,
            cluster=WHOLE,
            keys=Several(WHOLE),
            flags=Several(WHOLE),
            assignment=ASSIGNMENT,
        ),
    ),
    (6, Record(link.Flags, cluster=WHOLE, host=WHOLE, flags=WHOLE)),
    (7, Record(link.Rebalance, cluster=WHOLE)),
    (8, Record(link.Cleanup, cluster=WHOLE, is_alone=TRUTH)),
    (
        9,
        Record(
            link.AddListener,
            listener=WHOLE,
            name=TEXT,
            message=message_form(Listener),
            predecessor=WHOLE,
            sockets=Several(WHOLE),
        ),
    ),
    (10, Record(link.RemoveListener, listener=WHOLE)),
    (11, Record(link.Start)),
    (12, Record(link.LogLevels, levels=Several(Together(TEXT, TEXT)), default=TEXT)),
    (13, Record(link.AskRates, cluster=WHOLE)),
    (14, Record(link.AskHostNumbers, cluster=WHOLE)),
    (15, Record(link.AskNumbers)),
    (16, Record(link.Stop)),
    (17, Record(link.Prepare)),
    (18, Record(link.ReopenLogs)),
    (
        19,
        Record(
            link.RuntimeValues,
            change=WHOLE,
            values=Several(Together(TEXT, Optional(ENTRY))),
            is_last=TRUTH,
        ),
    ),
    (
        20,
        Record(
            link.UpdateChains,
            listener=WHOLE,
            update=WHOLE,
            message=message_form(Listener),
            gone=Several(WHOLE),
            come=Several(WHOLE),
        ),
    ),
    (21, Record(link.CloseChains, update=WHOLE)),
    (25, Record(link.PauseCluster, cluster=WHOLE, seconds=FRACTION)),
    (22, Record(live.AskConnections, ask=WHOLE, query=CONNECTION_QUERY)),
    (23, Record(live.AskCloses, ask=WHOLE, query=CLOSE_QUERY)),
    (
        24,
        Record(live.CloseConnections, ask=WHOLE, filters=FILTERS, percent=WHOLE, gently=TRUTH),
    ),
    (31, Record(link.EndListener, listener=WHOLE)),
    (32, Record(link.StartDrain, scope=SCOPE)),
    (33, Record(link.StopListening, scope=SCOPE)),
    (34, Record(link.FailHealthChecks, fails=TRUTH)),
    (26, Record(traffic.AskTraffic)),
    (60, Record(link.Secrets, messages=Several(message_form(Secret)))),
    (61, Record(link.KeepValues)),
    (40, Record(link.SharedBlocks, blocks=Several(Together(TEXT, WHOLE)))),
    (41, Record(link.HostFails, cluster=WHOLE, host=WHOLE)),
    (42, Record(link.AskClients)),
    (43, Record(link.Ask, ask=WHOLE)),
    (65, PUT_SECRET),
    (66, Record(link.DropSecret, key=SECRET_KEY)),
    (100, Record(link.ShareClients)),
    (70, Record(link.OverloadLevels, levels=LEVELS)),
    (71, Record(link.ShrinkHeap, most_unfreed=WHOLE)),
    (110, Record(moving.MoveClients, is_on=TRUTH, reason=TEXT)),
    (111, Record(moving.ClientMoved, client=WHOLE)),
    (112, Record(moving.ClientStays, client=WHOLE, reason=TEXT)),
    (113, Record(moving.OfferClient, client=WHOLE, state=BYTES)),
    (114, Record(moving.TakeClient, client=WHOLE)),
    (115, Record(moving.ForgetClient, client=WHOLE)),
    (120, Record(link.Names, cache=TEXT, names=Several(NAME_STATE))),
    (121, Record(link.NamesGone, cache=TEXT, keys=Several(TEXT))),
    (125, Record(clients.AskTopClients, ask=WHOLE, query=CLIENT_QUERY)),
    (
        130,
        Record(
            link.BuildAhead,
            listener=WHOLE,
            name=TEXT,
            message=message_form(Listener),
            come=Optional(Several(WHOLE)),
        ),
    ),
)

TO_MAIN = Table(
    (1, Record(link.ClusterRefused, cluster=WHOLE, why=REFUSAL, reason=TEXT)),
    (2, Record(link.ListenerRefused, listener=WHOLE, why=REFUSAL, reason=TEXT)),
    (3, Record(link.Bound, listener=WHOLE, addresses=Several(ADDRESS), is_open=TRUTH)),
    (4, Record(link.ConnectOutcome, cluster=WHOLE, host=WHOLE, outcome=enum_form(link.Outcome))),
    (5, Record(link.ClusterUsed, cluster=WHOLE)),
    (6, Record(link.ClusterEnded, cluster=WHOLE)),
    (7, Record(link.HostSeen, cluster=WHOLE, host=HOST_SPEC)),
    (8, Record(link.HostsUnused, cluster=WHOLE, hosts=Several(WHOLE))),
    (9, Record(link.Rates, cluster=WHOLE, rates=Several(Together(WHOLE, WHOLE, WHOLE)))),
    (10, Record(link.HostNumbers, cluster=WHOLE, numbers=Several(Several(WHOLE)))),
    (
        11,
        Record(Numbers, worker=WHOLE, connections=WHOLE, deltas=Optional(DELTAS), is_last=TRUTH),
    ),
    (12, Record(link.Stopped)),
    (13, Record(link.Prepared)),
    (
        14,
        Record(
            live.ConnectionRows,
            ask=WHOLE,
            worker=WHOLE,
            rows=Several(CONNECTION_ROW),
            matched=WHOLE,
            total=WHOLE,
            is_last=TRUTH,
        ),
    ),
    (
        15,
        Record(live.CloseRows, ask=WHOLE, worker=WHOLE, rows=Several(CLOSE_ROW), is_last=TRUTH),
    ),
    (16, Record(live.ConnectionsClosed, ask=WHOLE, worker=WHOLE, count=WHOLE)),
    (
        17,
        Record(
            traffic.FlowCounts,
            worker=WHOLE,
            flows=Several(Together(TEXT, TEXT, TEXT, TEXT, WHOLE)),
        ),
    ),
    (
        18,
        Record(
            traffic.TrafficTold,
            worker=WHOLE,
            open=WHOLE,
            accepted=WHOLE,
            received=WHOLE,
            sent=WHOLE,
            spent=FRACTION,
        ),
    ),
    (40, Record(link.Clients, worker=WHOLE, connections=WHOLE)),
    (41, Record(link.Answered, worker=WHOLE, ask=WHOLE)),
    (50, Record(link.Alive)),
    (110, Record(moving.ClientLeaves, worker=WHOLE, client=WHOLE, state=BYTES)),
    (
        111,
        Record(
            moving.ClientsStay,
            worker=WHOLE,
            moved=WHOLE,
            reasons=Several(Together(TEXT, WHOLE)),
        ),
    ),
    (112, Record(moving.OfferAnswered, worker=WHOLE, client=WHOLE, refused=TEXT)),
    (120, Record(link.OpenNames, message=message_form(DnsCacheConfig))),
    (121, Record(link.NameWanted, cache=TEXT, key=TEXT)),
    (
        125,
        Record(
            clients.TopClientRows,
            ask=WHOLE,
            worker=WHOLE,
            rows=Several(CLIENT_ROW),
            known=WHOLE,
            is_last=TRUTH,
        ),
    ),
    (130, Record(link.BuiltAhead, listener=WHOLE)),
)
