//! The simulated probe over TCP, in the remote protocol of the Black Magic Probe.
//!
//! Stock tools (the probe-rs command line, editors, GDB servers) can't load our plugin, but they speak to a Black Magic
//! Probe on a TCP port. This serves the JTAG part of that protocol, as much of it as probe-rs's own driver uses.
//!
//! A packet is `!` command arguments `#`, numbers in hexadecimal; the answer is `&`, then `K` (done), `P` (bad
//! arguments), `E` (failed) or `N` (not supported), a number or text, and `#`:
//!
//! ```text
//! GA  who are you        HC  protocol version       GV  target voltage
//! JS  start JTAG         JR  reset the TAP          HJ  describe a TAP (ignored)
//! JN  one clock: tms tdi           -> tdo
//! JT  up to 32 clocks: count, tms bits
//! Jd  up to 64 bits with tms low: count, tdi bits   -> tdo bits
//! JD  the same, tms high on the last bit
//! GZ  reset pin (1 asserts)        GF, Gf  set and get the clock's frequency
//! GE, GP  clock and supply output (ignored)
//! ```
//! One client at a time has the probe; others are turned away.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use virtual_debug::Tap;

use crate::error::VirtualRigError;
use crate::machine::Machine;
use crate::probe::Connector;
use crate::shared::Shared;

const NAME: &str = "Virtual ESP32-C3 as Black Magic Probe";
/// The last version of the protocol that probe-rs knows.
const PROTOCOL_VERSION: u64 = 4;
/// Longest packet that means anything is 30 bytes; the real probe's buffer is this long.
const PACKET_MAX: usize = 1024;

/// A running server; see [`VirtualRig::black_magic_server`](crate::VirtualRig::black_magic_server).
#[derive(Debug)]
pub struct BlackMagicServer {
    address: SocketAddr,
    state: Arc<ServerState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct ServerState {
    stopping: AtomicBool,
    /// The client that has the probe, to be cut off at the end.
    client: Mutex<Option<TcpStream>>,
}

impl BlackMagicServer {
    pub(crate) fn start(
        rig: Arc<Shared>,
        listener: TcpListener,
    ) -> Result<BlackMagicServer, VirtualRigError> {
        let address = listener.local_addr().map_err(VirtualRigError::Listener)?;
        let state = Arc::new(ServerState::default());
        let name = format!("black-magic {}", rig.serial);
        let accepting = state.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || accept(&rig, &listener, &accepting))
            .map_err(|source| VirtualRigError::Thread { name, source })?;
        Ok(BlackMagicServer {
            address,
            state,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to pass to a probe-rs tool as `--probe`, together with `--protocol jtag`.
    pub fn selector(&self) -> String {
        format!("1d50:6018:{}", reachable(self.address))
    }
}

impl Drop for BlackMagicServer {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        if let Some(client) = self.state.client.lock().take() {
            let _ = client.shutdown(Shutdown::Both); // gone already is as good
        }
        // `accept` blocks: a connection of our own ends it.
        let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the Black Magic server panicked");
        }
    }
}

/// An address that listens everywhere is reached on the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    address
}

fn accept(rig: &Arc<Shared>, listener: &TcpListener, state: &Arc<ServerState>) {
    let mut workers: Vec<JoinHandle<()>> = Vec::new();
    for connection in listener.incoming() {
        if state.stopping.load(Ordering::SeqCst) {
            break;
        }
        workers.retain(|worker| !worker.is_finished());
        let client = match connection {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!("no client: {error}");
                std::thread::sleep(Duration::from_millis(10)); // out of descriptors: don't spin
                continue;
            }
        };
        match Connector::take(rig.clone(), "a Black Magic client") {
            Ok(connector) => {
                let state = state.clone();
                let worker = std::thread::Builder::new()
                    .name("black-magic client".to_owned())
                    .spawn(move || serve(connector, client, &state));
                workers.extend(
                    worker.map_err(|error| tracing::error!("no thread for a client: {error}")),
                );
            }
            Err(error) => {
                tracing::warn!("client turned away: {error}");
                let mut client = client;
                let _ = client.write_all(b"&E0#"); // it will see the end of the connection anyway
            }
        }
    }
    for worker in workers {
        if worker.join().is_err() {
            tracing::error!("the thread of a Black Magic client panicked");
        }
    }
}

fn serve(mut connector: Connector, client: TcpStream, state: &ServerState) {
    match client.try_clone() {
        Ok(clone) => *state.client.lock() = Some(clone),
        Err(error) => return tracing::error!("client dropped: {error}"),
    }
    if !state.stopping.load(Ordering::SeqCst)
        && let Err(error) = talk(&mut connector, client)
    {
        tracing::debug!("client gone: {error}");
    }
    // Free for the next client before the old one is forgotten.
    drop(connector);
    *state.client.lock() = None;
}

