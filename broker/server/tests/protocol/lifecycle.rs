//! Starts and ends: one process for each directory, a clean end, and a directory that is as it was.

use crate::support::Server;
use crate::support::requests::{append, batch, create, fetch, ranges_of};

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let server = Server::start();
    let ended = server.second_instance();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let dir = server.data_dir().display().to_string();
    for word in [dir.as_str(), "in use by another process", "stop that one, or choose another directory"] {
        assert!(ended.stderr.contains(word), "{word} is not in {}", ended.stderr);
    }
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
}

#[test]
fn sigterm_ends_it_and_the_next_start_finds_everything() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 2, &[("retention.ms", "-1")]);
    for offset in 0..20 {
        assert_eq!(append(&mut client, &topic, 1, batch(&["a"])), offset);
    }
    let ended = server.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("ERROR"), "{}", ended.stderr);
    assert!(client.is_closed());
    server.start_again();
    let mut client = server.connect();
    let data = fetch(&mut client, &topic, 1, 19);
    assert_eq!((data.error_code, data.high_watermark, ranges_of(&data)), (0, 20, vec![(19, 19)]));
    assert_eq!(append(&mut client, &topic, 1, batch(&["b"])), 20);
    assert_eq!(server.terminate().status.code(), Some(0));
}

#[test]
fn a_client_that_waits_does_not_hold_up_the_end() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let _polled = client.send(12, &crate::support::requests::long_poll(&topic, 0, 1));
    let ended = server.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let mut offset = 0;
    for round in 0..3 {
        for _ in 0..50 {
            assert_eq!(append(&mut client, &topic, 0, batch(&["a", "b"])), offset, "round {round}");
            offset += 2;
        }
        server.kill_and_restart();
        client = server.connect();
        let data = fetch(&mut client, &topic, 0, 0);
        assert_eq!((data.high_watermark, ranges_of(&data).len()), (offset, usize::try_from(offset / 2).unwrap()));
    }
}
