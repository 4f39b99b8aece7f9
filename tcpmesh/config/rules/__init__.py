"""Enforces what Envoy's schema itself demands: the `validate.rules` options of its fields, read
from the descriptors.

This is the one walk through a finished message, so the checks that Envoy makes in code (`checks`)
are called on it, too.

Each message type is compiled once into a `Plan`: what to check always (fields that have no
presence, required fields and oneofs) and what to check of a field that is set.  Checking a message
then costs a call for each rule, and nothing where there is none. The rules are those of
protoc-gen-validate; they hold inside of every `Any`, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message
from validate import validate_pb2

from tcpmesh.config.checks import CHECKS
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import full_name_of, unpack
from tcpmesh.config.rules.deprecated import DEPRECATED, INSTEAD
from tcpmesh.config.rules.kinds import Test, duration_problem, tests_of
from tcpmesh.config.text.problems import FieldPath

_Always = Callable[[Any, FieldPath, Report], None]
_WhenSet = Callable[[Any, FieldPath, Report], None]

RELAXED = frozenset(
    {
        "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig.common_config",
        "envoy.extensions.access_loggers.stats.v3.Config.stat_prefix",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig.max_heap_size_bytes",
        "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.trust_domains",
        "envoy.type.v3.TokenBucket.max_tokens",
    }
)
"""Fields of which `xds-protos` still has rules that Envoy 1.40 does not have any more."""


def check(message: Message, report: Report, field_path: FieldPath = None) -> None:
    """Report every rule of the schema that a message breaks, in it and in all that it holds."""
    plan = plan_of(message.DESCRIPTOR)
    for always in plan.always:
        always(message, field_path, report)
    when_set = plan.when_set
    if when_set:
        for field, value in message.ListFields():
            checks = when_set.get(field.number)
            if checks is not None:
                checks(value, (field_path, field.name), report)


class Plan:
    """What to check of a message type."""

    __slots__ = ("always", "when_set")

    def __init__(self) -> None:
        self.always: list[_Always] = []
        self.when_set: dict[int, _WhenSet] = {}


@cache
def plan_of(descriptor: Descriptor) -> Plan:
    """The plan of a message type, made once."""
    plan = Plan()
    plan.always.extend(CHECKS.get(descriptor.full_name, ()))
    if descriptor.GetOptions().Extensions[validate_pb2.disabled]:
        return plan
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.required]:
            plan.always.append(
                _required_oneof(
                    oneof.name, [field.name for field in oneof.fields], envoy_name(oneof)
                )
            )
    for field in descriptor.fields:
        _add_field(plan, field, field.GetOptions().Extensions[validate_pb2.rules])
        if field.GetOptions().deprecated:
            hint = INSTEAD.get(field.full_name, "")
            plan.when_set[field.number] = _deprecated(plan.when_set.get(field.number), hint)
    return plan


def _deprecated(checks: _WhenSet | None, hint: str) -> _WhenSet:
    def warn(value: Any, field_path: FieldPath, report: Report) -> None:
        report.warning(field_path, DEPRECATED, hint)
        if checks is not None:
            checks(value, field_path, report)

    return warn


def envoy_name(part: FieldDescriptor | OneofDescriptor) -> str:
    """What Envoy calls a broken rule of a field or oneof, for those who search for it:
    TcpProxyValidationError.StatPrefix.
    """
    owner = part.containing_type
    nested = []
    while owner is not None:
        nested.append(owner.name)
        owner = owner.containing_type
    words = "".join(word[:1].upper() + word[1:] for word in part.name.split("_"))
    return f"{'_'.join(reversed(nested))}ValidationError.{words} in Envoy"


def _required_oneof(name: str, members: list[str], known_as: str) -> _Always:
    text = f"one of {', '.join(members)} is required (oneof {name})"

    def always(message: Any, field_path: FieldPath, report: Report) -> None:
        if message.WhichOneof(name) is None:
            report.absent(field_path, members, text, known_as)

    return always


def _add_field(plan: Plan, field: FieldDescriptor, rules: Any) -> None:
    if field.full_name in RELAXED:
        rules = validate_pb2.FieldRules()
    kind = rules.WhichOneof("type")
    own: Any = getattr(rules, kind) if kind else None
    if not _is_of_a_oneof(field) and (
        rules.message.required or (kind in ("any", "duration", "timestamp") and own.required)
    ):
        plan.always.append(_required(field.name, envoy_name(field)))
    if field.is_repeated:
        _add_repeated(plan, field, own)
        return
    tests = tests_of(kind, own, field) if kind else []
    if field.has_presence:
        checks = _value_checks(field, tests, skip=rules.message.skip)
        if checks is not None:
            plan.when_set[field.number] = checks
    elif tests:
        plan.always.append(_plain(field, tests))


def _is_of_a_oneof(field: FieldDescriptor) -> bool:
    """Whether a field is one of a oneof, be it the only one: what such a field requires Envoy
    checks only where it is set.  (For an `optional` field the compiler makes a oneof of its own.)
    """
    oneof = field.containing_oneof
    return oneof is not None and oneof.name != f"_{field.name}"


def _required(name: str, known_as: str) -> _Always:
    def always(message: Any, field_path: FieldPath, report: Report) -> None:
        if not message.HasField(name):
            report.absent(field_path, [name], f"{name} is required", known_as)

    return always


def _plain(field: FieldDescriptor, tests: list[Test]) -> _Always:
    name, default, known_as = field.name, field.default_value, envoy_name(field)

    def always(message: Any, field_path: FieldPath, report: Report) -> None:
        value = getattr(message, name)
        for test in tests:
            wrong = test(value)
            if wrong and value == default:
                report.absent(field_path, [name], wrong, known_as)
            elif wrong:
                report.error((field_path, name), wrong, known_as)

    return always


def _value_checks(field: FieldDescriptor, tests: list[Test], skip: bool) -> _WhenSet | None:
    """What to check of one value that is set: its own rules, then those inside of it."""
    inner = None if field.message_type is None or skip else _inner_checks(field.message_type)
    if not tests:
        return inner
    is_wrapper = full_name_of(field).startswith("google.protobuf.") and full_name_of(
        field
    ).endswith("Value")
    known_as = envoy_name(field)

    def checks(value: Any, field_path: FieldPath, report: Report) -> None:
        plain = value.value if is_wrapper else value
        for test in tests:
            wrong = test(plain)
            if wrong:
                report.error(field_path, wrong, known_as)
                return
        if inner is not None:
            inner(value, field_path, report)

    return checks


def _inner_checks(descriptor: Descriptor) -> _WhenSet | None:
    if descriptor.full_name == "google.protobuf.Any":
        return _check_any
    if descriptor.full_name == "google.protobuf.Duration":
        return _check_duration
    if descriptor.full_name.startswith("google.protobuf."):
        return None
    return lambda value, field_path, report: check(value, report, field_path)


def _check_any(value: Any, field_path: FieldPath, report: Report) -> None:
    content = unpack(value)
    if content is not None:
        check(content, report, field_path)


def _check_duration(value: Any, field_path: FieldPath, report: Report) -> None:
    wrong = duration_problem(value)
    if wrong:
        report.error(field_path, wrong)


def _add_repeated(plan: Plan, field: FieldDescriptor, own: Any) -> None:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if own is not None:
        size = _size_test(field, own, is_map)
        if size is not None:
            plan.always.append(size)
    checks = _map_checks(field, own) if is_map else _list_checks(field, own)
    if checks is not None:
        plan.when_set[field.number] = checks


def _size_test(field: FieldDescriptor, own: Any, is_map: bool) -> _Always | None:
    low, high = ("min_pairs", "max_pairs") if is_map else ("min_items", "max_items")
    least = getattr(own, low) if own.HasField(low) else 0
    most = getattr(own, high) if own.HasField(high) else None
    if not least and most is None:
        return None
    name, known_as = field.name, envoy_name(field)

    def always(message: Any, field_path: FieldPath, report: Report) -> None:
        size = len(getattr(message, name))
        if size < least and not (own.ignore_empty and not size):
            text = f"there must be at least {least} item{'s' * (least != 1)}, there are {size}"
            report.absent(field_path, [name], text, known_as)
        if most is not None and size > most:
            text = f"there must be at most {most} item{'s' * (most != 1)}, there are {size}"
            report.error((field_path, name), text, known_as)

    return always


def _list_checks(field: FieldDescriptor, own: Any) -> _WhenSet | None:
    items = own.items if own is not None and own.HasField("items") else None
    kind = items.WhichOneof("type") if items is not None else None
    tests = tests_of(kind, getattr(items, kind), field) if items is not None and kind else []
    skip = items is not None and items.message.skip
    each = _value_checks(field, tests, skip)
    unique = own is not None and own.unique
    if each is None and not unique:
        return None

    def checks(values: Any, field_path: FieldPath, report: Report) -> None:
        if unique and len(set(map(str, values))) < len(values):
            report.error(field_path, "the items must be unique")
        if each is not None:
            for index, value in enumerate(values):
                each(value, (field_path, index), report)

    return checks


def _map_checks(field: FieldDescriptor, own: Any) -> _WhenSet | None:
    key_tests, value_checks = (_part_checks(field, own, part) for part in ("key", "value"))
    if key_tests is None and value_checks is None:
        return None

    def checks(values: Any, field_path: FieldPath, report: Report) -> None:
        for key in values:
            if key_tests is not None:
                key_tests(key, (field_path, str(key)), report)
            if value_checks is not None:
                value_checks(values[key], (field_path, str(key)), report)

    return checks


def _part_checks(field: FieldDescriptor, own: Any, part: str) -> _WhenSet | None:
    """What to check of the keys or of the values of a map."""
    entry = field.message_type
    assert entry is not None
    part_field = entry.fields_by_name[part]
    rules = getattr(own, f"{part}s") if own is not None and own.HasField(f"{part}s") else None
    kind = rules.WhichOneof("type") if rules is not None else None
    tests = tests_of(kind, getattr(rules, kind), part_field) if rules is not None and kind else []
    return _value_checks(part_field, tests, skip=rules is not None and rules.message.skip)
