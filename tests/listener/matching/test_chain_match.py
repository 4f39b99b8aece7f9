"""Which filter chain a client gets, by the matches of all."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch
from google.protobuf.json_format import ParseDict
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.matching.chain_match import ChainFinder, Overlap
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import ClientHello, StreamInfo


class Ends:
    """The addresses of a socket."""

    def __init__(self, here: Address, there: Address) -> None:
        self._here, self._there = here, there

    def getHost(self) -> Address:
        """This side's."""
        return self._here

    def getPeer(self) -> Address:
        """The client's."""
        return self._there


HERE = Address("127.0.0.1", 443)
THERE = Address("10.1.2.3", 5000)


def client(
    here: Address = HERE,
    there: Address = THERE,
    restored: Address | None = None,
    wanted: Address | None = None,
    name: str = "",
    alpn: tuple[str, ...] = (),
    transport: str = "",
) -> StreamInfo:
    """What is known of a client when a chain is chosen for it."""
    info = StreamInfo(1, Ends(here, there))
    info.restored_remote = restored
    if wanted is not None:
        info.restored_local = wanted
    info.hello = ClientHello(name, alpn, transport)
    return info


Find = Callable[[StreamInfo], Any]


def match_of(fields: dict[str, Any]) -> FilterChainMatch:
    """A match of these fields; networks as texts."""
    fields = dict(fields)
    for field, value in fields.items():
        if field.endswith("prefix_ranges"):
            fields[field] = [
                {"address_prefix": prefix, "prefix_len": int(length)}
                for prefix, _, length in (each.partition("/") for each in value)
            ]
    return ParseDict(fields, FilterChainMatch())


def pairs(chains: dict[str, dict[str, Any]]) -> list[tuple[Any, str]]:
    """Chains by name, as their finder takes them."""
    return [(match_of(fields), name) for name, fields in chains.items()]


def matches(**chains: dict[str, Any]) -> Find:
    """Chains by name, each with the fields of its match."""
    return ChainFinder(pairs(chains)).find


