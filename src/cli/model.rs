//! `tmws model`: the embedding model on this machine.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressStyle};

use super::settings::Sources;
use super::{Exit, complain, say};
use crate::config::Config;
use crate::embed::{self, Installed, Stage};

/// Time between two lines on the progress where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((command, matches)) = matches.subcommand() else {
        // The command line asks for one.
        return Exit::Usage;
    };
    let config = match Sources::new(matches)
        .gather()
        .and_then(|settings| Config::from_settings(&settings))
    {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems);
            return Exit::Usage;
        }
    };
    match command {
        "install" => install(&config, matches.get_flag("precise")),
        _ => status(&config),
    }
}

fn install(config: &Config, precise: bool) -> Exit {
    let models = &config.embedding.model_dir;
    let mut progress = Progress::new();
    let installed = embed::install(models, precise, &mut |stage| {
        progress.show(stage);
        ControlFlow::Continue(())
    });
    progress.end();
    match installed {
        Ok(installed) => {
            say(&describe(&installed));
            Exit::Success
        }
        Err(error) => {
            complain(&error);
            Exit::Failure
        }
    }
}

fn status(config: &Config) -> Exit {
    let embedding = &config.embedding;
    match embed::installed(&embedding.model_dir, false) {
        Some(installed) => {
            say(&describe(&installed));
            Exit::Success
        }
        None => {
            say(&format!(
                "not installed in {}; tmws model install brings it, and so does the first serve",
                embedding.model_dir.display()
            ));
            Exit::Failure
        }
    }
}

/// One line about an installed model.
pub(super) fn describe(installed: &Installed) -> String {
    let precise = match installed.precise {
        Some(_) => ", with its unrounded weights",
        None => "",
    };
    let directory = installed.rounded.parent().unwrap_or(&installed.rounded);
    format!(
        "all-MiniLM-L6-v2 in {}, {:.0} MB{precise}; it runs on {}",
        directory.display(),
        installed.bytes() as f64 / 1e6,
        embed::Isa::best().name()
    )
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    said: Option<(Stage, Instant)>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = "{msg:<40} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
            // The template is ours and sound; the usual one would do as well.
            bar.set_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        Self { bar, said: None }
    }

    fn show(&mut self, stage: Stage) {
        if let Some(bar) = &self.bar {
            if let Stage::Downloading { done, total } = stage {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message("fetching the model");
            } else {
                bar.set_message(stage.to_string());
                bar.tick();
            }
            return;
        }
        let news = self.said.is_none_or(|(said, at)| {
            std::mem::discriminant(&said) != std::mem::discriminant(&stage)
                || at.elapsed() >= LINE_INTERVAL
        });
        if news {
            self.said = Some((stage, Instant::now()));
            complain(&stage);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
