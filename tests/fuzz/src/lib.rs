//! Random and mutated decodes of all that comes from outside.
