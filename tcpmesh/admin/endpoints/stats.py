"""Statistics: `/stats` for people and scripts, `/stats/prometheus` for Prometheus, and starting to
count anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from tcpmesh.admin.answers.endpoint import (
    HTML,
    JSON,
    TEXT,
    Answer,
    Call,
    Endpoint,
    Parameter,
    Refusal,
)
from tcpmesh.admin.answers.html_page import page
from tcpmesh.stats.prometheus import exposition
from tcpmesh.stats.select import Kind, Query, Selection
from tcpmesh.stats.text import HistogramView, as_json, as_text

_VIEWS = {view.value: view for view in HistogramView}
_KINDS = {"All": frozenset(Kind), **{kind.value: frozenset({kind}) for kind in Kind}}


def _stats(call: Call) -> Answer:
    write = _FORMATS.get(call.parameters.get("format", "text"))
    if write is None:
        raise Refusal("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
    return write(call)


def _text(call: Call) -> Answer:
    selection, view = _selection(call), _view(call, HistogramView.SUMMARY)
    return Answer(as_text(selection, view), content_type=TEXT)


def _json(call: Call) -> Answer:
    selection, view = _selection(call), _view(call, HistogramView.SUMMARY)
    return Answer(as_json(selection, view), content_type=JSON)


def _html(call: Call) -> Answer:
    lines = as_text(_selection(call), _view(call, HistogramView.SUMMARY))
    return Answer(_in_page(lines, refresh=None), content_type=HTML)


def _active_html(call: Call) -> Answer:
    lines = as_text(_selection(call), _view(call, HistogramView.SUMMARY))
    return Answer(_in_page(lines, refresh=5), content_type=HTML)


def _in_page(lines: Iterator[str], refresh: int | None) -> Iterator[str]:
    before, after = page("Statistics", refresh)
    yield before + "<h1>Statistics</h1>\n<pre>"
    for line in lines:
        yield escape(line)
    yield "</pre>\n" + after


def _prometheus(call: Call) -> Answer:
    view = _view(call, HistogramView.CUMULATIVE)
    if view not in (HistogramView.CUMULATIVE, HistogramView.SUMMARY):
        raise Refusal("unsupported prometheus histogram bucket mode")
    pieces = exposition(
        _selection(call), call.server.store.tagger, view, "text_readouts" in call.parameters
    )
    return Answer(pieces, content_type=TEXT)


_FORMATS: dict[str, Callable[[Call], Answer]] = {
    "text": _text,
    "json": _json,
    "prometheus": _prometheus,
    "html": _html,
    "active-html": _active_html,
}


def _selection(call: Call) -> Selection:
    kinds = _KINDS.get(call.parameters.get("type", "All"))
    if kinds is None:
        raise Refusal("invalid &type= param")
    query = Query(
        used_only="usedonly" in call.parameters,
        pattern=call.regex("filter"),
        invert="invert_filter" in call.parameters,
        kinds=kinds,
    )
    return Selection(call.server.store, query)


def _view(call: Call, default: HistogramView) -> HistogramView:
    view = _VIEWS.get(call.parameters.get("histogram_buckets", default.value))
    if view is None:
        raise Refusal("usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n")
    return view


def _reset_counters(call: Call) -> Answer:
    call.server.store.reset_counters()
    return Answer("OK\n")


_USED_ONLY = Parameter("usedonly", "Only include what was written to since the start", flag=True)
_FILTER = Parameter("filter", "Regular expression to be found in names")
_INVERT = Parameter(
    "invert_filter", "Only include names in which the filter is not found", flag=True
)
_TEXT_READOUTS = Parameter(
    "text_readouts", "Include texts, as gauges of value 0 with a label", flag=True
)


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
        (_USED_ONLY, _TEXT_READOUTS, _FILTER, _INVERT, _shown_as("cumulative", "summary")),
    ),
    Endpoint("/reset_counters", "reset all counters to zero", _reset_counters, changes=True),
)
