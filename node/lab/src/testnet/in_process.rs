//! A testnet in one process: the jobs of its members without network, votes or ledger, for trying
//! strategies, codecs and attacks. It trains and aggregates byte for byte what processes commit
//! when every update arrives in time.

use std::str::FromStr;
use std::time::Instant;

use tokio::sync::mpsc;
use witan_adapter::peft;
use witan_files::Blobs;
use witan_home::settings::Settings;
use witan_home::{Failure, FailureKind, Home};
use witan_node::driver::unix_ms;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_node::jobs::error_feedback::ErrorFeedback;
use witan_node::jobs::train::Places;
use witan_node::jobs::{self, Jobs, Task};
use witan_protocol::digest::BlobRef;
use witan_protocol::io::{Aggregate, AggregateInput, Input, JobId, Notice};
use witan_protocol::member::Round;
use witan_protocol::wire::LayerError;

use super::report::RoundRow;
use super::{Testnet, interrupted};
use crate::event::{Event, Work};

/// What the last member sends instead of its delta.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attack {
    /// Nothing.
    Absent,
    /// So many times its delta.
    Times(f32),
}

/// The members' jobs, whose events come through one channel.
struct Members {
    jobs: Vec<Jobs>,
    events: mpsc::Receiver<(usize, jobs::Event)>,
    blobs: Blobs,
}

/// What a member's training gave: its delta, and how many examples it saw.
type Trained = Option<(BlobRef, u64)>;

impl FromStr for Attack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "absent" => Ok(Self::Absent),
            "scaled" => Ok(Self::Times(10.0)),
            "flipped" => Ok(Self::Times(-10.0)),
            factor => factor.parse().map(Self::Times).map_err(|_| {
                format!("expected absent, scaled, flipped or a factor, found {factor}")
            }),
        }
    }
}

impl Testnet {
    /// Runs every round, and exports the adapter in the end.
    pub(super) async fn federate_in_process(
        &mut self,
        attack: Option<Attack>,
    ) -> Result<Vec<RoundRow>, Failure> {
        let mut members = self.start_members()?;
        let mut start = members.blobs.put(&self.model.aggregation.initial.to_bytes())?;
        let mut rows = Vec::new();
        for round in 1..=self.homes.spec.cohort.rounds {
            let (result, row) = self.round(&mut members, Round(round), start, attack).await?;
            rows.push(row);
            start = result;
            self.evaluated = round;
            self.evaluator.evaluate(round, members.blobs.read(&start)?);
        }
        for index in 0..members.jobs.len() {
            self.node_says(index, NodeEvent::Protocol { notice: Notice::Finished });
        }
        let committed = self.model.aggregation.committed(&members.blobs.read(&start)?);
        let folder = self.homes.folder.path(ADAPTER);
        peft::export(&folder, &committed.map_err(Failure::input)?.adapter, &self.model.lora)
            .map_err(Failure::environment)?;
        Ok(rows)
    }

