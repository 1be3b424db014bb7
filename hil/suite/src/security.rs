//! SEC: who may talk to whom.

use std::time::Duration;

use firmware_wire::{
    CertificateChunk, CertificateSlot, Connection, ControlBody, Security as BrokerSecurity,
};
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, fail, scenario};

use crate::controller::Controller;
use crate::tls_broker::{Authority, Identity, TlsBroker, TlsSettings, VERSIONS};

/// The name that the broker's certificate bears.
const NAME: &str = "broker.test";
/// Certificates that are valid now.
const NOW: (i32, i32) = (2020, 2100);
/// How long the device may take to say why it does not talk to a broker: two handshakes and a
/// back-off.
const JUDGED_WITHIN: Duration = Duration::from_secs(40);

/// Over TLS 1.2 and 1.3 the device talks to a broker whose certificate is signed by its authority,
/// bears the name and is valid now; to no other, and it says why not.
#[scenario(id = "SEC-2", category = "security", tags = ["nightly", "release"], timeout = "5 min", needs = ["embedded-broker"])]
async fn the_device_talks_to_its_broker_over_tls_and_to_no_impostor(
    context: &mut Context,
) -> Outcome {
    let controller = context.state::<Controller>();
    let judged = judge_brokers(context, &controller).await;
    // First back to work, then the judgement: other scenarios need the device.
    back_to_work(&controller).await?;
    judged
}

async fn judge_brokers(context: &mut Context, controller: &Controller) -> Outcome {
    trace(controller, false).await?;
    let authority = Authority::new("the plant's authority").infra("make an authority")?;
    let other = Authority::new("another authority").infra("make an authority")?;
    give(
        controller,
        CertificateSlot::Authority,
        authority.certificate(),
    )
    .await?;
    let impostors = [
        (
            "signed by another authority",
            other.sign(NAME, NOW),
            "is not signed by our authority",
        ),
        (
            "for another name",
            authority.sign("other.test", NOW),
            "bears another name",
        ),
        (
            "that has expired",
            authority.sign(NAME, (2010, 2020)),
            "has expired",
        ),
        (
            "that is not valid yet",
            authority.sign(NAME, (2090, 2100)),
            "is not valid yet",
        ),
    ];
    for (name, version) in VERSIONS {
        for (what, identity, reason) in &impostors {
            let identity = identity.as_ref().infra("make a certificate")?;
            let settings = TlsSettings {
                identity,
                clients: None,
                version,
            };
            let _broker = send_behind_tls(controller, &settings, false).await?;
            let said = wait_unreachable(controller, reason).await?;
            context.note(format_args!("{name}, a certificate {what}: {said}"));
        }
        let identity = authority.sign(NAME, NOW).infra("make a certificate")?;
        let settings = TlsSettings {
            identity: &identity,
            clients: None,
            version,
        };
        let _broker = send_behind_tls(controller, &settings, false).await?;
        controller.wait_connected().await?;
        controller.command("help", "{}").await?;
    }
    Ok(())
}

/// A broker that wants clients to show a certificate gets the device's; a device without one stays
/// outside.
#[scenario(id = "SEC-1", category = "security", tags = ["nightly", "release"], timeout = "5 min", needs = ["embedded-broker"])]
async fn the_device_shows_its_certificate_when_it_is_asked(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let judged = judge_client_certificates(&controller).await;
    back_to_work(&controller).await?;
    judged
}

async fn judge_client_certificates(controller: &Controller) -> Outcome {
    trace(controller, false).await?;
    let authority = Authority::new("the plant's authority").infra("make an authority")?;
    let server = authority.sign(NAME, NOW).infra("make a certificate")?;
    let device = authority
        .sign("device.test", NOW)
        .infra("make a certificate")?;
    give(
        controller,
        CertificateSlot::Authority,
        authority.certificate(),
    )
    .await?;
    for (_, version) in VERSIONS {
        let settings = TlsSettings {
            identity: &server,
            clients: Some(&authority),
            version,
        };
        give(controller, CertificateSlot::Client, &[]).await?;
        give(controller, CertificateSlot::ClientKey, &[]).await?;
        let broker = send_behind_tls(controller, &settings, true).await?;
        wait_unreachable(controller, "is not kept").await?;
        drop(broker);
        let broker = send_behind_tls(controller, &settings, false).await?;
        wait_unreachable(controller, "").await?;
        drop(broker);
        give(controller, CertificateSlot::Client, device.certificate()).await?;
        give(controller, CertificateSlot::ClientKey, device.key()).await?;
        let _broker = send_behind_tls(controller, &settings, true).await?;
        controller.wait_connected().await?;
        controller.command("help", "{}").await?;
    }
    Ok(())
}

