"""The logger that makes statistics of connections."""

from __future__ import annotations

from typing import Any

from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType

from tcpmesh.config.fields.formats import check_text
from tcpmesh.config.fields.operators import parse
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath


def _check_stats(config: Any, field_path: FieldPath, report: Report) -> None:
    if bool(config.stat_prefix) is config.HasField("stats_scope"):
        text = "either stat_prefix or stats_scope is needed"
        report.absent(field_path, ["stat_prefix", "stats_scope"], text)
    for kind in ("counters", "gauges", "histograms"):
        for index, each in enumerate(getattr(config, kind)):
            here = ((field_path, kind), index)
            _check_stat(each, here, report)
            if kind == "gauges":
                _check_operations(each, here, report)


def _check_stat(stat: Any, field_path: FieldPath, report: Report) -> None:
    has_fixed = "value_fixed" in stat.DESCRIPTOR.fields_by_name and stat.HasField("value_fixed")
    if stat.value_format and has_fixed:
        text = "value_format and value_fixed exclude each other"
        report.error((field_path, "value_fixed"), text)
    elif not stat.value_format and not has_fixed:
        report.absent(field_path, ["value_format", "value_fixed"], "there is no value")
    elif stat.value_format:
        here = (field_path, "value_format")
        if check_text(stat.value_format, here, report) and len(parse(stat.value_format)) != 1:
            report.error(here, "a value is one operator and nothing else")
    for index, tag in enumerate(stat.stat.tags):
        place = (((field_path, "stat"), "tags"), index)
        check_text(tag.value_format, (place, "value_format"), report)


def _check_operations(gauge: Any, field_path: FieldPath, report: Report) -> None:
    pair, has_set = gauge.add_subtract, gauge.HasField("set")
    if gauge.HasField("add_subtract"):
        if has_set:
            text = "set and add_subtract exclude each other"
            report.error((field_path, "set"), text)
        here: FieldPath = (field_path, "add_subtract")
        if AccessLogType.NotSet in (pair.add_log_type, pair.sub_log_type):
            report.error(here, "add_log_type and sub_log_type are both needed")
        elif pair.add_log_type == pair.sub_log_type:
            report.error((here, "sub_log_type"), "the same type as add_log_type")
    elif not has_set:
        names = ["set", "add_subtract"]
        report.absent(field_path, names, "nothing says what becomes of the gauge")
    elif gauge.set.log_type == AccessLogType.NotSet:
        report.error((field_path, "set"), "log_type is needed")


CHECKS = {"envoy.extensions.access_loggers.stats.v3.Config": _check_stats}
