//! The cable with faults: TCP survives them, the seed decides them, the capture shows them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use pcap_file::pcapng::{Block, PcapNgReader};
use smoltcp::socket::tcp::State;
use virtual_network::{DirectionFaults, FaultPlan, GatewayConfig};

use crate::device::{GATEWAY, SECOND, World};
use crate::services::udp_socket;
use crate::tcp::{echo, program};

/// Lets the gateway see the device's address.
pub(crate) fn announce(world: &mut World) {
    let mut socket = udp_socket();
    socket.bind(7_000).unwrap();
    socket.send_slice(&[0; 12], (GATEWAY, 53)).unwrap();
    let handle = world.sockets.add(socket);
    world.until("the device's address", SECOND, |world| {
        world.gateway.device_address().is_some()
    });
    world.sockets.remove(handle);
}

#[test]
fn tcp_survives_every_kind_of_fault_at_once() {
    let (port, _thread) = program(1, echo);
    let mut world = World::with_address(GatewayConfig {
        seed: 11,
        ..GatewayConfig::default()
    });
    world.gateway.set_faults(FaultPlan::both(DirectionFaults {
        loss: 0.10,
        duplicate: 0.05,
        corrupt: 0.05,
        reorder: 0.05,
        delay_nanos: 200_000,
        jitter_nanos: 300_000,
        ..DirectionFaults::default()
    }));
    let handle = world.connected(port, 50_000);
    let data: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let received = world.exchange(handle, &data, data.len(), 36_000 * SECOND);
    assert!(received == data, "the echo differs");
    let statistics = world.gateway.statistics();
    for (what, count) in [
        ("lost", statistics.frames_lost),
        ("duplicated", statistics.frames_duplicated),
        ("corrupted", statistics.frames_corrupted),
        ("reordered", statistics.frames_reordered),
        ("malformed", statistics.frames_malformed),
    ] {
        assert!(count > 0, "no frame was {what}: {statistics:?}");
    }
}

#[test]
fn the_seed_decides_which_frames_suffer() {
    // DHCP needs no host program, so the whole exchange is the device's and the gateway's alone.
    let run = |seed| {
        let mut world = World::new(GatewayConfig {
            seed,
            ..GatewayConfig::default()
        });
        world.gateway.set_faults(FaultPlan::both(DirectionFaults {
            loss: 0.3,
            duplicate: 0.2,
            jitter_nanos: 5_000_000,
            ..DirectionFaults::default()
        }));
        let file = File::default();
        world
            .gateway
            .set_capture(Some(Box::new(file.clone())))
            .unwrap();
        for _ in 0..3 {
            world.lease();
        }
        world.gateway.set_capture(None).unwrap();
        file.bytes()
    };
    assert!(run(5) == run(5), "two runs with one seed differ");
    assert!(run(5) != run(6), "two seeds give the same run");
}

#[test]
fn a_link_that_is_down_passes_nothing_and_connections_outlive_it() {
    let (port, _thread) = program(1, echo);
    let mut world = World::with_address(GatewayConfig::default());
    let handle = world.connected(port, 50_000);
    assert_eq!(world.exchange(handle, b"one", 3, SECOND), b"one");
    world.gateway.set_faults(FaultPlan {
        link_down: true,
        ..FaultPlan::default()
    });
    let before = world.gateway.statistics().frames_to_device;
    world.tcp(handle).send_slice(b"two").unwrap();
    world.pass(5 * SECOND);
    let during = world.gateway.statistics();
    assert_eq!(during.frames_to_device, before);
    assert!(during.frames_lost > 0);
    assert_eq!(world.tcp(handle).state(), State::Established);
    world.gateway.set_faults(FaultPlan::default());
    assert_eq!(world.exchange(handle, b"", 3, 30 * SECOND), b"two");
}

#[test]
fn a_delay_is_felt_both_ways() {
    let mut world = World::with_address(GatewayConfig::default());
    let (port, _thread) = program(1, echo);
    world.gateway.set_faults(FaultPlan::both(DirectionFaults {
        delay_nanos: 50_000_000,
        ..DirectionFaults::default()
    }));
    let handle = world.connected(port, 50_000);
    let before = world.now;
    world.exchange(handle, b"ping", 4, SECOND);
    let taken = world.now - before;
    assert!((100_000_000..130_000_000).contains(&taken), "{taken} ns");
}

#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_capture_holds_every_frame() {
    let epoch = 1_795_392_000 * SECOND;
    let mut world = World::new(GatewayConfig {
        wall_epoch_unix_nanos: epoch,
        ..GatewayConfig::default()
    });
    let file = File::default();
    world
        .gateway
        .set_capture(Some(Box::new(file.clone())))
        .unwrap();
    world.lease();
    announce(&mut world);
    world.gateway.set_capture(None).unwrap();

    let bytes = file.bytes();
    if let Some(path) = std::env::var_os("CAPTURE") {
        std::fs::write(path, &bytes).unwrap();
    }
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut stamps = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            stamps.push(packet.timestamp.as_nanos() as u64);
        }
    }
    let statistics = world.gateway.statistics();
    assert_eq!(
        stamps.len() as u64,
        statistics.frames_from_device + statistics.frames_to_device
    );
    assert_eq!(stamps.len() as u64, statistics.frames_captured);
    assert!(stamps.is_sorted());
    assert!(
        stamps
            .iter()
            .all(|stamp| (epoch..=epoch + world.now).contains(stamp))
    );
}

struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_capture_and_not_the_run() {
    let (port, _thread) = program(1, echo);
    let mut world = World::with_address(GatewayConfig::default());
    world
        .gateway
        .set_capture(Some(Box::new(Full(500))))
        .unwrap();
    let handle = world.connected(port, 50_000);
    let data = vec![7; 100_000];
    assert_eq!(world.exchange(handle, &data, data.len(), 60 * SECOND), data);
    let said = world.gateway.statistics().capture_error;
    assert_eq!(said.as_deref(), Some("no storage space"));
    assert!(world.gateway.set_capture(Some(Box::new(Full(10)))).is_err());
}
