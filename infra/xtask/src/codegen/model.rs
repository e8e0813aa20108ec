//! Schemas with everything resolved: types, versions cut to where they apply, defaults as Rust, structs in a flat list.

use super::CodegenError;
use super::names;
use super::schema::{FieldSchema, Schema};

/// Versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) first: i16,
    pub(super) last: i16,
}

impl Versions {
    /// Reads `3`, `3+`, `3-7` or `none`.
    pub(super) fn parse(text: &str) -> Result<Option<Versions>, String> {
        let number = |text: &str| text.parse::<i16>().map_err(|_| format!("not a version: {text}"));
        if text == "none" {
            return Ok(None);
        }
        if let Some(first) = text.strip_suffix('+') {
            return Ok(Some(Versions { first: number(first)?, last: i16::MAX }));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Some(Versions { first: number(first)?, last: number(last)? }))
    }

    pub(super) fn intersect(self, other: Versions) -> Option<Versions> {
        let both = Versions { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }

    /// The condition on `version`, given that it lies in `within`; none where it always holds.
    pub(super) fn condition(self, within: Versions) -> Option<String> {
        match (self.first > within.first, self.last < within.last) {
            (false, false) => None,
            _ if self.first == self.last => Some(format!("version == {}", self.first)),
            (true, false) => Some(format!("version >= {}", self.first)),
            (false, true) => Some(format!("version <= {}", self.last)),
            (true, true) => Some(format!("({}..={}).contains(&version)", self.first, self.last)),
        }
    }

    /// The opposite of [`Versions::condition`].
    pub(super) fn negation(self, within: Versions) -> Option<String> {
        match (self.first > within.first, self.last < within.last) {
            (false, false) => None,
            (true, false) => Some(format!("version < {}", self.first)),
            (false, true) => Some(format!("version > {}", self.last)),
            (true, true) => Some(format!("!({}..={}).contains(&version)", self.first, self.last)),
        }
    }

    /// For documentation: relative to all versions of the message.
    pub(super) fn describe(self, message: Versions) -> String {
        match (self.first > message.first, self.last < message.last) {
            (false, false) => "All versions".to_owned(),
            _ if self.first == self.last => format!("Version {}", self.first),
            (true, false) => format!("Versions {} and up", self.first),
            (false, true) => format!("Versions up to {}", self.last),
            (true, true) => format!("Versions {} to {}", self.first, self.last),
        }
    }
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
    Header,
    /// Bytes inside of other messages, with a version in front.
    Data,
    CoordinatorKey,
    CoordinatorValue,
}

/// A message ready to be written. Its first struct is the message itself.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) kind: Kind,
    pub(super) api_key: Option<i16>,
    pub(super) versions: Versions,
    pub(super) flexible: Option<Versions>,
    pub(super) structs: Vec<Struct>,
}

impl Message {
    /// The name of the API: the message's without Request or Response.
    pub(super) fn api(&self) -> &str {
        self.name.strip_suffix("Request").or_else(|| self.name.strip_suffix("Response")).unwrap_or(&self.name)
    }
}

