"""What a page of the admin interface is made of, apart from HTTP: a call comes in, an answer goes
out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.http import Request

from tcpmesh.admin.answers.json_stream import LazyList, json_stream
from tcpmesh.admin.live.feed import Feed
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import IServer
from tcpmesh.wire.regex import BadRegex, Regex

TEXT = "text/plain; charset=UTF-8"
HTML = "text/html; charset=UTF-8"
JSON = "application/json"
EVENTS = "text/event-stream; charset=UTF-8"
PLAIN = "text/plain"
"""What Envoy says of some of its refusals."""

FILTER_MEMORY = 1 << 18
"""Bytes of a regular expression: some thousand steps of its program, hundreds of names in a row."""


@dataclass(frozen=True)
class Answer:
    """What a page answers with: a text, or pieces of one, or of bytes, for a long page, which are
    then made as the client takes them.

    A piece that is a Deferred is waited for, and what was made before it is sent meanwhile: it is
    nothing itself.  So a page may ask others, or go on for as long as its client stays.
    """

    body: str | Iterator[str | Deferred[Any]] | Iterator[bytes | Deferred[Any]]
    status: int = 200
    content_type: str = TEXT

    afterwards: Callable[[], object] | None = None
    """Called once the client has the answer and its connection is closed."""

    follow: Callable[[Request], object] | None = None
    """Takes the request over, to answer it with events for as long as the client stays."""

    is_held: bool = False
    """Whether most of the page is held in memory until it is sent, so that only a few of its kind
    can be made at once.
    """


def waited(asked: Deferred[None]) -> Iterator[Deferred[Any]]:
    """A piece of a page that waits for an answer, unless it is there."""
    if not asked.called:
        yield asked


class Refusal(Exception):
    """A call that cannot be answered as it is: status and text for the client."""

    def __init__(self, text: str, status: int = 400, content_type: str = TEXT) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.content_type = content_type


@dataclass(frozen=True)
class Call:
    """One request for a page."""

    server: IServer
    parameters: Mapping[str, str]
    endpoints: Sequence[Endpoint] = ()
    """All pages that there are, for those that list them."""

    accept: str = ""
    """The header of that name."""

    feed: Feed | None = None
    """What tells those who look at the live page."""

    def regex(
        self,
        name: str,
        complaint: str = "Invalid re2 regex: {error}",
        content_type: str = TEXT,
    ) -> Regex | None:
        """The parameter of this name as an expression, or `None`.

        :raise Refusal: where it is none, with this complaint.
        """
        text = self.parameters.get(name, "")
        try:
            return Regex(text, FILTER_MEMORY) if text else None
        except BadRegex as e:
            refused = complaint.format(text=text, error=e)
            raise Refusal(refused, content_type=content_type) from None


@dataclass(frozen=True)
class Parameter:
    """A parameter as the help text and the home page describe it."""

    name: str
    summary: str
    choices: tuple[str, ...] = ()
    flag: bool = False
    """True where its presence is all that counts."""


@dataclass(frozen=True)
class Endpoint:
    """A page: where it is, what it is for and what answers."""

    path: str
    summary: str
    answer: Callable[[Call], Answer | Deferred[Answer]] = field(repr=False)
    """Where it is a Deferred, the client waits for the whole of it."""

    parameters: tuple[Parameter, ...] = ()
    changes: bool = False
    """True where a call changes something: then it has to be a POST."""

    is_listed: bool = True
    """False for a part of a page, which nobody asks for by itself."""

    is_own: bool = False
    """True where Envoy has no such page."""


def json_answer(value: object) -> Answer:
    """An answer in JSON, laid out for people too."""
    return Answer(json.dumps(value, indent=1) + "\n", content_type=JSON)


def json_list_answer(
    name: str,
    items: Iterable[object | None],
    shown_empty: bool = False,
    asked: Iterable[Deferred[Any]] = (),
) -> Answer:
    """An answer in JSON that is an object with one list, made and sent item by item; `None` is
    none, but took a while.

    :param asked: what is to be waited for first.
    """

    def pieces() -> Iterator[str | Deferred[Any]]:
        yield from asked
        yield from json_stream({name: LazyList(items, shown_empty)})
        yield "\n"

    return Answer(pieces(), content_type=JSON)


def listed(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Those that people may ask for, by path."""
    return sorted((each for each in endpoints if each.is_listed), key=lambda each: each.path)


def help_text(endpoints: Sequence[Endpoint]) -> str:
    """All pages with their parameters, one a line, by path."""
    lines = ["admin commands are:\n"]
    for endpoint in listed(endpoints):
        lines.append(
            f"  {endpoint.path}{' (POST)' if endpoint.changes else ''}: {endpoint.summary}\n"
        )
        for parameter in endpoint.parameters:
            choices = f"; One of ({', '.join(parameter.choices)})" if parameter.choices else ""
            lines.append(f"      {parameter.name}: {parameter.summary}{choices}\n")
    return "".join(lines)
