//! Uploader, reader, cache, collector.
