//! The bus between the nodes of a fleet: channels of a Redis server.
//!
//! A channel delivers what was published while it was listened to, in order, and nothing else: whoever
//! uses it numbers what it says, and asks again for what it has missed.
//!
//! Invariant: nothing is tried twice here. A connection that has broken, or from which messages were
//! lost, says so once and is of no use from then on; its owner connects anew.

use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Config;
use fred::types::{Builder, ConnectHandle, Message};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;

use crate::config::limits::{BUS_MESSAGES_WAITING_MAX, BUS_SECONDS_MAX};

/// Why the bus cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The address is none of a Redis server.
    #[error("not the address of a Redis server: {0}")]
    Address(String),
    /// The server cannot be reached, or refuses.
    #[error("Redis: {0}")]
    Redis(String),
    /// It did not answer in time.
    #[error("Redis gave no answer within {BUS_SECONDS_MAX} s")]
    Silent,
    /// The connection has ended.
    #[error("the connection to Redis has ended")]
    Ended,
    /// More came than was read.
    #[error("messages from Redis were lost")]
    Lost,
}

impl From<Error> for BusError {
    fn from(error: Error) -> Self {
        Self::Redis(error.to_string())
    }
}

/// Where a Redis server is.
#[derive(Debug, Clone)]
pub struct BusAddress(Config);

impl BusAddress {
    /// Reads an address such as `redis://:password@host:6379/0`.
    pub fn parse(url: &str) -> Result<Self, BusError> {
        if !url.starts_with("redis://") {
            return Err(BusError::Address("it must begin with redis://".into()));
        }
        let config = Config::from_url(url);
        let config = config.map_err(|error| BusError::Address(error.details().into()))?;
        Ok(Self(config))
    }

    async fn connect(&self) -> Result<(Client, ConnectHandle), BusError> {
        let mut builder = Builder::from_config(self.0.clone());
        builder
            .with_connection_config(|connection| {
                connection.connection_timeout = Duration::from_secs(BUS_SECONDS_MAX);
                connection.internal_command_timeout = Duration::from_secs(BUS_SECONDS_MAX);
                connection.tcp.nodelay = Some(true);
            })
            .with_performance_config(|performance| {
                performance.broadcast_channel_capacity = BUS_MESSAGES_WAITING_MAX;
                performance.default_command_timeout = Duration::from_secs(BUS_SECONDS_MAX);
            });
        let client = builder.build()?;
        let patience = Duration::from_secs(BUS_SECONDS_MAX);
        let connection = timeout(patience, client.init())
            .await
            .map_err(|_| BusError::Silent)??;
        Ok((client, connection))
    }
}

/// The half that speaks.
pub struct Publisher {
    client: Client,
    _connection: Ending,
}

/// The half that listens.
pub struct Listener {
    _client: Client,
    connection: Ending,
    messages: broadcast::Receiver<Message>,
}

/// A connection that ends with its owner.
struct Ending(ConnectHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects to the server, and listens to these channels.
pub async fn connect(
    address: &BusAddress,
    channels: &[&str],
) -> Result<(Publisher, Listener), BusError> {
    let (client, connection) = address.connect().await?;
    let publisher = Publisher {
        client,
        _connection: Ending(connection),
    };
    let (client, connection) = address.connect().await?;
    let listener = Listener {
        messages: client.message_rx(),
        connection: Ending(connection),
        _client: client.clone(),
    };
    for channel in channels {
        client.subscribe(*channel).await?;
    }
    Ok((publisher, listener))
}

impl Publisher {
    /// Says these things in this order, each on its channel. On an error some of them may have been
    /// said.
    pub async fn publish(&self, messages: Vec<(String, Bytes)>) -> Result<(), BusError> {
        let pipeline = self.client.pipeline();
        for (channel, message) in messages {
            let () = pipeline.publish(channel, message).await?;
        }
        let patience = Duration::from_secs(BUS_SECONDS_MAX);
        let said = timeout(patience, pipeline.all::<Vec<i64>>()).await;
        said.map_err(|_| BusError::Silent)??;
        Ok(())
    }
}

impl Listener {
    /// The next message, of whatever channel.
    pub async fn next(&mut self) -> Result<Bytes, BusError> {
        tokio::select! {
            message = self.messages.recv() => match message {
                Ok(message) => message.value.into_bytes().ok_or(BusError::Lost),
                Err(RecvError::Lagged(_)) => Err(BusError::Lost),
                Err(RecvError::Closed) => Err(BusError::Ended),
            },
            _ = &mut self.connection.0 => Err(BusError::Ended),
        }
    }

    /// The next message, if it is there already.
    pub fn heard(&mut self) -> Result<Option<Bytes>, BusError> {
        match self.messages.try_recv() {
            Ok(message) => message.value.into_bytes().map(Some).ok_or(BusError::Lost),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Lagged(_)) => Err(BusError::Lost),
            Err(TryRecvError::Closed) => Err(BusError::Ended),
        }
    }
}
