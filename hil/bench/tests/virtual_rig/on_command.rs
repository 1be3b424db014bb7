//! What a device does on command, faults left aside; and what one without test hooks refuses.

use std::net::TcpStream;

use firmware_wire::{
    CertificateChunk, CertificateSlot, Connection, ControlBody, DeviceBody, Fault, Outcome,
    Refusal, SimulatedReading, TraceEvent,
};
use hil_bench::{BenchEvent, provision};

use crate::scene::{SECOND, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_ships_refuses_what_is_for_tests() {
    let mut scene = Scene::shipping("ships").await;
    assert!(!scene.hello.test_hooks);
    let device = scene.bench.device();
    let for_tests = [
        (ControlBody::Inject(Fault::Panic), Refusal::NoTestHooks),
        (ControlBody::Inject(Fault::Reset), Refusal::NoTestHooks),
        (
            ControlBody::Inject(Fault::FillHeap { leave_bytes: 0 }),
            Refusal::NoTestHooks,
        ),
        (
            ControlBody::Inject(Fault::Mutant { number: 1 }),
            Refusal::NoMutants,
        ),
        (
            ControlBody::SimulateSensors { count: 3 },
            Refusal::NoTestHooks,
        ),
        (
            ControlBody::SetSimulatedSensor {
                sensor: 0,
                measures: SimulatedReading::Absent,
            },
            Refusal::NoTestHooks,
        ),
    ];
    for (body, refusal) in for_tests {
        let shown = format!("{body:?}");
        let outcome = device.control(body).await.expect("answers");
        assert_eq!(outcome, Outcome::Refused(refusal), "{shown}");
    }
    // It has not struck, either.
    scene.bench.clock().sleep(5 * SECOND).await;
    assert_eq!(scene.crashes.seen(), None);
    let outcome = device.control(ControlBody::Ping).await.expect("answers");
    assert_eq!(outcome, Outcome::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_names_the_heap_s_regions_whenever_it_is_turned_on() {
    let mut scene = Scene::new("traces").await;
    let device = scene.bench.device().clone();
    let sample = device.next_memory().await.expect("open");
    let set_trace = async |enabled| {
        let body = ControlBody::SetTrace { enabled };
        device.demand(body).await.expect("answers");
    };
    set_trace(false).await;
    scene.so_far().await;
    set_trace(true).await;
    let regions: Vec<u32> = scene
        .so_far()
        .await
        .into_iter()
        .filter_map(|event| match event {
            BenchEvent::Trace(frame) => Some(frame.event),
            _ => None,
        })
        .filter_map(|event| match event {
            TraceEvent::Region { size, .. } => Some(size),
            _ => None,
        })
        .collect();
    // The allocator keeps a few bytes of a region for itself.
    let all = regions.iter().sum::<u32>();
    assert!(
        sample.heap.size <= all && all < sample.heap.size + 64,
        "{regions:?}, {:?}",
        sample.heap
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_heap_refuses_work_and_crashes_nothing() {
    let mut scene = Scene::new("fills").await;
    let device = scene.bench.device().clone();
    let memory = async || device.next_memory().await.expect("open").heap;
    // Of a certificate that never becomes whole: memory is asked for with its first piece.
    let first_piece = async || {
        let piece = CertificateChunk {
            slot: CertificateSlot::Authority,
            offset: 0,
            total: 2_000,
            bytes: heapless::Vec::from_slice(&[0x30; 512]).expect("fits"),
        };
        let body = ControlBody::Certificate(piece);
        device.control(body).await.expect("answers")
    };
    let before = memory().await;
    assert_eq!(before.refused, 0);
    let leave_bytes = 4_000;
    scene.inject(Fault::FillHeap { leave_bytes }).await;
    let filled = memory().await;
    assert!(
        filled.free <= leave_bytes && filled.free > leave_bytes - 256,
        "{filled:?}"
    );
    assert_eq!(first_piece().await, Outcome::Refused(Refusal::Storage));
    assert_eq!(memory().await.refused, 1);
    let leave_bytes = u32::MAX;
    scene.inject(Fault::FillHeap { leave_bytes }).await;
    assert_eq!(memory().await.free, before.free);
    assert_eq!(first_piece().await, Outcome::Done);
    let after = memory().await;
    assert_eq!((after.refused, after.failed), (1, 0), "{after:?}");
    assert_eq!(scene.crashes.seen(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_of_simulated_sensors_say_so() {
    let mut scene = Scene::new("simulates").await;
    let device = scene.bench.device().clone();
    let provision = provision(scene.bench.rig(), 1_883).expect("fits");
    device.provision(&provision).await.expect("answers");
    for (count, simulated) in [(3, true), (0, false)] {
        let body = ControlBody::SimulateSensors { count };
        device.demand(body).await.expect("answers");
        let scan = |event: &BenchEvent| match event {
            BenchEvent::Telemetry(frame) => match frame.body {
                DeviceBody::Scan(sample) => Some(sample),
                _ => None,
            },
            _ => None,
        };
        let fits = |event: &BenchEvent| scan(event).is_some_and(|s| s.sensors == count);
        let event = scene.wait_for(fits).await;
        assert_eq!(scan(&event).map(|s| s.simulated), Some(simulated));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_found_no_buffer_are_counted() {
    let mut scene = Scene::new("floods").await;
    let device = scene.bench.device().clone();
    let provision = provision(scene.bench.rig(), 9).expect("fits");
    device.provision(&provision).await.expect("answers");
    let up = |event: &BenchEvent| match event {
        BenchEvent::Telemetry(frame) => matches!(
            frame.body,
            DeviceBody::Connection(Connection::Network { .. })
        ),
        _ => false,
    };
    scene.wait_for(up).await;
    let any = "127.0.0.1:0".parse().expect("an address");
    let rig = scene.bench.virtual_rig().expect("a virtual rig");
    let address = rig.forward(any, 7).expect("a port");
    // Nobody takes frames out of the buffers meanwhile.
    let duration_ms = 3_000;
    scene.inject(Fault::BlockControlLoop { duration_ms }).await;
    for _ in 0..300 {
        drop(TcpStream::connect(address).expect("the forward listens"));
    }
    let discarded = |event: &BenchEvent| match event {
        BenchEvent::Telemetry(frame) => match &frame.body {
            DeviceBody::Network(sample) => sample.frames_discarded > 0,
            _ => false,
        },
        _ => false,
    };
    scene.wait_for(discarded).await;
    assert_eq!(scene.crashes.seen(), None);
}
