//! Numbers as bytes: the same numbers give the same bytes everywhere.
//!
//! | codec | bytes for n numbers |
//! |---|---|
//! | `bf16` | 2n |
//! | `int8` | n, and 4 for each block of 256: q·scale, scale = largest / 127 |
//! | `top-k` | 8 for each number kept: its place, ascending, then its value |

use super::DeltaError;

/// How the numbers of a delta are written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Codec {
    /// The adapter's own canonical bytes.
    #[default]
    Float32,
    /// The upper half of each f32, rounded to even.
    Bf16,
    /// One byte a number, scaled by block.
    Int8,
    /// The largest only.
    TopK {
        /// Their share.
        keep: f64,
    },
}

impl Codec {
    /// Whether what is lost is kept by the member and sent with its next delta. For `bf16` it is
    /// too little.
    pub fn owes(&self) -> bool {
        matches!(self, Codec::Int8 | Codec::TopK { .. })
    }

    /// How many bytes `count` numbers are.
    pub fn bytes(&self, count: usize) -> usize {
        match self {
            Codec::Float32 => count * 4,
            Codec::Bf16 => count * 2,
            Codec::Int8 => count + count.div_ceil(BLOCK) * 4,
            Codec::TopK { keep } => kept(count, *keep) * 8,
        }
    }

    /// The bytes of these numbers.
    pub(super) fn encode(&self, values: &[f32]) -> Vec<u8> {
        match self {
            Codec::Float32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Codec::Bf16 => {
                values.iter().flat_map(|value| upper_half(*value).to_le_bytes()).collect()
            }
            Codec::Int8 => values.chunks(BLOCK).flat_map(scaled).collect(),
            Codec::TopK { keep } => largest(values, kept(values.len(), *keep)),
        }
    }

    /// `count` numbers; the length is compared before anything is allocated.
    pub(super) fn decode(&self, bytes: &[u8], count: usize) -> Result<Vec<f32>, DeltaError> {
        let expected = self.bytes(count);
        if bytes.len() != expected {
            return Err(DeltaError::Length { expected, found: bytes.len() });
        }
        match self {
            Codec::Float32 => Ok(bytes.chunks_exact(4).map(f32_of).collect()),
            Codec::Bf16 => {
                let half = |at: &[u8]| f32::from_bits(u32::from_le_bytes([0, 0, at[0], at[1]]));
                Ok(bytes.chunks_exact(2).map(half).collect())
            }
            Codec::Int8 => {
                let blocks = bytes.chunks(BLOCK + 4).enumerate();
                let blocks =
                    blocks.map(|(block, bytes)| unscaled(bytes).ok_or(DeltaError::Block { block }));
                Ok(blocks.collect::<Result<Vec<_>, _>>()?.concat())
            }
            Codec::TopK { .. } => placed(bytes, count),
        }
    }
}

/// The bf16 nearest to a finite f32; ties to even.
fn upper_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    (rounded >> 16) as u16
}

/// A block's scale, and each number as a multiple of it.
fn scaled(block: &[f32]) -> Vec<u8> {
    let largest = block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = largest / STEPS;
    let step = |value: &f32| if scale > 0.0 { (value / scale).round() as i8 as u8 } else { 0 };
    let mut bytes = scale.to_le_bytes().to_vec();
    bytes.extend(block.iter().map(step));
    bytes
}

fn unscaled(bytes: &[u8]) -> Option<Vec<f32>> {
    let (scale, steps) = bytes.split_first_chunk()?;
    let scale = f32::from_le_bytes(*scale);
    if !scale.is_finite() || scale.is_sign_negative() || steps.contains(&(i8::MIN as u8)) {
        return None;
    }
    Some(steps.iter().map(|step| f32::from(*step as i8) * scale).collect())
}

/// How many numbers are kept.
fn kept(count: usize, keep: f64) -> usize {
    ((count as f64 * keep).ceil() as usize).clamp(1.min(count), count)
}

/// Places and values of the `kept` largest numbers; of equal ones the first.
fn largest(values: &[f32], kept: usize) -> Vec<u8> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()).then(a.cmp(b)));
    order.truncate(kept);
    order.sort_unstable();
    let places = order.iter().flat_map(|at| (*at as u32).to_le_bytes());
    places.chain(order.iter().flat_map(|at| values[*at].to_le_bytes())).collect()
}

fn placed(bytes: &[u8], count: usize) -> Result<Vec<f32>, DeltaError> {
    let (places, numbers) = bytes.split_at(bytes.len() / 2);
    let mut values = vec![0.0; count];
    let mut next = 0;
    let entries = places.chunks_exact(4).zip(numbers.chunks_exact(4));
    for (entry, (place, number)) in entries.enumerate() {
        let place = u32::from_le_bytes([place[0], place[1], place[2], place[3]]) as usize;
        if !(next..count).contains(&place) {
            return Err(DeltaError::Place { entry });
        }
        values[place] = f32_of(number);
        next = place + 1;
    }
    Ok(values)
}

fn f32_of(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Numbers that share a scale: 1.6 % more bytes, and one large number spoils few others.
const BLOCK: usize = 256;
/// Steps on either side of zero.
const STEPS: f32 = 127.0;
