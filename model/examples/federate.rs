//! Measures a base, and what a federation in one process makes of it.
//!
//! `federate BASE [key=value ...]` prints the painter's ceiling, the base's scores, and the scores
//! of every few rounds of a federation over a Dirichlet partition. `members=1` is centralised
//! training.
//!
//! `strategy=NAME[:NUMBER],..`, `compression=none,bf16,int8,top-k` and
//! `attack=nobody,absent,scaled,flipped` run every combination, one after the other: the last
//! member sends its delta, nothing, ten times it, or minus ten times. `peft=DIR` writes every
//! adapter that is scored for Python's PEFT, and `sheets=DIR` its drawings.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use witan_model::adapter::Adapter;
use witan_model::aggregate::aggregate;
use witan_model::committed::Committed;
use witan_model::data::partition::{Partition, partition};
use witan_model::data::scenes::{FederationSplit, federation_split};
use witan_model::data::{CaptionExample, Dataset, Picture};
use witan_model::delta::{Codec, Form, lost};
use witan_model::device::Device;
use witan_model::evaluate::geneval::Tag;
use witan_model::evaluate::geneval::detector::detect;
use witan_model::families::tiny::Umm;
use witan_model::families::tiny::base::Base;
use witan_model::families::tiny::shard::EncodedShard;
use witan_model::sheet::{Sheet, Tile};
use witan_model::strategy::{Server, Strategy};
use witan_model::train::{Schedule, TrainPlan, train};
use witan_model::{LoraConfig, peft};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Trial {
    members: usize,
    scenes: usize,
    rounds: usize,
    every: usize,
    alpha: f64,
    prompts: usize,
    questions: usize,
    seed: u64,
    sheets: Option<PathBuf>,
    peft: Option<PathBuf>,
    strategies: Vec<Strategy>,
    codecs: Vec<Codec>,
    attacks: Vec<Attack>,
    plan: TrainPlan,
    lora: LoraConfig,
}

/// What the last member sends instead of its delta.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attack {
    Nobody,
    Absent,
    Times(f32),
}

/// One federation of the trial, and what it works with.
struct Federation<'a> {
    trial: &'a Trial,
    strategy: Strategy,
    codec: Codec,
    attack: Attack,
    shards: &'a [EncodedShard],
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().expect("usage: federate BASE [key=value ...]");
    let mut trial = Trial {
        members: 16,
        scenes: 960,
        rounds: 5,
        every: 5,
        alpha: 0.5,
        prompts: 240,
        questions: 800,
        seed: 11,
        sheets: None,
        peft: None,
        strategies: vec![Strategy::FedAvg],
        codecs: vec![Codec::Float32],
        attacks: vec![Attack::Nobody],
        plan: TrainPlan::default(),
        lora: LoraConfig::default(),
    };
    arguments.for_each(|argument| trial.set(&argument));
    let base = match base.as_str() {
        "embedded" => Base::embedded(),
        folder => Base::from_dir(Path::new(folder)).expect("the folder holds a base"),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread starts");
    pool.install(|| trial.run(&base));
}

impl Trial {
    fn set(&mut self, argument: &str) {
        let (key, value) = argument.split_once('=').expect("arguments are key=value");
        let number = || value.parse::<f64>().expect("a number");
        match key {
            "members" => self.members = number() as usize,
            "scenes" => self.scenes = number() as usize,
            "rounds" => self.rounds = number() as usize,
            "every" => self.every = number() as usize,
            "alpha" => self.alpha = number(),
            "prompts" => self.prompts = number() as usize,
            "questions" => self.questions = number() as usize,
            "seed" => self.seed = number() as u64,
            "steps" => self.plan.local_steps = number() as usize,
            "lr" => self.plan.schedule.learning_rate = number(),
            "lr_final" => self.plan.schedule.learning_rate_final = number(),
            "bq" => self.plan.batch_questions = number() as usize,
            "bc" => self.plan.batch_captions = number() as usize,
            "rank" => self.lora.rank = number() as usize,
            "lora_alpha" => self.lora.alpha = number(),
            "strategy" => self.strategies = value.split(',').map(strategy).collect(),
            "compression" => self.codecs = value.split(',').map(codec).collect(),
            "attack" => self.attacks = value.split(',').map(attack).collect(),
            "targets" => self.lora.targets.extend(value.split(',').map(String::from)),
            "sheets" => self.sheets = Some(PathBuf::from(value)),
            "peft" => self.peft = Some(PathBuf::from(value)),
            _ => panic!("unknown key {key}"),
        }
    }

