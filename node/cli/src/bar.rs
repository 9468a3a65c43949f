//! A bar of progress for work of several stages.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use witan_model::trainable::Progress;

/// A bar for each stage; a plain line at the end of each where there is no terminal.
pub(crate) struct Bar {
    is_silent: bool,
    bar: Option<(&'static str, ProgressBar)>,
}

impl Bar {
    /// Shown on standard error unless silent.
    pub(crate) fn new(is_silent: bool) -> Self {
        Self { is_silent, bar: None }
    }

    /// Work went on.
    pub(crate) fn tell(&mut self, progress: Progress) {
        let Progress { stage, done, total } = progress;
        if self.is_silent {
            return;
        }
        let bar = match &self.bar {
            Some((known, bar)) if *known == stage => bar,
            _ => {
                self.end();
                let style =
                    ProgressStyle::with_template("{prefix:9} {bar:30} {pos}/{len} {eta} left")
                        .expect("the template is well formed");
                let bar = ProgressBar::new(total as u64).with_style(style).with_prefix(stage);
                &self.bar.insert((stage, bar)).1
            }
        };
        bar.set_position(done as u64);
        if bar.is_hidden() && done == total {
            // Whoever read this may go away; the work goes on.
            let _ = writeln!(io::stderr(), "{stage} {done}/{total}");
        }
    }

    /// The last stage is over.
    pub(crate) fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
