"""What is found out before anything is applied: whether the system lets a new listener have its
addresses and its files, and what extensions of other packages say.

Each listener that is new or changed is built once and given back, and each new address is bound and
let go.  What can still go wrong afterwards is put back (`tcpmesh.server.reload.applying`).
"""

from __future__ import annotations

from collections.abc import Iterator

from tcpmesh.config.changes.difference import Part
from tcpmesh.config.fields.values import binds_to_port
from tcpmesh.config.text.problems import Path, Problem, path_text
from tcpmesh.listener.listen_socket import ListenSocket, listen_sockets_of
from tcpmesh.net.listen import BindError
from tcpmesh.server.reload.served import Served
from tcpmesh.server.reload.source import Judged


def checking(judged: Judged, server: Served, problems: list[Problem]) -> Iterator[None]:
    """Look at each resource that is new or changed, one at most in each step.

    :param problems: is given what keeps it from being applied.
    """
    loaded, difference = judged.loaded, judged.difference
    assert loaded is not None
    rehearsal = server.rehearsal(loaded)
    for part in difference.clusters:
        if part.after is not None:
            yield from rehearsal.looking(part.after, _path("clusters", part), problems)
        yield
    for part in difference.listeners:
        if part.after is not None:
            path = _path("listeners", part)
            yield from rehearsal.looking(part.after, path, problems)
            for reason in _unbindable(part, server):
                problems.append(Problem(loaded.places.at(*path), path_text(path), reason))
        yield


def _path(kind: str, part: Part) -> Path:
    return ("static_resources", kind, part.index)


def _unbindable(part: Part, server: Served) -> Iterator[str]:
    """Why its addresses cannot be bound that no listener of ours has, nor it has had itself."""
    ours = server.main.listeners.addresses()
    if part.before is not None:
        ours |= {
            each.address for each in listen_sockets_of(part.before, server.network, ListenSocket)
        }
    for each in listen_sockets_of(part.after, server.network, ListenSocket):
        if each.address not in ours and binds_to_port(part.after):
            try:
                server.network.bind(each.address, each.options).close_unopened()
            except BindError as e:
                yield str(e)
