"""Building what names extensions of other packages before anything is started, for nobody else can
say whether they serve their configuration.

What tcpmesh has itself is judged by rules, with the line of what is wrong; what others have brought
is known to itself only.  So each listener and cluster that names such a type is built once and
given back, on a network that is none: nothing is bound and nobody is connected to.  What an
extension has to say of its message (`tcpmesh.registry.WrongConfig`) becomes a problem with a line,
and so does one that cannot be built.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from zope.interface import implementer
from zope.interface.interface import InterfaceClass

from twisted.internet.defer import Deferred, succeed

from tcpmesh.accesslog.opening import CannotLog, open_for_records
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.manager import discovery_of
from tcpmesh.config.load import Loaded
from tcpmesh.config.messages.types import extension_type, is_foreign, unpack
from tcpmesh.config.text.problems import Path, Problem, path_text
from tcpmesh.interfaces import (
    IAccessLogFile,
    IAccessLogFilter,
    IAccessLogger,
    IAccessLogManager,
    IBootstrapExtension,
    IDnsResolver,
    IResourceMonitor,
    IStatsSink,
)
from tcpmesh.listener.listener import Listener
from tcpmesh.listener.updates import in_parts
from tcpmesh.registry import (
    BrokenExtension,
    UnknownExtension,
    build,
    build_checked,
    check_provides,
)
from tcpmesh.server.assembly import assemble
from tcpmesh.server.workers.no_network import NoNetwork
from tcpmesh.stats.store import Store

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

Found = tuple[Path, AnyMessage]

AT_ONCE = 16
"""Parts of a message that are looked at in one step."""


def extension_problems(loaded: Loaded) -> tuple[Problem, ...]:
    """What extensions of other packages find wrong in a configuration, or what is wrong with
    them.
    """
    problems: list[Problem] = []
    bootstrap = loaded.bootstrap
    resources = bootstrap.static_resources
    for kind in ("listeners", "clusters"):
        for index, message in enumerate(getattr(resources, kind)):
            problems += foreign_problems(loaded, message, ("static_resources", kind, index))
    for path, config in filter(None, _foreign(bootstrap, ())):
        if path[0] in _OF_BOOTSTRAP:
            problems += _problems(loaded, config, path, [(path, config)], _of_bootstrap)
    return tuple(problems)


def foreign_problems(loaded: Loaded, message: Any, path: Path) -> tuple[Problem, ...]:
    """The same of one listener or cluster, which is at this path."""
    foreign = [found for found in _foreign(message, path) if found is not None]
    return _problems_of(loaded, message, path, foreign)


def _problems_of(
    loaded: Loaded, message: Any, path: Path, foreign: list[Found]
) -> tuple[Problem, ...]:
    if not foreign:
        return ()
    rehearse = _listener if path[1] == "listeners" else _cluster
    return tuple(_problems(loaded, message, path, foreign, rehearse))


class Rehearsal:
    """Builds the listeners and clusters of a configuration once and gives them back, to see whether
    they can be: an access log may not be opened, and the file of a certificate may be gone.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        basis = Bootstrap()
        for secret in loaded.bootstrap.static_resources.secrets:
            basis.static_resources.secrets.add().CopyFrom(secret)
        self._proxy = assemble(basis, Node(), NoNetwork(), Store(), make_access_logs=_TriedLogs)

    def looking(self, message: Any, path: Path, problems: list[Problem]) -> Iterator[None]:
        """Find out what is wrong with the listener or cluster at this path, of clusters what
        extensions of other packages say: in small steps, for a listener may have thousands of
        chains.

        :param problems: is given what is found.
        """
        foreign: list[Found] = []
        for number, found in enumerate(_foreign(message, path)):
            if found is not None:
                foreign.append(found)
            if not number % AT_ONCE:
                yield
        wrong = _problems_of(self._loaded, message, path, foreign)
        problems += wrong
        if wrong or path[1] != "listeners":
            return
        for part in in_parts(message):
            yield
            try:
                Listener(part, self._proxy.worker.context).close()
            except (BrokenExtension, CannotLog, UnknownExtension) as e:
                problems.append(Problem(self._loaded.places.at(*path), path_text(path), str(e)))
                return


