"""Starts Strata and Apache Kafka with the same settings, and the comparison between them. Start at `pair`."""
