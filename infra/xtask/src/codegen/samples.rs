//! Writes random instances of all messages, for tests: each field that a version has gets a random value, the others
//! keep their defaults.

use std::fmt::Write;

use super::emit_field::null_condition;
use super::model::{Field, Kind, Message, Struct, Type};
use super::names;

/// `samples/generated.rs`.
pub(super) fn emit(messages: &[Message]) -> String {
    let mut out = String::from(
        "//! Random instances of all messages.\n\n\
         use super::{Sample, Sampler};\nuse crate::messages::{self, ApiKey, RequestBody};\n\n\
         /// A request with random values in all fields that the version has.\n#[must_use]\n\
         pub fn request(api: ApiKey, version: i16, random: &mut Sampler) -> RequestBody {\nmatch api {\n",
    );
    for message in messages.iter().filter(|message| message.kind == Kind::Request) {
        let _ = writeln!(
            out,
            "ApiKey::{0} => RequestBody::{0}(messages::{1}::sample(random, version)),",
            message.api(),
            message.name
        );
    }
    out.push_str("}\n}\n\n");
    for message in messages {
        for item in &message.structs {
            out.push_str(&sample(message, item));
        }
    }
    out
}

fn sample(message: &Message, item: &Struct) -> String {
    let name = format!("messages::{}::{}", message.module, item.name);
    let mut body = String::new();
    let mut is_partial = false;
    for part in &item.fields {
        let value = value(message, part);
        match part.versions.condition(item.versions) {
            None => {
                let _ = writeln!(body, "{}: {value},", part.name);
            }
            Some(condition) => {
                is_partial = true;
                let _ = writeln!(body, "{}: if {condition} {{ {value} }} else {{ plain.{0} }},", part.name);
            }
        }
    }
    let plain = if is_partial { "let plain = Self::default();\n" } else { "" };
    let version = if names::has_word(&body, "version") { "version" } else { "_version" };
    let random = if names::has_word(&body, "random") { "random" } else { "_random" };
    format!(
        "impl Sample for {name} {{\nfn sample({random}: &mut Sampler, {version}: i16) -> Self {{\n{plain}Self {{\n{body}}}\n}}\n}}\n\n"
    )
}

fn value(message: &Message, part: &Field) -> String {
    let value = plain(message, &part.kind);
    match null_condition(part, part.versions) {
        None => value,
        Some(condition) if condition == "true" => format!("random.optional(|random| {value})"),
        Some(condition) => {
            format!("if {condition} {{ random.optional(|random| {value}) }} else {{ Some({value}) }}")
        }
    }
}

fn plain(message: &Message, kind: &Type) -> String {
    match kind {
        Type::Bool => "random.bool()".to_owned(),
        Type::Number("f64") => "random.f64()".to_owned(),
        Type::Number(name) => format!("random.u64() as {name}"),
        Type::Uuid => "random.uuid()".to_owned(),
        Type::TopicId => "random.topic_id()".to_owned(),
        Type::Str => "random.string()".to_owned(),
        Type::Bytes => "random.bytes()".to_owned(),
        Type::Records => "random.records()".to_owned(),
        Type::Struct(name) => format!("messages::{}::{name}::sample(random, version)", message.module),
        Type::Array(element) => format!("random.list(|random| {})", plain(message, element)),
    }
}
