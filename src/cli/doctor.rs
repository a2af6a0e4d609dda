//! `tmws doctor`: what would keep the server from serving well, and how to mend it.

use std::path::Path;

use clap::ArgMatches;

use super::settings::Sources;
use super::{Exit, local, say};
use crate::config::limits::HTTP_CONNECTIONS_MAX;
use crate::config::{Config, EmbeddingProvider, Io};
use crate::embed;
use crate::net::uring::Uring;
use crate::net::{affinity, limits};
use crate::store::{postgres, sqlite};

/// The outcome of one check.
enum Finding {
    Good(String),
    /// Works, but less well; and how to mend it.
    Weak(String, String),
    /// Does not work; and how to mend it.
    Bad(String, String),
}

pub(super) fn run(matches: &ArgMatches) -> Exit {
    let config = Sources::new(matches)
        .gather()
        .and_then(|settings| Config::from_settings(&settings));
    let mut findings = vec![("kernel", kernel()), ("config", configuration(&config))];
    if let Ok(config) = &config {
        findings.push(("io_uring", io_uring(config.io)));
        findings.push(("cores", cores(config)));
        findings.push(("open files", open_files(config)));
        findings.push(("store", store(config)));
        findings.push(("ports", ports(config)));
        findings.push(("model", model(config)));
    }
    let mut exit = Exit::Success;
    for (name, finding) in &findings {
        match finding {
            Finding::Good(fact) => say(&format!("ok    {name}: {fact}")),
            Finding::Weak(fact, mend) => say(&format!("weak  {name}: {fact}\n      {mend}")),
            Finding::Bad(fact, mend) => {
                exit = Exit::Failure;
                say(&format!("BAD   {name}: {fact}\n      {mend}"));
            }
        }
    }
    exit
}

fn kernel() -> Finding {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (6, 1) => {
            Finding::Good(format!("Linux {release}"))
        }
        _ => Finding::Weak(
            format!("Linux {release}"),
            "io_uring is used from 6.1 on; sockets are driven by epoll here".to_owned(),
        ),
    }
}

fn configuration(config: &Result<Config, crate::config::Problems>) -> Finding {
    match config {
        Ok(_) => Finding::Good("valid".to_owned()),
        Err(problems) => Finding::Bad(
            problems.to_string().replace('\n', "; "),
            "mend the names and values above; tmws serve --print-config shows all settings"
                .to_owned(),
        ),
    }
}

fn io_uring(io: Io) -> Finding {
    let mend =
        "allow io_uring in the container's seccomp profile, or set kernel.io_uring_disabled=0";
    match (Uring::probe(), io) {
        (Ok(()), _) => Finding::Good("available".to_owned()),
        (Err(error), Io::Uring) => {
            Finding::Bad(error.to_string(), format!("{mend}, or take --io auto"))
        }
        (Err(error), Io::Auto | Io::Epoll) => Finding::Weak(
            format!("{error}; sockets are driven by epoll"),
            mend.to_owned(),
        ),
    }
}

fn cores(config: &Config) -> Finding {
    let cores = affinity::cores().len();
    let shards = config.shards.unwrap_or(cores);
    let fact = format!("{cores}, for {shards} shards");
    if shards <= cores {
        Finding::Good(fact)
    } else {
        Finding::Weak(
            fact,
            "shards that share a core slow each other; set shards to 0".to_owned(),
        )
    }
}

fn open_files(config: &Config) -> Finding {
    let wanted = (config.connections_max + HTTP_CONNECTIONS_MAX) as u64;
    match limits::open_files() {
        Ok((_, hard)) if hard >= wanted => Finding::Good(format!("{hard} allowed")),
        Ok((_, hard)) => Finding::Weak(
            format!("{hard} allowed, {wanted} configured as connections"),
            "raise it with ulimit -n or LimitNOFILE, or lower ws_max_connections".to_owned(),
        ),
        Err(error) => Finding::Weak(error.to_string(), "the limit could not be read".to_owned()),
    }
}

fn store(config: &Config) -> Finding {
    match &config.database {
        Some(url) => database(url.reveal()),
        None => embedded_store(config),
    }
}

fn database(url: &str) -> Finding {
    let current = postgres::SCHEMA_VERSION;
    match local::block_on(postgres::inspect(url)) {
        Ok(schema) if schema == current => Finding::Good(format!("schema {schema} in PostgreSQL")),
        Ok(schema) => Finding::Good(format!(
            "schema {schema} in PostgreSQL, which the next start brings to {current}"
        )),
        Err(error) => Finding::Bad(
            error.to_string(),
            "check database_url, and that the server listens and has the extension vector"
                .to_owned(),
        ),
    }
}

fn embedded_store(config: &Config) -> Finding {
    let dir = config.data_dir.display();
    let mend = "make the data directory writable, or name another with --data-dir".to_owned();
    match sqlite::inspect(&config.data_dir) {
        Ok(Some(schema)) if schema == sqlite::SCHEMA_VERSION => {
            Finding::Good(format!("schema {schema} in {dir}"))
        }
        Ok(Some(schema)) => Finding::Good(format!(
            "schema {schema} in {dir}, which the next start brings to {}",
            sqlite::SCHEMA_VERSION
        )),
        Ok(None) => match probe_directory(&config.data_dir) {
            Ok(()) => Finding::Good(format!("will be created in {dir}")),
            Err(error) => Finding::Bad(format!("{dir}: {error}"), mend),
        },
        Err(sqlite::OpenError::InUse(_)) => {
            Finding::Good(format!("{dir} is in use by a running server"))
        }
        Err(error) => Finding::Bad(error.to_string(), mend),
    }
}

/// Tries to write where the data directory is or would be made.
fn probe_directory(dir: &Path) -> std::io::Result<()> {
    let absolute = std::path::absolute(dir)?;
    let nearest = absolute
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(&absolute);
    let probe = nearest.join(format!(".tmws-doctor-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}

fn ports(config: &Config) -> Finding {
    for address in [Some(config.api), config.ws].into_iter().flatten() {
        if let Err(error) = std::net::TcpListener::bind(address) {
            return Finding::Weak(
                format!("{address}: {error}"),
                "a server runs there already, or another program; set api_port and ws_port"
                    .to_owned(),
            );
        }
    }
    Finding::Good("free".to_owned())
}

fn model(config: &Config) -> Finding {
    let embedding = &config.embedding;
    match &embedding.provider {
        EmbeddingProvider::Off => Finding::Weak(
            "turned off; memories are found by their words".to_owned(),
            "leave embedding_model out, or name all-MiniLM-L6-v2".to_owned(),
        ),
        EmbeddingProvider::MiniLm { precise } => {
            match embed::installed(&embedding.model_dir, *precise) {
                Some(installed) => Finding::Good(super::model::describe(&installed)),
                None => Finding::Weak(
                    format!("not installed in {}", embedding.model_dir.display()),
                    "the next serve installs it, or run tmws model install now".to_owned(),
                ),
            }
        }
        EmbeddingProvider::Http { url, .. } => {
            Finding::Good(format!("{} of the service at {url}", embedding.model))
        }
        EmbeddingProvider::Static => Finding::Good("hashed words, without a model".to_owned()),
    }
}
