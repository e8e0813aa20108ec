//! The group coordinator of Kafka's classic protocol: one decision machine per partition of `__consumer_offsets`.
//!
//! - [`request`]: what it is asked and what it answers. [`settings`]: what an operator may set, and every bound.
//! - [`state`]: what the log says (offsets, groups as they last were stable). [`live`]: what may be forgotten (members
//!   that are joining, deadlines, callers who wait). The log keeps what Kafka's keeps, in Kafka's formats ([`records`]).
//! - [`machine`]: the rules' entry point. `join`, `member`, `rebalance`, `offsets`, `tools` and `housekeeping` have them.
//!
//! Membership runs ahead of the log: the group's record is written when the leader has assigned, when the group becomes
//! empty and when a static member is replaced. A successor begins with that; who joined since is told
//! UNKNOWN_MEMBER_ID and joins again. Nothing that a member is told to own, and no committed offset, is told before the log
//! holds it.
//!
//! Not here: the consumer protocol of KIP-848, transactional offsets, which topics exist and who may read them (the
//! caller's), sockets, clocks, randomness.

mod housekeeping;
mod join;
pub mod live;
pub mod machine;
mod member;
mod offsets;
pub mod partition;
mod rebalance;
pub mod records;
pub mod request;
pub mod settings;
pub mod state;
mod subscription;
mod tools;
mod turn;

#[cfg(test)]
mod tests;

pub use live::Live;
pub use machine::GroupMachine;
pub use partition::partition_for;
pub use request::{Output, Request};
pub use settings::Settings;
pub use state::Groups;
