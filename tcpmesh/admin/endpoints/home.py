"""The home page, live for people, and a list of all endpoints with their forms for anybody else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tcpmesh.admin.answers.assets import asset
from tcpmesh.admin.answers.endpoint import HTML, Answer, Call, Endpoint, Parameter, listed

_PLACE = "<!-- endpoints -->"


def _home(call: Call) -> Answer:
    return Answer(_pieces(call), content_type=HTML)


def _pieces(call: Call) -> Iterator[str]:
    before, _, after = asset("home.html").decode().partition(_PLACE)
    yield before + '<table id="home-table">\n<thead class="visually-hidden"><tr>'
    yield "<th>Path</th><th>What it does</th></tr></thead>\n<tbody>\n"
    for endpoint in listed(call.endpoints):
        yield _row(endpoint)
    yield "</tbody>\n</table>\n" + after


def _row(endpoint: Endpoint) -> str:
    path = escape(endpoint.path[1:] or "/")
    summary = escape(endpoint.summary)
    if endpoint.changes:
        name = f'{_form(endpoint)}<button>{path}</button><span class="method">POST</span></form>'
    else:
        name = f'<a href="{path}">{path}</a>'
    options = ""
    if endpoint.parameters:
        fields = "".join(
            _field(endpoint, number, each) for number, each in enumerate(endpoint.parameters)
        )
        word = "Send" if endpoint.changes else "Show"
        options = (
            f'<details><summary>with parameters<span class="visually-hidden"> of {path}</span>'
            f"</summary>{_form(endpoint, 'options')}{fields}"
            f'<div class="buttons"><button>{word} {path}</button></div></form></details>'
        )
    return f"<tr><td>{name}</td><td>{summary}{options}</td></tr>\n"


def _form(endpoint: Endpoint, kind: str = "") -> str:
    path, summary = escape(endpoint.path[1:] or "/"), escape(endpoint.summary)
    method = "post" if endpoint.changes else "get"
    return f'<form class="{kind}" method="{method}" action="{path}" data-summary="{summary}">'


def _field(endpoint: Endpoint, number: int, parameter: Parameter) -> str:
    name = escape(parameter.name)
    known = escape(f"field-{endpoint.path.strip('/').replace('/', '-')}-{number}")
    more = f'id="{known}" name="{name}" aria-describedby="{known}-more"'
    if parameter.flag:
        field = f'<input type="checkbox" {more} value="">'
    elif parameter.choices:
        choices = "".join(f"<option>{escape(choice)}</option>" for choice in parameter.choices)
        field = f"<select {more}>{choices}</select>"
    else:
        field = f'<input {more} autocomplete="off" spellcheck="false">'
    return (
        f'<label for="{known}">{name}</label>{field}'
        f'<small id="{known}-more">{escape(parameter.summary)}</small>'
    )


ENDPOINTS = (Endpoint("/", "Admin home page", _home),)
