//! Partition state: producer sequences, ends, epochs.
