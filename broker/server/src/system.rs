//! What this process asks of the system before it does anything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// With fewer, a broker of some size runs out of descriptors: logs and connections take one each.
const OPEN_FILES_LOW: u64 = 4096;

/// Raises the bound on open files to the most that this process may have, as the JVM does. Shells and service managers
/// give a low one to programs that still use `select`.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(u64::MAX);
    let before = current.unwrap_or(u64::MAX);
    if before < wanted
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, limit = before, "bound on open files cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if now < OPEN_FILES_LOW {
        warn!(limit = now, "few files may be open: raise the hard limit (ulimit -Hn, LimitNOFILE)");
    } else if now != before {
        info!(limit = now, "bound on open files raised");
    }
}
