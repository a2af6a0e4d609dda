//! Configuration: flags over environment over `tmws.toml` over defaults.
//!
//! [`keys::KEYS`] is the one table of what can be set; flags, environment names, the file, its
//! printed form and the error for a mistyped name all come from it. Every bound that cannot be
//! set stands in [`limits`] with its reason.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

mod embedding;
mod key;
pub mod keys;
pub mod limits;
mod print;
mod secret;
mod sources;
mod value;

pub use embedding::{Embedding, EmbeddingApi, EmbeddingProvider};
pub use print::print;
pub use secret::Secret;
pub use sources::{Problem, Problems, Settings, gather};
pub use value::{Kind, Value};

/// True if a setting is true or false.
pub fn value_is_boolean(key: &keys::Key) -> bool {
    matches!(key.kind, Kind::Boolean)
}

/// How sockets are driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring, or refuse to start.
    Uring,
    /// epoll.
    Epoll,
}

/// Which tools `tools/list` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolProfile {
    /// The twelve that most agents need.
    Core,
    /// All.
    Full,
}

impl ToolProfile {
    /// The profile that a client names.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "core" => Some(Self::Core),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// Log output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level such as `info`, or directives such as `info,tmws::net=debug`.
    pub level: String,
    /// JSON instead of text.
    pub json: bool,
    /// A file instead of standard error.
    pub file: Option<PathBuf>,
}

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directory of the embedded store.
    pub data_dir: PathBuf,
    /// Address of the PostgreSQL database, if the store is not the embedded one.
    pub database: Option<Secret>,
    /// Address of the Redis server by which the nodes of a fleet reach each other.
    pub redis: Option<Secret>,
    /// Shards; one per core unless set.
    pub shards: Option<usize>,
    /// How sockets are driven.
    pub io: Io,
    /// WebSocket path that echoes, for protocol suites.
    pub echo_path: Option<String>,
    /// Serve without authentication on an address that others can reach.
    pub insecure: bool,
    /// Address of the API listener.
    pub api: SocketAddr,
    /// Address of the WebSocket listener, unless it is off.
    pub ws: Option<SocketAddr>,
    /// WebSocket connections at once.
    pub connections_max: usize,
    /// Time between pings on a quiet connection.
    pub ping_interval: Duration,
    /// Time for the pong.
    pub ping_timeout: Duration,
    /// Time without a message after which a connection is closed.
    pub idle_timeout: Duration,
    /// Time for which a session whose connection is lost may be taken up again.
    pub reconnect_window: Duration,
    /// Time that a connection may read nothing of what waits for it.
    pub stalled_timeout: Duration,
    /// Time for a request head.
    pub handshake_timeout: Duration,
    /// Bytes of one message.
    pub message_bytes_max: usize,
    /// Bytes of one receive buffer.
    pub buffer_bytes: u32,
    /// Receive buffers of one shard.
    pub buffers: u16,
    /// Offer permessage-deflate.
    pub deflate: bool,
    /// Tools that `tools/list` shows unless the client chooses.
    pub tool_profile: ToolProfile,
    /// Entries of one batch.
    pub batch_max: usize,
    /// Origins of browsers that may connect, besides the server's own.
    pub origins: Vec<String>,
    /// Host names that the server answers to, besides loopback names and its own addresses.
    pub hosts: Vec<String>,
    /// Characters of one memory.
    pub content_chars_max: usize,
    /// Time to let connections go at a stop.
    pub drain: Duration,
    /// Take the listeners over from the server that runs on the data directory.
    pub take_over: bool,
    /// Log output.
    pub log: Log,
    /// How texts become vectors.
    pub embedding: Embedding,
    /// Which memories are pruned, and how often the store is looked after.
    pub upkeep: Upkeep,
}

/// What the store's upkeep does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// Time between two runs.
    pub every: Duration,
    /// Memories whose relevance times importance falls below so many hundredths are pruned; 0
    /// prunes nothing.
    pub prune_below_percent: u8,
    /// No memory younger than this is pruned.
    pub prune_age: Duration,
}

