"""The configuration is read again, or an earlier one served: Envoy has no such pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.endpoint import JSON, Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.admin.answers.json_stream import LazyList, json_stream
from tcpmesh.admin.answers.text_table import printable
from tcpmesh.values.lifecycle.reload import Change, Configuration, Reloaded, Verdict

STATUS = {
    Verdict.APPLIED: 200,
    Verdict.UNCHANGED: 200,
    Verdict.SHOWN: 200,
    Verdict.REFUSED: 400,
    Verdict.UNTIMELY: 409,
    Verdict.FAILED: 500,
}

SAID = {
    Verdict.APPLIED: "configuration {number} is served, with {count}:",
    Verdict.UNCHANGED: "nothing changes: it is configuration {number}, which is served",
    Verdict.SHOWN: "this would change, of configuration {number}, which is served: {count}",
    Verdict.REFUSED: "refused: configuration {number} is served as before",
    Verdict.UNTIMELY: "not now: configuration {number} is served as before",
    Verdict.FAILED: "failed, and not all could be put back as it was in configuration {number}",
}


def _reload(call: Call) -> Deferred[Answer]:
    dry_run = "dry_run" in call.parameters
    is_json = _is_json(call)
    done: Deferred[Reloaded] = call.server.reloads.reload("request", dry_run)
    return done.addCallback(_answer, is_json)


def _rollback(call: Call) -> Deferred[Answer]:
    text, is_json = call.parameters.get("to"), _is_json(call)
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Refusal("usage: /reload/rollback?to=<number of a configuration>\n")
    done: Deferred[Reloaded] = call.server.reloads.rollback(int(text) if text else None)
    return done.addCallback(_answer, is_json)


def _history(call: Call) -> Deferred[Answer]:
    is_json = _is_json(call)
    told: Deferred[tuple[Configuration, ...]] = call.server.reloads.history()
    return told.addCallback(_history_json if is_json else _history_text)


def _is_json(call: Call) -> bool:
    form = call.parameters.get("format") or "text"
    if form not in ("text", "json"):
        raise Refusal("usage: format=text or format=json\n")
    return form == "json"


def _answer(done: Reloaded, is_json: bool) -> Answer:
    status = STATUS[done.verdict]
    if is_json:
        told = {
            "verdict": done.verdict.value,
            "serves": done.number,
            "changes": LazyList(map(_change_json, done.changes), shown_empty=True),
            "errors": list(done.errors),
            "warnings": list(done.warnings),
        }
        return Answer(chain(json_stream(told), "\n"), status, JSON)
    return Answer(_lines(done), status)


def _lines(done: Reloaded) -> Iterator[str]:
    count = f"{len(done.changes)} change{'' if len(done.changes) == 1 else 's'}"
    yield SAID[done.verdict].format(number=done.number, count=count) + "\n"
    for error in done.errors:
        yield f"  {_shown(error)}\n"
    if not done.errors:
        yield from _change_lines(done.changes)
    for warning in done.warnings:
        yield f"  {_shown(warning)}\n"


def _change_lines(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        yield f"  {_shown(str(change))}\n"


def _shown(text: str) -> str:
    """As a terminal may have it; what has several lines is put in below."""
    return "\n  ".join(printable(line) for line in text.split("\n"))


def _change_json(change: Change) -> dict[str, Any]:
    told = {"kind": change.kind, "name": change.name, "how": change.how.value}
    return {**told, "fields": list(change.fields)} if change.fields else told


def _history_json(told: tuple[Configuration, ...]) -> Answer:
    found = [
        {
            "number": each.number,
            "served_since": _moment(each.at),
            "by": each.by,
            "version": each.version,
            "change_count": each.change_count,
            "changes": [_change_json(change) for change in each.changes],
        }
        for each in reversed(told)
    ]
    return Answer(chain(json_stream({"configurations": found}), "\n"), content_type=JSON)


def _history_text(told: tuple[Configuration, ...]) -> Answer:
    return Answer(_history_lines(told))


def _history_lines(told: tuple[Configuration, ...]) -> Iterator[str]:
    for each in reversed(told):
        yield f"{each.number}  {_moment(each.at)}  {each.version or '-'}  {each.by}\n"
        yield from _change_lines(each.changes)
        if each.change_count > len(each.changes):
            yield f"  ... and {each.change_count - len(each.changes)} more\n"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_FORMAT = Parameter("format", "Format to use", choices=("text", "json"))

ENDPOINTS = (
    Endpoint(
        "/reload",
        "read the configuration again, and serve it if nothing is wrong with it",
        _reload,
        (Parameter("dry_run", "Only tell what would change", flag=True), _FORMAT),
        changes=True,
        is_own=True,
    ),
    Endpoint(
        "/reload/history",
        "print the last configurations, and what each has changed",
        _history,
        (_FORMAT,),
        is_own=True,
    ),
    Endpoint(
        "/reload/rollback",
        "serve an earlier configuration again, by default the one before",
        _rollback,
        (Parameter("to", "The number of the configuration, as /reload/history has it"), _FORMAT),
        changes=True,
        is_own=True,
    ),
)
