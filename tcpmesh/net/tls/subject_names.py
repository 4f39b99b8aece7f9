"""The names of a certificate's subject, as Envoy writes them, and what is asked of them.

Envoy makes a string of each name and compares strings.  Only DNS names know wildcards: one that
stands in a certificate stands for one label, or a part of one.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from tcpmesh.facts import dataclass
from tcpmesh.net.tls.parsing import Unreadable, extension
from tcpmesh.wire.regex import Regex

_MOST = 256
"""So many certificates are kept as they were read: they come again with every connection."""

_SHORT_NAMES = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.INITIALS: "initials",
    NameOID.TITLE: "title",
    NameOID.STREET_ADDRESS: "street",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.PSEUDONYM: "pseudonym",
}
"""What OpenSSL and BoringSSL call the parts of a name, beside those that RFC 4514 has."""


class NameKind(enum.Enum):
    """Of a subject alternative name, called as Envoy's `SanType`; `ANY` is any of them."""

    EMAIL = "EMAIL"
    DNS = "DNS"
    URI = "URI"
    IP_ADDRESS = "IP_ADDRESS"
    OTHER_NAME = "OTHER_NAME"
    ANY = "ANY"


@dataclass(frozen=True)
class SubjectName:
    """One name; `kind` is `None` for those that Envoy shows as empty."""

    kind: NameKind | None
    text: str
    oid: str = ""


@dataclass(frozen=True)
class NameMatcher:
    """What a name has to be: `test` is the name of a pattern in Envoy's `StringMatcher`."""

    kind: NameKind
    test: str
    text: str
    ignore_case: bool = False
    oid: str = ""

    def compiled(self) -> Callable[[SubjectName], bool]:
        """The test.

        :raise tcpmesh.wire.regex.BadRegex: the expression is none.
        """
        text = self._text_test()
        if self.kind is NameKind.ANY:
            return lambda name: name.kind is not None and text(name.text)
        kind, oid = self.kind, self.oid
        return lambda name: name.kind is kind and name.oid == oid and text(name.text)

    def _text_test(self) -> Callable[[str], bool]:
        wanted = self.text
        if self.test == "safe_regex":
            return Regex(wanted).fullmatch
        if self.test == "exact" and self.kind is NameKind.DNS:
            return lambda text: dns_name_matches(wanted, text)
        test = _TESTS[self.test]
        if self.ignore_case:
            folded = wanted.lower()
            return lambda text: test(text.lower(), folded)
        return lambda text: test(text, wanted)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


def dns_name_matches(name: str, pattern: str) -> bool:
    """Whether a name is what a certificate's DNS name stands for, as Envoy has it."""
    name, pattern = name.lower(), pattern.lower()
    if name == pattern:
        return True
    label, dot, rest = name.partition(".")
    first, pattern_dot, pattern_rest = pattern.partition(".")
    if not dot or not pattern_dot or rest != pattern_rest or "*" in pattern_rest:
        return False
    if first == "*":
        return True
    if first.count("*") != 1 or first.startswith("xn--"):
        return False
    before, _, after = first.partition("*")
    return len(first) <= len(label) + 1 and label.startswith(before) and label.endswith(after)


@lru_cache(_MOST)
def read_certificate(der: bytes) -> x509.Certificate:
    """A certificate in DER.

    :raise ValueError: where nobody can read it.
    """
    return x509.load_der_x509_certificate(der)


def distinguished_name(name: x509.Name) -> str:
    """A name as RFC 2253 has it: bytes that are no ASCII are escaped."""
    text = name.rfc4514_string(_SHORT_NAMES)
    if text.isascii():
        return text
    return "".join(
        each if each.isascii() else "".join(f"\\{byte:02X}" for byte in each.encode())
        for each in text
    )


def subject_of(der: bytes) -> str:
    """The distinguished name of a certificate in DER; empty where there is none, or none that can
    be read.
    """
    try:
        return distinguished_name(read_certificate(der).subject) if der else ""
    except ValueError:
        return ""


def names_of(der: bytes, kind: NameKind) -> list[str]:
    """Its alternative names of a kind, likewise."""
    try:
        found = subject_names(read_certificate(der)) if der else ()
    except ValueError:
        return []
    return [each.text for each in found if each.kind is kind]


def subject_names(certificate: x509.Certificate) -> tuple[SubjectName, ...]:
    """The alternative names, in the order of the certificate; none where they cannot be read."""
    try:
        found = extension(certificate, x509.SubjectAlternativeName)
    except Unreadable:
        return ()
    return tuple(_name(each) for each in found or ())


def is_any(names: Iterable[SubjectName], wanted: Iterable[str]) -> bool:
    """Whether one of the names is one of those expected: DNS names as such, others as they
    stand.
    """
    expected = tuple(wanted)
    return any(
        dns_name_matches(each, name.text) if name.kind is NameKind.DNS else each == name.text
        for name in names
        if name.kind is not None
        for each in expected
    )


def listed(names: Iterable[SubjectName]) -> str:
    """Names as failures list them."""
    return f"[{', '.join(each.text for each in names)}]"


def _name(general: x509.GeneralName) -> SubjectName:
    if isinstance(general, x509.DNSName):
        return SubjectName(NameKind.DNS, general.value)
    if isinstance(general, x509.UniformResourceIdentifier):
        return SubjectName(NameKind.URI, general.value)
    if isinstance(general, x509.RFC822Name):
        return SubjectName(NameKind.EMAIL, general.value)
    if isinstance(general, x509.IPAddress):
        packed = getattr(general.value, "packed", b"")
        return SubjectName(NameKind.IP_ADDRESS, _ip_text(packed))
    if isinstance(general, x509.OtherName):
        oid = general.type_id.dotted_string
        return SubjectName(NameKind.OTHER_NAME, _asn1_text(general.value), oid)
    return SubjectName(None, "")


def _ip_text(packed: bytes) -> str:
    families = {4: socket.AF_INET, 16: socket.AF_INET6}
    return socket.inet_ntop(families[len(packed)], packed) if len(packed) in families else ""


_ENCODINGS = {
    0x0C: "utf-8",  # UTF8String
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # T61String
    0x16: "ascii",  # IA5String
    0x17: "ascii",  # UTCTime
    0x18: "ascii",  # GeneralizedTime
    0x1A: "ascii",  # VisibleString
    0x1B: "latin-1",  # GeneralString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
    0x04: "latin-1",  # OCTET STRING
}


_LONGEST_NUMBER = 1024
"""Bytes of a number that is put into words, which takes the longer, the longer it is."""


def _asn1_text(der: bytes) -> str:
    """The text that Envoy makes of a value in DER; empty where it has none."""
    if len(der) < 2:
        return ""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    content = der[start : start + length]
    if tag == 0x03:  # BIT STRING
        return content[1:].decode("latin-1")
    if tag in (0x30, 0x31):  # SEQUENCE, SET
        return der.decode("latin-1")
    if tag in _ENCODINGS:
        return content.decode(_ENCODINGS[tag], "replace")
    if tag == 0x01:  # BOOLEAN
        return "true" if any(content) else "false"
    if tag in (0x02, 0x0A) and len(content) <= _LONGEST_NUMBER:  # INTEGER, ENUMERATED
        return str(int.from_bytes(content, "big", signed=True))
    return ""
