"""Several filter chains of a listener: who is served by which, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.config.listener.v3 import listener_pb2

import tcpmesh.extensions.filters.network.connection_limit
import tcpmesh.extensions.filters.network.direct_response
import tcpmesh.extensions.matching.common_inputs.network  # noqa: F401 - their messages are known
from tcpmesh.testing.mesh import Mesh
from tests.mesh import FRONT, MeshTestCase, address_yaml, parse, tcp_proxy

NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
LOGS = "type.googleapis.com/envoy.extensions.access_loggers"


def says(text: str, match: str = "", more: str = "") -> str:
    """A chain that says its name, in YAML flow style."""
    config = (
        f"{{'@type': {NETWORK}.direct_response.v3.Config, response: {{inline_string: {text}}}}}"
    )
    return (
        f"{{name: {text}, filter_chain_match: {{{match}}}, {more}"
        f"filters: [{{name: f, typed_config: {config}}}]}}"
    )


def proxied(name: str, match: str = "", more: str = "", fields: str = "") -> str:
    """A chain with a tcp_proxy of these fields."""
    filters = tcp_proxy(f"cluster: c, {fields}")
    return f"{{name: {name}, filter_chain_match: {{{match}}}, {more}filters: {filters}}}"


def listener_of(*chains: str, more: str = "", default: str = "", address: str = FRONT) -> Any:
    """A listener with these chains."""
    text = f"name: l\naddress: {address_yaml(address)}\nfilter_chains: [{', '.join(chains)}]\n"
    if default:
        text += f"default_filter_chain: {default}\n"
    return parse(listener_pb2.Listener, text + more)


def file_log(path: str, fmt: str) -> str:
    """Access logs of one file."""
    return (
        f"access_log: [{{name: f, typed_config: {{'@type': {LOGS}.file.v3.FileAccessLog, "
        f"path: {path}, log_format: {{text_format_source: {{inline_string: '{fmt}'}}}}}}}}]"
    )


def source(host: str) -> str:
    """A match for clients from there."""
    return f"source_prefix_ranges: [{{address_prefix: {host}, prefix_len: 32}}]"


def matcher_of(names: Mapping[int, str]) -> str:
    """A `filter_chain_matcher` that names chains by the port that was wanted."""
    port = "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput"
    table = ", ".join(
        f"'{number}': {{action: {{name: x, typed_config: "
        f"{{'@type': type.googleapis.com/google.protobuf.StringValue, value: {name}}}}}}}"
        for number, name in names.items()
    )
    return (
        f"filter_chain_matcher: {{matcher_tree: {{input: {{name: x, typed_config: "
        f"{{'@type': type.googleapis.com/{port}}}}}, exact_match_map: {{map: {{{table}}}}}}}}}"
    )


class ChainTestCase(MeshTestCase):
    """Base: clients, and what they are told."""

    def serve(self, *chains: str, more: str = "", default: str = "") -> None:
        """A listener of these chains, open."""
        self.mesh.listeners.add_or_update(listener_of(*chains, more=more, default=default))
        self.mesh.listeners.start()

    def told(self, wanted: str = FRONT) -> str:
        """What a client is told that wanted to connect there."""
        client = self.mesh.redirect(wanted)
        return str(client.received.decode()) if client.received else "nothing"


ORIGINAL_DST = "use_original_dst: true"


class ServeTests(ChainTestCase):
    """Who is served by which."""

    def test_chosen(self) -> None:
        """Each client is served by the chain that its match is for, or by the default one."""
        self.serve(
            says("one", "destination_port: 1"),
            says("two", "destination_port: 2"),
            more=ORIGINAL_DST,
            default=says("other"),
        )
        told = [self.told(f"127.0.0.1:{port}") for port in (1, 2, 3)]
        self.assertEqual(["one", "two", "other"], told)
        self.assertEqual(3, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_total"))

    def test_none(self) -> None:
        """A client that no chain is for is closed, counted as that and as no connection, and logged
        by the listener with the flag NR, without a number.
        """
        log = file_log("/log", "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_ID%")
        self.serve(says("one", "destination_port: 9"), more=log)
        client = self.mesh.connect()
        self.assertTrue(client.ended)
        self.assertEqual({"no_filter_chain_match": 1}, self.mesh.moved("listener.127.0.0.1_1."))
        self.assertEqual(["NR filter_chain_not_found 0"], self.mesh.logged("/log"))

    def test_matcher(self) -> None:
        """With a filter_chain_matcher a client gets the chain that this names; where it names none
        the default one, and where there is no such chain nobody serves it.  Matches say nothing.
        """
        matcher = matcher_of({1: "one", 2: "two", 3: "three"})
        same = "destination_port: 7"
        chains = says("one", same), says("two", same)
        self.serve(*chains, more=f"{ORIGINAL_DST}\n{matcher}", default=says("other"))
        told = [self.told(f"127.0.0.1:{number}") for number in (1, 2, 3, 4)]
        self.assertEqual(["one", "two", "nothing", "other"], told)
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.no_filter_chain_match"))

    def test_name_and_metadata(self) -> None:
        """Logs know the chain of a client, and its metadata."""
        log = file_log("/log", "%FILTER_CHAIN_NAME% %METADATA(LISTENER_FILTER_CHAIN:a:b)%")
        self.serve(
            says("one", "destination_port: 1", "metadata: {filter_metadata: {a: {b: x}}}, "),
            says("two", "destination_port: 2"),
            more=f"{ORIGINAL_DST}\n{log}",
        )
        for port in (1, 2, 3):
            self.told(f"127.0.0.1:{port}")
        self.assertEqual(["one x", "two -", "- -"], self.mesh.logged("/log"))

    def test_logs_of_a_chain(self) -> None:
        """The access logs of a chain's last filter have the clients of that chain alone."""
        self.mesh.add_cluster("c", "127.0.0.2:80")
        self.serve(
            proxied("one", "destination_port: 1", fields=file_log("/one", "%FILTER_CHAIN_NAME%")),
            proxied("two", "destination_port: 2", fields=file_log("/two", "%FILTER_CHAIN_NAME%")),
            more=ORIGINAL_DST,
        )
        for port in (1, 2, 2):
            self.told(f"127.0.0.1:{port}")
        self.assertEqual((["one"], ["two"] * 2), tuple(map(self.mesh.logged, ("/one", "/two"))))


