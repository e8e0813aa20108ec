//! The local copy of the root: a hint that saves a request per partition at start-up and lets cold reads begin before the
//! bucket answers. It is replaced by rename and not synced: a copy that is torn, old or missing is found out by its
//! checksum, or by the swap that it leads to.

use std::path::Path;
use std::sync::Arc;

use tiering_manifest::{PartitionPrefix, Root, crc32c};
use tiering_store::Version;

use super::Held;

const MAGIC: &str = "strata-root-copy-1";

/// Reads the copy; None where there is none that can be used.
pub(super) fn read(path: &Path, prefix: &PartitionPrefix) -> Option<Held> {
    let bytes = std::fs::read(path).ok()?;
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (magic, crc, version) = (text()?, text()?, text()?);
    let body = parts.next()?;
    if magic != MAGIC || crc != format!("{:08x}", crc32c(body)) {
        return None;
    }
    let root = Root::decode(body).ok()?;
    let right = (root.topic, root.partition) == (prefix.topic(), prefix.partition());
    right.then(|| Held { root: Arc::new(root), version: Version::new(version) })
}

/// Replaces the copy.
pub(super) fn write(path: &Path, encoded: &[u8], version: &Version) -> std::io::Result<()> {
    let mut bytes = format!("{MAGIC}\n{:08x}\n{}\n", crc32c(encoded), version.as_str()).into_bytes();
    bytes.extend_from_slice(encoded);
    let staged = path.with_extension("staged");
    std::fs::write(&staged, bytes)?;
    std::fs::rename(staged, path)
}