#[derive(Debug)]
pub(super) struct Struct {
    pub(super) name: String,
    pub(super) versions: Versions,
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    /// Rust's name of the number type.
    Number(&'static str),
    Uuid,
    TopicId,
    Str,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Default {
    /// Zero, false, empty.
    Zero,
    Null,
    True,
    Number(i64),
}

#[derive(Debug)]
pub(super) struct Field {
    /// Rust's name.
    pub(super) name: String,
    pub(super) kind: Type,
    /// Versions that have the field, among those of the struct.
    pub(super) versions: Versions,
    /// Versions in which it may be null, among those that have it.
    pub(super) nullable: Option<Versions>,
    pub(super) tag: Option<u32>,
    pub(super) ignorable: bool,
    pub(super) default: Default,
    /// The string keeps its classic form in flexible versions.
    pub(super) always_classic: bool,
}

/// Resolves a schema. `versions_from` reaches below its valid versions.
pub(super) fn resolve(schema: &Schema, versions_from: Option<i16>) -> Result<Message, CodegenError> {
    let mut resolver = Resolver { structs: Vec::new() };
    resolver.message(schema, versions_from).map_err(|reason| CodegenError::schema(&schema.name, reason))
}

struct Resolver {
    structs: Vec<Struct>,
}

impl Resolver {
    fn message(&mut self, schema: &Schema, versions_from: Option<i16>) -> Result<Message, String> {
        let mut versions = Versions::parse(&schema.valid_versions)?.ok_or("no valid version")?;
        versions.first = versions_from.unwrap_or(versions.first).min(versions.first);
        let flexible = Versions::parse(&schema.flexible_versions)?.and_then(|range| range.intersect(versions));
        let kind = match schema.kind.as_str() {
            "request" => Kind::Request,
            "response" => Kind::Response,
            "header" => Kind::Header,
            "data" => Kind::Data,
            "coordinator-key" => Kind::CoordinatorKey,
            "coordinator-value" => Kind::CoordinatorValue,
            other => return Err(format!("unknown type of message: {other}")),
        };
        self.add(&schema.name, versions, &schema.fields)?;
        for shared in &schema.common_structs {
            if let Some(range) = Versions::parse(&shared.versions)?.and_then(|range| range.intersect(versions)) {
                self.add(&shared.name, range, &shared.fields)?;
            }
        }
        Ok(Message {
            name: schema.name.clone(),
            module: names::snake(&schema.name),
            kind,
            api_key: schema.api_key,
            versions,
            flexible,
            structs: std::mem::take(&mut self.structs),
        })
    }

    fn add(&mut self, name: &str, versions: Versions, schemas: &[FieldSchema]) -> Result<(), String> {
        if self.structs.iter().any(|known| known.name == name) {
            return Err(format!("two structs are named {name}"));
        }
        let place = self.structs.len();
        self.structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
        let mut fields = Vec::new();
        for schema in schemas {
            if let Some(field) = self.field(schema, versions).map_err(|reason| format!("{}: {reason}", schema.name))? {
                fields.push(field);
            }
        }
        self.structs.get_mut(place).ok_or("the struct vanished")?.fields = fields;
        Ok(())
    }

    /// None for a field that no valid version has.
    fn field(&mut self, schema: &FieldSchema, parent: Versions) -> Result<Option<Field>, String> {
        let Some(versions) = Versions::parse(&schema.versions)?.and_then(|range| range.intersect(parent)) else {
            return Ok(None);
        };
        let nullable = match &schema.nullable_versions {
            Some(text) => Versions::parse(text)?.and_then(|range| range.intersect(versions)),
            None => None,
        };
        if let Some(tagged) = &schema.tagged_versions {
            let tagged = Versions::parse(tagged)?.and_then(|range| range.intersect(versions));
            if tagged != Some(versions) || schema.tag.is_none() {
                return Err("is tagged in some of its versions only".to_owned());
            }
        }
        let kind = type_of(&schema.name, &schema.kind)?;
        if let (Some(name), false) = (struct_of(&kind), schema.fields.is_empty()) {
            self.add(name, versions, &schema.fields)?;
        }
        let always_classic = match schema.flexible_versions.as_deref() {
            None => false,
            Some("none") if kind == Type::Str => true,
            Some(other) => return Err(format!("flexible versions of its own: {other}")),
        };
        Ok(Some(Field {
            name: names::field(&schema.name),
            default: default_of(schema, &kind)?,
            kind,
            versions,
            nullable,
            tag: schema.tag,
            ignorable: schema.ignorable,
            always_classic,
        }))
    }
}

fn struct_of(kind: &Type) -> Option<&str> {
    match kind {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_of(element),
        _ => None,
    }
}

fn type_of(field: &str, text: &str) -> Result<Type, String> {
    if let Some(element) = text.strip_prefix("[]") {
        return Ok(Type::Array(Box::new(type_of(field, element)?)));
    }
    Ok(match text {
        "bool" => Type::Bool,
        "int8" => Type::Number("i8"),
        "int16" => Type::Number("i16"),
        "uint16" => Type::Number("u16"),
        "int32" => Type::Number("i32"),
        "uint32" => Type::Number("u32"),
        "int64" => Type::Number("i64"),
        "float64" => Type::Number("f64"),
        "uuid" if field.ends_with("TopicId") || field.ends_with("TopicIds") => Type::TopicId,
        "uuid" => Type::Uuid,
        "string" => Type::Str,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        name if name.starts_with(|first: char| first.is_ascii_uppercase()) => Type::Struct(name.to_owned()),
        other => return Err(format!("unknown type: {other}")),
    })
}

fn default_of(schema: &FieldSchema, kind: &Type) -> Result<Default, String> {
    let text = match &schema.default {
        None => return Ok(Default::Zero),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    match (kind, text.as_str()) {
        (_, "null") => Ok(Default::Null),
        (Type::Bool, "false") | (Type::Str, "") => Ok(Default::Zero),
        (Type::Bool, "true") => Ok(Default::True),
        (Type::Number(name), _) if *name != "f64" => {
            let value = match text.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16),
                None => text.parse::<i64>(),
            };
            match value.map_err(|_| format!("not a number: {text}"))? {
                0 => Ok(Default::Zero),
                value => Ok(Default::Number(value)),
            }
        }
        _ => Err(format!("unknown default: {text}")),
    }
}
