//! The broker of a run: embedded in this process by default, or any other at an address.
//!
//! A newcomer should need no service to run the scenarios, so the run brings its own broker. Which one and
//! why is written in `docs/decisions/2026-11-23-embedded-broker.md`; nothing of it shows in this interface,
//! so that it can be exchanged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use tokio::task::JoinHandle;

use crate::error::BrokerError;

/// MQTT's port (IANA).
pub const DEFAULT_PORT: u16 = 1_883;
/// How long an embedded broker may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(6);

/// Which broker a run uses.
#[derive(Clone, Debug)]
pub enum BrokerSettings {
    /// One in this process.
    Embedded(EmbeddedSettings),
    /// One that runs already.
    External {
        /// `host` or `host:port`; port 1883 when none is given.
        address: String,
        /// Account, when the broker wants one.
        credentials: Option<Credentials>,
    },
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self::Embedded(EmbeddedSettings::default())
    }
}

/// An account at a broker. Its password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"********")
            .finish()
    }
}

/// What an embedded broker is like.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// Where it listens. Port 0 for any free one.
    pub bind: SocketAddr,
    /// Largest packet in bytes; a larger one ends its client's connection. At least 1,024.
    pub packet_bytes_max: usize,
    /// Messages kept for a persistent session whose client is away.
    pub queued_messages_max: usize,
    /// Whether it publishes figures of its own under `$SYS`.
    pub sys_topics: bool,
}

impl Default for EmbeddedSettings {
    /// Any free port of 127.0.0.1, packets up to 64 KiB, 10,000 queued messages, no `$SYS`.
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            packet_bytes_max: 64 * 1024,
            queued_messages_max: 10_000,
            sys_topics: false,
        }
    }
}

/// A broker that can be connected to. An embedded one ends with it.
#[derive(Debug)]
pub struct Broker {
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    embedded: Option<Running>,
}

impl Broker {
    /// The broker `settings` ask for.
    ///
    /// # Errors
    /// As [`embedded`](Self::embedded) and [`external`](Self::external).
    pub async fn start(settings: BrokerSettings) -> Result<Self, BrokerError> {
        match settings {
            BrokerSettings::Embedded(settings) => Self::embedded(settings).await,
            BrokerSettings::External {
                address,
                credentials,
            } => Self::external(&address, credentials),
        }
    }

    /// Starts a broker in this process, on the current tokio runtime. It listens when this returns.
    ///
    /// It keeps nothing on disk: sessions and retained messages end with it.
    ///
    /// # Errors
    /// When the port is taken or can't be listened on.
    pub async fn embedded(settings: EmbeddedSettings) -> Result<Self, BrokerError> {
        let address = settings.bind;
        let storage = StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            .with_max_queued_messages_per_client(settings.queued_messages_max);
        let config = BrokerConfig::default()
            .with_bind_address(address)
            .with_max_packet_size(settings.packet_bytes_max)
            .with_sys_topics_enabled(settings.sys_topics)
            .with_storage(storage);
        let mut broker = match MqttBroker::with_config(config).await {
            Ok(broker) => broker,
            Err(error) => return Err(why_not(address, error.to_string())),
        };
        let Some(bound) = broker.local_addr() else {
            return Err(BrokerError::Start {
                reason: "it has no listener".to_owned(),
            });
        };
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            let result = broker.run().await;
            result.map_err(|error| error.to_string())
        });
        let mut running = Running {
            shutdown,
            task: Some(task),
        };
        // The guard that `wait_for` gives is not kept: it can't go from thread to thread.
        let is_ready = async { ready.wait_for(|ready| *ready).await.is_ok() };
        let is_ready = tokio::time::timeout(PATIENCE, is_ready).await;
        if !matches!(is_ready, Ok(true)) {
            let reason = running.finish().await.err();
            return Err(BrokerError::Start {
                reason: reason.map_or("it is never ready".to_owned(), |error| error.to_string()),
            });
        }
        Ok(Self {
            host: bound.ip().to_string(),
            port: bound.port(),
            credentials: None,
            embedded: Some(running),
        })
    }

    /// A broker that runs already. It is not contacted here.
    ///
    /// # Errors
    /// When `address` is not `host` or `host:port` (an IPv6 address with a port stands in brackets).
    pub fn external(address: &str, credentials: Option<Credentials>) -> Result<Self, BrokerError> {
        let (host, port) = split(address).ok_or_else(|| BrokerError::Address {
            address: address.to_owned(),
        })?;
        Ok(Self {
            host,
            port,
            credentials,
            embedded: None,
        })
    }

    /// Host name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        join(&self.host, self.port)
    }

    /// The account to connect with.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether it runs in this process.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Ends an embedded broker and waits for it; its clients' connections end, their wills are not sent.
    /// Nothing happens to an external one.
    ///
    /// # Errors
    /// When it does not end in time; its connections were cut then.
    pub async fn stop(mut self) -> Result<(), BrokerError> {
        match self.embedded.take() {
            Some(mut running) => running.finish().await,
            None => Ok(()),
        }
    }
}

/// An embedded broker's task.
struct Running {
    shutdown: BrokerShutdownHandle,
    task: Option<JoinHandle<Result<(), String>>>,
}

impl Running {
    async fn finish(&mut self) -> Result<(), BrokerError> {
        self.shutdown.shutdown();
        let Some(mut task) = self.task.take() else {
            return Ok(());
        };
        match tokio::time::timeout(PATIENCE, &mut task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(reason))) => Err(BrokerError::Start { reason }),
            Ok(Err(panicked)) => Err(BrokerError::Start {
                reason: panicked.to_string(),
            }),
            Err(_) => {
                task.abort();
                Err(BrokerError::Stop { after: PATIENCE })
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.shutdown();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Running")
    }
}

/// The embedded broker says only in prose why it can't listen; the operating system says it exactly.
fn why_not(address: SocketAddr, reason: String) -> BrokerError {
    match std::net::TcpListener::bind(address) {
        Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
            BrokerError::PortTaken { address }
        }
        Err(source) => BrokerError::Listen { address, source },
        Ok(_) => BrokerError::Start { reason },
    }
}

fn split(address: &str) -> Option<(String, u16)> {
    let address = address.strip_prefix("mqtt://").unwrap_or(address);
    if address.contains(char::is_whitespace) || address.contains('/') {
        return None;
    }
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Some((ip.to_string(), DEFAULT_PORT));
    }
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Some((address.ip().to_string(), address.port()));
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (address, DEFAULT_PORT),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

pub(crate) fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: &str) {
        let said = match Broker::external(address, None) {
            Ok(broker) => broker.address(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn addresses() {
        check("broker.plant", "broker.plant:1883");
        check("broker.plant:8883", "broker.plant:8883");
        check("mqtt://10.1.2.3:1884", "10.1.2.3:1884");
        check("10.1.2.3", "10.1.2.3:1883");
        check("::1", "[::1]:1883");
        check("[::1]:1884", "[::1]:1884");
        for wrong in [
            "",
            ":1883",
            "host:port",
            "host:0",
            "host:70000",
            "a b",
            "http://x",
        ] {
            check(
                wrong,
                &format!("`{wrong}` is no broker address; write `host` or `host:port`"),
            );
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials {
            username: "bench".into(),
            password: "secret".into(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
