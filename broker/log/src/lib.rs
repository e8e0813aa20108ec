//! Segments, indexes, recovery and retention on disk; slices for sendfile.
