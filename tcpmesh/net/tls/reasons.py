"""Why TLS failed, as Envoy says it: OpenSSL's reasons in the words and numbers of BoringSSL.

Both have a list of errors, in which each error has a library and a reason; what access logs show is
BoringSSL's list.  Where one library has one reason for what are two in the other, the more frequent
one stands here.  What each reason is called was seen in Envoy, which was provoked in each way.
"""

from __future__ import annotations

from collections.abc import Sequence

from tcpmesh.net.tls.openssl.library import LibraryError

_SSL = 20
"""The number of the library `SSL routines` in OpenSSL's errors."""

_FIRST = 0x10000000
"""What BoringSSL adds to a reason of it."""

_BAD_DECRYPT = "503316581:Cipher functions:OPENSSL_internal:BAD_DECRYPT"

_REASONS: dict[int, tuple[int, str]] = {
    101: (266, "NO_SHARED_GROUP"),
    108: (137, "DECODE_ERROR"),  # bad key share
    110: (137, "DECODE_ERROR"),  # bad extension
    112: (164, "MISSING_EXTENSION"),
    115: (112, "BAD_PACKET_LENGTH"),
    118: (253, "NO_COMMON_SIGNATURE_ALGORITHMS"),
    123: (114, "BAD_SIGNATURE"),
    134: (125, "CERTIFICATE_VERIFY_FAILED"),
    140: (103, "BAD_CHANGE_CIPHER_SPEC"),
    146: (146, "ENCRYPTED_LENGTH_TOO_LONG"),  # data length too long
    149: (142, "DIGEST_CHECK_FAILED"),
    150: (146, "ENCRYPTED_LENGTH_TOO_LONG"),
    152: (150, "EXCESSIVE_MESSAGE_SIZE"),
    155: (155, "HTTPS_PROXY_REQUEST"),
    156: (156, "HTTP_REQUEST"),
    159: (131, "CLIENTHELLO_PARSE_FAILED"),  # length mismatch
    193: (184, "NO_SHARED_CIPHER"),
    199: (192, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
    207: (194, "PROTOCOL_IS_SHUTDOWN"),
    226: (133, "CONNECTION_REJECTED"),  # an OCSP response is demanded, and there is none
    227: (149, "ERROR_PARSING_EXTENSION"),
    234: (133, "CONNECTION_REJECTED"),  # a callback has failed
    244: (223, "UNEXPECTED_MESSAGE"),
    252: (233, "UNKNOWN_PROTOCOL"),
    258: (240, "UNSUPPORTED_PROTOCOL"),
    261: (242, "WRONG_CIPHER_RETURNED"),
    266: (240, "UNSUPPORTED_PROTOCOL"),  # wrong SSL version
    267: (247, "WRONG_VERSION_NUMBER"),
    271: (102, "BAD_ALERT"),
    281: (139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
    291: (223, "UNEXPECTED_MESSAGE"),  # application data after close_notify
    298: (219, "TOO_MANY_EMPTY_FRAGMENTS"),  # record too small
    338: (236, "UNSAFE_LEGACY_RENEGOTIATION_DISABLED"),
    339: (182, "NO_RENEGOTIATION"),
    370: (246, "WRONG_SIGNATURE_TYPE"),
    373: (157, "INAPPROPRIATE_FALLBACK"),
    378: (244, "WRONG_CURVE"),
    396: (240, "UNSUPPORTED_PROTOCOL"),  # version too low
    409: (220, "TOO_MANY_WARNING_ALERTS"),
    443: (247, "WRONG_VERSION_NUMBER"),  # bad record type
}

_LAYER = 313
"""`record layer failure`, which says no more than the error before it."""

_BAD_MAC = 281
_NO_CERTIFICATE = 199
_HANDSHAKE_FAILURE = 40
_ALERT = 1000
"""What both libraries add to an alert, to make it a reason."""

_ALERTS = {
    10: "SSLV3_ALERT_UNEXPECTED_MESSAGE",
    20: "SSLV3_ALERT_BAD_RECORD_MAC",
    21: "TLSV1_ALERT_DECRYPTION_FAILED",
    22: "TLSV1_ALERT_RECORD_OVERFLOW",
    30: "SSLV3_ALERT_DECOMPRESSION_FAILURE",
    40: "SSLV3_ALERT_HANDSHAKE_FAILURE",
    41: "SSLV3_ALERT_NO_CERTIFICATE",
    42: "SSLV3_ALERT_BAD_CERTIFICATE",
    43: "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    44: "SSLV3_ALERT_CERTIFICATE_REVOKED",
    45: "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    46: "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    47: "SSLV3_ALERT_ILLEGAL_PARAMETER",
    48: "TLSV1_ALERT_UNKNOWN_CA",
    49: "TLSV1_ALERT_ACCESS_DENIED",
    50: "TLSV1_ALERT_DECODE_ERROR",
    51: "TLSV1_ALERT_DECRYPT_ERROR",
    60: "TLSV1_ALERT_EXPORT_RESTRICTION",
    70: "TLSV1_ALERT_PROTOCOL_VERSION",
    71: "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    80: "TLSV1_ALERT_INTERNAL_ERROR",
    86: "TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
    90: "TLSV1_ALERT_USER_CANCELLED",
    100: "TLSV1_ALERT_NO_RENEGOTIATION",
    110: "TLSV1_ALERT_UNSUPPORTED_EXTENSION",
    111: "TLSV1_ALERT_CERTIFICATE_UNOBTAINABLE",
    112: "TLSV1_ALERT_UNRECOGNIZED_NAME",
    113: "TLSV1_ALERT_BAD_CERTIFICATE_STATUS_RESPONSE",
    114: "TLSV1_ALERT_BAD_CERTIFICATE_HASH_VALUE",
    115: "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY",
    116: "TLSV1_ALERT_CERTIFICATE_REQUIRED",
    120: "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
}


def failure_text(
    errors: Sequence[LibraryError], *, is_unanswered: bool = False, is_open: bool = False
) -> str:
    """Why TLS failed, as access logs have it; empty where nothing is known of it.

    :param errors: OpenSSL's list, the first first.
    :param is_unanswered: whether the peer is a server that has said nothing to the first message.
    :param is_open: whether the handshake was over, and the connection broke later.
    """
    found: list[str] = []
    for each in errors:
        for text in _texts(each, is_unanswered=is_unanswered):
            if text not in found:
                found.append(text)
    if not found:
        return ""
    later = f"|{_text(194, 'PROTOCOL_IS_SHUTDOWN')}:TLS_error_end" if is_open else ""
    return f"TLS_error:|{'|'.join(found)}:TLS_error_end{later}"


def _texts(error: LibraryError, *, is_unanswered: bool) -> list[str]:
    library, reason = error.code >> 23 & 0xFF, error.reason
    if library != _SSL or reason == _LAYER:
        return []
    if reason > _ALERT:
        alert = reason - _ALERT
        texts = [_text(reason, _ALERTS.get(alert, "unknown error"))]
        if is_unanswered and alert == _HANDSHAKE_FAILURE:
            texts.append(_text(154, "HANDSHAKE_FAILURE_ON_CLIENT_HELLO"))
        return texts
    number, name = _REASONS.get(reason, (reason, error.text.upper().replace(" ", "_")))
    if reason == _NO_CERTIFICATE:
        name += ":peer did not provide required client certificate"
    text = _text(number, name)
    return [_BAD_DECRYPT, text] if reason == _BAD_MAC else [text]


def _text(number: int, name: str) -> str:
    return f"{_FIRST + number}:SSL routines:OPENSSL_internal:{name}"
