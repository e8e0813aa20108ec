//! Writes one message: its structs, their defaults, and how they are decoded and encoded.
//!
//! How a single field is read and written is in [`super::emit_field`]. The text is not laid out here; rustfmt does that.

use std::fmt::Write;

use super::emit_field::{self as field, Context};
use super::model::{Default, Field, Kind, Message, Struct, Type, Versions};
use super::names;

/// The file of a message.
pub(super) fn message(message: &Message) -> String {
    let mut out = module_doc(message);
    let mut body = String::new();
    for (index, item) in message.structs.iter().enumerate() {
        body.push_str(&structure(message, item, index == 0));
    }
    out.push_str(&imports(&body));
    out.push_str(&body);
    out
}

fn module_doc(message: &Message) -> String {
    let range = span(message.versions);
    let flexible = match message.flexible {
        None => "none is flexible".to_owned(),
        Some(flexible) if flexible == message.versions => "all are flexible".to_owned(),
        Some(flexible) => format!("flexible from {}", flexible.first),
    };
    let what = match (message.kind, message.api_key) {
        (Kind::Request | Kind::Response, Some(key)) => format!("`{}` (API key {key})", message.name),
        (Kind::CoordinatorKey, Some(key)) => format!("`{}` (key of record type {key})", message.name),
        (Kind::CoordinatorValue, Some(key)) => format!("`{}` (value of record type {key})", message.name),
        _ => format!("`{}`", message.name),
    };
    format!("//! {what}, {range}, {flexible}.\n\n")
}

fn span(versions: Versions) -> String {
    if versions.first == versions.last {
        format!("version {}", versions.first)
    } else {
        format!("versions {} to {}", versions.first, versions.last)
    }
}

fn imports(body: &str) -> String {
    let body = body.replace("Records::Bytes", "Records");
    let has = |word: &str| names::has_word(&body, word);
    let mut out = String::new();
    if has("TopicId") {
        out.push_str("use broker_model::TopicId;\n");
    }
    if has("Bytes") {
        out.push_str("use bytes::Bytes;\n");
    }
    if has("Uuid") {
        out.push_str("use uuid::Uuid;\n");
    }
    out.push('\n');
    for (word, line) in [
        ("Decoder", "use crate::decode::{DecodeError, Decoder};\n"),
        ("Encoder", "use crate::encode::{EncodeError, Encoder};\n"),
        ("Form", "use crate::form::Form;\n"),
        ("Records", "use crate::records::Records;\n"),
        ("Str", "use crate::text::Str;\n"),
    ] {
        if has(word) {
            out.push_str(line);
        }
    }
    out.push('\n');
    out
}

fn structure(message: &Message, item: &Struct, is_message: bool) -> String {
    let all_zero = item.fields.iter().all(has_rust_default);
    let mut out = String::new();
    let doc = if is_message {
        format!("`{}`, {}.", item.name, span(message.versions))
    } else {
        format!("`{}` within `{}`.", item.name, message.name)
    };
    let derives = if all_zero { "Clone, Debug, Default, PartialEq" } else { "Clone, Debug, PartialEq" };
    let _ = write!(out, "/// {doc}\n#[derive({derives})]\npub struct {} {{\n", item.name);
    for part in &item.fields {
        let _ = writeln!(out, "{}pub {}: {},", field_doc(message, part), part.name, field::rust_type(part));
    }
    out.push_str("}\n\n");
    if !all_zero {
        let _ = write!(out, "impl Default for {} {{ fn default() -> Self {{ Self {{", item.name);
        for part in &item.fields {
            let _ = write!(out, "{}: {},", part.name, field::default_value(part));
        }
        out.push_str("} } }\n\n");
    }
    let _ = writeln!(out, "impl {} {{", item.name);
    if is_message {
        out.push_str(&constants(message));
    }
    out.push_str(&decode(message, item, is_message));
    out.push_str(&encode(message, item, is_message));
    if is_message {
        out.push_str(prefixed(message.kind));
    }
    out.push_str("}\n\n");
    out
}

fn has_rust_default(part: &Field) -> bool {
    if part.nullable.is_some() { part.default == Default::Null } else { part.default == Default::Zero }
}

