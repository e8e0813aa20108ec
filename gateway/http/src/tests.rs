//! Replays over real HTTP against sources in memory.