    fn run(&self, base: &Base) {
        let mut umm = Umm::new(base, &self.lora, &Device::flex()).expect("the base loads");
        let split = federation_split(self.seed, 1, self.scenes);
        let test = EncodedShard::encode(&umm, &split.test);
        self.ceiling(&umm, &split.test);
        let start = Committed::plain(Adapter::init(&base.adaptable(), &self.lora, 5));
        println!("adapter {} parameters", start.adapter.parameter_count());
        umm.set_committed(&start).expect("the adapter fits");
        self.report("base", &umm, &split, &test);
        let shards: Vec<EncodedShard> =
            partition(&split.train, self.members, Partition::Dirichlet(self.alpha), self.seed)
                .expect("there is data for every member")
                .iter()
                .map(|part| EncodedShard::encode(&umm, part))
                .collect();
        for &strategy in &self.strategies {
            for &codec in &self.codecs {
                for &attack in &self.attacks {
                    let federation =
                        Federation { trial: self, strategy, codec, attack, shards: &shards };
                    println!("\n{strategy:?} {codec:?} {attack:?}");
                    federation.run(&mut umm, start.clone(), &mut |name, umm| {
                        self.report(name, umm, &split, &test);
                    });
                }
            }
        }
    }

    fn ceiling(&self, umm: &Umm, data: &Dataset) {
        let count = data.captions.len().min(self.prompts);
        let pictures: Vec<_> = data.captions[..count]
            .iter()
            .map(|caption| data.pictures[caption.picture].clone())
            .collect();
        let passed = |pictures: &[Picture]| {
            let pairs = pictures.iter().zip(&data.captions);
            let rule =
                |caption: &CaptionExample| caption.prompt.clone().expect("scenes have rules");
            pairs.filter(|(picture, caption)| rule(caption).is_satisfied(&detect(picture))).count()
        };
        let rebuilt = umm.reconstruct(&pictures);
        self.sheet(
            "ceiling",
            &pictures
                .iter()
                .zip(&rebuilt)
                .take(32)
                .flat_map(|(a, b)| [a.clone(), b.clone()])
                .collect::<Vec<_>>(),
        );
        println!(
            "ceiling: pictures {}/{count}, rebuilt {}/{count}",
            passed(&pictures),
            passed(&rebuilt)
        );
    }

    fn sheet(&self, name: &str, pictures: &[Picture]) {
        if let Some(folder) = &self.sheets {
            let tiles = pictures.iter().cloned().map(Tile::plain).collect();
            let sheet = Sheet { tiles, columns: 8, scale: 1, ..Sheet::default() };
            let png = sheet.to_png().expect("pictures are whole");
            std::fs::write(folder.join(format!("{name}.png")), png)
                .expect("the sheet can be written");
        }
    }

    fn report(&self, name: &str, umm: &Umm, split: &FederationSplit, test: &EncodedShard) {
        if let Some(folder) = &self.peft {
            let written = peft::export(&folder.join(name), &umm.adapter(), &self.lora);
            written.expect("the adapter can be written");
        }
        let began = Instant::now();
        let count = split.test.questions.len().min(self.questions);
        let mut asked = [[0usize; 2]; 2];
        for (question, answer) in split.test.questions.iter().zip(umm.answer_batch(test, 0..count))
        {
            let cell = &mut asked[usize::from(question.is_new)];
            cell[0] += usize::from(question.answer == answer);
            cell[1] += 1;
        }
        let answering = began.elapsed().as_secs_f64();
        let stride = (split.prompts.len() / self.prompts.max(1)).max(1);
        let cases: Vec<_> = split.prompts.iter().step_by(stride).collect();
        let captions: Vec<&str> = cases.iter().map(|case| case.prompt.prompt.as_str()).collect();
        let drawings = umm.draw(&captions, 1).expect("the words are known");
        self.sheet(name, &drawings[..drawings.len().min(64)]);
        let mut drawn = [[0usize; 2]; 2];
        let mut tags: Vec<(Tag, [usize; 2])> = Tag::ALL.iter().map(|tag| (*tag, [0, 0])).collect();
        for (case, drawing) in cases.iter().zip(&drawings) {
            let right = usize::from(case.prompt.is_satisfied(&detect(drawing)));
            let counters = tags.iter_mut().filter(|(tag, _)| *tag == case.prompt.tag);
            for cell in [&mut drawn[usize::from(case.is_new)]]
                .into_iter()
                .chain(counters.map(|(_, cell)| cell))
            {
                cell[0] += right;
                cell[1] += 1;
            }
        }
        let share = |cell: [usize; 2]| 100.0 * cell[0] as f64 / cell[1].max(1) as f64;
        let both = |cells: [[usize; 2]; 2]| {
            let all = [cells[0][0] + cells[1][0], cells[0][1] + cells[1][1]];
            format!("{:.1} (old {:.1}, new {:.1})", share(all), share(cells[0]), share(cells[1]))
        };
        let tags: Vec<String> =
            tags.iter().map(|(tag, cell)| format!("{} {:.0}", tag.name(), share(*cell))).collect();
        println!(
            "{name}: vqa {} drawings {} [{}] {answering:.1}s + {:.1}s",
            both(asked),
            both(drawn),
            tags.join(", "),
            began.elapsed().as_secs_f64() - answering
        );
    }
}

