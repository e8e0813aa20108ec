//! Writes how one field is typed, defaulted, read and written.

use super::emit::bytes_min;
use super::model::{Default, Field, Message, Struct, Type, Versions};

/// The type of a field in Rust.
pub(super) fn rust_type(part: &Field) -> String {
    let plain = plain_type(&part.kind);
    if part.nullable.is_some() { format!("Option<{plain}>") } else { plain }
}

fn plain_type(kind: &Type) -> String {
    match kind {
        Type::Bool => "bool".to_owned(),
        Type::Number(name) => (*name).to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::TopicId => "TopicId".to_owned(),
        Type::Str => "Str".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

/// The value of a field that a message does not carry.
pub(super) fn default_value(part: &Field) -> String {
    match (&part.default, part.nullable) {
        (Default::Null, _) => "None".to_owned(),
        (_, Some(_)) => format!("Some({})", zero(&part.kind)),
        (Default::True, None) => "true".to_owned(),
        (Default::Number(value), None) => value.to_string(),
        (Default::Zero, None) => zero(&part.kind),
    }
}

fn zero(kind: &Type) -> String {
    match kind {
        Type::Bool => "false".to_owned(),
        Type::Number("f64") => "0.0".to_owned(),
        Type::Number(_) => "0".to_owned(),
        Type::TopicId => "TopicId::ZERO".to_owned(),
        Type::Uuid => "Uuid::nil()".to_owned(),
        Type::Array(_) => "Vec::new()".to_owned(),
        Type::Bytes => "Bytes::new()".to_owned(),
        kind => format!("{}::default()", plain_type(kind)),
    }
}

/// A condition that holds where the field differs from its default.
fn differs(part: &Field) -> String {
    let name = format!("self.{}", part.name);
    if part.nullable.is_some() {
        if part.default == Default::Null {
            return format!("{name}.is_some()");
        }
        return format!("{name}.as_ref().is_none_or(|value| {})", differs_from_zero(&part.kind, "value", "*value"));
    }
    match &part.default {
        Default::True => format!("!{name}"),
        Default::Number(value) => format!("{name} != {value}"),
        Default::Zero | Default::Null => differs_from_zero(&part.kind, &name, &name),
    }
}

fn differs_from_zero(kind: &Type, name: &str, place: &str) -> String {
    match kind {
        Type::Bool => place.to_owned(),
        Type::Uuid => format!("!{name}.is_nil()"),
        Type::TopicId => format!("!{name}.is_zero()"),
        Type::Str | Type::Bytes | Type::Records | Type::Array(_) => format!("!{name}.is_empty()"),
        Type::Number(_) | Type::Struct(_) => format!("{place} != {}", zero(kind)),
    }
}

/// Where a field stands: what its versions are compared with.
pub(super) struct Context<'a> {
    pub(super) message: &'a Message,
    pub(super) item: &'a Struct,
}

impl Context<'_> {
    fn present(&self, part: &Field) -> Option<String> {
        part.versions.condition(self.item.versions)
    }

    /// An expression: the field's value, or its default where this version has none.
    pub(super) fn read_if_present(&self, part: &Field) -> String {
        let read = self.read(part);
        match self.present(part) {
            None => read,
            Some(condition) => format!("if {condition} {{ {read} }} else {{ {} }}", default_value(part)),
        }
    }

    /// An arm of the match on a tag.
    pub(super) fn read_tag(&self, part: &Field) -> String {
        let guard = self.present(part).map(|condition| format!(" if {condition}")).unwrap_or_default();
        let tag = part.tag.unwrap_or_default();
        format!("{tag}{guard} => {} = {},\n", part.name, self.read(part))
    }

    fn read(&self, part: &Field) -> String {
        let plain = self.read_plain(&part.kind, part);
        let Some(nullable) = part.nullable else { return plain };
        let form = form_name(part);
        let optional = match &part.kind {
            Type::Str => format!("input.nullable_string({form})?"),
            Type::Bytes => format!("input.nullable_bytes({form})?"),
            Type::Records => format!("input.nullable_bytes({form})?.map(Records::Bytes)"),
            Type::Array(element) => {
                format!("input.nullable_array({form}, {}, {})?", self.element_min(element, part), self.element(element))
            }
            _ => format!("if input.is_present()? {{ Some({plain}) }} else {{ None }}"),
        };
        match nullable.condition(part.versions) {
            None => optional,
            Some(condition) => format!("if {condition} {{ {optional} }} else {{ Some({plain}) }}"),
        }
    }

    fn read_plain(&self, kind: &Type, part: &Field) -> String {
        let form = form_name(part);
        match kind {
            Type::Bool => "input.bool()?".to_owned(),
            Type::Number(name) => format!("input.{name}()?"),
            Type::Uuid => "input.uuid()?".to_owned(),
            Type::TopicId => "input.topic_id()?".to_owned(),
            Type::Str => format!("input.string({form})?"),
            Type::Bytes => format!("input.bytes({form})?"),
            Type::Records => format!("Records::Bytes(input.bytes({form})?)"),
            Type::Struct(name) => format!("{name}::decode(input, version)?"),
            Type::Array(element) => {
                format!("input.array({form}, {}, {})?", self.element_min(element, part), self.element(element))
            }
        }
    }

    fn element_min(&self, element: &Type, part: &Field) -> usize {
        bytes_min(self.message, element, part.versions)
    }

    fn element(&self, element: &Type) -> String {
        match element {
            Type::Bool => "Decoder::bool".to_owned(),
            Type::Number(name) => format!("Decoder::{name}"),
            Type::Uuid => "Decoder::uuid".to_owned(),
            Type::TopicId => "Decoder::topic_id".to_owned(),
            Type::Str => "|input| input.string(form)".to_owned(),
            Type::Struct(name) => format!("|input| {name}::decode(input, version)"),
            Type::Bytes => "|input| input.bytes(form)".to_owned(),
            Type::Records | Type::Array(_) => unreachable!("the schemas have no array of arrays or records"),
        }
    }

    /// Statements: the field, or an error where this version cannot carry its value.
    pub(super) fn write_if_present(&self, part: &Field) -> String {
        let write = self.write(part);
        let Some(condition) = self.present(part) else { return write };
        if part.ignorable {
            return format!("if {condition} {{ {write} }}\n");
        }
        let lost = self.lost(part);
        format!("if {condition} {{ {write} }} else if {} {{ {lost} }}\n", differs(part))
    }

    /// Statements for a tagged field in versions that do not have it.
    pub(super) fn refuse_if_absent(&self, part: &Field) -> String {
        match part.versions.negation(self.item.versions) {
            Some(absent) if !part.ignorable => {
                format!("if {absent} && {} {{ {} }}\n", differs(part), self.lost(part))
            }
            _ => String::new(),
        }
    }

    fn lost(&self, part: &Field) -> String {
        format!("return Err(EncodeError::lost(\"{}\", version));", self.full_name(part))
    }

    fn full_name(&self, part: &Field) -> String {
        if self.item.name == self.message.name {
            format!("{}.{}", self.message.name, part.name)
        } else {
            format!("{}.{}.{}", self.message.name, self.item.name, part.name)
        }
    }

    /// A condition that holds where the tagged field is written.
    pub(super) fn tag_condition(&self, part: &Field) -> String {
        match self.present(part) {
            None => differs(part),
            Some(condition) => format!("{condition} && {}", differs(part)),
        }
    }

    pub(super) fn write_tag(&self, part: &Field) -> String {
        let tag = part.tag.unwrap_or_default();
        format!("if {} {{ out.tagged({tag}, |out| {{ {} Ok(()) }})?; }}\n", self.tag_condition(part), self.write(part))
    }

    fn write(&self, part: &Field) -> String {
        let place = format!("self.{}", part.name);
        let form = form_name(part);
        let Some(nullable) = part.nullable else {
            return write_plain(&part.kind, form, &place, &format!("&{place}"));
        };
        let null = match &part.kind {
            Type::Str => format!("out.null_string({form})"),
            Type::Bytes | Type::Records => format!("out.null_bytes({form})"),
            Type::Array(_) => format!("out.null_array({form})"),
            _ => "out.i8(-1)".to_owned(),
        };
        let mark = if matches!(part.kind, Type::Struct(_)) { "out.i8(1);" } else { "" };
        let value = write_plain(&part.kind, form, "*value", "value");
        let none = match nullable.condition(part.versions) {
            None => format!("None => {null},"),
            Some(condition) => format!(
                "None if {condition} => {null}, None => return Err(EncodeError::null(\"{}\", version)),",
                self.full_name(part)
            ),
        };
        format!("match &{place} {{ Some(value) => {{ {mark} {value} }} {none} }}\n")
    }
}

