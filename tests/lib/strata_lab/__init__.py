"""What the integration tests, the tour and the bars share: servers to start, clients to drive, faults to cause.

Start with `broker.py` (Strata, and Apache Kafka as a stand-in that the same tests can run against) and `stores.py`
(LocalStack, MinIO). `setup.sh` beside this package installs what these need and says where it is.
"""
