"""Tests of `tcpmesh.config.schema`, and the program that records what it adds."""
