//! The routes: who answers what. Everything that thinks is elsewhere.
//!
//! `GET /v1/topics`, `/v1/topics/{topic}`, `/v1/topics/{topic}/records`, `/health`, `/ready`, `/metrics`. Whatever is
//! refused is refused with [`Problem`]. A failed replay aborts its chunked body: see `ReplayBody`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query as Pairs, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use broker_model::{PartitionIndex, nearest};
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Sleep};

use crate::metrics::{self, Family};
use crate::problem::Problem;
use crate::query::Query;
use crate::replay::{Lines, Replay, ReplayError, Sources, Stats};
use crate::source::{ColdBounds, TopicInfo, partition_of};

/// Replays that run at the same time; more are refused with 503.
pub const REPLAYS_MAX: usize = 64;
/// How long the last line of a failed replay gets to leave before its connection is cut.
const LAST_LINE_GRACE: Duration = Duration::from_millis(250);

/// Something that keeps the process from serving as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The part of the program: `tier`, `log`, …
    pub component: String,
    /// What is wrong, which promise it breaks, and what to do.
    pub detail: String,
}

type Families = Box<dyn Fn() -> Vec<Family> + Send + Sync>;
type Readiness = Box<dyn Fn() -> Vec<NotReady> + Send + Sync>;

/// What the application serves from.
pub struct GatewayState {
    sources: Sources,
    families: Families,
    readiness: Readiness,
    replays: Arc<Semaphore>,
    stats: Arc<Stats>,
}

impl GatewayState {
    /// Serves these sources; without further metrics, always ready.
    #[must_use]
    pub fn new(sources: Sources) -> GatewayState {
        GatewayState {
            sources,
            families: Box::new(Vec::new),
            readiness: Box::new(Vec::new),
            replays: Arc::new(Semaphore::new(REPLAYS_MAX)),
            stats: Arc::default(),
        }
    }

    /// Adds what `/metrics` shows beside the gateway's own. It is called for each scrape and must be quick.
    #[must_use]
    pub fn with_metrics(mut self, families: impl Fn() -> Vec<Family> + Send + Sync + 'static) -> Self {
        self.families = Box::new(families);
        self
    }

    /// Says why the process is not ready; ready when nothing is said. It is called for each probe and must be quick.
    #[must_use]
    pub fn with_readiness(mut self, readiness: impl Fn() -> Vec<NotReady> + Send + Sync + 'static) -> Self {
        self.readiness = Box::new(readiness);
        self
    }

    /// The counters of replays, for those who replay without HTTP too.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    fn own_families(&self) -> Vec<Family> {
        let running = REPLAYS_MAX.saturating_sub(self.replays.available_permits());
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
        vec![
            Family::gauge("strata_replays_running", "Replays that run now.").with(&[], running as f64),
            Family::counter("strata_replays_total", "Replays that were started.").with(&[], count(&self.stats.started)),
            Family::counter("strata_replays_failed_total", "Replays that ended with an error line.")
                .with(&[], count(&self.stats.failed)),
            Family::counter("strata_replay_rows_total", "Rows that replays wrote.").with(&[], count(&self.stats.rows)),
            Family::counter("strata_replay_bytes_total", "Bytes of lines that replays wrote.")
                .with(&[], count(&self.stats.bytes)),
        ]
    }
}

/// The application.
pub fn app(state: Arc<GatewayState>) -> Router {
    Router::new()
        .route("/v1/topics", get(topics))
        .route("/v1/topics/{topic}", get(topic))
        .route("/v1/topics/{topic}/records", get(records))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
}

const PATHS: [&str; 6] =
    ["/v1/topics", "/v1/topics/{topic}", "/v1/topics/{topic}/records", "/health", "/ready", "/metrics"];

async fn unknown_path(uri: Uri) -> Problem {
    let near = nearest(uri.path(), PATHS).map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
    let detail = format!("There is nothing at {:?}.{near} There is {}.", uri.path(), PATHS.join(", "));
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", "There is nothing at this path.", detail)
}

async fn wrong_method() -> Problem {
    let title = "The method is not served here.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", title, "Everything here is read with GET.")
}

async fn health() -> Response {
    json_answer(&json!({"status": "live"}))
}

async fn ready(State(state): State<Arc<GatewayState>>) -> Result<Response, Problem> {
    let reasons = (state.readiness)();
    if reasons.is_empty() {
        return Ok(json_answer(&json!({"status": "ready"})));
    }
    let said: Vec<String> = reasons.iter().map(|reason| format!("{}: {}", reason.component, reason.detail)).collect();
    let list: Vec<Value> =
        reasons.iter().map(|reason| json!({"component": reason.component, "detail": reason.detail})).collect();
    let title = "The process does not serve as promised.";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", title, said.join(" ")).with("reasons", list))
}

async fn scrape(State(state): State<Arc<GatewayState>>) -> Response {
    let mut families = state.own_families();
    families.extend((state.families)());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], metrics::encode(families)).into_response()
}

