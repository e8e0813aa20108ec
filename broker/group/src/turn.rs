//! What a step works on: the settings, the durable state it decides on, the time, and the effects so far.
//!
//! Rules change [`Live`](crate::Live) and add to the turn; nothing else.

use broker_model::Timestamp;
use broker_model::machine::{CallId, Effects, Record};

use crate::request::Output;
use crate::settings::Settings;
use crate::state::Groups;

/// One step in the making.
pub(crate) struct Turn<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) hard: &'a Groups,
    pub(crate) now: Timestamp,
    pub(crate) effects: Effects<Output>,
}

impl Turn<'_> {
    pub(crate) fn reply(&mut self, call: CallId, output: Output) {
        self.effects.outputs.push((call, output));
    }

    pub(crate) fn write(&mut self, record: Record) {
        self.effects.batch.push(record);
    }
}
