"""From an `@type` to the extension that understands it: the path is the type.

`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy` is found in
`tcpmesh/extensions/filters/network/tcp_proxy/__init__.py`, one that begins with `tcpmesh` likewise,
and an enum value such as STRICT_DNS in
`tcpmesh/extensions/clusters/strict_dns.py`; nothing has to be listed anywhere.  A module registers
what it has with the decorators here when it is imported, and it is imported when a configuration
asks for it.

Other people's packages name their modules in the entry-point group `tcpmesh.extensions`, under the
full name of the message, and use the same decorators.  Theirs go before ours.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from importlib.metadata import entry_points
from random import Random
from typing import Any, TypeAlias, TypeVar

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf.struct_pb2 import Struct
from zope.interface import implementer
from zope.interface.interface import InterfaceClass

from twisted.internet.defer import Deferred, succeed

from tcpmesh.config.fields.settings import WrongFields
from tcpmesh.config.messages.types import TYPED_STRUCTS, extension_type, unpack
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import (
    IAccessLogManager,
    ICluster,
    IDnsResolver,
    INameCaches,
    INameTables,
    INetwork,
)
from tcpmesh.net.internal.listeners import InternalListeners
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.scope import Scope
from tcpmesh.stats.store import Store
from tcpmesh.values.drain import DrainDecision
from tcpmesh.values.live.clients import Limits
from tcpmesh.values.live.host_events import RecentEvents
from tcpmesh.values.overload import Overload
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.shared.counts import LocalCounts, SharedCounts
from tcpmesh.values.shared.objects import SharedObjects
from tcpmesh.values.shared.secrets import SecretTable
from tcpmesh.values.stream.closes import Closes
from tcpmesh.values.workers import connection_ids, only_process

GROUP = "tcpmesh.extensions"

Extension = TypeVar("Extension", bound=type)

_by_type: dict[str, tuple[Any, Any]] = {}
_by_value: dict[tuple[str, str], Any] = {}


class UnknownExtension(LookupError):
    """No module of tcpmesh or of an installed package understands this type or value."""


class BrokenExtension(Exception):
    """What another package has for a type cannot be built; the text says which, and why.

    :param config: the `google.protobuf.Any` that was to be built.
    :param problems: where it is the message: what is wrong with it, by the paths of its fields.
    """

    def __init__(
        self, text: str, config: Any = None, problems: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.config = config
        self.problems = dict(problems or {})


class WrongConfig(WrongFields):
    """What an extension raises where it cannot serve its message: it is refused with the line of
    each of these fields.
    """


def _no_cluster(name: str) -> ICluster | None:
    return None


@implementer(IAccessLogManager)
class _NoAccessLogs:
    """Access logs where there are no files."""

    def open(self, path: str) -> Any:
        """No file.

        :raise OSError: always.
        """
        raise OSError(errno.ENOENT, "there are no files here", path)

    def reopen(self) -> None:
        """There are no files."""

    def stop(self) -> Deferred[None]:
        """There are no files."""
        return succeed(None)


@dataclass(frozen=True)
class MainContext:
    """What an extension may use that decides: discovery, a resolver, an event sink."""

    network: INetwork
    """For connections of main's own, such as those of health checks."""

    store: Store
    random: Random = field(default_factory=Random)
    node: Any = None
    """The `core.v3.Node` that this proxy is, or `None`."""

    bind_config: Any = None
    """The `core.v3.BindConfig` of clusters without one of their own
    (`cluster_manager.upstream_bind_config`), or `None`.
    """

    outlier_log: str = ""
    """The path of the event log of outlier detection
    (`cluster_manager.outlier_detection.event_log_path`).
    """

    resolver: IDnsResolver | None = None
    """The resolver of clusters that name none; `None` for Envoy's default."""

    runtime: Runtime = field(default_factory=Runtime)
    """The runtime values as of now."""

    objects: SharedObjects = field(default_factory=SharedObjects)
    """What several extensions of main's share, such as a stream to a collector."""

    cluster: Callable[[str], ICluster | None] = _no_cluster
    """Finds a cluster by name, for calls of main's own, at the time of the call."""

    local_cluster: str = ""
    """The name of the cluster of all proxies like this one
    (`cluster_manager.local_cluster_name`).
    """

    access_logs: IAccessLogManager = field(default_factory=_NoAccessLogs)
    """The files of main's access logs."""

    secrets: SecretTable = field(default_factory=SecretTable)
    """The secrets of TLS as of now."""

    scope: Scope | None = None
    """Where a transport socket counts: the scope of its cluster."""

    cluster_metadata: Any = None
    """The `core.v3.Metadata` of the cluster that a transport socket belongs to, or `None`."""

    names: INameCaches | None = None
    """The DNS caches; `None` where no name is looked up for clients."""

    bootstrap: Any = field(default_factory=Bootstrap)
    """The Bootstrap that the proxy began with: what discovery brings is added to it."""

    options: ServerOptions = field(default_factory=ServerOptions)
    """What the command line says, for instance of fields that nobody knows."""

    events: RecentEvents = field(default_factory=RecentEvents)
    """What has happened to hosts of late."""

    processes: Callable[[], Sequence[int]] = only_process
    """The numbers of the processes of this proxy, main's own the first."""


