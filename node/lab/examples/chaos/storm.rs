//! Carries the plan out on running nodes, and notes how long each member took to be up with the
//! others again.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use witan_home::Failure;
use witan_lab::event::Event;
use witan_lab::event::Heard;
use witan_lab::testnet::homes::Homes;
use witan_lab::testnet::spawn::NodeProcess;
use witan_lab::testnet::watch::Watch;
use witan_node::driver::unix_ms;
use witan_node::events::NodeEvent;
use witan_protocol::io::Notice;
use witan_protocol::member::View;

use super::links::{Line, Links};
use super::plan::{Act, Blow};

/// One member that was hit.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The round in which it was.
    pub round: u64,
    /// By what.
    pub blow: Blow,
    /// Which node.
    pub node: usize,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    lasts_ms: u64,
    /// When it was over.
    pub healed_ms: Option<u64>,
    /// The newest round that anybody had adopted by then.
    goal: u64,
    /// When the member had adopted that too and was connected with a quorum.
    pub recovered_ms: Option<u64>,
}

/// The federation in the storm.
pub(crate) struct Storm {
    /// Everything seen.
    pub watch: Watch,
    /// Who was hit.
    pub hits: Vec<Hit>,
    /// What should not have happened.
    pub flaws: Vec<String>,
    homes: Homes,
    links: Links,
    acts: Vec<Act>,
    liar: usize,
    nodes: Vec<Option<NodeProcess>>,
    events: mpsc::Receiver<Heard>,
    sender: mpsc::Sender<Heard>,
}

