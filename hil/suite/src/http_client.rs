//! A client of the device's HTTP interface: one request a connection, as raw as a scenario wants it.
//!
//! A library would mend what a scenario means to break.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hil_bench::Bench;
use hil_runner::{Context, ResultExt as _, ScenarioError};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::controller::Controller;

const PORT: u16 = 80;
/// How often a client comes that is turned away, and after how long again.
const TRIES: u32 = 3;
const TURNED_AWAY: Duration = Duration::from_secs(2);

/// The way to the device's HTTP interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http {
    address: SocketAddr,
}

/// What the device answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Http {
    /// To the device of this bench: by a port of this computer when the device is simulated.
    pub(crate) fn of(context: &Context, controller: &Controller) -> Result<Self, ScenarioError> {
        let address = match context.bench_as::<Bench>().virtual_rig() {
            Some(rig) => rig
                .forward((Ipv4Addr::LOCALHOST, 0).into(), PORT)
                .infra("open a port to the device")?,
            None => {
                let address = controller.device.address().ok_or_else(|| {
                    ScenarioError::failure("a device on the network", controller.way_to_broker())
                })?;
                (address, PORT).into()
            }
        };
        Ok(Self { address })
    }

    pub(crate) async fn connect(&self) -> Result<TcpStream, ScenarioError> {
        TcpStream::connect(self.address)
            .await
            .infra("connect to the device")
    }

    pub(crate) async fn get(
        &self,
        controller: &Controller,
        path: &str,
    ) -> Result<Answer, ScenarioError> {
        self.send(
            controller,
            format!("GET {path} HTTP/1.1\r\nHost: device\r\n\r\n"),
        )
        .await
    }

    pub(crate) async fn post(
        &self,
        controller: &Controller,
        path: &str,
        body: &str,
    ) -> Result<Answer, ScenarioError> {
        let length = body.len();
        self.send(
            controller,
            format!(
                "POST {path} HTTP/1.1\r\nHost: device\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
        .await
    }

    /// Sends a request as it is, and reads the answer. The device serves two clients at once and turns
    /// a third away: it comes again, as any client would.
    pub(crate) async fn send(
        &self,
        controller: &Controller,
        request: impl AsRef<[u8]>,
    ) -> Result<Answer, ScenarioError> {
        let mut tries = 1;
        loop {
            let in_flight = controller.clock.in_flight();
            let mut socket = self.connect().await?;
            // One that was turned away is told so by the reading.
            let _ = socket.write_all(request.as_ref()).await;
            let answer = answer(&mut socket).await;
            drop(in_flight);
            if answer.is_ok() || tries == TRIES {
                return answer;
            }
            tries += 1;
            controller.clock.sleep(TURNED_AWAY).await;
        }
    }
}

/// Reads an answer to its end.
pub(crate) async fn answer(socket: &mut TcpStream) -> Result<Answer, ScenarioError> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes).await {
        Ok(_) => {}
        // The device lets go of a client that still sends; the answer came before.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !bytes.is_empty() => {}
        Err(error) => return Err(ScenarioError::failure("an HTTP answer", error)),
    }
    let text = String::from_utf8_lossy(&bytes);
    let parsed = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Answer {
            status,
            head: head.to_owned(),
            body: serde_json::from_str(body).ok()?,
        })
    });
    parsed
        .ok_or_else(|| ScenarioError::failure("an HTTP answer with JSON", format_args!("{text:?}")))
}
