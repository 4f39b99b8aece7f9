"""The admin interface: pages over plain HTTP through which operators and their scripts look at a
running proxy and steer it.

Paths, parameters and answers are Envoy's.  Each group of pages is a module with a tuple
`ENDPOINTS`; `table` lists them all.
"""