impl Federation<'_> {
    fn run(&self, umm: &mut Umm, start: Committed, report: &mut dyn FnMut(&str, &Umm)) {
        let Trial { rounds, every, lora, .. } = self.trial;
        let form = self.form(&start.adapter, 1);
        println!("delta {} bytes", form.encode(&start.adapter, lora.rank).len());
        let mut owed = vec![start.adapter.times(0.0); self.shards.len()];
        let (mut global, mut spent) = (start, 0.0);
        for round in 1..=*rounds {
            let began = Instant::now();
            let (losses, deltas) = self.round(umm, &global, &mut owed, round);
            spent += began.elapsed().as_secs_f64();
            let inputs: Vec<(u64, &Adapter)> = deltas.iter().map(|delta| (1, delta)).collect();
            let began = Instant::now();
            let found = aggregate(&self.strategy, &global, &inputs).expect("it aggregates");
            let (mut error, mut norm) = (0.0, 0.0);
            for layer in &found.naive_error {
                error += layer.error * layer.error;
                norm += layer.norm * layer.norm;
            }
            println!(
                "round {round} loss {losses:.4} trained {spent:.1}s aggregated {:.2}s naive {:.1} %",
                began.elapsed().as_secs_f64(),
                100.0 * (error / norm).sqrt()
            );
            global = found.committed;
            if round % every == 0 || round == *rounds {
                umm.set_committed(&global).expect("the adapter fits");
                report(&format!("round {round}"), umm);
            }
        }
    }

    /// The mean loss, and the deltas as they arrive.
    fn round(
        &self,
        umm: &mut Umm,
        start: &Committed,
        owed: &mut [Adapter],
        round: usize,
    ) -> (f32, Vec<Adapter>) {
        let Trial { plan, rounds, lora, .. } = self.trial;
        let form = self.form(&start.adapter, round);
        let (mut losses, mut deltas) = (0.0, Vec::new());
        umm.set_committed(start).expect("the adapter fits");
        for (member, shard) in self.shards.iter().enumerate() {
            let steps = plan.local_steps;
            let schedule = Schedule {
                done: ((round - 1) * steps) as u64,
                total: (rounds * steps) as u64,
                ..plan.schedule
            };
            let seed = (round * 1000 + member) as u64;
            let (strategy, round) = (self.strategy, round as u64);
            let plan = TrainPlan { seed, schedule, strategy, round, ..plan.clone() };
            let trained =
                train(umm, &start.adapter, shard, &plan, &mut |_| ControlFlow::Continue(()))
                    .expect("the shard trains")
                    .expect("nothing stops it");
            losses += trained.loss / self.shards.len() as f32;
            let change = trained.adapter.delta(&start.adapter).plus(&owed[member]);
            let sent = match self.attack {
                Attack::Absent if member + 1 == self.shards.len() => continue,
                Attack::Times(factor) if member + 1 == self.shards.len() => change.times(factor),
                _ => change.clone(),
            };
            let bytes = form.encode(&sent, lora.rank);
            let arrived = form.decode(&bytes).expect("what was encoded decodes");
            if self.codec.owes() && self.strategy.keeps_factors() {
                owed[member] = lost(&sent, &arrived);
            }
            deltas.push(arrived);
        }
        (losses, deltas)
    }

    fn form<'a>(&self, start: &'a Adapter, round: usize) -> Form<'a> {
        Form { start, strategy: self.strategy, round: round as u64, codec: self.codec }
    }
}

fn attack(text: &str) -> Attack {
    match text {
        "nobody" => Attack::Nobody,
        "absent" => Attack::Absent,
        "scaled" => Attack::Times(10.0),
        "flipped" => Attack::Times(-10.0),
        factor => Attack::Times(factor.parse().expect("a number")),
    }
}

/// `name` or `name:number`.
fn strategy(text: &str) -> Strategy {
    let (name, number) = text.split_once(':').unwrap_or((text, ""));
    let number = |default: f64| match number {
        "" => default,
        number => number.parse().expect("a number"),
    };
    match name {
        "fedavg" => Strategy::FedAvg,
        "fedprox" => Strategy::FedProx { mu: number(0.01) },
        "fedavgm" => Strategy::FedAvgM { momentum: number(0.5) },
        "fedadam" => Strategy::FedOpt { server: Server::Adam, rate: number(0.05) },
        "fedyogi" => Strategy::FedOpt { server: Server::Yogi, rate: number(0.05) },
        "ffa" => Strategy::Ffa,
        "rolora" => Strategy::RoLora,
        "fedex" => Strategy::FedEx,
        "flexlora" => Strategy::FlexLora,
        "norm-clip" => Strategy::NormClip { factor: number(1.0) },
        "trimmed-mean" => Strategy::TrimmedMean { trim: number(1.0) as usize },
        "geometric-median" => Strategy::GeometricMedian,
        "multi-krum" => Strategy::MultiKrum { f: number(1.0) as usize },
        _ => panic!("unknown strategy {name}"),
    }
}

fn codec(text: &str) -> Codec {
    match text {
        "none" => Codec::Float32,
        "bf16" => Codec::Bf16,
        "int8" => Codec::Int8,
        "top-k" => Codec::TopK { keep: 0.1 },
        _ => panic!("unknown compression {text}"),
    }
}
