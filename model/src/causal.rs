//! A language model alone, out of a checkpoint of the Llama and Qwen families: logits, greedy text, LoRA steps.
//!
//! The same modules as the language model inside [`crate::Umm`]; only what is asked of them differs.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::adapter::{Adapter, AdapterError};
use crate::config::LoraConfig;
use crate::config::language::LanguageConfig;
use crate::fused::cross_entropy;
use crate::tensor_files::TensorFiles;
use crate::umm::language::{Language, Reading};
use crate::umm::weights::{Loader, Names, WeightError, floats};
use crate::umm::{ADAPTER, Setter, is_adapter};

/// A loaded language model, with room for an adapter if it was loaded for one.
#[derive(Debug)]
pub struct Causal {
    config: LanguageConfig,
    /// Records gradients; [`Module::valid`] gives the one that does not.
    language: Language,
    names: Names,
    zero: Adapter,
}

/// How the matrices of a checkpoint are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As the files have them: bf16 stays bf16, and is cast at every use.
    AsStored,
    /// In f32, for training: what backward needs of a cast would be kept anyway.
    Float32,
}

impl Causal {
    /// Loads a checkpoint onto a device, with an adapter that changes nothing if `lora` names one.
    pub fn load(
        files: &TensorFiles,
        config: &LanguageConfig,
        lora: Option<&LoraConfig>,
        kept: Kept,
        device: &Device,
    ) -> Result<Causal, WeightError> {
        let mut loader = Loader::from_files(files.clone(), &device.clone().autodiff());
        if kept == Kept::AsStored {
            loader = loader.keeping_bf16();
        }
        if let Some(lora) = lora {
            loader = loader.with_lora(lora).training(&[ADAPTER]);
        }
        let language = Language::load(&mut loader, config)?;
        let names = loader.into_names();
        let zero = Adapter::from_tensors(names.collect(&language, is_adapter));
        Ok(Causal { config: config.clone(), language, names, zero })
    }

    /// A fresh adapter for models of these sizes.
    pub fn fresh_adapter(config: &LanguageConfig, lora: &LoraConfig, seed: u64) -> Adapter {
        let tensors = config.tensors();
        let shapes = tensors.iter().map(|(name, shape)| (&name[..], &shape[..]));
        Adapter::of_shapes(shapes, lora, seed)
    }

    /// Puts an adapter in; it must have the names and shapes this model was loaded with.
    pub fn set_adapter(&mut self, adapter: &Adapter) -> Result<(), AdapterError> {
        adapter.check_like(&self.zero)?;
        adapter.check_finite()?;
        let mut setter = Setter { names: &self.names, weights: adapter.tensors() };
        self.language = self.language.clone().map(&mut setter);
        Ok(())
    }

    /// The adapter now in.
    pub fn adapter(&self) -> Adapter {
        Adapter::from_tensors(self.names.collect(&self.language, is_adapter))
    }

    /// The sizes of the model.
    pub fn config(&self) -> &LanguageConfig {
        &self.config
    }

    /// The last layer's states at every position, after the final norm, row after row.
    ///
    /// Panics unless the rows have one length and tokens of the vocabulary.
    pub fn hidden(&self, rows: &[Vec<u32>]) -> Vec<f32> {
        floats(states(&self.language.valid(), &self.config, rows, rows[0].len()))
    }

    /// The logits after the last `last` positions of every row, row after row.
    ///
    /// Panics unless every row has a token, and tokens of the vocabulary. Shorter rows are padded on the left.
    pub fn logits(&self, rows: &[Vec<u32>], last: usize) -> Vec<f32> {
        floats(logits(&self.language.valid(), &self.config, rows, last))
    }

    /// Each prompt's `count` likeliest next tokens, one after the other.
    ///
    /// Panics as [`Causal::logits`] does.
    pub fn greedy(&self, prompts: &[Vec<u32>], count: usize) -> Vec<Vec<u32>> {
        let language = self.language.valid();
        let mut rows = prompts.to_vec();
        for _ in 0..count {
            let after = floats(logits(&language, &self.config, &rows, 1));
            for (row, after) in rows.iter_mut().zip(after.chunks_exact(self.config.vocab_size)) {
                row.push(likeliest(after));
            }
        }
        rows.iter().zip(prompts).map(|(row, prompt)| row[prompt.len()..].to_vec()).collect()
    }
}

/// Trains the adapter of a language model on rows of text.
pub struct Tuning {
    causal: Causal,
    optimizer: ModuleOptimizer,
}

impl Tuning {
    /// AdamW without decay on the adapter that is in.
    pub fn new(causal: Causal) -> Tuning {
        let optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).init();
        Tuning { causal, optimizer }
    }

    /// One step; the mean cross-entropy of every next token before it.
    ///
    /// Panics unless the rows have one length of at least two, and tokens of the vocabulary.
    pub fn step(&mut self, rows: &[Vec<u32>], rate: f64) -> f32 {
        let Causal { config, language, .. } = &self.causal;
        let read: Vec<Vec<u32>> = rows.iter().map(|row| row[..row.len() - 1].to_vec()).collect();
        let said: Vec<u32> = rows.iter().flat_map(|row| &row[1..]).copied().collect();
        let loss = cross_entropy(logits(language, config, &read, read[0].len()), &said);
        let value = floats(loss.clone())[0];
        let gradients = GradientsParams::from_grads(loss.backward(), language);
        self.causal.language = self.optimizer.step(rate, language.clone(), gradients);
        value
    }

    /// The model as it is now.
    pub fn into_causal(self) -> Causal {
        self.causal
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
    let length = rows.iter().map(Vec::len).max().unwrap_or(0);
    let padding: Vec<usize> = rows.iter().map(|row| length - row.len()).collect();
    let mut tokens: Vec<i32> = Vec::with_capacity(rows.len() * length);
    for (row, padding) in rows.iter().zip(&padding) {
        tokens.extend(std::iter::repeat_n(0, *padding));
        tokens.extend(row.iter().map(|token| *token as i32));
    }
    let table = language.table();
    let tokens = TensorData::new(tokens, [rows.len(), length]);
    let tokens = Tensor::<2, Int>::from_data(tokens, &table.device());
    let reading = Reading::new(&padding, length, last, config);
    language.forward(embedding(table, tokens), &reading, config)
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.map_or(0, |token| token as u32)
}
