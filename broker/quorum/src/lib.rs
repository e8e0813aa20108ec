//! The log behind propose: the driver of decision machines and its single-node log.
