"""MurmurHash2 of 64 bits ("64A", public domain, Austin Appleby), which Envoy's rings offer beside
xxHash64.

It is here because no maintained package offers it: what is on PyPI computes MurmurHash3, or the
32-bit MurmurHash2.  Only the building of a ring wheel it, never a pick.
"""

from __future__ import annotations

_FACTOR = 0xC6A4A7935BD1E995
_64_BITS = 0xFFFFFFFFFFFFFFFF
_SHIFT = 47

SEED = 0xC70F6907
"""The seed of Envoy's rings, as that of `std::hash` in GNU's C++ library."""


def murmur_hash_2(data: bytes, seed: int = SEED) -> int:
    """The hash of these bytes, an unsigned 64-bit number."""
    size = len(data)
    whole = size & ~7
    value = seed ^ (size * _FACTOR & _64_BITS)
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little") * _FACTOR & _64_BITS
        word = (word ^ word >> _SHIFT) * _FACTOR & _64_BITS
        value = (value ^ word) * _FACTOR & _64_BITS
    if whole != size:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _64_BITS
    value = (value ^ value >> _SHIFT) * _FACTOR & _64_BITS
    return value ^ value >> _SHIFT
