//! Operators that do in one pass, forward and backward, what Burn does in many.
//!
//! A step of a small model on a processor is bound by the passes over memory between its matrix
//! products. Each operator here has its own backward on Flex, through Burn's extension point, and a
//! reference implementation of plain operators in `plain`: other back ends run that, and tests hold
//! both to 1e-5. No operator depends on the number of threads.

mod attention;
mod cross_entropy;
mod head;
mod linear;
mod mask;
mod norm;
mod outer;
mod parts;
mod product;
#[cfg(test)]
mod reference;
mod scratch;
mod swiglu;

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};

use crate::device::is_processor;
use crate::precision::{Precision, computed};
use attention::Attention;
pub(crate) use attention::KEPT_COLUMNS;
use cross_entropy::CrossEntropy;
pub(crate) use head::HeadLayout;
use head::HeadLoss;
use linear::LowRank;
pub use mask::{AttentionMask, Heads};
pub(crate) use mask::{angle_tables, frequency, rotate, rotate_pairs};
use norm::Norm;
use swiglu::SwiGlu;

/// How Burn finds the back end that the tensors lie on.
#[backend_extension(Flex, Autodiff)]
trait Fused: Backend {
    fn fused<O: Operator<N>, const N: usize>(
        operator: O,
        #[extension_type] inputs: Inputs<Self>,
    ) -> FloatTensor<Self>;
}

/// The tensors that an operator is given.
#[derive(ExtensionType)]
enum Inputs<B: Backend> {
    One(FloatTensor<B>),
    Two(FloatTensor<B>, FloatTensor<B>),
    Three(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    Four(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
}

impl<B: Backend> Inputs<B> {
    fn array<const N: usize>(self) -> [FloatTensor<B>; N] {
        let all = match self {
            Inputs::One(a) => vec![a],
            Inputs::Two(a, b) => vec![a, b],
            Inputs::Three(a, b, c) => vec![a, b, c],
            Inputs::Four(a, b, c, d) => vec![a, b, c, d],
        };
        all.try_into().expect("an operator of N tensors is given N")
    }
}

fn fused<O: Operator<N>, const N: usize, const D: usize>(
    operator: O,
    inputs: Inputs<Dispatch>,
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fused(operator, inputs))
}

/// Divides by the root of `epsilon` plus the last axis's mean square, and multiplies by a gain.
///
/// # Shapes
/// - input and output: `[..., width]`
/// - gain: `[width]`
pub(crate) fn rms_norm<const D: usize>(
    input: Tensor<D>,
    gain: Tensor<1>,
    epsilon: f32,
) -> Tensor<D> {
    match runs_on_flex(&input, Precision::Float32) {
        true => {
            let inputs = Inputs::Two(input.into_dispatch(), gain.into_dispatch());
            fused(Norm { epsilon }, inputs)
        }
        false => norm::plain(input, gain, epsilon),
    }
}

/// silu(gate) · up, element by element.
///
/// # Shapes
/// - inputs and output: equal
pub(crate) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    match runs_on_flex(&gate, Precision::Float32) {
        true => fused(SwiGlu, Inputs::Two(gate.into_dispatch(), up.into_dispatch())),
        false => swiglu::plain(gate, up),
    }
}

/// input · weight + scale · (input · a) · b: a linear layer with its low-rank update.
///
/// # Shapes
/// - input: `[..., inputs]`
/// - weight: `[inputs, outputs]`, a: `[inputs, rank]`, b: `[rank, outputs]`
/// - output: `[..., outputs]`
pub(crate) fn lora_linear<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    [a, b]: [Tensor<2>; 2],
    scale: f64,
    precision: Precision,
) -> Tensor<D> {
    match runs_on_flex(&input, precision) {
        true => {
            let [weight, a, b] = [computed(weight), a, b].map(Tensor::into_dispatch);
            let inputs = Inputs::Four(input.into_dispatch(), weight, a, b);
            fused(LowRank { scale: scale as f32 }, inputs)
        }
        false => linear::plain(input, weight, [a, b], scale, precision),
    }
}