/// What is no certificate is not kept, nor one that comes out of order or is too long.
#[scenario(id = "SEC-1", category = "security", tags = ["nightly", "release"], timeout = "60 s")]
async fn what_is_no_certificate_is_not_kept(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let slot = CertificateSlot::ClientKey;
    let piece = |offset, total, bytes: &[u8]| {
        ControlBody::Certificate(CertificateChunk {
            slot,
            offset,
            total,
            bytes: bytes.iter().copied().collect(),
        })
    };
    for (what, body) in [
        ("noise", piece(0, 64, &[0x5A; 64])),
        ("a DER SEQUENCE of nothing", piece(0, 4, &[0x30, 2, 5, 0])),
        (
            "the middle without a beginning",
            piece(512, 900, &[0x30; 300]),
        ),
        ("more than is kept", piece(0, 2_049, &[0x30; 512])),
        ("more than was announced", piece(0, 8, &[0x30; 9])),
        ("a piece of nothing", piece(0, 8, &[])),
    ] {
        let outcome = controller
            .device
            .control(body)
            .await
            .infra("send a piece")?;
        if outcome == firmware_wire::Outcome::Done {
            fail!("{} refused", what; "taken");
        }
    }
    Ok(())
}

/// Turns the allocation trace on or off. Within a handshake it is thousands of frames, which nobody here
/// reads.
async fn trace(controller: &Controller, enabled: bool) -> Outcome {
    controller.control(ControlBody::SetTrace { enabled }).await
}

/// A broker behind TLS that the device trusts, and that asks for its certificate.
pub(crate) struct Tls {
    authority: Authority,
    server: Identity,
}

impl Tls {
    /// Gives the device what it needs for it.
    pub(crate) async fn new(controller: &Controller) -> Result<Self, ScenarioError> {
        trace(controller, false).await?;
        let authority = Authority::new("the plant's authority").infra("make an authority")?;
        let server = authority.sign(NAME, NOW).infra("make a certificate")?;
        let device = authority
            .sign("device.test", NOW)
            .infra("make a certificate")?;
        for (slot, bytes) in [
            (CertificateSlot::Authority, authority.certificate()),
            (CertificateSlot::Client, device.certificate()),
            (CertificateSlot::ClientKey, device.key()),
        ] {
            give(controller, slot, bytes).await?;
        }
        Ok(Self { authority, server })
    }

    /// Sends the device there, until what this returns is dropped.
    pub(crate) async fn send_behind(
        &self,
        controller: &Controller,
    ) -> Result<TlsBroker, ScenarioError> {
        let settings = TlsSettings {
            identity: &self.server,
            clients: Some(&self.authority),
            version: VERSIONS[1].1,
        };
        send_behind_tls(controller, &settings, true).await
    }
}

/// Gives the device a certificate or key; with no bytes, takes it away.
async fn give(
    controller: &Controller,
    slot: CertificateSlot,
    whole: &[u8],
) -> Result<(), ScenarioError> {
    let total = u16::try_from(whole.len()).infra("a certificate of a length that fits")?;
    let mut offset = 0;
    loop {
        let end = whole.len().min(offset + 512);
        let chunk = CertificateChunk {
            slot,
            offset: u16::try_from(offset).infra("an offset that fits")?,
            total,
            bytes: whole[offset..end].iter().copied().collect(),
        };
        controller.control(ControlBody::Certificate(chunk)).await?;
        offset = end;
        if offset == whole.len() {
            return Ok(());
        }
    }
}

/// Puts TLS before the run's broker, and sends the device there.
async fn send_behind_tls(
    controller: &Controller,
    settings: &TlsSettings<'_>,
    client_certificate: bool,
) -> Result<TlsBroker, ScenarioError> {
    let address = controller.broker.address();
    let broker = TlsBroker::start(controller.listen_address(), address, settings)
        .await
        .infra("put TLS before the broker")?;
    let mut provision = controller.provision_here(broker.port());
    provision.broker.security = BrokerSecurity::Tls {
        server_name: NAME.chars().collect(),
        client_certificate,
    };
    controller
        .control(ControlBody::Provision(provision))
        .await?;
    Ok(broker)
}

/// Waits until the device says that the broker is out of reach, for a reason that ends with `reason`.
pub(crate) async fn wait_unreachable(
    controller: &Controller,
    reason: &str,
) -> Result<String, ScenarioError> {
    let mut states = controller.device.connection();
    states.mark_unchanged();
    let said = async {
        loop {
            if states.changed().await.is_err() {
                break None;
            }
            match &*states.borrow_and_update() {
                Some(Connection::Unreachable { reason: said }) if said.ends_with(reason) => {
                    break Some(said.to_string());
                }
                Some(Connection::Connected) => break None,
                _ => {}
            }
        }
    };
    match controller.clock.timeout(JUDGED_WITHIN, said).await {
        Ok(Some(said)) => Ok(said),
        _ => Err(ScenarioError::failure(
            format_args!("the broker out of reach, as it `{reason}`"),
            controller.way_to_broker(),
        )),
    }
}

/// Takes the certificates away, sends the device back to its broker, and turns the trace on again.
pub(crate) async fn back_to_work(controller: &Controller) -> Result<(), ScenarioError> {
    controller.send_to_its_broker().await?;
    for slot in [
        CertificateSlot::Authority,
        CertificateSlot::Client,
        CertificateSlot::ClientKey,
    ] {
        give(controller, slot, &[]).await?;
    }
    trace(controller, true).await
}
