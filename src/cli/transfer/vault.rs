//! Where memories are copied from or to: a running server, or the store itself.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use clap::ArgMatches;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sonic_rs::JsonValueTrait;

use super::super::client::{self, Client, Failure};
use super::super::settings::Sources;
use super::super::text;
use crate::config::{Config, Problems, Value};
use crate::domain::{Imported, Page, Record};
use crate::operations::{check_record, export_page};
use crate::store::sqlite::{self, OpenError, SqliteOptions, SqliteStore};
use crate::store::{Store, StoreError};

/// Time for one page: the server answers within its own limits or not at all.
const PAGE_SECONDS_MAX: Duration = Duration::from_secs(60);
/// Times that a page is sent when the server is busy; with its pauses, some ten seconds.
const TRIES_MAX: u32 = 40;
/// Pause before another try if the server names none.
const PAUSE: Duration = Duration::from_millis(250);

/// A page under way.
pub(super) type Coming<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Why a page was not taken. Nothing of it was stored.
pub(super) enum Rejection {
    /// One record breaks a rule.
    Record {
        /// Its place in the page.
        index: usize,
        /// Its field and what is wrong with it.
        problem: String,
    },
    /// The page as a whole failed.
    Page(Failure),
}

/// What memories are copied from or to, a page at a time.
pub(super) trait Vault {
    /// A page of at most `limit` records.
    fn page(
        &mut self,
        limit: u32,
        cursor: Option<String>,
    ) -> Coming<'_, Result<Page<Record>, Failure>>;

    /// Stores a page, or with `check_only` only tells whether it could be stored.
    fn put(
        &mut self,
        records: Vec<Record>,
        check_only: bool,
    ) -> Coming<'_, Result<Imported, Rejection>>;

    /// Ends the connection, or closes the store.
    fn close(self: Box<Self>) -> Coming<'static, ()>;
}

/// What the vault is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

/// The server that was named; or the one that runs in the usual place; or, if there is none or a
/// data directory was named, the store in it.
pub(super) async fn open(
    matches: &ArgMatches,
    purpose: Purpose,
) -> Result<Box<dyn Vault>, Failure> {
    let server_named = client::url(matches).is_some();
    let dir_named = text(matches, "data_dir").is_some();
    if server_named || !dir_named {
        match tokio::time::timeout(PAGE_SECONDS_MAX, Client::connect(matches)).await {
            Ok(Ok(client)) => return Ok(Box::new(Server(client))),
            Ok(Err(Failure::Absent(_))) if !server_named => {}
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(late()),
        }
    }
    let usage = |problems: Problems| Failure::Usage(problems.to_string());
    let settings = Sources::new(matches).gather().map_err(usage)?;
    let config = Config::from_settings(&settings).map_err(usage)?;
    let elsewhere =
        matches!(settings.get("database_url").0, Value::Text(url) if url.starts_with("postgres"));
    if elsewhere && !dir_named {
        // The embedded store beside it would be the wrong one, and seem to be the right one.
        return Err(Failure::Unreachable(
            "no server runs, and database_url names a store that only a server opens".to_owned(),
        ));
    }
    Ok(Box::new(Direct::open(&config, purpose)?))
}

fn late() -> Failure {
    let seconds = PAGE_SECONDS_MAX.as_secs();
    Failure::Unreachable(format!("no answer within {seconds} s"))
}

struct Server(Client);

#[derive(Deserialize)]
struct Exported {
    records: Vec<Record>,
    next_cursor: Option<String>,
}

impl Server {
    /// Asks, and asks again as long as the server says that it may help.
    async fn ask<T: DeserializeOwned>(&mut self, method: &str, params: &str) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            let asked = self.0.request(method, params);
            let answer = tokio::time::timeout(PAGE_SECONDS_MAX, asked).await;
            match answer.unwrap_or_else(|_| Err(late())) {
                Err(Failure::Refused(error))
                    if error["data"]["retryable"].as_bool() == Some(true) && tries < TRIES_MAX =>
                {
                    tries += 1;
                    let pause = error["data"]["retry_after_ms"].as_u64();
                    tokio::time::sleep(pause.map_or(PAUSE, Duration::from_millis)).await;
                }
                other => return other,
            }
        }
    }
}

