//! Bounds that are not configurable, each with its reason. Relations between them are checked
//! when this file is compiled.

/// Shards: the generation of a mailbox index and the cost of a scrape stay small, and no machine
/// we know serves better with more.
pub const SHARDS_MAX: usize = 256;

/// Bytes of a request head (SPEC 8): four times what browsers send with large cookies.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of a request head: browsers send about 20, proxies add a few.
pub const HEADERS_MAX: usize = 64;

/// Nesting of a JSON message (SPEC 8): our deepest schema has 5 levels, metadata is the caller's.
pub const JSON_DEPTH_MAX: usize = 64;

/// Stack of a shard's thread. The JSON parser recurses, to twice [`JSON_DEPTH_MAX`] on broken
/// input; in a build without optimisation 65 levels overflowed the usual 2 MiB. Only what is used
/// is resident.
pub const SHARD_STACK_BYTES: usize = 16 << 20;

/// Bytes of a message on the echo route: the Autobahn suite sends 16 MiB, and a frame's head.
pub const ECHO_MESSAGE_BYTES_MAX: usize = 17 << 20;

/// Bytes queued for one connection before it is read no further (SPEC 5: slow consumers).
pub const QUEUED_BYTES_MAX: usize = 1 << 20;

/// Bytes queued below which a connection is read again; half, so that it does not flutter.
pub const QUEUED_BYTES_LOW: usize = QUEUED_BYTES_MAX / 2;

/// Requests of one connection that wait for the store at once: their answers may all be large, and
/// nobody knows before they come. Deeper pipelines are read later, and the store's queue stays fair
/// between connections.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 16;

/// Seconds that a closed connection may take to read the close frame and close its side.
pub const LINGER_SECONDS: u64 = 2;

/// Connections that have not become a WebSocket, over all shards: requests being read, HTTP
/// clients, of which each may hold a stream open. Together with the WebSockets of the default they fit
/// below the 20,000 open files that many hosts allow. Beyond it new ones are closed at once.
pub const HTTP_CONNECTIONS_MAX: usize = 8_192;

/// Legacy sessions of MCP over HTTP on one shard: as many as WebSockets by default.
pub const HTTP_SESSIONS_MAX: usize = 10_000;

/// Requests that wait for the sessions of one shard; each is handled in microseconds.
pub const HTTP_ORDERS_WAITING_MAX: usize = 4_096;

/// Finished streams that a legacy session keeps for a client whose connection broke.
pub const HTTP_STREAMS_MAX: usize = 16;

/// Events that wait for the reader of a stream; whoever is slower reads on by its last event.
pub const HTTP_EVENTS_WAITING_MAX: usize = 256;

/// Bytes of an HTTP request's body: one message, as on the WebSocket.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of a body that are read and dropped beyond that, so that its sender sees the answer.
pub const BODY_BYTES_DROPPED_MAX: usize = 16 << 20;

/// Bytes of a payload up to which a shard compresses it itself, about 0.3 ms; larger ones go to
/// the compute pool (DESIGN 1: a shard is never blocked for 1 ms).
pub const INLINE_DEFLATE_BYTES_MAX: usize = 16 * 1024;

/// Bytes from which a payload is worth compressing (SPEC 13).
pub const DEFLATE_BYTES_MIN: u32 = 1024;

/// Compressions at once on one shard (SPEC 13).
pub const DEFLATES_MAX: usize = 10;

/// Level of compression (SPEC 13).
pub const DEFLATE_LEVEL: u8 = 6;

/// Window of our compressor (SPEC 13): 1 KiB, which keeps a pooled compressor small.
pub const DEFLATE_WINDOW_BITS: u8 = 10;

/// Events that other threads may leave for a shard before they are refused: a reload or a stop now and then.
/// The room for all of them is touched at the start.
pub const MAILBOX_EVENTS_MAX: usize = 64;

/// Lines of the log that wait for a slow disk or terminal; what comes beyond them is lost. Their places are touched at
/// the start, and those of the 128,000 that the queue's library takes by itself cost 4 MiB and 2 ms.
pub const LOG_LINES_WAITING_MAX: usize = 8_192;

