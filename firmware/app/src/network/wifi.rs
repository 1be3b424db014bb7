//! The chip's radio as a station: associates, and does so again whenever the association is lost.

use embassy_executor::Spawner;
use embassy_time::{Duration, Timer};
use esp_hal::peripherals::WIFI;
use esp_radio::wifi::{
    AuthenticationMethodConfig, Config, ControllerConfig, Interface, WifiController,
    sta::StationConfig,
};
use firmware_wire::{Connection, DeviceBody, Wifi};

use crate::{heap, telemetry};

/// Between two attempts to associate.
const RETRY: Duration = Duration::from_secs(5);

/// Starts the radio. Call once.
pub(super) fn start(spawner: Spawner, radio: WIFI<'static>, access_point: &Wifi) -> Interface {
    heap::add_radio_region();
    // The wire's lengths are those of IEEE 802.11, so the conversions can't fail.
    let ssid = access_point.ssid.as_str().try_into().expect("32 bytes");
    let authentication = if access_point.passphrase.is_empty() {
        AuthenticationMethodConfig::Open
    } else {
        let passphrase = access_point.passphrase.as_str();
        AuthenticationMethodConfig::Wpa2Personal(passphrase.try_into().expect("64 bytes"))
    };
    let station = StationConfig::default()
        .with_ssid(ssid)
        .with_authentication(authentication);
    let config = ControllerConfig::default().with_initial_config(Config::Station(station));
    let interface = Interface::station();
    // Fails when there is no memory for the radio, which is a mistake in this firmware.
    let controller = WifiController::new(radio, config).expect("memory for the radio");
    spawner.spawn(keep_associated(controller).expect("one radio"));
    interface
}

/// Ends when the association is lost, or was dropped on command and its time is over.
async fn wait_for_disconnect(controller: &mut WifiController<'static>) {
    #[cfg(feature = "test-hooks")]
    {
        use embassy_futures::select::{Either, select};
        use embassy_time::Instant;
        loop {
            let dropped = select(
                controller.wait_for_disconnect_async(),
                crate::faults::network_dropped(),
            );
            match dropped.await {
                Either::First(_) => return,
                // Injected while there was no association; that was dropped enough.
                Either::Second(until) if until <= Instant::now() => {}
                Either::Second(until) => {
                    let _ = controller.disconnect_async().await;
                    Timer::at(until).await;
                    return;
                }
            }
        }
    }
    #[cfg(not(feature = "test-hooks"))]
    let _ = controller.wait_for_disconnect_async().await;
}

#[embassy_executor::task]
async fn keep_associated(mut controller: WifiController<'static>) -> ! {
    loop {
        match controller.connect_async().await {
            Ok(_) => {
                defmt::info!("associated");
                wait_for_disconnect(&mut controller).await;
                defmt::warn!("association lost");
            }
            Err(error) => {
                defmt::warn!("not associated: {}", defmt::Debug2Format(&error));
                let reason =
                    heapless::String::try_from("the access point refused, or is not there")
                        .unwrap_or_default();
                telemetry::send(DeviceBody::Connection(Connection::Unreachable { reason }));
            }
        }
        Timer::after(RETRY).await;
    }
}
