"""The comparison of Strata with Apache Kafka on one machine.

Start with `workloads.py` (what is measured: data), then `kinds.py` (how each kind of workload is run) and `rounds.py`
(who runs when). `servers.py` has the two servers, `load.py` the programs that drive them, `tables.py` what is made of the
numbers; `plots.py` is a program of its own.
"""
