"""What ended in reference cycles: who holds whom, so that a test that fails tells where to break
them.

What is replaced while a proxy serves has to be gone at once.  The garbage collector comes late to
what has lived long, and never to what there was at the start (`tcpmesh.config.collector`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from zope.interface.declarations import Declaration


def cycles(do: Callable[[], object]) -> list[str]:
    """Do something; the references of which cycles consist that this has left behind, each as
    `who -> whom`.
    """
    gc.collect()
    gc.disable()
    try:
        do()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = gc.garbage[:]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    circles = [circle for circle in _circles(found) if not any(map(_is_declaration, circle))]
    return sorted({reference for circle in circles for reference in _within(circle)})


def _is_declaration(thing: object) -> bool:
    """Whether it is what zope keeps of an object's interfaces as long as any object has these."""
    return isinstance(thing, Declaration)


def _within(circle: list[Any]) -> Iterator[str]:
    members = {id(each) for each in circle}
    for one in circle:
        for other in gc.get_referents(one):
            if id(other) in members:
                yield f"{_name(one)} -> {_name(other)}"


def _name(thing: object) -> str:
    if isinstance(thing, MethodType):
        return f"method {thing.__func__.__qualname__}"
    if isinstance(thing, FunctionType):
        return f"function {thing.__module__}.{thing.__qualname__}"
    if isinstance(thing, dict):
        return f"dict with {', '.join(str(key)[:20] for key in list(thing)[:4])}"
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _circles(things: list[Any]) -> Iterator[list[Any]]:
    """The strongly connected components of more than one thing, as Tarjan finds them."""
    known = {id(each) for each in things}
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    path: list[Any] = []
    on_path: set[int] = set()

    def enter(thing: Any) -> tuple[Any, Iterator[Any]]:
        order[id(thing)] = lowest[id(thing)] = len(order)
        path.append(thing)
        on_path.add(id(thing))
        return thing, iter(gc.get_referents(thing))

    for root in things:
        work = [] if id(root) in order else [enter(root)]
        while work:
            thing, others = work[-1]
            for other in others:
                if id(other) in known and id(other) not in order:
                    work.append(enter(other))
                    break
                if id(other) in on_path:
                    lowest[id(thing)] = min(lowest[id(thing)], order[id(other)])
            else:
                work.pop()
                if work:
                    above = id(work[-1][0])
                    lowest[above] = min(lowest[above], lowest[id(thing)])
                if lowest[id(thing)] == order[id(thing)]:
                    place = next(i for i, each in enumerate(path) if each is thing)
                    circle, path[place:] = path[place:], []
                    on_path.difference_update(map(id, circle))
                    if len(circle) > 1:
                        yield circle
