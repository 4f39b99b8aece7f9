"""Asks the admin interface of a proxy, and waits for the answer: what looks at a proxy from a
terminal has nothing else to do meanwhile.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode

from tcpmesh.admin.answers.text_table import printable

PATIENCE = 5.0
"""Seconds that the proxy may let us wait for a part of an answer."""

MOST_BYTES = 64 << 20
"""Bytes of an answer: more would be of no use on a screen."""


class NoAnswer(Exception):
    """The admin interface cannot be asked, or says no; the text is one line that says why."""


class NoSuchPath(NoAnswer):
    """It has no such path: it is Envoy's, or of an older version."""


class AdminClient:
    """One admin interface.

    :param address: `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`, where an abstract path begins with
        `@`.
    :param patience: seconds that it may let us wait for a part of an answer.
    :raise ValueError: where it is none of these.
    """

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self.address = address
        self._patience = patience
        path = address[5:] if address.startswith("unix:") else ""
        self._path = f"\0{path[1:]}" if path.startswith("@") else path
        self._host, self._port = ("localhost", 0) if self._path else _host_and_port(address)

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """What a path answers, as JSON.

        :raise NoAnswer: where it does not.
        """
        return self._json(path, self._ask("GET", path, parameters))

    def post(self, path: str, parameters: Mapping[str, str]) -> str:
        """Have something changed; what it answers.

        :raise NoAnswer: where it does not.
        """
        return self._ask("POST", path, parameters).decode("utf-8", "replace").strip()

    def told(self, method: str, path: str, parameters: Mapping[str, str]) -> tuple[int, str]:
        """The status of an answer, and the text that a terminal may have.

        :raise NoAnswer: where there is no answer, or no such path.
        """
        status, body = self._exchange(method, path, parameters)
        lines = body.decode("utf-8", "replace").rstrip("\n").split("\n")
        return status, "\n".join(map(printable, lines))

    def _json(self, path: str, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            raise NoAnswer(f"{self.address} is no admin interface: {path} is no JSON") from None

    def _ask(self, method: str, path: str, parameters: Mapping[str, str] | None) -> bytes:
        status, body = self._exchange(method, path, parameters)
        if status != 200:
            first = body.decode("utf-8", "replace").strip().partition("\n")[0]
            raise NoAnswer(f"{self.address} refuses {path}: {status} {printable(first)[:200]}")
        return body

    def _exchange(
        self, method: str, path: str, parameters: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        query = f"?{urlencode(parameters)}" if parameters else ""
        connection = _Connection(self._host, self._port, self._path, self._patience)
        try:
            connection.request(method, path + query)
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES + 1)
        except (OSError, HTTPException, ValueError) as e:
            raise NoAnswer(f"cannot ask {self.address}: {_reason(e)}") from None
        finally:
            connection.close()
        if len(body) > MOST_BYTES:
            raise NoAnswer(f"{path} of {self.address} is longer than {MOST_BYTES >> 20} MiB")
        if answer.status == 404:
            raise NoSuchPath(f"{self.address} has no {path}: it is no tcpmesh, or an older one")
        return answer.status, body


class _Connection(HTTPConnection):
    """A connection for one question, to an address or to the path of a unix socket."""

    def __init__(self, host: str, port: int, path: str, patience: float) -> None:
        super().__init__(host, port or None, timeout=patience)
        self._path = path
        self._patience = patience

    def connect(self) -> None:
        """Connect."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._patience)
        self.sock.connect(self._path)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"'{printable(address)}' is no address: HOST:PORT or unix:PATH is wanted")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(text.partition("\n")[0])
