//! Writes what spans all messages: the module list, the APIs as an enum with their versions, and the request body.

use std::fmt::Write;

use super::model::{Kind, Message};

/// `messages/mod.rs`.
pub(super) fn module(messages: &[Message]) -> String {
    let mut out = String::from(
        "//! The messages of Kafka's protocol, one module each, made from the public schemas (4.3.1).\n\
         //!\n\
         //! A message has the fields of all its versions. A field that a version lacks is decoded as its default, and encoded as\n\
         //! nothing; where that would lose a value that the schema does not call ignorable, encoding is an error. Nothing here is\n\
         //! changed by hand. Start reading at [`ApiKey`] and [`RequestBody`].\n\n\
         mod api;\n",
    );
    let mut modules: Vec<&str> = messages.iter().map(|message| message.module.as_str()).collect();
    modules.sort_unstable();
    for module in modules {
        let _ = writeln!(out, "pub mod {module};");
    }
    out.push_str("\npub use api::{ApiKey, RequestBody};\n");
    for message in messages {
        let _ = writeln!(out, "pub use {}::{};", message.module, message.name);
    }
    out
}

/// `messages/api.rs`.
pub(super) fn api(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> = messages.iter().filter(|message| message.kind == Kind::Request).collect();
    requests.sort_by_key(|message| message.api_key);
    let mut out = String::from(
        "//! The APIs that the codec knows, and a request of any of them.\n\n\
         use bytes::Bytes;\n\nuse crate::decode::{DecodeError, Decoder};\nuse crate::encode::{EncodeError, Encoder};\n\
         use crate::messages;\n\n",
    );
    out.push_str(&api_key(&requests));
    out.push_str(&request_body(&requests));
    out
}

fn api_key(requests: &[&Message]) -> String {
    let mut out = String::from(
        "/// An API by its number.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n",
    );
    for request in requests {
        let key = request.api_key.unwrap_or_default();
        let _ = writeln!(out, "/// API key {key}.\n{} = {key},", request.api());
    }
    out.push_str(
        "}\n\nimpl ApiKey {\n/// All APIs, in the order of their numbers.\npub const ALL: &'static [ApiKey] = &[",
    );
    for request in requests {
        let _ = write!(out, "ApiKey::{}, ", request.api());
    }
    out.push_str(
        "];\n\n/// The number on the wire.\n#[must_use]\npub const fn code(self) -> i16 { self as i16 }\n\n\
         /// The API of this number, where the codec knows it.\n#[must_use]\n\
         pub const fn from_code(code: i16) -> Option<ApiKey> { match code {\n",
    );
    for request in requests {
        let _ = writeln!(out, "{} => Some(ApiKey::{}),", request.api_key.unwrap_or_default(), request.api());
    }
    out.push_str("_ => None,\n} }\n\n");
    let mut method = |doc: &str, signature: &str, value: &dyn Fn(&Message) -> String| {
        let _ = writeln!(out, "/// {doc}\n#[must_use]\npub const fn {signature} {{ match self {{");
        for request in requests {
            let _ = writeln!(out, "ApiKey::{} => {},", request.api(), value(request));
        }
        out.push_str("} }\n\n");
    };
    method("Kafka's name of the API.", "name(self) -> &'static str", &|request| format!("\"{}\"", request.api()));
    method("The oldest version that the codec knows.", "version_first(self) -> i16", &|request| {
        request.versions.first.to_string()
    });
    method("The newest version that the codec knows.", "version_last(self) -> i16", &|request| {
        request.versions.last.to_string()
    });
    method(
        "The first flexible version (KIP-482); one beyond the last where none is.",
        "flexible_from(self) -> i16",
        &|request| request.flexible.map_or(request.versions.last + 1, |flexible| flexible.first).to_string(),
    );
    out.push_str("}\n\n");
    out
}

fn request_body(requests: &[&Message]) -> String {
    let mut out = String::from(
        "/// The body of a request of any API.\n#[derive(Clone, Debug, PartialEq)]\npub enum RequestBody {\n",
    );
    for request in requests {
        let _ = writeln!(out, "/// Of [`ApiKey::{0}`].\n{0}(messages::{1}),", request.api(), request.name);
    }
    out.push_str(
        "}\n\nimpl RequestBody {\n/// Reads a body. Bytes behind it are ignored, as Kafka does.\n\
         pub fn decode(api: ApiKey, version: i16, body: Bytes) -> Result<RequestBody, DecodeError> {\n\
         let input = &mut Decoder::new(body);\nOk(match api {\n",
    );
    for request in requests {
        let _ = writeln!(
            out,
            "ApiKey::{0} => RequestBody::{0}(messages::{1}::decode(input, version)?),",
            request.api(),
            request.name
        );
    }
    out.push_str(
        "})\n}\n\n/// Writes the body.\n\
         pub fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {\nmatch self {\n",
    );
    for request in requests {
        let _ = writeln!(out, "RequestBody::{}(body) => body.encode(out, version),", request.api());
    }
    out.push_str("}\n}\n\n/// The API that the body belongs to.\n#[must_use]\npub const fn api(&self) -> ApiKey {\nmatch self {\n");
    for request in requests {
        let _ = writeln!(out, "RequestBody::{0}(_) => ApiKey::{0},", request.api());
    }
    out.push_str("}\n}\n}\n");
    out
}
