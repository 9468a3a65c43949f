//! Members that lie. A liar runs the real participant, which does not know: what it sends is
//! rewritten on the way out, and signed again with the liar's own key. It has no other key, and no
//! more votes than one.

mod accusations;
mod proposals;
mod strays;
mod updates;

use std::collections::VecDeque;
use std::rc::Rc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::member::{MemberId, Round};
use witan_protocol::wire::envelope::{self};
use witan_protocol::wire::{Holdings, MemberSet, Message, Verified, Vote};
use witan_protocol::{Identity, Roster};

use crate::coverage::{Coverage, Seen};
use crate::lies::Lie;
use witan_protocol::wire::envelope::Opened;

/// How one member lies, and what it has to lie with.
#[derive(Debug)]
pub struct Liar {
    lies: Vec<Lie>,
    heard: VecDeque<Rc<Opened>>,
}

/// What a liar works with for a moment.
pub struct Workshop<'a> {
    /// The members, as it has them.
    pub roster: &'a Roster,
    /// For how many rounds a late update may count.
    pub late_rounds: u64,
    /// The only key it has.
    pub identity: &'a Identity,
    /// Its place in the roster.
    pub place: usize,
    /// Chance.
    pub random: &'a mut ChaCha8Rng,
    /// What happened.
    pub coverage: &'a mut Coverage,
    /// Blobs it makes up.
    pub blobs: Vec<BlobRef>,
}

/// Bytes for members.
type Mail = Vec<(usize, Vec<u8>)>;

impl Liar {
    /// A member that lies in these ways.
    pub fn new(lies: &[Lie]) -> Self {
        Self { lies: lies.to_vec(), heard: VecDeque::new() }
    }

    /// Whether it lies in this way.
    pub fn tells(&self, lie: Lie) -> bool {
        self.lies.contains(&lie)
    }

    /// It received a message, and may use it against others.
    pub fn keep(&mut self, envelope: &Rc<Opened>) {
        if self.heard.len() >= HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(envelope.clone());
    }

    /// What is sent, and to whom, when its participant sends `envelope` to these members.
    pub fn mail(&mut self, shop: &mut Workshop<'_>, envelope: &Rc<Opened>, to: &[usize]) -> Mail {
        let mut mail = match envelope.message() {
            Ok(said) if said.signer == shop.identity.member() => {
                self.rewrite(shop, said, envelope, to)
            }
            _ => copies(envelope.bytes(), to),
        };
        if self.tells(Lie::Silence) {
            let before = mail.len();
            mail.retain(|_| shop.random.random_bool(0.6));
            if mail.len() < before {
                shop.saw(Lie::Silence);
            }
        }
        mail.extend(strays::strays(self, shop, to));
        self.keep(envelope);
        mail
    }

    fn rewrite(
        &self,
        shop: &mut Workshop<'_>,
        said: &Verified<Message>,
        envelope: &Opened,
        to: &[usize],
    ) -> Mail {
        match &said.message {
            Message::Vote(vote) if self.tells(Lie::TwoVotes) => {
                shop.saw(Lie::TwoVotes);
                let other = Message::Vote(Vote { value: self.other_value(shop, vote), ..*vote });
                shop.split(envelope.bytes(), &other, to)
            }
            Message::Proposal(proposed) => proposals::rewrite(self, shop, proposed, envelope, to),
            Message::Update(update) => updates::rewrite(self, shop, update, envelope, to),
            Message::Holdings(holdings) if self.tells(Lie::FalseHoldings) => {
                shop.saw(Lie::FalseHoldings);
                let message = Message::Holdings(false_holdings(shop, holdings));
                copies(&shop.seal(&message), to)
            }
            _ => copies(envelope.bytes(), to),
        }
    }

    /// Another value somebody might vote for: one it heard of, nil, or one nobody knows.
    fn other_value(&self, shop: &mut Workshop<'_>, vote: &Vote) -> Option<Digest> {
        let heard =
            self.heard.iter().filter_map(|envelope| match &envelope.message().ok()?.message {
                Message::Vote(heard) if heard.round == vote.round => Some(heard.value),
                _ => None,
            });
        let others = heard.chain([None]).filter(|value| *value != vote.value);
        let others: Vec<_> = others.collect();
        if others.is_empty() {
            return Some(Digest([shop.random.random_range(0..=255u32) as u8; 32]));
        }
        others[shop.random.random_range(0..others.len())]
    }

    /// The updates it heard, of rounds up to `until`, by their authors.
    fn heard_updates(&self, until: Round) -> impl Iterator<Item = (MemberId, Vec<u8>)> {
        self.heard.iter().filter_map(move |envelope| {
            let said = envelope.message().ok()?;
            let is_old = matches!(&said.message, Message::Update(u) if u.round <= until);
            is_old.then(|| (said.signer, envelope.bytes().to_vec()))
        })
    }

    /// A message it received.
    fn any(&self, shop: &mut Workshop<'_>) -> Option<Rc<Opened>> {
        let index = shop.random.random_range(0..self.heard.len().max(1));
        self.heard.get(index).cloned()
    }
}

impl Workshop<'_> {
    /// It lied.
    pub fn saw(&mut self, lie: Lie) {
        self.coverage.saw(Seen::Lie(lie));
    }

    /// Signs with its own key.
    pub fn seal(&self, message: &Message) -> Vec<u8> {
        envelope::seal(self.identity, self.roster.federation(), message)
    }

    /// One message to some, another to others, both to a few.
    fn split(&mut self, one: &[u8], other: &Message, to: &[usize]) -> Mail {
        let other = self.seal(other);
        let mut mail = Vec::new();
        for to in to {
            let chance = self.random.random_range(0..10);
            if chance < 6 {
                mail.push((*to, one.to_vec()));
            }
            if chance > 4 {
                mail.push((*to, other.clone()));
            }
        }
        mail
    }
}

fn copies(bytes: &[u8], to: &[usize]) -> Mail {
    to.iter().map(|to| (*to, bytes.to_vec())).collect()
}

fn false_holdings(shop: &mut Workshop<'_>, holdings: &Holdings) -> Holdings {
    let everyone: MemberSet = (0..shop.roster.size()).collect();
    let mut holdings = holdings.clone();
    match shop.random.random_range(0..4) {
        0 => (holdings.updates, holdings.blobs) = (everyone, everyone),
        1 => holdings = Holdings { round: holdings.round, ..Holdings::default() },
        2 => holdings.round.0 += 1_000_000,
        _ => {
            holdings.proposals.clear();
            holdings.votes.clear();
        }
    }
    holdings
}

/// Messages a liar keeps.
const HEARD_MAX: usize = 300;
