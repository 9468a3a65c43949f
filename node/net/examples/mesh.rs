//! Measures how long members take to be all connected through one bootstrap peer, and what they
//! cost while nothing happens: `cargo run --release --example mesh -- 16`.
//!
//! All run in one process, on loopback, so the processor time is that of all of them.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use witan_files::Blobs;
use witan_net::rendezvous::Server;
use witan_net::{self as net, Command, Event, NetHandle, NetSettings};
use witan_protocol::federation::Federation;
use witan_protocol::identity::Identity;

type Failure = Box<dyn std::error::Error>;

struct Member {
    net: NetHandle,
    events: mpsc::Receiver<Event>,
    blobs: Blobs,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let size = std::env::args().nth(1).map_or(Ok(16), |count| count.parse::<u8>())?;
    let dir = tempfile::tempdir()?;
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let server = Server::start([200; 32], &listen).await?;
    let federation = federation(size, &server.addresses()[0])?;
    tokio::spawn(server.serve(std::future::pending()));

    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let mut members = Vec::new();
    for seed in 1..=size {
        let blobs = Blobs::open(dir.path().join(seed.to_string()))?;
        let (net, events) = net::start(NetSettings {
            seed: [seed; 32],
            federation: federation.clone(),
            listen: listen.clone(),
            bootstrap: Vec::new(),
            blobs: blobs.clone(),
        })?;
        members.push(Member { net, events, blobs });
    }
    for member in &mut members {
        while member.net.traffic().peers + 1 < usize::from(size) {
            member.events.recv().await.ok_or("the network ended")?;
        }
    }
    println!("{size} members, all connected to all: {:.2} s", start.elapsed().as_secs_f64());
    println!("processor time for that: {:.2} s", cpu_seconds()? - cpu);

    exchange(&mut members, &federation).await?;
    idle(&members).await
}

/// Every member stores a blob of 1 MB and fetches everyone else's.
async fn exchange(members: &mut [Member], federation: &Federation) -> Result<(), Failure> {
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let mut blobs = Vec::new();
    for seed in 1..=members.len() {
        let id = Identity::from_seed([seed as u8; 32]).member();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| ((n * seed as u32) >> 7) as u8).collect();
        blobs.push((id, members[seed - 1].blobs.put(&bytes)?));
    }
    for member in members.iter() {
        for (holder, blob) in &blobs {
            member.net.send(Command::Fetch { blob: *blob, holders: vec![*holder] });
        }
    }
    for member in members.iter_mut() {
        let mut missing = federation.founders().members().len();
        while missing > 0 {
            let event = member.events.recv().await.ok_or("the network ended")?;
            missing -= usize::from(matches!(event, Event::BlobStored(_)));
        }
    }
    println!("every 1 MB blob at every member: {:.2} s", start.elapsed().as_secs_f64());
    println!("processor time for that: {:.2} s", cpu_seconds()? - cpu);
    Ok(())
}

async fn idle(members: &[Member]) -> Result<(), Failure> {
    let bytes = |members: &[Member]| -> u64 {
        members.iter().map(|member| member.net.traffic().bytes_in).sum()
    };
    let (before, cpu) = (bytes(members), cpu_seconds()?);
    tokio::time::sleep(IDLE).await;
    let each = (bytes(members) - before) / members.len() as u64;
    let spent = cpu_seconds()? - cpu;
    println!("{} s idle: {spent:.2} s of processor, {each} bytes in each", IDLE.as_secs());
    Ok(())
}

fn federation(size: u8, bootstrap: &str) -> Result<Arc<Federation>, Failure> {
    let mut text = format!(
        "name = \"mesh\"\nseed = 1\nbase = \"{}\"\nbootstrap = [{bootstrap:?}]\n\
         [lora]\nrank = 8\nalpha = 16.0\ndropout = 0.0\ntargets = [\"q\"]\n\
         [training]\nrounds = 1\nlocal_steps = 1\nbatch_questions = 1\nbatch_captions = 1\n\
         learning_rate = 0.001\nlearning_rate_final = 0.001\nweight_decay = 0.0\n\
         strategy = \"fedavg\"\n\
         [council]\nfault_model = \"byzantine\"\nround_deadline_s = 60\n",
        "00".repeat(32)
    );
    for seed in 1..=size {
        let key = Identity::from_seed([seed; 32]).member();
        writeln!(text, "[[members]]\nname = \"{seed:03}\"\nkey = \"{key}\"")?;
    }
    Ok(Arc::new(Federation::from_toml(&text)?))
}

/// User and system time of this process, which Linux counts in hundredths.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

const IDLE: Duration = Duration::from_secs(30);
