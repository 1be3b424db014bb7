//! From provisioning to an open MQTT session, again and again.
//!
//! ```text
//!   wait for the network ─▶ wait for the time ─▶ session ──lost, refused, unreachable──▶ back off ─┐
//!                                                   ▲                                             │
//!                                                   └─────────────────────────────────────────────┘
//! ```
//! A new configuration ends whatever goes on and starts over with it.

mod message;
mod session;
mod transport;

use embassy_futures::select::{Either3, select3};
use embassy_net::Stack;
use embassy_time::{Duration, Timer, with_timeout};
use firmware_control::{Clock as _, Configuration, Controller, Identity, TopicLevel, Topics};
use firmware_mqtt::Outbox;
use firmware_wire::{Connection, DeviceBody, Provision, ResetReason, Security};

use crate::{
    FIRMWARE_VERSION,
    clock::{self, DeviceClock},
    provisioning::{self, PROVISIONED},
    telemetry,
};
use message::MessageBuffer;
use session::{Session, Topic};
use static_cell::ConstStaticCell;

/// The first wait after a session that could not be opened, and the longest; it doubles in between.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// How long the broker may take to accept a connection, to answer, to take what is sent.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the first session waits for the time of day, so that its messages carry it.
const TIME_WAIT_MAX: Duration = Duration::from_secs(3);
/// Messages kept until they are acknowledged, and bytes of them.
const OUTBOX_MESSAGES_MAX: usize = 16;
const OUTBOX_BYTES_MAX: usize = 16 * 1024;

/// What the `state/boot` message tells.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Boots since the flash was erased.
    pub count: u32,
    /// Why this one happened.
    pub reason: ResetReason,
}

/// Why a session ended or never began; the texts are for people, at most 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The broker could not be reached.
    Unreachable(&'static str),
    /// The broker refused, with this CONNACK code.
    Refused(u8),
    /// The session was open.
    Lost(&'static str),
}

/// The controller, connected to its broker for as long as there is one.
#[embassy_executor::task]
pub async fn task(stack: Stack<'static>, mut provision: Provision, boot: Boot) -> ! {
    // Static, as it would pass over the stack on its way into this task otherwise.
    static MESSAGE: ConstStaticCell<MessageBuffer> = ConstStaticCell::new(MessageBuffer::new());
    let message = MESSAGE.take();
    let mut outbox = Outbox::new(OUTBOX_MESSAGES_MAX, OUTBOX_BYTES_MAX);
    let identity = Identity::new(FIRMWARE_VERSION, boot.count);
    let mut controller = Controller::new(
        identity,
        configuration(&provision, &Configuration::default()),
    );
    let mut boot = Some(boot);
    loop {
        let work = async {
            // Checked when it was taken and when it was read from flash: `provisioning::check`.
            let topics = provisioning::topics(&provision).expect("checked topics");
            let session = Parts {
                stack,
                provision: &provision,
                topics: &topics,
                controller: &mut controller,
                outbox: &mut outbox,
                boot: &mut boot,
                message,
            };
            stay_connected(session).await
        };
        let time = async {
            if provision.time_server.is_empty() {
                core::future::pending().await
            } else {
                stack.wait_config_up().await;
                clock::synchronise(stack, &provision.time_server).await
            }
        };
        match select3(work, time, PROVISIONED.wait()).await {
            Either3::First(never) | Either3::Second(never) => never,
            Either3::Third(new) => {
                defmt::info!("new configuration: connecting anew");
                provision = new;
                let configuration = configuration(&provision, controller.configuration());
                controller.configure(DeviceClock.now(), configuration);
            }
        }
    }
}

/// What `old` becomes by a provisioning.
fn configuration(provision: &Provision, old: &Configuration) -> Configuration {
    let broker = &provision.broker;
    let credentials = broker.credentials.clone();
    let (username, password) = credentials
        .map(|c| (c.username, c.password))
        .unwrap_or_default();
    Configuration {
        mqtt_enabled: true,
        broker: broker.host.clone(),
        port: broker.port,
        username,
        password,
        device_name: provision.device_id.clone(),
        telemetry_interval_s: provision.telemetry_interval_s,
        use_tls: broker.security != Security::Plain,
        retain_telemetry: provision.retain_telemetry,
        topic_levels: provision.topic_levels.clone().map(|level| match level {
            firmware_wire::TopicLevel::Skip => TopicLevel::default(),
            firmware_wire::TopicLevel::Custom(value) => TopicLevel { used: true, value },
        }),
        alarm_relay: old.alarm_relay,
    }
}

/// What all sessions of one configuration work with.
pub(crate) struct Parts<'s> {
    stack: Stack<'static>,
    provision: &'s Provision,
    topics: &'s Topics,
    controller: &'s mut Controller,
    outbox: &'s mut Outbox<Topic>,
    /// Until it was announced.
    boot: &'s mut Option<Boot>,
    message: &'s mut MessageBuffer,
}

async fn stay_connected(mut parts: Parts<'_>) -> ! {
    let (stack, provision) = (parts.stack, parts.provision);
    stack.wait_config_up().await;
    if !provisioning::mqtt_enabled() {
        defmt::info!("MQTT is turned off");
        core::future::pending::<()>().await;
    }
    #[cfg(feature = "test-hooks")]
    if crate::faults::never_connects() {
        core::future::pending::<()>().await;
    }
    if !provision.time_server.is_empty() {
        // Without the time the device works all the same.
        let _ = with_timeout(TIME_WAIT_MAX, clock::wait_known()).await;
    }
    let mut back_off = BACK_OFF_MIN;
    loop {
        stack.wait_config_up().await;
        let end = Session::new(&mut parts).run().await;
        match end {
            End::Unreachable(reason) => defmt::warn!("broker not reached: {=str}", reason),
            End::Refused(code) => defmt::warn!("broker refused: code {=u8}", code),
            End::Lost(reason) => {
                defmt::warn!("session lost: {=str}", reason);
                back_off = BACK_OFF_MIN;
            }
        }
        telemetry::send(DeviceBody::Connection(match end {
            End::Unreachable(reason) => Connection::Unreachable {
                reason: text(reason),
            },
            End::Refused(code) => Connection::Refused { code },
            End::Lost(reason) => Connection::Lost {
                reason: text(reason),
            },
        }));
        Timer::after(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

fn text(reason: &str) -> heapless::String<64> {
    reason.chars().take(64).collect()
}
