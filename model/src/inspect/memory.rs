//! Estimates the memory of a step of LoRA training, from sizes alone.
//!
//! Counted is what a processor's operators keep for backward; those of a GPU are not fused and keep
//! more. What cannot be counted was measured: `docs/CHECKPOINTS.md` sets peaks of processes beside
//! these estimates.

use witan_adapter::LoraConfig;

use crate::device::Compute;
use crate::families::language::Activations;
use crate::families::language::config::{Family, LanguageConfig};
use crate::families::trunk::TrunkConfig;
use crate::families::trunk::diffusion::DiffusionConfig;
use crate::families::trunk::variant::TrainingFacts;
use crate::inspect::parts::adapter_numbers;
use crate::kernels::KEPT_COLUMNS;

/// What is trained, as far as memory goes.
#[derive(Clone, Copy, Debug)]
pub struct ModelShape<'a> {
    /// The name and shape of every tensor.
    pub tensors: &'a [(String, Vec<usize>)],
    /// The bytes of all of them, as they are stored.
    pub stored_bytes: u64,
    /// The language model's sizes.
    pub language: &'a LanguageConfig,
    /// The sizes of what reads pictures and draws; none of a language model alone.
    pub trunk: Option<&'a TrunkConfig>,
}

/// What one step of training is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepShape {
    /// Questions of a batch; of a language model alone, rows of text.
    pub questions: usize,
    /// Captions of a batch.
    pub captions: usize,
    /// Tokens of the text of each, without a question's picture or a caption's image queries.
    pub tokens: usize,
    /// What backward finds.
    pub activations: Activations,
    /// Where it is computed.
    pub compute: Compute,
}

/// What a step holds in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The frozen weights.
    pub weights: u64,
    /// Adapter, gradients and both moments of AdamW.
    pub adapter: u64,
    /// What forward keeps for backward.
    pub activations: u64,
    /// The program, packed matrices, allocator overhead: what no size says.
    pub rest: u64,
    /// What a member keeps of what the frozen encoder saw, at most; a single step keeps none.
    pub seen: u64,
}

impl Memory {
    /// All of it.
    pub fn total(self) -> u64 {
        self.step() + self.seen
    }

    /// What a step needs, without kept pictures.
    pub fn step(self) -> u64 {
        self.weights + self.adapter + self.activations + self.rest
    }
}

/// Rows that a language model reads for one task, and what is made of their last states.
struct Task {
    rows: usize,
    /// Positions of a row.
    length: usize,
    /// Numbers kept of what is made.
    made: usize,
    /// Numbers of the matrices it is made with.
    matrices: usize,
}

