//! What the firmware around the controller knows about itself.

/// Memory, counters and connection of the device, as `get_status` and `telemetry/system` report
/// them. Bytes and counts; names as in the RTT telemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Whether the MQTT session is open.
    pub mqtt_connected: bool,
    /// Bytes free on the heap.
    pub heap_free: u32,
    /// The least that was ever free since boot, bytes.
    pub heap_free_min: u32,
    /// The largest block that could be allocated, bytes.
    pub largest_free_block: u32,
    /// Bytes of the main stack.
    pub stack_size: u32,
    /// The most of it that was ever used, bytes.
    pub stack_used_max: u32,
    /// Requests for memory that the firmware itself refused because too little was left.
    pub heap_refused: u32,
    /// The most bytes ever used of the buffer that MQTT packets are built in.
    pub mqtt_used_max: u32,
    /// The most bytes ever used of the JSON within it.
    pub json_used_max: u32,
    /// The most bytes ever used of the messages kept until they are acknowledged.
    pub outbox_used_max: u32,
    /// The most bytes ever used of the HTTP server's buffers.
    pub http_used_max: u32,
    /// Frames received by the network driver since boot.
    pub frames_received: u32,
    /// Frames sent by the network driver since boot.
    pub frames_sent: u32,
    /// MQTT messages published since boot.
    pub messages_published: u32,
    /// Commands received since boot.
    pub commands_received: u32,
    /// MQTT sessions opened since boot.
    pub sessions_opened: u32,
    /// Messages that wait for the broker now.
    pub messages_queued: u32,
    /// Telemetry messages dropped since boot because the queue was full.
    pub telemetry_dropped: u32,
    /// Other messages dropped since boot because the queue was full.
    pub messages_dropped: u32,
    /// HTTP requests answered since boot.
    pub http_requests: u32,
    /// Boots since the flash was erased.
    pub boot_count: u32,
}

impl DeviceStatus {
    /// 1 - largest / free, in percent, rounded; 0 when nothing is free.
    #[must_use]
    pub fn fragmentation_percent(&self) -> u32 {
        if self.heap_free == 0 {
            return 0;
        }
        let free = u64::from(self.heap_free);
        let scattered = free.saturating_sub(u64::from(self.largest_free_block));
        u32::try_from((scattered * 100 + free / 2) / free).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_is_what_the_largest_block_leaves() {
        for (free, largest, expected) in
            [(0, 0, 0), (1_000, 1_000, 0), (1_000, 495, 51), (10, 20, 0)]
        {
            let status = DeviceStatus {
                heap_free: free,
                largest_free_block: largest,
                ..DeviceStatus::default()
            };
            assert_eq!(status.fragmentation_percent(), expected, "{free} {largest}");
        }
    }
}
