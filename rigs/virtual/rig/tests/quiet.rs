//! How long the chip is held back for answers when all who could give one are threads of this process.
//!
//! A process of its own, with this one test: what is looked at are all threads of the process.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use virtual_rig::{Alarm, Pace, Peers, VirtualRig, VirtualRigSettings};

/// Nobody waits this long: what ends in time was ended by the look at the threads.
const SETTLE: Duration = Duration::from_secs(3_600);
/// Longest wait in wall time. Only a failing test ever waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A look is taken every 0.3 ms.
const MANY_LOOKS: Duration = Duration::from_millis(100);

fn alarm_in_a_minute(rig: &VirtualRig) -> (Alarm, Receiver<()>) {
    let (fire, fired) = bounded(1);
    let at = rig.clock().now() + Duration::from_secs(60);
    let fire = Box::new(move || fire.send(()).unwrap_or_default());
    (rig.clock().call_at(at, fire), fired)
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
    let port = rig.fixture_port().expect("a serial port");
    let mut line = std::fs::OpenOptions::new()
        .write(true)
        .open(port.path().expect("the port has a name"))
        .expect("the port opens");
    let working = Arc::new(AtomicBool::new(true));
    let works = working.clone();
    let somebody = std::thread::spawn(move || {
        while works.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    line.write_all(&[0]).expect("the port takes a byte");
    // The byte has to reach the rig before there is traffic.
    std::thread::sleep(MANY_LOOKS);
    let (_alarm, fired) = alarm_in_a_minute(&rig);
    let early = fired.recv_timeout(MANY_LOOKS);
    assert_eq!(early, Err(RecvTimeoutError::Timeout), "somebody works");
    working.store(false, Ordering::Relaxed);
    somebody.join().expect("the thread ends");
    assert_eq!(fired.recv_timeout(PATIENCE), Ok(()), "all sleep");
}
