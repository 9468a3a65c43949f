//! What arrives of a delta, how long it is, and which bytes are refused.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::aggregate::tests::adapter;

const CODECS: [Codec; 4] = [Codec::Float32, Codec::Bf16, Codec::Int8, Codec::TopK { keep: 0.25 }];

fn form(start: &Adapter, codec: Codec) -> Form<'_> {
    Form { start, strategy: Strategy::FedAvg, round: 1, codec }
}

fn flat(adapter: &Adapter) -> Vec<f32> {
    adapter.tensors().values().flat_map(|tensor| tensor.values.clone()).collect()
}

fn length(adapter: &Adapter) -> f64 {
    flat(adapter).iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn each_codec_loses_no_more_than_it_says() {
    let (start, delta) = (adapter(1), adapter(2));
    for (codec, most) in CODECS.into_iter().zip([0.0, 0.004, 0.01, 0.8]) {
        let form = form(&start, codec);
        let arrived = form.decode(&form.encode(&delta, start.rank())).unwrap();
        let share = length(&lost(&delta, &arrived)) / length(&delta);
        assert!(share <= most, "{codec:?} loses {share}");
        // What arrived is not changed by sending it again.
        let again = form.decode(&form.encode(&arrived, start.rank())).unwrap();
        assert!(length(&lost(&arrived, &again)) <= 1e-6 * length(&arrived), "{codec:?}");
    }
}

#[test]
fn what_is_lost_in_one_round_arrives_in_later_ones() {
    let (start, delta) = (adapter(1), adapter(2));
    for codec in [Codec::Int8, Codec::TopK { keep: 0.1 }] {
        let form = form(&start, codec);
        let mut owed = delta.delta(&delta);
        let mut arrived = owed.clone();
        for _ in 0..100 {
            let change = delta.plus(&owed);
            let now = form.decode(&form.encode(&change, start.rank())).unwrap();
            owed = lost(&change, &now);
            arrived = arrived.plus(&now);
        }
        let mean: Vec<f32> = flat(&arrived).iter().map(|sum| sum / 100.0).collect();
        for (mean, sent) in mean.iter().zip(flat(&delta)) {
            assert!((mean - sent).abs() < 0.1, "{codec:?}: {mean} of {sent}");
        }
    }
}

#[test]
fn half_the_factors_make_half_the_bytes_and_the_others_arrive_as_zero() {
    let (start, delta) = (adapter(1), adapter(2));
    let whole = form(&start, Codec::Bf16).encode(&delta, start.rank()).len();
    for round in [1, 2] {
        let strategy = Strategy::RoLora;
        let form = Form { strategy, round, ..form(&start, Codec::Bf16) };
        let bytes = form.encode(&delta, start.rank());
        assert!(bytes.len() < whole * 2 / 3, "{} of {whole}", bytes.len());
        for (name, tensor) in form.decode(&bytes).unwrap().tensors() {
            let zero = tensor.values.iter().all(|value| *value == 0.0);
            assert_eq!(zero, !strategy.trains(round, name), "{name} in round {round}");
        }
    }
}

#[test]
fn a_lower_rank_arrives_as_factors_that_are_zero_beyond_it() {
    let start = adapter(1);
    let form = Form { strategy: Strategy::FlexLora, ..form(&start, Codec::Float32) };
    let own = adapter(2).cut(2);
    let delta = own.delta(&start.cut(2));
    let bytes = form.encode(&delta, 2);
    assert!(bytes.len() < form.encode(&adapter(2), start.rank()).len());
    let arrived = start.plus(&form.decode(&bytes).unwrap());
    assert!(arrived.is_like(&start));
    for (name, tensor) in arrived.cut(2).tensors() {
        for (found, expected) in tensor.values.iter().zip(&own.tensors()[name].values) {
            assert!((found - expected).abs() < 1e-6, "{name}");
        }
    }
    let beyond = length(&arrived).powi(2) - length(&arrived.cut(2)).powi(2);
    assert!(beyond.abs() < 1e-9, "{beyond}");
}

#[test]
fn bytes_of_another_length_are_refused() {
    let start = adapter(1);
    for codec in CODECS {
        let form = form(&start, codec);
        let bytes = form.encode(&start, start.rank());
        for bytes in [&bytes[..bytes.len() - 1], &[], &[&bytes[..], &[0]].concat()] {
            let error = form.decode(bytes).unwrap_err().to_string();
            assert!(error.contains(&format!("{} bytes", bytes.len())), "{codec:?}: {error}");
        }
    }
}

#[test]
fn hostile_numbers_are_refused_by_place() {
    let start = adapter(1);
    let first = start.tensors().keys().next().unwrap().clone();
    let large = |index| DeltaError::TooLarge { name: first.clone(), index };
    let bf16 = form(&start, Codec::Bf16);
    let mut bytes = bf16.encode(&start, start.rank());
    bytes[2..4].copy_from_slice(&[0xc0, 0x7f]);
    assert_eq!(bf16.decode(&bytes), Err(large(1)), "NaN");

    let int8 = form(&start, Codec::Int8);
    let bytes = int8.encode(&start, start.rank());
    for scale in [f32::NAN, f32::INFINITY, -1.0, -0.0] {
        let bad = [&scale.to_le_bytes(), &bytes[4..]].concat();
        assert_eq!(int8.decode(&bad), Err(DeltaError::Block { block: 0 }), "{scale}");
    }
    let mut bad = bytes.clone();
    bad[4] = 0x80;
    assert_eq!(int8.decode(&bad), Err(DeltaError::Block { block: 0 }));
    let huge = [&f32::MAX.to_le_bytes(), &[1; 4][..], &bytes[8..]].concat();
    assert_eq!(int8.decode(&huge), Err(large(0)));

    let top = form(&start, Codec::TopK { keep: 0.25 });
    let bytes = top.encode(&start, start.rank());
    for place in [u32::MAX, 0] {
        let bad = [&bytes[..4], &place.to_le_bytes(), &bytes[8..]].concat();
        assert_eq!(top.decode(&bad), Err(DeltaError::Place { entry: 1 }), "{place}");
    }

    let flex = Form { strategy: Strategy::FlexLora, ..form(&start, Codec::Bf16) };
    let bytes = flex.encode(&start, start.rank());
    for rank in [0, 5, u32::MAX] {
        let bad = [&rank.to_le_bytes(), &bytes[4..]].concat();
        assert_eq!(flex.decode(&bad), Err(DeltaError::Rank { found: rank, max: 4 }));
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let start = adapter(1);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for codec in CODECS {
        for strategy in [Strategy::FedAvg, Strategy::FlexLora, Strategy::Ffa] {
            let form = Form { start: &start, strategy, round: 1, codec };
            let whole = form.encode(&start, start.rank());
            for _ in 0..200 {
                let mut bytes = whole.clone();
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
                if let Ok(delta) = form.decode(&bytes) {
                    assert!(delta.is_like(&start));
                }
            }
        }
    }
}

#[test]
fn golden_bytes() {
    let values = [1.0, -0.5, 0.0, 3.25];
    let encoded = |codec: Codec| codec.encode(&values);
    assert_eq!(encoded(Codec::Bf16), [0x80, 0x3f, 0x00, 0xbf, 0, 0, 0x50, 0x40]);
    let scale = (3.25_f32 / 127.0).to_le_bytes();
    assert_eq!(encoded(Codec::Int8), [&scale[..], &[39, 236, 0, 127]].concat());
    let kept = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &1.0_f32.to_le_bytes(), &3.25_f32.to_le_bytes()];
    assert_eq!(encoded(Codec::TopK { keep: 0.5 }), kept.concat());
}