class PrecedenceTests(SynchronousTestCase):
    """One criterion after the other."""

    def assert_chosen(self, found: Find, **expected: StreamInfo) -> None:
        """Assert that each chain gets its client."""
        self.assertEqual(list(expected), [found(info) or "none" for info in expected.values()])

    def test_destination_port(self) -> None:
        """The port that the client wanted, as a listener filter has restored it, goes first."""
        found = matches(a={"destination_port": 443}, b={"destination_port": 80}, rest={})
        self.assert_chosen(found, a=client())
        self.assert_chosen(found, b=client(wanted=Address("127.0.0.1", 80)))
        self.assert_chosen(found, rest=client(Address("127.0.0.1", 1)))

    def test_longest_prefix(self) -> None:
        """Of several networks that hold the address the smallest is taken, in any order; bits
        beyond its length do not count.
        """
        wide, narrow = {"prefix_ranges": ["127.1.9.9/16"]}, {"prefix_ranges": ["127.1.2.0/24"]}
        for found in (
            matches(wide=wide, narrow=narrow, rest={}),
            matches(rest={}, narrow=narrow, wide=wide),
        ):
            self.assert_chosen(
                found,
                wide=client(Address("127.1.0.1", 1)),
                narrow=client(Address("127.1.2.255", 1)),
                rest=client(Address("127.2.0.1", 1)),
            )

    def test_families(self) -> None:
        """A network of one family holds no address of the other, be it as long as none at all; a
        scope does not count.
        """
        found = matches(
            six={"source_prefix_ranges": ["fe80::/10"]},
            four={"source_prefix_ranges": ["0.0.0.0/0"]},
            rest={},
        )
        self.assert_chosen(
            found,
            four=client(there=Address("254.128.0.1", 1)),
            six=client(there=Address("fe80::1%lo", 1)),
            rest=client(there=Address("::1", 1)),
        )

    def test_all_addresses(self) -> None:
        """The network of all addresses goes before no network."""
        zero = {"prefix_ranges": ["0.0.0.0/0"]}
        self.assert_chosen(matches(zero=zero, rest={}), zero=client())
        self.assert_chosen(matches(rest={}, zero=zero), zero=client())

    def test_server_names(self) -> None:
        """An exact name goes before the longest wildcard, whatever the case, and a wildcard stands
        for at least one label.
        """
        found = matches(
            exact={"server_names": ["WWW.example.com"]},
            long={"server_names": ["*.example.com"]},
            short={"server_names": ["*.com"]},
            rest={},
        )
        self.assert_chosen(
            found,
            exact=client(name="www.EXAMPLE.com"),
            long=client(name="a.b.example.com"),
            short=client(name="example.com"),
            rest=client(name="com"),
        )
        self.assert_chosen(found, rest=client())
        self.assert_chosen(found, rest=client(name="www.example.com."))
        self.assert_chosen(found, long=client(name=".example.com"))

    def test_last_dot(self) -> None:
        """A dot at the end of a name belongs to its last label, as in Envoy."""
        found = matches(dot={"server_names": ["*."]}, b={"server_names": ["*.b."]}, rest={})
        self.assert_chosen(found, rest=client(name="a."))
        self.assert_chosen(found, b=client(name="a.b."))

    def test_transport_protocol(self) -> None:
        """Where no listener filter has found out what is spoken it is raw_buffer."""
        found = matches(
            tls={"transport_protocol": "tls"}, plain={"transport_protocol": "raw_buffer"}, rest={}
        )
        self.assert_chosen(
            found,
            tls=client(transport="tls"),
            plain=client(),
            rest=client(transport="quic"),
        )

    def test_application_protocols(self) -> None:
        """The first protocol counts that the client names and a chain has."""
        found = matches(
            two={"application_protocols": ["h2"]}, one={"application_protocols": ["h1"]}, rest={}
        )
        self.assert_chosen(
            found,
            one=client(alpn=("x", "h1", "h2")),
            two=client(alpn=("h2", "h1")),
            rest=client(alpn=("x",)),
        )

    def test_direct_source(self) -> None:
        """The other end of the socket is not the client that a PROXY header names."""
        found = matches(
            direct={"direct_source_prefix_ranges": ["10.0.0.0/8"]},
            named={"source_prefix_ranges": ["10.0.0.0/8"]},
            rest={},
        )
        far = Address("192.0.2.1", 1)
        self.assert_chosen(
            found,
            direct=client(restored=far),
            named=client(there=far, restored=THERE),
            rest=client(there=far),
        )

    def test_source_type(self) -> None:
        """Local is who comes from the address it wants, or from the first address of the loopback
        interface, or by a unix socket.
        """
        found = matches(
            local={"source_type": "SAME_IP_OR_LOOPBACK"}, external={"source_type": "EXTERNAL"}
        )
        two, six = Address("127.0.0.2", 9), Address("::1", 9)
        for info in (
            client(there=HERE),
            client(two, Address("127.0.0.1", 1)),
            client(two, two),
            client(six, six),
            client(Address("/x"), Address("@")),
        ):
            self.assert_chosen(found, local=info)
        self.assert_chosen(found, external=client(HERE, two))
        self.assertIsNone(matches(local={"source_type": 1})(client()))

    def test_source_ports(self) -> None:
        """A port goes before none."""
        found = matches(a={"source_ports": [1, 5000]}, rest={})
        self.assert_chosen(found, a=client(), rest=client(there=Address("10.1.2.3", 5001)))

    def test_no_way_back(self) -> None:
        """Who is led into a criterion's best value is not led out again, where the rest fails."""
        found = matches(
            a={"server_names": ["a.b"], "source_ports": [1]}, b={"server_names": ["*.b"]}, rest={}
        )
        self.assertIsNone(found(client(name="a.b")))
        self.assert_chosen(found, b=client(name="c.b"), rest=client(name="c"))

    def test_unix_sockets(self) -> None:
        """A unix socket is in no network but that of all addresses, and has no port."""
        here = client(Address("/run/x"), Address("@"))
        found = matches(
            port={"destination_port": 1},
            ip={"source_prefix_ranges": ["127.0.0.0/8"]},
            rest={"prefix_ranges": ["0.0.0.0/0"]},
        )
        self.assert_chosen(found, rest=here)
        self.assertIsNone(matches(ip={"source_prefix_ranges": ["127.0.0.0/8"]})(here))

    def test_none(self) -> None:
        """Where there are no chains nobody gets one."""
        self.assertIsNone(matches()(client()))


