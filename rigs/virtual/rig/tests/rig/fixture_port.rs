//! The fixture board's serial port, opened as a host opens it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixture_protocol::{
    BOARD_FRAME_BYTES_MAX, BoardBody, BoardFrame, BoardKind, CutTrigger, DecodeError, Event,
    FlashOperation, FrameDecoder, PowerCause, REQUEST_FRAME_BYTES_MAX, Refusal, Request,
    RequestFrame, Resolution, Response, VERSION, encode,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use virtual_rig::{LineFault, RigEventKind, VirtualRig};

use crate::support::*;

/// A host that has the port open.
struct Host {
    port: File,
    decoder: FrameDecoder<BOARD_FRAME_BYTES_MAX>,
    sequence: u32,
    /// What came besides the responses that were waited for.
    events: Vec<Event>,
    errors: Vec<DecodeError>,
}

impl Host {
    fn new(path: &Path) -> Host {
        let port = OpenOptions::new().read(true).write(true).open(path);
        Host {
            port: port.expect("the port opens"),
            decoder: FrameDecoder::new(),
            sequence: 0,
            events: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn open(rig: &VirtualRig) -> Host {
        let mut host = Host::new(&path(rig));
        assert!(matches!(host.ask(Request::Hello), Response::Hello(_)));
        host
    }

    fn send(&mut self, sequence: u32, body: Request) {
        let mut buffer = [0; REQUEST_FRAME_BYTES_MAX];
        let bytes = encode(&RequestFrame { sequence, body }, &mut buffer).expect("it fits");
        self.port.write_all(bytes).expect("it is written");
    }

    /// Until there is something to read, or nobody at the far end. A board that says nothing fails the test.
    fn wait(&self) {
        let patience = Timespec::try_from(PATIENCE).expect("it fits");
        let come = rustix::io::retry_on_intr(|| {
            let mut polled = [PollFd::new(&self.port, PollFlags::IN)];
            rustix::event::poll(&mut polled, Some(&patience))
        });
        assert_ne!(come, Ok(0), "the board said nothing within {PATIENCE:?}");
    }

    /// The next frame, or what is wrong with it.
    fn next(&mut self) -> Result<BoardFrame, DecodeError> {
        loop {
            let mut byte = [0];
            self.wait();
            self.port.read_exact(&mut byte).expect("a byte comes");
            if let Some(frame) = self.decoder.push(byte[0]) {
                return frame;
            }
        }
    }

    fn response_to(&mut self, wanted: u32) -> (u64, Response) {
        loop {
            match self.next() {
                Ok(BoardFrame { at_us, body, .. }) => match body {
                    BoardBody::Response { sequence, response } if sequence == wanted => {
                        return (at_us, response);
                    }
                    BoardBody::Response { .. } => {}
                    BoardBody::Event(event) => self.events.push(event),
                },
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn ask_at(&mut self, request: Request) -> (u64, Response) {
        self.sequence += 1;
        self.send(self.sequence, request);
        self.response_to(self.sequence)
    }

    fn ask(&mut self, request: Request) -> Response {
        self.ask_at(request).1
    }

    /// The next event that `wanted` picks.
    fn event<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            for event in std::mem::take(&mut self.events) {
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
            match self.next() {
                Ok(BoardFrame {
                    body: BoardBody::Event(event),
                    ..
                }) => self.events.push(event),
                Ok(_) => {}
                Err(error) => self.errors.push(error),
            }
        }
    }
}

fn path(rig: &VirtualRig) -> PathBuf {
    let port = rig.fixture_port().expect("a pty");
    port.path().expect("the cable is plugged in")
}

fn asleep(directory: &tempfile::TempDir) -> VirtualRig {
    rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), directory)
}

#[test]
fn the_board_says_who_it_is() {
    let rig = rig();
    let mut host = Host::new(&path(&rig));
    let Response::Hello(hello) = host.ask(Request::Hello) else {
        panic!("no hello");
    };
    assert_eq!(hello.kind, BoardKind::Virtual);
    let capabilities = hello.capabilities;
    assert_eq!((capabilities.sensors, capabilities.relays), (60, 8));
    assert!(capabilities.power && capabilities.flash_operation_cut);
}

#[test]
fn the_board_answers_while_chip_time_flies_and_knows_what_time_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let mut host = Host::open(&rig);
    let (_alarm, fired) = alarm(&clock, Duration::from_secs(3600 * 24 * 365));
    for _ in 0..20 {
        let guard = clock.in_flight();
        let before = clock.now();
        let (at_us, response) = host.ask_at(Request::ReadClock);
        let after = clock.now();
        drop(guard);
        let Response::Clock { received_us } = response else {
            panic!("{response:?}");
        };
        let received = Duration::from_micros(received_us);
        let answered = Duration::from_micros(at_us);
        let slack = Duration::from_micros(1);
        assert!(
            received + slack >= before && answered >= received && answered <= after + slack,
            "{before:?} {received:?} {answered:?} {after:?}"
        );
        assert!(after - before < Duration::from_secs(10), "it was held back");
    }
    // Asked twice in one flight: the second time nothing flies any more, and a moment is a moment.
    for _ in 0..20 {
        let _guard = clock.in_flight();
        assert_eq!(host.ask(Request::Ping), Response::Done);
        let before = clock.now();
        let Response::Clock { received_us } = host.ask(Request::ReadClock) else {
            panic!("no clock");
        };
        let received = Duration::from_micros(received_us + 1);
        assert!(received >= before, "{before:?} {received:?}");
    }
    assert!(fired.is_empty());
}

#[test]
fn an_edge_is_told_before_chip_time_flies_on() {
    let directory = tempfile::tempdir().unwrap();
    let gpio = 0x6000_4000;
    // Two seconds after its start the guest closes relay 1.
    let (a0, t0, ra) = (10, 5, 1);
    let delay = [
        lui(a0, 2_000_000),
        addi(a0, a0, 2_000_000 & 0xFFF),
        lui(t0, 0x4000_0050),
        addi(t0, t0, 0x50),
        jalr(ra, t0),
    ];
    let program = [
        &no_watchdog()[..],
        &store(gpio + 0x24, 1),
        &delay,
        &store(gpio + 0x08, 1),
        &SLEEP,
    ]
    .concat();
    let rig = rig_with(&program, &directory);
    let clock = rig.clock();
    let mut host = Host::open(&rig);
    let contacts = 1;
    host.ask(Request::SubscribeRelays {
        contacts,
        edges: true,
    });
    // Somebody waits for an hour; who reads the edge still finds the chip shortly after it.
    let (_alarm, fired) = alarm(&clock, Duration::from_secs(3600));
    let at_us = host.event(|event| match event {
        Event::RelayEdge {
            relay: 0,
            closed: true,
            at_us,
        } => Some(at_us),
        _ => None,
    });
    let now = clock.now();
    let at = Duration::from_micros(at_us);
    assert!(
        at > Duration::from_secs(2) && at < Duration::from_secs(3),
        "{at:?}"
    );
    assert!(
        now >= at && now < at + Duration::from_secs(60),
        "{at:?} {now:?}"
    );
    fired.recv_timeout(PATIENCE).expect("it flies afterwards");
}

#[test]
fn the_supply_is_cut_by_request_and_both_ends_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&crate::power::wear_out(), &directory);
    let clock = rig.clock();
    let mut host = Host::open(&rig);
    let trigger = CutTrigger::FlashOperation {
        kind: FlashOperation::Erase,
        nth: 2,
        delay_us: Some(20_000),
    };
    let off_ms = Some(100);
    assert_eq!(
        host.ask(Request::CutPower { trigger, off_ms }),
        Response::Done
    );
    let (_alarm, _fired) = alarm(&clock, clock.now() + Duration::from_secs(60));
    let mut times = Vec::new();
    for wanted in [PowerCause::Cut, PowerCause::CutEnded] {
        times.push(host.event(|event| match event {
            Event::Power { at_us, cause, .. } if cause == wanted => Some(at_us),
            _ => None,
        }));
    }
    assert!(
        (100_000..100_010).contains(&(times[1] - times[0])),
        "{times:?}"
    );
    let (off, ()) = event(&rig, |what| {
        (what == RigEventKind::Power { on: false }).then_some(())
    });
    assert!(times[0].abs_diff(off.as_micros() as u64) <= 1);
}

