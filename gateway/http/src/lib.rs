//! The axum application: replay, health, metrics.
