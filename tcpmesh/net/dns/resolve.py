"""Which addresses of a name are wanted, and how they are come by from the two kinds that DNS
has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks

from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found, is_numeric

KINDS = ("A", "AAAA")
"""The types of records with addresses."""


class ResolutionFailed(Exception):
    """Nobody has said whether the name has addresses."""


class TimedOut(ResolutionFailed):
    """The last server asked did not answer in time."""


Addresses = Callable[[str, str], Deferred[tuple[Found, ...]]]
"""Finds the addresses of a name that are of one kind, A or AAAA; fails with `ResolutionFailed`."""


@inlineCallbacks
def find(
    name: str, family: Family, addresses: Addresses
) -> Generator[Deferred[Any], Any, tuple[Found, ...]]:
    """The addresses that a lookup family asks for; none where the name has none.

    A number is its own address.  One kind that is answered makes a success, as in Envoy, even where
    the other fails.

    :raise ResolutionFailed: where nothing was answered.
    """
    if is_numeric(name):
        if family is Family.V4_ONLY and ":" in name:
            raise ResolutionFailed(f"{name} is no IPv4 address")
        return (Found(name),)
    found = (
        yield _together(name, addresses)
        if family is Family.ALL
        else _in_turn(name, family.value, addresses)
    )
    return found  # type: ignore[no-any-return]


@inlineCallbacks
def _in_turn(
    name: str, kinds: tuple[str, ...], addresses: Addresses
) -> Generator[Deferred[Any], Any, tuple[Found, ...]]:
    failure: ResolutionFailed | None = None
    answered = False
    for kind in kinds:
        try:
            found = yield addresses(name, kind)
        except ResolutionFailed as e:
            failure = e
            continue
        if found:
            return found  # type: ignore[no-any-return]
        answered = True
    if failure is not None and not answered:
        raise failure
    return ()


@inlineCallbacks
def _together(name: str, addresses: Addresses) -> Generator[Deferred[Any], Any, tuple[Found, ...]]:
    results = yield DeferredList([addresses(name, kind) for kind in KINDS], consumeErrors=True)
    answers = [result for success, result in results if success]
    if not answers:
        results[0][1].raiseException()
    return tuple(found for answer in answers for found in answer)
