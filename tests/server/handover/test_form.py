"""The byte form of clients that go to another process."""

from __future__ import annotations

import json
import socket
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.handover.form import NoConnection, decode, encode
from tcpmesh.values.address import Address
from tcpmesh.values.stream.moved import (
    MovedConnection,
    MovedDirection,
    MovedRelay,
    MovedSocket,
)

RECORDED = Path(__file__).with_name("recorded.json")
"""The form of the first release that has one.  It is read for ever; nothing writes it anew."""

ADDRESSES = st.builds(Address, st.text(max_size=9), st.integers(0, 65535))
TIMES = st.floats(0, 1e9)
SOCKETS = st.builds(MovedSocket, peer=ADDRESSES, local=ADDRESSES)
CONNECTIONS = st.builds(
    MovedConnection,
    host=ADDRESSES,
    relay=st.builds(
        MovedRelay,
        st.builds(MovedDirection, source=SOCKETS),
        st.builds(MovedDirection, source=SOCKETS),
    ),
    age=TIMES,
    connecting_since=TIMES,
    connected_since=TIMES,
    expires_in=st.none() | TIMES,
    left=st.none() | TIMES,
    restored_remote=st.none() | ADDRESSES,
    restored_local=st.none() | ADDRESSES,
)


def example() -> MovedConnection:
    """One in which every field has another value than its default."""
    client = MovedSocket(
        2,
        Address("127.0.0.1", 40000),
        Address("127.0.0.1", 443),
        b"\0a",
        b"\xffb",
        3,
        True,
        True,
        True,
    )
    host = MovedSocket(10, Address("::1", 8080), Address("::1", 50000))
    down = MovedDirection(client, 100, 4, 3, True)
    return MovedConnection(
        listener="front",
        filter_chain="tls",
        cluster="db",
        asked_cluster="all",
        host=Address("::1", 8080),
        relay=MovedRelay(down, MovedDirection(host, bytes=7), quiet=5),
        id=12,
        age=60.5,
        connecting_since=60.25,
        connected_since=60.125,
        expires_in=39.5,
        counted=(1, 2, 3, 4),
        server_name="a.test",
        application_protocols=("h2", "http/1.1"),
        transport_protocol="tls",
        ja3="j3",
        ja4="j4",
        restored_remote=Address("10.0.0.1", 5),
        restored_local=Address("/run/x"),
        flags=2,
        left=4711.5,
    )


class FormTests(SynchronousTestCase):
    """Both ways."""

    def wrong(self, **changed: Any) -> str:
        """Why a form with these fields is none; without those that are `...`."""
        found = {**json.loads(encode(example())), **changed}
        found = {name: value for name, value in found.items() if value is not ...}
        return str(self.assertRaises(NoConnection, decode, json.dumps(found).encode()))

    @given(CONNECTIONS)
    def test_round_trip(self, moved: MovedConnection) -> None:
        """What is read is what was written."""
        self.assertEqual(moved, decode(encode(moved)))

    def test_named_numbers(self) -> None:
        """A number that has a name, as the families of addresses, is a number."""
        found = {**vars(example().relay.from_downstream.source), "family": socket.AF_INET6}
        down = MovedDirection(MovedSocket(**found))
        moved = replace(example(), relay=MovedRelay(down, down))
        self.assertIs(int, type(decode(encode(moved)).relay.from_downstream.source.family))
        self.assertEqual(moved, decode(encode(moved)))

    def test_recorded(self) -> None:
        """What the first release wrote is read, whatever fields came since."""
        known = {each.name: getattr(example(), each.name) for each in fields(MovedConnection)}
        recorded = json.loads(RECORDED.read_text())
        expected = MovedConnection(**{name: known[name] for name in recorded})
        self.assertEqual(expected, decode(RECORDED.read_bytes()))

    def test_other_release(self) -> None:
        """A field that nobody knows is left out, and one that is missing has its default."""
        found = json.loads(encode(example()))
        del found["counted"], found["relay"]["quiet"]
        found["new"] = {"a": [1]}
        found["relay"]["new"] = None
        moved = example()
        relay = replace(moved.relay, quiet=0)
        expected = replace(moved, counted=(0, 0, 0, 0), relay=relay)
        self.assertEqual(expected, decode(json.dumps(found).encode()))

    def test_wrong(self) -> None:
        """What is none is an error that names the field."""
        for words, changed in (
            ("listener is missing", {"listener": ...}),
            ("id is no int", {"id": "1"}),
            ("id is no int", {"id": True}),
            ("age is no float", {"age": None}),
            ("listener is no str", {"listener": 1}),
            ("host is no Address", {"host": ["a", "b"]}),
            ("host is no Address", {"host": ["a"]}),
            ("counted has 1 values and not 4", {"counted": [1]}),
            ("counted is no list", {"counted": 1}),
            ("application_protocols is no str", {"application_protocols": [1]}),
            ("relay is no object", {"relay": []}),
            ("relay.from_downstream is missing", {"relay": {}}),
        ):
            self.assertEqual(words, self.wrong(**changed))
        source = {"family": 2, "peer": ["a", 1], "local": ["a", 1], "unsent": "?"}
        self.assertIn("base64", self.wrong(relay={"from_downstream": {"source": source}}))
        source = {**source, "unsent": 1}
        self.assertEqual(
            "relay.from_downstream.source.unsent is no bytes",
            self.wrong(relay={"from_downstream": {"source": source}}),
        )

    @given(st.binary(max_size=50))
    def test_garbage(self, data: bytes) -> None:
        """Other bytes are an error."""
        self.assertRaises(NoConnection, decode, data)

    def test_deep(self) -> None:
        """So is what is nested too deep to be read."""
        self.assertRaises(NoConnection, decode, b"[" * 100_000)
