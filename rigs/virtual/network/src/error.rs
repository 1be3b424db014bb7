//! What can fail in the gateway: only what somebody set up.
//!
//! Once it runs, nothing the device or a host program does is an error of the gateway: refused connections
//! become RST, malformed frames are counted.

use std::net::SocketAddr;

/// Why a gateway, a forward or a capture could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration contradicts itself.
    #[error("{what}")]
    Config {
        /// What does not fit together, in words.
        what: String,
    },
    /// A host port for a forward could not be opened.
    #[error(
        "can't listen on `{address}` for a forward to the device; choose a free port or port 0"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A forward was asked for on an address other machines can reach.
    #[error(
        "forward on `{address}` would be reachable from outside; use an address of the loopback"
    )]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refused a poller.
    #[error("can't watch host sockets")]
    Poller(#[source] std::io::Error),
    /// The capture could not be begun.
    #[error("can't write the capture's header")]
    Capture(#[source] std::io::Error),
}
