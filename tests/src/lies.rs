//! The ways in which a member can break the protocol.

use std::fmt;

/// Ways to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Votes for one thing to some and for another to others.
    TwoVotes,
    /// Proposes one thing to some and another, as sound, to others.
    TwoProposals,
    /// Publishes one update to some and another to others.
    TwoUpdates,
    /// Proposes an aggregate that is not one.
    WrongAggregate,
    /// Proposes something with one field wrong.
    WrongField,
    /// Proposes a record that leaves members unmentioned.
    ForgetsMembers,
    /// Lists members as absent whose updates it has.
    LeavesOut,
    /// Proposes its own update, or a forged one, in another member's name.
    StolenName,
    /// Publishes a delta that cannot be used (NaN).
    UnusableUpdate,
    /// Publishes an update with absurd numbers, or of another round or adapter.
    AbsurdUpdate,
    /// Sends messages in other members' names, without their keys.
    Forgery,
    /// Sends messages of earlier rounds and views again, its own and others'.
    Replay,
    /// Gives its blobs to one member only.
    Withholds,
    /// Sends bytes that are too many, cut, altered or mean nothing.
    Garbage,
    /// Votes in views and rounds far ahead, and proposes out of turn.
    OutOfTurn,
    /// Sends records with certificates that are none.
    ForgedRecord,
    /// Claims to hold what it does not.
    FalseHoldings,
    /// Sends nothing to some of the others.
    Silence,
    /// Counts an old update of a member, whether it counted before or is too late.
    CountsAgain,
    /// Accuses others of having signed two things, with proofs that prove nothing.
    FalseEvidence,
    /// Objects to sound aggregates, as all liars of this kind do, and proposes records that tell of
    /// it.
    FalseRefutation,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 21] = [
        Lie::TwoVotes,
        Lie::TwoProposals,
        Lie::TwoUpdates,
        Lie::WrongAggregate,
        Lie::WrongField,
        Lie::ForgetsMembers,
        Lie::LeavesOut,
        Lie::StolenName,
        Lie::UnusableUpdate,
        Lie::AbsurdUpdate,
        Lie::Forgery,
        Lie::Replay,
        Lie::Withholds,
        Lie::Garbage,
        Lie::OutOfTurn,
        Lie::ForgedRecord,
        Lie::FalseHoldings,
        Lie::Silence,
        Lie::CountsAgain,
        Lie::FalseEvidence,
        Lie::FalseRefutation,
    ];
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lie::TwoVotes => "two votes",
            Lie::TwoProposals => "two proposals",
            Lie::TwoUpdates => "two updates",
            Lie::WrongAggregate => "wrong aggregate",
            Lie::WrongField => "wrong field",
            Lie::ForgetsMembers => "forgets members",
            Lie::LeavesOut => "leaves out members",
            Lie::StolenName => "stolen name",
            Lie::UnusableUpdate => "unusable update",
            Lie::AbsurdUpdate => "absurd update",
            Lie::Forgery => "forged signature",
            Lie::Replay => "replay",
            Lie::Withholds => "withheld blob",
            Lie::Garbage => "garbage",
            Lie::OutOfTurn => "out of turn",
            Lie::ForgedRecord => "forged record",
            Lie::FalseHoldings => "false holdings",
            Lie::Silence => "silence",
            Lie::CountsAgain => "counts an old update",
            Lie::FalseEvidence => "false evidence",
            Lie::FalseRefutation => "false refutation",
        })
    }
}
