"""The version of tcpmesh: the only place that has it, and one that everybody may import."""

__version__ = "0.1.0"
