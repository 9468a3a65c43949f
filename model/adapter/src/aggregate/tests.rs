//! The algebra of every strategy, on small layers with seeded numbers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::mean::fedavg;
use super::*;
use crate::strategy::Server;
use crate::tensors::{HostTensor, Weights};

const RANK: usize = 4;

/// A linear layer of 7 outputs and 10 inputs and an embedding of 9 tokens, of rank 4, with seeded
/// numbers.
pub(crate) fn adapter(seed: u64) -> Adapter {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tensor = |shape: [usize; 2]| HostTensor {
        shape: shape.to_vec(),
        values: (0..shape[0] * shape[1]).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect(),
    };
    let tensors = [
        ("layer.lora_A.weight", tensor([RANK, 10])),
        ("layer.lora_B.weight", tensor([7, RANK])),
        ("embed_tokens.lora_embedding_A", tensor([RANK, 9])),
        ("embed_tokens.lora_embedding_B", tensor([5, RANK])),
    ];
    let named = |(name, tensor)| (format!("base_model.model.{name}"), tensor);
    Adapter::from_tensors(tensors.map(named).into_iter().collect::<Weights>())
}

/// Small changes of one direction, as members of one mind have, and one of a member that is not.
fn poisoned(start: &Adapter, factor: f32) -> Vec<Adapter> {
    let common = adapter(99).times(0.1);
    let honest = (0..6).map(|member| common.plus(&adapter(100 + member).times(0.01)));
    let liar = common.times(factor);
    let deltas: Vec<_> = honest.chain([liar]).collect();
    assert!(deltas.iter().all(|delta| delta.is_like(start)));
    deltas
}

fn weighted(deltas: &[Adapter]) -> Vec<(u64, &Adapter)> {
    deltas.iter().map(|delta| (8, delta)).collect()
}

/// BA of every layer.
fn products(adapter: &Adapter) -> Vec<Matrix> {
    let product = |layer: crate::strategy::LayerNames| {
        let [a, b] = [&layer.a, &layer.b].map(|name| Matrix::of(&adapter.tensors()[name]));
        b.times(&a)
    };
    layers(adapter).map(product).collect()
}

/// Σ share·BA of every layer.
fn mean_products(start: &Adapter, inputs: &[(u64, &Adapter)]) -> Vec<Matrix> {
    let shares = shares(start, inputs).unwrap();
    let mut mean: Option<Vec<Matrix>> = None;
    for ((_, delta), share) in inputs.iter().zip(shares) {
        let products = products(&start.plus(delta)).into_iter();
        let products = products
            .map(|product| Matrix::zeros(product.rows, product.columns).plus(share, &product));
        mean = Some(match mean.take() {
            None => products.collect(),
            Some(sum) => sum.into_iter().zip(products).map(|(s, p)| s.plus(1.0, &p)).collect(),
        });
    }
    mean.unwrap()
}

/// ‖a − b‖ / ‖b‖ over all layers.
fn apart(a: &[Matrix], b: &[Matrix]) -> f64 {
    let square = |matrix: &Matrix| matrix::dot(&matrix.values, &matrix.values);
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(&a.clone().plus(-1.0, b))).sum();
    (difference / b.iter().map(square).sum::<f64>()).sqrt()
}

fn run(strategy: Strategy, start: &Adapter, inputs: &[(u64, &Adapter)]) -> Aggregate {
    aggregate(&strategy, &Committed::plain(start.clone()), inputs).unwrap()
}

#[test]
fn the_naive_error_is_what_the_mean_factors_miss() {
    let start = adapter(1);
    let deltas = [adapter(2), adapter(3), adapter(4)];
    let inputs = [(3, &deltas[0]), (1, &deltas[1]), (9, &deltas[2])];
    let found = run(Strategy::FedAvg, &start, &inputs);
    let (naive, exact) = (products(&found.committed.adapter), mean_products(&start, &inputs));
    for ((naive, exact), layer) in naive.into_iter().zip(&exact).zip(found.naive_error) {
        let missed = exact.clone().plus(-1.0, &naive);
        let norm = |matrix: &Matrix| matrix::dot(&matrix.values, &matrix.values).sqrt();
        assert!((f64::from(layer.error) / norm(&missed) - 1.0).abs() < 1e-5, "{layer:?}");
        assert!((f64::from(layer.norm) / norm(exact) - 1.0).abs() < 1e-6, "{layer:?}");
    }
}

