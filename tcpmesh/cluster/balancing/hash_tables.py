"""Tables from a hash to a host: how RING_HASH and MAGLEV send the same client to the same host, as
Envoy would.

Both are pure functions of the hosts' keys and weights.  A key is, in this order, the text
`hash_key` in the host's metadata under `envoy.lb`, its hostname where hashing by hostname is asked
for, and its address.  Tables keep numbers of hosts in arrays, not references: a table of 65537
places is 128 KiB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, islice, repeat
from math import ceil
from operator import attrgetter
from typing import NamedTuple, Protocol

from xxhash import xxh64_intdigest

from tcpmesh.cluster.hosts.host import Host

_64_BITS = 0xFFFFFFFFFFFFFFFF
_BITS = 64

STEP = 1000
"""Places that are looked at in one step of building a table: about a millisecond."""


class HashTable(Protocol):
    """What picks by a hash."""

    def choose(self, key: int, attempt: int = 0) -> Host | None:
        """The host for a 64-bit hash, or `None` where there are no hosts.  A further attempt, from
        1, may get another one.
        """


class Buildable(HashTable, Protocol):
    """A table that has to be built before it is asked."""

    @property
    def size(self) -> int:
        """Its places."""

    def build(self) -> Iterator[None]:
        """Build it, in steps, the last of which ends the iterator."""


class Share(NamedTuple):
    """What a table is to know of a host."""

    host: Host
    key: str
    part: float
    """Of all connections; those of all hosts add up to 1 or less."""


class Spread(NamedTuple):
    """The fewest and the most places that a host has in a table."""

    fewest: int
    most: int


def hash_key(host: Host, by_hostname: bool) -> str:
    """The text of which a host's places in a table are hashed."""
    metadata = host.spec.metadata
    if metadata is not None and "envoy.lb" in metadata.filter_metadata:
        fields = metadata.filter_metadata["envoy.lb"].fields
        if "hash_key" in fields and fields["hash_key"].string_value:
            return str(fields["hash_key"].string_value)
    return host.spec.hostname if by_hostname else str(host.address)


def shares_of(
    groups: Iterable[tuple[float, Sequence[Host]]], by_hostname: bool = False
) -> list[Share]:
    """What each host gets: of the part of its group, as the weights of the group's hosts divide
    it.
    """
    shares = []
    for part, hosts in groups:
        total = sum(host.weight for host in hosts)
        shares += [
            Share(host, hash_key(host, by_hostname), host.weight * part / total) for host in hosts
        ]
    return shares


