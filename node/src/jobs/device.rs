//! Where a node computes: opens what `--device` or `node.toml` names, or says what to do about it.

use witan_home::Failure;
use witan_model::DeviceError;
use witan_model::device;
pub use witan_model::device::Device;

pub use witan_home::settings::Compute;

/// The setting as the model has it.
pub fn of_model(compute: Compute) -> device::Compute {
    match compute {
        Compute::Cpu => device::Compute::Cpu,
        Compute::Cuda => device::Compute::Cuda,
    }
}

/// The device, looked for before anything else is begun.
///
/// # Errors
/// If this program or this machine lacks what the device needs.
pub fn open(compute: Compute) -> Result<Device, Failure> {
    open_model(of_model(compute))
}

/// As [`open`], of the model's own setting.
///
/// # Errors
/// See [`open`].
pub fn open_model(compute: device::Compute) -> Result<Device, Failure> {
    compute.open().map_err(|error| {
        Failure::environment(error).hint(match error {
            DeviceError::NotBuilt => {
                "build it with --features cuda, as docs/GPU.md says, or compute on device cpu"
            }
            DeviceError::NoGpu => {
                "see whether `nvidia-smi` lists a GPU, and have LD_LIBRARY_PATH name the folder of \
                 libcuda.so; or compute on device cpu"
            }
            DeviceError::NoMathematics => {
                "install NVIDIA's CUDA toolkit and have CUDA_PATH name its folder; or compute on \
                 device cpu"
            }
        })
    })
}
