//! What the tests of several modules begin with: a controller, and a way to talk to it.

use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use crate::{
    Action, Configuration, Controller, DeviceStatus, Handled, Identity, Keeper, Kept, Measurement,
    NotKept, Now, Reading, Tenths,
};

/// A flash that remembers what it was told to keep, or refuses everything.
#[derive(Debug, Default)]
pub(crate) struct Flash {
    pub(crate) kept: Vec<(Kept, Vec<u8>)>,
    pub(crate) fails: bool,
}

impl Keeper for Flash {
    fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), NotKept> {
        if self.fails {
            return Err(NotKept);
        }
        self.kept.push((kept, bytes.to_vec()));
        Ok(())
    }
}

/// A controller of boot 7.
pub(crate) fn controller() -> Controller {
    Controller::new(Identity::new("0.1.0", 7), Configuration::default())
}

/// That long after boot, on the day the tests were written.
pub(crate) fn at(uptime_ms: u64) -> Now {
    Now {
        uptime_ms,
        unix_ms: Some(1_795_456_893_870 + uptime_ms),
    }
}

/// The response to a request, as text.
pub(crate) fn respond_text(c: &mut Controller, now: Now, payload: &[u8]) -> (Handled, String) {
    respond_kept(c, now, payload, &mut Flash::default())
}

/// The response to a request, as text, by a device with this flash.
pub(crate) fn respond_kept(
    c: &mut Controller,
    now: Now,
    payload: &[u8],
    flash: &mut Flash,
) -> (Handled, String) {
    let mut out = String::new();
    let received_ms = now.uptime_ms.saturating_sub(2);
    let handled = c
        .handle_request(
            &now,
            received_ms,
            &DeviceStatus::default(),
            payload,
            flash,
            &mut out,
        )
        .expect("a String takes everything");
    (handled, out)
}

/// The response to a request, as JSON.
pub(crate) fn respond(c: &mut Controller, now: Now, payload: &[u8]) -> Value {
    serde_json::from_str(&respond_text(c, now, payload).1).expect("a response is JSON")
}

/// The response to a command.
pub(crate) fn command(c: &mut Controller, now: Now, name: &str, parameters: &str) -> Value {
    let payload =
        alloc::format!(r#"{{"cmd_id":"t","command":"{name}","parameters":{parameters}}}"#);
    respond(c, now, payload.as_bytes())
}

/// The `data` of a command that succeeds.
pub(crate) fn done(c: &mut Controller, now: Now, name: &str, parameters: &str) -> Value {
    let mut response = command(c, now, name, parameters);
    assert_eq!(response["status"], "success", "{response}");
    response["data"].take()
}

/// The `message` of a command that is refused.
pub(crate) fn refused(c: &mut Controller, now: Now, name: &str, parameters: &str) -> String {
    let response = command(c, now, name, parameters);
    assert_eq!(response["status"], "error", "{response}");
    response["message"].as_str().expect("a message").into()
}

/// Everything that is to be done now.
pub(crate) fn actions(c: &mut Controller, now: Now) -> Vec<Action> {
    core::iter::from_fn(|| c.poll(now)).collect()
}

/// A temperature in tenths, measured at a point.
pub(crate) fn measure(c: &mut Controller, now: Now, id: usize, tenths: i16) {
    read(
        c,
        now,
        id,
        Reading::Temperature(Tenths::new(tenths).expect("in range")),
    );
}

/// A reading of a point's sensor.
pub(crate) fn read(c: &mut Controller, now: Now, id: usize, reading: Reading) {
    let measurement = Measurement {
        sensor_id: 0x28FF_0000_0000_0000 | id as u64,
        reading,
    };
    c.measured(now, id, Some(measurement));
}
