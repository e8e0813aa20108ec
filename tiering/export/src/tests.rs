//! Exports against a store in memory: what the files hold, and what kills, lost replies and other writers leave.

mod files;
mod kills;
mod shipped;
mod world;
