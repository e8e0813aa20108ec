//! The bucket format: keys, object footer, manifest root, groups, table root.