#[test]
fn a_response_that_was_lost_is_given_again() {
    let rig = rig();
    let mut host = Host::open(&rig);
    let place = || Request::PlaceSensor {
        sensor: 0,
        rom: [0x28, 1, 2, 3, 4, 5, 6, 0x9E], // with its CRC
        resolution: Resolution::Bits12,
    };
    rig.set_line_fault(&LineFault::Drop(6));
    host.send(77, place());
    // The rest of the frame is garbage; asked again, the board answers and does nothing twice: a second sensor at that
    // place it would refuse, as it does when asked anew.
    host.send(77, place());
    assert_eq!(host.response_to(77).1, Response::Done);
    assert!(!host.errors.is_empty());
    assert_eq!(host.ask(place()), Response::Refused(Refusal::PlaceTaken));
}

#[test]
fn a_request_that_was_lost_can_be_sent_again() {
    let rig = rig();
    let mut host = Host::open(&rig);
    rig.set_line_fault(&LineFault::DropFromHost(3));
    host.send(5, Request::Ping);
    host.event(|event| (event == Event::GarbledRequest).then_some(()));
    host.send(5, Request::Ping);
    assert_eq!(host.response_to(5).1, Response::Done);
}

#[test]
fn noise_costs_a_frame_at_most() {
    let rig = rig();
    let mut host = Host::open(&rig);
    rig.set_line_fault(&LineFault::Garbage(vec![0x11, 0x22, 0x33]));
    host.send(7, Request::Ping);
    host.send(7, Request::Ping);
    assert_eq!(host.response_to(7).1, Response::Done);
    assert_eq!(host.errors.len(), 1);
    host.port.write_all(&[0x55; 10]).expect("it is written");
    host.port.write_all(&[0]).expect("it is written");
    host.event(|event| (event == Event::GarbledRequest).then_some(()));
    assert_eq!(host.ask(Request::Ping), Response::Done);
}

