//! TLS 1.2 and 1.3 as a client: Mbed TLS below, a byte stream above.
//!
//! The server's certificate must be signed by the authority that was provisioned, bear the name that
//! was asked for and be valid by the device's clock; nothing is sent to a server that fails in any
//! of these. Why Mbed TLS: `docs/decisions/`. All `unsafe` is in [`engine`].

mod engine;
#[cfg(not(feature = "esp32c3"))]
mod libc;

use alloc::vec::Vec;

use embassy_net::tcp::TcpSocket;
use firmware_wire::CertificateSlot;

use crate::{heap, stack};
use engine::{Engine, Step};

/// What a session takes of the heap at its most, bytes: two buffers for a record of 16 KiB each,
/// and what the handshake computes with. Measured: `docs/performance.md`.
pub const SESSION_BYTES_MAX: usize = 60 * 1024;

/// The largest block among them, bytes: a buffer for a record, with its header and what encryption
/// adds.
pub const SESSION_BLOCK_BYTES: usize = 17 * 1024;

/// Why no session is begun, in the words of every place that finds it out.
const NO_MEMORY: &str = "too little memory for TLS";

/// Whom to trust, whom to expect, and how to show who we are.
pub(crate) struct Settings<'s> {
    /// The authority's certificate, DER.
    pub(crate) authority: Vec<u8>,
    /// Our own certificate and its key, DER.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
    /// The name or address that the server's certificate must bear.
    pub(crate) server_name: &'s str,
    /// The time of day, seconds since 1970-01-01T00:00:00Z.
    pub(crate) now_unix_s: u64,
}

/// The other side can't be reached any more, or is no longer understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// A session with a server that has shown who it is.
pub(crate) struct Session {
    engine: Engine,
}

impl Session {
    /// Negotiates over `socket`, which is connected.
    ///
    /// # Errors
    /// What went wrong, in words of at most 64 bytes.
    pub(crate) async fn open(
        socket: &mut TcpSocket<'_>,
        settings: Settings<'_>,
    ) -> Result<Self, &'static str> {
        if !heap::may_take(SESSION_BYTES_MAX, SESSION_BLOCK_BYTES) {
            return Err(NO_MEMORY);
        }
        let mut engine = Engine::new(settings)?;
        loop {
            let step = engine.handshake();
            stack::arm_guard();
            match exchange(&mut engine, socket, step).await {
                Ok(Some(_)) => return Ok(Self { engine }),
                Ok(None) => {}
                Err(Failed::Connection) => return Err("the connection broke in the TLS handshake"),
                Err(Failed::Tls(code)) => {
                    let reason = engine.why(code);
                    defmt::warn!("TLS: {=i32}: {=str}", code, reason);
                    return Err(reason);
                }
            }
        }
    }

    /// Waits for bytes; 0 when the server closed the session. Nothing is lost when this is dropped
    /// before it ends.
    pub(crate) async fn read(
        &mut self,
        socket: &mut TcpSocket<'_>,
        buffer: &mut [u8],
    ) -> Result<usize, Broken> {
        loop {
            let step = self.engine.read(buffer);
            match exchange(&mut self.engine, socket, step).await {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
    }

    /// Sends bytes, as many as a record takes.
    pub(crate) async fn write(
        &mut self,
        socket: &mut TcpSocket<'_>,
        bytes: &[u8],
    ) -> Result<usize, Broken> {
        loop {
            let step = self.engine.write(bytes);
            match exchange(&mut self.engine, socket, step).await {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
    }
}

enum Failed {
    Connection,
    /// Mbed TLS's code.
    Tls(i32),
}

impl From<Failed> for Broken {
    fn from(failed: Failed) -> Self {
        if let Failed::Tls(code) = failed {
            defmt::warn!("TLS: {=i32}", code);
        }
        Self
    }
}

/// Does for the engine what `step` wants; the count once it is done.
async fn exchange(
    engine: &mut Engine,
    socket: &mut TcpSocket<'_>,
    step: Step,
) -> Result<Option<usize>, Failed> {
    // First of all, and whatever comes next: an alert says why it failed.
    while !engine.to_send().is_empty() {
        let count = socket
            .write(engine.to_send())
            .await
            .map_err(|_| Failed::Connection)?;
        engine.sent(count);
    }
    match step {
        Step::Done(count) => Ok(Some(count)),
        Step::WantsToSend => Ok(None),
        Step::WantsToReceive => {
            let count = socket
                .read(engine.room())
                .await
                .map_err(|_| Failed::Connection)?;
            if count == 0 {
                return Err(Failed::Connection);
            }
            engine.received(count);
            Ok(None)
        }
        Step::Failed(code) => Err(Failed::Tls(code)),
    }
}

/// Why bytes are not taken for a certificate or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsound {
    /// They are none.
    Malformed,
    /// There is too little memory to look.
    NoMemory,
}

impl Unsound {
    fn or(self, malformed: &'static str) -> &'static str {
        match self {
            Self::Malformed => malformed,
            Self::NoMemory => NO_MEMORY,
        }
    }
}

/// Checks that these bytes are what `slot` is for: a certificate, or a private key, in DER.
///
/// # Errors
/// [`Unsound`].
pub fn check(slot: CertificateSlot, bytes: &[u8]) -> Result<(), Unsound> {
    match slot {
        CertificateSlot::Authority | CertificateSlot::Client => engine::check_certificate(bytes),
        CertificateSlot::ClientKey => engine::check_private_key(bytes),
    }
}
