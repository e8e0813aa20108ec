//! The Kafka protocol as bytes: generated messages, framing, heads, advertised versions.
