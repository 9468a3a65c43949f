//! Parameter counts of a model and of an adapter, part by part, from names and shapes alone.

use witan_adapter::{Codec, LoraConfig};

/// Equal layers, or tensors that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The path they share.
    pub name: String,
    /// How many layers there are.
    pub layers: usize,
    /// Numbers of all layers.
    pub numbers: usize,
    /// Numbers of the adapters of all layers.
    pub adapter_numbers: usize,
}

/// Bytes of an adapter as it may travel, and of the whole model in the same format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// How the numbers are written.
    pub codec: Codec,
    /// The adapter's.
    pub adapter_bytes: usize,
    /// The model's.
    pub model_bytes: usize,
}

/// The parts of a model, in order of their first tensor, with the adapters that `lora` gives them.
pub fn parts(tensors: &[(String, Vec<usize>)], lora: &LoraConfig) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut seen: Vec<(String, String)> = Vec::new();
    for (name, shape) in tensors {
        let (part, layer) = part_of(name);
        let at = parts.iter().position(|it| it.name == part).unwrap_or_else(|| {
            parts.push(Part { name: part.clone(), layers: 0, numbers: 0, adapter_numbers: 0 });
            parts.len() - 1
        });
        if !seen.iter().any(|it| it.0 == part && it.1 == layer) {
            parts[at].layers += 1;
            seen.push((part, layer));
        }
        parts[at].numbers += shape.iter().product::<usize>();
        parts[at].adapter_numbers += adapter_numbers(name, shape, lora);
    }
    parts
}

/// What the adapter of one tensor holds: `rank` rows of its inputs and columns of its outputs.
pub fn adapter_numbers(name: &str, shape: &[usize], lora: &LoraConfig) -> usize {
    match (name.strip_suffix(".weight"), shape) {
        (Some(path), [outputs, inputs]) if lora.adapts(path) => lora.rank * (inputs + outputs),
        _ => 0,
    }
}

/// The bytes of an adapter in each format it can travel in.
pub fn traffic(parts: &[Part]) -> [Traffic; 3] {
    let adapter: usize = parts.iter().map(|part| part.adapter_numbers).sum();
    let model: usize = parts.iter().map(|part| part.numbers).sum();
    [Codec::Float32, Codec::Bf16, Codec::Int8].map(|codec| Traffic {
        codec,
        adapter_bytes: codec.bytes(adapter),
        model_bytes: codec.bytes(model),
    })
}

/// The part a tensor belongs to, and its layer there.
fn part_of(name: &str) -> (String, String) {
    for layers in [".layers.", ".blocks."] {
        if let Some((head, rest)) = name.split_once(layers) {
            let layer = rest.split('.').next().unwrap_or_default();
            return (format!("{head}{layers}*"), layer.to_owned());
        }
    }
    let mut steps = name.split('.');
    let first = steps.next().unwrap_or_default();
    match (first, steps.next()) {
        ("model", Some(second)) => (format!("model.{second}"), String::new()),
        _ => (first.to_owned(), String::new()),
    }
}
