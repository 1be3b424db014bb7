//! What several tasks work on: the controller, and the messages on their way to the broker.
//!
//! ```text
//!   sensors ──measured──▶ ┌──────┐ ──actions──▶ control loop ──▶ coils, flash, outbox
//!   session ──requests──▶ │ Desk │
//!   HTTP ──configuration─▶└──────┘ ──outbox───▶ session ──▶ broker
//! ```
//! All tasks run on one executor and none holds the desk while it waits, so a `RefCell` is enough:
//! [`Desk::with`] and its siblings take a function, which can't wait.

use core::{
    cell::RefCell,
    fmt::{self, Write},
};

use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use firmware_control::{
    Action, Clock as _, Configuration, Controller, EVENT_BYTES_MAX, Identity, MESSAGE_BYTES_MAX,
};
use firmware_mqtt::{Client, Limits, Message, Room};
use portable_atomic::Ordering::Relaxed;
use static_cell::ConstStaticCell;

use crate::{
    clock::DeviceClock,
    mqtt::Topic,
    status::{
        JSON_USED_MAX, MESSAGES_DROPPED, MESSAGES_QUEUED, OUTBOX_USED_MAX, TELEMETRY_DROPPED,
    },
};

/// Messages that wait for the broker or its acknowledgement, and bytes of them.
const OUTBOX_MESSAGES_MAX: usize = 48;
const OUTBOX_BYTES_MAX: usize = 16 * 1024;
/// Brokers allow 10 to 32 in flight; of telemetry a handful is kept, as a message takes up to 5.5 kB.
const LIMITS: Limits = Limits {
    in_flight_max: 16,
    telemetry_max: 4,
};

/// What alarms and relay messages leave free while there is a connection: the longest answer, and as
/// many as are in flight.
const RESERVED: Room = Room {
    messages: LIMITS.in_flight_max,
    bytes: MESSAGE_BYTES_MAX,
};

/// The device's half of the MQTT session.
pub(crate) type DeviceClient = Client<Topic, OUTBOX_MESSAGES_MAX, OUTBOX_BYTES_MAX>;

/// See the file's header.
#[allow(missing_debug_implementations)]
pub struct Desk {
    controller: RefCell<Controller>,
    client: RefCell<&'static mut DeviceClient>,
    json: RefCell<&'static mut Json>,
    /// The controller was touched: it may have something to do.
    pub(crate) touched: Signal<NoopRawMutex, ()>,
    /// There is something to send.
    pub(crate) outgoing: Signal<NoopRawMutex, ()>,
    /// The session is no longer what the configuration asks for.
    pub(crate) reconnect: Signal<NoopRawMutex, ()>,
}

impl Desk {
    /// A desk with a new controller on it. Call once.
    #[must_use]
    pub fn new(identity: Identity, configuration: Configuration) -> Self {
        static CLIENT: ConstStaticCell<DeviceClient> = ConstStaticCell::new(Client::new(LIMITS));
        static JSON: ConstStaticCell<Json> = ConstStaticCell::new(Json::new());
        Self {
            controller: RefCell::new(Controller::new(identity, configuration)),
            client: RefCell::new(CLIENT.take()),
            json: RefCell::new(JSON.take()),
            touched: Signal::new(),
            outgoing: Signal::new(),
            reconnect: Signal::new(),
        }
    }

    /// Works with the controller, which the control loop then asks what is to be done.
    pub fn with<T>(&self, work: impl FnOnce(&mut Controller) -> T) -> T {
        let result = work(&mut self.controller.borrow_mut());
        self.touched.signal(());
        result
    }

    /// Looks at the controller.
    pub fn look<T>(&self, look: impl FnOnce(&Controller) -> T) -> T {
        look(&self.controller.borrow())
    }

    /// Works with the controller without waking the control loop: for the control loop.
    pub(crate) fn with_quietly<T>(&self, work: impl FnOnce(&mut Controller) -> T) -> T {
        work(&mut self.controller.borrow_mut())
    }

    /// What the controller wants to be done next. With a connection its messages stay with it while
    /// the outbox has no room: so none gives way to another, however many come at once.
    pub(crate) fn next_action(&self) -> Option<Action> {
        let now = DeviceClock.now();
        if self.takes_event() {
            self.with_quietly(|c| c.poll(now))
        } else {
            self.with_quietly(|c| c.poll_without_events(now))
        }
    }

    /// Uptime at which [`Desk::next_action`] has something, milliseconds.
    pub(crate) fn next_action_ms(&self) -> u64 {
        if self.takes_event() {
            self.look(Controller::poll_at)
        } else {
            self.look(Controller::poll_at_without_events)
        }
    }

    /// Wakes the control loop if there is room again for messages that wait.
    pub(crate) fn room_made(&self) {
        if self.next_action_ms() <= DeviceClock.now().uptime_ms {
            self.touched.signal(());
        }
    }

    fn takes_event(&self) -> bool {
        self.with_client(|client| client.takes_event(EVENT_BYTES_MAX, RESERVED))
    }

    /// Works with the device's half of the MQTT session.
    pub(crate) fn with_client<T>(&self, work: impl FnOnce(&mut DeviceClient) -> T) -> T {
        work(&mut self.client.borrow_mut())
    }

    /// Writes a message with the controller and puts it into the outbox, where it is sent from.
    ///
    /// # Errors
    /// The message is too long for its buffer, which is a mistake in this firmware.
    pub(crate) fn publish(
        &self,
        topic: Topic,
        write: impl FnOnce(&mut Controller, &mut dyn Write) -> fmt::Result,
    ) -> fmt::Result {
        let retain_telemetry = self.look(|c| c.configuration().retain_telemetry);
        let mut json = self.json.borrow_mut();
        json.clear();
        write(&mut self.controller.borrow_mut(), &mut **json)?;
        JSON_USED_MAX.raise_to(json.text().len());
        let message = Message {
            topic,
            payload: json.text(),
            qos: topic.qos(),
            retain: topic.is_retained(retain_telemetry),
            class: topic.class(),
        };
        let kept = self.with_client(|client| client.push(message));
        if kept.is_err() {
            defmt::warn!("outbox full: a message is lost");
        }
        self.count();
        self.outgoing.signal(());
        Ok(())
    }

    /// Tells the bench how the outbox is.
    pub(crate) fn count(&self) {
        self.with_client(|client| {
            let outbox = client.outbox();
            OUTBOX_USED_MAX.raise_to(outbox.used_bytes());
            // Fits: at most `OUTBOX_MESSAGES_MAX`.
            MESSAGES_QUEUED.store(outbox.len() as u32, Relaxed);
            let losses = outbox.losses();
            TELEMETRY_DROPPED.raise_to(losses.telemetry as usize);
            MESSAGES_DROPPED.raise_to((losses.events + losses.unacknowledged) as usize);
        });
    }
}

/// The one buffer that JSON is written in.
struct Json {
    bytes: [u8; MESSAGE_BYTES_MAX],
    length: usize,
}

impl Json {
    const fn new() -> Self {
        Self {
            bytes: [0; MESSAGE_BYTES_MAX],
            length: 0,
        }
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Write for Json {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
