"""rbac: what its rules may ask of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.config.checks.matching.trees import check_network, check_ranges, check_tree
from tcpmesh.config.fields.cel import BadExpression, Expression
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, is_foreign
from tcpmesh.config.text.problems import FieldPath

_RBAC = "envoy.config.rbac.v3."
_EXTENSIONS = "envoy.extensions.rbac."

ACTION = f"{_RBAC}Action"
"""The type of the actions of a matching tree."""

_ADDRESSES = ("destination_ip", "source_ip", "direct_remote_ip", "remote_ip")

#: How the types of extensions begin, by the fields of permissions and principals that have one.
_PLACES = {
    "matcher": f"{_EXTENSIONS}matchers.",
    "uri_template": "envoy.extensions.path.match.",
    "custom": f"{_EXTENSIONS}principals.",
}

LAST_PORT = 65536
"""A range ends before it, at most."""


def _check_filter(message: Any, field_path: FieldPath, report: Report) -> None:
    for name in ("matcher", "shadow_matcher"):
        if message.HasField(name):
            for _ in check_tree(getattr(message, name), (field_path, name), ACTION, report):
                pass  # its actions have no more to be checked
    for rules, tree in (("rules", "matcher"), ("shadow_rules", "shadow_matcher")):
        if message.HasField(rules) and message.HasField(tree):
            report.warning((field_path, rules), f"there is a {tree} too, which goes before it")


def _check_rule(oneof: str) -> Callable[[Any, FieldPath, Report], None]:
    def check(message: Any, field_path: FieldPath, report: Report) -> None:
        kind = message.WhichOneof(oneof)
        if kind is None:
            return  # which the schema does not allow
        value, place = getattr(message, kind), (field_path, kind)
        if kind == "header":
            text = f"Found header rule ({value.name!r}), not supported by RBAC network filter"
            report.error(place, text)
        elif kind in _ADDRESSES:
            check_network(value, place, report)
        elif kind == "destination_port_range":
            _check_range(value, place, report)
        elif kind in _PLACES:
            _check_type(value, _PLACES[kind], place, report)

    return check


def _check_range(ports: Any, field_path: FieldPath, report: Report) -> None:
    if not 0 <= ports.start <= LAST_PORT:
        report.error((field_path, "start"), f"range start {ports.start} is out of bounds")
    elif not 0 <= ports.end <= LAST_PORT:
        report.error((field_path, "end"), f"range end {ports.end} is out of bounds")
    elif ports.start >= ports.end:
        text = f"range start {ports.start} cannot be greater or equal than range end {ports.end}"
        report.error(field_path, text)


def _check_type(config: Any, package: str, field_path: FieldPath, report: Report) -> None:
    type_name = extension_type(config.typed_config)
    if not type_name.startswith(package) and not is_foreign(type_name):
        text = f"Didn't find a registered implementation for {config.name!r} with type URL"
        report.error(((field_path, "typed_config"), "@type"), f"{text}: {type_name!r}")


def _check_policy(policy: Any, field_path: FieldPath, report: Report) -> None:
    for name in ("condition", "checked_condition"):
        if policy.HasField(name):
            message = getattr(policy, name)
            expression = message.expr if name == "checked_condition" else message
            try:
                Expression.of_message(expression, policy.cel_config.enable_string_conversion)
            except BadExpression as error:
                text = f"failed to create an expression: {error}"
                report.error((field_path, name), text)
            return


def _check_mtls(message: Any, field_path: FieldPath, report: Report) -> None:
    if not message.HasField("san_matcher") and not message.any_validated_client_certificate:
        text = "mtls_authenticated needs something to go by: any client would do"
        report.absent(field_path, ["san_matcher", "any_validated_client_certificate"], text)


def _check_upstream(message: Any, field_path: FieldPath, report: Report) -> None:
    if not message.HasField("upstream_ip") and not message.HasField("upstream_port_range"):
        text = "an address or ports are needed to go by"
        report.absent(field_path, ["upstream_ip", "upstream_port_range"], text)
    elif message.HasField("upstream_ip"):
        check_network(message.upstream_ip, (field_path, "upstream_ip"), report)


def _check_addresses(matcher: Any, field_path: FieldPath, report: Report) -> None:
    check_ranges(matcher.ranges, (field_path, "ranges"), report)


CHECKS: dict[str, Callable[[Any, FieldPath, Report], None]] = {
    f"{_RBAC}Permission": _check_rule("rule"),
    f"{_RBAC}Policy": _check_policy,
    f"{_RBAC}Principal": _check_rule("identifier"),
    f"{_EXTENSIONS}principals.mtls_authenticated.v3.Config": _check_mtls,
    f"{_EXTENSIONS}matchers.upstream_ip_port.v3.UpstreamIpPortMatcher": _check_upstream,
    "envoy.extensions.filters.network.rbac.v3.RBAC": _check_filter,
    "envoy.type.matcher.v3.AddressMatcher": _check_addresses,
}
