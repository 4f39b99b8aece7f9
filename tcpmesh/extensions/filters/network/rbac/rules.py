"""What permissions and principals of rbac test of a connection.

A message becomes a function of a connection's `StreamInfo`, once.  Where one of several is enough,
those of one kind that go by an address, a port or an exact server name are looked up together: ten
thousand networks cost what the different lengths of their prefixes do (see `Networks`).

What only HTTP has is never there: a path, a template of one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar

from tcpmesh.config.fields.strings import string_matcher
from tcpmesh.config.fields.value_matcher import metadata_matcher
from tcpmesh.connection.state_objects import Ip
from tcpmesh.interfaces import IPrincipal
from tcpmesh.listener.matching.networks import Network, Networks, network_of
from tcpmesh.net.tls.subject_names import NameKind, names_of, subject_of
from tcpmesh.registry import Context, build_checked, check_provides
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.tls_facts import NO_TLS

Value = TypeVar("Value")

Test: TypeAlias = Callable[[StreamInfo], bool]
AddressOf: TypeAlias = Callable[[StreamInfo], Address]

ADDRESSES: dict[str, AddressOf] = {
    "destination_ip": attrgetter("local_address"),
    "source_ip": attrgetter("remote_address"),
    "remote_ip": attrgetter("remote_address"),
    "direct_remote_ip": attrgetter("direct_remote_address"),
}
"""Whose address a `CidrRange` is for, by the name of its field."""

DYNAMIC = 0
"""The only `MetadataSource` there is without HTTP."""


def find_host(networks: Networks[Value], address: Address) -> Value | None:
    """The value of the smallest network that an address is in, or `None`."""
    return networks.find(address.host) if address.is_ip else None


def find_hosts(networks: Networks[Value], address: Address) -> Sequence[Value]:
    """The values of all networks that it is in."""
    return networks.find_all(address.host) if address.is_ip else ()


def kind_of(message: Any) -> str:
    """Which of its fields a `Permission` or `Principal` has."""
    oneof = "rule" if "rule" in message.DESCRIPTOR.oneofs_by_name else "identifier"
    kind: str = message.WhichOneof(oneof)
    return kind


def alternatives(messages: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """What they are made of, each with its kind, of which one has to hold: what is joined by "or"
    inside counts as if it stood outside.
    """
    waiting = list(reversed(list(messages)))
    while waiting:
        message = waiting.pop()
        kind = kind_of(message)
        value = getattr(message, kind)
        if kind in ("or_rules", "or_ids"):
            waiting += reversed(_parts(value))
        else:
            yield kind, value


def _parts(joined: Any) -> list[Any]:
    """Of a `Permission.Set` or `Principal.Set`."""
    return list(joined.rules if hasattr(joined, "rules") else joined.ids)


def any_of(messages: Iterable[Any], context: Context) -> Test:
    """Whether one of these permissions, or one of these principals, holds."""
    networks: dict[str, list[Network]] = {}
    ports: set[int] = set()
    names: set[str] = set()
    tests: list[Test] = []
    for kind, value in alternatives(messages):
        if kind in ADDRESSES:
            networks.setdefault(kind, []).append(network_of(value))
        elif kind == "destination_port":
            ports.add(value)
        elif kind == "requested_server_name" and _is_exact(value):
            names.add(value.exact)
        else:
            tests.append(_SINGLE[kind](value, context))
    found = [_in_networks(ADDRESSES[kind], each) for kind, each in networks.items()]
    if ports:
        found.append(_has_port(ports))
    if names:
        found.append(lambda info: info.hello.server_name.lower() in names)
    found += tests
    return found[0] if len(found) == 1 else lambda info: any(test(info) for test in found)


def _is_exact(matcher: Any) -> bool:
    return matcher.WhichOneof("match_pattern") == "exact" and not matcher.ignore_case


def _in_networks(address_of: AddressOf, networks: Collection[Network]) -> Test:
    table = Networks((each, True) for each in networks)
    return lambda info: find_host(table, address_of(info)) is not None


def _has_port(ports: Collection[int]) -> Test:
    def test(info: StreamInfo) -> bool:
        address = info.local_address
        return address.is_ip and address.port in ports

    return test


def _all(joined: Any, context: Context) -> Test:
    tests = [any_of((each,), context) for each in _parts(joined)]
    return lambda info: all(test(info) for test in tests)


def _not(message: Any, context: Context) -> Test:
    test = any_of((message,), context)
    return lambda info: not test(info)


def _never(message: Any, context: Context) -> Test:
    return lambda info: False


def _port_range(message: Any, context: Context) -> Test:
    return _has_port(range(message.start, message.end))


def _server_name(message: Any, context: Context) -> Test:
    test = string_matcher(message)
    return lambda info: test(info.hello.server_name.lower())


def _metadata(message: Any, context: Context) -> Test:
    test = metadata_matcher(message)
    return lambda info: test(info.metadata)


def _sourced_metadata(message: Any, context: Context) -> Test:
    is_there = message.metadata_source == DYNAMIC
    return (_metadata if is_there else _never)(message.metadata_matcher, context)


def _filter_state(message: Any, context: Context) -> Test:
    """An object of filter state by its text, or as an address."""
    key = message.key
    if message.WhichOneof("matcher") == "string_match":
        test = string_matcher(message.string_match)

        def has_text(info: StreamInfo) -> bool:
            found = info.filter_state.get(key)
            text = None if found is None else found.text
            return text is not None and test(text)

        return has_text
    table = Networks((network_of(each), True) for each in message.address_match.ranges)

    def has_address(info: StreamInfo) -> bool:
        found = info.filter_state.get(key)
        return isinstance(found, Ip) and find_host(table, found.value) is not None

    return has_address


def _authenticated(message: Any, context: Context) -> Test:
    """A client of TLS; with a `principal_name` one whose certificate has such a name: one of its
    URIs or one of its DNS names, or the subject.
    """
    if not message.HasField("principal_name"):
        return lambda info: info.tls is not NO_TLS
    test = string_matcher(message.principal_name)

    def matches(info: StreamInfo) -> bool:
        if info.tls is NO_TLS:
            return False
        der = info.tls.peer_chain[0] if info.tls.peer_chain else b""
        names = [*names_of(der, NameKind.URI), *names_of(der, NameKind.DNS), subject_of(der)]
        return any(map(test, names))

    return matches


def _custom(message: Any, context: Context) -> Test:
    config = message.typed_config
    made = build_checked(config, context, lambda each: check_provides(each, IPrincipal, config))
    test: Test = made.matches
    return test


_SINGLE: dict[str, Callable[[Any, Context], Test]] = {
    "and_rules": _all,
    "and_ids": _all,
    "not_rule": _not,
    "not_id": _not,
    "any": lambda value, context: lambda info: True,
    "destination_port_range": _port_range,
    "requested_server_name": _server_name,
    "metadata": _metadata,
    "sourced_metadata": _sourced_metadata,
    "filter_state": _filter_state,
    "authenticated": _authenticated,
    "custom": _custom,
    "header": _never,
    "url_path": _never,
    "uri_template": _never,
    "matcher": _never,
}
"""By the names of the fields.  A `matcher` tests the address of an upstream host, which no
connection has before HTTP has chosen one.
"""
