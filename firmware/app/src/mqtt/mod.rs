//! From a configuration to an open MQTT session, again and again.
//!
//! ```text
//!   wait for the network ─▶ wait for the time ─▶ connection ──lost, refused, unreachable──▶ back off ─┐
//!                                                   ▲                                                │
//!                                                   └────────────────────────────────────────────────┘
//! ```
//! A configuration that asks for another session ends whatever goes on and starts over with it. The
//! broker is told: `offline`, DISCONNECT, and where the new configuration will not come back to the
//! session, that it is to be forgotten.
//!
//! The MQTT session is a persistent one: it outlasts its connections, so that requests sent to the
//! device while it is away wait for it, and what it has to say meanwhile waits in its outbox. It does
//! not outlast the boot and the configuration it began with; each begins with a short connection by
//! which the broker forgets what it kept. So a request that brings the device down is not delivered
//! again and again, and no relay switches because of a request from before the power was cut.

mod message;
mod session;
mod topic;
mod transport;

use core::pin::pin;

use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embassy_time::{Duration, Timer, with_timeout};
use esp_hal::rng::Rng;
use firmware_control::{Configuration, Topics};
use firmware_mqtt::{BackOff, BackOffLimits};
use firmware_wire::{Connection, DeviceBody, Provision, ResetReason};
use static_cell::ConstStaticCell;

use crate::{
    clock,
    desk::Desk,
    network,
    provisioning::{self, PROVISIONED},
    status, telemetry,
};
use message::MessageBuffer;
use session::{Purpose, Session};
pub(crate) use topic::Topic;

/// The wait before the next connection.
const BACK_OFF: BackOffLimits = BackOffLimits {
    min_ms: 500,
    max_ms: 30_000,
    steady_ms: 5_000,
};
/// How long the broker may take to accept a connection, to answer, to take what is sent.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the first session waits for the time of day, so that its messages carry it.
const TIME_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long `offline` and DISCONNECT may take; that, and to have the broker forget the session.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
const END_MAX: Duration = Duration::from_secs(5);

/// How long the control loop takes to tell of a configuration, if it does.
const TOLD_WITHIN: Duration = Duration::from_millis(50);

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
    /// The broker has forgotten the session, as it was asked to.
    Forgotten,
    /// There is another configuration.
    Asked(Farewell),
}

/// What is left to do for a configuration that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// Whether the broker would keep its session for ever.
    forget: bool,
}

/// The device, connected to its broker for as long as there is one.
#[embassy_executor::task]
pub async fn task(
    stack: Stack<'static>,
    mut provision: Provision,
    desk: &'static Desk,
    boot: Boot,
) -> ! {
    // Static, as it would pass over the stack on its way into this task otherwise.
    static MESSAGE: ConstStaticCell<MessageBuffer> = ConstStaticCell::new(MessageBuffer::new());
    let message = MESSAGE.take();
    loop {
        desk.reconnect.reset();
        let configuration = desk.look(|c| c.configuration().clone());
        let news = work(stack, &provision, &configuration, desk, message, boot).await;
        status::set_last_error("");
        if let Either::First(new) = news {
            provision = new;
            // The control loop says so too, when the session is to be another: once is enough.
            let _ = with_timeout(TOLD_WITHIN, desk.reconnect.wait()).await;
        }
    }
}

