//! The figures of a sample, by what they are about.
//!
//! Figures that end in `share` are of one: of a core, of the interval, of a thread's time. A depth is
//! the largest that a sample found.

use super::figure::{Figure, figures};

figures! {
    /// CPU of the process.
    pub Cpu {
        /// User code, as a share of one core; two busy cores are 2.
        user_share: mean,
        /// The kernel on behalf of the process.
        system_share: mean,
        /// Both.
        share: mean,
        /// The largest share of the interval that a shard spent in turns.
        busiest_shard_share: mean,
        /// The longest turns: 99 of 100 of each shard were shorter, in microseconds.
        turn_p99_us: most,
        /// Load average of the machine over a minute.
        load_average: mean,
    }
}

figures! {
    /// Memory of the process.
    pub Memory {
        /// Resident.
        resident_bytes: mean,
        /// Receive buffers in use.
        buffers_lent: most,
        /// Receive buffers of all shards.
        buffers: last,
        /// Bytes of messages that wait for sessions.
        deliveries_held_bytes: most,
    }
}

figures! {
    /// Disk, as the kernel counts it for the process.
    pub Disk {
        /// Read from the device.
        read_bytes_per_second: mean,
        /// Written to the device.
        written_bytes_per_second: mean,
        /// Free on the file system of the data directory.
        free_bytes: last,
        /// Its size.
        size_bytes: last,
    }
}

figures! {
    /// Connections and what goes over them.
    pub Network {
        /// WebSockets open.
        connections: mean,
        /// WebSockets accepted.
        connections_opened_per_second: mean,
        /// Sessions open, those over HTTP among them.
        sessions: mean,
        /// Requests served by HTTP.
        http_requests_per_second: mean,
        /// Over WebSockets.
        received_bytes_per_second: mean,
        /// Over WebSockets.
        sent_bytes_per_second: mean,
        /// Over WebSockets.
        messages_received_per_second: mean,
        /// Over WebSockets.
        messages_sent_per_second: mean,
        /// Descriptors in use.
        open_files: mean,
        /// Descriptors allowed.
        open_files_max: last,
    }
}

figures! {
    /// Calls of operations.
    pub Calls {
        /// Answered.
        per_second: mean,
        /// Of these, with an error.
        errors_per_second: mean,
        /// Of these, with an answer that was reused.
        reused_per_second: mean,
        /// Under way at once; divided by `per_second` it is the mean time of a call.
        under_way: mean,
    }
}

figures! {
    /// What waits, and how busy those are for whom it waits.
    pub Queues {
        /// Writes that wait for the store.
        store_writes: most,
        /// Reads and searches that wait for the store.
        store_reads: most,
        /// Share of the time in which the embedded store's writer worked, most of it for the disk.
        store_writer_share: mean,
        /// The same of its readers, of all their time.
        store_reader_share: mean,
        /// Requests that one transaction of the writer carried.
        store_group: mean,
        /// Questions that wait for a vector.
        embedding_queries: most,
        /// Memories that wait for a vector.
        embedding_texts: most,
        /// Share of the compute threads' time that went into vectors.
        compute_share: mean,
        /// Letters between shards about deliveries.
        letters: most,
        /// Changes on their way to watchers.
        changes: most,
        /// Mail of the main thread to shards.
        mail: most,
    }
}

figures! {
    /// Messages to sessions.
    pub Deliveries {
        /// Sessions with a connection that takes deliveries.
        sessions_connected: mean,
        /// Sessions that wait for their client to come back.
        sessions_waiting: mean,
        /// Wait for their first delivery in the first lane.
        urgent: most,
        /// In the second.
        high: most,
        /// In the third.
        normal: most,
        /// In the last.
        low: most,
        /// Go next, once the store has counted them.
        staged: most,
        /// Delivered and not settled.
        in_window: most,
        /// Acknowledged, and the store has yet to settle them.
        settling: most,
        /// Deliveries made.
        sent_per_second: mean,
        /// Of these, repeated ones.
        repeated_per_second: mean,
        /// Acknowledged.
        settled_per_second: mean,
        /// In memory only, and found no room.
        dropped: sum,
        /// Too old.
        expired: sum,
        /// Given up for other reasons.
        dead: sum,
    }
}

figures! {
    /// What should not happen, as counts of the interval.
    pub Troubles {
        /// Connections closed for not reading.
        slow_consumers: sum,
        /// Messages besides answers that peers had no room for.
        notifications_dropped: sum,
        /// Connections refused by a cap.
        connections_refused: sum,
        /// Connections found dead by a missing pong.
        pings_unanswered: sum,
        /// Violations of the protocol by peers.
        protocol_violations: sum,
        /// Times that the receive buffers of a shard ran out.
        buffers_exhausted: sum,
        /// Times that accepting stopped for want of descriptors.
        accepts_paused: sum,
        /// Vectors refused because a queue was full.
        embeddings_refused: sum,
        /// Transactions of the store that failed.
        store_failures: sum,
    }
}

figures! {
    /// One shard.
    pub Shard {
        /// Its number.
        shard: last,
        /// Turns that had work.
        turns_per_second: mean,
        /// Share of the interval in turns.
        turn_share: mean,
        /// Share of a core that its thread took, local tasks and HTTP among it.
        cpu_share: mean,
        /// Mean turn.
        turn_mean_us: mean,
        /// 99 of 100 turns were shorter.
        turn_p99_us: most,
        /// Submissions of the latest turn.
        ring_depth: most,
        /// Receive buffers in use.
        buffers_lent: most,
        /// Receive buffers.
        buffers: last,
        /// Times that they ran out.
        buffers_exhausted: sum,
        /// WebSockets open.
        connections: mean,
        /// Messages received.
        messages_received_per_second: mean,
        /// Messages sent.
        messages_sent_per_second: mean,
        /// Letters that wait for it.
        letters: most,
        /// Changes that wait for its watchers.
        changes: most,
        /// Mail that waits for it.
        mail: most,
    }
}
