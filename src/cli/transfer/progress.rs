//! How far a copy is, on a terminal.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar or a count; nothing where there is no terminal. It goes when it is dropped.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Counts records whose number is not known beforehand.
    pub(super) fn records(doing: &'static str) -> Self {
        Self::new(0, doing, "{spinner} {msg} {pos} memories, {per_sec}")
    }

    /// Shows how much of `total` bytes is done.
    pub(super) fn bytes(doing: &'static str, total: u64) -> Self {
        let style = "{msg:<12} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
        Self::new(total, doing, style)
    }

    fn new(total: u64, doing: &'static str, style: &str) -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total).with_message(doing);
            // The templates are ours and sound; the usual one would do as well.
            bar.set_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        }))
    }

    /// So much is done.
    pub(super) fn at(&self, position: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
