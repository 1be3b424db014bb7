//! The time of day: set by the bench, or asked of a time server by SNTP (RFC 4330).

use core::{cell::Cell, net::SocketAddr};

use critical_section::Mutex;
use embassy_net::{
    IpAddress, IpEndpoint, Stack,
    udp::{PacketMetadata, UdpSocket},
};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use firmware_control::{Clock, Now};
use sntpc::{NtpContext, NtpTimestampGenerator, NtpUdpSocket};

/// How long a server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Between two questions without an answer.
const RETRY: Duration = Duration::from_secs(15);
/// Between two synchronisations: a crystal of 40 ppm is off by less than 150 ms after that.
const INTERVAL: Duration = Duration::from_secs(3_600);
const NTP_PORT: u16 = 123;

/// Microseconds from boot to 1970-01-01T00:00:00Z, backwards; none until the time is known.
static BOOT_UNIX_US: Mutex<Cell<Option<u64>>> = Mutex::new(Cell::new(None));

/// Sets the time of day: microseconds since 1970-01-01T00:00:00Z.
pub fn set_unix_us(unix_us: u64) {
    let boot = unix_us.saturating_sub(Instant::now().as_micros());
    critical_section::with(|cs| BOOT_UNIX_US.borrow(cs).set(Some(boot)));
}

/// Waits until the time of day is known.
pub async fn wait_known() {
    while DeviceClock.now().unix_ms.is_none() {
        Timer::after(Duration::from_millis(20)).await;
    }
}

/// The device's clocks, for the controller.
#[derive(Clone, Copy, Debug)]
pub struct DeviceClock;

impl Clock for DeviceClock {
    fn now(&self) -> Now {
        let uptime_us = Instant::now().as_micros();
        let boot = critical_section::with(|cs| BOOT_UNIX_US.borrow(cs).get());
        Now {
            uptime_ms: uptime_us / 1_000,
            unix_ms: boot.map(|boot| (boot + uptime_us) / 1_000),
        }
    }
}

/// Keeps the clock right by asking `server`, a host name or an IPv4 address, for ever.
pub async fn synchronise(stack: Stack<'static>, server: &str) -> ! {
    loop {
        let wait = match ask(stack, server).await {
            Ok(unix_us) => {
                set_unix_us(unix_us);
                defmt::info!("clock set by {=str}: {=u64:us} since 1970", server, unix_us);
                INTERVAL
            }
            Err(reason) => {
                defmt::warn!("no time from {=str}: {=str}", server, reason);
                RETRY
            }
        };
        Timer::after(wait).await;
    }
}

/// The time of day at `server`, microseconds since 1970-01-01T00:00:00Z.
async fn ask(stack: Stack<'static>, server: &str) -> Result<u64, &'static str> {
    let address = crate::network::resolve(stack, server).await?;
    let (mut rx_meta, mut rx) = ([PacketMetadata::EMPTY; 2], [0; 256]);
    let (mut tx_meta, mut tx) = ([PacketMetadata::EMPTY; 2], [0; 256]);
    let mut socket = UdpSocket::new(stack, &mut rx_meta, &mut rx, &mut tx_meta, &mut tx);
    socket.bind(0).map_err(|_| "no local port")?;
    let server = SocketAddr::new(address.into(), NTP_PORT);
    let socket = Udp(socket);
    let answer = sntpc::get_time(server, &socket, NtpContext::new(Uptime::default()));
    let time = with_timeout(ANSWER_MAX, answer)
        .await
        .map_err(|_| "no answer")?
        .map_err(|_| "bad answer")?;
    let fraction_us = (u64::from(time.sec_fraction()) * 1_000_000) >> 32;
    Ok(time.sec() * 1_000_000 + fraction_us + time.roundtrip() / 2)
}

/// Time stamps for measuring the round trip: any clock will do that goes on evenly.
#[derive(Clone, Copy, Default)]
struct Uptime {
    us: u64,
}

impl NtpTimestampGenerator for Uptime {
    fn init(&mut self) {
        self.us = Instant::now().as_micros();
    }

    fn timestamp_sec(&self) -> u64 {
        self.us / 1_000_000
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        (self.us % 1_000_000) as u32
    }
}

struct Udp<'s>(UdpSocket<'s>);

impl NtpUdpSocket for Udp<'_> {
    async fn send_to(&self, bytes: &[u8], address: SocketAddr) -> sntpc::Result<usize> {
        let SocketAddr::V4(address) = address else {
            return Err(sntpc::Error::Network);
        };
        self.0
            .send_to(bytes, IpEndpoint::from(address))
            .await
            .map_err(|_| sntpc::Error::Network)?;
        Ok(bytes.len())
    }

    async fn recv_from(&self, bytes: &mut [u8]) -> sntpc::Result<(usize, SocketAddr)> {
        let (length, from) = self
            .0
            .recv_from(bytes)
            .await
            .map_err(|_| sntpc::Error::Network)?;
        let IpAddress::Ipv4(address) = from.endpoint.addr;
        Ok((length, SocketAddr::new(address.into(), from.endpoint.port)))
    }
}
