//! What is known of a testnet: a fold over its events. Pure: it neither reads a clock nor prints.

use std::collections::{BTreeMap, BTreeSet};

use witan_data::metrics::Metrics;
use witan_node::events::{NodeEvent, TimedEvent};
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::io::Notice;
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::wire::{Kind, RoundRecord};

use crate::candidate::Comparison;
use crate::event::Event;
use crate::tables::Ceiling;

/// One node, as its events tell it.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Its process runs.
    pub alive: bool,
    /// The round it works on.
    pub round: u64,
    /// Training steps done and in all.
    pub step: (u64, u64),
    /// The newest training loss.
    pub loss: Option<f32>,
    /// Members it is connected to.
    pub peers: BTreeSet<MemberId>,
    /// The newest round it has adopted, and bytes in and out when it did.
    pub adopted: u64,
    /// Bytes in and out at the last two adoptions.
    traffic: [(u64, u64); 2],
    /// It has said that every round is committed.
    pub finished: bool,
    /// It said that nothing can be decided: votes needed and members missing.
    pub stalled: Option<(u64, Vec<MemberId>)>,
}

/// One round, as the nodes' events tell it.
#[derive(Clone, Debug, Default)]
pub struct RoundView {
    /// An earlier run committed it: what is seen of it now is only members catching up.
    pub is_recalled: bool,
    /// When the first node began it.
    pub began_ms: u64,
    /// When the last update went out.
    pub trained_ms: u64,
    /// When the first and the last node had it durably committed.
    pub committed_ms: Option<(u64, u64)>,
    /// Who published an update.
    pub updates: BTreeSet<MemberId>,
    /// How often each node began to train it: once.
    pub trainings: BTreeMap<usize, usize>,
    /// The nodes that cannot train it.
    pub sits_out: BTreeSet<usize>,
    /// The newest training loss of each node.
    pub losses: BTreeMap<usize, f32>,
    /// Who voted, as far as seen.
    pub votes: BTreeSet<MemberId>,
    /// The view under way or the one that closed it, and its aggregator.
    pub view: Option<(View, MemberId)>,
    /// Views that closed nothing: whose they were, and how many nodes have said so.
    pub failed: BTreeMap<View, (MemberId, usize)>,
    /// The deltas the members published.
    pub deltas: BTreeMap<MemberId, Digest>,
    /// Nodes that have fetched each blob.
    pub holders: BTreeMap<Digest, usize>,
    /// Nodes that have committed it.
    pub commits: usize,
    /// What was committed: included, votes, record, result.
    pub outcome: Option<RoundOutcome>,
    /// The most any node received and sent during it.
    pub bytes_max: (u64, u64),
}

impl RoundView {
    /// The mean of the newest training losses.
    pub fn loss(&self) -> Option<f32> {
        let count = self.losses.len() as f32;
        (count > 0.0).then(|| self.losses.values().sum::<f32>() / count)
    }
}

/// A committed round.
#[derive(Clone, Copy, Debug)]
pub struct RoundOutcome {
    /// Updates in the aggregate.
    pub included: u64,
    /// Members who co-signed.
    pub votes: u64,
    /// The ledger head.
    pub record: Digest,
    /// The adapter.
    pub result: BlobRef,
}

/// Everything seen so far.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The nodes, in roster order.
    pub nodes: Vec<NodeView>,
    /// The rounds.
    pub rounds: BTreeMap<u64, RoundView>,
    /// The metrics of every committed adapter that was evaluated; of the base under 0.
    pub metrics: BTreeMap<u64, Metrics>,
    /// How many of the evaluation set's own pictures the detector finds right, and by task.
    pub ceiling: Ceiling,
    /// What the federation is compared with.
    pub comparison: Option<Comparison>,
    members: Vec<MemberId>,
}

impl Watch {
    /// Nothing seen yet; `members` in roster order.
    pub fn new(members: Vec<MemberId>) -> Self {
        let nodes = vec![NodeView::default(); members.len()];
        Self { nodes, members, ..Self::default() }
    }

    /// The roster number of a member.
    pub fn index_of(&self, member: &MemberId) -> Option<usize> {
        self.members.iter().position(|known| known == member)
    }

