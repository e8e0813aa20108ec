//! Formatting as Kafka's tool does it, what is refused, and what is said of directories.

use super::*;
use crate::cli::{Cli, Command, StorageWords};
use crate::settings::Environment;
use clap::Parser;

/// Runs `strata storage …` with two log directories in `root`, and returns what it printed and how it ended.
fn storage(root: &Path, words: &[&str]) -> (String, Result<(), String>) {
    let dirs = format!("log.dirs={0}/a,{0}/b", root.display());
    let words = ["strata", "--override", &dirs, "storage"].into_iter().chain(words.iter().copied());
    let cli = Cli::try_parse_from(words).unwrap();
    let settings = Settings::load(&cli.sources(Environment::default())).unwrap();
    let Command::Storage(StorageWords { command, .. }) = cli.chosen() else { panic!("storage is a command") };
    let mut output = Vec::new();
    let done = match command {
        StorageCommand::Format(arguments) => format(&settings, &arguments, &mut output),
        StorageCommand::Info(_) => info(&settings, &mut output),
        StorageCommand::RandomUuid => panic!("it needs no directories"),
    };
    (String::from_utf8(output).unwrap(), done.map_err(|error| error.to_string()))
}

#[test]
fn a_format_is_taken_up_and_not_repeated() {
    let root = tempfile::tempdir().unwrap();
    let words = ["format", "-t", "-cluster", "--standalone", "-r", "4.1", "--feature", "kraft.version=1"];
    let (output, done) = storage(root.path(), &words);
    assert_eq!((output.lines().count(), done), (2, Ok(())), "{output}");
    let (_, again) = storage(root.path(), &["format", "-t", "-cluster"]);
    assert!(again.unwrap_err().contains("/a is already formatted"));
    let (output, ignored) = storage(root.path(), &["format", "--cluster-id=-cluster", "-g"]);
    assert_eq!((output.as_str(), ignored), ("All of the log directories are already formatted.\n", Ok(())));
    std::fs::remove_dir_all(root.path().join("b")).unwrap();
    let (output, done) = storage(root.path(), &["format", "-t", "-cluster", "-g"]);
    assert!(
        output.starts_with("Formatting ") && output.contains("/b with cluster.id=-cluster, node.id=1."),
        "{output}"
    );
    assert_eq!(done, Ok(()));
    let (_, other) = storage(root.path(), &["format", "-t", "other", "-g"]);
    assert!(other.unwrap_err().contains("/a belongs to cluster.id=-cluster, not other"));
}

#[test]
fn a_formatted_directory_keeps_its_clean_mark() {
    let root = tempfile::tempdir().unwrap();
    storage(root.path(), &["format", "-t", "one"]).1.unwrap();
    let mark = root.path().join("a/.kafka_cleanshutdown");
    std::fs::write(&mark, "{\"version\":0}").unwrap();
    storage(root.path(), &["format", "-t", "one", "-g"]).1.unwrap();
    assert!(mark.exists());
}

#[test]
fn what_would_promise_too_much_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (words, message) in [
        (vec!["format", "-t", ""], "--cluster-id \"\": expected 1 to 255 printable characters"),
        (vec!["format", "-t", "a b"], "--cluster-id \"a b\": expected"),
        (
            vec!["format", "-t", "x", "-S", "SCRAM-SHA-256=[name=ada,password=hush]"],
            "--add-scram: SASL is not served yet",
        ),
        (vec!["format", "-t", "x", "-I", "1@a:1:d,2@b:1:d"], "--initial-controllers names 2 controllers"),
    ] {
        let refused = storage(root.path(), &words).1.unwrap_err();
        assert!(refused.starts_with(message), "{refused}");
        assert!(!root.path().join("a").exists());
    }
}

#[test]
fn info_says_what_is_there_and_what_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().display().to_string();
    let (output, done) = storage(root.path(), &["info"]);
    assert_eq!(output, format!("Found problems:\n  {place}/a does not exist\n  {place}/b does not exist\n\n"));
    assert_eq!(done.unwrap_err(), "2 problems in the log directories, see above");
    storage(root.path(), &["format", "-t", "one"]).1.unwrap();
    let (output, done) = storage(root.path(), &["info"]);
    assert!(output.starts_with(&format!("Found log directories:\n  {place}/a\n  {place}/b\n\nFound metadata: {{")));
    assert!(
        output.contains("{cluster.id=one, directory.id=") && output.contains(", node.id=1, version=1}"),
        "{output}"
    );
    assert_eq!(done, Ok(()));
    std::fs::write(root.path().join("b/meta.properties"), "cluster.id=two\nnode.id=1\nversion=1\n").unwrap();
    let (output, done) = storage(root.path(), &["info"]);
    assert!(output.ends_with("Found problem:\n  Mismatched cluster IDs between storage directories.\n\n"), "{output}");
    assert!(done.is_err());
}

#[test]
fn random_ids_are_no_options() {
    for _ in 0..256 {
        let id = random_id();
        assert!(id.len() == 22 && !id.starts_with('-'), "{id}");
    }
}
