//! Object stores as the tier needs them. The seam is `object_store::ObjectStore` itself, and what stands here are
//! decorators on it ([`SwapLocal`], [`Metered`], [`Limited`], and [`Faulty`] for tests) and one handle, [`Store`], that
//! turns the answers of different stores into the few that the tier acts on.
//!
//! Invariants: a swap is done exactly when its bytes are what the key holds, however the reply was lost; an object is
//! created once and never written again; an error says what the caller can do ([`StoreErrorKind`]), and what cannot be
//! known is [`StoreErrorKind::Indeterminate`] and never guessed.
//!
//! It knows nothing of Kafka and nothing of the bucket's format. The AWS SDK stands in [`mod@probe`] only, never in the way
//! of data. No environment is read and no clock: settings are passed in, and so is `now`.
//!
//! Start reading at [`Store`], then [`open`].

mod config;
mod error;
mod faulty;
mod limited;
mod metered;
pub mod probe;
mod store;
mod swap_local;

pub use config::{OpenError, S3Config, StoreConfig, StoreUrl, open};
pub use error::{StoreError, StoreErrorKind};
pub use faulty::{Fault, FaultPlan, Faulty, Outage};
pub use limited::{Limited, Limits};
pub use metered::{Count, Meter, Metered, Operation};
pub use probe::{Probe, probe};
pub use store::{Listed, Put, Store, Swap, Version, Versioned};
pub use swap_local::SwapLocal;

/// What a request is for. It decides from which pool a request takes its turn, so that cold work cannot starve the
/// upload of the tail (ISO-1). It travels in the options' extensions; a request without one is background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Shipping new data, and the roots that commit it.
    TailUpload,
    /// A consumer or a replay waits for it.
    ColdRead,
    /// Nobody waits: collection, verification, scrubbing.
    #[default]
    Background,
}

impl Class {
    /// All classes, in the order of their counters.
    pub const ALL: [Class; 3] = [Class::TailUpload, Class::ColdRead, Class::Background];

    /// The word in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Class::TailUpload => "tail_upload",
            Class::ColdRead => "cold_read",
            Class::Background => "background",
        }
    }

    /// The class that a request's options carry.
    #[must_use]
    pub fn of(extensions: &object_store::Extensions) -> Class {
        extensions.get::<Class>().copied().unwrap_or_default()
    }

    fn extensions(self) -> object_store::Extensions {
        let mut extensions = object_store::Extensions::new();
        extensions.insert(self);
        extensions
    }

    const fn index(self) -> usize {
        match self {
            Class::TailUpload => 0,
            Class::ColdRead => 1,
            Class::Background => 2,
        }
    }
}
