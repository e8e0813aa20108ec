//! How a command fails: what happened, and what to do about it.

use std::fmt;
use std::io;

use broker_client::ClientError;
use broker_model::{ErrorCode, nearest};

/// A command's failure, as the person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    what: String,
    hints: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    ReaderLeft,
}

impl Failure {
    /// Something failed.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Failure {
        Failure { what: what.into(), hints: Vec::new(), kind: Kind::Failed }
    }

    /// The words of the command cannot be understood.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Failure {
        Failure { kind: Kind::Usage, ..Failure::new(what) }
    }

    /// The same with something to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// The process's exit code. Whoever closed the pipe had enough: that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::ReaderLeft => 0,
        }
    }

    /// True where nothing is to be said.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.kind == Kind::ReaderLeft
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for hint in &self.hints {
            write!(f, "\n  try: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::ReaderLeft } else { Kind::Failed };
        Failure { kind, ..Failure::new(format!("cannot write the output: {error}")) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let mut failure = Failure::new(error.to_string());
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            failure.what.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        match &error {
            ClientError::Unreachable { .. } => failure
                .hint("is it running, and is this its address? Name another with --bootstrap-server HOST:PORT")
                .hint("the variable STRATA_BOOTSTRAP_SERVER names the one that is used without the option"),
            ClientError::Advertised { .. } => {
                failure.hint("set advertised.listeners of that broker to an address that clients reach")
            }
            ClientError::UnknownTopic { topic, known } => unknown_topic(failure, topic, known),
            ClientError::Unsupported { .. } => failure.hint("the cluster needs Kafka 4 or a newer Strata for this"),
            ClientError::Late { .. } => failure.hint("look at the broker's log; it is reached and does not answer"),
            ClientError::Refused { .. } => match error.code().and_then(advice) {
                Some(hint) => failure.hint(hint),
                None => failure,
            },
            _ => failure,
        }
    }
}

fn unknown_topic(failure: Failure, topic: &str, known: &[String]) -> Failure {
    match nearest(topic, known.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => {
            failure.hint(format!("`strata topic list` shows what is there; `strata topic create {topic}` makes it"))
        }
    }
}

fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TopicAlreadyExists => "take another name, or say --if-not-exists where that is fine",
        ErrorCode::InvalidReplicationFactor => "the cluster has fewer brokers: a smaller --replication-factor",
        ErrorCode::InvalidPartitions => {
            "partitions can only become more: `strata topic describe` shows how many there are"
        }
        ErrorCode::InvalidConfig => "`strata topic describe NAME --all-configs` shows names and values",
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "raise the limit: `strata topic alter NAME --config max.message.bytes=…`"
        }
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId => {
            "the group has members: `strata group describe GROUP` shows who; stop them first"
        }
        ErrorCode::GroupIdNotFound => "`strata group list` shows the groups that are there",
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => "the cluster does not allow it: ask who runs it",
        ErrorCode::NotEnoughReplicas => "fewer replicas are in sync than min.insync.replicas of the topic says",
        _ => return None,
    })
}
