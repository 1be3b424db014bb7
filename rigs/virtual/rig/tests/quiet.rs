//! How long the chip is held back for answers when all who could give one are threads of this process.
//!
//! A process of its own, with this one test: what is looked at are all threads of the process.
#![cfg(target_os = "linux")]

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use virtual_rig::{Alarm, Pace, Peers, VirtualRig, VirtualRigSettings};

/// Nobody waits this long: what ends in time was ended by the look at the threads.
const SETTLE: Duration = Duration::from_secs(3_600);
/// Longest wait in wall time. Only a failing test ever waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A look is taken every half a millisecond.
const MANY_LOOKS: Duration = Duration::from_millis(100);

fn alarm_in_a_minute(rig: &VirtualRig) -> (Alarm, Receiver<()>) {
    let (fire, fired) = bounded(1);
    let at = rig.clock().now() + Duration::from_secs(60);
    let fire = Box::new(move || fire.send(()).unwrap_or_default());
    (rig.clock().call_at(at, fire), fired)
}

/// A connection to the device: traffic, when it returns.
fn traffic(rig: &VirtualRig, address: std::net::SocketAddr) -> TcpStream {
    let flows = || rig.statistics().expect("it runs").network.tcp_open;
    let before = flows();
    let stream = TcpStream::connect(address).expect("somebody listens");
    let asked = Instant::now();
    while flows() == before {
        assert!(
            asked.elapsed() < PATIENCE,
            "the rig never saw the connection"
        );
    }
    stream
}

/// While a thread goes on doing `work`, time must not fly; once it has ended, it must.
fn check(rig: &VirtualRig, address: std::net::SocketAddr, what: &str, work: fn()) {
    let working = Arc::new(AtomicBool::new(true));
    let works = working.clone();
    let somebody = std::thread::spawn(move || {
        while works.load(Ordering::Relaxed) {
            work();
        }
    });
    let _stream = traffic(rig, address);
    let (_alarm, fired) = alarm_in_a_minute(rig);
    let early = fired.recv_timeout(MANY_LOOKS);
    assert_eq!(early, Err(RecvTimeoutError::Timeout), "{what}");
    working.store(false, Ordering::Relaxed);
    somebody.join().expect("the thread ends");
    assert_eq!(fired.recv_timeout(PATIENCE), Ok(()), "{what}: it has ended");
}

#[test]
fn traffic_holds_time_back_as_long_as_anybody_could_answer_it() {
    let settings = VirtualRigSettings {
        pace: Pace {
            settle: SETTLE,
            peers: Peers::Here,
            ..Pace::default()
        },
        ..VirtualRigSettings::new("quiet")
    };
    let rig = VirtualRig::start(settings).expect("a rig starts");
    let any = "127.0.0.1:0".parse().expect("an address");
    let address = rig.forward(any, 80).expect("a port");
    check(&rig, address, "a thread that works", std::hint::spin_loop);
    // Asleep at nearly every look, and yet it does something in between.
    let naps = || std::thread::sleep(Duration::from_micros(50));
    check(&rig, address, "a thread that naps", naps);
}
