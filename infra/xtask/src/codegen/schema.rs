//! The message schemas as they are written: JSON with `//` comments.
//!
//! Only what decides bytes is read; prose and hints for other generators are dropped here.

use serde::Deserialize;

use super::CodegenError;

/// A schema file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    pub(super) api_key: Option<i16>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) valid_versions: String,
    pub(super) flexible_versions: String,
    pub(super) fields: Vec<FieldSchema>,
    #[serde(default)]
    pub(super) common_structs: Vec<StructSchema>,
}

/// A struct that several fields share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StructSchema {
    pub(super) name: String,
    pub(super) versions: String,
    pub(super) fields: Vec<FieldSchema>,
}

/// A field; one of a struct type carries the struct's fields.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldSchema {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) versions: String,
    pub(super) nullable_versions: Option<String>,
    pub(super) tagged_versions: Option<String>,
    pub(super) flexible_versions: Option<String>,
    pub(super) tag: Option<u32>,
    #[serde(default)]
    pub(super) ignorable: bool,
    /// Text, or a bare number or truth value.
    pub(super) default: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) fields: Vec<FieldSchema>,
}

/// Reads a schema's text.
pub(super) fn parse(name: &str, text: &str) -> Result<Schema, CodegenError> {
    serde_json::from_str(&without_comments(text)).map_err(|error| CodegenError::schema(name, error.to_string()))
}

/// Blanks `//` comments outside of strings; line numbers stay, so that errors point at the right line.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        let mut end = line.len();
        for (position, letter) in line.char_indices() {
            match letter {
                '"' if previous != '\\' => in_string = !in_string,
                '/' if previous == '/' && !in_string => {
                    end = position - 1;
                    break;
                }
                _ => {}
            }
            previous = letter;
        }
        kept.push_str(line.get(..end).unwrap_or_default());
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_stay() {
        let text = "// licence\n{ \"about\": \"see http://x\", // why\n  \"n\": 1 }";
        assert_eq!(without_comments(text), "\n{ \"about\": \"see http://x\", \n  \"n\": 1 }\n");
    }
}
