"""Tests of `tcpmesh.net.tls.openssl`."""
