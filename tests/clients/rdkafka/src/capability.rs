//! How the program tells what it saw: the plan, then one line of JSON per capability (name, ok, detail), and the
//! orders that it writes and expects.
//!
//! `settled` between writing and reading is where the runner makes a topic cold: it asks and waits for the answer.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::Message;
use serde_json::json;

pub type Outcome = Result<String, Box<dyn Error + Send + Sync>>;
pub type Step = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// Name, what is checked, and the check.
pub struct Capability(pub &'static str, pub &'static str, pub Step);

fn tell(line: serde_json::Value) {
    println!("{line}");
    std::io::stdout().flush().expect("the runner reads this");
}

/// Runs each capability, also after one that failed.
pub async fn run_all(client: &str, version: &str, capabilities: &[Capability]) {
    let plan: Vec<_> = capabilities.iter().map(|one| json!({"name": one.0, "what": one.1})).collect();
    tell(json!({"client": client, "version": version, "plan": plan}));
    for Capability(name, _, check) in capabilities {
        let (ok, detail) = match check().await {
            Ok(detail) => (true, detail),
            Err(failed) => (false, failed.to_string()),
        };
        tell(json!({"name": name, "ok": ok, "detail": detail}));
    }
}

pub fn settled(topic: &str) -> Result<(), String> {
    tell(json!({"settle": topic}));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| error.to_string())?;
    ensure(answer.trim() == "ok", || format!("{topic} did not settle: {answer}"))
}

pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(otherwise())
    }
}

/// The order `number` of a customer.
pub struct Order {
    pub key: String,
    pub value: String,
    pub headers: OwnedHeaders,
    pub timestamp: i64,
}

impl Order {
    pub fn new(number: usize, start: i64) -> Order {
        let trace = format!("trace-{number}");
        let headers = OwnedHeaders::new()
            .insert(Header { key: "trace", value: Some(&trace) })
            .insert(Header { key: "kind", value: Some("order") });
        let timestamp = start + i64::try_from(number).expect("orders are few");
        Order { key: key(number), value: format!("{number} {}", "padding ".repeat(20)), headers, timestamp }
    }
}

fn key(number: usize) -> String {
    format!("customer-{}", number % 11)
}

/// Yesterday, in milliseconds.
pub fn yesterday() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(now.as_millis()).expect("milliseconds fit") - 86_400_000
}

/// What a consumer saw of a topic of orders.
#[derive(Default)]
pub struct Shelf {
    pub numbers: Vec<usize>,
    /// The next offset due, by partition.
    pub next: BTreeMap<i32, i64>,
    customers: HashMap<String, usize>,
}

impl Shelf {
    /// Fails when the record is not the next of its partition and customer, or has not its key and headers.
    pub fn add(&mut self, message: &impl Message) -> Result<(), String> {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (value, found) = (text(message.payload()), text(message.key()));
        let number: usize = value.split(' ').next().and_then(|word| word.parse().ok()).ok_or("no order")?;
        let due = *self.next.entry(message.partition()).or_insert(message.offset());
        ensure(due == message.offset(), || format!("offset {} came where {due} was due", message.offset()))?;
        self.next.insert(message.partition(), due + 1);
        ensure(found == key(number), || format!("order {number} has the key {found}"))?;
        let headers = message.headers().ok_or("no headers")?;
        let told: Vec<_> = headers.iter().map(|one| (one.key.to_owned(), text(one.value))).collect();
        let wanted = [("trace".to_owned(), format!("trace-{number}")), ("kind".to_owned(), "order".to_owned())];
        ensure(told == wanted, || format!("order {number} has the headers {told:?}"))?;
        let before = self.customers.insert(found, number);
        ensure(before.is_none_or(|before| before < number), || format!("order {number} came after {before:?}"))?;
        self.numbers.push(number);
        Ok(())
    }

    pub fn check(&self, count: usize) -> Outcome {
        let mut sorted = self.numbers.clone();
        sorted.sort_unstable();
        ensure(sorted.iter().copied().eq(0..count), || format!("{} records came of {count}", sorted.len()))?;
        Ok(format!("{count} records of {} partitions in order, with keys and headers", self.next.len()))
    }
}