#[test]
fn one_shared_factor_makes_the_average_exact() {
    let start = adapter(1);
    for (strategy, round) in [(Strategy::Ffa, 1), (Strategy::RoLora, 1), (Strategy::RoLora, 2)] {
        let sent: Vec<_> = (2..6)
            .map(|seed| {
                let form = crate::delta::Form {
                    start: &start,
                    strategy,
                    round,
                    codec: crate::delta::Codec::Float32,
                };
                form.decode(&form.encode(&adapter(seed), RANK)).unwrap()
            })
            .collect();
        let found = run(strategy, &start, &weighted(&sent));
        assert!(found.naive_error.iter().all(|layer| layer.error == 0.0), "{strategy:?}");
        let exact = mean_products(&start, &weighted(&sent));
        assert!(apart(&products(&found.committed.adapter), &exact) < 1e-6);
    }
}

#[test]
fn fedex_is_exact_with_what_it_adds_to_the_base_round_after_round() {
    let start = adapter(1);
    let mut committed = Committed::plain(start.clone());
    let mut added: Vec<Matrix> =
        products(&start).iter().map(|p| Matrix::zeros(p.rows, p.columns)).collect();
    for round in 0..3 {
        let deltas: Vec<_> = (0..4).map(|member| adapter(10 * round + member + 2)).collect();
        let inputs = weighted(&deltas);
        let exact: Vec<_> = mean_products(&committed.adapter, &inputs)
            .into_iter()
            .zip(&added)
            .map(|(mean, added)| mean.plus(1.0, added))
            .collect();
        committed = aggregate(&Strategy::FedEx, &committed, &inputs).unwrap().committed;
        let residuals = committed.residuals();
        added = layers(&start).map(|layer| Matrix::of(&residuals[&layer.path])).collect();
        let whole: Vec<_> = products(&committed.adapter)
            .into_iter()
            .zip(&added)
            .map(|(product, added)| product.plus(1.0, added))
            .collect();
        assert!(apart(&whole, &exact) < 1e-6, "round {round}");
    }
}

#[test]
fn flexlora_is_the_best_split_of_the_mean_product() {
    let start = adapter(1);
    let deltas: Vec<_> = (2..7).map(adapter).collect();
    let inputs = weighted(&deltas);
    let exact = mean_products(&start, &inputs);
    let found = products(&run(Strategy::FlexLora, &start, &inputs).committed.adapter);
    let naive = products(&fedavg(&start, &inputs).unwrap());
    for ((found, exact), naive) in found.into_iter().zip(exact).zip(naive) {
        let all = exact.svd(10).values;
        let least = matrix::dot(&all[RANK..], &all[RANK..]).sqrt() / matrix::dot(&all, &all).sqrt();
        let missed = apart(&[found], std::slice::from_ref(&exact));
        assert!((missed - least).abs() < 1e-6, "misses {missed}, could miss {least}");
        assert!(missed < apart(&[naive], &[exact]));
    }
}

#[test]
fn a_mean_product_of_a_low_rank_is_split_without_loss_and_keeps_rows_that_can_learn() {
    let start = adapter(1);
    let form = crate::delta::Form {
        start: &start,
        strategy: Strategy::FlexLora,
        round: 1,
        codec: crate::delta::Codec::Float32,
    };
    // Everyone of rank 2, and of one mind: the mean has rank 2, of 4.
    let delta = adapter(2).cut(2).delta(&start.cut(2));
    let sent = form.decode(&form.encode(&delta, 2)).unwrap();
    let inputs = [(8, &sent), (8, &sent)];
    let found = run(Strategy::FlexLora, &start, &inputs).committed.adapter;
    assert!(apart(&products(&found), &mean_products(&start, &inputs)) < 1e-6);
    let a = &found.tensors()["base_model.model.layer.lora_A.weight"];
    assert_eq!(
        a.values[20..],
        start.tensors()["base_model.model.layer.lora_A.weight"].values[20..]
    );
}