    /// Takes one event in.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Recalled(record) => self.recall(record),
            // It counts as alive before it says so.
            Event::Started { node } => {
                self.nodes[*node] = NodeView { alive: true, ..NodeView::default() };
            }
            Event::Node { node, event } => self.node(*node, event),
            Event::Ended { node, .. } => {
                self.nodes[*node].alive = false;
                self.nodes[*node].peers.clear();
            }
            Event::Evaluated { round, metrics } => {
                self.metrics.insert(*round, metrics.clone());
            }
            Event::Ceiling(ceiling) => self.ceiling.clone_from(ceiling),
            Event::Compared(comparison) => self.comparison = Some(Comparison::clone(comparison)),
            _ => {}
        }
    }

    fn node(&mut self, index: usize, event: &TimedEvent) {
        let node = &mut self.nodes[index];
        match &event.kind {
            NodeEvent::Started { rounds, .. } => {
                *node = NodeView { alive: true, adopted: *rounds, ..NodeView::default() };
            }
            NodeEvent::Connected { member } => {
                node.peers.insert(*member);
                // A node does not take its word back: it is enough to see that it can decide again.
                let votes = node.peers.len() as u64 + 1;
                node.stalled = node.stalled.take().filter(|(needed, _)| votes < *needed);
            }
            NodeEvent::Disconnected { member } => {
                node.peers.remove(member);
            }
            NodeEvent::Training { round, step, steps, loss, .. } => {
                node.round = round.0;
                node.step = (*step, *steps);
                node.loss = (*step > 0).then_some(*loss);
                let seen = self.rounds.entry(round.0).or_default();
                if *step == 0 {
                    *seen.trainings.entry(index).or_default() += 1;
                } else {
                    seen.losses.insert(index, *loss);
                }
            }
            NodeEvent::Trained { round, delta } => {
                let member = self.members[index];
                self.round(*round).deltas.insert(member, *delta);
            }
            NodeEvent::SitsOut { round, .. } => {
                self.round(*round).sits_out.insert(index);
            }
            NodeEvent::BlobStored { digest } => {
                if let Some(mut newest) = self.rounds.last_entry() {
                    *newest.get_mut().holders.entry(*digest).or_default() += 1;
                }
            }
            NodeEvent::Adopted { round, bytes_in, bytes_out } => {
                node.adopted = round.0;
                node.traffic = [node.traffic[1], (*bytes_in, *bytes_out)];
                let spent = (
                    node.traffic[1].0.saturating_sub(node.traffic[0].0),
                    node.traffic[1].1.saturating_sub(node.traffic[0].1),
                );
                let most = &mut self.rounds.entry(round.0).or_default().bytes_max;
                *most = (most.0.max(spent.0), most.1.max(spent.1));
            }
            NodeEvent::Protocol { notice } => self.notice(index, event.at_ms, notice),
            NodeEvent::PeerRefused { .. }
            | NodeEvent::Listening { .. }
            | NodeEvent::Preparing { .. }
            | NodeEvent::Stopping => {}
        }
    }

    /// A round that an earlier run committed. When, and what went before, nobody saw this time.
    fn recall(&mut self, record: &RoundRecord) {
        let proposal = &record.proposal;
        let failed =
            proposal.failed_views.iter().map(|failed| (failed.view, (failed.aggregator, 0)));
        let round = RoundView {
            is_recalled: true,
            updates: proposal.included.iter().map(|part| part.member).collect(),
            view: Some((proposal.view, proposal.aggregator)),
            failed: failed.collect(),
            commits: self.nodes.len(),
            outcome: Some(RoundOutcome {
                included: proposal.included.len() as u64,
                votes: record.certificate.signatures.len() as u64,
                record: record.digest(),
                result: proposal.result,
            }),
            ..RoundView::default()
        };
        self.rounds.insert(proposal.round.0, round);
    }

    /// Whether every living node has every round.
    pub fn is_finished(&self) -> bool {
        self.nodes.iter().any(|node| node.alive)
            && self.nodes.iter().all(|node| !node.alive || node.finished)
    }

    /// Whether no living node can train a round: nothing can ever be committed then.
    pub fn nobody_trains(&self, round: Round) -> bool {
        let sits_out = self.rounds.get(&round.0).map(|round| &round.sits_out);
        let can_train = |index| sits_out.is_none_or(|sits_out| !sits_out.contains(&index));
        !self.nodes.iter().enumerate().any(|(index, node)| node.alive && can_train(index))
    }

    /// Nodes that did not end with every round: the run lost them.
    pub fn lost(&self) -> Vec<usize> {
        let is_lost = |node: &NodeView| !(node.alive && node.finished);
        (0..self.nodes.len()).filter(|index| is_lost(&self.nodes[*index])).collect()
    }

    /// Whether a round is committed by one node so far.
    pub fn is_first_commit(&self, round: u64) -> bool {
        self.rounds.get(&round).is_some_and(|round| round.commits == 1)
    }

    /// Whether one node so far has said that it is stalled.
    pub fn is_first_stall(&self) -> bool {
        self.nodes.iter().filter(|node| node.stalled.is_some()).count() == 1
    }

    /// Whether one node so far has said that a view failed.
    pub fn is_first_failure(&self, round: u64, view: View) -> bool {
        let failed = self.rounds.get(&round).and_then(|round| round.failed.get(&view));
        failed.is_some_and(|(_, said)| *said == 1)
    }

    /// The newest round that some node has begun.
    pub fn newest_round(&self) -> u64 {
        self.rounds.last_key_value().map_or(0, |(round, _)| *round)
    }

    fn notice(&mut self, index: usize, at_ms: u64, notice: &Notice) {
        let member = self.members[index];
        match notice {
            Notice::RoundStarted { round } => {
                let view = self.round(*round);
                if view.began_ms == 0 {
                    view.began_ms = at_ms;
                }
                self.nodes[index].round = round.0;
                self.nodes[index].stalled = None;
            }
            // To one member goes what another published: anti-entropy passes it on.
            Notice::Sent { to: Some(_), .. } => {}
            Notice::Sent { kind: Kind::Update, round, .. } => {
                let view = self.round(*round);
                if view.updates.insert(member) {
                    view.trained_ms = view.trained_ms.max(at_ms);
                }
            }
            Notice::Sent { kind: Kind::Vote, round, .. } => {
                self.round(*round).votes.insert(member);
            }
            Notice::ViewStarted { round, view, aggregator } => {
                let seen = self.round(*round);
                if seen.outcome.is_none() && seen.view.is_none_or(|(newest, _)| newest <= *view) {
                    seen.view = Some((*view, *aggregator));
                }
            }
            Notice::ViewFailed { round, view, aggregator } => {
                let failed = &mut self.round(*round).failed;
                failed.entry(*view).or_insert((*aggregator, 0)).1 += 1;
            }
            Notice::Committed { round, view, aggregator, included, votes, record, result } => {
                let seen = self.round(*round);
                let (first, last) = seen.committed_ms.unwrap_or((at_ms, at_ms));
                seen.committed_ms = Some((first.min(at_ms), last.max(at_ms)));
                seen.commits += 1;
                seen.view = Some((*view, *aggregator));
                seen.outcome = Some(RoundOutcome {
                    included: *included,
                    votes: *votes,
                    record: *record,
                    result: *result,
                });
            }
            Notice::Stalled { needed, missing, .. } => {
                self.nodes[index].stalled = Some((*needed, missing.clone()));
            }
            Notice::Finished => self.nodes[index].finished = true,
            _ => {}
        }
    }

    fn round(&mut self, round: Round) -> &mut RoundView {
        self.rounds.entry(round.0).or_default()
    }

    /// A member's name.
    pub fn name(&self, member: &MemberId) -> String {
        match self.index_of(member) {
            Some(index) => format!("node-{index:02}"),
            None => member.short(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(to: Option<MemberId>, at_ms: u64) -> TimedEvent {
        let (kind, round, digest) = (Kind::Update, Round(1), Digest([7; 32]));
        let notice = Notice::Sent { kind, round, to, digest, size_bytes: 9 };
        TimedEvent { at_ms, kind: NodeEvent::Protocol { notice } }
    }

    #[test]
    fn a_node_that_meets_enough_others_is_stalled_no_more() {
        let members: Vec<_> = (0..4).map(|n| MemberId([n; 32])).collect();
        let mut watch = Watch::new(members.clone());
        let mut tell = |kind| watch.node(0, &TimedEvent { at_ms: 1, kind });
        let (round, missing) = (Round(1), members[1..].to_vec());
        tell(NodeEvent::Protocol {
            notice: Notice::Stalled { round, missing, votes: 1, needed: 3 },
        });
        tell(NodeEvent::Connected { member: members[1] });
        let mut after = watch.clone();
        assert!(watch.is_first_stall(), "two of three");
        after.node(0, &TimedEvent { at_ms: 2, kind: NodeEvent::Connected { member: members[2] } });
        assert!(!after.is_first_stall());
    }

    #[test]
    fn a_failed_view_is_news_once() {
        let members: Vec<_> = (0..3).map(|n| MemberId([n; 32])).collect();
        let mut watch = Watch::new(members.clone());
        let (round, view, aggregator) = (Round(1), View(0), members[2]);
        let notice = Notice::ViewFailed { round, view, aggregator };
        let failed = TimedEvent { at_ms: 1, kind: NodeEvent::Protocol { notice } };
        watch.node(0, &failed);
        assert!(watch.is_first_failure(1, View(0)));
        watch.node(1, &failed);
        assert!(!watch.is_first_failure(1, View(0)));
        assert!(!watch.is_first_failure(1, View(1)));
    }

    #[test]
    fn an_update_passed_on_to_one_member_is_not_an_own_update_published() {
        let members: Vec<_> = (0..3).map(|n| MemberId([n; 32])).collect();
        let mut watch = Watch::new(members.clone());
        watch.node(0, &sent(None, 100));
        watch.node(1, &sent(Some(members[2]), 200));
        assert_eq!(watch.rounds[&1].updates, [members[0]].into());
        watch.node(1, &sent(None, 6_700));
        assert_eq!(watch.rounds[&1].updates.len(), 2);
        assert_eq!(watch.rounds[&1].trained_ms, 6_700, "the vote begins with the last update");
    }
}
