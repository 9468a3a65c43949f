//! Plain loops compiled to the processor's widest vector instructions, without unsafe code.

/// Declares a function whose body is compiled once per instruction set and chosen when called.
///
/// What the body calls must be `#[inline(always)]`, or it stays compiled for the oldest processor.
/// Inside, `mul_add` is one instruction. The order of additions is the source's, so that every set
/// that has fused multiplication gives the same bits.
#[macro_export]
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name($($argument: $kind),*) {
            struct Call<T>(T);
            impl $crate::vector::pulp::NullaryFnOnce for Call<($($kind,)*)> {
                type Output = ();
                #[inline(always)]
                fn call(self) {
                    let Call(($($argument,)*)) = self;
                    $body
                }
            }
            $crate::vector::widest(Call(($($argument,)*)));
        }
    };
}
pub use crate::vectorised;
pub use pulp;

/// Runs an operation compiled for the widest vectors this processor has.
pub fn widest<O: pulp::WithSimd>(operation: O) -> O::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::Simd;
        use pulp::x86::{V3, V4};
        if let Some(simd) = V4::try_new() {
            return Simd::vectorize(simd, operation);
        }
        if let Some(simd) = V3::try_new() {
            return Simd::vectorize(simd, operation);
        }
    }
    pulp::Arch::new().dispatch(operation)
}

/// e to the power of `x`, to two units in the last place; no branch, so that a loop of it is
/// vectorised.
///
/// Splits x into n ln 2 + r and takes r's polynomial of Cephes' `expf`. Saturates below -87.3 and
/// above 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.0);
    // Adding 1.5 * 2^23 leaves the rounded integer in the lowest bits of the mantissa.
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut value = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        value = value.mul_add(r, coefficient);
    }
    let value = (value * r).mul_add(r, r) + 1.0;
    value * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// 1 / (1 + exp(-x)).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The sum of a row's `f(index)`, added up in sixteen lanes whatever the processor.
#[inline(always)]
pub fn sum(length: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let whole = length / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += f(start + lane);
        }
    }
    let rest: f32 = (whole..length).map(&f).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The largest of `values`; minus infinity of none.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().copied().fold(rest, f32::max)
}

const LANES: usize = 16;
const ROUND: f32 = 12_582_912.0;
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_libraries_to_a_millionth_of_its_value() {
        for step in -8730..8790 {
            let x = step as f32 / 100.0 + 0.003;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e9) < 1e-37);
    }

    #[test]
    fn sums_and_maxima_miss_no_lane() {
        let values: Vec<f32> = (0..37).map(|index| index as f32).collect();
        for length in [0, 1, 15, 16, 17, 37] {
            let expected: f32 = values[..length].iter().sum();
            assert_eq!(sum(length, |index| values[index]), expected);
            let expected = values[..length].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&values[..length]), expected);
        }
    }
}
