"""What consistent hashing goes by, and which hosts that gives: those that the real Envoy chose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from envoy.extensions.load_balancing_policies.maglev.v3 import maglev_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2

from tcpmesh.values.address import Address
from tcpmesh.values.stream.filter_state import HashableText, Text
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.mesh import MeshTestCase

RING = ring_hash_pb2.RingHash.DESCRIPTOR.full_name
MAGLEV = maglev_pb2.Maglev.DESCRIPTOR.full_name
HOSTS = [f"127.0.9.{last}:9" for last in range(1, 60)]

SOURCE = "{connection_properties: {source_ip: true}}"
STATE = "{filter_state: {key: k}}"
LAST_SOURCE = "{connection_properties: {source_ip: true}, terminal: true}"
LAST_STATE = "{filter_state: {key: k}, terminal: true}"
OTHER_STATE = "{filter_state: {key: k2}}"
NO_STATE = "{filter_state: {key: none}, terminal: true}"
HEADER = "{header: {header_name: x}}"

#: Hash policies, and the last number of the address that Envoy 1.40 chose by ring and by table for
#: the client below.
SEEN: dict[tuple[str, ...], tuple[int, int]] = {
    (SOURCE,): (11, 13),
    (STATE,): (22, 39),
    (STATE, SOURCE): (12, 11),
    (SOURCE, STATE): (25, 47),
    (LAST_STATE, SOURCE): (22, 39),
    (LAST_SOURCE, STATE): (11, 13),
    (HEADER, SOURCE): (11, 13),
    (STATE, OTHER_STATE): (52, 47),
    (NO_STATE, SOURCE): (11, 13),
    (SOURCE, SOURCE): (27, 19),
    (SOURCE, STATE, SOURCE): (53, 53),
}


def context(given: int | None = None) -> Any:
    """A pick for a client from 127.0.0.5 with filter state, whose tcp_proxy says to go by
    `given`.
    """
    info = StreamInfo()
    info.restored_remote = Address("127.0.0.5", 1)
    info.set_filter_state("k", HashableText("abc"))
    info.set_filter_state("k2", HashableText("xyz"))
    info.set_filter_state("text", Text("abc"))
    return SimpleNamespace(hash=given, stream_info=info, attempted=(), metadata_match=None)


class RouteHashTests(MeshTestCase):
    """`hash_policy` within a typed RING_HASH or MAGLEV policy."""

    def picks(self, kind: str, *policies: str, given: int | None = None) -> set[int]:
        """The last numbers of the addresses that four picks choose."""
        hashing = f"consistent_hashing_lb_config: {{hash_policy: [{', '.join(policies)}]}}"
        config = f'{{name: p, typed_config: {{"@type": type.googleapis.com/{kind}, {hashing}}}}}'
        more = f"load_balancing_policy: {{policies: [{{typed_extension_config: {config}}}]}}"
        self.mesh.add_cluster("c", *HOSTS, more=more)
        cluster: Any = self.mesh.cluster("c")
        return {int(cluster.pick(context(given)).address.host.rpartition(".")[2]) for _ in range(4)}

    def test_as_seen(self) -> None:
        """The hosts are those that Envoy chose: policies are combined up to a terminal one that
        finds something.
        """
        for policies, (ring, table) in SEEN.items():
            self.assertEqual(self.picks(RING, *policies), {ring}, policies)
            self.assertEqual(self.picks(MAGLEV, *policies), {table}, policies)

    def test_before_tcp_proxy(self) -> None:
        """It goes before the hash policy of tcp_proxy, also where it finds nothing: then hosts are
        random.
        """
        self.assertEqual(self.picks(RING, SOURCE, given=5), {11})
        for policy in (
            HEADER,
            "{connection_properties: {source_ip: false}}",
            "{filter_state: {key: text}}",
            "{cookie: {name: a}}",
        ):
            self.assertGreater(len(self.picks(RING, policy, given=5)), 1)

    def test_empty(self) -> None:
        """An empty list says nothing."""
        self.assertEqual(len(self.picks(RING, given=5)), 1)

    def test_unix_socket(self) -> None:
        """A client without an IP address has no number by its source."""
        self.assertEqual(len(self.picks(RING, SOURCE)), 1)
        cluster: Any = self.mesh.cluster("c")
        pick = context()
        pick.stream_info.restored_remote = Address("/run/x")
        self.assertGreater(len({cluster.pick(pick) for _ in range(8)}), 1)
