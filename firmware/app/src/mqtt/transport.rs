//! What a session talks over: a byte stream to the broker, whatever protects it.
//!
//! An enum and not a type parameter, so that the session's code is in the image once.

use alloc::vec::Vec;

use embassy_net::tcp::TcpSocket;
use embassy_time::{Duration, with_timeout};
use firmware_control::Clock as _;
use firmware_wire::{Broker, CERTIFICATE_BYTES_MAX, CertificateSlot, Security};

use super::{ANSWER_MAX, End, Parts};
use crate::{
    clock::DeviceClock,
    heap, network,
    storage::{self, StorageError},
    tls,
};

/// How long a TLS handshake may take. The device's own part in it is about a second.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
/// How long the socket may take to send the last of what it has: an alert, DISCONNECT, its end.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);
/// TCP buffers: a good part of a telemetry message out, a command or two in.
const TCP_RX_BYTES: usize = 2_048;
const TCP_TX_BYTES: usize = 4_096;

/// The memory below a [`Transport`].
pub(super) struct Buffers {
    rx: [u8; TCP_RX_BYTES],
    tx: [u8; TCP_TX_BYTES],
}

impl Buffers {
    pub(super) const fn new() -> Self {
        Self {
            rx: [0; TCP_RX_BYTES],
            tx: [0; TCP_TX_BYTES],
        }
    }
}

/// The other side can't be reached any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A byte stream to the broker.
pub(super) enum Transport<'b> {
    /// TCP alone.
    Plain(TcpSocket<'b>),
    /// TLS on it.
    Tls(TcpSocket<'b>, tls::Session),
}

impl<'b> Transport<'b> {
    /// Opens a stream to the broker of the configuration.
    ///
    /// # Errors
    /// [`End::Unreachable`], with what went wrong in words.
    pub(super) async fn connect(parts: &Parts<'_>, buffers: &'b mut Buffers) -> Result<Self, End> {
        let (stack, configuration) = (parts.stack, parts.configuration);
        let host = configuration.broker.as_str();
        let address = network::resolve(stack, host)
            .await
            .map_err(End::Unreachable)?;
        let mut socket = TcpSocket::new(stack, &mut buffers.rx, &mut buffers.tx);
        socket.set_nagle_enabled(false);
        with_timeout(ANSWER_MAX, socket.connect((address, configuration.port)))
            .await
            .map_err(|_| End::Unreachable("no answer to the TCP connection"))?
            .map_err(|_| End::Unreachable("the TCP connection was refused"))?;
        if !configuration.use_tls {
            return Ok(Self::Plain(socket));
        }
        let (name, client_certificate) = identities(&parts.provision.broker, host);
        let settings = tls_settings(name, client_certificate)
            .await
            .map_err(End::Unreachable)?;
        let opened = with_timeout(HANDSHAKE_MAX, tls::Session::open(&mut socket, settings)).await;
        match opened.unwrap_or(Err("no end to the TLS handshake")) {
            Ok(session) => Ok(Self::Tls(socket, session)),
            Err(reason) => {
                // With an alert that says why; without waiting for the server to have read it.
                socket.close();
                let _ = with_timeout(LAST_WORDS_MAX, socket.flush()).await;
                abort(&mut socket).await;
                Err(End::Unreachable(reason))
            }
        }
    }

    /// Waits for bytes and takes as many as are there, at most a bufferful; 0 when the broker closed
    /// the stream. Nothing is lost when this is dropped before it ends.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        match self {
            Self::Plain(socket) => socket.read(buffer).await.map_err(|_| Broken),
            Self::Tls(socket, session) => session
                .read(socket, buffer)
                .await
                .map_err(|tls::Broken| Broken),
        }
    }

    /// Hands over bytes to be sent, as many as there is room for now: at least one.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        match self {
            Self::Plain(socket) => socket.write(bytes).await.map_err(|_| Broken),
            Self::Tls(socket, session) => session
                .write(socket, bytes)
                .await
                .map_err(|tls::Broken| Broken),
        }
    }

    /// Sends what [`Self::write`] kept back. Does not wait for the broker to acknowledge it.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        match self {
            // Nagle's algorithm is off: what was written is on its way.
            Self::Plain(_) | Self::Tls(..) => Ok(()),
        }
    }

    /// Ends the stream: once what was written has arrived, or at once if that takes too long.
    pub(super) async fn close(&mut self) {
        let socket = self.socket();
        socket.close();
        let flushed = with_timeout(LAST_WORDS_MAX, socket.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            self.abort().await;
        }
    }

    /// Ends the stream at once, and tells the other side; what is not sent yet is lost.
    pub(super) async fn abort(&mut self) {
        abort(self.socket()).await;
    }

    fn socket(&mut self) -> &mut TcpSocket<'b> {
        match self {
            Self::Plain(socket) | Self::Tls(socket, _) => socket,
        }
    }
}

/// The reset is sent before the socket is gone: only then the other side knows.
async fn abort(socket: &mut TcpSocket<'_>) {
    socket.abort();
    let _ = with_timeout(LAST_WORDS_MAX, socket.flush()).await;
}

/// The name that the server's certificate must bear, and whether the device shows one of its own: as
/// provisioned, except for the name of another broker than the provisioned one.
fn identities<'b>(provisioned: &'b Broker, host: &'b str) -> (&'b str, bool) {
    match &provisioned.security {
        Security::Plain => (host, false),
        Security::Tls {
            server_name,
            client_certificate,
        } if server_name.is_empty() || provisioned.host != host => (host, *client_certificate),
        Security::Tls {
            server_name,
            client_certificate,
        } => (server_name, *client_certificate),
    }
}

/// What a TLS session needs to know, out of flash.
async fn tls_settings(
    server_name: &str,
    client_certificate: bool,
) -> Result<tls::Settings<'_>, &'static str> {
    let unix_ms = DeviceClock.now().unix_ms;
    let now_unix_s = unix_ms.ok_or("certificates can't be checked: the time is unknown")? / 1_000;
    let authority = certificate(CertificateSlot::Authority)
        .await?
        .ok_or("no authority is kept to check the server by")?;
    let client = if client_certificate {
        let missing = "a client certificate or its key is not kept";
        Some((
            certificate(CertificateSlot::Client).await?.ok_or(missing)?,
            certificate(CertificateSlot::ClientKey)
                .await?
                .ok_or(missing)?,
        ))
    } else {
        None
    };
    Ok(tls::Settings {
        authority,
        client,
        server_name,
        now_unix_s,
    })
}

/// A certificate or key that is kept; none when there is none.
async fn certificate(slot: CertificateSlot) -> Result<Option<Vec<u8>>, &'static str> {
    let mut bytes =
        heap::vec(CERTIFICATE_BYTES_MAX).map_err(|heap::Refused| "too little memory for TLS")?;
    bytes.resize(CERTIFICATE_BYTES_MAX, 0);
    let length =
        storage::with(|storage| Ok(storage.certificate(slot, &mut bytes).map(<[u8]>::len)))
            .await
            .map_err(|_: StorageError| "certificates can't be read")?;
    Ok(length.map(|length| {
        bytes.truncate(length);
        bytes.shrink_to_fit();
        bytes
    }))
}