/// Scaled dot-product attention of heads side by side, each query head with its group's key head.
///
/// # Shapes
/// - query: `[batch, rows, heads * width]`, the last `rows` positions
/// - key and value: `[batch, columns, shared * width]`
/// - output: as query
pub(crate) fn attention(
    [query, key, value]: [Tensor<3>; 3],
    heads: Heads,
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<3> {
    match runs_on_flex(&query, precision) {
        true => {
            let [query, key, value] = [query, key, value].map(Tensor::into_dispatch);
            let operator = Attention { heads, mask: mask.clone() };
            fused(operator, Inputs::Three(query, key, value))
        }
        false => mask::plain([query, key, value], heads, mask, precision),
    }
}

/// The mean over the rows of minus the log-probability of each row's target.
///
/// # Shapes
/// - logits: `[rows, classes]`
/// - targets: one class a row
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    match runs_on_flex(&logits, Precision::Float32) {
        true => {
            let operator = CrossEntropy { targets: targets.into() };
            fused(operator, Inputs::One(logits.into_dispatch()))
        }
        false => cross_entropy::plain(logits, targets),
    }
}

/// The [`cross_entropy`] of an output head's logits; by plain operators if the head is trained.
///
/// # Shapes
/// - hidden: `[rows, width]`
/// - head: `[classes, width]` or `[width, classes]`, as its layout says
/// - targets: one class a row
pub(crate) fn head_loss(
    hidden: Tensor<2>,
    head: Tensor<2>,
    layout: HeadLayout,
    targets: &[u32],
    precision: Precision,
) -> Tensor<1> {
    match runs_on_flex(&hidden, precision) && !head.is_tracked() {
        true => {
            let inputs = Inputs::Two(hidden.into_dispatch(), computed(head).into_dispatch());
            fused(HeadLoss { layout, targets: targets.into() }, inputs)
        }
        false => head::plain(hidden, head, layout, targets, precision),
    }
}

/// The operators know f32 only.
fn runs_on_flex<const D: usize>(tensor: &Tensor<D>, precision: Precision) -> bool {
    is_processor(&tensor.device())
        && tensor.dtype() == DType::F32
        && precision == Precision::Float32
}

impl Fused for Flex {
    fn fused<O: Operator<N>, const N: usize>(operator: O, inputs: Inputs<Self>) -> FlexTensor {
        operator.forward(inputs.array().map(whole)).0
    }
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    /// Enters the operator into the graph if one of its inputs wants a gradient.
    fn fused<O: Operator<N>, const N: usize>(
        operator: O,
        inputs: Inputs<Self>,
    ) -> FloatTensor<Self> {
        let inputs = inputs.array::<N>();
        let nodes = inputs.each_ref().map(|input| input.node());
        let (output, saved) = operator.forward(inputs.map(|input| whole(input.into_primitive())));
        match Step(operator).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(saved, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// An operator of `N` tensors on Flex. All tensors it is given are [`whole`].
trait Operator<const N: usize>: Debug + Send + 'static {
    /// What backward needs of forward.
    type Saved: Clone + Debug + Send + 'static;

    fn forward(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The gradients of the inputs that are `wanted`, given that of the output.
    fn backward(
        &self,
        saved: Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

#[derive(Debug)]
struct Step<O>(O);

impl<O: Operator<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = O::Saved;

    fn backward(
        self,
        ops: Ops<O::Saved, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = whole(gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let computed = self.0.backward(ops.state, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(computed) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// The tensor with its values in one piece.
fn whole(tensor: FlexTensor) -> FlexTensor {
    match tensor.as_slice::<f32>() {
        Some(_) => tensor,
        None => tensor.to_contiguous(),
    }
}

/// The values of a tensor made [`whole`].
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor was made whole and holds f32")
}

/// The same to write to; copied first if another tensor shares them.
fn values_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let (start, end) = tensor.layout().contiguous_offsets().expect("the tensor was made whole");
    &mut tensor.storage_mut()[start..end]
}

fn tensor(values: Vec<f32>, axes: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, axes.to_vec()))
}

/// The lengths of a tensor's axes, outermost first.
fn axes(tensor: &FlexTensor) -> &[usize] {
    tensor.layout().shape()
}