    fn start_members(&mut self) -> Result<Members, Failure> {
        let blobs = Blobs::open(self.homes.folder.path("blobs"))?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut jobs = Vec::new();
        for index in 0..self.homes.spec.cohort.nodes {
            let home = Home::at(self.homes.home(index));
            let settings = Settings::read(&home.settings_file())?;
            let feedback = ErrorFeedback::within(home.owed());
            let places = Places { blobs: blobs.clone(), feedback, targets: home.targets() };
            let (member, mut says) =
                Jobs::start(self.model.clone(), &self.federation, &settings, places)?;
            jobs.push(member);
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(event) = says.recv().await {
                    if sender.send((index, event)).await.is_err() {
                        return;
                    }
                }
            });
            self.note(&Event::Started { node: index });
        }
        Ok(Members { jobs, events, blobs })
    }

    /// One round: all train, one aggregates.
    async fn round(
        &mut self,
        members: &mut Members,
        round: Round,
        start: BlobRef,
        attack: Option<Attack>,
    ) -> Result<(BlobRef, RoundRow), Failure> {
        let began = Instant::now();
        let mut trained = self.train(members, round, start).await?;
        self.attack(members, round, start, (attack, &mut trained))?;
        let train_s = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let Aggregate { result, naive_error } =
            self.aggregate(members, round, start, &trained).await?;
        let overhead_s = began.elapsed().as_secs_f64();
        let squares = |of: fn(&LayerError) -> f32| -> f32 {
            naive_error.iter().map(|layer| of(layer).powi(2)).sum()
        };
        let naive = 100.0 * (squares(|it| it.error) / squares(|it| it.norm)).sqrt();
        let updates = trained.iter().flatten().count();
        self.note(&Event::Said(format!(
            "round {round}: {updates} updates, trained in {train_s:.1} s, aggregated in \
             {overhead_s:.2} s; averaging the factors alone is {naive:.1} % off"
        )));
        let row = self.row(round, &trained, (train_s, overhead_s), result);
        Ok((result, row))
    }

    async fn train(
        &mut self,
        members: &mut Members,
        round: Round,
        start: BlobRef,
    ) -> Result<Vec<Trained>, Failure> {
        for jobs in &members.jobs {
            jobs.submit(Task::Train { job: JobId(round.0), round, start })?;
        }
        let mut trained: Vec<Trained> = vec![None; members.jobs.len()];
        let mut waits_for = trained.len();
        while waits_for > 0 {
            let (index, event) = self.next(members).await?;
            match event {
                jobs::Event::Done { input: Input::Trained { delta, examples, .. }, .. } => {
                    trained[index] = Some((delta, examples));
                    waits_for -= 1;
                }
                jobs::Event::Done { input: Input::TrainFailed { reason, .. }, .. } => {
                    self.node_says(index, NodeEvent::SitsOut { round, reason });
                    waits_for -= 1;
                }
                other => self.progress(index, other),
            }
        }
        Ok(trained)
    }

    async fn aggregate(
        &mut self,
        members: &mut Members,
        round: Round,
        start: BlobRef,
        trained: &[Trained],
    ) -> Result<Aggregate, Failure> {
        let roster = self.federation.founders().members().iter().zip(trained);
        let inputs = roster.filter_map(|(member, trained)| {
            let (delta, weight) = ((*trained)?.0, member.weight.into());
            Some(AggregateInput { member: member.key, delta, weight })
        });
        let inputs: Vec<_> = inputs.collect();
        if inputs.is_empty() {
            let message = format!("no node can train round {round}");
            return Err(Failure::new(FailureKind::Incomplete, message)
                .hint(self.model.base.teaching_hint()));
        }
        members.jobs[0].submit(Task::Aggregate { job: JobId(round.0), round, start, inputs })?;
        loop {
            let (_, event) = self.next(members).await?;
            if let jobs::Event::Done { input: Input::Aggregated { result, .. }, .. } = event {
                return result.map_err(|unusable| {
                    let reasons: Vec<_> = unusable.into_iter().map(|(_, reason)| reason).collect();
                    Failure::input(format!("round {round}: {}", reasons.join("; ")))
                });
            }
        }
    }

    /// Puts what the last member sends in place of its delta.
    fn attack(
        &self,
        members: &Members,
        round: Round,
        start: BlobRef,
        (attack, trained): (Option<Attack>, &mut [Trained]),
    ) -> Result<(), Failure> {
        let (Some(attack), Some(last)) = (attack, trained.last_mut()) else { return Ok(()) };
        let Some((delta, _)) = last else { return Ok(()) };
        match attack {
            Attack::Absent => *last = None,
            Attack::Times(factor) => {
                let start = self.model.aggregation.committed(&members.blobs.read(&start)?);
                let start = start.map_err(Failure::input)?;
                let form = self.model.aggregation.form(round, &start.adapter);
                let sent = form.decode(&members.blobs.read(delta)?).map_err(Failure::input)?;
                let bytes = form.encode(&sent.times(factor), self.model.lora.rank);
                *delta = members.blobs.put(&bytes)?;
            }
        }
        Ok(())
    }

    /// The next event of a member's jobs.
    async fn next(&mut self, members: &mut Members) -> Result<(usize, jobs::Event), Failure> {
        loop {
            tokio::select! {
                () = self.interrupt.told() => {
                    members.jobs.iter().for_each(Jobs::stop);
                    return Err(interrupted(&self.homes));
                }
                Some(heard) = self.events.recv() => self.on_late_event(heard?),
                Some((index, event)) = members.events.recv() => match event {
                    jobs::Event::Broken(failure) => return Err(failure),
                    event => return Ok((index, event)),
                },
            }
        }
    }

    fn progress(&mut self, index: usize, event: jobs::Event) {
        match event {
            jobs::Event::Progress { round, step, steps, examples, loss, .. } => {
                self.node_says(index, NodeEvent::Training { round, step, steps, examples, loss });
            }
            jobs::Event::Preparing { done, pictures: of } => {
                self.note(&Event::Counted { work: Work::Targets, done, of });
            }
            _ => {}
        }
    }

    fn node_says(&mut self, node: usize, kind: NodeEvent) {
        let event = Box::new(TimedEvent { at_ms: unix_ms(), kind });
        self.note(&Event::Node { node, event });
    }

    fn row(
        &self,
        round: Round,
        trained: &[Trained],
        (train_s, overhead_s): (f64, f64),
        result: BlobRef,
    ) -> RoundRow {
        let names = |is_wanted: fn(&Trained) -> bool| -> Vec<String> {
            let wanted = trained.iter().enumerate().filter(|(_, it)| is_wanted(it));
            wanted.map(|(index, _)| format!("node-{index:02}")).collect()
        };
        let sizes = || trained.iter().flatten().map(|(delta, _)| delta.size_bytes);
        RoundRow {
            round: round.0,
            included: sizes().count() as u64,
            examples: trained.iter().flatten().map(|(_, examples)| examples).sum(),
            expected: names(|_| true),
            present: names(Option::is_some),
            absent: names(Option::is_none),
            result_digest: result.digest.to_string(),
            train_s: Some(train_s),
            overhead_s: Some(overhead_s),
            bytes_in_max: sizes().sum(),
            bytes_out_max: sizes().max().unwrap_or_default(),
            loss: self.watch.rounds.get(&round.0).and_then(|round| round.loss()),
            ..RoundRow::default()
        }
    }
}

/// The folder of the final adapter, as Python's peft reads it.
pub const ADAPTER: &str = "adapter";
/// Events of members' jobs waiting.
const EVENTS_MAX: usize = 256;
