//! The registry of configs as data: name, type, default, validator, scope, synonym, doc.