#[test]
fn a_board_of_another_version_is_known_for_one() {
    let rig = rig();
    let mut host = Host::open(&rig);
    let version = VERSION + 1;
    rig.set_line_fault(&LineFault::OtherVersion(version));
    host.send(1, Request::Hello);
    assert_eq!(host.next(), Err(DecodeError::OtherVersion { version }));
    rig.set_line_fault(&LineFault::None);
    assert!(matches!(host.ask(Request::Hello), Response::Hello(_)));
}

#[test]
fn a_pulled_cable_hangs_up_and_leads_elsewhere_when_it_is_plugged_in() {
    let rig = rig();
    let mut host = Host::open(&rig);
    let port = rig.fixture_port().unwrap();
    let before = port.path().expect("it is there");
    assert_eq!(host.ask(Request::SetPower { on: false }), Response::Done);
    rig.pull_fixture_cable();
    let mut byte = [0];
    let read = loop {
        host.wait();
        match host.port.read(&mut byte) {
            Ok(1) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(!before.exists(), "the path is gone");
    assert_eq!(
        (port.path(), rig.fixture_port().unwrap().path()),
        (None, None)
    );
    rig.plug_fixture_cable().unwrap();
    assert!(port.path().is_some());
    // The board went on.
    let mut host = Host::open(&rig);
    let Response::Power(state) = host.ask(Request::ReadPower) else {
        panic!("no state");
    };
    assert!(!state.on);
}
