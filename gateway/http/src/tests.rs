//! Replays over real HTTP against sources in memory.
//!
//! [`world`] makes topics with a model of their rows beside them, [`client`] is an HTTP client that sees how a chunked body
//! ends. [`replays`] compares with a naive filter, [`failures`] breaks things, [`pages`] has the small answers.

mod client;
mod failures;
mod pages;
mod replays;
mod shipped;
mod world;