/// Bytes of messages that tasks may leave for all WebSockets of a shard between two of its turns:
/// progress, changes and requests of ours, a few hundred bytes each.
pub const OUTGOING_BYTES_MAX: usize = 64 << 20;

/// Changes that wait for the watchers of a shard; beyond it they are told that anything may have
/// changed. A turn of writes brings a few hundred.
pub const CHANGES_WAITING_MAX: usize = 4_096;

/// Deliveries to a session that wait to be settled (SPEC 5).
pub const WINDOW_MESSAGES_MAX: usize = 256;

/// Bytes of deliveries to a session that wait to be settled (SPEC 5).
pub const WINDOW_BYTES_MAX: usize = 1 << 20;

/// A delivery that is not settled after so long is made again (SPEC 5).
pub const ACK_SECONDS: u64 = 30;

/// Longest delay that a client can ask for with a negative acknowledgement: as long as its place in the
/// window is taken, little else may get through.
pub const NACK_MS_MAX: u64 = 300_000;

/// Letters about deliveries to one shard beyond which senders are refused: some 10 ms of its work.
pub const LETTERS_WAITING_MAX: usize = 65_536;

/// A node says every few seconds that it lives; one that has been silent for so long is gone, and its
/// agents' messages go to whoever acts as them next. Three times the pause between two, so that a slow
/// store is not taken for a death.
pub const NODE_SILENT_SECONDS: u64 = 15;

/// Who has lost its connection may come back to its session for so long, unless the configuration
/// says otherwise (SPEC 5); the queue of a node that has been silent for longer is closed.
pub const SESSION_WINDOW_SECONDS: u64 = 300;

/// Pause between two signs of life of a node.
pub const NODE_SIGN_SECONDS: u64 = NODE_SILENT_SECONDS / 3;

/// Messages in memory only that a stop stores in one transaction: as many as a window holds.
pub const KEPT_AT_ONCE_MAX: usize = 256;

/// Bytes of them: a few ms of the store's time, so that others get their turn.
pub const KEPT_BYTES_AT_ONCE_MAX: usize = 2 << 20;

/// Seconds that what a call under an idempotency key led to is kept (SPEC 5): whoever repeats a call after a
/// day has long given it up.
pub const IDEMPOTENCY_SECONDS: u64 = 24 * 3_600;

/// Bytes of an idempotency key: a UUID takes 36, and it is part of an index.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Results kept with a session for keys of calls that changed nothing but that session; the oldest make
/// room. A client switches its agent or its topics a few times, and repeats the latest.
pub const SESSION_RESULTS_MAX: usize = 64;

/// Seconds that Redis may take for anything: it answers in less than a millisecond, or it is gone.
pub const BUS_SECONDS_MAX: u64 = 5;

/// Messages of the bus between nodes that wait to be read: what comes in while the main thread does
/// something else.
pub const BUS_MESSAGES_WAITING_MAX: usize = 8_192;

/// Letters to other nodes that wait for the bus, beyond which senders are refused: what Redis takes in
/// about a second.
pub const LETTERS_ABROAD_MAX: usize = 65_536;

/// Pause between two beats by which nodes know each other alive and notice what they have missed.
pub const BEAT_MS: u64 = 1_000;

/// A node that has been silent on the bus for so long gets nothing by it any more: what is for its
/// sessions waits in the inboxes of their agents.
pub const PEER_SILENT_SECONDS: u64 = 10;

/// Time for another node to hand a session over; then its queue is taken from the store.
pub const RELEASE_MS_MAX: u64 = 2_000;

/// Time to tell the other nodes of a stop; whoever was not told notices it by the silence.
pub const LEAVE_MS_MAX: u64 = 500;

/// Sessions or deliveries in one message of the bus: some 200 KB.
pub const BUS_ITEMS_MAX: usize = 1_000;

/// Events of one topic and namespace that are kept for those who read on from an offset: what happens
/// in the minutes that a client takes to come back.
pub const EVENTS_KEPT_MAX: usize = 1_000;

