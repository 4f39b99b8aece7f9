"""Every message between main and a worker, as bytes."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from types import UnionType
from typing import Any, get_args

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig
from envoy.config.core.v3.base_pb2 import Metadata, Node
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.metrics.v3.stats_pb2 import StatsConfig
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.link.codec import (
    ADDRESS,
    BYTES,
    FRACTION,
    TEXT,
    TRUTH,
    WHOLE,
    LinkError,
    Record,
)
from tcpmesh.server.link.frames import (
    ASSIGNMENT,
    HOST_SPEC,
    LOCALITY,
    TO_MAIN,
    TO_WORKER,
    VERSION,
    Table,
)
from tcpmesh.server.link.numbers import MainMessage, Numbers, WorkerMessage
from tcpmesh.stats.deltas import Deltas, GaugeValue, Interval, Names
from tcpmesh.stats.metrics import Merge
from tcpmesh.values import link
from tcpmesh.values.address import Address
from tcpmesh.values.drain import DrainScope, DrainStrategy, DrainTimes
from tcpmesh.values.hosts import Assignment, HostSpec, Locality
from tcpmesh.values.lifecycle import moving
from tcpmesh.values.live import clients, traffic
from tcpmesh.values.overload import OverloadSettings, TimerScale
from tcpmesh.values.runtime import Entry
from tcpmesh.values.stream import live


def metadata(text: str) -> Metadata:
    """Metadata that has a text."""
    made = Metadata()
    made.filter_metadata["envoy.lb"].update({"key": text})
    return made


NUMBERS = st.integers(-(1 << 70), 1 << 70)
TEXTS = st.text(max_size=8)
ADDRESSES = st.sampled_from(
    [Address("127.0.0.1", 80), Address("::1", 1), Address("/run/x"), Address("@\udcff")]
)
LOCALITIES = st.builds(Locality, TEXTS, TEXTS, TEXTS)
METADATA = st.none() | st.builds(metadata, TEXTS)
HOST_SPECS = st.builds(
    HostSpec,
    address=ADDRESSES,
    hostname=TEXTS,
    weight=NUMBERS,
    priority=NUMBERS,
    locality=LOCALITIES,
    health_status=TEXTS,
    metadata=METADATA,
    locality_metadata=METADATA,
    health_check_config=st.none()
    | st.builds(Endpoint.HealthCheckConfig, port_value=st.integers(0, 65535)),
    endpoint=NUMBERS,
    additional_addresses=st.lists(ADDRESSES, max_size=3).map(tuple),
)
ASSIGNMENTS = st.builds(
    Assignment,
    hosts=st.lists(HOST_SPECS, max_size=3).map(tuple),
    locality_weights=st.lists(st.tuples(NUMBERS, LOCALITIES, NUMBERS), max_size=2).map(tuple),
    overprovisioning_factor=NUMBERS,
    weighted_priority_health=st.booleans(),
)

NAMES = st.lists(TEXTS, max_size=3).map(tuple)
DELTAS = st.builds(
    Deltas,
    counters=st.dictionaries(TEXTS, NUMBERS),
    gauges=st.dictionaries(TEXTS, st.builds(GaugeValue, st.sampled_from(Merge), NUMBERS)),
    histograms=st.dictionaries(
        TEXTS,
        st.builds(
            Interval,
            TEXTS,
            st.floats(allow_nan=False),
            st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple),
            st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
        ),
    ),
    text_readouts=st.dictionaries(TEXTS, TEXTS),
    shown=st.dictionaries(TEXTS, st.builds(Names, NAMES, NAMES, NAMES, NAMES)),
    is_whole=st.booleans(),
)

ENTRIES = st.builds(
    Entry,
    text=TEXTS,
    number=st.none() | st.floats(allow_nan=False),
    truth=st.none() | st.booleans(),
    fraction=st.none() | st.tuples(NUMBERS, NUMBERS),
)

PLAIN = {
    "str": TEXTS,
    "int": NUMBERS,
    "float": st.floats(allow_nan=False),
    "int | None": st.none() | NUMBERS,
    "float | None": st.none() | st.floats(allow_nan=False),
}


def rows(kind: Any) -> st.SearchStrategy[Any]:
    """Some rows of a kind, all of whose fields are plain."""
    plain = {each.name: PLAIN[str(each.type)] for each in fields(kind)}
    return st.lists(st.builds(kind, **plain), max_size=2).map(tuple)


FILTERS = st.lists(st.builds(live.FieldFilter, TEXTS, TEXTS), max_size=2).map(tuple)
CONNECTION_QUERIES = st.builds(
    live.ConnectionQuery, FILTERS, sort=TEXTS, descending=st.booleans(), limit=NUMBERS
)

SECRET_KEYS = st.lists(TEXTS, max_size=3).map(tuple)
PUT_SECRETS = st.builds(link.PutSecret, SECRET_KEYS, st.builds(Secret, name=TEXTS))
LEVELS = st.lists(st.tuples(TEXTS, PLAIN["float"]), max_size=2).map(tuple)
OVERLOADS = st.builds(
    OverloadSettings,
    points=NAMES,
    timers=st.lists(st.builds(TimerScale, TEXTS, PLAIN["float | None"], PLAIN["float"])).map(tuple),
    most_connections=st.none() | NUMBERS,
    limit_name=TEXTS,
    levels=LEVELS,
)

#: Values of the fields whose name does not tell their type.
BY_NAME = {
    (link.Begin, "node"): st.builds(Node, id=TEXTS),
    (link.Begin, "bind_config"): st.none() | st.builds(BindConfig),
    (link.Begin, "runtime"): st.lists(st.tuples(TEXTS, ENTRIES)).map(tuple),
    (link.Begin, "drain"): st.builds(DrainTimes, NUMBERS, st.sampled_from(DrainStrategy)),
    (link.Begin, "overload"): OVERLOADS,
    (link.OverloadLevels, "levels"): LEVELS,
    (link.Begin, "secrets"): st.lists(st.builds(Secret, name=TEXTS)).map(tuple),
    (link.Secrets, "messages"): st.lists(st.builds(Secret, name=TEXTS)).map(tuple),
    (link.Begin, "discovered_secrets"): st.lists(PUT_SECRETS, max_size=2).map(tuple),
    (link.PutSecret, "key"): SECRET_KEYS,
    (link.PutSecret, "message"): st.builds(Secret, name=TEXTS),
    (link.DropSecret, "key"): SECRET_KEYS,
    (link.RuntimeValues, "values"): st.lists(st.tuples(TEXTS, st.none() | ENTRIES)).map(tuple),
    (link.Begin, "stats_config"): st.none() | st.builds(StatsConfig),
    (link.AddCluster, "message"): st.builds(Cluster, name=TEXTS),
    (link.AddListener, "message"): st.builds(Listener, name=TEXTS),
    (link.AddListener, "sockets"): st.lists(NUMBERS).map(tuple),
    (link.BuildAhead, "message"): st.builds(Listener, name=TEXTS),
    (link.BuildAhead, "come"): st.none() | st.lists(NUMBERS).map(tuple),
    (link.UpdateChains, "message"): st.builds(Listener, name=TEXTS),
    (link.UpdateChains, "gone"): st.lists(NUMBERS).map(tuple),
    (link.UpdateChains, "come"): st.lists(NUMBERS).map(tuple),
    (link.Hosts, "keys"): st.lists(NUMBERS).map(tuple),
    (link.Hosts, "flags"): st.lists(NUMBERS).map(tuple),
    (link.LogLevels, "levels"): st.lists(st.tuples(TEXTS, TEXTS)).map(tuple),
    (link.SharedBlocks, "blocks"): st.lists(st.tuples(TEXTS, NUMBERS)).map(tuple),
    (link.Bound, "addresses"): st.lists(ADDRESSES).map(tuple),
    (link.HostsUnused, "hosts"): st.lists(NUMBERS).map(tuple),
    (link.Rates, "rates"): st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS)).map(tuple),
    (Numbers, "deltas"): st.none() | DELTAS,
    (live.AskConnections, "query"): CONNECTION_QUERIES,
    (live.AskCloses, "query"): st.builds(live.CloseQuery, FILTERS, limit=NUMBERS),
    (live.CloseConnections, "filters"): FILTERS,
    (live.ConnectionRows, "rows"): rows(live.ConnectionRow),
    (clients.AskTopClients, "query"): st.builds(clients.ClientQuery, TEXTS, TEXTS, NUMBERS),
    (clients.TopClientRows, "rows"): rows(clients.ClientRow),
    (live.CloseRows, "rows"): rows(live.CloseRow),
    (traffic.FlowCounts, "flows"): st.lists(
        st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS), max_size=3
    ).map(tuple),
    (moving.ClientsStay, "reasons"): st.lists(st.tuples(TEXTS, NUMBERS), max_size=2).map(tuple),
    (link.Names, "names"): st.lists(
        st.builds(
            link.NameState,
            key=TEXTS,
            addresses=st.lists(ADDRESSES, max_size=2).map(tuple),
            has_room=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    (link.NamesGone, "keys"): NAMES,
    (link.OpenNames, "message"): st.builds(DnsCacheConfig, name=TEXTS),
    (link.HostNumbers, "numbers"): st.lists(st.lists(NUMBERS).map(tuple)).map(tuple),
}


def values(record: Record, name: str) -> st.SearchStrategy[Any]:
    """Values of a field."""
    found = BY_NAME.get((record.kind, name))
    if found is not None:
        return found
    form = record.fields[name]
    kind = {field.name: field.type for field in fields(record.kind)}[name]
    enums = {each.__name__: each for each in (link.Refusal, link.Outcome, DrainScope)}
    if kind in enums:
        known: type[Enum] = enums[str(kind)]
        return st.sampled_from(known)
    by_form: dict[int, st.SearchStrategy[Any]] = {
        id(WHOLE): NUMBERS,
        id(BYTES): st.binary(max_size=9),
        id(TEXT): TEXTS,
        id(TRUTH): st.booleans(),
        id(FRACTION): st.floats(allow_nan=False),
        id(ADDRESS): ADDRESSES,
        id(LOCALITY): LOCALITIES,
        id(HOST_SPEC): HOST_SPECS,
        id(ASSIGNMENT): ASSIGNMENTS,
    }
    return by_form[id(form)]


def messages(table: Table) -> st.SearchStrategy[Any]:
    """All messages of a table."""
    return st.one_of(
        *(
            st.builds(record.kind, **{name: values(record, name) for name in record.fields})
            for record in table.records.values()
        )
    )


class FrameTests(SynchronousTestCase):
    """Both tables."""

    def kinds(self, union: UnionType) -> set[type]:
        """The types of a union."""
        return set(get_args(union))

    def test_complete(self) -> None:
        """Every message has a byte form, and each number stands for one."""
        for table, union in ((TO_WORKER, WorkerMessage), (TO_MAIN, MainMessage)):
            kinds = [record.kind for record in table.records.values()]
            self.assertEqual(len(kinds), len(set(kinds)))
            self.assertEqual(self.kinds(union), set(kinds))

    @settings(max_examples=400)
    @given(messages(TO_WORKER))
    def test_to_worker(self, message: Any) -> None:
        """What main says is read as it was written."""
        self.assertEqual(message, TO_WORKER.decode(TO_WORKER.encode(message)))

    @settings(max_examples=400)
    @given(messages(TO_MAIN))
    def test_to_main(self, message: Any) -> None:
        """What a worker says is read as it was written."""
        self.assertEqual(message, TO_MAIN.decode(TO_MAIN.encode(message)))

    @given(messages(TO_WORKER), st.data())
    def test_damaged(self, message: Any, data: st.DataObject) -> None:
        """A frame of which a byte was changed or that is cut short is another message or none, and
        nothing else happens.
        """
        frame = bytearray(TO_WORKER.encode(message))
        at = data.draw(st.integers(0, len(frame) - 1))
        frame[at] ^= data.draw(st.integers(1, 255))
        for damaged in (bytes(frame), bytes(frame[:at])):
            try:
                TO_WORKER.decode(damaged)
            except LinkError:
                continue

    def test_no_frame(self) -> None:
        """Another version, an unknown number, and bytes that follow are refused."""
        frame = TO_WORKER.encode(link.Start())
        for wrong in (b"", bytes((VERSION + 1,)) + frame[1:], bytes((VERSION, 98)), frame + b"x"):
            self.assertRaises(LinkError, TO_WORKER.decode, wrong)

    def test_ways(self) -> None:
        """A message goes one way only."""
        self.assertRaises(KeyError, TO_MAIN.encode, link.Start())
