//! A real `strata serve` in a directory of its own, and a client that speaks to it in raw frames.
//!
//! The client knows only the messages of `broker_wire`: what it sends and reads is what is on the wire, in the version that a
//! test names. Nothing here retries, and nothing waits for a time: it waits for an answer, for a line, or for the end of
//! a process, each with a deadline that is far beyond what a slow machine needs.
//!
//! A test that ends without a failure also checks that no thread of the server has panicked.

pub(crate) mod requests;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use broker_wire::messages::{self, ResponseHeader};
use broker_wire::{ApiKey, DecodeError, Decoder, EncodeError, Encoder, RequestHead, frame};
use bytes::Bytes;

/// How long anything may take before the test fails. It is shorter than the long polls of the tests, so that one that is
/// not woken fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);
/// The patience of a fetch that must be woken, in milliseconds.
pub(crate) const LONG_POLL_MS: i32 = 120_000;

/// A broker and its directory. It is killed when dropped.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    sets: Vec<String>,
    process: Process,
}

struct Process {
    child: Child,
    kafka: SocketAddr,
    stderr: Receiver<String>,
}

/// How a process ended, and what it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(&[])
    }

    /// With these settings besides.
    pub(crate) fn with(sets: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let process = Process::start(dir.path(), &sets);
        Server { dir, sets, process }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.process.kafka)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it at once, as a loss of the process does, and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.child.kill().unwrap();
        let _ = self.process.ended();
        self.process = Process::start(self.dir.path(), &self.sets);
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> Ended {
        let pid = self.process.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.ended()
    }

    pub(crate) fn start_again(&mut self) {
        self.process = Process::start(self.dir.path(), &self.sets);
    }

    /// Another process on the same directory, which must end by itself.
    pub(crate) fn second_instance(&self) -> Ended {
        let sets: Vec<_> = self.sets.iter().map(String::as_str).collect();
        self.another(&sets)
    }

    /// A process with these settings instead, which must end by itself.
    pub(crate) fn another(&self, sets: &[&str]) -> Ended {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let (child, stderr) = watched(command(self.dir.path(), &sets).spawn().unwrap());
        let mut process = Process { child, kafka: self.process.kafka, stderr };
        process.ended()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        let said = self.process.stderr.recv_timeout(DEADLINE).unwrap_or_default();
        if std::thread::panicking() {
            println!("the server said:\n{said}");
        } else {
            assert!(!said.contains("panicked"), "the server panicked:\n{said}");
        }
    }
}

fn command(dir: &Path, sets: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.arg("serve").current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let defaults = [
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        "strata.http.listeners=http://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", dir.join("data").display()),
        format!("strata.tier.url=file://{}", dir.join("bucket").display()),
        "log.retention.ms=-1".to_owned(),
        "offsets.topic.num.partitions=3".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    for set in defaults.iter().chain(sets) {
        command.args(["--set", set]);
    }
    command
}

/// Its standard error comes whole through the channel when it has ended.
fn watched(mut child: Child) -> (Child, Receiver<String>) {
    let mut stderr = child.stderr.take().unwrap();
    let (said, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        let _ = said.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    (child, receiver)
}

impl Process {
    fn start(dir: &Path, sets: &[String]) -> Process {
        let (mut child, stderr) = watched(command(dir, sets).spawn().unwrap());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (found, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(rest) = line.trim_start().strip_prefix("Kafka ") {
                    let address = rest.split_whitespace().next().map(str::to_owned);
                    let _ = found.send(address.unwrap_or_default());
                }
            }
        });
        match receiver.recv_timeout(DEADLINE) {
            Ok(address) => Process { child, kafka: address.parse().unwrap(), stderr },
            Err(error) => {
                let _ = child.kill();
                panic!("no banner ({error}); it said: {}", stderr.recv_timeout(DEADLINE).unwrap_or_default());
            }
        }
    }

    fn ended(&mut self) -> Ended {
        let Ok(stderr) = self.stderr.recv_timeout(DEADLINE) else {
            let _ = self.child.kill();
            panic!("the process did not end in time");
        };
        Ended { status: self.child.wait().unwrap(), stderr }
    }
}

/// A request message and the response that belongs to it.
pub(crate) trait Ask {
    type Answer;
    const API: ApiKey;
    fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>;
    fn read(input: &mut Decoder, version: i16) -> Result<Self::Answer, DecodeError>;
}