class OverlapTests(SynchronousTestCase):
    """Two chains for the same clients."""

    def test_refused(self) -> None:
        """They are refused, also where one chain says the same twice, or says with an empty name
        that any will do.
        """
        refused: list[list[dict[str, Any]]] = [
            [{}, {}],
            [{"server_names": ["a", "b"]}, {"server_names": ["c", "B"]}],
            [{"source_ports": [1, 2]}, {"source_ports": [2, 3]}],
            [{"prefix_ranges": ["10.0.0.0/8"]}, {"prefix_ranges": ["10.9.9.9/8"]}],
            [{"server_names": ["a", "a"]}],
            [{"server_names": [""]}, {}],
            [{"application_protocols": [""]}, {}],
        ]
        for chains in refused:
            made = [(match_of(chain), number) for number, chain in enumerate(chains)]
            self.assertRaises(Overlap, ChainFinder, made)

    def test_not_an_address(self) -> None:
        """A network without an IP address is refused by its name."""
        match = FilterChainMatch()
        match.prefix_ranges.add(address_prefix="a.b")
        failure = self.assertRaises(ValueError, ChainFinder, [(match, "a")])
        self.assertEqual("malformed IP address: 'a.b'", str(failure))


# The rule as Envoy's documentation has it, in the plainest words.

ORDER = (
    "destination_port",
    "prefix_ranges",
    "server_names",
    "transport_protocol",
    "application_protocols",
    "direct_source_prefix_ranges",
    "source_type",
    "source_prefix_ranges",
    "source_ports",
)


def rank(field: str, value: Any, info: StreamInfo) -> int | None:
    """How well a client fits a value of a criterion: the greater the better, `None` for not."""
    if field == "destination_port":
        return 0 if info.local_address.port == value else None
    if field == "source_ports":
        return 0 if info.remote_address.port == value else None
    if field.endswith("prefix_ranges"):
        address = {
            "prefix_ranges": info.local_address,
            "source_prefix_ranges": info.remote_address,
            "direct_source_prefix_ranges": info.direct_remote_address,
        }[field]
        network = ipaddress.ip_network(value, strict=False)
        return network.prefixlen if ipaddress.ip_address(address.host) in network else None
    if field == "server_names":
        name = info.hello.server_name
        if value.startswith("*."):
            return len(value) if name.endswith(value[1:]) and name != value[1:] else None
        return 1000 if name == value else None
    if field == "transport_protocol":
        return 0 if (info.hello.transport_protocol or "raw_buffer") == value else None
    if field == "application_protocols":
        offered = info.hello.application_protocols
        return -offered.index(value) if value in offered else None
    local = info.remote_address.host in (info.local_address.host, "127.0.0.1", "::1")
    return 0 if local == (value == "SAME_IP_OR_LOOPBACK") else None


def naive(chains: dict[str, dict[str, Any]], info: StreamInfo) -> str | None:
    """The chain that is left over once each criterion has kept those of its best value."""
    left = list(chains)
    for field in ORDER:
        fits: dict[str, float] = {}
        for name in left:
            wanted = chains[name].get(field, [])
            values = wanted if isinstance(wanted, list) else [wanted]
            ranks = [rank(field, value, info) for value in values]
            best = max((each for each in ranks if each is not None), default=None)
            if not values:
                fits[name] = -1000.0
            elif best is not None:
                fits[name] = best
        left = [name for name in fits if fits[name] == max(fits.values())]
    return left[0] if left else None


HOSTS = ("127.0.0.1", "127.0.0.2", "10.1.2.3", "10.9.0.1", "::1", "fd00::1")
NETWORKS = ("127.0.0.0/8", "127.0.0.1/32", "10.0.0.0/8", "10.1.0.0/16", "::1/128", "fd00::/8")
NAMES = ("a.b.c", "b.c", "c", "x.b.c", "y")
PORTS = (1, 2)
PROTOCOLS = ("h1", "h2", "x")

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "destination_port": st.sampled_from(PORTS),
    "prefix_ranges": st.lists(st.sampled_from(NETWORKS), min_size=1, unique=True, max_size=2),
    "server_names": st.lists(
        st.sampled_from((*NAMES, "*.b.c", "*.c")), min_size=1, unique=True, max_size=2
    ),
    "transport_protocol": st.sampled_from(("tls", "raw_buffer")),
    "application_protocols": st.lists(
        st.sampled_from(PROTOCOLS), min_size=1, unique=True, max_size=2
    ),
    "direct_source_prefix_ranges": st.lists(
        st.sampled_from(NETWORKS), min_size=1, unique=True, max_size=2
    ),
    "source_type": st.sampled_from(("SAME_IP_OR_LOOPBACK", "EXTERNAL")),
    "source_prefix_ranges": st.lists(
        st.sampled_from(NETWORKS), min_size=1, unique=True, max_size=2
    ),
    "source_ports": st.lists(st.sampled_from(PORTS), min_size=1, unique=True, max_size=2),
}


