//! What the gateway counted, for reports and for the rig's pace of time.

/// What happened on the host side since the last [`poll`](crate::Gateway::poll).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the pace of time depends on it"]
pub struct Activity {
    /// Payload bytes written to host sockets.
    pub bytes_to_host: u64,
    /// Payload bytes read from host sockets.
    pub bytes_from_host: u64,
    /// Connections opened, accepted, refused, half-closed or ended on the host side: a program may be about
    /// to answer them, though no byte moved.
    pub host_events: u64,
}

impl Activity {
    /// Whether anything at all passed between device and host programs.
    pub fn any(&self) -> bool {
        self.bytes_to_host != 0 || self.bytes_from_host != 0 || self.host_events != 0
    }
}

/// Counts since the gateway was made, and how many flows are open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames the device sent, before faults.
    pub frames_from_device: u64,
    /// Bytes in them.
    pub bytes_from_device: u64,
    /// Frames handed to the device, after faults.
    pub frames_to_device: u64,
    /// Bytes in them.
    pub bytes_to_device: u64,
    /// Frames lost on purpose, link down included.
    pub frames_lost: u64,
    /// Frames delivered twice on purpose.
    pub frames_duplicated: u64,
    /// Frames with a bit flipped on purpose.
    pub frames_corrupted: u64,
    /// Frames held back on purpose so that later ones pass.
    pub frames_reordered: u64,
    /// Frames dropped because a queue was full: the device sent or took too slowly.
    pub frames_overflowed: u64,
    /// Frames from the device that are no well-formed Ethernet, ARP or IPv4: wrong lengths or checksums.
    pub frames_malformed: u64,
    /// Well-formed frames of protocols the gateway does not speak (IPv6, multicast, fragments).
    pub frames_ignored: u64,
    /// TCP connections from the device that a host program accepted.
    pub tcp_accepted: u64,
    /// TCP connections from the device that were refused: nobody listens, or the address is not allowed.
    pub tcp_refused: u64,
    /// TCP connections from host programs to the device.
    pub tcp_forwarded: u64,
    /// TCP connections that ended with a reset from either side.
    pub tcp_reset: u64,
    /// TCP connections now, those in TIME-WAIT included.
    pub tcp_open: u64,
    /// UDP flows now.
    pub udp_open: u64,
    /// Datagrams dropped: refused, too large for one frame, or a socket's buffer full.
    pub udp_dropped: u64,
    /// DHCP messages answered.
    pub dhcp_answers: u64,
    /// DNS questions answered, NXDOMAIN included.
    pub dns_answers: u64,
    /// SNTP requests answered.
    pub sntp_answers: u64,
    /// Frames written to the capture.
    pub frames_captured: u64,
    /// Why the capture ended early, if it did (disk full).
    pub capture_error: Option<String>,
}