class ShareTests(ChainTestCase):
    """What chains are built of."""

    def filters(self) -> list[Any]:
        """The filters of each chain."""
        (listener,) = self.mesh.worker.listeners._listeners.values()
        return [chain.filters.filters for chain in listener._chains]

    def test_equal(self) -> None:
        """Chains that differ only in whom they are for, what they are called and their metadata are
        served by the same filters, which go with the last of them.
        """
        self.mesh.add_cluster("c", "127.0.0.2:80")
        self.serve(
            proxied("one", "destination_port: 1"),
            proxied("two", "destination_port: 2", "metadata: {}, "),
            proxied("three", "destination_port: 3", fields="idle_timeout: 1s"),
        )
        one, two, three = self.filters()
        self.assertIs(one[0], two[0])
        self.assertIsNot(one[0], three[0])
        self.mesh.listeners.remove("l")
        self.assertEqual({}, self.mesh.stats("tcp.t."))

    def test_limits(self) -> None:
        """Each chain has limits of its own, be they configured alike."""
        limit = (
            f"{{name: l, typed_config: {{'@type': {NETWORK}.connection_limit.v3.ConnectionLimit, "
            f"stat_prefix: x, max_connections: 1}}}}"
        )
        chains = [
            proxied(name, f"destination_port: {port}").replace("filters: [", f"filters: [{limit}, ")
            for port, name in ((1, "one"), (2, "two"))
        ]
        self.mesh.add_cluster("c", "127.0.0.2:80")
        self.mesh.upstream("127.0.0.2:80")
        self.serve(*chains, more=ORIGINAL_DST)
        clients = [self.mesh.redirect(f"127.0.0.1:{port}") for port in (1, 2)]
        self.assertEqual([False, False], [client.ended for client in clients])
        self.assertEqual(2, self.mesh.stat("connection_limit.x.active_connections"))
        self.assertTrue(self.mesh.redirect("127.0.0.1:2").ended)


class LoadedTests(MeshTestCase):
    """A configuration as a user writes it."""

    def test_loaded(self) -> None:
        """Chains with matches are read, checked and served."""
        chains = f"[{says('one', 'destination_port: 1')}, {says('rest')}]"
        mesh = Mesh(
            f"static_resources: {{listeners: [{{address: {address_yaml(FRONT)}, "
            f"filter_chains: {chains}}}]}}"
        )
        self.assertEqual(b"one", mesh.connect(FRONT).received)