class Ring:
    """A ketama ring: each host at many places of the circle of all hashes, and a client goes to the
    next place.

    It is to be built before it is asked.

    :param shares: their order matters only where a part is no whole number of places.
    :param least: how many places to have, so that the smallest part is a whole number of them.
    :param most: how many places to have at most.
    :param digest: hashes the text of a place.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        least: int,
        most: int,
        digest: Callable[[bytes], int] = xxh64_intdigest,
    ) -> None:
        self._shares = shares
        self._hosts = tuple(share.host for share in shares)
        self._digest = digest
        self._scale = 0.0
        if shares:
            smallest = min(share.part for share in shares)
            self._scale = min(ceil(smallest * least) / smallest, float(most))
        self.size = ceil(self._scale)
        """Places, as the configuration amounts to; Envoy's `ring_hash_lb.size`."""
        self.spread = Spread(0, 0)
        self._places = array("Q")
        self._owners = array("I")

    def build(self) -> Iterator[None]:
        """Build it, in steps.

        The places are put in order by their upper bits first, and then part by part: to sort
        millions of them in one go would take seconds.
        """
        if not self._shares:
            return
        bits = max((self.size // STEP).bit_length(), 0)
        shift = _BITS - bits
        places = [array("Q") for _ in range(1 << bits)]
        owners = [array("I") for _ in range(1 << bits)]
        digest, counts, total, target = self._digest, [], 0, 0.0
        for owner, (_, key, part) in enumerate(self._shares):
            target += self._scale * part
            # Parts that are no whole numbers of places even out over the hosts.
            more = max(ceil(target) - total, 0)
            for start in range(0, more, STEP):
                for place in range(start, min(start + STEP, more)):
                    number = digest(f"{key}_{place}".encode())
                    places[number >> shift].append(number)
                    owners[number >> shift].append(owner)
                yield
            total += more
            counts.append(more)
        yield from self._join(places, owners)
        self.spread = Spread(min(self.size, *counts), max(counts))

    def _join(self, places: list[array[int]], owners: list[array[int]]) -> Iterator[None]:
        """Put each part in order, and all of them after each other."""
        places.reverse()
        owners.reverse()
        while places:
            part, hosts = places.pop(), owners.pop()
            order = sorted(range(len(part)), key=part.__getitem__)
            self._places.extend(map(part.__getitem__, order))
            self._owners.extend(map(hosts.__getitem__, order))
            yield

    def choose(self, key: int, attempt: int = 0) -> Host | None:
        """The host of the first place that is not below the hash; a further attempt goes that many
        places on.
        """
        places = self._places
        if not places:
            return None
        return self._hosts[
            self._owners[(bisect_left(places, key) % len(places) + attempt) % len(places)]
        ]


class Maglev:
    """A Maglev table: of a prime number of places, of which each host takes its part by turns, in
    an order of its own.

    It is to be built before it is asked.

    :param shares: in any order.
    :param size: how many places; a prime number.
    """

    def __init__(self, shares: Sequence[Share], size: int) -> None:
        self._shares = sorted(shares, key=attrgetter("key"))
        self._hosts = tuple(share.host for share in self._shares)
        self.spread = Spread(0, 0)
        self.size = size if len(shares) > 1 else len(shares)
        """Places: one does for one host, and is what Envoy counts."""
        self._table = array("H" if len(shares) <= 1 << 16 else "I")

    def build(self) -> Iterator[None]:
        """Build it, in steps."""
        if not self._shares:
            return
        size = self.size
        keys = [share.key.encode() for share in self._shares]
        places = [xxh64_intdigest(key) % size for key in keys]
        skips = [xxh64_intdigest(key, 1) % max(size - 1, 1) + 1 for key in keys]
        counts = [0] * len(keys)
        table = array(self._table.typecode, bytes(size * self._table.itemsize))
        free = bytearray(b"\1") * size
        left = STEP
        turns = _turns([share.part for share in self._shares])
        for i in islice(chain.from_iterable(turns), size):
            place, skip = places[i], skips[i]
            while not free[place]:
                place += skip
                if place >= size:
                    place -= size
                left -= 1  # the last places are looked for longest
                if not left:
                    left = STEP
                    yield
            free[place] = 0
            table[place] = i
            places[i] = place
            counts[i] += 1
            left -= 1
            if not left:
                left = STEP
                yield
        self._table = table
        self.spread = Spread(min(counts), max(counts))

    def choose(self, key: int, attempt: int = 0) -> Host | None:
        """The host at the place of the hash; a further attempt hashes anew."""
        if not self._table:
            return None
        if attempt:
            key ^= _64_BITS - attempt + 1
        return self._hosts[self._table[key % self.size]]


def _turns(parts: Sequence[float]) -> Iterator[Sequence[int]]:
    """Who takes a place in each turn, without end: the heaviest each time, one of half its part
    every other time.

    The turn of each is worked out ahead, with the rounding of Envoy, which asks everybody in each
    turn.
    """
    heaviest = max(parts)
    everybody = range(len(parts))
    if min(parts) == heaviest:
        yield from repeat(everybody)
    targets = [0.0] * len(parts)
    due: dict[int, list[int]] = {1: list(everybody)}
    for turn in count(1):
        takers = sorted(due.pop(turn, ()))
        yield takers
        for i in takers:
            target = targets[i] = targets[i] + heaviest
            due.setdefault(_first_turn(parts[i], target, turn + 1), []).append(i)


def _first_turn(part: float, target: float, least: int) -> int:
    """The first turn, not before `least`, by which the part adds up to the target."""
    turn = max(int(target / part), least)
    while turn * part < target:
        turn += 1
    while turn > least and (turn - 1) * part >= target:
        turn -= 1
    return turn