impl ModelShape<'_> {
    /// What a step of LoRA holds.
    ///
    /// On a GPU matrices are kept in bf16. On a processor they are f32, or, with layers computed
    /// again, as they are stored: what is cast of them is that of one layer at a time, but of the
    /// whole diffusion transformer, which is not computed again. The tasks of a checkpoint take
    /// turns, and what one keeps is gone before the next; the embedded model's share a backward.
    pub fn training(&self, lora: &LoraConfig, step: StepShape) -> Memory {
        let adapter = |(name, shape): &(String, Vec<usize>)| adapter_numbers(name, shape, lora);
        let adapter: usize = self.tensors.iter().map(adapter).sum();
        let (answers, drawings) = (self.answers(step), self.drawings(step));
        let kept = [Some(answers), drawings].into_iter().flatten();
        let kept = kept.map(|task| self.kept(lora, &task, step));
        let facts = self.facts();
        let numbers = match facts.is_some_and(|facts| facts.has_joint_backward) {
            true => kept.sum(),
            false => kept.max().unwrap_or(0),
        };
        let seen = facts.map_or(0, |facts| facts.encoded_numbers_max);
        let weights = match (step.compute, step.activations) {
            (Compute::Cuda, _) => {
                let [matrices, others] =
                    [true, false].map(|is| self.numbers(|_, axes| (axes == 2) == is));
                (2 * matrices + 4 * others) as u64
            }
            (Compute::Cpu, Activations::Kept) => 4 * self.numbers(|_, _| true) as u64,
            (Compute::Cpu, Activations::Recomputed) => self.stored_bytes,
        };
        let (adapter, activations) = (adapter as u64 * 16, numbers as u64 * 4);
        let rest = PROGRAM_BYTES + (weights + adapter + activations) / WASTED;
        Memory { weights, adapter, activations, rest, seen: seen as u64 * 4 }
    }

    fn facts(&self) -> Option<&'static TrainingFacts> {
        self.trunk.map(|trunk| &trunk.diffusion.variant.training)
    }

    fn answers(&self, step: StepShape) -> Task {
        let StepShape { questions: rows, tokens, .. } = step;
        let words = self.language.vocab_size;
        // Of a text alone every next token is learnt.
        let (picture, said) = self
            .facts()
            .map_or((0, tokens), |facts| (facts.picture_tokens, facts.answer_tokens_max));
        let matrices = words * self.language.hidden_size;
        Task { rows, length: tokens + picture, made: rows * said * words, matrices }
    }

    fn drawings(&self, step: StepShape) -> Option<Task> {
        let trunk = self.trunk?;
        let path = format!("{}.", trunk.diffusion.path);
        let noises = trunk.diffusion.variant.training.noises;
        let rows = step.captions;
        let made = rows * noises * inside_diffusion(trunk);
        let matrices = self.numbers(|name, axes| axes == 2 && name.starts_with(&path));
        Some(Task { rows, length: step.tokens + trunk.queries, made, matrices })
    }

    /// Numbers kept for one task.
    fn kept(&self, lora: &LoraConfig, task: &Task, step: StepShape) -> usize {
        let LanguageConfig { num_hidden_layers: layers, hidden_size: width, .. } = *self.language;
        let positions = task.rows * task.length;
        let layer = positions * inside_layer(self.language, lora, task.length);
        if positions == 0 {
            return 0;
        }
        if step.activations == Activations::Kept {
            return layers * layer + task.made;
        }
        let is_cast = step.compute == Compute::Cpu
            && self.stored_bytes < 4 * self.numbers(|_, _| true) as u64;
        let cast = |numbers: usize| if is_cast { numbers } else { 0 };
        let first = self.numbers(|name, axes| axes == 2 && name.starts_with("model.layers.0."));
        let turn = (layer + cast(first)).max(task.made + cast(task.matrices));
        (layers + 1) * width * positions + turn
    }

    /// Numbers of the tensors that are wanted by their names and how many axes they have.
    fn numbers(&self, wanted: impl Fn(&str, usize) -> bool) -> usize {
        let wanted = self.tensors.iter().filter(|(name, shape)| wanted(name, shape.len()));
        wanted.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

/// Numbers kept of one position in one layer: its input, queries, keys, values, what both additions
/// got, both inner vectors of the SwiGLU; where an adapter reads it, what it reads; of short rows,
/// attention's probabilities.
fn inside_layer(language: &LanguageConfig, lora: &LoraConfig, length: usize) -> usize {
    let (heads, head) = (language.num_attention_heads, language.head_dim);
    let (width, inner) = (language.hidden_size, language.intermediate_size);
    let (queries, keys) = (heads * head, language.num_key_value_heads * head);
    let read = |names: &[&str], numbers: usize| match names.iter().any(|name| lora.adapts(name)) {
        true => numbers,
        false => 0,
    };
    let normed = if language.family == Family::Qwen3 { queries + keys } else { 0 };
    2 * width
        + read(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], width)
        + queries
        + 2 * keys
        + normed
        + probabilities(heads, length)
        + read(&["self_attn.o_proj"], queries)
        + read(&["mlp.gate_proj", "mlp.up_proj"], width)
        + 2 * inner
        + read(&["mlp.down_proj"], inner)
}

/// The same of the diffusion transformer, for one drawing: two attentions a block, norms before and
/// after, and of what is not fused both sides of every product.
fn inside_diffusion(trunk: &TrunkConfig) -> usize {
    let DiffusionConfig { places, hidden_size: width, layers, heads, keys, .. } = trunk.diffusion;
    let both = probabilities(heads, places) + probabilities(heads, trunk.queries);
    let place = 14 * width + 3 * keys + 3 * trunk.diffusion.intermediate_size + both;
    layers * (places * place + trunk.queries * (width + 3 * keys))
}

