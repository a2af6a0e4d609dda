//! `load recall`: reads back by id what `load remember` wrote down, and compares every content.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::connection::Event;
use crate::fleet::Fleet;
use crate::jsonrpc;
use crate::report::{self, Faults};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    /// What `remember` wrote; more than one is read as one
    #[arg(long, required = true)]
    journal: Vec<PathBuf>,
    /// Gives up after this time
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds_max: u64,
}

#[derive(Serialize)]
struct Report {
    acknowledged: usize,
    recalled: usize,
    lost: usize,
    changed: usize,
    #[serde(flatten)]
    faults: Faults,
}

#[derive(Deserialize)]
struct Page {
    memories: Vec<Memory>,
}

#[derive(Deserialize)]
struct Memory {
    id: String,
    content: String,
}

/// The largest page of memory/recall.
const PAGE: usize = 100;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut expected = Vec::new();
    for path in &arguments.journal {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for line in text.lines() {
            let (id, content) = line.split_once('\t').context("a line without a tab")?;
            expected.push((id.to_owned(), content.to_owned()));
        }
    }
    let (recalled, faults) = recall(arguments, &expected)?;
    let lost = expected.iter().filter(|(id, _)| !recalled.contains_key(id));
    let changed = expected
        .iter()
        .filter(|(id, content)| recalled.get(id).is_some_and(|recalled| recalled != content));
    let report = Report {
        acknowledged: expected.len(),
        recalled: recalled.len(),
        lost: lost.count(),
        changed: changed.count(),
        faults,
    };
    report::print(&report)?;
    Ok(report.lost == 0 && report.changed == 0 && report.faults.none())
}

/// Page after page on one connection; what was found, by id.
fn recall(
    arguments: &Arguments,
    expected: &[(String, String)],
) -> anyhow::Result<(HashMap<String, String>, Faults)> {
    let pages: Vec<Vec<u8>> = expected
        .chunks(PAGE)
        .map(|chunk| {
            let ids: Vec<&str> = chunk.iter().map(|(id, _)| id.as_str()).collect();
            jsonrpc::request(1, "memory/recall", &json!({ "ids": ids, "limit": PAGE }))
        })
        .collect();
    let mut pages = pages.iter();
    let mut recalled = HashMap::new();
    let mut faults = Faults::default();
    let Some(first) = pages.next() else {
        return Ok((recalled, faults));
    };
    let mut fleet = Fleet::new(1)?;
    fleet.open(&arguments.url, 1, |_| String::new())?;
    fleet.each(|_, out| out.text(first))?;
    let done = fleet.run_until(arguments.seconds_max, |_, event, out, _| {
        let answer = match event {
            Event::Text(answer) => answer,
            Event::Closed(reason) => {
                faults.add(|| reason);
                return false;
            }
            Event::Open | Event::Accepted => return false,
        };
        match jsonrpc::result::<Page>(answer) {
            Ok((_, page)) => {
                recalled.extend(
                    page.memories
                        .into_iter()
                        .map(|memory| (memory.id, memory.content)),
                );
            }
            Err(error) => faults.add(|| error.to_string()),
        }
        match pages.next() {
            Some(page) => out.text(page),
            None => return true,
        }
        false
    })?;
    if !done {
        faults.add(|| "the server did not answer everything".to_owned());
    }
    Ok((recalled, faults))
}
