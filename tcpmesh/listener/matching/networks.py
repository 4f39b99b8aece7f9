"""IP networks with values, of which the longest that holds an address is found.

There is a table for each length of prefix that occurs, the longest first.  So a look-up costs as
many as there are different lengths, of which IPv4 has 33 and IPv6 129, however many networks there
are.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

Value = TypeVar("Value")


class Network(NamedTuple):
    """An IP network; two spellings of one are equal."""

    bits: int
    """Of its addresses: 32 or 128."""

    length: int
    """Of its prefix."""

    prefix: int
    """The first bits of its addresses."""


def network_of(message: Any) -> Network:
    """What a `core.v3.CidrRange` means: as in Envoy a length left out is 0, one too great is that
    of a single address, and bits beyond it do not count.

    :raise ValueError: where it has no IP address.
    """
    number, bits = number_of(message.address_prefix)
    length = min(message.prefix_len.value, bits)
    return Network(bits, length, number >> (bits - length))


@lru_cache(64)
def number_of(host: str) -> tuple[int, int]:
    """A numeric address, with or without a scope, as a number, and of how many bits it is.

    :raise ValueError: where it is none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        packed = socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        raise ValueError(f"malformed IP address: {host!r}") from None
    return int.from_bytes(packed, "big"), 8 * len(packed)


class Networks(Generic[Value]):
    """A value for each of some networks; of two that are equal the first one's counts."""

    def __init__(self, entries: Iterable[tuple[Network, Value]]) -> None:
        tables: dict[tuple[int, int], dict[int, Value]] = {}
        for network, value in entries:
            key = network.bits, network.bits - network.length
            tables.setdefault(key, {}).setdefault(network.prefix, value)
        self._tables = {
            bits: tuple(
                (shift, table) for (of, shift), table in sorted(tables.items()) if of == bits
            )
            for bits in (32, 128)
        }

    def find(self, host: str) -> Value | None:
        """The value of the smallest network that holds a numeric address, or `None`."""
        number, bits = number_of(host)
        for shift, table in self._tables[bits]:
            found = table.get(number >> shift)
            if found is not None:
                return found
        return None

    def find_all(self, host: str) -> list[Value]:
        """Those of all that do, the smallest first."""
        number, bits = number_of(host)
        found = []
        for shift, table in self._tables[bits]:
            value = table.get(number >> shift)
            if value is not None:
                found.append(value)
        return found
