"""Filters that see, and may change, the bytes of a connection in both directions: what extensions
build upon, and how other filters stand among them.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from tcpmesh.connection.byte_filters.callbacks import FilterCallbacks
from tcpmesh.interfaces import IByteFilter, IFilterFactory
from tcpmesh.values.filter_status import FilterStatus


@implementer(IByteFilter)
class ByteFilter:
    """The filter of one connection, which changes nothing: what extensions build upon.

    :param factory: what the configuration has built, with the settings.
    :param callbacks: what it may do with its connection.
    """

    def __init__(self, factory: Any, callbacks: FilterCallbacks) -> None:
        self.factory = factory
        self.callbacks = callbacks

    def on_new_connection(self) -> FilterStatus:
        """Go on."""
        return FilterStatus.CONTINUE

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        """Want no more."""
        return FilterStatus.DONE

    def on_write(self, data: bytearray, end: bool) -> FilterStatus:
        """Want no more."""
        return FilterStatus.DONE

    def on_connection_lost(self) -> None:
        """Nothing has to be undone."""


@implementer(IFilterFactory)
class FilterFactory:
    """What the `typed_config` of such a filter builds: makes a `filter_class` for each
    connection.
    """

    terminal = False
    serves_many_chains = False

    filter_class: type[ByteFilter] = ByteFilter

    def build_filter(self, callbacks: FilterCallbacks) -> ByteFilter:
        """The filter of a new connection."""
        return self.filter_class(self, callbacks)

    def close(self) -> None:
        """Nothing has to be given back."""


class AsByteFilter(ByteFilter):
    """A read filter (`tcpmesh.interfaces.IReadFilter`), which all connections of a chain share,
    among filters that change bytes: as any other it sees what those before it have let pass.
    """

    def on_new_connection(self) -> FilterStatus:
        """As a read filter."""
        status: FilterStatus = self.factory.on_new_connection(self.callbacks)
        return status

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        """As a read filter."""
        if not self.factory.sees_data:
            return FilterStatus.DONE
        status: FilterStatus = self.factory.on_data(self.callbacks, bytes(data), end)
        return status

    def on_connection_lost(self) -> None:
        """As a read filter."""
        self.factory.on_connection_lost(self.callbacks)
