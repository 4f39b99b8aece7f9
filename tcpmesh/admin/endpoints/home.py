"""The home page: how the proxy is doing at a glance, and the way to everything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from tcpmesh.admin.answers.endpoint import HTML, Answer, Call, Endpoint, Parameter
from tcpmesh.admin.answers.html_page import page
from tcpmesh.interfaces import IServer
from tcpmesh.values.statuses import ClusterStatus, HostStatus, ListenerStatus

_ROWS = 100


def _home(call: Call) -> Answer:
    return Answer(_pieces(call), content_type=HTML)


def _pieces(call: Call) -> Iterator[str]:
    before, after = page("Admin")
    yield before + _heading(call.server)
    yield from _listener_table(call.server.listener_statuses())
    yield from _cluster_table(call.server.cluster_statuses())
    yield "<h2>Pages</h2>\n<table>\n"
    for endpoint in sorted(call.endpoints, key=lambda each: each.path):
        yield _command(endpoint)
    yield "</table>\n" + after


def _heading(server: IServer) -> str:
    state = "state" if server.state == "LIVE" else "state bad"
    node = f"<span>node {escape(server.node.id)}</span>" if server.node.id else ""
    return (
        f'<header><h1>tcpmesh</h1><span class="{state}">{escape(server.state)}</span>'
        f"<span>up {_duration(int(server.uptime))}</span>{node}</header>\n"
    )


def _duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _listener_table(statuses: Sequence[ListenerStatus]) -> Iterator[str]:
    yield f"<h2>Listeners</h2>\n<table>\n{_titles('Name', 'Addresses')}"
    for status in statuses[:_ROWS]:
        addresses = "<br>".join(f"<code>{escape(address)}</code>" for address in status.addresses)
        yield f"<tr><td>{escape(status.name)}</td><td>{addresses}</td></tr>\n"
    yield _rest(statuses, "listeners", 2)


def _cluster_table(statuses: Sequence[ClusterStatus]) -> Iterator[str]:
    titles = _titles("Name", "Healthy hosts", numbers=("Active", "Connections", "Failed connects"))
    yield f"<h2>Clusters</h2>\n<table>\n{titles}"
    for status in statuses[:_ROWS]:
        healthy = sum(not host.health_flags for host in status.hosts)
        mark = "good" if healthy and healthy == len(status.hosts) else "bad"
        numbers = "".join(
            f'<td class="number">{sum(_number(host, name) for host in status.hosts)}</td>'
            for name in ("cx_active", "cx_total", "cx_connect_fail")
        )
        yield (
            f'<tr><td>{escape(status.name)}</td><td class="{mark}">{healthy} of '
            f"{len(status.hosts)}</td>{numbers}</tr>\n"
        )
    yield _rest(statuses, "clusters", 5)


def _number(host: HostStatus, name: str) -> int:
    return host.counters.get(name, 0) + host.gauges.get(name, 0)


def _titles(*names: str, numbers: Sequence[str] = ()) -> str:
    cells = [f"<th>{name}</th>" for name in names] + [
        f'<th class="number">{name}</th>' for name in numbers
    ]
    return f"<tr>{''.join(cells)}</tr>\n"


def _rest(statuses: Sequence[object], path: str, columns: int) -> str:
    """The end of a table: a note where it has no rows, or not all of them."""
    if 0 < len(statuses) <= _ROWS:
        return "</table>\n"
    note = f'<a href="{path}">and {len(statuses) - _ROWS} more</a>' if statuses else "none"
    return f'<tr><td class="dim" colspan="{columns}">{note}</td></tr>\n</table>\n'


def _command(endpoint: Endpoint) -> str:
    path = escape(endpoint.path[1:] or "/")
    if endpoint.changes:
        name = f'<form method="post" action="{path}"><button>{path}</button></form>'
    else:
        name = f'<a href="{path}">{path}</a>'
    options = ""
    if endpoint.parameters:
        method = "post" if endpoint.changes else "get"
        fields = "".join(map(_field, endpoint.parameters))
        options = (
            f'<details><summary>options</summary><form class="options" method="{method}" '
            f'action="{path}">'
            f"{fields}<span></span><span><button>{path}</button></span></form></details>"
        )
    return f"<tr><td>{name}</td><td>{escape(endpoint.summary)}{options}</td></tr>\n"


def _field(parameter: Parameter) -> str:
    name = escape(parameter.name)
    if parameter.flag:
        field = f'<input type="checkbox" name="{name}" value="">'
    elif parameter.choices:
        choices = "".join(f"<option>{escape(choice)}</option>" for choice in parameter.choices)
        field = f'<select name="{name}">{choices}</select>'
    else:
        field = f'<input name="{name}">'
    return f"<label>{field}</label><small>{name}: {escape(parameter.summary)}</small>"


ENDPOINTS = (Endpoint("/", "Admin home page", _home),)
