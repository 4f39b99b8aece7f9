"""Cipher suites as Envoy names them: BoringSSL's rules, and the suites that they come to.

Envoy hands the list to BoringSSL as one string of rules: names of suites, names of properties that
many suites share, operators that take suites away or move them, and groups in brackets of which the
client may choose.  OpenSSL knows a similar language with other words, which passes over what it
does not know; so the rules are followed here, and OpenSSL is given nothing but names of suites.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache

from tcpmesh.facts import dataclass

DEFAULT = (
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
"""What Envoy asks for where a configuration says nothing."""

TLS1_3 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""The suites of TLS 1.3, which are not chosen among."""


class BadCiphers(ValueError):
    """Rules that come to nothing, or that BoringSSL does not understand; the text says which."""


@dataclass(frozen=True)
class CipherList:
    """Suites for TLS 1.2 and below, the best first; `groups` has those of which a client may choose
    as it likes, each with its neighbours in the list.
    """

    suites: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()

    @property
    def prefers_what_client_does(self) -> bool:
        """Whether some group has AES128 and ChaCha20: a client without the instructions for AES
        puts ChaCha20 first, and is given it.
        """
        return any(
            any("CHACHA20" in each for each in group)
            and any("AES128-GCM" in each for each in group)
            for group in self.groups
        )


@dataclass(frozen=True)
class _Suite:
    name: str
    standard: str
    exchange: str
    authentication: str
    encryption: str
    mac: str
    is_old: bool
    """From before TLS 1.2."""

    is_deprecated: bool = False


def _suite(name: str, standard: str, *, is_deprecated: bool = False) -> _Suite:
    exchange, authentication = "RSA", "RSA"
    if name.startswith("ECDHE-"):
        exchange, authentication = "ECDHE", name.split("-")[1]
    elif name.startswith("PSK-"):
        exchange, authentication = "PSK", "PSK"
    found = re.search(r"AES\d+-GCM|AES\d+|CHACHA20|CBC3", name)
    encryption = found.group().replace("CBC3", "3DES") if found else ""
    is_aead = "GCM" in name or "CHACHA20" in name
    mac = "AEAD" if is_aead else name.rpartition("-")[2]
    return _Suite(
        name, standard, exchange, authentication, encryption, mac, mac == "SHA", is_deprecated
    )