/// Connected, if it is to be, until there is news: another provisioning, or a change in the
/// controller's configuration. The broker is told by then.
async fn work(
    stack: Stack<'static>,
    provision: &Provision,
    configuration: &Configuration,
    desk: &'static Desk,
    message: &mut MessageBuffer,
    boot: Boot,
) -> Either<Provision, ()> {
    let asked = Signal::new();
    let connected = async {
        match configuration.topics() {
            Some(topics) if configuration.mqtt_enabled => {
                stay_connected(Parts {
                    stack,
                    provision,
                    configuration,
                    topics: &topics,
                    desk,
                    message,
                    boot,
                    announced: false,
                    reached: false,
                    asked: &asked,
                })
                .await;
            }
            _ => drop(asked.wait().await),
        }
    };
    let mut connected = pin!(connected);
    let time = async {
        if provision.time_server.is_empty() {
            core::future::pending().await
        } else {
            network::up().await;
            clock::synchronise(stack, &provision.time_server).await
        }
    };
    let news = select(PROVISIONED.wait(), desk.reconnect.wait());
    let news = match select(select(news, connected.as_mut()), time).await {
        Either::First(Either::First(news)) => news,
        // Not before it is asked to.
        Either::First(Either::Second(())) => return Either::Second(()),
        Either::Second(never) => never,
    };
    defmt::info!("new configuration: connecting anew");
    if let Either::First(new) = &news {
        // Before the farewell: whoever keeps the configuration meanwhile keeps the new one.
        provisioning::configure(desk, new);
    }
    let comes_back = desk.look(|c| c.configuration().comes_back_to(configuration));
    asked.signal(Farewell {
        forget: !comes_back,
    });
    if with_timeout(END_MAX, connected).await.is_err() {
        defmt::warn!("no time left for a farewell");
    }
    news
}

/// What all connections of one configuration work with.
pub(crate) struct Parts<'s> {
    stack: Stack<'static>,
    provision: &'s Provision,
    configuration: &'s Configuration,
    topics: &'s Topics,
    desk: &'static Desk,
    message: &'s mut MessageBuffer,
    boot: Boot,
    /// Whether the broker was told of the boot, and has not lost that with the session since.
    announced: bool,
    /// Whether it ever accepted a connection.
    reached: bool,
    /// Somebody has another configuration.
    asked: &'s Signal<NoopRawMutex, Farewell>,
}

/// Connects again and again, until it is asked to end.
async fn stay_connected(mut parts: Parts<'_>) {
    let farewell = serve(&mut parts).await;
    if farewell.forget && parts.reached {
        let (end, _) = Session::new(&mut parts, Purpose::Forget).run().await;
        if end != End::Forgotten {
            defmt::warn!("the broker may keep the session of the old configuration");
        }
    }
}

async fn serve(parts: &mut Parts<'_>) -> Farewell {
    let (provision, asked) = (parts.provision, parts.asked);
    let ready = async {
        network::up().await;
        #[cfg(feature = "test-hooks")]
        if crate::faults::never_connects() {
            core::future::pending::<()>().await;
        }
        if !provision.time_server.is_empty() {
            // Without the time the device works all the same.
            let _ = with_timeout(TIME_WAIT_MAX, clock::wait_known()).await;
        }
    };
    if let Either::Second(farewell) = select(ready, asked.wait()).await {
        return farewell;
    }
    let mut back_off = BackOff::new(BACK_OFF);
    let mut forgotten = false;
    loop {
        if let Either::Second(farewell) = select(network::up(), asked.wait()).await {
            return farewell;
        }
        let purpose = if forgotten {
            Purpose::Serve
        } else {
            Purpose::Forget
        };
        let (end, open_ms) = Session::new(parts, purpose).run().await;
        let news = match end {
            End::Unreachable(reason) => {
                defmt::warn!("broker not reached: {=str}", reason);
                status::set_last_error(reason);
                Connection::Unreachable {
                    reason: text(reason),
                }
            }
            End::Refused(code) => {
                defmt::warn!("broker refused: code {=u8}", code);
                status::set_last_error("the broker refused the connection");
                Connection::Refused { code }
            }
            End::Lost(reason) => {
                defmt::warn!("session lost: {=str}", reason);
                status::set_last_error(reason);
                Connection::Lost {
                    reason: text(reason),
                }
            }
            End::Forgotten => {
                forgotten = true;
                continue;
            }
            End::Asked(farewell) => return farewell,
        };
        telemetry::send(DeviceBody::Connection(news));
        let wait_ms = back_off.wait_ms(open_ms, Rng::new().random());
        let wait = Timer::after(Duration::from_millis(wait_ms.into()));
        if let Either::Second(farewell) = select(wait, asked.wait()).await {
            return farewell;
        }
    }
}

fn text(reason: &str) -> heapless::String<64> {
    reason.chars().take(64).collect()
}
