//! Values as text for people.

use broker_wire::tree::Node;

/// A value in one line, long bytes cut.
pub(crate) fn show(node: &Node) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Number(value) => value.to_string(),
        Node::Float(value) => value.to_string(),
        Node::Text(value) => format!("{:?}", value.as_str()),
        Node::Bytes(value) | Node::Records(value) => bytes(value),
        Node::Uuid(value) => value.to_string(),
        Node::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Node::Fields(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", show(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn bytes(value: &[u8]) -> String {
    const SHOWN: usize = 80;
    let shown: String = value.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if value.len() > SHOWN { format!("<{} bytes {shown}…>", value.len()) } else { format!("<{shown}>") }
}
