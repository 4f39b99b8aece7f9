"""What somebody meant who gave a file that is no bootstrap of Envoy's: a manifest of Kubernetes
with the bootstrap inside, a template that nobody filled in, the file of another proxy.

Such a file breaks every rule at once, and the first broken one says nothing.  What it is can be
told from a few marks, and then there is one sentence that helps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tcpmesh.config.text.problems import ConfigError, Place, Problem, lines_of
from tcpmesh.config.text.source import Document, Node, Scalar, Sequence
from tcpmesh.config.text.source import Mapping as MappingNode

#: What a template leaves for somebody to fill in, and who would have done so.
_TEMPLATES = (
    (r"\{\{.*?\}\}|\{%.*?%\}", "helm template, jinja2 or gomplate"),
    (r"<%.*?%>", "erb"),
    (r"\$\{[A-Za-z_][A-Za-z0-9_.:?-]*\}|\$\([A-Za-z_]\w*\)|\$[A-Z_]{2,}\b", "envsubst"),
    (r"@[A-Z][A-Z0-9_]*@|__[A-Z][A-Z0-9_]*__", "sed or the like"),
    (r"(?<!format)(?<!_string): *[\"']?(%[A-Z][A-Z0-9_]*%)[\"']?\s*\Z", "sed"),
)

_HAPROXY = re.compile(r"^(?:global|defaults|(?:frontend|backend|listen)\s+\S+)\s*$", re.MULTILINE)
_NGINX = re.compile(r"^\s*(?:stream|http|events|server|upstream\s+\S+)\s*\{", re.MULTILINE)

#: Keys that only a bootstrap has.
_BOOTSTRAP = re.compile(
    r"(?:^|[{,])\s*[\"']?(?:static|dynamic)(?:_resources|Resources)[\"']?\s*:",
    re.MULTILINE,
)


# ---------------------------------------------------------------- texts that cannot be read


MOST_SEARCHED = 1 << 16
"""Characters in which the marks of another program's configuration are looked for."""


def explained(error: ConfigError, text: str) -> ConfigError:
    """The error for a text that is neither YAML nor JSON, told better where it is known why."""
    problem = error.problems[0]
    other = _other_proxy(text)
    if other:
        plain = Problem(Place(problem.place.file, 1, 1), "", other, hint="write it as a bootstrap")
        return ConfigError((plain,), sources=error.sources)
    hint = placeholder_at(text, problem.place.line) or _first_placeholder(text)
    if hint:
        return ConfigError((replace(problem, hint=hint),), sources=error.sources)
    return error


def _other_proxy(text: str) -> str:
    text = text[:MOST_SEARCHED]
    if _HAPROXY.search(text):
        return "this is a configuration of HAProxy, and tcpmesh reads Envoy's"
    if _NGINX.search(text) and ";" in text:
        return "this is a configuration of nginx, and tcpmesh reads Envoy's"
    return ""


def placeholder_at(text: str, line: int) -> str:
    """What to do about the place-holder of a template in a line; empty where there is none."""
    lines = lines_of(text)
    return _hint(lines[line - 1], line) if 0 < line <= len(lines) else ""


def _first_placeholder(text: str) -> str:
    """The same for the first one of a kind that no bootstrap has."""
    for number, line in enumerate(lines_of(text), 1):
        if re.search(_TEMPLATES[0][0], line) or re.search(_TEMPLATES[1][0], line):
            return _hint(line, number)
    return ""


def _hint(line: str, number: int) -> str:
    for pattern, tool in _TEMPLATES:
        found = re.search(pattern, line)
        if found and not line.lstrip().startswith("#"):
            return (
                f"line {number} has {found[found.re.groups]}, which a template leaves to be filled "
                f"in: fill it in first, with {tool}"
            )
    return ""


def with_placeholders(
    problems: tuple[Problem, ...], sources: Mapping[str, str]
) -> tuple[Problem, ...]:
    """Problems, with the reason for those that are in a line with a place-holder."""
    lines = {name: lines_of(text) for name, text in sources.items()}
    return tuple(
        replace(problem, hint=hint)
        if (hint := _hint_of(problem, lines.get(problem.place.file, [])))
        else problem
        for problem in problems
    )


def _hint_of(problem: Problem, lines: list[str]) -> str:
    number = problem.place.line
    is_format = "format" in problem.path
    if problem.severity != "error" or is_format or not 0 < number <= len(lines):
        return ""
    return _hint(lines[number - 1], number)


# ---------------------------------------------------------------- texts that are something else


def refuse_other(document: Document) -> None:
    """Refuse a document that is known to be something else than a bootstrap.

    :raise ConfigError: with what it is and where the bootstrap would be found.
    """
    problem = recognised(document)
    if problem is not None:
        raise ConfigError((problem,), sources={document.file: document.text})


