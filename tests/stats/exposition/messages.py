"""The messages of Prometheus' protobuf format, for whoever reads a page in a test."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    "double": 1,
    "int64": 3,
    "uint64": 4,
    "string": 9,
    "uint32": 13,
    "enum": 5,
    "sint32": 17,
    "sint64": 18,
}
_PACKAGE = "io.prometheus.client"

#: io/prometheus/client/metrics.proto, as far as a page may have it: number, name, type, repeated.
_MESSAGES = {
    "LabelPair": "1 name string, 2 value string",
    "Gauge": "1 value double",
    "Counter": "1 value double",
    "Quantile": "1 quantile double, 2 value double",
    "Summary": "1 sample_count uint64, 2 sample_sum double, 3 quantile Quantile *",
    "Bucket": "1 cumulative_count uint64, 2 upper_bound double",
    "BucketSpan": "1 offset sint32, 2 length uint32",
    "Histogram": "1 sample_count uint64, 2 sample_sum double, 3 bucket Bucket *, 5 schema sint32, "
    "6 zero_threshold double, 7 zero_count uint64, 12 positive_span BucketSpan *, "
    "13 positive_delta sint64 *",
    "Metric": "1 label LabelPair *, 2 gauge Gauge, 3 counter Counter, 4 summary Summary, "
    "7 histogram Histogram",
    "MetricFamily": "1 name string, 2 help string, 3 type enum, 4 metric Metric *",
}


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            number, called, kind, *repeated = text.split()
            field = message.field.add(name=called, number=int(number))
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = _SCALARS[kind]  # type: ignore[assignment]
            else:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


_FAMILY = _family_class()


def families(page: bytes) -> list[Any]:
    """The `MetricFamily` messages of a page; an AssertionError where something is left."""
    found, at = [], 0
    while at < len(page):
        size = shift = 0
        while True:
            byte = page[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        block = page[at : at + size]
        assert len(block) == size, "a family is cut short"
        family = _FAMILY.FromString(block)
        assert not family.ByteSize() - size, "a family has what nobody knows"
        found.append(family)
        at += size
    return found
