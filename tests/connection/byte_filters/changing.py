"""Filters that change bytes, for tests: each as its text says."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2

from tcpmesh.connection.byte_filters.base import ByteFilter, FilterFactory
from tcpmesh.registry import extension
from tcpmesh.values.filter_status import FilterStatus
from tests.connection.test_filters import ChainTestCase
from tests.mesh import FRONT, tcp_proxy

VALUE = "type.googleapis.com/google.protobuf.Value"
HOST = "127.0.0.2:80"

MADE: list[Scripted] = []
"""The filters of connections that were made, in order."""


class Trouble(BaseException):
    """What a filter raises: not even an `Exception`, as what `sys.exit` raises is none."""


class Scripted(ByteFilter):
    """Does what its text says, and writes down what it was told."""

    def __init__(self, factory: Any, callbacks: Any) -> None:
        super().__init__(factory, callbacks)
        self.words: set[str] = factory.words
        self.told: list[Any] = []
        MADE.append(self)

    def on_new_connection(self) -> FilterStatus:
        self.told.append("new")
        self._maybe_fail("new")
        return FilterStatus.STOP if "stop" in self.words else FilterStatus.CONTINUE

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        self.told.append((bytes(data), end))
        self._maybe_fail("data")
        return self._change("data", data, end)

    def on_write(self, data: bytearray, end: bool) -> FilterStatus:
        self.told.append(("for client", bytes(data), end))
        self._maybe_fail("write")
        return self._change("write", data, end)

    def on_connection_lost(self) -> None:
        self.told.append("lost")
        self._maybe_fail("lost")

    def _change(self, way: str, data: bytearray, end: bool) -> FilterStatus:
        if f"upper-{way}" in self.words:
            data[:] = data.upper()
        if f"double-{way}" in self.words:
            data *= 2
        if f"tag-{way}" in self.words and data:
            data += b"<" + self.factory.name + b">"
        if f"end-{way}" in self.words and end:
            data += b"[end]"
        if f"lines-{way}" in self.words and not end:
            return self._whole_lines(way, data)
        return FilterStatus.STOP if f"hold-{way}" in self.words else FilterStatus.CONTINUE

    def _whole_lines(self, way: str, data: bytearray) -> FilterStatus:
        """Let whole lines pass, and hold the rest."""
        size = data.rfind(b"\n") + 1
        whole = bytes(data[:size])
        del data[:size]
        if whole:
            inject = self.callbacks.inject_data if way == "data" else self.callbacks.inject_write
            inject(whole)
        return FilterStatus.STOP

    def _maybe_fail(self, event: str) -> None:
        if f"fail-{event}" in self.words:
            raise Trouble(event)


@extension(struct_pb2.Value)
class ScriptedFactory(FilterFactory):
    """A name, and words of what is to be done."""

    filter_class = Scripted

    def __init__(self, message: Any, context: Any) -> None:
        name, *words = message.string_value.split()
        self.name = name.encode()
        self.words = set(words)
        if "fail-build" in self.words:
            self.filter_class = self.fail  # type: ignore[assignment]

    def fail(self, factory: Any, callbacks: Any) -> Any:
        """No filter can be made."""
        raise Trouble("build")


class ByteFilterTestCase(ChainTestCase):
    """A proxy with such filters before its tcp_proxy."""

    def setUp(self) -> None:
        super().setUp()
        MADE.clear()

    def begin_with(self, *texts: str, last: str = tcp_proxy()[1:-1], more: str = "") -> None:
        """Serve with these filters and the entry of the last one."""
        self.backend = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        entries = [
            f'{{name: s, typed_config: {{"@type": {VALUE}, value: "{text}"}}}}' for text in texts
        ]
        filters = f"[{', '.join([*entries, last])}]"
        self.mesh.add_listener("l", FRONT, filters, more)
        self.mesh.listeners.start()

    def say(self, who: Any, data: bytes) -> None:
        """A side sends something, and it arrives."""
        who.transport.write(data)
        self.mesh.network.pump()

    def end(self, who: Any) -> None:
        """A side sends no more."""
        who.transport.loseWriteConnection()
        self.mesh.network.pump()
