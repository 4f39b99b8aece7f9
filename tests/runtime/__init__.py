"""Tests of the runtime values."""