/// Of one query position.
fn probabilities(heads: usize, columns: usize) -> usize {
    if columns <= KEPT_COLUMNS { heads * columns } else { 0 }
}

/// What the smallest step takes beside what is counted.
const PROGRAM_BYTES: u64 = 110_000_000;
/// One in so many bytes is overhead: measured on steps of 0.1 to 3 GB.
const WASTED: u64 = 8;
/// Tokens along one side of the picture of an estimate: as many as one of 448 pixels has.
pub const PICTURE_SIDE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::preset::Preset;

    fn activations(preset: Preset, questions: usize, captions: usize) -> u64 {
        let (_, lora) = &preset.adapters()[0];
        let activations = Activations::Kept;
        let compute = Compute::Cpu;
        let step = StepShape { questions, captions, tokens: 256, activations, compute };
        preset.training(lora, step).activations
    }

    #[test]
    fn of_a_checkpoint_the_larger_task_counts_and_of_the_embedded_model_both_do() {
        let of = |questions, captions| activations(Preset::Blip3o4b, questions, captions);
        assert_eq!(of(4, 1), 4 * of(1, 0));
        assert_eq!(of(1, 4), 4 * of(0, 1));
        let of = |questions, captions| activations(Preset::Tiny, questions, captions);
        assert_eq!(of(4, 3), 4 * of(1, 0) + 3 * of(0, 1));
    }

    #[test]
    fn on_a_gpu_weights_are_half_of_f32_and_nothing_is_cast() {
        let (_, lora) = &Preset::Blip3o4b.adapters()[0];
        let of = |compute, activations| {
            let step = StepShape { questions: 1, captions: 1, tokens: 256, activations, compute };
            Preset::Blip3o4b.training(lora, step)
        };
        let [kept, again] = [Activations::Kept, Activations::Recomputed];
        let weights = of(Compute::Cpu, kept).weights;
        assert!((weights / 2..weights * 51 / 100).contains(&of(Compute::Cuda, kept).weights));
        assert_eq!(of(Compute::Cuda, kept).weights, of(Compute::Cuda, again).weights);
        assert!(of(Compute::Cuda, again).activations < of(Compute::Cpu, again).activations);
    }

    #[test]
    fn a_drawing_keeps_the_diffusion_transformers_activations_beside_the_language_models() {
        let trunk = Preset::Blip3o4b.trunk();
        let (_, lora) = &Preset::Blip3o4b.adapters()[0];
        let (length, language) = (256 + trunk.queries, &trunk.language);
        let read = language.num_hidden_layers * length * inside_layer(language, lora, length);
        let DiffusionConfig { layers, places, hidden_size, .. } = trunk.diffusion;
        let drawn = activations(Preset::Blip3o4b, 0, 1) / 4 - read as u64;
        // Of every place some tens of vectors.
        let vectors = drawn / (layers * places * hidden_size) as u64;
        assert!((20..40).contains(&vectors), "{vectors}");
    }

    #[test]
    fn computed_again_only_what_goes_into_layers_grows_with_them() {
        let (_, lora) = &Preset::Blip3o4b.adapters()[0];
        let of = |layers: usize, activations| {
            let mut trunk = Preset::Blip3o4b.trunk();
            trunk.language.num_hidden_layers = layers;
            let (language, tensors) = (&trunk.language, Preset::Blip3o4b.tensors());
            let model =
                ModelShape { tensors: &tensors, stored_bytes: 0, language, trunk: Some(&trunk) };
            let compute = Compute::Cpu;
            let step = StepShape { questions: 2, captions: 0, tokens: 44, activations, compute };
            model.training(lora, step).activations / 4
        };
        let grown = of(30, Activations::Recomputed) - of(20, Activations::Recomputed);
        assert_eq!(grown, 10 * 2 * 300 * 2048);
        assert!(of(30, Activations::Kept) - of(20, Activations::Kept) > 10 * grown);
    }
}