impl Storm {
    /// Starts every node.
    pub(crate) fn start(
        homes: Homes,
        links: Links,
        (liar, acts): (usize, Vec<Act>),
    ) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel(4096);
        let nodes = homes.spec.cohort.nodes;
        let mut storm = Self {
            watch: Watch::new(homes.members.clone()),
            hits: Vec::new(),
            flaws: Vec::new(),
            homes,
            links,
            acts,
            liar,
            nodes: (0..nodes).map(|_| None).collect(),
            events,
            sender,
        };
        (0..nodes).try_for_each(|index| storm.start_node(index))?;
        Ok(storm)
    }

    /// Until every round is committed everywhere and every member that was hit has recovered.
    pub(crate) async fn rage(&mut self, patience: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !self.is_over() {
            tokio::select! {
                Some(heard) = self.events.recv() => self.on_event(&heard?),
                _ = ticks.tick() => {}
            }
            self.strike()?;
            self.heal()?;
            if Instant::now() > deadline {
                self.flaws.push(format!("not over after {} s", patience.as_secs()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Stops every node and waits for it.
    pub(crate) async fn end(&mut self) {
        self.nodes.iter_mut().flatten().for_each(NodeProcess::stop);
        let patience = tokio::time::Instant::now() + Duration::from_secs(15);
        while self.nodes.iter().any(Option::is_some) {
            match tokio::time::timeout_at(patience, self.events.recv()).await {
                Ok(Some(Ok(Event::Ended { node, .. }))) => self.nodes[node] = None,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn is_over(&self) -> bool {
        let has_recovered = |hit: &Hit| hit.recovered_ms.is_some();
        self.acts.is_empty() && self.hits.iter().all(has_recovered) && self.watch.is_finished()
    }

    fn on_event(&mut self, event: &Event) {
        self.watch.observe(event);
        match event {
            Event::Node { node, event } => {
                if let NodeEvent::Listening { address } = &event.kind {
                    let port = address.split('/').nth(4).and_then(|port| port.parse().ok());
                    self.links.leads_to(*node, port.unwrap_or(0));
                }
                if let NodeEvent::Protocol { notice: Notice::Committed { round, view, .. } } =
                    &event.kind
                    && self.watch.is_first_commit(round.0)
                {
                    println!("round {round} committed in view {view}");
                }
            }
            Event::Ended { node, code, stderr } => {
                let is_down = |hit: &Hit| hit.node == *node && hit.healed_ms.is_none();
                if !self.hits.iter().any(is_down) {
                    self.flaws.push(format!("node-{node:02} ended ({code:?}): {stderr}"));
                }
                self.nodes[*node] = None;
            }
            _ => {}
        }
        self.note_recoveries();
    }

    /// A member has recovered when it has adopted what the others had when it was let go, and is
    /// connected with a quorum.
    fn note_recoveries(&mut self) {
        let (now_ms, quorum) = (unix_ms(), self.nodes.len() * 2 / 3 + 1);
        for hit in self.hits.iter_mut().filter(|hit| hit.recovered_ms.is_none()) {
            let node = &self.watch.nodes[hit.node];
            let is_up = node.adopted >= hit.goal && node.peers.len() + 1 >= quorum;
            if hit.healed_ms.is_some() && is_up {
                hit.recovered_ms = Some(now_ms);
            }
        }
    }

    /// Deals the blows that are due, as far as enough members stay unharmed to decide.
    fn strike(&mut self) -> Result<(), Failure> {
        let now_ms = unix_ms();
        while let Some(act) = self.acts.first().cloned() {
            let began_ms = self.watch.rounds.get(&act.round).map_or(0, |round| round.began_ms);
            if began_ms == 0 || now_ms < began_ms + act.after_ms {
                return Ok(());
            }
            self.acts.remove(0);
            let elected = self.watch.rounds.get(&act.round).and_then(|round| round.view);
            let elected = elected.filter(|(view, _)| *view == View(0));
            let elected = elected.and_then(|(_, who)| self.watch.index_of(&who));
            let node = match act.blow {
                Blow::KillAggregator => elected.unwrap_or(act.node),
                _ => act.node,
            };
            let suffering = |hit: &&Hit| hit.recovered_ms.is_none();
            // The liar is one of those that may be missed.
            let spare = (self.nodes.len() - 1) / 3 - 1;
            let is_hit = self.hits.iter().filter(suffering).any(|hit| hit.node == node);
            if node == self.liar || is_hit || self.hits.iter().filter(suffering).count() >= spare {
                continue;
            }
            println!("  round {}: node-{node:02}: {}", act.round, act.blow);
            self.hit(node, act.blow)?;
            let (round, blow, lasts_ms) = (act.round, act.blow, act.lasts_ms);
            let (healed_ms, goal, recovered_ms) = (None, 0, None);
            let at_ms = now_ms;
            let hit = Hit { round, blow, node, at_ms, lasts_ms, healed_ms, goal, recovered_ms };
            self.hits.push(hit);
        }
        Ok(())
    }

    fn hit(&mut self, node: usize, blow: Blow) -> Result<(), Failure> {
        match blow {
            Blow::Kill | Blow::KillAggregator => {
                self.nodes[node].as_mut().into_iter().for_each(NodeProcess::kill);
            }
            Blow::Freeze => self.signal(node, "-STOP")?,
            Blow::Silence => self.links.set(node, Line::Silent),
            Blow::Cut => self.links.set(node, Line::Cut),
        }
        Ok(())
    }

    /// Ends the blows whose time is over.
    fn heal(&mut self) -> Result<(), Failure> {
        let now_ms = unix_ms();
        for index in 0..self.hits.len() {
            let Hit { node, blow, at_ms, lasts_ms, healed_ms, .. } = self.hits[index];
            let is_down = matches!(blow, Blow::Kill | Blow::KillAggregator);
            let is_gone = self.nodes[node].is_none();
            if healed_ms.is_some() || now_ms < at_ms + lasts_ms || is_down != is_gone {
                continue;
            }
            match blow {
                Blow::Kill | Blow::KillAggregator => self.start_node(node)?,
                Blow::Freeze => self.signal(node, "-CONT")?,
                Blow::Silence | Blow::Cut => self.links.set(node, Line::Open),
            }
            let hit = &mut self.hits[index];
            hit.healed_ms = Some(now_ms);
            hit.goal = self.watch.nodes.iter().map(|node| node.adopted).max().unwrap_or(0);
        }
        Ok(())
    }

    fn start_node(&mut self, index: usize) -> Result<(), Failure> {
        self.watch.observe(&Event::Started { node: index });
        let (home, sender) = (self.homes.home(index), self.sender.clone());
        let process = if index == self.liar {
            let program = std::env::current_exe().map_err(Failure::environment)?;
            let mut command = tokio::process::Command::new(program.with_file_name("liar"));
            command.arg(home).arg(super::LIES_FROM.to_string());
            NodeProcess::of(index, command, sender)?
        } else {
            let mut command = tokio::process::Command::new(super::witan()?);
            command.args(["run", "--json", "--stop-on-eof", "--home"]).arg(home);
            NodeProcess::of(index, command, sender)?
        };
        self.nodes[index] = Some(process);
        Ok(())
    }

    fn signal(&self, node: usize, name: &str) -> Result<(), Failure> {
        let Some(process) = &self.nodes[node] else { return Ok(()) };
        let status = Command::new("kill").args([name, &process.pid.to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failure::environment(format!("cannot signal node-{node:02} with `kill`"))),
        }
    }
}