@dataclass(frozen=True)
class WorkerContext:
    """What an extension may use that serves: a filter, a listener filter, a policy."""

    network: INetwork
    store: Store
    cluster: Callable[[str], ICluster | None]
    """Finds a cluster by name, at the time of the call: clusters come and go."""

    random: Random = field(default_factory=Random)
    node: Any = None
    """The `core.v3.Node` that this proxy is, or `None`."""

    local_cluster: str = ""
    """The name of the cluster of all proxies like this one
    (`cluster_manager.local_cluster_name`).
    """

    bind_config: Any = None
    """The `core.v3.BindConfig` of clusters without one of their own
    (`cluster_manager.upstream_bind_config`), or `None`.
    """

    shared: SharedCounts = field(default_factory=LocalCounts)
    """The counts that limits of the whole proxy go by, whichever worker moves them."""

    index: int = 0
    """The number of the worker."""

    connection_ids: Iterator[int] = field(default_factory=lambda: connection_ids(0))
    """What connections are numbered with (CONNECTION_ID)."""

    runtime: Runtime = field(default_factory=Runtime)
    """The runtime values as of now."""

    objects: SharedObjects = field(default_factory=SharedObjects)
    """What several extensions of the worker share, such as a stream to a collector."""

    access_logs: IAccessLogManager = field(default_factory=_NoAccessLogs)
    """The files of this worker's access logs."""

    secrets: SecretTable = field(default_factory=SecretTable)
    """The secrets of TLS as of now."""

    closes: Closes = field(default_factory=Closes)
    """The connections that have ended last, the latest at the end."""

    limits: Limits = field(default_factory=Limits)
    """The limits that know clients, which may be asked about them."""

    scope: Scope | None = None
    """Where a transport socket counts: the scope of its listener or cluster."""

    cluster_metadata: Any = None
    """The `core.v3.Metadata` of the cluster that a transport socket belongs to, or `None`."""

    drain: DrainDecision | None = None
    """Whether connections are to be closed for a drain, where there is a listener."""

    overload: Overload = field(default_factory=Overload)
    """What is to be done for want of resources."""

    names: INameTables | None = None
    """What is known of the DNS caches; `None` where no name is looked up for clients."""

    internal: InternalListeners | None = None
    """The listeners in this process that connections can go to; `None` where nobody connects."""


Context: TypeAlias = "MainContext | WorkerContext"


def extension(message: type | str) -> Callable[[Extension], Extension]:
    """Class decorator: this class is built, as `cls(message, context)`, for a typed configuration
    of this message type.

    :param message: the class of the message; or the full name of a type that no message has, which
        a configuration gives as a TypedStruct: then `message` is its `google.protobuf.Struct`
        (`tcpmesh.config.fields.settings` reads one).
    :raise ValueError: where another class has claimed the type.
    """
    kind: Any = Struct if isinstance(message, str) else message
    name = message if isinstance(message, str) else kind.DESCRIPTOR.full_name

    def register(cls: Extension) -> Extension:
        if _by_type.setdefault(name, (kind, cls))[1] is not cls:
            raise ValueError(f"{name} is registered for {_by_type[name][1]!r} already")
        return cls

    return register


def enum_value(category: str, value: str) -> Callable[[Extension], Extension]:
    """Class decorator: this class stands for an enum value, such as ("clusters", "STATIC").

    :raise ValueError: where another class has claimed the value.
    """

    def register(cls: Extension) -> Extension:
        if _by_value.setdefault((category, value), cls) is not cls:
            raise ValueError(f"{value} is registered for {_by_value[category, value]!r} already")
        return cls

    return register


