"""set_filter_state, and what tcp_proxy does with filter state."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from xxhash import xxh64_intdigest

from tcpmesh.connection.state_objects import ClusterName
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, Entry, Sharing, Text
from tests.mesh import FRONT, MeshTestCase, tcp_proxy

FILTER = f"type.googleapis.com/{set_filter_state_pb2.Config.DESCRIPTOR.full_name}"
HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"
CLUSTER = "envoy.tcp_proxy.cluster"
IDLE = "envoy.tcp_proxy.per_connection_idle_timeout_ms"


def value(key: str, text: str, more: str = "") -> str:
    """A FilterStateValue in YAML."""
    return (
        f"{{object_key: {key}, format_string: {{text_format_source: {{inline_string: "
        f"'{text}'}}}}, {more}}}"
    )


class StateTestCase(MeshTestCase):
    """A proxy with set_filter_state before its tcp_proxy."""

    def begin(self, *values: str, fields: str = "cluster: c") -> None:
        """Serve with these values, with two clusters of one host each that is there."""
        self.hosts = {"c": self.mesh.upstream(HOST), "d": self.mesh.upstream(OTHER)}
        self.mesh.add_cluster("c", HOST)
        self.mesh.add_cluster("d", OTHER)
        config = (
            f'{{name: s, typed_config: {{"@type": {FILTER}, on_new_connection: '
            f"[{', '.join(values)}]}}}}"
        )
        self.mesh.add_listener("l", FRONT, f"[{config}, {tcp_proxy(fields)[1:-1]}]")
        self.mesh.listeners.start()

    def entries(self) -> dict[str, Entry]:
        """The filter state of a client that connects now."""
        self.mesh.connect()
        return dict(self.mesh.connections[-1].stream_info.filter_state.entries)

    def served(self, client: Any = None) -> list[str]:
        """Which clusters have got how many clients."""
        self.mesh.connect()
        return [name for name, server in self.hosts.items() for _ in server.built]


class SettingTests(StateTestCase):
    """What is set."""

    def test_object(self) -> None:
        """An object of the kind of its key, from a text with operators."""
        self.begin(value(CLUSTER, "to-%DOWNSTREAM_LOCAL_PORT%"))
        self.assertEqual(self.entries(), {CLUSTER: Entry(ClusterName("to-1"))})

    def test_factory(self) -> None:
        """The kind may be named apart from the key, and the conditions are kept."""
        more = "factory_key: envoy.string, read_only: true, shared_with_upstream: TRANSITIVE"
        self.begin(value("mine", "x", more))
        self.assertEqual(self.entries(), {"mine": Entry(Text("x"), True, Sharing.TRANSITIVE)})

    def test_in_order(self) -> None:
        """A later text may show an earlier object, and take its place."""
        strings = "factory_key: envoy.string"
        self.begin(
            value("a", "x", strings),
            value("a", "%FILTER_STATE(a:PLAIN)%y", strings),
            value("b", "1", strings + ", read_only: true"),
            value("b", "2", strings),
        )
        found = {key: entry.value.text for key, entry in self.entries().items()}
        self.assertEqual(found, {"a": "xy", "b": "2"})

    def test_skip_if_empty(self) -> None:
        """An empty text sets nothing where that is asked for, and an empty object elsewhere."""
        omit = "factory_key: envoy.string"
        self.begin(value("a", "", omit + ", skip_if_empty: true"), value("b", "", omit))
        self.assertEqual(self.entries(), {"b": Entry(Text(""))})

    def test_not_fit(self) -> None:
        """A text that is not fit for its kind sets nothing."""
        self.begin(value(IDLE, "soon"))
        self.assertEqual(self.entries(), {})

    def test_json(self) -> None:
        """A JSON format makes a string of JSON."""
        self.begin(
            "{object_key: a, factory_key: envoy.string, format_string: {json_format: {p: "
            "'%DOWNSTREAM_LOCAL_PORT%'}}}"
        )
        self.assertEqual(self.entries(), {"a": Entry(Text('{"p":1}\n'))})


class ClusterTests(StateTestCase):
    """`envoy.tcp_proxy.cluster`."""

    def test_wins(self) -> None:
        """The cluster of the filter state goes before the one of tcp_proxy."""
        self.begin(value(CLUSTER, "d"))
        self.assertEqual(self.served(), ["d"])

    def test_unknown(self) -> None:
        """One that does not exist closes the client, as a route to nowhere."""
        self.begin(value(CLUSTER, "nowhere"))
        self.assertEqual(self.served(), [])
        self.assertEqual((self.flags(), self.mesh.stat("tcp.t.downstream_cx_no_route")), ("NC", 1))

    def test_empty(self) -> None:
        """An empty name is a name, too: there is no such cluster."""
        self.begin(value(CLUSTER, ""))
        self.assertEqual((self.served(), self.flags()), ([], "NC"))

    def test_weighted(self) -> None:
        """Weighted clusters are drawn from, whatever the filter state says."""
        self.begin(
            value(CLUSTER, "d"), fields="weighted_clusters: {clusters: [{name: c, weight: 1}]}"
        )
        self.assertEqual(self.served(), ["c"])

    def test_other_kind(self) -> None:
        """An object of another kind under that key says nothing to tcp_proxy."""
        self.begin(value(CLUSTER, "d", "factory_key: envoy.string"))
        self.assertEqual(self.served(), ["c"])


class IdleTests(StateTestCase):
    """`envoy.tcp_proxy.per_connection_idle_timeout_ms`."""

    def closed_after(
        self, text: str, *times: float, fields: str = "cluster: c", more: str = ""
    ) -> list[bool]:
        """Whether a client is closed after each of these seconds."""
        self.begin(value(IDLE, text, more), fields=fields)
        client = self.mesh.connect()
        closed = []
        for seconds in times:
            for _ in range(20):
                self.mesh.advance(seconds / 20)
            closed.append(client.ended)
        return closed

    def test_shorter(self) -> None:
        """It goes before idle_timeout, and counts there."""
        self.assertEqual(self.closed_after("300", 0.2, 0.2), [False, True])
        self.assertEqual(self.mesh.stat("tcp.t.idle_timeout"), 1)

    def test_where_there_is_none(self) -> None:
        """Also where tcp_proxy has no idle timeout."""
        self.assertEqual(
            self.closed_after("300", 0.2, 0.2, fields="cluster: c, idle_timeout: 0s"), [False, True]
        )

    def test_zero(self) -> None:
        """0 closes at once, as in Envoy: there it is no word for never."""
        self.assertEqual(self.closed_after("0", 0.01), [True])

    def test_other_kind(self) -> None:
        """A number of another kind leaves idle_timeout as it is."""
        fields, more = "cluster: c, idle_timeout: 2s", "factory_key: envoy.upstream.dynamic_port"
        self.assertEqual(self.closed_after("300", 1, 1.5, fields=fields, more=more), [False, True])


class HashTests(StateTestCase):
    """`hash_policy` with filter state."""

    def hashes(self, *values: str, key: str = "k") -> list[int | None]:
        """What load balancers are given to go by."""
        self.begin(*values, fields=f"cluster: c, hash_policy: [{{filter_state: {{key: {key}}}}}]")
        seen: list[int | None] = []
        cluster: Any = self.mesh.cluster("c")
        pick = cluster.pick

        def spy(context: Any) -> Any:
            seen.append(context.hash)
            return pick(context)

        cluster.pick = spy
        self.mesh.connect()
        return seen

    def test_hashable(self) -> None:
        """The hash of a hashable object."""
        text = "factory_key: envoy.hashable_string"
        self.assertEqual(self.hashes(value("k", "abc", text)), [xxh64_intdigest(b"abc")])

    def test_not_hashable(self) -> None:
        """An object that is not for hashing gives no hash, and so a random host."""
        self.assertEqual(self.hashes(value("k", "abc", "factory_key: envoy.string")), [None])

    def test_absent(self) -> None:
        """Nor does one that is not there."""
        self.assertEqual(self.hashes(), [None])


class CostTests(MeshTestCase):
    """What is not used costs nothing."""

    def test_no_state(self) -> None:
        """A connection of a chain without such filters has no filter state of its own."""
        self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve()
        self.mesh.connect()
        self.assertIs(self.mesh.connections[-1].stream_info.filter_state, NO_FILTER_STATE)
