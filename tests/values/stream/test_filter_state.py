"""What filters leave for each other about a connection."""

from __future__ import annotations

from typing import Any

from xxhash import xxh64_intdigest

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.state_objects import FACTORIES, ClusterName
from tcpmesh.values.stream.filter_state import (
    NO_FILTER_STATE,
    Entry,
    FilterState,
    HashableText,
    Sharing,
    Text,
)
from tcpmesh.values.stream.stream_info import StreamInfo


class FilterStateTests(SynchronousTestCase):
    """A filter state keeps objects under names."""

    def test_what_is_set_is_there(self) -> None:
        """An object is found under its name, and nothing under another."""
        state = FilterState()
        state.set("a", Text("x"))
        self.assertEqual(
            (state.get("a"), state.get("b"), list(state), len(state)), (Text("x"), None, ["a"], 1)
        )

    def test_replaced(self) -> None:
        """An object may be replaced by another, also where one of them is read-only, as in Envoy
        1.40.
        """
        state = FilterState()
        for read_only in (False, True, True, False):
            state.set("a", Text(str(read_only)), read_only)
            self.assertEqual(state.entries["a"], Entry(Text(str(read_only)), read_only))

    def test_shared(self) -> None:
        """The upstream gets what is shared: what is shared once is not shared further."""
        state = FilterState()
        state.set("a", Text("x"))
        state.set("b", Text("y"), sharing=Sharing.ONCE)
        state.set("c", Text("z"), read_only=True, sharing=Sharing.TRANSITIVE)
        shared = {
            key: (entry.value, entry.read_only, entry.sharing)
            for key, entry in state.shared().items()
        }
        self.assertEqual(
            shared,
            {"b": (Text("y"), False, Sharing.NONE), "c": (Text("z"), True, Sharing.TRANSITIVE)},
        )


class ConnectionStateTests(SynchronousTestCase):
    """A connection without filter state has nothing of its own."""

    def test_shared_until_set(self) -> None:
        """All connections share the empty filter state until something is set in theirs."""
        one, other = StreamInfo(), StreamInfo()
        self.assertIs(one.filter_state, NO_FILTER_STATE)
        one.set_filter_state("a", Text("x"))
        self.assertEqual(
            (one.filter_state.get("a"), other.filter_state.get("a")), (Text("x"), None)
        )
        self.assertIs(other.filter_state, NO_FILTER_STATE)

    def test_the_empty_one_cannot_be_set(self) -> None:
        """Setting something in the filter state that all share is a mistake in the program."""
        self.assertRaises(TypeError, NO_FILTER_STATE.set, "a", Text("x"))


#: What Envoy 1.40 logged of a text that became an object: PLAIN, TYPED (read as JSON), FIELD:ip and
#: FIELD:port.
_NO: tuple[Any, ...] = (None, None, None, None)
SEEN: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "envoy.bool": {
        "true": ("true", True, None, None),
        "TRUE": ("true", True, None, None),
        "0": ("false", False, None, None),
        "": None,
        "x,y": None,
    },
    "envoy.network.transport_socket.original_dst_address": {
        "1.2.3.4:80": ("1.2.3.4:80", None, "1.2.3.4", 80),
        "[::1]:7": ("[::1]:7", None, "::1", 7),
        "1.2.3.4": None,
        "::1": None,
        "": None,
        "1.2.3.4:70000": None,
    },
    "envoy.network.ip": {
        "1.2.3.4": ("1.2.3.4:0", None, None, None),
        "::1": ("[::1]:0", None, None, None),
        "1.2.3.4:80": None,
    },
    "envoy.hashable_string": {"": ("", "", None, None), 'a"b': ('a"b', 'a"b', None, None)},
    "envoy.string": {" 5": (" 5", " 5", None, None)},
    "envoy.upstream.dynamic_host": {"h": ("h", "h", None, None)},
    "envoy.tcp_proxy.cluster": {"": ("", None, None, None), "c": ("c", None, None, None)},
    "envoy.network.upstream_server_name": {"c": ("c", None, None, None)},
    "envoy.network.upstream_subject_alt_names": {"a,b": ("a,b", None, None, None)},
    "envoy.network.network_namespace": {"/n": ("/n", None, None, None)},
    "envoy.network.application_protocols": {"h2": _NO},
    "envoy.tcp_proxy.disable_tunneling": {
        "true": ("true", True, None, None),
        "TRUE": ("false", False, None, None),
        "": ("false", False, None, None),
    },
    "envoy.tcp_proxy.per_connection_idle_timeout_ms": {
        "1500": ("1500", "1500", None, None),
        " 5": ("5", "5", None, None),
        "5 ": ("5", "5", None, None),
        "-5": None,
        "0x10": None,
        "99999999999999999999": None,
        "": None,
    },
    "envoy.upstream.dynamic_port": {"70000": ("70000", 70000, None, None), "4294967296": None},
    "envoy.ratelimit.hits_addend": {"7": ("7", 7, None, None)},
}


class FactoryTests(SynchronousTestCase):
    """A text becomes an object of the kind that the factory key names."""

    def test_as_seen(self) -> None:
        """Each kind takes the texts that Envoy takes, and shows itself as Envoy's does."""
        for name, cases in SEEN.items():
            for text, expected in cases.items():
                made = FACTORIES[name](text)
                shown = made and (made.text, made.typed, made.field("ip"), made.field("port"))
                self.assertEqual(shown, expected, (name, text))

    def test_hashes(self) -> None:
        """Hashable strings and addresses with a port can be hashed, by their text; nothing else
        can.
        """
        hashed = {
            name
            for name, make in FACTORIES.items()
            for text in ("1.2.3.4:80", "5", "::1")
            if (o := make(text)) and o.hash
        }
        prefix = "envoy.filters.listener.original_dst."
        destination = "envoy.network.transport_socket.original_dst_address"
        self.assertEqual(
            hashed,
            {"envoy.hashable_string", destination, prefix + "local_ip", prefix + "remote_ip"},
        )
        for name in hashed:
            made = FACTORIES[name]("1.2.3.4:80")
            assert made is not None
            self.assertEqual(made.hash, xxh64_intdigest(b"1.2.3.4:80"))

    def test_kinds(self) -> None:
        """A cluster's name is not any string: its reader asks for the kind."""
        self.assertIsInstance(FACTORIES["envoy.tcp_proxy.cluster"]("c"), ClusterName)
        self.assertNotIsInstance(FACTORIES["envoy.string"]("c"), ClusterName)

    def test_odd_bytes(self) -> None:
        """A text that was no UTF-8 can be hashed all the same."""
        self.assertEqual(HashableText("\udcff").hash, xxh64_intdigest(b"\xff"))
