//! Writes messages as trees of named values, for tests that compare answers field by field, and what cuts a request to
//! the fields of one version.

use std::fmt::Write;

use super::model::{Field, Kind, Message, Struct, Type};
use super::names;

/// `tree/generated.rs`.
pub(super) fn emit(messages: &[Message]) -> String {
    let mut out = String::from(
        "//! All messages as trees.\n\n\
         use super::{Fields, Node, Tree};\nuse crate::decode::{DecodeError, Decoder};\n\
         use crate::messages::{self, ApiKey, RequestBody};\n\n",
    );
    let requests = || messages.iter().filter(|message| message.kind == Kind::Request);
    out.push_str("impl Tree for RequestBody {\nfn tree(&self, version: i16) -> Node {\nmatch self {\n");
    for message in requests() {
        let _ = writeln!(out, "RequestBody::{}(body) => body.tree(version),", message.api());
    }
    out.push_str("}\n}\n\nfn trim(&mut self, version: i16) {\nmatch self {\n");
    for message in requests() {
        let _ = writeln!(out, "RequestBody::{}(body) => body.trim(version),", message.api());
    }
    out.push_str(
        "}\n}\n}\n\n/// Reads the body of a response and gives it as a tree of the fields that the version has.\n\
         pub fn response(api: ApiKey, version: i16, input: &mut Decoder) -> Result<Node, DecodeError> {\n\
         Ok(match api {\n",
    );
    for message in messages.iter().filter(|message| message.kind == Kind::Response) {
        let _ = writeln!(
            out,
            "ApiKey::{} => messages::{}::decode(input, version)?.tree(version),",
            message.api(),
            message.name
        );
    }
    out.push_str("})\n}\n\n");
    for message in messages {
        for item in &message.structs {
            out.push_str(&tree(message, item));
        }
    }
    out
}

fn tree(message: &Message, item: &Struct) -> String {
    let (mut put, mut trim, mut is_partial) = (String::new(), String::new(), false);
    for part in &item.fields {
        let name = part.name.trim_start_matches("r#");
        let place = format!("self.{}", part.name);
        let put_it = format!("fields.put(\"{name}\", &{place}, version);");
        let trim_it = trim_present(part, &place);
        match (part.versions.condition(item.versions), part.versions.negation(item.versions)) {
            (Some(present), Some(absent)) => {
                is_partial = true;
                let _ = writeln!(put, "if {present} {{ {put_it} }}");
                let otherwise = if trim_it.is_empty() { String::new() } else { format!("else {{ {trim_it} }}") };
                let _ = writeln!(trim, "if {absent} {{ {place} = plain.{}; }} {otherwise}", part.name);
            }
            _ => {
                let _ = writeln!(put, "{put_it}");
                let _ = writeln!(trim, "{trim_it}");
            }
        }
    }
    let plain = if is_partial { "let plain = Self::default();\n" } else { "" };
    let version = |body: &str| if names::has_word(body, "version") { "version" } else { "_version" };
    let fields = if put.is_empty() { "let fields = Fields::default();" } else { "let mut fields = Fields::default();" };
    let mut out = format!(
        "impl Tree for messages::{}::{} {{\nfn tree(&self, {}: i16) -> Node {{\n{fields}\n{put}fields.done()\n}}\n",
        message.module,
        item.name,
        version(&put),
    );
    if !trim.trim().is_empty() {
        let _ = writeln!(out, "\nfn trim(&mut self, {}: i16) {{\n{plain}{trim}}}", version(&trim));
    }
    out.push_str("}\n\n");
    out
}

/// Statements for a field that the version has: null where the version has no null, and what lies within.
fn trim_present(part: &Field, place: &str) -> String {
    let mut out = match part.nullable.and_then(|nullable| nullable.negation(part.versions)) {
        Some(never) => format!("if {never} && {place}.is_none() {{ {place} = Some(Default::default()); }}\n"),
        None => String::new(),
    };
    if is_made_of_fields(&part.kind) {
        let _ = write!(out, "{place}.trim(version);");
    }
    out
}

fn is_made_of_fields(kind: &Type) -> bool {
    match kind {
        Type::Struct(_) => true,
        Type::Array(element) => is_made_of_fields(element),
        _ => false,
    }
}
