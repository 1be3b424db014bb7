//! The network: one of two drivers, chosen at provisioning, below one IP stack.

#[cfg(feature = "esp32c3")]
mod open_eth;
#[cfg(not(feature = "esp32c3"))]
#[path = "no_ethernet.rs"]
mod open_eth;
mod wifi;

use core::task::Context;

use embassy_executor::Spawner;
use embassy_net::{
    Config, IpAddress, Ipv4Address, Runner, Stack, StackResources, dns::DnsQueryType,
};
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, watch::Watch};
use embassy_time::{Duration, Timer};
use esp_hal::{peripherals::WIFI, rng::Rng};
use firmware_wire::{Connection, DeviceBody, NetworkDriver};
use static_cell::StaticCell;

use crate::{
    http,
    status::{FRAMES_RECEIVED, FRAMES_SENT},
    telemetry,
};

/// Sockets open at once: MQTT, time, DHCP, DNS, one to spare, and those of the HTTP server.
const SOCKETS: usize = 5 + http::CLIENTS;

/// Starts `network` and asks for an address by DHCP. Call once.
pub fn start(spawner: Spawner, network: &NetworkDriver, radio: WIFI<'static>) -> Stack<'static> {
    let device = match network {
        NetworkDriver::Ethernet => {
            // Spawned here only, and once.
            spawner.spawn(watch_link().expect("one network"));
            #[cfg(feature = "test-hooks")]
            spawner.spawn(drop_link().expect("one network"));
            Device::Ethernet(open_eth::OpenEth::start())
        }
        NetworkDriver::Wifi(access_point) => {
            Device::Wifi(wifi::start(spawner, radio, access_point))
        }
    };
    let rng = Rng::new();
    let seed = u64::from(rng.random()) << 32 | u64::from(rng.random());
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    let (stack, runner) = embassy_net::new(
        device,
        Config::dhcpv4(embassy_net::DhcpConfig::default()),
        RESOURCES.init(StackResources::new()),
        seed,
    );
    // Both tasks are spawned here only, and once.
    spawner.spawn(run(runner).expect("one network"));
    spawner.spawn(report(stack).expect("one network"));
    stack
}

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Device>) -> ! {
    runner.run().await
}

/// Sees when the Ethernet cable goes or comes, within a second.
#[embassy_executor::task]
async fn watch_link() -> ! {
    loop {
        Timer::after(Duration::from_secs(1)).await;
        open_eth::look_at_link();
    }
}

/// Drops the Ethernet link on command.
#[cfg(feature = "test-hooks")]
#[embassy_executor::task]
async fn drop_link() -> ! {
    loop {
        let until = crate::faults::network_dropped().await;
        open_eth::set_dropped(true);
        Timer::at(until).await;
        open_eth::set_dropped(false);
    }
}

/// Whether there is an address.
///
/// Two tasks that wait at the stack itself wake each other without end: it remembers one of them, and
/// wakes the one that it forgets. So one task waits there, and all others here.
static UP: Watch<CriticalSectionRawMutex, bool, WAITING_MAX> = Watch::new();
/// How many can wait for an address at once.
const WAITING_MAX: usize = 4;

/// Waits until the device has an address.
pub async fn up() {
    let mut receiver = UP.receiver().expect("as many places as there are waits");
    receiver.get_and(|up| *up).await;
}

/// Tells the bench each address the device gets, and everybody that there is one.
#[embassy_executor::task]
async fn report(stack: Stack<'static>) -> ! {
    loop {
        stack.wait_config_up().await;
        UP.sender().send(true);
        if let Some(config) = stack.config_v4() {
            let address = config.address.address().octets();
            defmt::info!("address {=[u8; 4]}", address);
            telemetry::send(DeviceBody::Connection(Connection::Network { address }));
        }
        stack.wait_config_down().await;
        UP.sender().send(false);
        defmt::warn!("network lost");
    }
}

/// The IPv4 address of `host`, a name or an address.
///
/// # Errors
/// In words, for a log.
pub async fn resolve(stack: Stack<'static>, host: &str) -> Result<Ipv4Address, &'static str> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let addresses = stack
        .dns_query(host, DnsQueryType::A)
        .await
        .map_err(|_| "the name can't be resolved")?;
    addresses
        .first()
        .map(|IpAddress::Ipv4(address)| *address)
        .ok_or("the name has no address")
}

/// One of the two drivers; counts frames for both.
enum Device {
    Ethernet(open_eth::OpenEth),
    Wifi(esp_radio::wifi::Interface),
}

/// One of the two drivers' tokens.
enum Token<E, W> {
    Ethernet(E),
    Wifi(W),
}

type WifiRx<'a> = <esp_radio::wifi::Interface as Driver>::RxToken<'a>;
type WifiTx<'a> = <esp_radio::wifi::Interface as Driver>::TxToken<'a>;

impl Driver for Device {
    type RxToken<'a> = Token<open_eth::RxToken<'a>, WifiRx<'a>>;
    type TxToken<'a> = Token<open_eth::TxToken<'a>, WifiTx<'a>>;

    fn receive(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        match self {
            Self::Ethernet(device) => device
                .receive(context)
                .map(|(rx, tx)| (Token::Ethernet(rx), Token::Ethernet(tx))),
            // By the trait: the type has methods of its own with these names.
            Self::Wifi(device) => {
                Driver::receive(device, context).map(|(rx, tx)| (Token::Wifi(rx), Token::Wifi(tx)))
            }
        }
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
        match self {
            Self::Ethernet(device) => device.transmit(context).map(Token::Ethernet),
            Self::Wifi(device) => Driver::transmit(device, context).map(Token::Wifi),
        }
    }

    fn link_state(&mut self, context: &mut Context<'_>) -> LinkState {
        match self {
            Self::Ethernet(device) => device.link_state(context),
            Self::Wifi(device) => device.link_state(context),
        }
    }

    fn capabilities(&self) -> Capabilities {
        match self {
            Self::Ethernet(device) => device.capabilities(),
            Self::Wifi(device) => device.capabilities(),
        }
    }

    fn hardware_address(&self) -> HardwareAddress {
        match self {
            Self::Ethernet(device) => device.hardware_address(),
            Self::Wifi(device) => device.hardware_address(),
        }
    }
}

impl embassy_net_driver::RxToken for Token<open_eth::RxToken<'_>, WifiRx<'_>> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        FRAMES_RECEIVED.increment();
        match self {
            Self::Ethernet(token) => token.consume(f),
            Self::Wifi(token) => token.consume(f),
        }
    }
}

impl embassy_net_driver::TxToken for Token<open_eth::TxToken<'_>, WifiTx<'_>> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        FRAMES_SENT.increment();
        match self {
            Self::Ethernet(token) => token.consume(length, f),
            Self::Wifi(token) => token.consume(length, f),
        }
    }
}
