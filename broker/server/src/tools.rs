//! Stub.
use crate::cli::*;
use crate::settings::Settings;
/// x
pub fn replay(_: &Settings, _: ReplayArgs) -> Result<(), Box<dyn std::error::Error>> {
    Err("no".into())
}
/// x
pub fn export(_: &Settings, _: ExportArgs) -> Result<(), Box<dyn std::error::Error>> {
    Err("no".into())
}
/// x
pub fn tier(_: &Settings, _: TierCommand) -> Result<(), Box<dyn std::error::Error>> {
    Err("no".into())
}