def _foreign(message: Message, path: Path) -> Iterator[Found | None]:
    """Where a message names types of other packages, and `None` for each other part of it."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        here = (*path, field.name)
        if field.message_type.GetOptions().map_entry:
            parts = [((*here, key), each) for key, each in value.items()]
        elif isinstance(value, Message):
            parts = [(here, value)]
        else:
            parts = [((*here, index), each) for index, each in enumerate(value)]
        for place, part in parts:
            if not isinstance(part, Message):
                continue
            inner: Message | None = part
            yield None
            if isinstance(part, AnyMessage):
                if is_foreign(extension_type(part)):
                    yield place, part
                inner = unpack(part)
            if inner is not None:
                yield from _foreign(inner, place)


def _problems(
    loaded: Loaded, message: Any, path: Path, foreign: list[Found], rehearse: Any
) -> Iterator[Problem]:
    try:
        rehearse(message, foreign)
    except BrokenExtension as e:
        place = next((at for at, config in foreign if config == e.config), path)
        for field, text in (e.problems or {"": str(e)}).items():
            where = (*place, *_steps(field))
            yield Problem(loaded.places.at(*where), path_text(where), text)
    except UnknownExtension as e:
        yield Problem(loaded.places.at(*path), path_text(path), f"no package has {e}")
    except (Exception, SystemExit) as e:
        kind = str(path[1]).removesuffix("s") if path[0] == "static_resources" else "extension"
        text = f"this {kind} cannot be built: {type(e).__name__}: {e}"
        yield Problem(loaded.places.at(*path), path_text(path), text)


def _steps(text: str) -> Path:
    """The path that a text such as `limits[0].bytes` writes."""
    return tuple(int(number) if number else name for name, number in _STEP.findall(text))


def _listener(message: Any, foreign: list[Found]) -> None:
    proxy = _proxy()
    Listener(message, proxy.worker.context).close()


def _cluster(message: Any, foreign: list[Found]) -> None:
    proxy = _proxy()
    discovery_of(message, proxy.main.context).stop()
    cluster = Cluster(message, proxy.worker.context)
    cluster.close()
    cluster.release()
    for path, config in foreign:
        if "event_logger" in path:
            build(config, proxy.main.context).close()


def _of_bootstrap(config: AnyMessage, foreign: list[Found]) -> None:
    (path, _) = foreign[0]
    kind = IAccessLogFilter if "filter" in path else _OF_BOOTSTRAP[str(path[0])]
    check = partial(check_provides, interface=kind, config=config)
    built = build_checked(config, _proxy().main.context, check)
    if hasattr(built, "close"):
        built.close()


_OF_BOOTSTRAP: dict[str, InterfaceClass] = {
    "admin": IAccessLogger,
    "bootstrap_extensions": IBootstrapExtension,
    "overload_manager": IResourceMonitor,
    "stats_sinks": IStatsSink,
    "typed_dns_resolver_config": IDnsResolver,
}
"""What else of a bootstrap may name extensions, and what each has to provide."""


def _proxy() -> Any:
    return assemble(Bootstrap(), Node(), NoNetwork(), Store())


@implementer(IAccessLogManager)
class _TriedLogs:
    """Files of access logs that are opened, and closed at once: nothing is written."""

    def __init__(self, *args: object) -> None:
        """Whatever others are made with."""

    def open(self, path: str) -> IAccessLogFile:
        """See whether it can be opened.

        :raise OSError: where it cannot.
        """
        os.close(open_for_records(path))
        return _NoFile()

    def reopen(self) -> None:
        """There are no files."""

    def stop(self) -> Deferred[None]:
        """There are no files."""
        return succeed(None)


@implementer(IAccessLogFile)
class _NoFile:
    """A file that nobody writes to."""

    def write(self, text: str) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """It is closed."""
