//! Proves that a member who cannot train is not waited for by those who missed the news.

use std::sync::Arc;

use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::federation::Federation;
use witan_protocol::io::{Input, Output, Time};
use witan_protocol::wire::{Message, envelope};
use witan_protocol::{Config, Identity, Participant};

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn federation() -> Arc<Federation> {
    let members: String = (1..=4)
        .map(|n| format!("[[members]]\nname = \"m{n}\"\nkey = \"{}\"\n", identity(n).member()))
        .collect();
    let text = format!(
        "name = \"f\"\nseed = 1\nbase = \"{}\"\n\
         [lora]\nrank = 4\nalpha = 8.0\ndropout = 0.0\ntargets = [\"q\"]\n\
         [training]\nrounds = 2\nlocal_steps = 1\nbatch_questions = 1\nbatch_captions = 1\n\
         learning_rate = 0.1\nlearning_rate_final = 0.1\nweight_decay = 0.0\n\
         strategy = \"fedavg\"\n\
         [council]\nround_deadline_s = 60\n{members}",
        Digest([7; 32])
    );
    Arc::new(Federation::from_toml(&text).unwrap())
}

#[test]
fn a_peer_that_connects_late_learns_that_a_member_sits_out() {
    let (federation, start_adapter) = (federation(), BlobRef::of(b"start"));
    let config = Config { federation: federation.clone(), identity: identity(1), start_adapter };
    let mut member = Participant::new(config, Time(0)).unwrap();
    let outputs = std::iter::from_fn(|| member.poll_output()).collect::<Vec<_>>();
    let job = outputs.iter().find_map(|output| match output {
        Output::Train { job, .. } => Some(*job),
        _ => None,
    });
    let reason = "nothing to train on".to_owned();
    member.handle(Time(1), Input::TrainFailed { job: job.unwrap(), reason: reason.clone() });
    while member.poll_output().is_some() {}

    let late = identity(2).member();
    member.handle(Time(2), Input::PeerConnected(late));
    let is_sent = std::iter::from_fn(|| member.poll_output()).any(|output| match output {
        Output::Send { to, bytes } if to == late => {
            let opened = envelope::open(&bytes, federation.founders()).unwrap().message;
            matches!(opened, Message::Heartbeat(said) if said.sits_out == Some(reason.clone()))
        }
        _ => false,
    });
    assert!(is_sent);
}