def recognised(document: Document, with_resources: bool = False) -> Problem | None:
    """What a document is, where that is known and no bootstrap, or no resources of xDS if these
    are welcome.
    """
    root = document.root
    other = _other_proxy(document.text) if isinstance(root, Scalar) else ""
    if other:
        return Problem(document.place(root), "", other, hint="write it as a bootstrap")
    looks = (_kubernetes, _compose, _dump, _version_1, *(() if with_resources else (_resources,)))
    for look in looks if isinstance(root, MappingNode) else ():
        found = look(root)
        if found is not None:
            node, text, hint = found
            return Problem(document.place(node), "", text, hint=hint)
    return None


_Found = tuple[Node, str, str]


def _string(root: MappingNode, name: str) -> str:
    value = root.items.get(name)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else ""


def _kubernetes(root: MappingNode) -> _Found | None:
    group, kind = _string(root, "apiVersion"), _string(root, "kind")
    if not group or not kind:
        return None
    node = root.keys["kind"]
    if "istio.io/" in group:
        text = f"this is a resource of Istio ({kind}), of which istiod makes Envoy's configuration"
        return node, text, "ask a running sidecar for its own: /config_dump of its admin interface"
    if group.startswith(("gateway.networking.k8s.io/", "gateway.envoyproxy.io/")):
        text = (
            f"this is a resource of the Gateway API ({kind}), of which a controller makes Envoy's"
        )
        return node, text + " configuration", "ask the running proxy for its own: /config_dump"
    for key, value in embedded(root):
        name = _name(root)
        escaped = key.replace(".", r"\.")
        return (
            value,
            f"this is a {kind} of Kubernetes: Envoy's configuration is the text of {key!r} in it",
            f"kubectl get {kind.lower()} {name} -o jsonpath='{{.data.{escaped}}}' > {key}; "
            f"`tcpmesh migrate` migrates such a text where it is",
        )
    text = f"this is a {kind} of Kubernetes, and no configuration of Envoy"
    return node, text, "give the file that the container reads, such as /etc/envoy/envoy.yaml"


def _name(root: MappingNode) -> str:
    inner = root.items.get("metadata")
    return (isinstance(inner, MappingNode) and _string(inner, "name")) or "NAME"


def embedded(root: MappingNode) -> Iterator[tuple[str, Node]]:
    """The texts of a manifest that are bootstraps, each with its key."""
    data = root.items.get("data")
    if isinstance(data, MappingNode):
        for key, value in data.items.items():
            if isinstance(value, Scalar) and is_bootstrap(str(value.value)):
                yield key, value


def is_bootstrap(text: str) -> bool:
    """Whether a text looks like a bootstrap, of whatever version."""
    return bool(_BOOTSTRAP.search(text))


def _compose(root: MappingNode) -> _Found | None:
    services = root.items.get("services")
    if not isinstance(services, MappingNode):
        return None
    for each in services.items.values():
        if isinstance(each, MappingNode) and {"image", "build"} & each.items.keys():
            hint = "give the file that it mounts for the proxy, such as ./envoy.yaml"
            return root.keys["services"], "this is a Compose file of containers", hint
    return None


def _dump(root: MappingNode) -> _Found | None:
    configs = root.items.get("configs")
    if not isinstance(configs, Sequence):
        return None
    for each in configs.items:
        if isinstance(each, MappingNode) and "ConfigDump" in _string(each, "@type"):
            text = "this is the /config_dump of a running Envoy, of which the bootstrap is one part"
            hint = "jq '.configs[] | select(.bootstrap) | .bootstrap' takes that part out"
            return root.keys["configs"], text, hint
    return None


def _version_1(root: MappingNode) -> _Found | None:
    """The v1 API: JSON with addresses as URLs and clusters below `cluster_manager`."""
    manager = root.items.get("cluster_manager")
    listeners = root.items.get("listeners")
    is_old = isinstance(manager, MappingNode) and "clusters" in manager.items
    if isinstance(listeners, Sequence):
        first = next((each for each in listeners.items if isinstance(each, MappingNode)), None)
        is_old = is_old or (first is not None and _string(first, "address").startswith("tcp://"))
    if not is_old:
        return None
    node = root.keys["listeners" if "listeners" in root.items else "cluster_manager"]
    text = "this is a configuration of the v1 API, which Envoy has not had since 1.9"
    hint = "write it anew: the page on migrating has each part of v1 beside its v3 form"
    return node, text, hint


def _resources(root: MappingNode) -> _Found | None:
    resources = root.items.get("resources")
    if not isinstance(resources, Sequence) or "static_resources" in root.items:
        return None
    text = "these are resources for xDS, and no bootstrap"
    hint = "name this file in dynamic_resources, as path_config_source of lds_config or cds_config"
    return root.keys["resources"], text, hint
