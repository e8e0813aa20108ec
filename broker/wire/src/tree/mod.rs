//! Messages as trees of named values, for tests that compare answers field by field.
//!
//! A tree has the fields that the message's version has, in the order of the schema, and no others. Built with the
//! feature `tree` only; the program never is. Start reading at [`Node`], then [`response`].

mod generated;

use broker_model::TopicId;
use bytes::Bytes;
use uuid::Uuid;

use crate::records::Records;
use crate::text::Str;

pub use generated::response;

/// A value of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Null, where the schema allows it.
    Null,
    /// A truth value.
    Bool(bool),
    /// Any whole number.
    Number(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(Str),
    /// Bytes.
    Bytes(Bytes),
    /// Record batches as they were on the wire.
    Records(Bytes),
    /// Any id of 16 bytes.
    Uuid(Uuid),
    /// An array.
    List(Vec<Node>),
    /// A struct: names and values.
    Fields(Vec<(&'static str, Node)>),
}

impl Node {
    /// The field of this name, where this is a struct that has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Node> {
        match self {
            Node::Fields(fields) => fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The elements, where this is an array; none otherwise.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            _ => &[],
        }
    }
}

/// A message or a part of one.
pub trait Tree {
    /// The fields that this version has.
    fn tree(&self, version: i16) -> Node;

    /// Sets what this version cannot carry to its default, so that encoding does not fail.
    fn trim(&mut self, _version: i16) {}
}

/// Collects the fields of a struct.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Node)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: &impl Tree, version: i16) {
        self.0.push((name, value.tree(version)));
    }

    fn done(self) -> Node {
        Node::Fields(self.0)
    }
}

impl<T: Tree> Tree for Vec<T> {
    fn tree(&self, version: i16) -> Node {
        Node::List(self.iter().map(|item| item.tree(version)).collect())
    }

    fn trim(&mut self, version: i16) {
        self.iter_mut().for_each(|item| item.trim(version));
    }
}

impl<T: Tree> Tree for Option<T> {
    fn tree(&self, version: i16) -> Node {
        self.as_ref().map_or(Node::Null, |value| value.tree(version))
    }

    fn trim(&mut self, version: i16) {
        if let Some(value) = self {
            value.trim(version);
        }
    }
}

macro_rules! plain {
    ($($kind:ty, $value:ident => $node:expr;)*) => {
        $(impl Tree for $kind {
            fn tree(&self, _version: i16) -> Node {
                let $value = self;
                $node
            }
        })*
    };
}

plain! {
    bool, value => Node::Bool(*value);
    i8, value => Node::Number(i64::from(*value));
    i16, value => Node::Number(i64::from(*value));
    u16, value => Node::Number(i64::from(*value));
    i32, value => Node::Number(i64::from(*value));
    u32, value => Node::Number(i64::from(*value));
    i64, value => Node::Number(*value);
    f64, value => Node::Float(*value);
    Str, value => Node::Text(value.clone());
    Bytes, value => Node::Bytes(value.clone());
    Uuid, value => Node::Uuid(*value);
    TopicId, value => Node::Uuid(Uuid::from_bytes(value.0));
    Records, value => Node::Records(value.bytes().cloned().unwrap_or_default());
}
