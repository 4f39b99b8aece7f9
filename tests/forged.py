"""A peer that shakes hands as TLS wants it, and then makes whatever records it likes, rightly
encrypted: what OpenSSL's own functions would never send.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

ALERT, HANDSHAKE, DATA = 21, 22, 23
"""What a record may hold."""

KEY_UPDATE = b"\x18\0\0\x01\0"
"""A change of keys that asks for no answer."""

KEY_UPDATE_ASKED = b"\x18\0\0\x01\x01"
"""One that does."""

TICKET = b"\x04\0\0\x0f" + b"\0\0\x1c\x20" + b"\0\0\0\0" + b"\0" + b"\0\x02ab" + b"\0\0"
"""A session ticket of TLS 1.3."""

WARNING = b"\x01\x5a"
"""The alert `user_canceled`, which changes nothing."""

HELLO = b"\x01\0\0\x29\x03\x03" + b"r" * 32 + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
"""A ClientHello of TLS 1.2, with no more than it needs."""

HELLO_REQUEST = b"\0\0\0\0"
"""What a server of TLS 1.2 asks for another handshake with."""


class Forger:
    """One connection, which speaks to its peer through two functions.

    :param version: `SSL.TLS1_2_VERSION` or `SSL.TLS1_3_VERSION`.
    :param is_server: whether the peer is a client.
    :param prepare: sets what else a context needs.
    """

    def __init__(
        self,
        version: int,
        *,
        is_server: bool = False,
        prepare: Callable[[SSL.Context], object] = lambda context: None,
    ) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        context.set_cipher_list(
            b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1"
        )
        self._lines: list[bytes] = []
        context.set_keylog_callback(lambda connection, line: self._lines.append(line))
        prepare(context)
        self.tls = SSL.Connection(context, None)
        self._is_1_3 = version == SSL.TLS1_3_VERSION
        self._is_server = is_server
        if is_server:
            self.tls.set_accept_state()
        else:
            self.tls.set_connect_state()
        self._number = 0
        self._secret = b""
        self._key: Any = None
        self._iv = b""

    def shake(self, send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
        """Shake hands.

        :raise SSL.Error: the peer does not want to.
        :raise ConnectionError: it is gone.
        """
        while True:
            try:
                self.tls.do_handshake()
                over = True
            except SSL.WantReadError:
                over = False
            self._flush(send)
            if over:
                break
            data = receive()
            if not data:
                raise ConnectionError("the peer has ended")
            self.tls.bio_write(data)
        self._derive()

    def _flush(self, send: Callable[[bytes], object]) -> None:
        while True:
            try:
                data = self.tls.bio_read(1 << 16)
            except SSL.WantReadError:
                return
            send(data)

    def _derive(self) -> None:
        if self._is_1_3:
            name = b"SERVER" if self._is_server else b"CLIENT"
            start = name + b"_TRAFFIC_SECRET_0 "
            line = next(each for each in self._lines if each.startswith(start))
            self._use(bytes.fromhex(line.split()[-1].decode()))
            if self._is_server:
                self._number = 2  # after the tickets
            return
        server, client, secret = (
            self.tls.server_random(),
            self.tls.client_random(),
            self.tls.master_key(),
        )
        assert server is not None and client is not None and secret is not None
        keys = _prf(secret, b"key expansion" + server + client, 40)
        self._key = AESGCM(keys[16:32] if self._is_server else keys[:16])
        self._iv = keys[36:40] if self._is_server else keys[32:36]
        self._number = 1  # after Finished

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(_expand(secret, b"key", 16))
        self._iv = _expand(secret, b"iv", 12)
        self._number = 0

    def record(self, kind: int, body: bytes) -> bytes:
        """Such a record."""
        number = self._number.to_bytes(8, "big")
        self._number += 1
        if not self._is_1_3:
            head = bytes((kind, 3, 3))
            size = len(body).to_bytes(2, "big")
            text = self._key.encrypt(self._iv + number, body, number + head + size)
            return head + (8 + len(text)).to_bytes(2, "big") + number + bytes(text)
        plain = body + bytes((kind,))
        head = b"\x17\x03\x03" + (len(plain) + 16).to_bytes(2, "big")
        nonce = bytes(a ^ b for a, b in zip(self._iv, number.rjust(12, b"\0"), strict=True))
        return head + bytes(self._key.encrypt(nonce, plain, head))

    def key_update(self, message: bytes = KEY_UPDATE) -> bytes:
        """The record that changes this side's keys, which then are changed."""
        data = self.record(HANDSHAKE, message)
        self._use(_expand(self._secret, b"traffic upd", 32))
        return data


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label of TLS 1.3, without a context, for one block."""
    name = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes((len(name),)) + name + b"\0\x01"
    return hmac.digest(secret, info, hashlib.sha256)[:size]


def _prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA256 of TLS 1.2."""
    found, step = b"", seed
    while len(found) < size:
        step = hmac.digest(secret, step, hashlib.sha256)
        found += hmac.digest(secret, step + seed, hashlib.sha256)
    return found[:size]