#[test]
fn robust_rules_stay_where_the_honest_are_and_fedavg_does_not() {
    let start = adapter(1);
    for factor in [100.0, -100.0] {
        let deltas = poisoned(&start, factor);
        let inputs = weighted(&deltas);
        let honest = mean_products(&start, &inputs[..6]);
        let missed =
            |strategy| apart(&products(&run(strategy, &start, &inputs).committed.adapter), &honest);
        assert!(missed(Strategy::FedAvg) > 0.5, "{}", missed(Strategy::FedAvg));
        for (strategy, most) in [
            (Strategy::NormClip { factor: 1.0 }, 0.2),
            (Strategy::TrimmedMean { trim: 1 }, 0.1),
            (Strategy::GeometricMedian, 0.1),
            (Strategy::MultiKrum { f: 1 }, 0.1),
        ] {
            assert!(missed(strategy) < most, "{strategy:?} at {factor}: {}", missed(strategy));
        }
    }
}

#[test]
fn robust_rules_do_not_ask_how_much_a_member_says_it_worked() {
    let start = adapter(1);
    let deltas = poisoned(&start, 50.0);
    let mut inputs = weighted(&deltas);
    inputs[6].0 = 1_000_000;
    for strategy in [
        Strategy::NormClip { factor: 1.0 },
        Strategy::TrimmedMean { trim: 1 },
        Strategy::GeometricMedian,
        Strategy::MultiKrum { f: 1 },
    ] {
        let boasting = run(strategy, &start, &inputs).committed;
        assert_eq!(boasting, run(strategy, &start, &weighted(&deltas)).committed, "{strategy:?}");
    }
}

#[test]
fn alone_and_alike_members_are_aggregated_to_what_they_sent() {
    let start = adapter(1);
    let delta = adapter(2).times(0.5);
    let own = products(&start.plus(&delta));
    for strategy in [
        Strategy::FedAvg,
        Strategy::FedEx,
        Strategy::FlexLora,
        Strategy::NormClip { factor: 1.0 },
        Strategy::TrimmedMean { trim: 1 },
        Strategy::GeometricMedian,
        Strategy::MultiKrum { f: 1 },
    ] {
        for members in 1..5 {
            let inputs = vec![(3, &delta); members];
            let found = run(strategy, &start, &inputs).committed.adapter;
            assert!(apart(&products(&found), &own) < 1e-6, "{strategy:?} of {members}");
        }
    }
}

#[test]
fn fedadam_moves_by_the_rate_where_everyone_agrees_and_goes_on_from_its_moments() {
    let start = adapter(1);
    let delta = adapter(2).times(10.0);
    for server in [Server::Adam, Server::Yogi] {
        let strategy = Strategy::FedOpt { server, rate: 0.25 };
        let first = run(strategy, &start, &[(1, &delta), (2, &delta)]).committed;
        for (name, tensor) in first.adapter.delta(&start).tensors() {
            for (moved, change) in tensor.values.iter().zip(&delta.tensors()[name].values) {
                // m/√v is 0.1Δ / 0.1|Δ| in the first step.
                assert!(change.abs() < 0.3 || (moved.abs() - 0.25).abs() < 0.02, "{moved}");
                assert!(moved * change >= 0.0);
            }
        }
        let second = aggregate(&strategy, &first, &[(1, &delta)]).unwrap().committed;
        let fresh = run(strategy, &first.adapter, &[(1, &delta)]).committed;
        assert_ne!(second.adapter, fresh.adapter, "the moments count");
    }
}

#[test]
fn momentum_takes_half_of_the_last_step_again_and_is_fedavg_where_it_is_none() {
    let (start, delta) = (adapter(1), adapter(2));
    let inputs = [(1, &delta), (2, &delta)];
    let strategy = Strategy::FedAvgM { momentum: 0.5 };
    let first = run(strategy, &start, &inputs).committed;
    let second = aggregate(&strategy, &first, &inputs).unwrap().committed;
    // v is Δ, then 1.5 Δ; a step is Δ + v/2.
    let expected = [start.plus(&delta.times(1.5)), start.plus(&delta.times(3.25))];
    for (found, expected) in [first.adapter, second.adapter].iter().zip(&expected) {
        let apart = found.delta(expected);
        let values = apart.tensors().values().flat_map(|tensor| &tensor.values);
        assert!(values.clone().all(|value| value.abs() < 1e-5));
    }
    let none = run(Strategy::FedAvgM { momentum: 0.0 }, &start, &inputs).committed;
    assert_eq!(none.adapter, run(Strategy::FedAvg, &start, &inputs).committed.adapter);
}

