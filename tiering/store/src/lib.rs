//! Object stores as the tier needs them: swap, fence, classes of errors, probe.
