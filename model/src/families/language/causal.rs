//! A language model alone, of the Llama and Qwen families: logits, greedy text, LoRA steps.
//!
//! The modules are those of the language model inside the embedded model.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_optim::GradientsParams;
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::WeightError;
use witan_adapter::{Adaptable, Adapter, AdapterError, LoraConfig};

use crate::families::language::config::LanguageConfig;
use crate::families::language::rows::Rows;
use crate::families::language::{Activations, KvCache, Language, Task};
use crate::host::floats;
use crate::layers::adapted::Adapted;
use crate::layers::loader::Loader;
use crate::optimizer::Optimizer;
pub use crate::precision::WeightFormat;

/// A loaded language model, with room for an adapter if it was loaded for one.
#[derive(Debug)]
pub struct Causal {
    config: LanguageConfig,
    adapted: Adapted<Language>,
}

impl Causal {
    /// Loads a checkpoint onto a device, with an adapter that changes nothing if `lora` names one.
    pub fn load(
        files: &TensorFiles,
        config: &LanguageConfig,
        lora: Option<&LoraConfig>,
        kept: WeightFormat,
        device: &Device,
    ) -> Result<Causal, WeightError> {
        let loader = Loader::from_checkpoint(files, kept, device);
        let adapted = Adapted::load(loader, lora, |loader| Language::load(loader, config))?;
        Ok(Causal { config: config.clone(), adapted })
    }

    /// The layers of models of these sizes that an adapter can be put beside.
    pub fn adaptable(config: &LanguageConfig) -> Adaptable {
        Language::listed(config).adaptable.into_iter().collect()
    }

    /// Puts an adapter in; it must have the names and shapes this model was loaded with.
    pub fn set_adapter(&mut self, adapter: &Adapter) -> Result<(), AdapterError> {
        self.adapted.set(adapter)
    }

    /// The adapter now in.
    pub fn adapter(&self) -> Adapter {
        self.adapted.adapter()
    }

    /// The sizes of the model.
    pub fn config(&self) -> &LanguageConfig {
        &self.config
    }

    /// The last layer's states at every position, after the final norm, row after row.
    ///
    /// Panics unless the rows have one length and tokens of the vocabulary.
    pub fn hidden(&self, rows: &[Vec<u32>]) -> Vec<f32> {
        floats(states(&self.adapted.network.valid(), &self.config, rows, rows[0].len()))
    }

    /// The logits after the last `last` positions of every row, row after row.
    ///
    /// Panics unless every row has tokens, all of the vocabulary. Short rows are left-padded.
    pub fn logits(&self, rows: &[Vec<u32>], last: usize) -> Vec<f32> {
        floats(logits(&self.adapted.network.valid(), &self.config, rows, last))
    }

    /// Each prompt's `count` likeliest next tokens, one after the other.
    ///
    /// Panics as [`Causal::logits`] does.
    pub fn greedy(&self, prompts: &[Vec<u32>], count: usize) -> Vec<Vec<u32>> {
        let (language, config) = (self.adapted.network.valid(), &self.config);
        let mut cache = KvCache::default();
        let mut rows = prompts.to_vec();
        for _ in 0..count {
            let read = slots(rows.iter().map(|row| &row[..]));
            let task = Task { extra: None, rows: &read, last: 1, config };
            let after = floats(language.next_logits(&mut cache, task));
            for (row, after) in rows.iter_mut().zip(after.chunks_exact(config.vocab_size)) {
                row.push(likeliest(after));
            }
        }
        rows.iter().zip(prompts).map(|(row, prompt)| row[prompt.len()..].to_vec()).collect()
    }

    /// One training step of the adapter; the mean cross-entropy of every next token before it.
    ///
    /// Panics unless the rows have one length of at least two, and tokens of the vocabulary.
    pub fn train_step(
        &mut self,
        optimizer: &mut Optimizer<Language>,
        (rows, activations): (&[Vec<u32>], Activations),
        rate: f64,
    ) -> f32 {
        let Causal { config, adapted } = self;
        adapted.dropout.decide(optimizer.steps());
        let language = &adapted.network;
        let said: Vec<u32> = rows.iter().flat_map(|row| &row[1..]).copied().collect();
        let rows = slots(rows.iter().map(|row| &row[..row.len() - 1]));
        let [batch, length] = rows.shape();
        let task = Task { extra: None, rows: &rows, last: length, config };
        let width = config.hidden_size;
        let loss =
            |hidden: Tensor<3>| language.loss(hidden.reshape([batch * length, width]), &said);
        let value = language.backward(task, activations, loss, |gradients| {
            optimizer.accumulate(language, GradientsParams::from_grads(gradients, language));
        });
        let gradients = optimizer.take_mean(language, 1);
        adapted.network = optimizer.step(language.clone(), gradients, rate);
        value
    }
}

/// # Shapes
/// - output: `[rows * last, vocabulary]`
fn logits(
    language: &Language,
    config: &LanguageConfig,
    rows: &[Vec<u32>],
    last: usize,
) -> Tensor<2> {
    let hidden = states(language, config, rows, last);
    language.logits(hidden.reshape([rows.len() * last, config.hidden_size]))
}

/// # Shapes
/// - output: `[rows, last, hidden]`
fn states(
    language: &Language,
    config: &LanguageConfig,
    rows: &[Vec<u32>],
    last: usize,
) -> Tensor<3> {
    language.read(None, &slots(rows.iter().map(|row| &row[..])), last, config)
}

fn slots<'a>(rows: impl Iterator<Item = &'a [u32]>) -> Rows {
    Rows::padded(rows.map(|row| row.iter().map(|token| *token as i32).collect()).collect())
}

pub(crate) fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.map_or(0, |token| token as u32)
}
