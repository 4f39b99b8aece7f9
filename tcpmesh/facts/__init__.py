"""Frozen dataclasses that cost little to import.

`dataclasses.dataclass` writes the text of six methods for each frozen class and has Python compile
them, which takes half a millisecond.  A proxy has some two hundred such classes, of which most
starts use a third: that was a fifth of the time until it serves.  Here the methods of a class are
closures over the names of its fields, and `__init__`, the one that would be slower so, is compiled
when the first instance is made.

It is a `dataclass` in all else: for readers and type checkers, for `fields` and `replace`, in what
is equal, what is printed and what is refused.  What is not frozen, or has options that are seldom
needed, is left to `dataclasses`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter, ge, gt, le, lt
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

KNOWN = frozenset(("kw_only", "order", "slots"))
"""Options, beside `frozen` and `eq`, of what is made here."""

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, **options):
        """See `dataclasses.dataclass`."""

        def decorate(cls):
            if not frozen or not options.keys() <= KNOWN:
                return dataclasses.dataclass(cls, frozen=frozen, eq=eq, **options)
            return _frozen(cls, eq, options)

        return decorate if cls is None else decorate(cls)


def _frozen(cls: Any, eq: bool, options: dict[str, bool]) -> Any:
    """Make a class a frozen dataclass; what it has written itself stays.

    :return: the class, or one in its place where it is to have slots.
    """
    own = frozenset(vars(cls))
    # Of a class with `__eq__` alone Python itself has said that it has no hash.
    has_hash = "__hash__" in own and not (cls.__hash__ is None and "__eq__" in own)
    cls.__doc__ = cls.__doc__ or cls.__name__  # else one is made of its signature, which takes long
    has_order = options.pop("order", False)
    with _thawed(cls):
        cls = dataclasses.dataclass(cls, init=False, repr=False, eq=False, **options)
    cls.__dataclass_params__.frozen = True
    fields = dataclasses.fields(cls)
    methods = [_init(cls, fields), _repr([each.name for each in fields if each.repr])]
    methods += _guards(cls, frozenset(each.name for each in fields))
    values = _values([each.name for each in fields if each.compare])
    if eq:
        methods.append(_eq(values))
    if has_order:
        methods += [_compare(each, values) for each in (lt, le, gt, ge)]
    if eq and not has_hash:
        is_hashed = [each.compare if each.hash is None else each.hash for each in fields]
        names = [each.name for each, is_in in zip(fields, is_hashed, strict=True) if is_in]
        cls.__hash__ = _hash(_values(names))
    if options.get("slots"):  # copies are made by the state, which else would be set by names
        methods += [_get_state(names := [each.name for each in fields]), _set_state(names)]
    for each in methods:
        each.__qualname__ = f"{cls.__qualname__}.{each.__name__}"
        if each.__name__ not in own:
            setattr(cls, each.__name__, each)
    return cls


@contextmanager
def _thawed(cls: Any) -> Iterator[None]:
    """Let `dataclasses` derive from what is frozen a class of which it does not know that it is."""
    all_params = [vars(each).get("__dataclass_params__") for each in cls.__mro__[1:]]
    frozen = [params for params in all_params if params is not None and params.frozen]
    for params in frozen:
        params.frozen = False
    try:
        yield
    finally:
        for params in frozen:
            params.frozen = True


def _values(names: Sequence[str]) -> Callable[[Any], Any]:
    """What gets the values of some fields, which then are compared."""
    return attrgetter(*names) if names else lambda _: ()


def _repr(names: Sequence[str]) -> Any:
    @recursive_repr()
    def __repr__(self: Any) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{type(self).__qualname__}({shown})"

    return __repr__


def _eq(values: Callable[[Any], object]) -> Any:
    def __eq__(self: Any, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    return __eq__


def _compare(operator: Callable[[Any, Any], bool], values: Callable[[Any], Any]) -> Any:
    def compare(self: Any, other: object) -> Any:
        if type(other) is not type(self):
            return NotImplemented
        return operator(values(self), values(other))

    compare.__name__ = f"__{operator.__name__}__"
    return compare


def _hash(values: Callable[[Any], object]) -> Any:
    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


def _guards(cls: Any, names: frozenset[str]) -> list[Any]:
    """What keeps the fields, and all that an instance of the very class has, as they are."""

    def __setattr__(self: Any, name: str, value: object) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return [__setattr__, __delattr__]


def _get_state(names: Sequence[str]) -> Any:
    def __getstate__(self: Any) -> list[object]:
        return [getattr(self, name) for name in names]

    return __getstate__


def _set_state(names: Sequence[str]) -> Any:
    def __setstate__(self: Any, state: Sequence[object]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __setstate__


def _init(cls: Any, fields: Sequence[dataclasses.Field[Any]]) -> Any:
    """An `__init__` that puts the compiled one into its place when it is called."""

    def __init__(self: Any, /, *args: object, **kwargs: object) -> None:
        made = _compiled_init(cls, fields)
        if vars(cls)["__init__"] is __init__:
            cls.__init__ = made
        made(self, *args, **kwargs)

    return __init__


def _compiled_init(cls: Any, fields: Sequence[dataclasses.Field[Any]]) -> Any:
    """What `dataclasses` would have made."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": dataclasses.MISSING}
    ordered: list[str] = []
    named: list[str] = []
    body: list[str] = []
    for each in fields:
        name, value, default = each.name, each.name, ""
        if each.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = each.default_factory
            value = f"_make_{name}() if {name} is _MISSING else {name}"
            default = "=_MISSING"
        elif each.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = each.default
            default = f"=_default_{name}"
        if each.init:
            (named if each.kw_only else ordered).append(f"{name}{default}")
            body.append(f" _set(self, {name!r}, {value})")
        elif each.default_factory is not dataclasses.MISSING:
            body.append(f" _set(self, {name!r}, _make_{name}())")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    arguments = ", ".join(["self", *ordered, *(["*", *named] if named else [])])
    exec("\n".join([f"def __init__({arguments}):", *(body or [" pass"])]), known)
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    return made
