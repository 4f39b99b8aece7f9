"""An authority for tests, and certificates that it signs."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp

_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; with `above` it is one in the middle.

    :param name: its common name.
    """

    def __init__(self, name: str = "test authority", above: Authority | None = None) -> None:
        self.key: Any = ec.generate_private_key(ec.SECP256R1())
        self.above = above
        signer = above or self
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = (
            _begin(self.name, signer.name, self.key, 300)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        name: str,
        *,
        dns: Sequence[str] = (),
        uris: Sequence[str] = (),
        ips: Sequence[str] = (),
        is_rsa: bool = False,
        days: int = 30,
    ) -> tuple[bytes, bytes]:
        """A certificate with its chain, and its key: two texts in PEM form.

        :param days: until it expires; less than none where it has.
        """
        key: Any = (
            rsa.generate_private_key(65537, 2048)
            if is_rsa
            else ec.generate_private_key(ec.SECP256R1())
        )
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in dns or (name,)]
        names += [x509.UniformResourceIdentifier(each) for each in uris]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ips]
        made = _begin(subject, self.name, key, days).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        chain = made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        between = self
        while between.above is not None:
            chain += between.pem
            between = between.above
        return chain, key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def ocsp_response(self, certificate: x509.Certificate, days: int = 5) -> bytes:
        """What an OCSP responder of this authority says of one of its certificates: that it is
        good.

        :param days: until the response expires; less than none where it has.
        """
        now = datetime.datetime.now(datetime.timezone.utc)
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=certificate,
                issuer=self.certificate,
                algorithm=hashes.SHA1(),
                cert_status=ocsp.OCSPCertStatus.GOOD,
                this_update=now - 5 * _DAY,
                next_update=now + days * _DAY,
                revocation_time=None,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
            .sign(self.key, hashes.SHA256())
        )
        return response.public_bytes(serialization.Encoding.DER)


def _begin(subject: x509.Name, issuer: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * _DAY)
        .not_valid_after(now + days * _DAY)
    )