fn form_name(part: &Field) -> &'static str {
    if part.always_classic { "Form::Classic" } else { "form" }
}

fn write_plain(kind: &Type, form: &str, place: &str, reference: &str) -> String {
    match kind {
        Type::Bool => format!("out.bool({place});\n"),
        Type::Number(name) => format!("out.{name}({place});\n"),
        Type::Uuid => format!("out.uuid({reference});\n"),
        Type::TopicId => format!("out.topic_id({reference});\n"),
        Type::Str => format!("out.string({form}, {reference})?;\n"),
        Type::Bytes => format!("out.bytes({form}, {reference})?;\n"),
        Type::Records => format!("out.records({form}, {reference})?;\n"),
        Type::Struct(_) => format!("{}.encode(out, version)?;\n", place.trim_start_matches('*')),
        Type::Array(element) => {
            let list = place.trim_start_matches('*');
            let item = write_plain(element, form, "*item", "item");
            format!("out.array_len({form}, {list}.len())?;\nfor item in {reference} {{ {item} }}\n")
        }
    }
}

/// For the samples: the versions in which a nullable field may be null, as a condition; `true` where in all.
pub(super) fn null_condition(part: &Field, within: Versions) -> Option<String> {
    part.nullable.map(|nullable| nullable.condition(within).unwrap_or_else(|| "true".to_owned()))
}