impl Config {
    /// Checks what concerns more than one key, and turns the settings into a configuration.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        keys::refuse_unavailable(settings, &mut problems);
        let address = |host: &'static str, port: &'static str, problems: &mut Vec<Problem>| {
            let text = settings.text(host);
            let host_ip = if text == "localhost" {
                "127.0.0.1"
            } else {
                text
            };
            match host_ip.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => SocketAddr::new(ip, settings.integer(port) as u16),
                Err(_) => {
                    problems.push(Problem::of(
                        host,
                        format!("{text:?} is not an IP address or localhost"),
                    ));
                    SocketAddr::from(([127, 0, 0, 1], 0))
                }
            }
        };
        let api = address("api_host", "api_port", &mut problems);
        let ws = settings
            .boolean("ws_enabled")
            .then(|| address("ws_host", "ws_port", &mut problems));
        let insecure = settings.boolean("insecure");
        for (key, address) in [("api_host", Some(api)), ("ws_host", ws)] {
            if let Some(address) = address
                && !address.ip().is_loopback()
                && !insecure
            {
                problems.push(Problem::of(
                    key,
                    format!(
                        "{} can be reached from other machines and authentication is off; \
                         bind a loopback address, or accept the risk with --insecure",
                        address.ip()
                    ),
                ));
            }
        }
        let path = settings.text("echo_path");
        if !path.is_empty() && !path.starts_with('/') {
            problems.push(Problem::of("echo_path", "must begin with /"));
        }
        if !(settings.integer("buffer_pool_size") as u64).is_power_of_two() {
            problems.push(Problem::of("buffer_pool_size", "must be a power of two"));
        }
        let seconds = |key| Duration::from_secs(settings.integer(key) as u64);
        let optional = |key| Some(settings.text(key)).filter(|text| !text.is_empty());
        let config = Self {
            data_dir: settings.text("data_dir").into(),
            database: Secret::new(settings.text("database_url"))
                .filter(|url| !url.reveal().starts_with("sqlite:")),
            redis: Secret::new(settings.text("redis_url")),
            shards: Some(settings.integer("shards") as usize).filter(|&shards| shards > 0),
            io: match settings.text("io") {
                "uring" => Io::Uring,
                "epoll" => Io::Epoll,
                _ => Io::Auto,
            },
            echo_path: optional("echo_path").map(str::to_owned),
            insecure,
            api,
            ws,
            connections_max: settings.integer("ws_max_connections") as usize,
            ping_interval: seconds("ws_ping_interval"),
            ping_timeout: seconds("ws_ping_timeout"),
            idle_timeout: seconds("connection_timeout"),
            reconnect_window: seconds("reconnect_window"),
            stalled_timeout: seconds("stalled_timeout"),
            handshake_timeout: seconds("handshake_timeout"),
            message_bytes_max: settings.integer("ws_max_message_size") as usize,
            buffer_bytes: settings.integer("message_buffer_size") as u32,
            buffers: settings.integer("buffer_pool_size") as u16,
            deflate: settings.boolean("permessage_deflate"),
            tool_profile: ToolProfile::from_name(settings.text("tool_profile"))
                .unwrap_or(ToolProfile::Core),
            batch_max: settings.integer("parallel_batch_size") as usize,
            origins: settings.list("cors_origins"),
            hosts: settings.list("allowed_hosts"),
            content_chars_max: settings.integer("memory_content_max") as usize,
            drain: seconds("drain_seconds"),
            take_over: settings.boolean("take_over"),
            log: Log {
                level: settings.text("log_level").to_lowercase(),
                json: settings.text("log_format") == "json",
                file: optional("log_file").map(PathBuf::from),
            },
            embedding: Embedding::from_settings(settings, &mut problems),
            upkeep: Upkeep {
                every: seconds("upkeep_seconds"),
                prune_below_percent: settings.integer("memory_prune_below") as u8,
                prune_age: seconds("memory_prune_days") * 86_400,
            },
        };
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(Problems(problems))
        }
    }

    /// This configuration with what a running server can change taken from `newer`; the second
    /// value says whether `newer` differs in anything else, which needs a restart.
    pub fn reload(&self, newer: &Self) -> (Self, bool) {
        let reloaded = Self {
            connections_max: newer.connections_max,
            ping_interval: newer.ping_interval,
            ping_timeout: newer.ping_timeout,
            idle_timeout: newer.idle_timeout,
            stalled_timeout: newer.stalled_timeout,
            handshake_timeout: newer.handshake_timeout,
            message_bytes_max: newer.message_bytes_max,
            deflate: newer.deflate,
            batch_max: newer.batch_max,
            origins: newer.origins.clone(),
            hosts: newer.hosts.clone(),
            content_chars_max: newer.content_chars_max,
            drain: newer.drain,
            log: Log {
                level: newer.log.level.clone(),
                ..self.log.clone()
            },
            ..self.clone()
        };
        let restart = reloaded != *newer;
        (reloaded, restart)
    }
}