fn field_doc(message: &Message, part: &Field) -> String {
    let mut doc = part.versions.describe(message.versions);
    if let Some(tag) = part.tag {
        let _ = write!(doc, "; tag {tag}");
    }
    if let Some(nullable) = part.nullable {
        if nullable == part.versions {
            doc.push_str("; may be null");
        } else {
            let mut from = nullable.describe(message.versions);
            from.replace_range(..1, "v");
            let _ = write!(doc, "; may be null in {from}");
        }
    }
    match part.default {
        Default::Number(value) => {
            let _ = write!(doc, "; {value} by default");
        }
        Default::True => doc.push_str("; true by default"),
        Default::Null | Default::Zero => {}
    }
    format!("/// {doc}.\n")
}

fn constants(message: &Message) -> String {
    let mut out = String::new();
    if let Some(key) = message.api_key {
        let (name, doc) = match message.kind {
            Kind::CoordinatorKey | Kind::CoordinatorValue => {
                ("RECORD_TYPE", "The record type of the coordinator's log.")
            }
            _ => ("API_KEY", "The API's number."),
        };
        let _ = write!(out, "/// {doc}\npub const {name}: i16 = {key};\n");
    }
    let Versions { first, last } = message.versions;
    let _ = write!(out, "/// The oldest version.\npub const VERSION_FIRST: i16 = {first};\n");
    let _ = write!(out, "/// The newest version.\npub const VERSION_LAST: i16 = {last};\n\n");
    out
}

fn form(message: &Message, item: &Struct) -> String {
    let within = item.versions;
    match message.flexible.and_then(|flexible| flexible.intersect(within)) {
        None => "let form = Form::Classic;".to_owned(),
        Some(flexible) => match flexible.condition(within) {
            None => "let form = Form::Compact;".to_owned(),
            Some(condition) => format!("let form = if {condition} {{ Form::Compact }} else {{ Form::Classic }};"),
        },
    }
}

fn is_flexible(message: &Message, item: &Struct) -> bool {
    message.flexible.and_then(|flexible| flexible.intersect(item.versions)).is_some()
}

/// The parts of a function, joined; parameters that the body does not name get an underscore.
fn function(docs: &str, signature: &str, body: &str) -> String {
    let mut signature = signature.to_owned();
    for parameter in ["input", "version", "out"] {
        let named =
            body.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').any(|word| word == parameter);
        if !named {
            signature = signature.replace(&format!("{parameter}:"), &format!("_{parameter}:"));
        }
    }
    format!("{docs}{signature} {{\n{body}}}\n\n")
}

fn decode(message: &Message, item: &Struct, is_message: bool) -> String {
    let context = Context { message, item };
    let mut body = String::new();
    for part in item.fields.iter().filter(|part| part.tag.is_none()) {
        let _ = writeln!(body, "let {} = {};", part.name, context.read_if_present(part));
    }
    let tagged: Vec<&Field> = item.fields.iter().filter(|part| part.tag.is_some()).collect();
    if is_flexible(message, item) {
        if tagged.is_empty() {
            body.push_str("input.skip_tags(form)?;\n");
        } else {
            for part in &tagged {
                let _ = writeln!(body, "let mut {} = {};", part.name, field::default_value(part));
            }
            body.push_str("input.tags(form, |input, tag| {\nmatch tag {\n");
            for part in &tagged {
                body.push_str(&context.read_tag(part));
            }
            body.push_str("_ => return Ok(false),\n}\nOk(true)\n})?;\n");
        }
    }
    let names: Vec<&str> = item.fields.iter().map(|part| part.name.as_str()).collect();
    let _ = writeln!(body, "Ok(Self {{ {} }})", names.join(", "));
    let mut head = String::new();
    if is_message {
        head.push_str("input.check_version(version, Self::VERSION_FIRST, Self::VERSION_LAST)?;\n");
    }
    if body.contains("form") {
        head.push_str(&form(message, item));
        head.push('\n');
    }
    let (docs, visibility) =
        if is_message { ("/// Reads the message as this version lays it out.\n", "pub ") } else { ("", "") };
    let signature = format!("{visibility}fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError>");
    function(docs, &signature, &format!("{head}{body}"))
}

