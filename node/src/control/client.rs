//! The asking side of the control socket: used by commands, blocking, without a runtime.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use witan_home::store::{LogEntry, LogFilter};
use witan_home::{Failure, FailureKind, Home};
use witan_protocol::digest::Digest;

use super::petitions::{CastRequest, PetitionRow};
use super::{Query, Reply, StatusReport, address};

/// One connection; it asks one query.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why a running node could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The connection broke, or took too long.
    #[error("the running node does not answer: {0}")]
    Io(#[from] io::Error),
    /// The node closed the connection.
    #[error("the running node closed the connection")]
    Closed,
    /// The node refused the query.
    #[error("the running node refused: {0}")]
    Refused(String),
    /// The node answered something else.
    #[error("the running node is of another version: its answer cannot be read")]
    Unreadable,
}

impl Client {
    /// Connects to the node that runs in a home; `None` if none answers there.
    pub fn connect(home: &Home) -> Option<Self> {
        let address = address::of(&home.control_socket()).ok()?;
        let stream = UnixStream::connect(&address.path).ok()?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT)).ok()?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT)).ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// What the node is doing.
    pub fn status(mut self) -> Result<StatusReport, ControlError> {
        match self.ask(&Query::Status)? {
            Reply::Status(report) => Ok(*report),
            _ => Err(ControlError::Unreadable),
        }
    }

    /// The open petitions.
    pub fn petitions(mut self) -> Result<Vec<PetitionRow>, ControlError> {
        match self.ask(&Query::Petitions)? {
            Reply::Petitions(rows) => Ok(rows),
            _ => Err(ControlError::Unreadable),
        }
    }

    /// Has the node cast a ballot; returns the petition's id.
    pub fn cast(mut self, request: &CastRequest) -> Result<Digest, ControlError> {
        match self.ask(&Query::Cast(request.clone()))? {
            Reply::Cast(id) => Ok(id),
            _ => Err(ControlError::Unreadable),
        }
    }

    /// Asks the node to stop; it has taken note when this returns.
    pub fn stop(mut self) -> Result<(), ControlError> {
        match self.ask(&Query::Stop)? {
            Reply::Stopping => Ok(()),
            _ => Err(ControlError::Unreadable),
        }
    }

    /// Hands over every entry the filter asks for, until `each` returns false; with `follow` also
    /// those to come, until the node ends.
    pub fn log(
        mut self,
        filter: &LogFilter,
        follow: bool,
        each: &mut dyn FnMut(&LogEntry) -> bool,
    ) -> Result<(), ControlError> {
        if follow {
            self.stream.get_ref().set_read_timeout(None)?;
        }
        let mut answer = self.ask(&Query::Log { filter: filter.clone(), follow });
        loop {
            match answer {
                Ok(Reply::Entry(entry)) if each(&entry) => answer = self.answer(),
                Ok(Reply::Entry(_) | Reply::End) => return Ok(()),
                Err(ControlError::Closed) if follow => return Ok(()),
                Ok(_) => return Err(ControlError::Unreadable),
                Err(error) => return Err(error),
            }
        }
    }

    fn ask(&mut self, query: &Query) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_vec(query).expect("a query is plain data");
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Reply, ControlError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ControlError::Closed);
        }
        match serde_json::from_str(&line) {
            Ok(Reply::Refused(why)) => Err(ControlError::Refused(why)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(ControlError::Unreadable),
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        if let ControlError::Refused(why) = &error {
            return Self::input(why).hint("see `witan status` and `witan member list`");
        }
        Self::new(FailureKind::Environment, error)
            .hint("look at what the node itself prints, or stop it and ask again")
    }
}

/// A node answers in milliseconds unless it is stuck.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
