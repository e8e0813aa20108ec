//! What a bucket costs, by prices that the person may name.
//!
//! The defaults are Amazon's list prices for S3 Standard in us-east-1 (first tier, November 2026), good for an order of
//! magnitude. A directory costs nothing by itself. Requests that write, and the free allowance, are not counted.

use crate::cli::TierLsArgs;
use crate::settings::TierPlace;

/// A GB as Amazon counts it, in bytes.
const GB: f64 = (1u64 << 30) as f64;
const STORAGE: f64 = 0.023;
const GET_1000: f64 = 0.0004;
const TRANSFER: f64 = 0.09;

/// Dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prices {
    /// One GB stored for a month.
    storage: f64,
    /// A thousand GET requests.
    get_1000: f64,
    /// One GB that leaves the region.
    transfer: f64,
}

impl Prices {
    /// What the words say, and the defaults of the place.
    pub(super) fn new(place: &TierPlace, words: &TierLsArgs) -> Prices {
        let [storage, get_1000, transfer] = match place {
            TierPlace::Directory(_) => [0.0; 3],
            TierPlace::S3(_) => [STORAGE, GET_1000, TRANSFER],
        };
        Prices {
            storage: words.price_storage.unwrap_or(storage),
            get_1000: words.price_get.unwrap_or(get_1000),
            transfer: words.price_transfer.unwrap_or(transfer),
        }
    }

    /// Keeping these bytes for a month.
    pub(super) fn month(&self, bytes: u64) -> f64 {
        bytes as f64 / GB * self.storage
    }

    /// Reading a GB within the region, with requests of so many bytes each.
    pub(super) fn read_gb_inside(&self, request_bytes: u64) -> f64 {
        GB / request_bytes.max(1) as f64 * self.get_1000 / 1000.0
    }

    /// The same over the region's border.
    pub(super) fn read_gb_outside(&self, request_bytes: u64) -> f64 {
        self.read_gb_inside(request_bytes) + self.transfer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> TierLsArgs {
        TierLsArgs { topic: None, price_storage: None, price_get: None, price_transfer: None }
    }

    #[test]
    fn a_directory_costs_what_one_says_it_costs() {
        let place = TierPlace::Directory("bucket".into());
        assert_eq!(Prices::new(&place, &words()).month(u64::MAX), 0.0);
        let own = TierLsArgs { price_storage: Some(0.01), price_get: Some(1.0), price_transfer: Some(0.5), ..words() };
        let prices = Prices::new(&place, &own);
        assert!((prices.month(10 << 30) - 0.1).abs() < 1e-9);
        assert!((prices.read_gb_inside(1 << 20) - 1.024).abs() < 1e-9);
        assert!((prices.read_gb_outside(1 << 20) - 1.524).abs() < 1e-9);
    }
}
