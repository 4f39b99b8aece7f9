"""Bootstraps that the tests of this folder share, and how they load one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tcpmesh.config.load import ARGUMENT, Loaded, load
from tcpmesh.config.text.problems import ConfigError, Problem

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"

#: The words that tell what Envoy knows and tcpmesh does not act on from what is wrong.
NOT_SUPPORTED = "tcpmesh does not support it yet"

#: A small bootstrap that is right; each field on a line of its own.
GOOD = f"""\
static_resources:
  listeners:
  - name: front
    address:
      socket_address:
        address: 127.0.0.1
        port_value: 10000
    filter_chains:
    - filters:
      - name: proxy
        typed_config:
          "@type": {TCP_PROXY}
          stat_prefix: tcp
          cluster: web
          idle_timeout: 5s
  clusters:
  - name: web
    connect_timeout: 0.25s
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: 127.0.0.2
                port_value: 8080
"""


def load_text(text: str, **options: Any) -> Loaded:
    """Load a bootstrap from YAML text."""
    return load(config_yaml=text, **options)


def problems_of(text: str, **options: Any) -> tuple[Problem, ...]:
    """What is wrong with a YAML text; empty where it loads."""
    try:
        load_text(text, **options)
    except ConfigError as error:
        return error.problems
    return ()


def said(text: str, **options: Any) -> list[str]:
    """The same as lines of text, without the name of the file."""
    return [str(problem).replace(f"{ARGUMENT}:", "", 1) for problem in problems_of(text, **options)]


def judged(text: str, **options: Any) -> list[str]:
    """The same without what is only not supported yet: what Envoy would say too."""
    return [line for line in said(text, **options) if NOT_SUPPORTED not in line]


def warned(text: str, **options: Any) -> list[str]:
    """The warnings of a text that loads."""
    return [
        str(problem).replace(f"{ARGUMENT}:", "", 1)
        for problem in load_text(text, **options).warnings
    ]


def changed(*changes: tuple[str, str]) -> str:
    """The good bootstrap with parts of its text replaced; each part must be there."""
    text = GOOD
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def environ(**values: str) -> Mapping[str, str]:
    """Environment variables to load with."""
    return values
