//! What must hold whatever a device puts on its cable. A function, so that the fuzz target and a test on
//! the host (`tests/foreign_bytes.rs`) run the same.

use virtual_network::{Gateway, GatewayConfig};

/// The longest Ethernet frame without frame check sequence, bytes.
const FRAME_BYTES_MAX: usize = 1514;

/// Takes `data` for frames, each behind its length in two bytes, big-endian, and gives them to a gateway, a
/// millisecond after each other.
///
/// # Panics
/// When the gateway does, or sends what is no Ethernet frame.
pub fn frames(data: &[u8]) {
    let mut gateway = Gateway::new(GatewayConfig::default()).expect("a gateway");
    let mut rest = data;
    let mut now = 0;
    while let Some((&[high, low], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        if would_leave(frame) {
            continue;
        }
        gateway.transmit(now, frame);
        now += 1_000_000;
        let _ = gateway.poll(now);
        while let Some(answer) = gateway.receive(now) {
            assert!(
                (14..=FRAME_BYTES_MAX).contains(&answer.len()),
                "{answer:x?}"
            );
        }
        assert!(gateway.poll_at(now).is_none_or(|at| at >= now));
    }
}

/// Whether the gateway might reach for a service of this computer: TCP, or UDP to none of its own ports.
/// Nobody who fuzzes wants to find strange bytes in a database.
fn would_leave(frame: &[u8]) -> bool {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const OWN: [u16; 3] = [53, 67, 123];
    let Some(packet) = frame.get(14..).filter(|_| frame[12..14] == [0x08, 0x00]) else {
        return false;
    };
    let header = usize::from(packet.first().unwrap_or(&0) & 0xF) * 4;
    match (packet.get(9), packet.get(header + 2..header + 4)) {
        // A connection to where nobody listens is refused at once.
        (Some(&TCP), Some(port)) => port != [0, 1],
        (Some(&UDP), Some(port)) => !OWN.contains(&u16::from_be_bytes([port[0], port[1]])),
        _ => false,
    }
}
