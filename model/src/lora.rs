//! Frozen layers with a low-rank update beside them: y = W x + (alpha / rank) B (A x).
//!
//! Follows LoRA (Hu et al., arXiv 2106.09685). B starts at zero, hence a fresh adapter changes nothing.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Tensor};

use crate::fused::lora_linear;

/// A linear layer that may carry an adapter.
#[derive(Module, Debug)]
pub struct LoraLinear {
    /// The frozen map W, kept in f32 or bf16, and its bias.
    pub base: Linear,
    /// The map A to `rank` values.
    pub lora_a: Option<Linear>,
    /// The map B back.
    pub lora_b: Option<Linear>,
    /// The factor alpha / rank.
    pub scale: f64,
}

impl LoraLinear {
    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let weight = computed(self.base.weight.val());
        let bias = self.base.bias.as_ref().map(Param::val);
        let (Some(a), Some(b)) = (&self.lora_a, &self.lora_b) else {
            return linear(input, weight, bias);
        };
        let output = lora_linear(input, weight, [a.weight.val(), b.weight.val()], self.scale);
        match bias {
            Some(bias) => output.add(bias.unsqueeze()),
            None => output,
        }
    }
}

/// A table of token embeddings that may carry an adapter.
///
/// As in PEFT, A holds `rank` numbers a token and starts at zero, and the update changes what a token is read
/// as, not the tied output head.
#[derive(Module, Debug)]
pub struct LoraEmbedding {
    /// The frozen rows: `[tokens, width]`.
    pub base: Param<Tensor<2>>,
    /// What a strategy added to the rows as they are read: `[tokens, width]`.
    pub shift: Option<Param<Tensor<2>>>,
    /// The map A: `[rank, tokens]`.
    pub lora_a: Option<Param<Tensor<2>>>,
    /// The map B: `[width, rank]`.
    pub lora_b: Option<Param<Tensor<2>>>,
    /// The factor alpha / rank.
    pub scale: f64,
}

impl LoraEmbedding {
    /// The rows that tokens are read as: `[tokens, width]`.
    pub fn table(&self) -> Tensor<2> {
        let rows = match &self.shift {
            None => computed(self.base.val()),
            Some(shift) => computed(self.base.val()).add(shift.val()),
        };
        let (Some(a), Some(b)) = (&self.lora_a, &self.lora_b) else {
            return rows;
        };
        let update = a.val().transpose().matmul(b.val().transpose()).mul_scalar(self.scale);
        rows.add(update)
    }
}

/// The matrix as it is computed with: f32, whatever it is kept in.
pub(crate) fn computed(matrix: Tensor<2>) -> Tensor<2> {
    match matrix.dtype() {
        DType::BF16 => matrix.cast(DType::F32),
        _ => matrix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umm::weights::floats;
    use burn::tensor::Device;

    #[test]
    fn an_embedding_is_its_row_its_shift_and_the_scaled_product_of_its_factors() {
        let parameter = |values: [[f32; 2]; 2]| {
            Param::from_tensor(Tensor::from_floats(values, &Device::flex()))
        };
        let table = LoraEmbedding {
            base: parameter([[1.0, 2.0], [3.0, 4.0]]),
            shift: Some(parameter([[0.0, 0.0], [0.5, 0.0]])),
            lora_a: Some(parameter([[0.0, 1.0], [0.0, 2.0]])),
            lora_b: Some(parameter([[1.0, 0.0], [5.0, 10.0]])),
            scale: 2.0,
        };
        // Token 0 has zero numbers in A; token 1 has (1, 2), which B makes (1, 25).
        assert_eq!(floats(table.table()), [1.0, 2.0, 5.5, 54.0]);
    }
}
