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
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};

use crate::device::is_processor;
use crate::precision::{Precision, computed};
use attention::Attention;
pub(crate) use attention::KEPT_COLUMNS;
use cross_entropy::{CrossEntropy, Targets};
pub use head::HeadLayout;
use head::HeadLoss;
use linear::LowRank;
pub use mask::{AttentionMask, Heads, frequency, rotate};
use norm::Norm;
use swiglu::SwiGlu;

/// The operators as Burn dispatches them; each is described at the function of its name.
#[backend_extension(Flex, Autodiff)]
trait Fused: Backend {
    fn fused_norm(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;

    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    fn fused_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;

    fn fused_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: Heads,
        mask: AttentionMask,
    ) -> FloatTensor<Self>;

    fn fused_cross_entropy(logits: FloatTensor<Self>, targets: Targets) -> FloatTensor<Self>;

    fn fused_head_loss(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        layout: HeadLayout,
        targets: Targets,
    ) -> FloatTensor<Self>;
}

/// Divides by the root of the mean square over the last axis, to which `epsilon` is added, and
/// multiplies by a gain.
///
/// # Shapes
/// - input and output: `[..., width]`
/// - gain: `[width]`
pub fn rms_norm<const D: usize>(input: Tensor<D>, gain: Tensor<1>, epsilon: f32) -> Tensor<D> {
    match runs_on_flex(&input, Precision::Float32) {
        true => Tensor::from_dispatch(Dispatch::fused_norm(
            input.into_dispatch(),
            gain.into_dispatch(),
            epsilon,
        )),
        false => norm::plain(input, gain, epsilon),
    }
}

/// silu(gate) · up, element by element.
///
/// # Shapes
/// - inputs and output: equal
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    match runs_on_flex(&gate, Precision::Float32) {
        true => {
            Tensor::from_dispatch(Dispatch::fused_swiglu(gate.into_dispatch(), up.into_dispatch()))
        }
        false => swiglu::plain(gate, up),
    }
}

/// input · weight + scale · (input · a) · b: a linear layer with its low-rank update.
///
/// # Shapes
/// - input: `[..., inputs]`
/// - weight: `[inputs, outputs]`, a: `[inputs, rank]`, b: `[rank, outputs]`
/// - output: `[..., outputs]`
pub fn lora_linear<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    [a, b]: [Tensor<2>; 2],
    scale: f64,
    precision: Precision,
) -> Tensor<D> {
    match runs_on_flex(&input, precision) {
        true => Tensor::from_dispatch(Dispatch::fused_linear(
            input.into_dispatch(),
            computed(weight).into_dispatch(),
            a.into_dispatch(),
            b.into_dispatch(),
            scale as f32,
        )),
        false => linear::plain(input, weight, [a, b], scale, precision),
    }
}

/// Scaled dot-product attention of heads that lie side by side, each query head with the key head
/// of its group.
///
/// # Shapes
/// - query: `[batch, rows, heads * width]`, the last `rows` positions
/// - key and value: `[batch, columns, shared * width]`
/// - output: as query
pub fn attention(
    [query, key, value]: [Tensor<3>; 3],
    heads: Heads,
    mask: &AttentionMask,
    precision: Precision,
) -> Tensor<3> {
    match runs_on_flex(&query, precision) {
        true => Tensor::from_dispatch(Dispatch::fused_attention(
            query.into_dispatch(),
            key.into_dispatch(),
            value.into_dispatch(),
            heads,
            mask.clone(),
        )),
        false => mask::plain([query, key, value], heads, mask, precision),
    }
}

/// The mean over the rows of minus the log-probability of each row's target.
///
/// # Shapes
/// - logits: `[rows, classes]`
/// - targets: one class a row
pub fn cross_entropy(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    match runs_on_flex(&logits, Precision::Float32) {
        true => Tensor::from_dispatch(Dispatch::fused_cross_entropy(
            logits.into_dispatch(),
            targets.into(),
        )),
        false => cross_entropy::plain(logits, targets),
    }
}