fn talk(connector: &mut Connector, mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut packets = Packets::default();
    let mut speed_hz = 4_000_000;
    let mut buffer = [0; 4096];
    loop {
        let received = client.read(&mut buffer)?;
        if received == 0 {
            return Ok(());
        }
        let mut answers = String::new();
        for byte in &buffer[..received] {
            if let Some(packet) = packets.push(*byte) {
                let answer =
                    packet
                        .and_then(|packet| Request::parse(&packet))
                        .and_then(|request| {
                            connector
                                .operate(|machine, tap| {
                                    request.carry_out(machine, tap, &mut speed_hz)
                                })
                                .map_err(|_| Refusal::Failed)
                        });
                answers.push_str(&answer.unwrap_or_else(|refusal| refusal.to_string()));
            }
        }
        client.write_all(answers.as_bytes())?;
    }
}

/// Cuts a stream of bytes into packets. What is outside of `!` and `#` is noise, as on the real probe.
#[derive(Debug, Default)]
struct Packets {
    /// The packet so far, if one was begun.
    open: Option<Vec<u8>>,
}

impl Packets {
    fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, Refusal>> {
        match (byte, &mut self.open) {
            (b'!', _) => self.open = Some(Vec::new()),
            (b'#', Some(_)) => return self.open.take().map(Ok),
            (_, Some(packet)) if packet.len() == PACKET_MAX => {
                self.open = None;
                return Some(Err(Refusal::BadArguments));
            }
            (_, Some(packet)) => packet.push(byte),
            (_, None) => {}
        }
        None
    }
}

/// Why a packet was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    BadArguments,
    Failed,
    NotSupported,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::BadArguments => "&P1#",
            Refusal::Failed => "&E0#",
            Refusal::NotSupported => "&N0#",
        })
    }
}

/// A packet understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Name,
    Version,
    Voltage,
    Accelerators,
    ResetTap,
    DescribeTap,
    Clock { tms: bool, tdi: bool },
    TmsBits { count: u32, tms: u64 },
    DataBits { count: u32, tdi: u64, leave: bool },
    ResetPin(bool),
    SetSpeed(u32),
    Speed,
    Output,
}

impl Request {
    fn parse(packet: &[u8]) -> Result<Request, Refusal> {
        let packet = std::str::from_utf8(packet).map_err(|_| Refusal::BadArguments)?;
        let (command, arguments) = packet.split_at_checked(2).ok_or(Refusal::BadArguments)?;
        Ok(match command {
            "GA" => Request::Name,
            "HC" => Request::Version,
            "HA" => Request::Accelerators,
            "HJ" => Request::DescribeTap,
            "GV" => Request::Voltage,
            "GE" | "GP" => Request::Output,
            "GF" => Request::SetSpeed(
                u32::try_from(number(arguments)?).map_err(|_| Refusal::BadArguments)?,
            ),
            "Gf" => Request::Speed,
            "GZ" => Request::ResetPin(bit(arguments)?),
            "JS" | "JR" => Request::ResetTap,
            "JN" => {
                let (tms, tdi) = arguments.split_at_checked(1).ok_or(Refusal::BadArguments)?;
                Request::Clock {
                    tms: bit(tms)?,
                    tdi: bit(tdi)?,
                }
            }
            "JT" => {
                let (count, tms) = bits(arguments, 32)?;
                Request::TmsBits { count, tms }
            }
            "JD" | "Jd" => {
                let (count, tdi) = bits(arguments, 64)?;
                Request::DataBits {
                    count,
                    tdi,
                    leave: command == "JD",
                }
            }
            _ => return Err(Refusal::NotSupported),
        })
    }

    /// Does it and words the answer.
    fn carry_out(self, machine: &mut Machine, tap: &mut Tap, speed_hz: &mut u32) -> String {
        let answer = match self {
            Request::Name => return format!("&K{NAME}#"),
            Request::Voltage => {
                return (if machine.is_powered() {
                    "&K3.3V#"
                } else {
                    "&K0.0V#"
                })
                .to_owned();
            }
            Request::Version => PROTOCOL_VERSION,
            // None: they would be for Arm.
            Request::Accelerators | Request::DescribeTap | Request::Output => 0,
            Request::ResetTap => {
                tap.reset();
                0
            }
            Request::Clock { tms, tdi } => u64::from(machine.clock(tap, tms, tdi)),
            Request::TmsBits { count, tms } => {
                (0..count).for_each(|bit| {
                    machine.clock(tap, tms >> bit & 1 != 0, true);
                });
                0
            }
            Request::DataBits { count, tdi, leave } => (0..count).fold(0, |out, bit| {
                let tms = leave && bit + 1 == count;
                out | u64::from(machine.clock(tap, tms, tdi >> bit & 1 != 0)) << bit
            }),
            Request::ResetPin(asserted) => {
                machine.set_power(!asserted);
                0
            }
            Request::SetSpeed(hz) => {
                *speed_hz = hz;
                0
            }
            Request::Speed => u64::from(*speed_hz / 1000),
        };
        format!("&K{answer:x}#")
    }
}

