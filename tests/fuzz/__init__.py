"""Targets for atheris, a fuzzer that is led by coverage: `make fuzz`.

Each is a module to be run, with the options of libFuzzer as arguments.
"""
