//! The number format that frozen matrices are kept and multiplied in.
//!
//! On a GPU both are bf16, the rest of the arithmetic f32: mixed precision (Micikevicius et al.,
//! arXiv 1710.03740; bf16 has f32's range, so losses need no scale). The processor's kernels know
//! only f32. What is trained, and what a strategy adds to the base, is f32 everywhere.

use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Tensor};

use crate::device::is_processor;

/// How the matrices of a frozen network are kept, and what they are multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// As the files have them: bf16 stays bf16, half the memory, and is cast to f32 at every use.
    AsStored,
    /// In f32, for training on a processor: what backward needs of a cast would be kept anyway.
    Float32,
    /// In bf16, and multiplied in it.
    Bfloat16,
}

impl WeightFormat {
    /// This on a processor; on a GPU bf16.
    pub fn on(self, device: &Device) -> WeightFormat {
        if is_processor(device) { self } else { WeightFormat::Bfloat16 }
    }

    /// What products are computed in.
    pub(crate) fn precision(self) -> Precision {
        match self {
            WeightFormat::AsStored | WeightFormat::Float32 => Precision::Float32,
            WeightFormat::Bfloat16 => Precision::Bfloat16,
        }
    }
}

/// What matrix products are computed in; what goes in and comes out is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    #[default]
    Float32,
    /// Factors and products are rounded to bf16.
    Bfloat16,
}

impl Precision {
    /// A frozen layer's product with its matrix; a matrix in f32 is multiplied in f32 whatever the
    /// precision.
    ///
    /// # Shapes
    /// - input: `[..., inputs]`, matrix: `[inputs, outputs]`
    /// - output: `[..., outputs]`
    pub(crate) fn frozen<const D: usize>(self, input: Tensor<D>, matrix: Tensor<2>) -> Tensor<D> {
        match (self, matrix.dtype()) {
            (Precision::Bfloat16, DType::BF16) => {
                linear(input.cast(DType::BF16), matrix, None).cast(DType::F32)
            }
            _ => linear(input, computed(matrix), None),
        }
    }

    /// A trained layer's product with its matrix, which is kept in f32.
    ///
    /// # Shapes
    /// - input: `[..., inputs]`, matrix: `[inputs, outputs]`
    /// - output: `[..., outputs]`
    pub(crate) fn trained<const D: usize>(self, input: Tensor<D>, matrix: Tensor<2>) -> Tensor<D> {
        match self {
            Precision::Float32 => linear(input, matrix, None),
            Precision::Bfloat16 => self.frozen(input, matrix.cast(DType::BF16)),
        }
    }

    /// The product of two tensors' last two axes.
    pub(crate) fn product<const D: usize>(self, left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
        match self {
            Precision::Float32 => left.matmul(right),
            Precision::Bfloat16 => {
                left.cast(DType::BF16).matmul(right.cast(DType::BF16)).cast(DType::F32)
            }
        }
    }
}

/// The matrix as f32, whatever it is kept in.
pub(crate) fn computed(matrix: Tensor<2>) -> Tensor<2> {
    match matrix.dtype() {
        DType::BF16 => matrix.cast(DType::F32),
        _ => matrix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::floats;

    const PRECISIONS: [Precision; 2] = [Precision::Float32, Precision::Bfloat16];

    fn tracked<const D: usize>(values: [[f32; 2]; D]) -> Tensor<2> {
        Tensor::from_floats(values, &Device::flex().autodiff()).require_grad()
    }

    #[test]
    fn factors_and_products_are_rounded_to_bf16_and_gradients_with_them() {
        // 1 + 2⁻⁹ has no bf16; 257 has none either.
        let (left, right) = (1.0 + 2.0_f32.powi(-9), 257.0);
        let outcome = |precision: Precision| {
            let (x, a) = (tracked([[left, 0.0]]), tracked([[right, 0.0], [0.0, 0.0]]));
            let output = precision.trained(x.clone(), a.clone());
            let gradients = output.clone().mul_scalar(right).sum().backward();
            let gradient = |of: Tensor<2>| floats(of.grad(&gradients).unwrap())[0];
            assert_eq!(output.dtype(), DType::F32);
            [floats(output)[0], gradient(x), gradient(a)]
        };
        let [exact, rounded] = PRECISIONS.map(outcome);
        assert_eq!(exact, [left * right, right * right, left * right]);
        assert_eq!(rounded, [256.0, 256.0 * 256.0, 256.0]);
    }

    #[test]
    fn only_a_matrix_kept_in_bf16_is_multiplied_in_it() {
        let (x, one) = (tracked([[257.0, 0.0]]), tracked([[1.0, 0.0], [0.0, 1.0]]).detach());
        let frozen = |precision: Precision, matrix: &Tensor<2>| {
            floats(precision.frozen(x.clone(), matrix.clone()))[0]
        };
        let kept = one.clone().cast(DType::BF16);
        assert_eq!(PRECISIONS.map(|precision| frozen(precision, &one)), [257.0; 2]);
        assert_eq!(PRECISIONS.map(|precision| frozen(precision, &kept)), [257.0, 256.0]);
    }

    #[test]
    fn a_product_of_two_tensors_is_near_what_it_is_in_f32() {
        let (left, right) = (tracked([[0.3, -1.7]]), tracked([[0.9, 2.2], [0.4, -0.6]]));
        let [exact, rounded] = PRECISIONS.map(|p| floats(p.product(left.clone(), right.clone())));
        assert_ne!(exact, rounded);
        for (exact, rounded) in exact.iter().zip(&rounded) {
            assert!((exact - rounded).abs() < 0.02 * exact.abs(), "{rounded} for {exact}");
        }
    }
}