macro_rules! asks {
    ($($api:ident $request:ident $response:ident)*) => {
        $(impl Ask for messages::$request {
            type Answer = messages::$response;
            const API: ApiKey = ApiKey::$api;
            fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {
                self.encode(out, version)
            }
            fn read(input: &mut Decoder, version: i16) -> Result<Self::Answer, DecodeError> {
                messages::$response::decode(input, version)
            }
        })*
    };
}

asks! {
    Produce ProduceRequest ProduceResponse
    Fetch FetchRequest FetchResponse
    ListOffsets ListOffsetsRequest ListOffsetsResponse
    Metadata MetadataRequest MetadataResponse
    OffsetCommit OffsetCommitRequest OffsetCommitResponse
    OffsetFetch OffsetFetchRequest OffsetFetchResponse
    FindCoordinator FindCoordinatorRequest FindCoordinatorResponse
    JoinGroup JoinGroupRequest JoinGroupResponse
    Heartbeat HeartbeatRequest HeartbeatResponse
    LeaveGroup LeaveGroupRequest LeaveGroupResponse
    SyncGroup SyncGroupRequest SyncGroupResponse
    ApiVersions ApiVersionsRequest ApiVersionsResponse
    CreateTopics CreateTopicsRequest CreateTopicsResponse
    DeleteTopics DeleteTopicsRequest DeleteTopicsResponse
    InitProducerId InitProducerIdRequest InitProducerIdResponse
    DescribeGroups DescribeGroupsRequest DescribeGroupsResponse
    ListGroups ListGroupsRequest ListGroupsResponse
    DeleteGroups DeleteGroupsRequest DeleteGroupsResponse
    OffsetDelete OffsetDeleteRequest OffsetDeleteResponse
    DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse
    AlterConfigs AlterConfigsRequest AlterConfigsResponse
    CreatePartitions CreatePartitionsRequest CreatePartitionsResponse
    IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
    DeleteRecords DeleteRecordsRequest DeleteRecordsResponse
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
    DescribeLogDirs DescribeLogDirsRequest DescribeLogDirsResponse
    ElectLeaders ElectLeadersRequest ElectLeadersResponse
    AlterPartitionReassignments AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse
    ListPartitionReassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse
    DescribeCluster DescribeClusterRequest DescribeClusterResponse
    DescribeTopicPartitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation: i32,
}

/// A request that was sent, and is to be answered in its turn.
#[must_use]
pub(crate) struct Sent {
    version: i16,
    correlation: i32,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client { stream, correlation: 1000 }
    }

    /// The frame of a request, with its length.
    pub(crate) fn frame<A: Ask>(&mut self, version: i16, request: &A) -> (Vec<u8>, Sent) {
        self.correlation += 1;
        let head = RequestHead {
            api_key: A::API.code(),
            version,
            correlation_id: self.correlation,
            client_id: Some("tests".into()),
        };
        let mut out = Encoder::frame();
        head.encode(&mut out).unwrap();
        request.write(&mut out, version).unwrap();
        let (bytes, holes) = out.finish_frame().unwrap();
        assert!(holes.is_empty());
        (bytes.to_vec(), Sent { version, correlation: self.correlation })
    }

    pub(crate) fn send<A: Ask>(&mut self, version: i16, request: &A) -> Sent {
        let (bytes, sent) = self.frame(version, request);
        self.stream.write_all(&bytes).unwrap();
        sent
    }

    /// The next response, which must be this request's and end with the frame.
    pub(crate) fn receive<A: Ask>(&mut self, sent: &Sent) -> A::Answer {
        let mut input = Decoder::new(self.receive_frame());
        let head = ResponseHeader::decode(&mut input, frame::response_head_version(A::API, sent.version)).unwrap();
        assert_eq!(head.correlation_id, sent.correlation, "{:?} v{}: replies keep their order", A::API, sent.version);
        let answer = A::read(&mut input, sent.version);
        let answer = answer.unwrap_or_else(|error| panic!("{:?} v{}: {error}", A::API, sent.version));
        assert_eq!(input.remaining(), 0, "{:?} v{}: bytes behind the message", A::API, sent.version);
        answer
    }

    pub(crate) fn receive_frame(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("a reply before the deadline");
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        Bytes::from(frame)
    }

    pub(crate) fn call<A: Ask>(&mut self, version: i16, request: &A) -> A::Answer {
        let sent = self.send(version, request);
        self.receive::<A>(&sent)
    }

    /// True when the server ended the connection, and sent nothing before.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
