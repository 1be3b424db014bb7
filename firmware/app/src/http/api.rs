//! What the HTTP interface answers: the MQTT configuration and its status.

use core::fmt;

use firmware_control::mutants::{self, Mutant};
use firmware_control::{Clock as _, ConfigurationError, KEPT_BYTES_MAX, Kept};
use firmware_http::{Method, Request, Status};

use super::Answer;
use crate::{clock::DeviceClock, desk::Desk, provisioning, status, storage::StorageError};

/// Answers `request`. The body goes to `body`, which is empty, and stays so where the status says
/// it all.
pub(super) async fn answer(
    request: &Request<'_>,
    desk: &Desk,
    body: &mut dyn fmt::Write,
) -> Answer {
    match (request.path, request.method) {
        ("/api/mqtt/config", Method::Get) => written(desk.look(|c| c.configuration().write(body))),
        ("/api/mqtt/config", Method::Post) => change(request.body, desk, body).await,
        ("/api/mqtt/config", Method::Other) => not_allowed("GET, POST"),
        ("/api/mqtt/status", Method::Get) => {
            let (device, error) = (status::device_status(), status::last_error());
            written(desk.look(|c| c.configuration().write_mqtt_status(&device, error, body)))
        }
        ("/api/mqtt/status", _) => not_allowed("GET"),
        _ => Status::NotFound.into(),
    }
}

/// Takes the changes whole or not at all. Nothing waits between taking and keeping them, so nobody
/// works with what is not kept.
async fn change(changes: &[u8], desk: &Desk, body: &mut dyn fmt::Write) -> Answer {
    let before = desk.look(|c| c.configuration().clone());
    match desk.with(|c| c.configure_json(DeviceClock.now(), changes)) {
        Ok(()) => match keep(desk).await {
            Ok(()) => written(desk.look(|c| c.configuration().write(body))),
            Err(error) => {
                defmt::error!("configuration not kept: {}", error);
                let now = DeviceClock.now();
                desk.with(|c| {
                    c.configure(now, before);
                    c.not_kept(now, Kept::Configuration);
                });
                Status::InternalServerError.into()
            }
        },
        Err(ConfigurationError::TooLarge) => Status::ContentTooLarge.into(),
        Err(error) => match error.write(body) {
            Ok(()) => Status::BadRequest.into(),
            Err(full) => written(Err(full)),
        },
    }
}

async fn keep(desk: &Desk) -> Result<(), StorageError> {
    let mut buffer = [0; KEPT_BYTES_MAX];
    let kept = desk.look(|c| {
        let bytes = c.keep(Kept::Configuration, &mut buffer);
        bytes.map(<[u8]>::len).map_err(|_| StorageError::TooLong)
    })?;
    if mutants::active(Mutant::ConfigurationNotKept) {
        return Ok(());
    }
    provisioning::keep_configuration(&buffer[..kept]).await
}

fn written(result: fmt::Result) -> Answer {
    match result {
        Ok(()) => Status::Ok.into(),
        // The buffer takes the longest there is: a mistake in this firmware.
        Err(fmt::Error) => {
            defmt::error!("an HTTP answer does not fit its buffer");
            Status::InternalServerError.into()
        }
    }
}

fn not_allowed(allow: &'static str) -> Answer {
    Answer {
        status: Status::MethodNotAllowed,
        allow: Some(allow),
    }
}
