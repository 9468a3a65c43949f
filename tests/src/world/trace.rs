//! The lines of a replayed run: what each member receives, sends and asks for.

use witan_protocol::Roster;
use witan_protocol::io::{Entry, Input, Notice, Output, Time};
use witan_protocol::member::MemberId;

use witan_protocol::wire::envelope::Opened;

/// Prints, for one moment and one member.
pub(super) struct Trace<'a> {
    /// When.
    pub now: Time,
    /// Who, by its place in the roster.
    pub node: usize,
    /// The members, as it has them.
    pub roster: &'a Roster,
}

impl Trace<'_> {
    /// It is given an input.
    pub(super) fn input(&self, input: &Input) {
        match input {
            Input::Tick => {}
            Input::Message { via, opened } => {
                let Ok(said) = opened.message() else {
                    return self
                        .line(&format!("<- {} bytes that do not open", opened.bytes().len()));
                };
                let (kind, gist) = (said.message.kind(), said.message.gist());
                let (signer, via) = (self.name(&said.signer), self.name(via));
                self.line(&format!("<- {kind:?} of {signer} via {via}: {gist}"));
            }
            other => self.line(&format!("<- {other:?}")),
        }
    }

    /// It asks for something.
    pub(super) fn output(&self, output: &Output) {
        match output {
            Output::Gossip(_) | Output::Send { .. } => {}
            Output::Notice(Notice::Sent { .. } | Notice::Accepted { .. }) => {}
            Output::Persist(Entry::Wal { bytes, .. }) => {
                self.line(&format!("-> Persist {} bytes of the log", bytes.len()));
            }
            Output::Persist(Entry::Record { round, .. }) => {
                self.line(&format!("-> Persist the record of round {round}"));
            }
            other => self.line(&format!("-> {other:?}")),
        }
    }

    /// It sends a message.
    pub(super) fn sent(&self, envelope: &Opened, to: &[usize]) {
        if let Ok(said) = envelope.message() {
            let (kind, gist) = (said.message.kind(), said.message.gist());
            let signer = self.name(&said.signer);
            let to = if let [to] = to { format!("to {to}") } else { "to all".to_owned() };
            self.line(&format!("-> {kind:?} of {signer} {to}: {gist}"));
        }
    }

    fn line(&self, text: &str) {
        let mut text: String = text.chars().take(LINE_CHARS_MAX).collect();
        for (place, member) in self.roster.members().iter().enumerate() {
            text = text.replace(&member.id().short(), &place.to_string());
        }
        println!("{:>7} {:>2} {text}", self.now.0, self.node);
    }

    fn name(&self, member: &MemberId) -> String {
        self.roster.place_of(member).map_or_else(|| "?".to_owned(), |place| place.to_string())
    }
}

const LINE_CHARS_MAX: usize = 300;
