//! Where the model computes: a setting, and the device it opens or what that device lacks.
//!
//! The CPU lacks nothing. A GPU needs the feature `cuda` when the program is built, and a driver
//! and NVIDIA's mathematical library when it runs (`docs/GPU.md`). All are looked for before
//! anything is computed: Burn panics, on a thread of its own, where one is missing later.

use burn::backend::DispatchDevice;
use witan_data::fault::Fault;

pub use burn::tensor::Device;
pub use witan_data::compute::Compute;

/// The device, ready to hold tensors that record no gradients.
///
/// # Errors
/// What is missing; never panics.
pub fn open(compute: Compute) -> Result<Device, Fault> {
    match compute {
        Compute::Cpu => Ok(Device::flex()),
        Compute::Cuda => cuda(),
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
fn cuda() -> Result<Device, Fault> {
    Err(Fault::environment("device cuda: this program was built without the feature cuda")
        .hint("build it with --features cuda, as docs/GPU.md says, or compute on device cpu"))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, Fault> {
    use burn::tensor::DeviceType;
    // Unlike `Device::cuda(0)`, the list is merely empty where there is no driver.
    let gpus = Device::enumerate(DeviceType::Cuda).into_vec();
    let Some(first) = gpus.into_iter().next() else {
        let message =
            "device cuda: no GPU found; the driver library libcuda.so is missing or lists none";
        return Err(Fault::environment(message).hint(
            "see whether `nvidia-smi` lists a GPU, and have LD_LIBRARY_PATH name the folder of \
             libcuda.so; or compute on device cpu",
        ));
    };
    match toolkit::has_mathematics(std::env::var_os("CUDA_PATH").as_deref()) {
        true => Ok(first),
        false => {
            let message = "device cuda: no nvvm/libdevice/libdevice.10.bc in a CUDA toolkit";
            Err(Fault::environment(message).hint(
                "install NVIDIA's CUDA toolkit and have CUDA_PATH name its folder; or compute on \
                 device cpu",
            ))
        }
    }
}

/// Where CubeCL will look for the mathematical functions that a GPU has no instruction for.
#[cfg(feature = "cuda")]
mod toolkit {
    use std::ffi::OsStr;
    use std::path::Path;

    /// `named` is the environment's `CUDA_PATH`; if it is set, only that folder counts.
    pub(crate) fn has_mathematics(named: Option<&OsStr>) -> bool {
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
    fn the_cpu_is_always_there() {
        assert_eq!(open(Compute::default()).unwrap(), Device::flex());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_the_gpu_is_refused_for_that() {
        assert!(open(Compute::Cuda).unwrap_err().message.contains("without the feature cuda"));
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn with_the_feature_a_gpu_is_opened_or_what_it_lacks_is_named() {
        match open(Compute::Cuda) {
            Ok(opened) => assert!(opened != Device::flex()),
            Err(fault) => assert!(!fault.message.contains("without the feature"), "{fault}"),
        }
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