/// The [`cross_entropy`] of what an output head says; a head that is trained itself takes the way
/// of plain operators.
///
/// # Shapes
/// - hidden: `[rows, width]`
/// - head: `[classes, width]` or `[width, classes]`, as its layout says
/// - targets: one class a row
pub fn head_loss(
    hidden: Tensor<2>,
    head: Tensor<2>,
    layout: HeadLayout,
    targets: &[u32],
    precision: Precision,
) -> Tensor<1> {
    match runs_on_flex(&hidden, precision) && !head.is_tracked() {
        true => Tensor::from_dispatch(Dispatch::fused_head_loss(
            hidden.into_dispatch(),
            computed(head).into_dispatch(),
            layout,
            targets.into(),
        )),
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
    fn fused_norm(input: FlexTensor, gain: FlexTensor, epsilon: f32) -> FlexTensor {
        output_of(Norm { epsilon }, [input, gain])
    }

    fn fused_swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        output_of(SwiGlu, [gate, up])
    }

    fn fused_linear(
        input: FlexTensor,
        weight: FlexTensor,
        a: FlexTensor,
        b: FlexTensor,
        scale: f32,
    ) -> FlexTensor {
        output_of(LowRank { scale }, [input, weight, a, b])
    }

    fn fused_attention(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        heads: Heads,
        mask: AttentionMask,
    ) -> FlexTensor {
        output_of(Attention { heads, mask }, [query, key, value])
    }

    fn fused_cross_entropy(logits: FlexTensor, targets: Targets) -> FlexTensor {
        output_of(CrossEntropy { targets }, [logits])
    }

    fn fused_head_loss(
        hidden: FlexTensor,
        head: FlexTensor,
        layout: HeadLayout,
        targets: Targets,
    ) -> FlexTensor {
        output_of(HeadLoss { layout, targets }, [hidden, head])
    }
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    fn fused_norm(input: Tracked, gain: Tracked, epsilon: f32) -> Tracked {
        recorded::<C, _, _>(Norm { epsilon }, [input, gain])
    }

    fn fused_swiglu(gate: Tracked, up: Tracked) -> Tracked {
        recorded::<C, _, _>(SwiGlu, [gate, up])
    }

    fn fused_linear(
        input: Tracked,
        weight: Tracked,
        a: Tracked,
        b: Tracked,
        scale: f32,
    ) -> Tracked {
        recorded::<C, _, _>(LowRank { scale }, [input, weight, a, b])
    }

    fn fused_attention(
        query: Tracked,
        key: Tracked,
        value: Tracked,
        heads: Heads,
        mask: AttentionMask,
    ) -> Tracked {
        recorded::<C, _, _>(Attention { heads, mask }, [query, key, value])
    }

    fn fused_cross_entropy(logits: Tracked, targets: Targets) -> Tracked {
        recorded::<C, _, _>(CrossEntropy { targets }, [logits])
    }

    fn fused_head_loss(
        hidden: Tracked,
        head: Tracked,
        layout: HeadLayout,
        targets: Targets,
    ) -> Tracked {
        recorded::<C, _, _>(HeadLoss { layout, targets }, [hidden, head])
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

fn output_of<O: Operator<N>, const N: usize>(operator: O, inputs: [FlexTensor; N]) -> FlexTensor {
    operator.forward(inputs.map(whole)).0
}

/// Runs an operator, and enters it into the graph if one of its inputs wants a gradient.
fn recorded<C: CheckpointStrategy, O: Operator<N>, const N: usize>(
    operator: O,
    inputs: [Tracked; N],
) -> Tracked {
    let nodes = inputs.each_ref().map(Tracked::node);
    let (output, saved) = operator.forward(inputs.map(|input| whole(input.into_primitive())));
    match Step(operator).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(saved, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
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

type Tracked = FloatTensor<Autodiff<Flex>>;

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
