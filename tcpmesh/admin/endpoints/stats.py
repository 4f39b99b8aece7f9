"""Statistics: `/stats` for people and scripts, `/stats/prometheus` for scrapers, and starting to
count anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.endpoint import (
    HTML,
    JSON,
    TEXT,
    Answer,
    Call,
    Endpoint,
    Parameter,
    Refusal,
    waited,
)
from tcpmesh.admin.answers.html_page import page
from tcpmesh.stats.exposition.native import MOST_BUCKETS
from tcpmesh.stats.exposition.prometheus import exposition
from tcpmesh.stats.exposition.protobuf import PrometheusProtobuf
from tcpmesh.stats.exposition.text_format import OpenMetricsText, PrometheusText
from tcpmesh.stats.select import Kind, Query, Selection
from tcpmesh.stats.text import HistogramView, as_json, as_text

_VIEWS = {view.value: view for view in HistogramView}
_KINDS = {"All": frozenset(Kind), **{kind.value: frozenset({kind}) for kind in Kind}}
_HIDDEN = ("include", "only", "exclude")
_NATIVE = "prometheusnative"
_MOST_BUCKETS = "native_histogram_max_buckets"

Piece = TypeVar("Piece", str, bytes)


def _stats(call: Call) -> Answer:
    write = _FORMATS.get(call.parameters.get("format") or "text")
    if write is None:
        raise Refusal("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
    return write(call)


def _text(call: Call) -> Answer:
    return Answer(_flushed(call, "", as_text(_selection(call), _view(call))), content_type=TEXT)


def _json(call: Call) -> Answer:
    return Answer(_flushed(call, "", as_json(_selection(call), _view(call))), content_type=JSON)


def _html(call: Call) -> Answer:
    lines = _flushed(call, "", as_text(_selection(call), _view(call)))
    return Answer(_in_page(lines, refresh=None), content_type=HTML)


def _active_html(call: Call) -> Answer:
    lines = _flushed(call, "", as_text(_selection(call), _view(call)))
    return Answer(_in_page(lines, refresh=5), content_type=HTML)


def _in_page(
    lines: Iterator[str | Deferred[Any]], refresh: int | None
) -> Iterator[str | Deferred[Any]]:
    before, after = page("Statistics", refresh)
    yield before + "<h1>Statistics</h1>\n<pre>"
    for line in lines:
        yield escape(line) if isinstance(line, str) else line
    yield "</pre>\n" + after


def _flushed(
    call: Call, nothing: Piece, pieces: Iterator[Piece]
) -> Iterator[Piece | Deferred[Any]]:
    """A page, after what workers have to tell, and the flush that the configuration may want."""
    yield from waited(call.server.numbers())
    for waiting in call.server.flushing_for_admin():
        yield nothing if waiting is None else waiting
    yield from pieces


def _prometheus(call: Call) -> Answer:
    selection, name = _selection(call, every_kind=True), _view_name(call, "cumulative")
    if name in ("disjoint", "detailed"):
        raise Refusal("unsupported prometheus histogram bucket mode")
    is_native, most = name == _NATIVE, _most_buckets(call)
    tagger = call.server.store.tagger
    options = {"summaries": name == "summary", "text_readouts": "text_readouts" in call.parameters}
    text_format = _text_format(call)
    if text_format is None:
        form = PrometheusProtobuf(is_native, most)
        blocks = exposition(selection, tagger, form, **options)
        pieces: Iterator[bytes | Deferred[Any]] = _flushed(call, b"", blocks)
        return Answer(pieces, content_type=form.content_type, is_held=True)
    if is_native:
        text = "unsupported prometheusnative histogram type when not using protobuf exposition"
        raise Refusal(f"{text} format")
    lines = exposition(selection, tagger, text_format, **options)
    texts: Iterator[str | Deferred[Any]] = _flushed(call, "", lines)
    return Answer(texts, content_type=text_format.content_type, is_held=True)


def _text_format(call: Call) -> PrometheusText | None:
    """The format of a page for scrapers; `None` for protobuf.  As in Envoy the first of the two
    that it knows counts, whatever its weight.

    OpenMetrics, which Envoy does not know, is for those who name neither: it has other names for
    many counters, and Prometheus itself names all three.
    """
    if "prom_protobuf" in call.parameters:
        return None
    accepted = [part.partition(";")[0].strip() for part in call.accept.split(",")]
    for each in accepted:
        if each == "application/vnd.google.protobuf":
            return None
        if each == "text/plain":
            return PrometheusText()
    return OpenMetricsText() if "application/openmetrics-text" in accepted else PrometheusText()


def _most_buckets(call: Call) -> int:
    text = call.parameters.get(_MOST_BUCKETS, "").strip()
    if not text:
        return MOST_BUCKETS
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 32):
        raise Refusal(f"invalid {_MOST_BUCKETS} value: must be a positive integer")
    return int(text)


_FORMATS: dict[str, Callable[[Call], Answer]] = {
    "text": _text,
    "json": _json,
    "prometheus": _prometheus,
    "html": _html,
    "active-html": _active_html,
}


def _selection(call: Call, every_kind: bool = False) -> Selection:
    """What is asked for; a page for scrapers has all kinds, whatever `type` says."""
    kinds = _KINDS.get(call.parameters.get("type") or "All")
    if kinds is None:
        raise Refusal("invalid &type= param")
    hidden = call.parameters.get("hidden") or "exclude"
    if hidden not in _HIDDEN:
        raise Refusal("usage: /stats?hidden=(include|only|exclude)\n\n")
    query = Query(
        used_only="usedonly" in call.parameters,
        pattern=call.regex("filter"),
        invert="invert_filter" in call.parameters,
        kinds=frozenset(Kind) if every_kind else kinds,
        hidden_only=hidden == "only",
    )
    return Selection(call.server.store, query)


def _view(call: Call) -> HistogramView:
    name = _view_name(call, "summary")
    if name == _NATIVE:
        raise Refusal("Invalid histogram_buckets type for non prometheus stats type")
    return _VIEWS[name]


def _view_name(call: Call, default: str) -> str:
    name = call.parameters.get("histogram_buckets") or default
    if name not in _VIEWS and name != _NATIVE:
        names = "cumulative|disjoint|detailed|summary|prometheusnative"
        raise Refusal(f"usage: /stats?histogram_buckets=({names})\n")
    return name


def _reset_counters(call: Call) -> Answer:
    def pieces() -> Iterator[str | Deferred[Any]]:
        yield from waited(call.server.numbers())
        call.server.store.reset_counters()
        yield "OK\n"

    return Answer(pieces())


def _recent_lookups(call: Call) -> Answer:
    lookups = call.server.store.lookups
    text = "Lookup tracking is not enabled. Use /stats/recentlookups/enable to enable.\n"
    if lookups.is_enabled:
        rows = [f"{count:8} {name}\n" for count, name in lookups.rows()]
        text = "".join(["   Count Lookup\n", *rows])
    return Answer(f"{text}\ntotal: {lookups.count}\n")


def _enable_lookups(call: Call) -> Answer:
    call.server.store.lookups.enable()
    return Answer("OK\n")


def _disable_lookups(call: Call) -> Answer:
    call.server.store.lookups.disable()
    return Answer("OK\n")


def _clear_lookups(call: Call) -> Answer:
    call.server.store.lookups.clear()
    return Answer("OK\n")


_USED_ONLY = Parameter("usedonly", "Only include what was written to since the start", flag=True)
_FILTER = Parameter("filter", "Regular expression to be found in names")
_INVERT = Parameter(
    "invert_filter", "Only include names in which the filter is not found", flag=True
)
_TEXT_READOUTS = Parameter(
    "text_readouts", "Include texts, as gauges of value 0 with a label", flag=True
)
_PROTOBUF = Parameter("prom_protobuf", "Protobuf, whatever the header Accept says", flag=True)


def _shown_as(*views: str) -> Parameter:
    return Parameter("histogram_buckets", "How histograms are shown", choices=views)


ENDPOINTS = (
    Endpoint(
        "/stats",
        "print server stats",
        _stats,
        (
            _USED_ONLY,
            _FILTER,
            _INVERT,
            Parameter("format", "Format to use", choices=("html", "active-html", "text", "json")),
            Parameter("type", "Kinds of statistics to include", choices=tuple(_KINDS)),
            _shown_as("summary", "cumulative", "disjoint", "detailed"),
        ),
    ),
    Endpoint(
        "/stats/prometheus",
        "print server stats in prometheus format",
        _prometheus,
        (
            _USED_ONLY,
            _TEXT_READOUTS,
            _FILTER,
            _INVERT,
            _shown_as("cumulative", "summary", _NATIVE),
            _PROTOBUF,
        ),
    ),
    Endpoint("/stats/recentlookups", "Show recent stat-name lookups", _recent_lookups),
    Endpoint(
        "/stats/recentlookups/enable", "remember names looked up", _enable_lookups, changes=True
    ),
    Endpoint(
        "/stats/recentlookups/disable",
        "remember no names looked up",
        _disable_lookups,
        changes=True,
    ),
    Endpoint("/stats/recentlookups/clear", "forget names looked up", _clear_lookups, changes=True),
    Endpoint("/reset_counters", "reset all counters to zero", _reset_counters, changes=True),
)