async fn topics(State(state): State<Arc<GatewayState>>) -> Response {
    let mut topics = state.sources.hot.topics();
    topics.sort_by(|left, right| left.name.cmp(&right.name));
    let list: Vec<Value> = topics.iter().map(|topic| Value::Object(brief(topic))).collect();
    json_answer(&json!({"topics": list}))
}

fn brief(topic: &TopicInfo) -> serde_json::Map<String, Value> {
    let mut object = serde_json::Map::new();
    object.insert("name".to_owned(), topic.name.clone().into());
    object.insert("id".to_owned(), topic.id.to_string().into());
    object.insert("partitions".to_owned(), topic.partitions.into());
    object
}

/// The topic's name from the path.
type Named = Result<Path<String>, PathRejection>;

fn topic_name(path: Named) -> Result<String, Problem> {
    path.map(|Path(name)| name).map_err(|rejected| {
        let detail =
            format!("The path cannot be read: {rejected}. A topic's name has letters, digits, '.', '_' and '-'.");
        Problem::new(StatusCode::BAD_REQUEST, "bad-path", "The path cannot be read.", detail)
    })
}

async fn topic(State(state): State<Arc<GatewayState>>, path: Named) -> Result<Response, Problem> {
    let name = topic_name(path)?;
    let Some(topic) = state.sources.hot.topic(&name) else {
        let topics = state.sources.hot.topics();
        let near = nearest(&name, topics.iter().map(|known| known.name.as_str())).map(str::to_owned);
        return Err(ReplayError::UnknownTopic { topic: name, nearest: near }.problem(None));
    };
    let mut partitions = Vec::new();
    for partition in (0..topic.partitions).map(PartitionIndex) {
        partitions.push(partition_json(&state.sources, &topic, partition).await?);
    }
    let mut object = brief(&topic);
    object.insert("partitions".to_owned(), partitions.into());
    Ok(json_answer(&Value::Object(object)))
}

async fn partition_json(sources: &Sources, topic: &TopicInfo, partition: PartitionIndex) -> Result<Value, Problem> {
    let place = partition_of(topic, partition);
    let failed = |error| ReplayError::Source { partition, offset: broker_model::Offset::ZERO, error }.problem(None);
    let bounds = sources.hot.bounds(place).await.map_err(failed)?;
    // A store that does not answer is no reason to hide what the broker knows.
    let cold: Option<ColdBounds> = match &sources.cold {
        Some(cold) => cold.cold_bounds(place).await.unwrap_or_default(),
        None => None,
    };
    Ok(json!({
        "partition": partition.0,
        "log_start": bounds.log_start.0,
        "local_start": bounds.local_start.0,
        "high_watermark": bounds.high_watermark.0,
        "tiered_end": cold.map(|cold| cold.end.0),
    }))
}

async fn records(State(state): State<Arc<GatewayState>>, path: Named, uri: Uri) -> Result<Response, Problem> {
    let topic = topic_name(path)?;
    let pairs = Pairs::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|error| {
        let title = "The query string cannot be read.";
        Problem::new(StatusCode::BAD_REQUEST, "bad-query", title, format!("The query string cannot be read: {error}."))
    })?;
    let query = Query::parse(&pairs.0)?;
    let Ok(permit) = Arc::clone(&state.replays).try_acquire_owned() else {
        let detail = format!("{REPLAYS_MAX} replays are running, which is the most. Try again when one has ended.");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-replays", "Too many replays.", detail));
    };
    let plan = Replay::plan(state.sources.clone(), &topic, query, state.stats()).await;
    let lines = plan.map_err(|error| error.problem(None))?.lines();
    let body = Body::new(ReplayBody { lines, ending: Ending::Not, _permit: permit });
    let kind = HeaderValue::from_static("application/x-ndjson");
    let cache = HeaderValue::from_static("no-store");
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], body).into_response())
}

fn json_answer(value: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], format!("{value}\n")).into_response()
}

enum Ending {
    Not,
    /// The error line has been handed over; once the time is up the body fails.
    Failing(Pin<Box<Sleep>>, Option<ReplayError>),
}

/// The body of a replay. An error makes the body fail *after* its last line had time to leave: the server then closes the
/// connection without the end mark of a chunked body, and no client can take the answer for a whole one.
struct ReplayBody {
    lines: Lines,
    ending: Ending,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for ReplayBody {
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        loop {
            match &mut self.ending {
                Ending::Failing(pause, error) => {
                    std::task::ready!(pause.as_mut().poll(context));
                    return Poll::Ready(error.take().map(Err));
                }
                Ending::Not => match std::task::ready!(self.lines.poll_next(context)) {
                    None => return Poll::Ready(None),
                    Some(Ok(chunk)) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
                    Some(Err(error)) => {
                        let pause = Box::pin(tokio::time::sleep(LAST_LINE_GRACE));
                        self.ending = Ending::Failing(pause, Some(error));
                    }
                },
            }
        }
    }
}