impl Vault for Server {
    fn page(
        &mut self,
        limit: u32,
        cursor: Option<String>,
    ) -> Coming<'_, Result<Page<Record>, Failure>> {
        Box::pin(async move {
            let cursor =
                cursor.map_or_else(String::new, |cursor| format!(",\"cursor\":\"{cursor}\""));
            let params = format!("{{\"limit\":{limit}{cursor}}}");
            let exported: Exported = self.ask("memory/export", &params).await?;
            Ok(Page {
                items: exported.records,
                next_cursor: exported.next_cursor,
            })
        })
    }

    fn put(
        &mut self,
        records: Vec<Record>,
        check_only: bool,
    ) -> Coming<'_, Result<Imported, Rejection>> {
        Box::pin(async move {
            let records = sonic_rs::to_string(&records)
                .map_err(|error| Rejection::Page(Failure::Failed(error.to_string())))?;
            let params = format!("{{\"records\":{records},\"check_only\":{check_only}}}");
            let asked = self.ask("memory/import", &params).await;
            asked.map_err(|failure| match failure {
                Failure::Refused(error) => rejection(error),
                failure => Rejection::Page(failure),
            })
        })
    }

    fn close(self: Box<Self>) -> Coming<'static, ()> {
        Box::pin(self.0.close())
    }
}

/// The record that the server's error is about, if it is about one.
fn rejection(error: sonic_rs::Value) -> Rejection {
    let Some(index) = error["data"]["index"].as_u64() else {
        return Rejection::Page(Failure::Refused(error));
    };
    let message = error["message"].as_str().unwrap_or_default();
    let prefix = format!("records[{index}]: ");
    Rejection::Record {
        index: index as usize,
        problem: message.strip_prefix(&prefix).unwrap_or(message).to_owned(),
    }
}

/// The embedded store, held by this process.
struct Direct {
    store: SqliteStore,
    content_chars_max: usize,
}

impl Direct {
    fn open(config: &Config, purpose: Purpose) -> Result<Self, Failure> {
        let dir = &config.data_dir;
        // What is only read must be there, and sound.
        if purpose == Purpose::Read && sqlite::inspect(dir).map_err(closed)?.is_none() {
            return Err(Failure::Failed(format!(
                "no server runs, and there is no store in {}; name one with --url or --data-dir",
                dir.display()
            )));
        }
        let store = SqliteStore::open(dir, SqliteOptions::default()).map_err(closed)?;
        Ok(Self {
            store,
            content_chars_max: config.content_chars_max,
        })
    }
}

fn closed(error: OpenError) -> Failure {
    Failure::Failed(match error {
        OpenError::InUse(dir) => format!(
            "the data directory {} is in use by a running server; name that server with --url",
            dir.display()
        ),
        error => error.to_string(),
    })
}

fn failed(error: &StoreError) -> Failure {
    Failure::Failed(error.to_string())
}

impl Vault for Direct {
    fn page(
        &mut self,
        limit: u32,
        cursor: Option<String>,
    ) -> Coming<'_, Result<Page<Record>, Failure>> {
        Box::pin(async move {
            let page = export_page(&self.store, limit, cursor).await;
            page.map_err(|error| failed(&error))
        })
    }

    fn put(
        &mut self,
        mut records: Vec<Record>,
        check_only: bool,
    ) -> Coming<'_, Result<Imported, Rejection>> {
        Box::pin(async move {
            for (index, record) in records.iter_mut().enumerate() {
                check_record(record, self.content_chars_max).map_err(|misfit| {
                    Rejection::Record {
                        index,
                        problem: misfit.to_string(),
                    }
                })?;
            }
            if check_only {
                return Ok(Imported::default());
            }
            let imported = self.store.import(records).await;
            imported.map_err(|error| Rejection::Page(failed(&error)))
        })
    }

    fn close(self: Box<Self>) -> Coming<'static, ()> {
        self.store.close();
        Box::pin(std::future::ready(()))
    }
}
