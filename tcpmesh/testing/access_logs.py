"""The files of access logs in memory: what a test reads back at once, and no disk."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed

from tcpmesh.interfaces import IAccessLogFile, IAccessLogManager


@implementer(IAccessLogFile)
class MemoryLogFile:
    """The records of one path."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.users = 0

    def write(self, text: str) -> None:
        """Keep a record."""
        self.records.append(text)

    def close(self) -> None:
        """One that logs here does so no more."""
        self.users -= 1


@implementer(IAccessLogManager)
class MemoryAccessLogs:
    """Files by their paths, which all can be opened."""

    def __init__(self, *args: Any) -> None:
        """What an `AccessLogManager` is told does not matter here."""
        self.files: defaultdict[str, MemoryLogFile] = defaultdict(MemoryLogFile)
        self.reopened = 0
        """How often all were opened anew."""

    def open(self, path: str) -> MemoryLogFile:
        """The file of a path."""
        file = self.files[path]
        file.users += 1
        return file

    def reopen(self) -> None:
        """Count it."""
        self.reopened += 1

    def stop(self) -> Deferred[None]:
        """There is nothing to wait for."""
        return succeed(None)
