//! The command `limits`: what this machine's kernel gives, with no broker in between, in the same run as the brokers.
//!
//! The serving side is a thread of this process, and its CPU is told apart from that of the other side.

mod group_commit;
mod send_file;
mod socket_to_file;

use std::fs::{self, File, OpenOptions};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::Finished;
use crate::error::LoadError;

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// From the page cache to a socket: sendfile, and pread with write, to receivers like those of `fetch`.
    Sendfile(send_file::SendFileArgs),
    /// From a sender like `produce` through a socket into a file.
    SocketToFile(socket_to_file::SocketToFileArgs),
    /// Appends with fdatasync, several waiters served by one.
    GroupCommit(group_commit::GroupCommitArgs),
}

/// Runs the command.
pub(crate) fn run(command: &LimitsCommand) -> Result<Finished, LoadError> {
    match command {
        LimitsCommand::Sendfile(args) => send_file::run(args),
        LimitsCommand::SocketToFile(args) => socket_to_file::run(args),
        LimitsCommand::GroupCommit(args) => group_commit::run(args),
    }
}

/// A file that is gone when the measurement is over.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn create(directory: &Path, name: &str) -> Result<Scratch, LoadError> {
        let path = directory.join(format!("strata-load-{}-{name}", std::process::id()));
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = opened.map_err(LoadError::io(format!("cannot make {}", path.display())))?;
        Ok(Scratch { path, file })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

/// Both ends of a connection over loopback.
fn socket_pair() -> Result<(TcpStream, TcpStream), LoadError> {
    let what = || LoadError::io("cannot make a connection over loopback");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(what())?;
    let client = TcpStream::connect(listener.local_addr().map_err(what())?).map_err(what())?;
    let (server, _) = listener.accept().map_err(what())?;
    client.set_nodelay(true).map_err(what())?;
    server.set_nodelay(true).map_err(what())?;
    Ok((client, server))
}
