"""What is shown of certificates."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from google.protobuf import json_format

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.tls.secrets import Secrets
from tcpmesh.extensions.transport_sockets.tls.shown import context_status, expirations
from tests.net.tls.pki import Issued, authority
from tests.net.tls.test_material import staple

ROOT, SECOND = authority(), authority("second", ends=50)
LEAF = ROOT.issue(names=["uri:spiffe://x/y", "dns:a.test", "email:e@x", "ip:fd00::1"])


def common(**fields: Any) -> Any:
    """A `CommonTlsContext`."""
    return json_format.ParseDict(fields, tls_pb2.CommonTlsContext())


def pair(issued: Issued, **more: Any) -> dict[str, Any]:
    """A `TlsCertificate`."""
    chain, key = {"inline_string": issued.pem}, {"inline_string": issued.key_pem()}
    return {"certificate_chain": chain, "private_key": key, **more}


def seconds(issued: Issued) -> int:
    """When it ends."""
    return int(issued.cert.not_valid_after_utc.timestamp())


class ShownTests(SynchronousTestCase):
    """Certificates of a context."""

    def test_certificate(self) -> None:
        """A certificate is shown with its serial number, its names by kind, and when it holds."""
        response = staple(LEAF, ROOT).public_bytes(Encoding.DER)
        source = {"inline_bytes": base64.b64encode(response).decode()}
        status = context_status(common(tls_certificates=[pair(LEAF, ocsp_staple=source)]), {})
        (shown,) = status.cert_chain
        self.assertEqual(int(shown.serial_number, 16), LEAF.cert.serial_number)
        self.assertEqual(len(shown.serial_number) % 2, 0)
        expected = (("dns", "a.test"), ("uri", "spiffe://x/y"), ("ip_address", "fd00::1"))
        self.assertEqual(shown.subject_alt_names, expected)
        self.assertEqual((shown.path, shown.ends), ("<inline>", seconds(LEAF)))
        assert shown.ocsp is not None
        self.assertLess(*shown.ocsp)
        self.assertEqual(status.ca_cert, ())

    def test_authorities(self) -> None:
        """All authorities of a bundle are shown, with the file that they are from."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(ROOT.pem + SECOND.pem)
        context = common(validation_context={"trusted_ca": {"filename": path}})
        shown = context_status(context, {}).ca_cert
        self.assertEqual([each.path for each in shown], [path] * 2)
        self.assertEqual([each.ends for each in shown], [seconds(ROOT), seconds(SECOND)])

    def test_trust_domains(self) -> None:
        """The authorities of trust domains are shown too, and have gauges with numbers."""
        kind = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
        bundle = {"name": "d", "trust_bundle": {"inline_string": ROOT.pem + SECOND.pem}}
        typed = {"@type": f"type.googleapis.com/{kind}", "trust_domains": [bundle]}
        validator = {"name": "envoy.tls.cert_validator.spiffe", "typed_config": typed}
        context = common(validation_context={"custom_validator_config": validator})
        self.assertEqual(
            [each.ends for each in context_status(context, {}).ca_cert],
            [seconds(ROOT), seconds(SECOND)],
        )
        self.assertEqual(
            list(expirations(context, {})),
            [("unnamed_ca_cert_0", seconds(ROOT)), ("unnamed_ca_cert_1", seconds(SECOND))],
        )

    def test_gone(self) -> None:
        """A file that is there no more is not shown."""
        source = {"filename": "/nope/x"}
        context = common(validation_context={"trusted_ca": source})
        self.assertEqual(context_status(context, {}).ca_cert, ())
        self.assertEqual(list(expirations(context, {})), [])

    def test_expirations(self) -> None:
        """Gauges are named after secrets, and all others alike; of authorities the first end
        counts.
        """
        early = ROOT.issue(ends=10)
        bundle = {"inline_string": ROOT.pem + SECOND.pem}
        context = common(
            tls_certificates=[pair(LEAF), pair(early)],
            validation_context={"trusted_ca": bundle},
        )
        self.assertEqual(
            list(expirations(context, {})),
            [
                ("unnamed_cert_e3b0c442", seconds(LEAF)),
                ("unnamed_cert_e3b0c442", seconds(early)),
                ("unnamed_ca_cert_e3b0c442", seconds(SECOND)),
            ],
        )

    def test_no_authority(self) -> None:
        """A validation context without an authority has a gauge all the same, as in Envoy: it never
        expires.
        """
        never = [("unnamed_ca_cert", 2**63 - 1)]
        self.assertEqual(list(expirations(common(validation_context={}), {})), never)
        self.assertEqual(list(expirations(common(), {})), [])

    def test_secrets(self) -> None:
        """Static secrets are shown as what they are, under their names."""
        parse = json_format.ParseDict
        validation = {"trusted_ca": {"inline_string": ROOT.pem}}
        secrets: Secrets = {
            ("tls_certificate", "own"): parse(pair(LEAF), common_pb2.TlsCertificate()),
            ("validation_context", "peers"): parse(
                validation, common_pb2.CertificateValidationContext()
            ),
        }
        context = common(
            tls_certificate_sds_secret_configs=[{"name": "own"}],
            validation_context_sds_secret_config={"name": "peers"},
        )
        found = list(expirations(context, secrets))
        self.assertEqual(found, [("own", seconds(LEAF)), ("peers", seconds(ROOT))])
        status = context_status(context, secrets)
        self.assertEqual((len(status.cert_chain), len(status.ca_cert)), (1, 1))