#[cfg(test)]
mod tests {
    use super::limits::SESSION_WINDOW_SECONDS;
    use super::{Config, Problems, gather};

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, Problems> {
        let own = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<Vec<_>>()
        };
        let settings = gather(Some(file), &own(environment), &own(flags))?;
        Config::from_settings(&settings)
    }

    fn refusal(file: &str, environment: &[(&str, &str)]) -> String {
        load(file, environment, &[]).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = load("", &[], &[]).unwrap();
        assert_eq!(config.api.to_string(), "127.0.0.1:8000");
        assert_eq!(config.ws.unwrap().to_string(), "127.0.0.1:8001");
        assert_eq!(config.connections_max, 10_000);
        assert_eq!(config.message_bytes_max, 1 << 20);
        assert_eq!(config.buffer_bytes, 4096);
        assert_eq!(config.ping_interval.as_secs(), 20);
        assert_eq!(config.ping_timeout.as_secs(), 10);
        assert_eq!(config.idle_timeout.as_secs(), 300);
        assert_eq!(config.drain.as_secs(), 5);
        assert_eq!(config.reconnect_window.as_secs(), SESSION_WINDOW_SECONDS);
        assert_eq!(config.stalled_timeout.as_secs(), 30);
        assert!(config.deflate);
    }

    #[test]
    fn flags_outrank_environment_outranks_file() {
        let file = "ws_port = 1001\napi_port = 1002\nshards = 3";
        let config = load(
            file,
            &[("TMWS_WS_PORT", "2001"), ("TMWS_API_PORT", "2002")],
            &[("ws_port", "3001")],
        )
        .unwrap();
        assert_eq!(config.ws.unwrap().port(), 3001);
        assert_eq!(config.api.port(), 2002);
        assert_eq!(config.shards, Some(3));
    }

    #[test]
    fn tables_of_the_file_join_their_names() {
        let config = load("[ws]\nport = 1001\n[api]\nport = 1002", &[], &[]).unwrap();
        assert_eq!(config.ws.unwrap().port(), 1001);
        assert_eq!(config.api.port(), 1002);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        assert!(refusal("ws_prot = 1", &[]).contains("ws_port"));
        let problem = refusal("", &[("TMWS_WS_MAX_CONECTIONS", "1")]);
        assert!(
            problem.contains("TMWS_WS_MAX_CONECTIONS")
                && problem.contains("TMWS_WS_MAX_CONNECTIONS")
        );
    }

    #[test]
    fn a_value_out_of_bounds_names_the_bound() {
        assert!(refusal("", &[("TMWS_WS_PORT", "70000")]).contains("65535"));
        assert!(refusal("", &[("TMWS_WS_PORT", "x")]).contains("TMWS_WS_PORT"));
        assert!(refusal("drain_seconds = 30", &[]).contains('9'));
        assert!(refusal("io = \"kqueue\"", &[]).contains("uring"));
        assert!(refusal("buffer_pool_size = 1000", &[]).contains("power of two"));
        assert!(refusal("ws_port = \"eight\"", &[]).contains("ws_port"));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = refusal("ws_port = 70000\napi_port = 70000\nnonsense = 1", &[]);
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn an_open_address_without_authentication_needs_insecure() {
        assert!(refusal("api_host = \"0.0.0.0\"", &[]).contains("--insecure"));
        let flags = [("insecure", "true"), ("api_host", "0.0.0.0")];
        assert!(load("", &[], &flags).is_ok());
    }

    #[test]
    fn what_this_version_cannot_honour_is_refused_and_not_ignored() {
        for (name, value) in [
            ("TMWS_AUTH_ENABLED", "true"),
            ("TMWS_ENVIRONMENT", "production"),
            ("TMWS_SSL_CERT_FILE", "cert.pem"),
            ("TMWS_RATE_LIMIT_ENABLED", "true"),
        ] {
            let problem = refusal("", &[(name, value)]);
            assert!(problem.contains("this version"), "{name}: {problem}");
        }
        assert!(
            load(
                "",
                &[("TMWS_AUTH_ENABLED", "false"), ("TMWS_REDIS_URL", "")],
                &[]
            )
            .is_ok()
        );
    }

    #[test]
    fn nodes_of_a_fleet_share_a_database() {
        let redis = ("TMWS_REDIS_URL", "redis://localhost");
        let database = ("TMWS_DATABASE_URL", "postgres://localhost/tmws");
        assert!(refusal("", &[redis]).contains("database_url"));
        let http = ("TMWS_REDIS_URL", "http://localhost");
        assert!(refusal("", &[http, database]).contains("redis://"));
        assert!(load("", &[redis, database], &[]).unwrap().redis.is_some());
    }

    #[test]
    fn a_reload_takes_limits_and_says_what_needs_a_restart() {
        let running = load("", &[], &[]).unwrap();
        let newer = load("ws_max_connections = 7", &[], &[]).unwrap();
        let (reloaded, restart) = running.reload(&newer);
        assert_eq!((reloaded.connections_max, restart), (7, false));
        let (reloaded, restart) = running.reload(&load("ws_port = 7", &[], &[]).unwrap());
        assert_eq!((reloaded.ws, restart), (running.ws, true));
    }
}
