//! `load remember`: stores memories until the server goes away, and writes down each that was
//! acknowledged: its id, a tab, its content.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::connection::Event;
use crate::fleet::Fleet;
use crate::jsonrpc;
use crate::outbox::Outbox;
use crate::report::{self, Faults};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Stores in flight on each connection
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=128))]
    pipeline: u32,
    /// First word of every content, to tell runs apart
    #[arg(long)]
    label: String,
    /// What was acknowledged is written here
    #[arg(long)]
    journal: PathBuf,
    /// Stops by itself after this time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds_max: u64,
}

#[derive(Serialize)]
struct Report {
    sent: u64,
    acknowledged: u64,
    #[serde(flatten)]
    faults: Faults,
}

#[derive(Deserialize)]
struct Acknowledgement {
    id: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let file = File::create(&arguments.journal)
        .with_context(|| arguments.journal.display().to_string())?;
    let connections = arguments.connections as usize;
    let mut fleet = Fleet::new(connections)?;
    let mut memories = Memories {
        label: &arguments.label,
        numbers: vec![0; connections],
        journal: BufWriter::new(file),
        acknowledged: 0,
        faults: Faults::default(),
    };
    // A server that is gone before the first store has acknowledged nothing.
    if fleet
        .open(&arguments.url, connections, |_| String::new())
        .is_ok()
    {
        fleet.each(|index, out| {
            for _ in 0..arguments.pipeline {
                memories.next(index, out);
            }
        })?;
        fleet.run_until(arguments.seconds_max, |index, event, out, _| {
            if let Event::Text(answer) = event {
                memories.answer(index, answer, out);
            }
            false
        })?;
    }
    memories.journal.flush()?;
    let good = memories.faults.none();
    report::print(&Report {
        sent: memories.numbers.iter().sum(),
        acknowledged: memories.acknowledged,
        faults: memories.faults,
    })?;
    Ok(good)
}

struct Memories<'a> {
    label: &'a str,
    /// Memories sent so far, by connection.
    numbers: Vec<u64>,
    journal: BufWriter<File>,
    acknowledged: u64,
    faults: Faults,
}

impl Memories<'_> {
    /// Sends a connection's next memory; its number is the request's id.
    fn next(&mut self, index: usize, out: &mut Outbox) {
        self.numbers[index] += 1;
        let number = self.numbers[index];
        let params = json!({ "content": self.content(index, number) });
        out.text(&jsonrpc::request(number, "memory/create", &params));
    }

    /// Different lengths, so that rows lie across pages of the store in many ways.
    fn content(&self, index: usize, number: u64) -> String {
        let padding = "pad ".repeat((number as usize * 7 + index * 13) % 120);
        format!(
            "{} connection {index} number {number} {padding}end",
            self.label
        )
    }

    fn answer(&mut self, index: usize, answer: &[u8], out: &mut Outbox) {
        match jsonrpc::result::<Acknowledgement>(answer) {
            Ok((number, Acknowledgement { id })) => {
                let content = self.content(index, number);
                if writeln!(self.journal, "{id}\t{content}").is_err() {
                    self.faults
                        .add(|| "the journal cannot be written".to_owned());
                }
                self.acknowledged += 1;
            }
            Err(error) => self.faults.add(|| error.to_string()),
        }
        self.next(index, out);
    }
}
