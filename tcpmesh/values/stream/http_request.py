"""A request of HTTP, as access logs see one: those to the admin interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from urllib.parse import unquote

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class HttpRequest:
    """A request and the head of its answer; names of header fields are in lower case."""

    method: str
    path: str
    """With the query."""

    protocol: str
    """Such as HTTP/1.1."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """Those of its query; of several of one name the first."""
        found: dict[str, str] = {}
        for part in self.path.partition("?")[2].split("&"):
            name, _, value = part.partition("=")
            found.setdefault(unquote(name), unquote(value))
        return found

    def header(self, name: str) -> str | None:
        """A header field of the request, by any spelling; those that begin with a colon are what
        HTTP/2 makes of its first line.
        """
        name = name.lower()
        if name.startswith(":"):
            return {":method": self.method, ":path": self.path, ":scheme": "http"}.get(
                name, self.headers.get("host") if name == ":authority" else None
            )
        return self.headers.get(name)

    def response_header(self, name: str) -> str | None:
        """One of the answer, likewise."""
        name = name.lower()
        return str(self.status) if name == ":status" else self.response_headers.get(name)
