//! HTTP/1.1 for the device, one request a connection: bytes in, a request or a refusal out.
//!
//! The head is parsed by `httparse`; this adds the limits, where the body ends, and what is refused
//! with which status. Nothing allocates, and no bytes make it panic. Why not a server from the
//! shelf: `docs/decisions/`.
#![no_std]

mod request;
mod response;

pub use request::{Method, Progress, Request, read};
pub use response::{RESPONSE_HEAD_BYTES_MAX, Status, write_error, write_head};

/// The longest request line and headers, bytes.
pub const HEAD_BYTES_MAX: usize = 1_024;
/// The longest body, bytes.
pub const BODY_BYTES_MAX: usize = 2_048;
/// The longest request, bytes.
pub const REQUEST_BYTES_MAX: usize = HEAD_BYTES_MAX + BODY_BYTES_MAX;
/// What a client waits for that asks before it sends its body (RFC 9110, 10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
