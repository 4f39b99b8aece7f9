"""The runtime values as of now, for whoever goes by one.

There is one `Runtime` in main and one in each worker, and it stays; what it reads from, the
snapshot, changes as a whole.  There are two ways to read.  Who looks seldom asks by key and
default: `feature`, `integer`, `double`, `fraction`, `sampled`.  What is looked at for every
connection is a `Setting`: its `value` is made when the values change, and costs an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from tcpmesh.runtime.snapshot import Snapshot
from tcpmesh.values.runtime import Entry

__all__ = ["Runtime", "Setting"]

Value = TypeVar("Value")
Watcher = Callable[["list[str]"], object]

SETTLED = 2
"""Values of the last change that are dealt with for each one that a new change has, so that nothing
of it is left then.
"""

PERCENT = 100
DENOMINATORS = (100, 10_000, 1_000_000)
"""By the numbers of `type.v3.FractionalPercent.DenominatorType`."""


class Setting(Generic[Value]):
    """One setting of a configuration: its default, or what the runtime has under its key."""

    __slots__ = ("__weakref__", "_read", "key", "value")

    def __init__(self, key: str, read: Callable[[], Value]) -> None:
        self.key = key
        self._read = read
        self.value = read()
        """As of now."""

    def refresh(self) -> None:
        """The runtime has another value."""
        self.value = self._read()


class Change:
    """A change of values that is put together bit by bit, for there may be many: what takes long
    then is done before all of it is made at once.
    """

    def __init__(self, runtime: Runtime, prefixes: tuple[str, ...]) -> None:
        self._runtime = runtime
        self._prefixes = prefixes
        self.values: dict[str, Entry | None] = {}
        """The keys that change, and what each has then."""
        self.watched: dict[str, None] = {}
        """Keys that somebody watches."""

    def add(self, values: Mapping[str, Entry | None]) -> None:
        """These keys too; what was said of one before does not count any more."""
        self._runtime.settle(SETTLED * len(values))
        self.values.update(values)
        if self._prefixes:
            self.watched.update((key, None) for key in values if key.startswith(self._prefixes))

    def make(self) -> None:
        """Make it: whoever goes by one of the values is told, and sees all of the others as they
        are then.
        """
        self._runtime.take(self)


class Runtime:
    """All values by their keys."""

    def __init__(self, values: Mapping[str, Entry] | None = None) -> None:
        self._snapshot = Snapshot(values or {})
        self._settings: WeakSet[Setting[Any]] = WeakSet()
        self._watchers: dict[str, list[Watcher]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is no value, as a rule."""
        return self._snapshot.is_empty

    def __len__(self) -> int:
        return len(self._snapshot)

    def get(self, key: str) -> Entry | None:
        """What is under a key."""
        return self._snapshot.get(key)

    def items(self) -> tuple[tuple[str, Entry], ...]:
        """All keys with what is under each."""
        return self._snapshot.items()

    def settle(self, most: int | None = None) -> bool:
        """Go on with what a large change has left to be done: so many values, or all.

        :return: whether there is more.
        """
        return self._snapshot.settle(most)

    def update(self, values: Mapping[str, Entry | None]) -> None:
        """These keys have these values from now on, or none; whoever goes by one of them is
        told.
        """
        change = self.change()
        change.add(values)
        change.make()

    def change(self) -> Change:
        """A change that is yet to be put together; there may be several at a time."""
        return Change(self, tuple(self._watchers))

    def take(self, change: Change) -> None:
        """All of a change holds from now on."""
        settings = [setting for setting in self._settings if setting.key in change.values]
        self._snapshot.put(change.values)
        for setting in settings:
            setting.refresh()
        for prefix, watchers in tuple(self._watchers.items()) if change.watched else ():
            mine = [key for key in change.watched if key.startswith(prefix)]
            for watcher in tuple(watchers) if mine else ():
                watcher(mine)

    def watch(self, prefix: str, watcher: Watcher) -> Callable[[], None]:
        """Call this with the keys that begin so, whenever such keys have changed.

        :return: ends it.
        """
        watchers = self._watchers.setdefault(prefix, [])
        watchers.append(watcher)
        return lambda: watchers.remove(watcher)

    # By key

    def feature(self, key: str, default: bool) -> bool:
        """Whether something is to be; of a number, whether it is not 0."""
        entry = self._snapshot.get(key)
        return default if entry is None or entry.truth is None else entry.truth

    def integer(self, key: str, default: int) -> int:
        """An integer from 0 on; what comes after the point does not count."""
        entry = self._snapshot.get(key)
        if entry is None:
            return default
        whole = entry.whole
        return default if whole is None else whole

    def double(self, key: str, default: float) -> float:
        """Any number."""
        entry = self._snapshot.get(key)
        return default if entry is None or entry.number is None else entry.number

    def fraction(self, key: str, default: Any, number: int) -> bool:
        """Whether this is one of the cases, which are told apart by a random number or a hash.  An
        integer under the key is a percentage.

        :param default: a `type.v3.FractionalPercent`.
        """
        entry = self._snapshot.get(key)
        if entry is not None and entry.fraction is not None:
            numerator, denominator = entry.fraction
        elif entry is not None and entry.whole is not None:
            numerator, denominator = entry.whole, PERCENT
        else:
            numerator, denominator = default.numerator, DENOMINATORS[default.denominator]
        return number % denominator < numerator

    def sampled(self, key: str, default: Any, number: int) -> bool:
        """As `fraction`, in the way of access log filters: an integer under the key is of the
        denominator of the default, and nothing else counts.

        :param default: a `type.v3.FractionalPercent`.
        """
        return number % DENOMINATORS[default.denominator] < self.integer(key, default.numerator)

    # As settings

    def feature_flag(self, message: Any) -> Setting[bool]:
        """A `core.v3.RuntimeFeatureFlag`; without a default it is true."""
        key: str = message.runtime_key
        default: bool = message.default_value.value if message.HasField("default_value") else True
        return self.setting(key, lambda: self.feature(key, default))

    def uint32(self, message: Any) -> Setting[int]:
        """A `core.v3.RuntimeUInt32`."""
        key: str = message.runtime_key
        default: int = message.default_value
        return self.setting(key, lambda: self.integer(key, default) % (1 << 32))

    def double_of(self, message: Any) -> Setting[float]:
        """A `core.v3.RuntimeDouble`."""
        key: str = message.runtime_key
        default: float = message.default_value
        return self.setting(key, lambda: self.double(key, default))

    def percent(self, message: Any) -> Setting[float]:
        """A `core.v3.RuntimePercent`; what is below 0 or above 100 counts as not there."""
        key: str = message.runtime_key
        default: float = message.default_value.value

        def read() -> float:
            value = self.double(key, default)
            return value if 0 <= value <= PERCENT else default

        return self.setting(key, read)

    def fractional_percent(self, message: Any) -> Setting[Callable[[int], bool]]:
        """A `core.v3.RuntimeFractionalPercent`: tells of a number whether it is one of the
        cases.
        """
        key: str = message.runtime_key
        default = message.default_value
        return self.setting(key, lambda: lambda number: self.fraction(key, default, number))

    def setting(self, key: str, read: Callable[[], Value]) -> Setting[Value]:
        """What `read` makes of the values: now, and whenever this key has another one; without a
        key it never changes.
        """
        made = Setting(key, read)
        if key:
            self._settings.add(made)
        return made
