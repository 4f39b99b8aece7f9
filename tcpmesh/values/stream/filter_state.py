"""What filters tell each other about one connection: Envoy's filter state.

A filter that finds something out (which cluster, which idle timeout, what to hash) puts an object
under a name, and another that knows the name reads it; neither has to know the other.  Names are
Envoy's, such as `envoy.tcp_proxy.cluster`.

An object always belongs to the connection, the longest of Envoy's life spans and the only one
without HTTP.  A connection without any object shares `NO_FILTER_STATE` with all others;
`tcpmesh.values.stream.stream_info.StreamInfo.set_filter_state` makes it one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from types import MappingProxyType

from xxhash import xxh64_intdigest

from tcpmesh.facts import dataclass

Field = str | int | None
"""What a field of an object may be; `None` where there is no such field."""


class Sharing(IntEnum):
    """Whether what serves the connection further up gets the object too
    (`shared_with_upstream`).
    """

    NONE = 0
    ONCE = 1
    """The upstream connection has it, and does not share it further."""
    TRANSITIVE = 2
    """The upstream connection has it, and so have those upstream of it, through internal
    listeners.
    """


@dataclass(frozen=True)
class StateObject:
    """A value under a name: what all kinds of it have in common.

    Objects never change; another can take the place of one.
    """

    @property
    def text(self) -> str | None:
        """The object in the text of a log (`FILTER_STATE(key:PLAIN)`); `None` where its kind has no
        such form.
        """
        return None

    @property
    def typed(self) -> object:
        """The object as a value of JSON, for `FILTER_STATE(key)`; `None` where its kind has no such
        form.
        """
        return self.text

    @property
    def hash(self) -> int | None:
        """64 bits that a hash policy may go by; `None` where the kind of object is not for that."""
        return None

    def field(self, name: str) -> Field:
        """A part of the object (`FILTER_STATE(key:FIELD:name)`); `None` where there is none of that
        name.
        """
        return None


@dataclass(frozen=True)
class Text(StateObject):
    """A string."""

    value: str

    @property
    def text(self) -> str:
        """The string itself."""
        return self.value


@dataclass(frozen=True)
class HashableText(Text):
    """A string that a hash policy may go by."""

    @property
    def hash(self) -> int:
        """xxHash64 of the string."""
        return xxh64_intdigest(self.value.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Entry:
    """An object and the conditions under which it was set."""

    value: StateObject
    read_only: bool = False
    """Whether nobody was to change the object itself; here nobody can."""
    sharing: Sharing = Sharing.NONE


class FilterState:
    """The objects of one connection, by their names."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def get(self, key: str) -> StateObject | None:
        """The object of this name, or `None`."""
        entry = self._entries.get(key)
        return entry.value if entry is not None else None

    def set(
        self, key: str, value: StateObject, read_only: bool = False, sharing: Sharing = Sharing.NONE
    ) -> None:
        """Put an object under a name, in place of what was there: in Envoy 1.40 that is possible
        for read-only objects too.
        """
        self._entries[key] = Entry(value, read_only, sharing)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All that is here, a view."""
        return MappingProxyType(self._entries)

    def shared(self) -> dict[str, Entry]:
        """What an upstream connection gets of it, with the sharing that it has there."""
        further = {Sharing.ONCE: Sharing.NONE, Sharing.TRANSITIVE: Sharing.TRANSITIVE}
        return {
            key: Entry(entry.value, entry.read_only, further[entry.sharing])
            for key, entry in self._entries.items()
            if entry.sharing in further
        }

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which they were first set."""
        return iter(self._entries)

    def __len__(self) -> int:
        """The number of objects."""
        return len(self._entries)


class _NoFilterState(FilterState):
    """Stands in for the filter state of connections that have none."""

    __slots__ = ()

    def set(
        self, key: str, value: StateObject, read_only: bool = False, sharing: Sharing = Sharing.NONE
    ) -> None:
        """Refuse: it belongs to all connections.

        :raise TypeError: always; `StreamInfo.set_filter_state` is the way.
        """
        raise TypeError(
            "the empty filter state is shared by all connections; use StreamInfo.set_filter_state"
        )


NO_FILTER_STATE: FilterState = _NoFilterState()
"""What a connection has before anything is set."""
