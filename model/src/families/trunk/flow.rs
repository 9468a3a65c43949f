//! Flow matching: the loss of drawings, and the steps from noise to a drawing.
//!
//! A grid is noised along the straight path (1 - level) clean + level noise. The released form
//! predicts the velocity, noise - clean; the plain one the clean grid, which gives the velocity.

use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::families::trunk::variant::FlowRule;
use crate::families::trunk::{Trunk, TrunkConfig};

/// The random part of a flow-matching step: a noise level and grid a target, dropped conditions.
pub struct Noise {
    /// Noise levels in 0..1, one a target.
    pub levels: Vec<f32>,
    /// Standard normal values, as many as the targets have.
    pub values: Vec<f32>,
    /// One a row of captions: 0 drops its condition, 1 keeps it.
    pub kept: Vec<f32>,
}

impl Noise {
    /// Draws noise for `captions` rows, `times` targets each, of `size` values a target.
    pub fn draw(
        rng: &mut ChaCha8Rng,
        flow: &FlowRule,
        [captions, times, size]: [usize; 3],
    ) -> Noise {
        let targets = captions * times;
        Noise {
            levels: (0..targets).map(|_| (flow.level)(rng.random::<f32>())).collect(),
            values: (0..targets * size).map(|_| rng.sample(StandardNormal)).collect(),
            kept: (0..captions)
                .map(|_| if rng.random::<f32>() < DROPPED { 0.0 } else { 1.0 })
                .collect(),
        }
    }
}

/// `count` standard normal numbers for a drawing to start from: stream `stream` of the seed.
pub fn start_noise(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    (0..count).map(|_| rng.sample::<f32, _>(StandardNormal)).collect()
}

impl Trunk {
    /// The mean squared error of what is predicted.
    ///
    /// # Shapes
    /// - states: `[captions, queries, hidden]`
    /// - targets: `[captions, places, channels]`; each target is noised `levels / captions` times
    pub fn flow_loss(
        &self,
        states: Tensor<3>,
        targets: Tensor<3>,
        noise: Noise,
        config: &TrunkConfig,
    ) -> Tensor<1> {
        let device = targets.device();
        let [captions, places, channels] = targets.dims();
        let times = noise.levels.len() / captions;
        let rows = captions * times;
        let column = |values: Vec<f32>, rows: usize| {
            Tensor::<3>::from_data(TensorData::new(values, [rows, 1, 1]), &device)
        };
        let kept = column(noise.kept, captions);
        let condition = self.diffusion.condition(states.mul(kept)).repeat(times);
        let targets =
            targets.unsqueeze_dim::<4>(1).repeat_dim(1, times).reshape([rows, places, channels]);
        let level = column(noise.levels.clone(), rows);
        let values = TensorData::new(noise.values, [rows, places, channels]);
        let values = Tensor::<3>::from_data(values, &device);
        let clean = level.clone().neg().add_scalar(1.0);
        let noised = targets.clone().mul(clean).add(values.clone().mul(level));
        let levels: Vec<f32> = noise.levels.iter().map(|level| level * 1000.0).collect();
        let predicted = self.diffusion.forward(noised, &levels, &condition, &config.diffusion);
        predicted.sub((config.diffusion.variant.flow.target)(targets, values)).square().mean()
    }

    /// Euler steps from noise to a grid, guided away from the grid without a condition.
    ///
    /// # Shapes
    /// - states: `[batch, queries, hidden]`
    /// - noise and output: `[batch, places, channels]`
    pub fn denoise(&self, states: Tensor<3>, noise: Tensor<3>, config: &TrunkConfig) -> Tensor<3> {
        let flow = &config.diffusion.variant.flow;
        let [batch, _, _] = noise.dims();
        let both = Tensor::cat(vec![states.zeros_like(), states], 0);
        let condition = self.diffusion.condition(both);
        let level = |step: usize| (1.0 - step as f64 / flow.steps as f64) as f32;
        let mut x = noise;
        for step in 0..flow.steps {
            let twice = Tensor::cat(vec![x.clone(), x.clone()], 0);
            let times = vec![(flow.time)(level(step)); 2 * batch];
            let said = self.diffusion.forward(twice, &times, &condition, &config.diffusion);
            let without = said.clone().narrow(0, 0, batch);
            let with = said.narrow(0, batch, batch);
            let said = without.clone().add(with.sub(without).mul_scalar(GUIDANCE));
            x = (flow.step)(x, said, [level(step), level(step + 1)]);
        }
        x
    }
}

/// Share of captions whose condition is dropped, for guidance's unconditional model (BLIP3o: 0.1).
const DROPPED: f32 = 0.1;
/// How far a drawing is pushed towards its caption; BLIP3o's.
const GUIDANCE: f32 = 3.0;
