//! Tensors between the host and a device.

use burn::tensor::{Device, Tensor, TensorData};
use witan_adapter::tensors::{HostTensor, transpose};

/// The values of a tensor as f32, row-major.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("they were made f32")
}

/// A host tensor on a device, transposed if the module keeps it so.
pub fn tensor_of<const D: usize>(
    host: &HostTensor,
    transposed: bool,
    device: &Device,
) -> Tensor<D> {
    let data = match (&host.shape[..], transposed) {
        ([rows, columns], true) => {
            TensorData::new(transpose(&host.values, *rows, *columns), [*columns, *rows])
        }
        _ => TensorData::new(host.values.clone(), host.shape.clone()),
    };
    Tensor::from_data(data, device)
}
