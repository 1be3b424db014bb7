//! What a session talks over: a byte stream to the broker, whatever protects it.
//!
//! An enum and not a type parameter, so that the session's code is in the image once.

use super::{ANSWER_MAX, End, Parts};
use crate::network;
use embassy_net::tcp::TcpSocket;
use embassy_time::with_timeout;

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
}

impl<'b> Transport<'b> {
    /// Opens a stream to the broker of the configuration.
    ///
    /// # Errors
    /// [`End::Unreachable`], with what went wrong in words.
    pub(super) async fn connect(parts: &Parts<'_>, buffers: &'b mut Buffers) -> Result<Self, End> {
        let (stack, broker) = (parts.stack, parts.configuration);
        let address = network::resolve(stack, &broker.broker)
            .await
            .map_err(End::Unreachable)?;
        let mut socket = TcpSocket::new(stack, &mut buffers.rx, &mut buffers.tx);
        socket.set_nagle_enabled(false);
        with_timeout(ANSWER_MAX, socket.connect((address, broker.port)))
            .await
            .map_err(|_| End::Unreachable("no answer to the TCP connection"))?
            .map_err(|_| End::Unreachable("the TCP connection was refused"))?;
        Ok(Self::Plain(socket))
    }

    /// Waits for bytes and takes as many as are there, at most a bufferful; 0 when the broker closed
    /// the stream. Nothing is lost when this is dropped before it ends.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        match self {
            Self::Plain(socket) => socket.read(buffer).await.map_err(|_| Broken),
        }
    }

    /// Hands over bytes to be sent, as many as there is room for now: at least one.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        match self {
            Self::Plain(socket) => socket.write(bytes).await.map_err(|_| Broken),
        }
    }

    /// Sends what [`Self::write`] kept back. Does not wait for the broker to acknowledge it.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        match self {
            // Nagle's algorithm is off: what was written is on its way.
            Self::Plain(_) => Ok(()),
        }
    }

    /// Ends the stream at once; what is not sent yet is lost.
    pub(super) fn abort(&mut self) {
        match self {
            Self::Plain(socket) => socket.abort(),
        }
    }
}
