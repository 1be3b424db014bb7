//! `hil rigs serve`: a virtual rig for stock probe-rs tools, as a Black Magic Probe over TCP.

use std::net::{Ipv4Addr, TcpListener};

use hil_bench::{FileLeases, Leases, wiring};
use hil_rig::{FixtureKind, Probe, Rig};
use hil_runner::ExitCode;
use virtual_rig::{FixtureSettings, Pace, Peers, VirtualRig, VirtualRigSettings};

use crate::stop::Stop;
use crate::{interrupt, project};

/// Serves until Ctrl-C.
pub(crate) async fn serve(rig: &str, port: u16) -> Result<ExitCode, Stop> {
    let root = project::root()?;
    let rig = Rig::find(rig, &root)?;
    let Probe::Virtual(probe) = &rig.probe else {
        return Err(Stop::with_help(
            ExitCode::Usage,
            format!(
                "rig `{}` is a real one; its probe needs no server",
                rig.name
            ),
            "name a rig whose probe is `virtual`",
        ));
    };
    let cancel = interrupt::listen();
    let _lease = FileLeases::new(root.join("target/hil/rigs"))
        .take(&rig.name, "hil rigs serve")
        .map_err(|error| super::bench_stop(&error))?;
    let state = rig.state_directory(&root);
    std::fs::create_dir_all(&state)
        .map_err(|error| Stop::usage(format!("can't make `{}`: {error}", state.display())))?;
    let settings = VirtualRigSettings {
        mac: probe.mac,
        revision: probe.revision,
        flash_file: probe.keep_flash.then(|| state.join("flash.bin")),
        flash_bytes: probe.flash_bytes,
        pace: Pace {
            multiple: probe.pace.multiple,
            settle: probe.pace.settle,
            peers: Peers::Anywhere,
        },
        // Nobody but the rig file says what is on the pins.
        fixture: rig
            .fixture
            .as_ref()
            .filter(|fixture| matches!(fixture.kind, FixtureKind::Virtual(_)))
            .map(|fixture| FixtureSettings {
                sensors: fixture.sensors,
                ..wiring(fixture)
            })
            .unwrap_or_default(),
        ..VirtualRigSettings::new(rig.name.as_str())
    };
    let virtual_rig = VirtualRig::start(settings).map_err(Stop::infra)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Stop::with_help(
            ExitCode::Usage,
            format!("can't listen on 127.0.0.1:{port}: {error}"),
            "name another port with `--port`, or 0 for a free one",
        )
    })?;
    let server = virtual_rig
        .black_magic_server(listener)
        .map_err(Stop::infra)?;
    println!(
        "--probe {} --protocol jtag --chip {}",
        server.selector(),
        rig.device.chip
    );
    eprintln!(
        "serving rig `{}` to probe-rs tools with these options; Ctrl-C ends it",
        rig.name
    );
    let reason = cancel.requested().await;
    tracing::info!("ended by {reason}");
    // Closing joins threads.
    let _ = tokio::task::spawn_blocking(move || drop((server, virtual_rig))).await;
    Ok(ExitCode::Passed)
}
