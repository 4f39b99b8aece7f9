"""Reloads: the configuration is read again while the proxy serves, judged as a whole, compared with
the one that is served, and applied; what did not change is not touched.
"""