_SUITES = (
    _suite("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    _suite("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    _suite("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    _suite("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    _suite("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    _suite("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    _suite("ECDHE-PSK-CHACHA20-POLY1305", "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256"),
    _suite("ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    _suite("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    _suite("ECDHE-PSK-AES128-CBC-SHA", "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA"),
    _suite("ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    _suite("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    _suite("ECDHE-PSK-AES256-CBC-SHA", "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA"),
    _suite(
        "ECDHE-ECDSA-AES128-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        is_deprecated=True,
    ),
    _suite("ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", is_deprecated=True),
    _suite("AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    _suite("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    _suite("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    _suite("PSK-AES128-CBC-SHA", "TLS_PSK_WITH_AES_128_CBC_SHA"),
    _suite("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"),
    _suite("PSK-AES256-CBC-SHA", "TLS_PSK_WITH_AES_256_CBC_SHA"),
    _suite("DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", is_deprecated=True),
)
"""All of them, as BoringSSL prefers them."""

_BY_NAME = {name: each for each in _SUITES for name in (each.name, each.standard)}

_ECDHE = {"exchange": frozenset({"ECDHE"})}
_ALIASES: dict[str, dict[str, frozenset[str]]] = {
    "ALL": {},
    "HIGH": {},
    "FIPS": {},
    "kRSA": {"exchange": frozenset({"RSA"})},
    "kPSK": {"exchange": frozenset({"PSK"})},
    "kECDHE": _ECDHE,
    "kEECDH": _ECDHE,
    "ECDH": _ECDHE,
    "ECDHE": _ECDHE,
    "EECDH": _ECDHE,
    "aRSA": {"authentication": frozenset({"RSA"})},
    "aECDSA": {"authentication": frozenset({"ECDSA"})},
    "ECDSA": {"authentication": frozenset({"ECDSA"})},
    "aPSK": {"authentication": frozenset({"PSK"})},
    "RSA": {"exchange": frozenset({"RSA"}), "authentication": frozenset({"RSA"})},
    "PSK": {"exchange": frozenset({"PSK"}), "authentication": frozenset({"PSK"})},
    "3DES": {"encryption": frozenset({"3DES"})},
    "AES128": {"encryption": frozenset({"AES128", "AES128-GCM"})},
    "AES256": {"encryption": frozenset({"AES256", "AES256-GCM"})},
    "AES": {"encryption": frozenset({"AES128", "AES128-GCM", "AES256", "AES256-GCM"})},
    "AESGCM": {"encryption": frozenset({"AES128-GCM", "AES256-GCM"})},
    "CHACHA20": {"encryption": frozenset({"CHACHA20"})},
    "SHA1": {"mac": frozenset({"SHA"})},
    "SHA": {"mac": frozenset({"SHA"})},
    "SSLv3": {"is_old": frozenset({"True"})},
    "TLSv1": {"is_old": frozenset({"True"})},
    "TLSv1.2": {"is_old": frozenset({"False"})},
}

_OPERATORS = frozenset("-+!@")
_TOKEN = re.compile(r"[A-Za-z0-9._-]+")
_BITS = {"3DES": 112, "AES128": 128, "AES128-GCM": 128}


def cipher_list(rules: Sequence[str]) -> CipherList:
    """The suites that rules of a configuration come to; those of PSK, for which there is no key,
    are left out.

    :raise BadCiphers: a name is unknown, or no suite is left.
    """
    return _cipher_list(":".join(rules if "".join(rules) else DEFAULT))


@lru_cache(maxsize=64)
def _cipher_list(text: str) -> CipherList:
    try:
        found = _Rules(text).result()
    except BadCiphers:
        unknown = [name for name in _names(text) if not _is_good(name)]
        if not unknown:
            raise BadCiphers(f"{text!r} is no list of cipher suites") from None
        raise BadCiphers(f"unknown cipher suites: {', '.join(unknown)}") from None
    suites = [(suite.name, number) for suite, number in found if suite.authentication != "PSK"]
    groups: dict[int, list[str]] = {}
    for name, number in suites:
        if number:
            groups.setdefault(number, []).append(name)
    return CipherList(
        tuple(name for name, _ in suites),
        tuple(tuple(group) for group in groups.values() if len(group) > 1),
    )


def signs_handshake(cipher: str) -> bool:
    """Whether a server signs with its key where this cipher suite is used: not where clients
    encipher with it, as in the key exchange of RSA.

    :param cipher: a name as OpenSSL has it.
    """
    suite = _BY_NAME.get(cipher)
    return suite is None or suite.exchange != "RSA"


def _names(text: str) -> Iterator[str]:
    """What Envoy tries one by one, to tell which is wrong."""
    stripped = (each.lstrip("-+!") for each in re.split(r"[:|\[\]]", text))
    return (each for each in stripped if each)


def _is_good(name: str) -> bool:
    try:
        return bool(_Rules(name).result())
    except BadCiphers:
        return False


class _Rules:
    """Follows a text of rules, as `ssl_create_cipher_list` of BoringSSL does."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._group = 0
        self._groups = 0
        self._order = list(_SUITES)
        self._active: dict[str, int] = {}
        """The suites that are on, each with the number of its group, or 0."""

    def result(self) -> list[tuple[_Suite, int]]:
        """The suites with the numbers of their groups."""
        if self._text.startswith("DEFAULT"):
            self._apply("", _SUITES, include_deprecated=False)
            self._at = len("DEFAULT")
        while self._at < len(self._text):
            self._step()
        if self._group:
            raise BadCiphers("a group has no end")
        found = [
            (each, self._active[each.name]) for each in self._order if each.name in self._active
        ]
        if not found:
            raise BadCiphers("no cipher suite is left")
        return found

    def _step(self) -> None:
        character = self._text[self._at]
        if self._group:
            self._step_in_group(character)
        elif character == "[":
            self._at += 1
            self._groups += 1
            self._group = self._groups
        elif character in _OPERATORS:
            if self._groups:
                raise BadCiphers("there are operators besides groups")
            self._at += 1
            self._rule(character)
        elif character == ":":
            self._at += 1
        else:
            self._rule("")

    def _step_in_group(self, character: str) -> None:
        if character == "]":
            self._group = 0
            self._at += 1
        elif character == "|":
            self._at += 1
        elif character.isalnum():
            self._rule("")
        else:
            raise BadCiphers("an operator stands in a group")

    def _token(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise BadCiphers("a name is missing")
        self._at = found.end()
        return found.group()

    def _rule(self, operator: str) -> None:
        name = self._token()
        if operator == "@":
            self._strength(name)
            return
        is_multiple = self._text[self._at : self._at + 1] == "+"
        if not is_multiple and name in _BY_NAME:
            self._apply(operator, [_BY_NAME[name]], include_deprecated=True)
            return
        if not is_multiple and name in TLS1_3:
            return
        names = [name]
        while self._text[self._at : self._at + 1] == "+":
            self._at += 1
            names.append(self._token())
        properties = [self._alias(each) for each in names]
        matching = [
            each for each in self._order if all(_has(each, wanted) for wanted in properties)
        ]
        # What is old and weak is added where it is named, and taken away with the others.
        self._apply(operator, matching, include_deprecated=bool(operator) or "3DES" in names)

    def _alias(self, name: str) -> dict[str, frozenset[str]]:
        if name not in _ALIASES:
            raise BadCiphers(f"unknown: {name}")
        return _ALIASES[name]

    def _strength(self, name: str) -> None:
        if name != "STRENGTH":
            raise BadCiphers(f"unknown: @{name}")
        on = [each for each in self._order if each.name in self._active]
        on.sort(key=lambda each: -_BITS.get(each.encryption, 256))
        self._order = [each for each in self._order if each.name not in self._active] + on

    def _apply(self, operator: str, suites: Iterable[_Suite], *, include_deprecated: bool) -> None:
        chosen = {each.name for each in suites if include_deprecated or not each.is_deprecated}
        active = self._active
        if operator == "!":
            self._order = [each for each in self._order if each.name not in chosen]
        elif operator == "-":
            self._move({name for name in chosen if name in active}, to_start=True)
        elif operator == "+":
            self._move({name for name in chosen if name in active})
        else:
            self._move({name for name in chosen if name not in active})
            active.update((name, self._group) for name in chosen if name not in active)
        if operator in ("!", "-"):
            for name in chosen:
                active.pop(name, None)

    def _move(self, names: Container[str], *, to_start: bool = False) -> None:
        """Move suites to the end, or to the start, in the order that they have."""
        moved = [each for each in self._order if each.name in names]
        others = [each for each in self._order if each.name not in names]
        self._order = moved + others if to_start else others + moved


def _has(suite: _Suite, wanted: dict[str, frozenset[str]]) -> bool:
    return all(str(getattr(suite, name)) in values for name, values in wanted.items())
