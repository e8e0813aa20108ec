//! Both logs under the conformance suite, and the driver's own rules with a log that waits.

use broker_model::machine::{CallId, Input, Refusal};
use broker_model::{LeaderEpoch, Offset, Timestamp};

use crate::conformance::{Ledger, Write, put};
use crate::memory::{MemoryLog, Written};
use crate::{Driver, Image, SnapshotError, snapshot};

mod memory_at_once {
    use broker_model::machine::Refusal;

    use crate::conformance::{Subject, conformance};
    use crate::memory::{MemoryLog, Written};

    /// The log itself is the disk: a process that starts takes over what the last one left.
    struct AtOnce(std::rc::Rc<std::cell::RefCell<MemoryLog>>);

    conformance!(AtOnce);

    impl Subject for AtOnce {
        type Log = Shared;

        fn new() -> AtOnce {
            AtOnce(std::rc::Rc::default())
        }

        fn open(&mut self) -> Shared {
            Shared(self.0.clone())
        }

        fn crash(&mut self, _: u64) {
            self.0.borrow_mut().crash();
        }

        fn refuse_next(&mut self, log: &mut Shared) {
            log.0.borrow_mut().refuse_next(Refusal::Unavailable);
        }

        fn lose_next(&mut self, log: &mut Shared) {
            log.0.borrow_mut().lose_next(Written::Yes);
        }

        fn settle(&mut self, _: &mut Shared) {}
    }

    /// A log that outlives the process that has it open.
    pub(super) struct Shared(pub(super) std::rc::Rc<std::cell::RefCell<MemoryLog>>);

    impl crate::Propose for Shared {
        fn lead(
            &mut self,
            epoch: broker_model::LeaderEpoch,
            replay: &mut dyn FnMut(crate::Replay),
        ) -> Result<broker_model::Offset, crate::LogError> {
            self.0.borrow_mut().lead(epoch, replay)
        }

        fn propose(&mut self, proposal: crate::Proposal<'_>) -> crate::Ticket {
            self.0.borrow_mut().propose(proposal)
        }

        fn poll(&mut self) -> Option<crate::Event> {
            self.0.borrow_mut().poll()
        }

        fn trim(
            &mut self,
            epoch: broker_model::LeaderEpoch,
            start: broker_model::Offset,
        ) -> Result<(), crate::LogError> {
            self.0.borrow_mut().trim(epoch, start)
        }

        fn bytes(&self) -> u64 {
            self.0.borrow().bytes()
        }
    }
}

mod memory_delayed {
    use broker_model::machine::Refusal;

    use super::memory_at_once::Shared;
    use crate::conformance::{Subject, conformance};
    use crate::memory::{MemoryLog, Written};

    struct Delayed(std::rc::Rc<std::cell::RefCell<MemoryLog>>);

    conformance!(Delayed);

    impl Subject for Delayed {
        type Log = Shared;

        fn new() -> Delayed {
            Delayed(std::rc::Rc::new(std::cell::RefCell::new(MemoryLog::delayed())))
        }

        fn open(&mut self) -> Shared {
            Shared(self.0.clone())
        }

        fn crash(&mut self, _: u64) {
            self.0.borrow_mut().crash();
        }

        fn refuse_next(&mut self, log: &mut Shared) {
            log.0.borrow_mut().refuse_next(Refusal::Unavailable);
        }

        fn lose_next(&mut self, log: &mut Shared) {
            log.0.borrow_mut().lose_next(Written::No);
        }

        fn settle(&mut self, log: &mut Shared) {
            while log.0.borrow_mut().judge() {}
        }
    }
}

mod files {
    use std::path::Path;
    use std::sync::Arc;

    use broker_log::{Change, Fault, Files, Log, LogConfig, MemFiles, OpenHints, OpenMode};
    use broker_model::{Timestamp, TopicId};
    use parking_lot::Mutex;

    use crate::conformance::{Subject, conformance};
    use crate::{FileLog, Flush};

    /// Files in memory that lose and tear what was not synced.
    struct OnFiles(MemFiles);

    conformance!(OnFiles);

    impl Subject for OnFiles {
        type Log = FileLog<MemFiles>;

        fn new() -> OnFiles {
            // The log directory is its owner's to make.
            let files = MemFiles::new();
            files.change(Change::MakeDir(Path::new("/data"))).unwrap();
            files.sync(&files.open(Path::new("/"), OpenMode::Directory).unwrap()).unwrap();
            OnFiles(files)
        }

        fn open(&mut self) -> FileLog<MemFiles> {
            let hints = OpenHints::unknown(TopicId([7; 16]), Timestamp(1_000));
            let opened = Log::open(self.0.clone(), "/data/__cluster_metadata-0".into(), LogConfig::default(), &hints);
            FileLog::new(Arc::new(Mutex::new(opened.expect("it can be opened").0)), Flush::BeforeCommit)
        }

        fn crash(&mut self, seed: u64) {
            self.0.power_loss(seed);
        }

        fn refuse_next(&mut self, _: &mut FileLog<MemFiles>) {
            self.0.inject(0, Fault::ShortWrite);
        }

        fn lose_next(&mut self, _: &mut FileLog<MemFiles>) {
            self.0.inject(1, Fault::Io);
        }

        fn settle(&mut self, _: &mut FileLog<MemFiles>) {}
    }

