//! Where the model computes: a setting, and the device it opens or what that device lacks.
//!
//! The CPU lacks nothing. A GPU needs the feature `cuda` when the program is built, and a driver
//! and NVIDIA's mathematical library when it runs (`docs/GPU.md`). All are looked for before
//! anything is computed: Burn panics, on a thread of its own, where one is missing later.

use std::fmt;
use std::str::FromStr;

use burn::backend::DispatchDevice;
use serde::{Deserialize, Serialize};

pub use burn::tensor::Device;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// The processor.
    #[default]
    Cpu,
    /// The first GPU that the CUDA driver lists; its `CUDA_VISIBLE_DEVICES` chooses another.
    Cuda,
}

/// Why a device cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The program was built without the feature `cuda`.
    #[error("device cuda: this program was built without the feature cuda")]
    NotBuilt,
    /// The driver is not installed, cannot be loaded, or lists nothing.
    #[error("device cuda: no GPU found; the driver library libcuda.so is missing or lists none")]
    NoGpu,
    /// There is a GPU, but its kernels could not be compiled.
    #[error("device cuda: no nvvm/libdevice/libdevice.10.bc in a CUDA toolkit")]
    NoMathematics,
}

/// A name that is no device's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected cpu or cuda, found {found}")]
pub struct UnknownDevice {
    found: String,
}

impl Compute {
    /// The device, ready to hold tensors that record no gradients.
    ///
    /// # Errors
    /// What is missing; never panics.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda => cuda(),
        }
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Compute {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            found => Err(UnknownDevice { found: found.to_owned() }),
        }
    }
}

/// Whether it is the processor, with its own operators.
pub(crate) fn is_processor(device: &Device) -> bool {
    let inner = match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => &**device,
        device => device,
    };
    matches!(inner, DispatchDevice::Flex(_))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, DeviceError> {
    use burn::tensor::DeviceType;
    // Unlike `Device::cuda(0)`, the list is merely empty where there is no driver.
    let gpus = Device::enumerate(DeviceType::Cuda).into_vec();
    let first = gpus.into_iter().next().ok_or(DeviceError::NoGpu)?;
    match toolkit::has_mathematics(std::env::var_os("CUDA_PATH").as_deref()) {
        true => Ok(first),
        false => Err(DeviceError::NoMathematics),
    }
}

/// Where CubeCL will look for the mathematical functions that a GPU has no instruction for.
#[cfg(feature = "cuda")]
mod toolkit {
    use std::ffi::OsStr;
    use std::path::Path;

    /// `named` is the environment's `CUDA_PATH`; if it is set, only that folder counts.
    pub fn has_mathematics(named: Option<&OsStr>) -> bool {
        let holds = |root: &Path| root.join("nvvm/libdevice/libdevice.10.bc").is_file();
        match named {
            Some(root) => holds(Path::new(root)),
            None => USUAL.into_iter().map(Path::new).any(holds),
        }
    }

    const USUAL: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_it_is_written_and_no_other_word_is() {
        for compute in [Compute::Cpu, Compute::Cuda] {
            assert_eq!(compute.to_string().parse(), Ok(compute));
            assert_eq!(serde_json::to_string(&compute).unwrap(), format!("\"{compute}\""));
        }
        let error = "tpu".parse::<Compute>().unwrap_err();
        assert_eq!(error.to_string(), "expected cpu or cuda, found tpu");
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(Compute::default().open().unwrap(), Device::flex());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_the_gpu_is_refused_for_that() {
        assert_eq!(Compute::Cuda.open().unwrap_err(), DeviceError::NotBuilt);
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn with_the_feature_a_gpu_is_opened_or_what_it_lacks_is_named() {
        let opened = Compute::Cuda.open();
        assert!(!matches!(opened, Err(DeviceError::NotBuilt)));
        assert!(opened.is_err() || opened != Ok(Device::flex()));
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn only_the_named_toolkit_counts() {
        let root = std::env::temp_dir().join(format!("witan-toolkit-{}", std::process::id()));
        assert!(!toolkit::has_mathematics(Some(root.as_os_str())));
        let folder = root.join("nvvm/libdevice");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("libdevice.10.bc"), "").unwrap();
        assert!(toolkit::has_mathematics(Some(root.as_os_str())));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
