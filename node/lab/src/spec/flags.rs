//! From settings back to the flags that make them.

use serde::Serialize;
use serde_json::Value;
use witan_home::shell;

/// The flags that say what these settings say: all that are not as usual, and those named in
/// `always`.
pub fn flags<T: Serialize + Default>(settings: &T, always: &[&str]) -> String {
    let fields = |settings: &T| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("settings are an object of plain JSON"),
    };
    let (said, usual) = (fields(settings), fields(&T::default()));
    let mut text = String::new();
    for (name, value) in &said {
        match value {
            Value::Object(nested) => {
                nested
                    .iter()
                    .for_each(|(field, value)| flag(&mut text, &format!("{name}-{field}"), value));
            }
            _ if usual.get(name) == Some(value) && !always.contains(&&name[..]) => {}
            _ => flag(&mut text, name, value),
        }
    }
    text
}

fn flag(text: &mut String, field: &str, value: &Value) {
    let name = if field == "gradient_norm_max" { "clip" } else { field };
    let value = match value {
        Value::Null => return,
        Value::String(path) if path.starts_with('/') => shell::word_here(path.as_ref()),
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        number => number.to_string(),
    };
    *text += &format!(" --{} {value}", name.replace('_', "-"));
}
