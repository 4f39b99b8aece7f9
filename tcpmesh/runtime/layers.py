"""The layers of `layered_runtime`, in main, and what they come to.

A static layer stays as the configuration has it, one on disk is read again whenever its root is
replaced, one of RTDS is what its discovery brings, and the admin layer is what operators set by
request.  Of a key, the value of the last
layer counts that has it; a disk layer that is not there, or cannot be read, is no layer.

Only what changes is worked out and told.  What operators set holds at once.  A tree of files is
read, and compared with what it was before, in steps and beside the traffic, and the change holds as
a whole when all of it is known; what is set meanwhile wins over it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from itertools import chain, count
from sys import getrefcount
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import RuntimeLayer

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.config.fields.runtime_values import runtime_values
from tcpmesh.facts import dataclass
from tcpmesh.net.moves import watch_moves
from tcpmesh.runtime.entries import NotReadable, entry_of, entry_of_text
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.runtime.stats import RuntimeStats
from tcpmesh.runtime.tree import read_tree
from tcpmesh.stats.store import Store
from tcpmesh.values.link import RuntimeValues
from tcpmesh.values.runtime import Entry

log = Logger(namespace="runtime")

STEP = 256
"""Keys that are compared in one step."""

MOST_KEYS = 1000
"""Keys in one message to workers."""

MOST_TEXT = 1 << 18
"""Characters in one message to workers, where it has more than one key."""

FIRST_LOADS = 2
"""Envoy reads its layers once when it begins and once more when it is built, and counts both."""

OUR_REFERENCES = 2
"""To an object that only a variable has, while Python is asked how many there are."""

Values = Mapping[str, Entry]
Changes = dict[str, "Entry | None"]
Reading = Generator[None, None, "tuple[list[Values | None], int]"]
"""Reads all trees: the values of each, and how many cannot be read."""


class NoAdminLayer(Exception):
    """There is no layer for what operators set."""


@dataclass
class Layer:
    """One layer; `values` are `None` where it is not there."""

    name: str
    values: Values | None
    path: str = ""
    """Where on disk it is, if it is there."""

    root: str = ""
    """What is replaced when it changes."""

    is_static: bool = False
    discovered: Values | None = None
    """Of one of RTDS: what its discovery has brought last, from which `values` are made."""


class Layers:
    """All layers of a `bootstrap.v3.Bootstrap`.  A `layered_runtime` without layers has one that
    operators change, as in Envoy; without a `layered_runtime` there is none.

    :param service_cluster: the name of the cluster that this proxy belongs to (`node.cluster`).
    :param send: tells workers.
    """

    def __init__(
        self,
        bootstrap: Any,
        service_cluster: str,
        store: Store,
        send: Callable[[RuntimeValues], object],
    ) -> None:
        self._send = send
        self._stats = RuntimeStats(store)
        messages = _messages(bootstrap)
        self._layers = [_layer(each, service_cluster) for each in messages]
        self._admin = next(
            (
                layer
                for layer, each in zip(self._layers, messages, strict=True)
                if each.HasField("admin_layer")
            ),
            None,
        )
        self._disk = [each for each in self._layers if each.path]
        self._read_again = [
            each for each in self._layers if each.path or each.discovered is not None
        ]
        """Those that change by themselves."""
        self._numbers = count(1)
        """Of changes that workers are told of."""
        self._set_meanwhile: dict[str, None] | None = None
        """Keys that operators have set while trees are being read; `None` where none are."""
        self._is_dirty = False
        self._cooperator: Cooperator | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self.runtime = Runtime()
        """What the layers come to."""
        found, errors = _at_once(self._read())
        for layer, values in zip(self._read_again, found, strict=True):
            layer.values = values
        keys = chain.from_iterable(layer.values for layer in self._layers if layer.values)
        self.runtime.update({key: self._final(key) for key in dict.fromkeys(keys)})
        for _ in range(FIRST_LOADS):
            self._count(errors)

    def begin(self) -> tuple[tuple[str, Entry], ...]:
        """All values, for a worker that begins."""
        return tuple(self.runtime.items())

    def start(self, clock: IReactorTime, cooperator: Cooperator) -> None:
        """Look after the layers on disk.

        :raise tcpmesh.net.moves.CannotWatch: where a directory is not there.
        """
        self._cooperator = cooperator
        if self._disk:
            self._stop_watching = watch_moves(
                clock, [each.root for each in self._disk], self._reload
            )

    def stop(self) -> None:
        """Look after them no more."""
        self._stop_watching()
        self._stop_watching = lambda: None
        self._cooperator = None

    # What operators do

    def modify(self, overrides: Mapping[str, str]) -> None:
        """Set these keys in the admin layer; an empty text takes one away again.

        :raise NoAdminLayer: where there is none.
        :raise NotReadable: where a text is no value; nothing is set then.
        """
        if self._admin is None:
            raise NoAdminLayer("No admin layer specified")
        entries = {key: entry_of_text(text) for key, text in overrides.items() if text}
        values = dict(self._admin.values or {})
        for key in overrides:
            values.pop(key, None)
        values.update(entries)
        self._admin.values = values
        self._stats.admin_overrides_active.set(int(bool(values)))
        if self._set_meanwhile is not None:
            self._set_meanwhile.update(dict.fromkeys(overrides))
        self._hold({key: self._final(key) for key in overrides})
        if self._disk:
            self._reload()
        else:
            self._count(0)

    def replace_static(self, bootstrap: Any) -> None:
        """The static layers of a bootstrap are these now, of which layers on disk and the admin
        layer are those that are there already, in the same order.
        """
        others = iter([each for each in self._layers if not each.is_static])
        layers = [
            _layer(each, "") if each.HasField("static_layer") else next(others)
            for each in _messages(bootstrap)
        ]
        before = [layer.values for layer in self._layers if layer.is_static]
        after = [layer.values for layer in layers if layer.is_static]
        if before == after and len(layers) == len(self._layers):
            return
        self._layers = layers
        keys = dict.fromkeys(chain.from_iterable(each or () for each in (*before, *after)))
        changes = {key: self._final(key) for key in keys}
        changes = {key: new for key, new in changes.items() if new != self.runtime.get(key)}
        if self._set_meanwhile is not None:
            self._set_meanwhile.update(dict.fromkeys(changes))
        self.runtime.update(changes)
        telling = _Telling(next(self._numbers), self._send)
        for key, entry in changes.items():
            telling.add(key, entry)
        telling.end({})
        self._count(0)

    def shown(self) -> list[tuple[str, Values]]:
        """The layers that are there: the name and the values of each."""
        return [(each.name, each.values) for each in self._layers if each.values is not None]

    def discovered(self, name: str, values: Values) -> None:
        """A layer of RTDS has these values: at once before the layers are looked after, and then
        beside the traffic.
        """
        layer = next(each for each in self._read_again if each.name == name)
        layer.discovered = values
        if self._cooperator is None:
            for _ in self._load():
                pass
        else:
            self._reload()

    # Layers on disk, and of RTDS

    def _reload(self) -> None:
        """Read all of them again, beside the traffic; once more where that is wanted meanwhile."""
        if self._cooperator is None:
            return
        if self._set_meanwhile is not None:
            self._is_dirty = True
            return
        self._set_meanwhile = {}
        self._is_dirty = False
        task = self._cooperator.cooperate(self._load())
        task.whenDone().addBoth(self._loaded)

    def _loaded(self, result: object) -> None:
        self._set_meanwhile = None
        if isinstance(result, Failure) and not result.check(TaskStopped):
            log.failure("the runtime layers cannot be read", result)
        if self._is_dirty:
            self._reload()

    def _load(self) -> Generator[None, None, None]:
        found, errors = yield from self._read()
        changed: dict[str, None] = {}
        for layer, values in zip(self._read_again, found, strict=True):
            yield from _compare(layer.values or {}, values or {}, changed)
        yield from self._change(changed, found)
        self._count(errors)

    def _read(self) -> Reading:
        found: list[Values | None] = []
        errors = 0
        for layer in self._read_again:
            values = layer.discovered
            try:
                if layer.path:
                    values = yield from read_tree(layer.path)
            except NotReadable as e:
                errors += 1
                log.warn("runtime layer {name} is left out: {why}", name=layer.name, why=e)
            found.append(values)
        return found, errors

    def _change(
        self, changed: dict[str, None], found: list[Values | None]
    ) -> Generator[None, None, None]:
        """These layers have these values now, and these keys, of which none are left in the end,
        perhaps others than before.
        """
        new = {id(layer): values for layer, values in zip(self._read_again, found, strict=True)}
        stack = [new.get(id(layer), layer.values) for layer in self._layers]
        change = self.runtime.change()
        telling = _Telling(next(self._numbers), self._send)
        for index, key in enumerate(changed):
            entry = _final(stack, key)
            has_told = False
            if entry != self.runtime.get(key):
                change.add({key: entry})
                has_told = telling.add(key, entry)
            if has_told or index % STEP == 0:
                yield
        before = [layer.values for layer in self._read_again]
        for layer, values in zip(self._read_again, found, strict=True):
            layer.values = values
        change.add(self._set_since(changed))
        change.make()
        yield
        telling.end(self._set_since(changed))
        stack.clear()  # these hold now
        yield from _let_go(before)
        while changed:
            for _ in range(min(STEP, len(changed))):
                changed.popitem()
            yield
        while self.runtime.settle(STEP):
            yield

    def _set_since(self, changed: Mapping[str, None]) -> Changes:
        """The keys among these that operators have set since the trees began to be read."""
        keys = self._set_meanwhile or {}
        return {key: self._final(key) for key in keys if key in changed}

    def _hold(self, changes: Changes) -> None:
        """These keys have these values now, everywhere."""
        self.runtime.update(changes)
        self._send(RuntimeValues(next(self._numbers), tuple(changes.items()), True))

    def _final(self, key: str) -> Entry | None:
        return _final([each.values for each in self._layers], key)

    def _count(self, errors: int) -> None:
        """The layers have been read, all but so many."""
        stats, there = self._stats, sum(bool(each.values is not None) for each in self._disk)
        (stats.load_error if errors else stats.load_success).tally += 1
        (stats.override_dir_exists if there > 1 else stats.override_dir_not_exists).tally += 1
        stats.num_layers.set(sum(each.values is not None for each in self._layers))
        stats.num_keys.set(len(self.runtime))


def _messages(bootstrap: Any) -> list[Any]:
    """The layers of a bootstrap."""
    messages = list(bootstrap.layered_runtime.layers)
    if bootstrap.HasField("layered_runtime") and not messages:
        messages = [RuntimeLayer(admin_layer=RuntimeLayer.AdminLayer())]
    return messages


def _layer(message: Any, service_cluster: str) -> Layer:
    kind = message.WhichOneof("layer_specifier")
    if kind == "static_layer":
        return Layer(message.name, static_values(message.static_layer), is_static=True)
    if kind == "disk_layer":
        disk = message.disk_layer
        more = service_cluster if disk.append_service_cluster else ""
        path = "/".join(each for each in (disk.symlink_root, disk.subdirectory, more) if each)
        return Layer(message.name, None, path, disk.symlink_root)
    return Layer(message.name, {}, discovered={} if kind == "rtds_layer" else None)


def static_values(struct: Any) -> Values:
    """The values in a `google.protobuf.Struct`."""
    values: dict[str, Entry] = {}
    for names, value in runtime_values(struct):
        values.setdefault(".".join(names), entry_of(value))
    return values


class _Telling:
    """Tells workers of a change in messages of a bounded size."""

    def __init__(self, number: int, send: Callable[[RuntimeValues], object]) -> None:
        self._number = number
        self._send = send
        self._part: Changes = {}
        self._size = 0

    def add(self, key: str, entry: Entry | None) -> bool:
        """One key more; whether a message was sent."""
        more = len(key) + (len(entry.text) if entry is not None else 0)
        self._size += more
        is_full = bool(self._part) and (len(self._part) == MOST_KEYS or self._size > MOST_TEXT)
        if is_full:
            self._tell(is_last=False)
            self._size = more
        self._part[key] = entry
        return is_full

    def end(self, more: Changes) -> None:
        """The last keys."""
        self._part.update(more)
        self._tell(is_last=True)

    def _tell(self, is_last: bool) -> None:
        self._send(RuntimeValues(self._number, tuple(self._part.items()), is_last))
        self._part = {}


def _final(stack: list[Values | None], key: str) -> Entry | None:
    for values in reversed(stack):
        if values is not None and key in values:
            return values[key]
    return None


def _compare(
    before: Values, after: Values, changed: dict[str, None]
) -> Generator[None, None, None]:
    """Add the keys whose values are different."""
    for index, key in enumerate(chain(before, after)):
        if index % STEP == 0:
            yield
        if before.get(key) != after.get(key):
            changed[key] = None


def _let_go(waste: list[Values | None]) -> Generator[None, None, None]:
    """To free many values takes long, for each has to be fetched into the processor's cache: a few
    in a step.  A mapping at which somebody is still looking stays whole, and is freed by them.
    """
    while waste:
        values = waste.pop()
        if isinstance(values, dict) and getrefcount(values) <= OUR_REFERENCES:
            while values:
                for _ in range(min(STEP, len(values))):
                    values.popitem()
                yield


def _at_once(reading: Reading) -> tuple[list[Values | None], int]:
    """All steps at once: before anybody is served."""
    while True:
        try:
            next(reading)
        except StopIteration as stopped:
            found: tuple[list[Values | None], int] = stopped.value
            return found
