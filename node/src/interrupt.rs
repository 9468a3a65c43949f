//! The wish to stop, heard from one moment on and never forgotten: whoever asks later hears of it
//! too.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often this process was told to stop, by an interrupt (Ctrl-C) or a termination signal.
#[derive(Clone, Debug)]
pub struct Interrupt {
    count: watch::Receiver<usize>,
}

impl Interrupt {
    /// Listens from now on, inside a tokio runtime; the signals do nothing else any more.
    pub fn listen() -> Self {
        let (sender, count) = watch::channel(0);
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let Ok(mut signals) = signal(kind) else { continue };
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    sender.send_modify(|count| *count += 1);
                }
            });
        }
        Self { count }
    }

    /// Whether it was told to stop.
    pub fn is_told(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Resolves when it is told to stop, at once if it was.
    pub async fn told(&mut self) {
        self.told_times(1).await;
    }

    /// Resolves when it is told to stop a second time: there is no patience left.
    pub async fn told_again(&mut self) {
        self.told_times(2).await;
    }

    async fn told_times(&mut self, times: usize) {
        if self.count.wait_for(|count| *count >= times).await.is_err() {
            // No signal can be heard here at all.
            std::future::pending::<()>().await;
        }
    }
}