/// Bytes of them, with what keeps them.
pub const EVENTS_BYTES_KEPT_MAX: usize = 256 * 1024;

/// Topics of namespaces of which events are kept although nobody reads them; the quietest make room.
/// Full, they take 64 MiB.
pub const EVENT_FEEDS_MAX: usize = 256;

/// Events that a shard takes for its sessions before it does something else.
pub const EVENTS_AT_ONCE_MAX: usize = 256;

/// Requests of ours that one client may leave unanswered: a call asks one after the other, and
/// a connection has [`REQUESTS_IN_FLIGHT_MAX`] of them.
pub const ASKS_MAX: usize = 64;

/// Seconds that a client may take to answer a request of ours: behind it stands a person who reads
/// a form.
pub const ASKED_SECONDS_MAX: u64 = 300;

/// Subscriptions (listen requests) of one connection: a client needs one, gateways a few.
pub const LISTENS_MAX: usize = 32;

/// Resources that one connection may watch: each costs a read of the store per change.
pub const WATCHED_URIS_MAX: usize = 256;

/// Bytes of a resource's URI.
pub const URI_BYTES_MAX: usize = 512;

/// Bytes of an id of a JSON-RPC request: ids are echoed, and a caller must not make us store a
/// document for the time of its request.
pub const REQUEST_ID_BYTES_MAX: usize = 256;

/// Requests that a shard knows by their bytes (`rpc::mcp::ParseCache`): each that is looked through costs a
/// comparison of some bytes, and clients poll with few.
pub const PARSE_CACHE_ENTRIES_MAX: usize = 8;

/// Bytes of a request that is known so: calls that repeat are short, and copying a long one that comes once
/// would be work for nothing.
pub const PARSE_CACHE_BYTES_MAX: usize = 1024;

/// Bytes of buffers that a shard keeps for the next sends; the rest goes back to the allocator.
pub const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Threads that compute vectors: the model's weights lie in a cache that cores share, and beyond
/// its bandwidth more threads only wait.
pub const COMPUTE_THREADS_MAX: usize = 256;

/// Queries that wait for a vector before more are refused: at 2 ms each and two threads the last
/// waits for a quarter of a second.
pub const QUERIES_WAITING_MAX: usize = 256;

/// Memories that wait for a vector before more are refused; their callers are not waiting.
pub const TEXTS_WAITING_MAX: usize = 4_096;

/// Bytes of a query whose vector is kept: longer ones hardly come twice.
pub const CACHED_QUERY_BYTES_MAX: usize = 1_024;

/// Milliseconds after which a stop lets go of whatever is still under way (SPEC 2: exit within 10 s);
/// the longest drain has closed its last connection 1.3 s before.
pub const LET_GO_MS: u64 = 8_500;

/// Milliseconds after which a stop ends although not everything is in the store.
pub const STOP_MS_MAX: u64 = 9_500;

/// Seconds between two samples of the server's figures: each takes the main thread well under a
/// millisecond, and a minute has twelve.
pub const SAMPLE_SECONDS: u64 = 5;

/// Samples that are kept: an hour of them, at about half a kilobyte each.
pub const SAMPLES_KEPT_MAX: usize = 3_600 / SAMPLE_SECONDS as usize;

/// Points of history that one performance report shows: an hour in quarters of a minute, about half a
/// megabyte, which a shard writes in a millisecond or two.
pub const HISTORY_POINTS_MAX: u64 = 240;

/// Operations that the performance report lists as the hottest: the rest takes next to nothing as a rule.
pub const HOTTEST_MAX: usize = 10;

const _: () = assert!(HEAD_BYTES_MAX <= QUEUED_BYTES_MAX);
const _: () = assert!(LET_GO_MS < STOP_MS_MAX && STOP_MS_MAX < 10_000);
const _: () = assert!(QUEUED_BYTES_LOW < QUEUED_BYTES_MAX);
const _: () = assert!(DEFLATE_BYTES_MIN as usize <= INLINE_DEFLATE_BYTES_MAX);