fn number(digits: &str) -> Result<u64, Refusal> {
    // `from_str_radix` would take a sign.
    if digits.starts_with('+') {
        return Err(Refusal::BadArguments);
    }
    u64::from_str_radix(digits, 16).map_err(|_| Refusal::BadArguments)
}

fn bit(digit: &str) -> Result<bool, Refusal> {
    match digit {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Refusal::BadArguments),
    }
}

/// A count of two digits, 1 to `most`, and as many bits.
fn bits(arguments: &str, most: u32) -> Result<(u32, u64), Refusal> {
    let (count, bits) = arguments.split_at_checked(2).ok_or(Refusal::BadArguments)?;
    let count = number(count)? as u32;
    if !(1..=most).contains(&count) {
        return Err(Refusal::BadArguments);
    }
    Ok((count, number(bits)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_out_of_noise() {
        fn check(stream: &str, expected: &[&str]) {
            let mut packets = Packets::default();
            let found: Vec<String> = stream
                .bytes()
                .filter_map(|byte| packets.push(byte))
                .map(|packet| String::from_utf8(packet.unwrap()).unwrap())
                .collect();
            assert_eq!(found, expected, "{stream}");
        }
        check("+#!GA#", &["GA"]);
        check("!GA#!HC#", &["GA", "HC"]);
        check(" !GV#", &["GV"]);
        check("!G!GV#", &["GV"]);
        check("GV#", &[]);
        check("!GV", &[]);
        check("!#", &[""]);
    }

    #[test]
    fn an_endless_packet_is_refused_and_forgotten() {
        let mut packets = Packets::default();
        let refusals = b"!"
            .iter()
            .chain(&[b'0'; 5000])
            .filter_map(|byte| packets.push(*byte));
        assert_eq!(refusals.collect::<Vec<_>>(), [Err(Refusal::BadArguments)]);
        assert_eq!(packets.open, None);
    }

    #[test]
    fn requests() {
        fn check(packet: &str, expected: Result<Request, Refusal>) {
            assert_eq!(Request::parse(packet.as_bytes()), expected, "{packet}");
        }
        let bad = Err(Refusal::BadArguments);
        check("GA", Ok(Request::Name));
        check("JS", Ok(Request::ResetTap));
        check(
            "JN10",
            Ok(Request::Clock {
                tms: true,
                tdi: false,
            }),
        );
        check("JN1", bad);
        check("JN12", bad);
        check("JN100", bad);
        check(
            "JT051f",
            Ok(Request::TmsBits {
                count: 5,
                tms: 0x1F,
            }),
        );
        check("JT21ffffffff", bad);
        check("JT00", bad);
        check(
            "JD20ffffffff",
            Ok(Request::DataBits {
                count: 32,
                tdi: 0xFFFF_FFFF,
                leave: true,
            }),
        );
        check(
            "Jd40ffffffffffffffff",
            Ok(Request::DataBits {
                count: 64,
                tdi: u64::MAX,
                leave: false,
            }),
        );
        check(
            "Jd4000000000000000000",
            Ok(Request::DataBits {
                count: 64,
                tdi: 0,
                leave: false,
            }),
        );
        check("Jd41ffffffffffffffff", bad);
        check("Jd0811111111111111111", bad);
        check("Jd08", bad);
        check("Jd08+1", bad);
        check("Jd08xy", bad);
        check("GZ1", Ok(Request::ResetPin(true)));
        check("GZ", bad);
        check("GF003d0900", Ok(Request::SetSpeed(4_000_000)));
        check("GFfffffffff", bad);
        check("SS", Err(Refusal::NotSupported));
        check("", bad);
        check("G", bad);
        check("\u{e4}", bad_or_unsupported());
    }

    /// One character of two bytes: cut in the middle it is no command, whole it is an unknown one.
    fn bad_or_unsupported() -> Result<Request, Refusal> {
        Err(Refusal::NotSupported)
    }

    #[test]
    fn servers_that_listen_everywhere_are_reached_on_the_loopback() {
        fn check(address: &str, expected: &str) {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expected);
        }
        check("0.0.0.0:80", "127.0.0.1:80");
        check("[::]:80", "[::1]:80");
        check("127.0.0.1:80", "127.0.0.1:80");
    }
}