    #[test]
    fn an_epoch_beyond_all_is_known_after_a_restart() {
        let mut subject = OnFiles::new();
        let mut log = subject.open();
        assert_eq!(log.next_epoch().0, 0);
        let epoch = log.next_epoch();
        crate::Propose::lead(&mut log, epoch, &mut |_| {}).unwrap();
        assert_eq!(log.next_epoch().0, 1);
    }
}

type LedgerDriver = Driver<Ledger, MemoryLog>;

fn delayed() -> LedgerDriver {
    Driver::load(Ledger, MemoryLog::delayed(), LeaderEpoch(1), Timestamp(0)).unwrap()
}

fn ask(driver: &mut LedgerDriver, call: u64, write: Write) {
    driver.handle(Timestamp(1), Input::Request(CallId(call), write));
}

fn judge(driver: &mut LedgerDriver) {
    driver.log_mut().judge();
    driver.pump(Timestamp(2));
}

#[test]
fn outputs_leave_in_order_when_their_batch_is_committed() {
    let mut driver = delayed();
    ask(&mut driver, 1, Write(1, Some(1)));
    ask(&mut driver, 2, Write(2, Some(2)));
    assert_eq!(driver.drain(), []);
    assert_eq!(driver.committed().unwrap().hard.len(), 0);
    assert_eq!(driver.speculative().unwrap().hard.len(), 2);
    judge(&mut driver);
    assert_eq!(driver.drain(), [(CallId(1), Ok(()))]);
    judge(&mut driver);
    assert_eq!(driver.drain(), [(CallId(2), Ok(()))]);
}

#[test]
fn a_refusal_fails_what_was_decided_on_it_and_the_driver_goes_on() {
    let mut driver = delayed();
    ask(&mut driver, 1, Write(1, Some(1)));
    ask(&mut driver, 2, Write(2, Some(2)));
    driver.log_mut().refuse_next(Refusal::Unavailable);
    judge(&mut driver);
    assert_eq!(driver.drain(), [(CallId(1), Err(Refusal::Unavailable)), (CallId(2), Err(Refusal::Conflict))]);
    ask(&mut driver, 3, Write(3, Some(3)));
    judge(&mut driver);
    judge(&mut driver);
    assert_eq!(driver.drain(), [(CallId(3), Ok(()))]);
    assert_eq!(driver.committed().unwrap().hard.keys().collect::<Vec<_>>(), [&3]);
}

#[test]
fn a_foreign_commit_ends_leadership_until_the_reload() {
    let mut driver = delayed();
    driver.log_mut().foreign(&[put(9, 9)]);
    ask(&mut driver, 1, Write(1, Some(1)));
    judge(&mut driver);
    assert!(!driver.is_leading());
    ask(&mut driver, 2, Write(2, Some(2)));
    assert_eq!(driver.drain(), [(CallId(1), Err(Refusal::NotLeader)), (CallId(2), Err(Refusal::NotLeader))]);
    driver.reload(LeaderEpoch(3), Timestamp(3)).unwrap();
    assert_eq!(driver.committed().unwrap().hard.keys().collect::<Vec<_>>(), [&9]);
}

#[test]
fn what_became_of_a_lost_batch_is_found_by_the_reload() {
    for (written, expected) in [(Written::Yes, 1), (Written::No, 0)] {
        let mut driver = delayed();
        ask(&mut driver, 1, Write(1, Some(1)));
        driver.log_mut().lose_next(written);
        judge(&mut driver);
        assert_eq!(driver.drain(), [(CallId(1), Err(Refusal::NotLeader))]);
        driver.reload(LeaderEpoch(2), Timestamp(3)).unwrap();
        assert_eq!(driver.committed().unwrap().hard.len(), expected);
    }
}

#[test]
fn a_refused_compaction_is_not_tried_again_at_once_and_loses_nothing() {
    let mut driver = Driver::load(Ledger, MemoryLog::new(), LeaderEpoch(1), Timestamp(0)).unwrap();
    for call in 0..20 {
        ask(&mut driver, call, Write(1, Some(1)));
    }
    driver.log_mut().refuse_next(Refusal::Unavailable);
    let end = driver.log().end();
    driver.compact_if_dirty(Timestamp(3), 1_000);
    driver.compact_if_dirty(Timestamp(3), 1_000);
    assert_eq!((driver.log().start(), driver.log().end()), (Offset(0), end));
    for call in 0..20 {
        ask(&mut driver, call, Write(1, Some(2)));
    }
    driver.compact_if_dirty(Timestamp(4), 1_000);
    assert!(driver.log().start() >= end);
    driver.reload(LeaderEpoch(2), Timestamp(5)).unwrap();
    assert_eq!(driver.committed().unwrap().hard[&1], [2; 100]);
}

#[test]
fn damaged_snapshots_are_errors() {
    let image = Image { end: Offset(7), hard: [(1, vec![2; 3]), (4, vec![])].into() };
    let good = snapshot::encode(&Ledger, &image);
    assert_eq!(snapshot::decode(&Ledger, &good).as_ref(), Ok(&image));
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        for bad in [&good[..at], &flipped] {
            assert_eq!(snapshot::decode(&Ledger, bad), Err(SnapshotError::Damaged));
        }
    }
}

#[test]
fn snapshot_bytes_do_not_change() {
    let image = Image { end: Offset(7), hard: [(1, vec![2])].into() };
    let golden = b"\x01\0\0\0\0\0\0\0\x07\0\0\0\x01\0\0\0\x01\x01\0\0\0\x01\x02";
    let bytes = snapshot::encode(&Ledger, &image);
    assert_eq!(&bytes[..golden.len()], golden);
    assert_eq!(bytes.len(), golden.len() + 4);
}
