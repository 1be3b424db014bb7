//! Whole sessions over connections that break anywhere, against a small broker with a codec that is
//! not ours: what CON-4 asks of the device, a few thousand times over.
//!
//! What must hold in the end (4.3, 4.4): a message at QoS 1 has arrived at least once, and where it
//! came again in one session it came with DUP and its identifier; a message at QoS 2 has arrived once,
//! for as long as neither side lost the session; and nobody waits for anything.

mod support;

use firmware_mqtt::QoS;
use proptest::{collection::vec, prelude::*};
use support::World;

#[derive(Clone, Debug)]
enum Step {
    Push(QoS),
    Publish(QoS),
    ClientSends,
    BrokerSends,
    BrokerReads(usize),
    ClientReads(usize),
    Connect,
    Cut,
    BrokerForgets,
}

fn step() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![
        1 => Just(QoS::AtMostOnce),
        3 => Just(QoS::AtLeastOnce),
        3 => Just(QoS::ExactlyOnce)
    ];
    let in_qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let bytes = prop_oneof![Just(usize::MAX), 1..40_usize];
    prop_oneof![
        3 => qos.prop_map(Step::Push),
        3 => in_qos.prop_map(Step::Publish),
        8 => Just(Step::ClientSends),
        5 => Just(Step::BrokerSends),
        8 => bytes.clone().prop_map(Step::BrokerReads),
        8 => bytes.prop_map(Step::ClientReads),
        2 => Just(Step::Connect),
        1 => Just(Step::Cut),
        1 => Just(Step::BrokerForgets),
    ]
}

/// Does the steps, as far as the client's outbox has room, then lets everything settle.
fn run(steps: Vec<Step>) -> World {
    let mut world = World::new();
    for step in steps {
        match step {
            Step::Push(qos) if world.client.outbox().len() < 60 => world.push(qos),
            Step::Push(_) => {}
            Step::Publish(qos) => world.publish(qos),
            Step::ClientSends => {
                world.client_sends();
            }
            Step::BrokerSends => {
                world.broker_sends();
            }
            Step::BrokerReads(bytes) => {
                world.broker_reads(bytes);
            }
            Step::ClientReads(bytes) => {
                world.client_reads(bytes);
            }
            Step::Connect => world.connect(),
            Step::Cut => world.cut(),
            Step::BrokerForgets => {
                world.cut();
                world.broker.forget();
            }
        }
    }
    world.settle();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice_while_the_session_lasts(
        steps in vec(step(), 0..200),
    ) {
        let lasting = steps.into_iter().filter(|step| !matches!(step, Step::BrokerForgets)).collect();
        let world = run(lasting);
        prop_assert!(!world.broker.forgot && world.sessions_begun <= 1);
        world.check();
    }

    #[test]
    fn nothing_is_lost_when_the_broker_forgets(steps in vec(step(), 0..200)) {
        run(steps).check();
    }
}

#[test]
fn a_quiet_session_needs_each_packet_once() {
    let mut world = World::new();
    world.push(QoS::AtLeastOnce);
    world.push(QoS::ExactlyOnce);
    world.settle();
    world.publish(QoS::AtLeastOnce);
    world.publish(QoS::ExactlyOnce);
    world.settle();
    world.check();
    let arrived: Vec<_> = world.broker.arrived.iter().map(|a| (a.0, a.3)).collect();
    assert_eq!(arrived, [(1, false), (2, false)]);
    assert_eq!(world.handed, [(3, QoS::AtLeastOnce), (4, QoS::ExactlyOnce)]);
}
