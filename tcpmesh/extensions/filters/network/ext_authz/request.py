"""What an authorization service is told of a client: an `AttributeContext`, as Envoy fills it for a
connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.serialization import Encoding
from envoy.service.auth.v3 import external_auth_pb2

from tcpmesh.accesslog.collectors.entries import fill_address
from tcpmesh.accesslog.collectors.texts import valid
from tcpmesh.net.tls.subject_names import NameKind, names_of, read_certificate, subject_of
from tcpmesh.values.stream.stream_info import StreamInfo


class Requests:
    """Makes those of one filter.

    :param message: its `ExtAuthz`.
    :param node: the `core.v3.Node` that this proxy is, or `None`.
    """

    def __init__(self, message: Any, node: Any) -> None:
        self._certificate: bool = message.include_peer_certificate
        self._session: bool = message.include_tls_session
        self._namespaces = tuple(message.metadata_context_namespaces)
        self._labels = _labels(node, message.bootstrap_metadata_labels_key)

    def of(self, info: StreamInfo) -> Any:
        """What is asked about a client."""
        request = external_auth_pb2.CheckRequest()
        attributes = request.attributes
        source, destination = attributes.source, attributes.destination
        name = info.hello.server_name.lower()
        fill_address(source.address, info.remote_address)
        fill_address(destination.address, info.local_address)
        destination.service = valid(name)
        destination.labels.update(self._labels)
        peer = info.tls.peer_chain[0] if info.tls.peer_chain else b""
        source.principal = _principal(peer)
        destination.principal = _principal(info.tls.local_certificate)
        if self._certificate:
            source.certificate = _pem(peer)
        if self._session:
            attributes.tls_session.sni = valid(name)
        attributes.metadata_context.SetInParent()
        self._add_metadata(attributes.metadata_context, info.metadata)
        return request

    def _add_metadata(self, context: Any, metadata: Mapping[str, Mapping[str, Any]]) -> None:
        for namespace in self._namespaces:
            if namespace in metadata:
                context.filter_metadata[namespace].update(_all_valid(metadata[namespace]))


def _labels(node: Any, key: str) -> dict[str, str]:
    """The texts below a key of the node's metadata; what is no text is empty."""
    if node is None or not key or key not in node.metadata.fields:
        return {}
    fields: Iterable[tuple[str, Any]] = node.metadata.fields[key].struct_value.fields.items()
    return {name: value.string_value for name, value in fields}


def _principal(der: bytes) -> str:
    """Who has a certificate: its first URI, else its first DNS name, else its subject."""
    names = names_of(der, NameKind.URI) or names_of(der, NameKind.DNS)
    return valid(names[0] if names else subject_of(der))


def _pem(der: bytes) -> str:
    """A certificate in PEM form, percent-encoded; empty where there is none to read."""
    if not der:
        return ""
    try:
        pem = read_certificate(der).public_bytes(Encoding.PEM)
    except ValueError:
        return ""
    return quote(pem, safe="")


def _all_valid(value: Any) -> Any:
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, Mapping):
        return {valid(key): _all_valid(inner) for key, inner in value.items()}
    return [_all_valid(each) for each in value] if isinstance(value, list | tuple) else value
