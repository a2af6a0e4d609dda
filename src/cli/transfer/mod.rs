//! `tmws export`, `import`, `backup` and `restore`: all memories out of a store and into it.
//!
//! Invariants: a file is read to its end and every line of it checked before the first change; a
//! file is written beside its place and renamed when it is whole; memory holds one page.

mod backup;
mod input;
mod legacy;
mod outfile;
mod progress;
mod vault;

use clap::ArgMatches;

use super::client::{self, Failure};
use super::{Exit, say, text};
use crate::domain::{Imported, Record};
use input::{Input, Line};
use outfile::Outfile;
use progress::Progress;
use vault::{Rejection, Vault};

/// Records that are sent at once.
const PAGE_RECORDS_MAX: usize = 200;
/// Bytes of lines that are sent at once, unless one line alone is longer: a quarter of the usual
/// message limit, which a server takes in without holding up its other connections.
const PAGE_BYTES_MAX: usize = 256 * 1024;

pub(super) fn run(command: &str, matches: &ArgMatches) -> Exit {
    let path = text(matches, "path");
    client::run(async {
        match command {
            "export" => export(matches, path).await,
            "import" => import(matches, path.unwrap_or("-")).await,
            "backup" => backup(matches, path.unwrap_or_default()).await,
            _ => restore(matches, path.unwrap_or_default()).await,
        }
    })
}

async fn export(matches: &ArgMatches, path: Option<&str>) -> Result<(), Failure> {
    let mut vault = vault::open(matches, vault::Purpose::Read).await?;
    let mut out = Outfile::create(path)?;
    let mut count = 0_u64;
    each_record(&mut *vault, "exporting", |record| {
        count += 1;
        out.write_line(&line_of(record)?)
    })
    .await?;
    out.finish()?;
    vault.close().await;
    if let Some(path) = path {
        say(&format!("{count} memories in {path}"));
    }
    Ok(())
}

async fn backup(matches: &ArgMatches, path: &str) -> Result<(), Failure> {
    let mut vault = vault::open(matches, vault::Purpose::Read).await?;
    let mut seal = backup::Seal::begin(Outfile::create(Some(path))?)?;
    each_record(&mut *vault, "backing up", |record| {
        seal.write_record(&line_of(record)?)
    })
    .await?;
    let trailer = seal.finish()?;
    vault.close().await;
    say(&format!(
        "{} memories in {path}, sha256 {}",
        trailer.records, trailer.sha256
    ));
    Ok(())
}

async fn import(matches: &ArgMatches, path: &str) -> Result<(), Failure> {
    let mut input = Input::open(path)?;
    let mut vault = vault::open(matches, vault::Purpose::Write).await?;
    let imported = bring_in(&mut input, &mut *vault).await?;
    vault.close().await;
    tell(imported);
    Ok(())
}

async fn restore(matches: &ArgMatches, path: &str) -> Result<(), Failure> {
    let mut input = Input::open(path)?;
    backup::verify(&mut input)?;
    let mut vault = vault::open(matches, vault::Purpose::Write).await?;
    if !matches.get_flag("merge") && !vault.page(1, None).await?.items.is_empty() {
        return Err(Failure::Failed(
            "the store is not empty; --merge adds what it lacks".to_owned(),
        ));
    }
    let imported = bring_in(&mut input, &mut *vault).await?;
    vault.close().await;
    tell(imported);
    Ok(())
}

fn tell(imported: Imported) {
    say(&format!(
        "{} memories stored, {} left alone",
        imported.created, imported.skipped
    ));
}

fn line_of(record: &Record) -> Result<String, Failure> {
    sonic_rs::to_string(record).map_err(|error| Failure::Failed(error.to_string()))
}

/// Hands over every record of the vault.
async fn each_record(
    vault: &mut dyn Vault,
    doing: &'static str,
    mut work: impl FnMut(&Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let progress = Progress::records(doing);
    let mut cursor = None;
    let mut done = 0;
    loop {
        let page = vault.page(PAGE_RECORDS_MAX as u32, cursor).await?;
        page.items.iter().try_for_each(&mut work)?;
        done += page.items.len() as u64;
        progress.at(done);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Checks the whole input, then stores it.
async fn bring_in(input: &mut Input, vault: &mut dyn Vault) -> Result<Imported, Failure> {
    pass(input, vault, true).await?;
    pass(input, vault, false).await
}

/// One pass over the input, page by page.
async fn pass(
    input: &mut Input,
    vault: &mut dyn Vault,
    check_only: bool,
) -> Result<Imported, Failure> {
    input.rewind()?;
    let doing = if check_only { "checking" } else { "importing" };
    let progress = Progress::bytes(doing, input.bytes());
    let mut sum = Imported::default();
    let mut page = Page::default();
    loop {
        let line = input.next_record()?;
        let fits = line.as_ref().is_some_and(|line| page.has_room(line));
        if !fits && !page.records.is_empty() {
            let imported = page.send(input, vault, check_only).await?;
            sum.created += imported.created;
            sum.skipped += imported.skipped;
            progress.at(input.position());
        }
        let Some(line) = line else { return Ok(sum) };
        page.add(line);
    }
}

/// Records on their way to the vault.
#[derive(Default)]
struct Page {
    records: Vec<Record>,
    /// The line of each.
    lines: Vec<u64>,
    bytes: usize,
}

impl Page {
    fn has_room(&self, line: &Line) -> bool {
        self.records.len() < PAGE_RECORDS_MAX && self.bytes + line.bytes <= PAGE_BYTES_MAX
    }

    fn add(&mut self, line: Line) {
        self.bytes += line.bytes;
        self.lines.push(line.number);
        self.records.push(line.record);
    }

    /// Sends everything and starts anew.
    async fn send(
        &mut self,
        input: &Input,
        vault: &mut dyn Vault,
        check_only: bool,
    ) -> Result<Imported, Failure> {
        let page = std::mem::take(self);
        let (first, last) = (page.lines.first(), page.lines.last());
        let (first, last) = (
            first.copied().unwrap_or_default(),
            last.copied().unwrap_or_default(),
        );
        vault
            .put(page.records, check_only)
            .await
            .map_err(|rejection| match rejection {
                Rejection::Record { index, problem } => {
                    let line = page.lines.get(index).copied().unwrap_or(first);
                    input.misfit(line, &problem)
                }
                Rejection::Page(Failure::Unreachable(problem)) => Failure::Unreachable(format!(
                    "{problem}\nlines {first} to {last} were under way, {} bytes; a page that is \
                     larger than the server's ws_max_message_size goes into a store directly only",
                    page.bytes
                )),
                Rejection::Page(failure) => failure,
            })
    }
}