@st.composite
def chain_matches(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Some chains that all speak of the same few criteria."""
    spoken = draw(st.lists(st.sampled_from(ORDER), unique=True, max_size=4))
    one = st.fixed_dictionaries({}, optional={field: FIELDS[field] for field in spoken})
    return {f"c{i}": each for i, each in enumerate(draw(st.lists(one, max_size=8)))}


CLIENTS = st.builds(
    client,
    here=st.builds(Address, st.sampled_from(HOSTS), st.sampled_from(PORTS)),
    there=st.builds(Address, st.sampled_from(HOSTS), st.sampled_from(PORTS)),
    restored=st.none() | st.builds(Address, st.sampled_from(HOSTS), st.sampled_from(PORTS)),
    name=st.sampled_from(("", *NAMES)),
    alpn=st.lists(st.sampled_from(PROTOCOLS), unique=True).map(tuple),
    transport=st.sampled_from(("", "tls")),
)


class ReferenceTests(SynchronousTestCase):
    """Against the rule in plain words."""

    @settings(max_examples=100)
    @given(chain_matches(), st.lists(CLIENTS, min_size=1, max_size=8))
    @example({"c0": {"prefix_ranges": ["10.0.0.0/8"]}, "c1": {}}, [client(Address("10.1.2.3", 1))])
    def test_agrees(self, chains: dict[str, dict[str, Any]], clients: list[StreamInfo]) -> None:
        """Every client gets the chain that Envoy's documentation would give it."""
        try:
            found = matches(**chains)
        except Overlap:
            assume(False)
        self.assertEqual([naive(chains, each) for each in clients], list(map(found, clients)))


class ChangeTests(SynchronousTestCase):
    """Other chains in the place of some."""

    @settings(max_examples=60)
    @given(chain_matches(), chain_matches(), st.integers(0, 255), st.lists(CLIENTS, max_size=8))
    def test_agrees(
        self,
        before: dict[str, dict[str, Any]],
        others: dict[str, dict[str, Any]],
        mask: int,
        clients: list[StreamInfo],
    ) -> None:
        """Whatever chains go and come, all clients get the chain that they get where these are
        there from the start; and what there was finds as before.
        """
        come = {f"new {name}": fields for name, fields in others.items()}
        gone = {name: before[name] for i, name in enumerate(before) if mask >> i & 1}
        after = {name: before[name] for name in before if name not in gone} | come
        first = self.made(before)
        if first is None:
            assume(False)
        expected, was = self.made(after), list(map(first.find, clients))
        try:
            changed = first.changed(*map(pairs, (gone, come)))
        except Overlap:
            self.assertIsNone(expected)
        else:
            self.assertEqual(list(map(expected.find, clients)), list(map(changed.find, clients)))
        self.assertEqual(was, list(map(first.find, clients)))

    def made(self, chains: dict[str, dict[str, Any]]) -> Any:
        """What finds these chains, or `None` where two of them overlap."""
        try:
            return ChainFinder(pairs(chains))
        except Overlap:
            return None

    def test_one_of_many(self) -> None:
        """Where one of 10,000 chains changes, as many steps are taken as where one of ten does."""
        calls = []
        for size in (10, 10, 10_000):  # the first one also fills caches
            chains = {f"{i}": {"server_names": [f"h{i}.example.com"]} for i in range(size)}
            finder = ChainFinder(pairs(chains))
            gone, come = pairs({"7": chains["7"]}), pairs({"new": chains["7"]})
            calls.append(_calls(lambda _, f=finder, g=gone, c=come: f.changed(g, c), client()))  # type: ignore[misc]
            info = client(name="h7.example.com")
            self.assertEqual("new", finder.changed(gone, come).find(info))
        self.assertEqual(calls[1], calls[2])


class SizeTests(SynchronousTestCase):
    """Many chains."""

    def test_a_table_for_each_criterion(self) -> None:
        """With 10,000 chains as many steps lead to one as with 10."""
        info = client(name="h7.example.com")
        steps = []
        for size in (10, 10_000):
            found = ChainFinder(
                (match_of({"server_names": [f"h{number}.example.com"]}), number)
                for number in range(size)
            ).find
            steps.append(_calls(found, info))
            self.assertEqual(7, found(info))
        self.assertEqual(steps[0], steps[1])


def _calls(found: Find, info: StreamInfo) -> int:
    """How many functions a look-up calls."""
    calls = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        found(info)
    finally:
        sys.setprofile(None)
    return calls
