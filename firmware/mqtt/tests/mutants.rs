//! Each deliberate fault does what it says: without it the same steps go well, with it they do not.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use firmware_mqtt::{
    BackOff, BackOffLimits, Connect, Delivery, Due, KeepAlive, Packet, Publish, QoS, Reader, Will,
    mutants::{self, Mutant},
};
use support::World;

/// Whether all is well with what this fault harms.
fn is_well(mutant: Mutant) -> bool {
    match mutant {
        Mutant::PubAckNeverSent => holds(|world| {
            world.settle();
            world.publish(QoS::AtLeastOnce);
        }),
        Mutant::OutboxDroppedAtReconnect | Mutant::NeverSentAgain => holds(|world| {
            world.settle();
            world.push(QoS::AtLeastOnce);
            world.client_sends();
            world.cut();
        }),
        Mutant::AcknowledgedSentAgain | Mutant::FourthMessageLost => holds(|world| {
            for _ in 0..8 {
                world.push(QoS::AtLeastOnce);
            }
        }),
        Mutant::RetainFlagLost => {
            let publish = Publish {
                topic: "t",
                payload_bytes: 0,
                delivery: Delivery::AtMostOnce,
                retain: true,
            };
            publish.encode(&mut [0; 16]).expect("fits")[0] & 1 == 1
        }
        Mutant::WillNotRetained => {
            let connect = Connect {
                client_id: "dev",
                clean_session: true,
                keep_alive_s: 0,
                credentials: None,
                will: Some(Will {
                    topic: "t",
                    payload: b"",
                    qos: QoS::AtLeastOnce,
                    retain: true,
                }),
            };
            connect.encode(&mut [0; 32]).expect("fits")[9] & 1 << 5 != 0
        }
        Mutant::BackOffZero => waits().iter().all(|wait| *wait > 0),
        Mutant::BackOffNeverAnew => {
            let mut back_off = BackOff::new(LIMITS);
            let first = back_off.wait_ms(0, 0);
            back_off.wait_ms(0, 0);
            back_off.wait_ms(u64::from(LIMITS.steady_ms), 0) == first
        }
        Mutant::ReconnectGivenUp => waits().iter().all(|wait| *wait <= LIMITS.max_ms),
        Mutant::KeepAliveNeverSent => KeepAlive::new(40, 0).poll(30_000) == Due::Ping,
        Mutant::LongMessageEndsSession => {
            let stream = b"\x30\x0a\x00\x01t1234567";
            matches!(
                Reader::<8>::new().next(&mut &stream[..]),
                Ok(Some(Packet::Publish { .. }))
            )
        }
        // Played where telemetry is published: in the firmware's `mqtt` module.
        Mutant::TelemetryTwice => !mutants::active(Mutant::TelemetryTwice),
    }
}

const LIMITS: BackOffLimits = BackOffLimits {
    min_ms: 1_000,
    max_ms: 60_000,
    steady_ms: 10_000,
};

fn waits() -> [u32; 5] {
    let mut back_off = BackOff::new(LIMITS);
    [0; 5].map(|chance| back_off.wait_ms(0, chance))
}

/// Whether what must hold after a session does, once `steps` are done and everything has settled. Nor
/// may anything come twice: no step here gives a reason to send anything twice.
fn holds(steps: impl FnOnce(&mut World)) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new();
        steps(&mut world);
        world.settle();
        world.check();
        let mut arrived: Vec<_> = world.broker.arrived.iter().map(|a| a.0).collect();
        let count = arrived.len();
        arrived.dedup();
        assert_eq!(arrived.len(), count, "sent twice");
    }));
    outcome.is_ok()
}

// One test, as the fault that is turned on is the same for the whole process.
#[test]
fn each_fault_shows_and_is_gone_when_it_is_turned_off() {
    for mutant in Mutant::ALL.iter().copied() {
        assert!(is_well(mutant), "{} before", mutant.name());
        mutants::activate(Some(mutant));
        assert!(!is_well(mutant), "{}", mutant.name());
        mutants::activate(None);
        assert!(is_well(mutant), "{} after", mutant.name());
    }
}