def find(config: Any) -> tuple[Any, Any]:
    """The class for a `google.protobuf.Any`, and the message in it.

    :raise UnknownExtension: where nothing understands its type.
    """
    name = extension_type(config)
    if name not in _by_type:
        module = _module(name)
        if not module:
            raise UnknownExtension(name)
        _import(module)
        if name not in _by_type:
            raise BrokenExtension(
                f"{module}, the module for {name}, registers nothing for that type: "
                f"is there a class with the decorator @extension?",
                config,
            )
    message_type, cls = _by_type[name]
    if config.TypeName() in TYPED_STRUCTS:
        content: Any = unpack(config)
        return cls, content.value
    message = message_type()
    config.Unpack(message)
    return cls, message


def build(config: Any, context: Context) -> Any:
    """The extension that a `google.protobuf.Any` configures.

    :raise UnknownExtension: where nothing understands its type.
    :raise BrokenExtension: where another package's class fails.
    """
    cls, message = find(config)
    name = extension_type(config)
    try:
        return cls(message, context)
    except (Exception, SystemExit) as error:
        if cls.__module__.startswith("tcpmesh."):
            raise
        problems = error.problems if isinstance(error, WrongFields) else None
        reason = str(error) if problems else f"{type(error).__name__}: {error}"
        raise BrokenExtension(
            f"{_name_of(cls)}, the extension for {name}, cannot be built: {reason}",
            config,
            problems,
        ) from error


def build_checked(config: Any, context: Context, check: Callable[[Any], None]) -> Any:
    """As `build`; and what a check refuses, with a `BrokenExtension`, is given back, if it can be.

    :raise UnknownExtension: where nothing understands its type.
    :raise BrokenExtension: where another package's class fails, or the check does.
    """
    built = build(config, context)
    try:
        check(built)
    except Exception:
        if hasattr(built, "close"):
            built.close()
        raise
    return built


def check_provides(built: Any, interface: InterfaceClass, config: Any) -> None:
    """See to it that what `build` made has all that an interface asks for, be it said or not.

    :raise BrokenExtension: where it has not.
    """
    missing = [name for name in interface.names(all=True) if not hasattr(built, name)]
    if missing:
        text = f"{_name_of(type(built))}, the extension for {extension_type(config)}, has no"
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        raise BrokenExtension(f"{text} {names}: see {interface.__name__}", config)


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def find_value(category: str, value: str) -> Any:
    """The class for an enum value.

    :raise UnknownExtension: where there is none.
    """
    if (category, value) not in _by_value:
        _import_if_there(f"tcpmesh.extensions.{category}.{value.lower()}")
    if (category, value) not in _by_value:
        raise UnknownExtension(f"{category} {value}")
    return _by_value[category, value]


def cluster_type(message: Any) -> tuple[Any, Any]:
    """The class that finds the hosts of a `cluster.v3.Cluster`, and the message that its
    `cluster_type` has for it, or `None`.

    :raise UnknownExtension: where nothing knows this type.
    """
    if message.WhichOneof("cluster_discovery_type") != "cluster_type":
        return find_value("clusters", message.DiscoveryType.Name(message.type)), None
    custom = message.cluster_type
    if custom.HasField("typed_config"):
        return find(custom.typed_config)
    return find_value("clusters", custom.name.removeprefix("envoy.cluster.").upper()), None


def _module(name: str) -> str:
    """The module that registers a type: an installed package's, or else ours; empty for none."""
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry.module
    module = _own_module(name)
    return module if module and _is_there(module) else ""


def _own_module(name: str) -> str:
    """The module that is ours for a type, if there is one; empty for a type that has no place."""
    parts = name.split(".")
    if parts[0] in ("envoy", "tcpmesh") and parts[1:2] == ["extensions"] and len(parts) > 4:
        return ".".join(("tcpmesh", "extensions", *parts[2:-2]))
    sink = name.removeprefix(_OLD_SINKS)
    if sink != name:
        words = re.findall("[A-Z][a-z]*", sink.removesuffix("Config").removesuffix("Sink"))
        return "tcpmesh.extensions.stat_sinks." + "_".join(words).lower()
    return ""


_OLD_SINKS = "envoy.config.metrics.v3."
"""Stats sinks whose messages Envoy has not moved to its extensions: the name alone tells them apart
(`DogStatsdSink` is in `dog_statsd`, `MetricsServiceConfig` in `metrics_service`).
"""


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _import_if_there(module: str) -> None:
    if _is_there(module):
        _import(module)


def _import(module: str) -> None:
    """Import a module, all of it or nothing: where it fails in the middle, what it has registered
    by then is no extension.
    """
    tables: tuple[dict[Any, Any], ...] = (_by_type, _by_value)
    before = [table.copy() for table in tables]
    try:
        importlib.import_module(module)
    except BaseException:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)
        raise
