//! The table of everything that can be set.

use super::key::{integer, key, unavailable};
use super::limits;
use super::value::Kind;

pub(super) use super::key::refuse_unavailable;
pub use super::key::{CLIENT_VARIABLES, Key, find};

const PORT: Kind = integer(0, 65_535);

/// Every setting, in the order in which `--print-config` and `--help` show them.
pub const KEYS: &[Key] = &[
    key(
        "environment",
        Kind::Choice(&["development", "testing", "production"]),
        "development",
        "What the server is for; production demands authentication",
    ),
    key(
        "data_dir",
        Kind::Text,
        "./data",
        "Directory of the embedded store",
    ),
    key(
        "database_url",
        Kind::Text,
        "",
        "sqlite: or nothing for the embedded store in the data directory",
    ),
    key(
        "shards",
        integer(0, limits::SHARDS_MAX as i64),
        "0",
        "Threads that own connections; 0 is one per core",
    ),
    key(
        "io",
        Kind::Choice(&["auto", "uring", "epoll"]),
        "auto",
        "How sockets are driven; auto takes io_uring where the kernel allows it",
    ),
    key(
        "echo_path",
        Kind::Text,
        "",
        "WebSocket path that echoes every message, for protocol suites and benches",
    ),
    key(
        "insecure",
        Kind::Boolean,
        "false",
        "Serve without authentication on an address that others can reach",
    ),
    key(
        "api_host",
        Kind::Text,
        "127.0.0.1",
        "IP address of the API listener",
    ),
    key(
        "api_port",
        PORT,
        "8000",
        "Port of the API listener; 0 lets the system choose",
    ),
    key(
        "ws_enabled",
        Kind::Boolean,
        "true",
        "Open the WebSocket listener",
    ),
    key(
        "ws_host",
        Kind::Text,
        "127.0.0.1",
        "IP address of the WebSocket listener",
    ),
    key(
        "ws_port",
        PORT,
        "8001",
        "Port of the WebSocket listener; 0 lets the system choose",
    ),
    key(
        "ws_max_connections",
        integer(1, 1_000_000),
        "10000",
        "WebSocket connections at once; more are answered 503",
    ),
    key(
        "ws_ping_interval",
        integer(1, 3_600),
        "20",
        "Seconds between pings on a quiet connection",
    ),
    key(
        "ws_ping_timeout",
        integer(1, 600),
        "10",
        "Seconds for the pong before a connection counts as dead",
    ),
    key(
        "ws_max_message_size",
        integer(1_024, 64 << 20),
        "1048576",
        "Bytes of one message; a larger one closes the connection with 1009",
    ),
    key(
        "connection_timeout",
        integer(1, 86_400),
        "300",
        "Seconds without a message in either direction after which a connection is closed",
    ),
    key(
        "handshake_timeout",
        integer(1, 600),
        "10",
        "Seconds for a request head",
    ),
    key(
        "message_buffer_size",
        integer(1_024, 65_536),
        "4096",
        "Bytes of one receive buffer",
    ),
    key(
        "buffer_pool_size",
        integer(8, 16_384),
        "1024",
        "Receive buffers of one shard; a power of two",
    ),
    key(
        "permessage_deflate",
        Kind::Boolean,
        "true",
        "Compress messages of 1 KiB and more for clients that offer it",
    ),
    key(
        "tool_profile",
        Kind::Choice(&["core", "full"]),
        "core",
        "Tools that tools/list shows unless the client chooses",
    ),
    key(
        "parallel_batch_size",
        integer(1, 1_000),
        "100",
        "Entries of one JSON-RPC batch; a longer one is refused whole",
    ),
    key(
        "cors_origins",
        Kind::List,
        "",
        "Origins of browsers that may connect, besides the server's own",
    ),
    key(
        "allowed_hosts",
        Kind::List,
        "",
        "Host names that the server answers to, besides loopback names and its addresses",
    ),
    key(
        "memory_content_max",
        integer(1, 1_000_000),
        "10000",
        "Characters of one memory",
    ),
    key(
        "drain_seconds",
        integer(0, 9),
        "5",
        "Seconds over which a stop spreads the closing of connections",
    ),
    key(
        "log_level",
        Kind::Text,
        "info",
        "error, warn, info, debug or trace, or directives such as info,tmws::net=debug",
    ),
    key(
        "log_format",
        Kind::Choice(&["text", "json"]),
        "text",
        "One event per line, as text or JSON",
    ),
    key(
        "log_file",
        Kind::Text,
        "",
        "Write the log to this file instead of standard error",
    ),
    key(
        "embedding_provider",
        Kind::Choice(&["minilm", "http", "static"]),
        "minilm",
        "Who makes vectors: the model inside the server, a service, or hashed words without a model",
    ),
    key(
        "embedding_model",
        Kind::Text,
        "all-MiniLM-L6-v2",
        "Embedding model; none searches by words only",
    ),
    key(
        "vector_dimension",
        integer(1, 16_384),
        "384",
        "Numbers of a vector, as the embedding model makes them",
    ),
    key(
        "embedding_precise",
        Kind::Boolean,
        "false",
        "Compute with the model's unrounded weights: several times slower, hardly better",
    ),
    key(
        "embedding_threads",
        integer(0, limits::COMPUTE_THREADS_MAX as i64),
        "0",
        "Threads that compute vectors; 0 is one per core",
    ),
    key(
        "embedding_url",
        Kind::Text,
        "",
        "Address of an embedding service, such as http://127.0.0.1:11434/api/embed",
    ),
    key(
        "embedding_api",
        Kind::Choice(&["auto", "openai", "ollama"]),
        "auto",
        "What the embedding service speaks; auto goes by its address",
    ),
    key(
        "embedding_api_key",
        Kind::Secret,
        "",
        "Key of the embedding service",
    ),
    key(
        "model_dir",
        Kind::Text,
        "",
        "Directory of installed models (default tmws/models in the user's data directory)",
    ),
    key(
        "max_cache_size",
        integer(0, 10_000_000),
        "1000",
        "Query vectors kept for semantic search",
    ),
    key(
        "jwt_algorithm",
        Kind::Text,
        "HS256",
        "Algorithm of access tokens",
    ),
    key(
        "jwt_audience",
        Kind::Text,
        "tmws",
        "Audience of access tokens",
    ),
    key("jwt_issuer", Kind::Text, "tmws", "Issuer of access tokens"),
    key(
        "jwt_expire_minutes",
        integer(1, 525_600),
        "30",
        "Life of access tokens",
    ),
    key("secret_key", Kind::Secret, "", "Secret of access tokens"),
    key(
        "rate_limit_requests",
        integer(1, 1_000_000_000),
        "1000",
        "Requests of one principal in a period",
    ),
    key(
        "rate_limit_period",
        integer(1, 86_400),
        "1",
        "Period of the rate limit, in seconds",
    ),
    key(
        "stdio_fallback",
        Kind::Boolean,
        "true",
        "Serve from the embedded store when no server answers the bridge",
    ),
    unavailable(
        "auth_enabled",
        Kind::Boolean,
        "false",
        "Demand tokens or API keys",
    ),
    unavailable("redis_url", Kind::Text, "", "Redis of a fleet"),
    unavailable(
        "stdio_enabled",
        Kind::Boolean,
        "false",
        "Serve MCP on standard input and output",
    ),
    unavailable(
        "rate_limit_enabled",
        Kind::Boolean,
        "false",
        "Limit the rate of each principal",
    ),
    unavailable(
        "jwt_public_key_file",
        Kind::Text,
        "",
        "Public key of access tokens",
    ),
    unavailable("jwks", Kind::Text, "", "Key set of access tokens"),
    unavailable(
        "audit_log_enabled",
        Kind::Boolean,
        "false",
        "Write every write and refusal to the audit log",
    ),
    unavailable("ssl_cert_file", Kind::Text, "", "Certificate chain of TLS"),
    unavailable("ssl_key_file", Kind::Text, "", "Private key of TLS"),
    unavailable(
        "tcp_address",
        Kind::Text,
        "",
        "Address of the native framing over TCP",
    ),
    unavailable(
        "unix_path",
        Kind::Text,
        "",
        "Path of the native framing over a Unix socket",
    ),
];
