//! Whatever comes over the cable, the gateway neither panics nor stops serving.

use proptest::prelude::*;
use virtual_network::{Gateway, GatewayConfig};

use crate::device::{GATEWAY, SECOND, World};

/// Frames of every protocol the gateway speaks, to be mangled.
fn seeds() -> Vec<Vec<u8>> {
    let mut world = World::new(GatewayConfig::default());
    let file = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink(std::sync::Arc::clone(&file));
    world.gateway.set_capture(Some(Box::new(sink))).unwrap();
    world.lease();
    crate::faults::announce(&mut world);
    world.connect((GATEWAY, 1), 50_000);
    world.pass(SECOND);
    world.gateway.set_capture(None).unwrap();
    let bytes = file.lock().unwrap().clone();
    let mut reader = pcap_file::pcapng::PcapNgReader::new(&bytes[..]).unwrap();
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block.unwrap() {
            frames.push(packet.data.to_vec());
        }
    }
    frames
}

/// Feeds `frames` to a gateway, and sees whether it still leases an address afterwards.
fn survives(frames: &[Vec<u8>]) {
    let mut world = World::new(GatewayConfig::default());
    for frame in frames {
        world.gateway.transmit(world.now, frame);
        let _ = world.gateway.poll(world.now);
        while world.gateway.receive(world.now).is_some() {}
        world.now += 1_000;
    }
    world.lease();
}

/// IPv4 and UDP or TCP checksums made right again, so that the mangled bytes get past them.
fn mend(frame: &mut [u8]) {
    use smoltcp::wire::{EthernetFrame, IpAddress, IpProtocol, Ipv4Packet, TcpPacket, UdpPacket};
    if EthernetFrame::new_checked(&*frame).is_err() {
        return;
    }
    let Ok(mut packet) = Ipv4Packet::new_checked(&mut frame[14..]) else {
        return;
    };
    let (from, to) = (
        IpAddress::Ipv4(packet.src_addr()),
        IpAddress::Ipv4(packet.dst_addr()),
    );
    match packet.next_header() {
        IpProtocol::Udp => {
            if let Ok(mut udp) = UdpPacket::new_checked(packet.payload_mut()) {
                udp.fill_checksum(&from, &to);
            }
        }
        IpProtocol::Tcp => {
            if let Ok(mut tcp) = TcpPacket::new_checked(packet.payload_mut()) {
                tcp.fill_checksum(&from, &to);
            }
        }
        _ => {}
    }
    packet.fill_checksum();
}

#[test]
fn seeds_cover_the_protocols() {
    let frames = seeds();
    let has = |test: fn(&[u8]) -> bool| frames.iter().any(|frame| test(frame));
    assert!(has(|frame| frame[13] == 0x06), "ARP");
    assert!(has(|frame| frame[23] == 6), "TCP");
    assert!(has(|frame| frame[23] == 17), "UDP");
}

#[test]
fn frames_of_every_length_are_survived() {
    let seed = &seeds()[0];
    let cut: Vec<Vec<u8>> = (0..seed.len())
        .map(|length| seed[..length].to_vec())
        .collect();
    survives(&cut);
    survives(&[vec![0xFF; 1_514], vec![0xFF; 9_000], Vec::new()]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_survived(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut gateway = Gateway::new(GatewayConfig::default()).unwrap();
        for frame in &frames {
            gateway.transmit(0, frame);
        }
        let _ = gateway.poll(0);
        while gateway.receive(0).is_some() {}
    }
}

#[test]
fn mangled_frames_are_survived() {
    let frames = seeds();
    let mangling = (
        prop::sample::select(frames),
        // Spares the addresses of the Ethernet header, so that the frame is looked into.
        prop::collection::vec((12_usize..400, any::<u8>()), 1..6),
        any::<bool>(),
        prop::option::of(0_usize..60),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&prop::collection::vec(mangling, 1..12), |mangled| {
            let frames: Vec<Vec<u8>> = mangled
                .into_iter()
                .map(|(mut frame, changes, mended, cut)| {
                    for (at, value) in changes {
                        if let Some(byte) = frame.get_mut(at) {
                            *byte = value;
                        }
                    }
                    if let Some(cut) = cut {
                        frame.truncate(frame.len().saturating_sub(cut));
                    }
                    if mended {
                        mend(&mut frame);
                    }
                    frame
                })
                .collect();
            let mut gateway = Gateway::new(GatewayConfig::default()).unwrap();
            for frame in &frames {
                gateway.transmit(0, frame);
                let _ = gateway.poll(0);
            }
            while gateway.receive(0).is_some() {}
            Ok(())
        })
        .unwrap();
}