#[test]
fn an_attacker_of_the_largest_numbers_that_pass_stops_nobody_in_any_round() {
    let start = adapter(1);
    let huge = Adapter::from_tensors(
        (start.tensors().iter())
            .map(|(name, tensor)| {
                let values = vec![1e6; tensor.values.len()];
                (name.clone(), HostTensor { shape: tensor.shape.clone(), values })
            })
            .collect(),
    );
    let deltas = [adapter(2), adapter(3), huge, adapter(4), adapter(5)];
    for strategy in ALL {
        let mut committed = Committed::plain(start.clone());
        for _ in 0..12 {
            committed = aggregate(&strategy, &committed, &weighted(&deltas)).unwrap().committed;
        }
    }
}

#[test]
fn another_adapters_tensors_are_refused() {
    let start = Committed::plain(adapter(1));
    let other = adapter(2).cut(2);
    for strategy in ALL {
        let error = aggregate(&strategy, &start, &[(1, &start.adapter), (1, &other)]);
        assert_eq!(error, Err(AggregateError::Tensors { index: 1 }));
        assert_eq!(aggregate(&strategy, &start, &[]), Err(AggregateError::Empty));
    }
}

/// Every strategy with other arithmetic.
const ALL: [Strategy; 10] = [
    Strategy::FedAvg,
    Strategy::FedAvgM { momentum: 0.5 },
    Strategy::FedOpt { server: Server::Adam, rate: 0.05 },
    Strategy::FedOpt { server: Server::Yogi, rate: 0.05 },
    Strategy::FedEx,
    Strategy::FlexLora,
    Strategy::NormClip { factor: 1.0 },
    Strategy::TrimmedMean { trim: 1 },
    Strategy::GeometricMedian,
    Strategy::MultiKrum { f: 1 },
];

/// All members must get these bits, whatever machine they have.
#[test]
fn golden_bits_of_every_strategy() {
    let start = adapter(1);
    let deltas: Vec<_> = (2..8).map(|seed| adapter(seed).times(0.1)).collect();
    let inputs: Vec<_> = deltas.iter().zip([8, 8, 7, 8, 3, 8]).map(|(d, w)| (w, d)).collect();
    let mut found = Vec::new();
    for strategy in ALL {
        // Two rounds, so that what is committed beside the adapter counts.
        let first = run(strategy, &start, &inputs).committed;
        let second = aggregate(&strategy, &first, &inputs[..5]).unwrap();
        let bits = second
            .committed
            .to_bytes()
            .into_iter()
            .chain(second.naive_error.iter().flat_map(|layer| layer.error.to_le_bytes()));
        found.push(bits.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }));
    }
    let expected = [
        0xe7df_69b9_a92e_0f0b,
        0xfa14_9606_40ac_2569,
        0xa25f_7206_f09e_706a,
        0x2bce_46a8_032e_edb1,
        0x4f65_ff7d_2bac_fa31,
        0xbf9e_e74f_7d04_48e4,
        0x3373_f1ba_b47a_5b1d,
        0xc2ac_cfef_f1cc_c034,
        0x81b8_a75d_1d05_0910,
        0xe528_f408_532e_246a,
    ];
    assert_eq!(found, expected, "{found:#x?}");
}

#[test]
fn frozen_halves_are_those_that_start_random() {
    let (a, b) = ("base_model.model.x.lora_A.weight", "base_model.model.x.lora_B.weight");
    let embedding = "base_model.model.embed_tokens.lora_embedding_A";
    for round in 1..5 {
        assert!(Strategy::Ffa.trains(round, b) && !Strategy::Ffa.trains(round, a));
        assert!(Strategy::Ffa.trains(round, embedding));
    }
    let trained = [1, 2, 3].map(|round| Strategy::RoLora.trains(round, b));
    assert_eq!(trained, [true, false, true]);
    let trained = [1, 2, 3].map(|round| Strategy::RoLora.trains(round, a));
    assert_eq!(trained, [false, true, false]);
}