fn encode(message: &Message, item: &Struct, is_message: bool) -> String {
    let context = Context { message, item };
    let mut body = String::new();
    for part in item.fields.iter().filter(|part| part.tag.is_none()) {
        body.push_str(&context.write_if_present(part));
    }
    let tagged: Vec<&Field> = item.fields.iter().filter(|part| part.tag.is_some()).collect();
    for part in &tagged {
        body.push_str(&context.refuse_if_absent(part));
    }
    if is_flexible(message, item) {
        if tagged.is_empty() {
            body.push_str("out.tag_count(form, 0);\n");
        } else {
            let counted: Vec<String> =
                tagged.iter().map(|part| format!("u32::from({})", context.tag_condition(part))).collect();
            let _ = writeln!(body, "out.tag_count(form, {});", counted.join(" + "));
            for part in &tagged {
                body.push_str(&context.write_tag(part));
            }
        }
    }
    body.push_str("Ok(())\n");
    let mut head = String::new();
    if is_message {
        let _ = writeln!(
            head,
            "out.check_version(\"{}\", version, Self::VERSION_FIRST, Self::VERSION_LAST)?;",
            message.name
        );
    }
    if body.contains("form") {
        head.push_str(&form(message, item));
        head.push('\n');
    }
    let (docs, visibility) =
        if is_message { ("/// Writes the message as this version lays it out.\n", "pub ") } else { ("", "") };
    let signature = format!("{visibility}fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>");
    function(docs, &signature, &format!("{head}{body}"))
}

/// Methods of messages that stand alone with a number in front.
fn prefixed(kind: Kind) -> &'static str {
    match kind {
        Kind::CoordinatorKey => {
            "/// The key of a record: the record type, then the key.\n\
             pub fn encode_prefixed(&self) -> Result<Bytes, EncodeError> {\n\
             let mut out = Encoder::new();\nout.i16(Self::RECORD_TYPE);\n\
             self.encode(&mut out, Self::VERSION_FIRST)?;\nOk(out.finish().0)\n}\n"
        }
        Kind::CoordinatorValue => {
            "/// The value of a record: the version, then the value.\n\
             pub fn encode_prefixed(&self, version: i16) -> Result<Bytes, EncodeError> {\n\
             let mut out = Encoder::new();\nout.i16(version);\n\
             self.encode(&mut out, version)?;\nOk(out.finish().0)\n}\n\n\
             /// Reads what [`Self::encode_prefixed`] wrote, and also gives the version.\n\
             pub fn decode_prefixed(value: Bytes) -> Result<(Self, i16), DecodeError> {\n\
             let mut input = Decoder::new(value);\nlet version = input.i16()?;\n\
             Ok((Self::decode(&mut input, version)?, version))\n}\n"
        }
        Kind::Data => {
            "/// The bytes with the version in front.\n\
             pub fn encode_prefixed(&self, version: i16) -> Result<Bytes, EncodeError> {\n\
             let mut out = Encoder::new();\nout.i16(version);\n\
             self.encode(&mut out, version)?;\nOk(out.finish().0)\n}\n\n\
             /// Reads bytes with the version in front. A newer version is read as the newest known one, as Kafka does,\n\
             /// because new versions only append fields.\n\
             pub fn decode_prefixed(data: Bytes) -> Result<(Self, i16), DecodeError> {\n\
             let mut input = Decoder::new(data);\nlet version = input.i16()?;\n\
             Ok((Self::decode(&mut input, version.min(Self::VERSION_LAST))?, version))\n}\n"
        }
        Kind::Request | Kind::Response | Kind::Header => "",
    }
}

/// The smallest number of bytes that a value of this type takes in any of these versions.
pub(super) fn bytes_min(message: &Message, kind: &Type, versions: Versions) -> usize {
    (versions.first..=versions.last).map(|version| bytes_min_in(message, kind, version)).min().unwrap_or(0)
}

fn bytes_min_in(message: &Message, kind: &Type, version: i16) -> usize {
    let compact = message.flexible.is_some_and(|flexible| (flexible.first..=flexible.last).contains(&version));
    match kind {
        Type::Bool | Type::Number("i8") => 1,
        Type::Number("i16" | "u16") => 2,
        Type::Number("i32" | "u32") => 4,
        Type::Number(_) => 8,
        Type::Uuid | Type::TopicId => 16,
        Type::Str | Type::Bytes | Type::Records | Type::Array(_) if compact => 1,
        Type::Str => 2,
        Type::Bytes | Type::Records | Type::Array(_) => 4,
        Type::Struct(name) => {
            let fields = message.structs.iter().find(|item| item.name == *name).map(|item| item.fields.as_slice());
            let present = fields
                .unwrap_or_default()
                .iter()
                .filter(|part| part.tag.is_none() && (part.versions.first..=part.versions.last).contains(&version));
            let size = |part: &Field| match &part.kind {
                Type::Struct(_) if part.nullable.is_some() => 1,
                kind => bytes_min_in(message, kind, version),
            };
            present.map(size).sum::<usize>() + usize::from(compact)
        }
    }
}
