//! Errors as `application/problem+json` (RFC 9457): what is wrong, and what to do about it.
//!
//! `type` names the kind and never changes its meaning, `title` is the same for all problems of a kind, `detail` tells
//! this case and what to do. Further members carry what a program needs, for example a cursor.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of a kind; `detail` says what to do.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind, title, detail: detail.into(), members: Map::new() }
    }

    /// The same with a further member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// A parameter that cannot be understood.
    #[must_use]
    pub fn parameter(name: &str, value: &str, expected: &str) -> Problem {
        let detail = format!("Parameter {name} has the value {value:?}; expected is {expected}.");
        Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter has a value that cannot be used.", detail)
            .with("parameter", name)
            .with("value", value)
            .with("expected", expected)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The object as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".to_owned(), format!("urn:strata:problem:{}", self.kind).into());
        object.insert("title".to_owned(), self.title.into());
        object.insert("status".to_owned(), self.status.as_u16().into());
        object.insert("detail".to_owned(), self.detail.clone().into());
        object.extend(self.members.clone());
        Value::Object(object)
    }
}

/// What to do, for those who do not read JSON.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = format!("{}\n", self.to_json());
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
