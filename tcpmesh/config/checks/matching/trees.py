"""Matching trees, as a listener chooses its filter chains by (`filter_chain_matcher`), and rbac its
actions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, is_foreign, unpack
from tcpmesh.config.text.problems import FieldPath

_INPUTS = "envoy.extensions.matching.common_inputs."
_NETWORK_INPUTS = f"{_INPUTS}network.v3."
_MATCHERS = "envoy.extensions.matching.input_matchers."
_XDS = "xds.type.matcher.v3."

NOT_OF_CONNECTIONS = (
    f"{_INPUTS}transport_socket.",
    f"{_NETWORK_INPUTS}DynamicMetadataInput",
)
"""Inputs that Envoy 1.40 has not registered for filter chains."""

ACTION = f"{_XDS}Matcher.OnMatch.action"

CHAIN_NAME = "google.protobuf.StringValue"
"""The type of the actions of a listener."""

PLACES: dict[str, tuple[str, ...]] = {
    f"{_XDS}Matcher.MatcherTree.input": (_INPUTS,),
    f"{_XDS}Matcher.MatcherTree.custom_match": (
        f"{_XDS}IPMatcher",
        f"{_XDS}ServerNameMatcher",
    ),
    f"{_XDS}Matcher.MatcherList.Predicate.SinglePredicate.input": (_INPUTS,),
    f"{_XDS}Matcher.MatcherList.Predicate.SinglePredicate.custom_match": (_MATCHERS,),
    ACTION: (),
}
"""How the types of the extensions at a place in a tree begin."""


def _check_listener(listener: Any, field_path: FieldPath, report: Report) -> None:
    if not listener.HasField("filter_chain_matcher"):
        if listener.HasField("fcds_config"):
            report.error((field_path, "fcds_config"), "FCDS requires a filter chain matcher")
        return
    names = {chain.name for chain in listener.filter_chains}
    here: FieldPath = (field_path, "filter_chain_matcher")
    for place, config in check_tree(listener.filter_chain_matcher, here, CHAIN_NAME, report):
        _check_name(config, names, place, report)


def check_tree(
    tree: Message, field_path: FieldPath, action: str, report: Report
) -> Iterator[tuple[FieldPath, Any]]:
    """Report the extensions that a tree names and Envoy does not have.

    :param action: the type of its actions.
    :return: these, with the places of their `typed_config`.
    """
    for place, full_name, config in _extensions(tree, field_path):
        type_name = extension_type(config.typed_config)
        known = (
            type_name == action
            if full_name == ACTION
            else type_name.startswith(PLACES[full_name])
            and not type_name.startswith(NOT_OF_CONNECTIONS)
        )
        if not (known or is_foreign(type_name)):
            text = f"Didn't find a registered implementation for {config.name!r} with type URL"
            report.error(((place, "typed_config"), "@type"), f"{text}: {type_name!r}")
        elif full_name == ACTION:
            yield (place, "typed_config"), config


def _check_name(action: Any, names: Container[str], field_path: FieldPath, report: Report) -> None:
    name = StringValue()
    if action.typed_config.Unpack(name) and name.value not in names:
        text = f"no filter chain of this listener is named {name.value!r}"
        report.warning((field_path, "value"), f"{text}: whoever is sent there will be closed")


def _extensions(message: Message, field_path: FieldPath) -> Iterator[tuple[FieldPath, str, Any]]:
    """All extensions that a tree names: where, in which field, and what is written there."""
    waiting: list[tuple[Message, FieldPath]] = [(message, field_path)]
    while waiting:
        message, field_path = waiting.pop()
        for field, value in message.ListFields():
            here = (field_path, field.name)
            if field.full_name in PLACES:
                yield here, field.full_name, value
                inner = unpack(value.typed_config)
                if inner is not None:
                    waiting.append((inner, (here, "typed_config")))
            elif field.message_type is None:
                continue
            elif field.message_type.GetOptions().map_entry:
                waiting += [(each, (here, key)) for key, each in value.items()]
            elif field.is_repeated:
                waiting += [(each, (here, index)) for index, each in enumerate(value)]
            else:
                waiting.append((value, here))


def _check_ip(matcher: Any, field_path: FieldPath, report: Report) -> None:
    for index, each in enumerate(matcher.range_matchers):
        ranges = (((field_path, "range_matchers"), index), "ranges")
        check_ranges(each.ranges, ranges, report)


def _check_ip_input(matcher: Any, field_path: FieldPath, report: Report) -> None:
    check_ranges(matcher.cidr_ranges, (field_path, "cidr_ranges"), report)


def check_ranges(ranges: Any, field_path: FieldPath, report: Report) -> None:
    """Report each network of a list that has no IP address."""
    for index, each in enumerate(ranges):
        check_network(each, (field_path, index), report)


def check_network(message: Any, field_path: FieldPath, report: Report) -> None:
    """Report a network that has no IP address."""
    try:
        ipaddress.ip_address(message.address_prefix)
    except ValueError:
        text = f"malformed IP address: {message.address_prefix}"
        report.error((field_path, "address_prefix"), text)


def _check_server_names(matcher: Any, field_path: FieldPath, report: Report) -> None:
    seen: set[str] = set()
    for number, each in enumerate(matcher.domain_matchers):
        for index, domain in enumerate(each.domains):
            wrong = _wrong_domain(domain, seen)
            seen.add(domain)
            if wrong:
                place = ((((field_path, "domain_matchers"), number), "domains"), index)
                report.error(place, wrong)


def _wrong_domain(domain: str, seen: set[str]) -> str:
    if domain in seen:
        return f"Duplicate domain in ServerNameMatcher: {domain}"
    if not domain:
        return "Empty domain in ServerNameMatcher"
    if domain == "*" or "*" not in domain:
        return ""
    wrong = f"Invalid wildcard domain format: {domain}"
    if not domain.startswith("*.") or domain == "*.":
        return f"{wrong}. Only '*' and '*.domain' patterns are supported"
    return f"{wrong}. Multiple wildcards are not supported" if "*" in domain[1:] else ""


CHECKS = {
    "envoy.config.listener.v3.Listener": _check_listener,
    "envoy.extensions.matching.input_matchers.ip.v3.Ip": _check_ip_input,
    "xds.type.matcher.v3.IPMatcher": _check_ip,
    "xds.type.matcher.v3.ServerNameMatcher": _check_server_names,
}
