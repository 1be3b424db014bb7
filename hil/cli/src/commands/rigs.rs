//! `hil rigs`: list, check, show, serve.

use hil_rig::{BrokerEndpoint, Network, Probe, Rig};
use hil_runner::ExitCode;

use crate::arguments::{RigsArguments, RigsCommand};
use crate::project;
use crate::stop::Stop;

/// Does what was typed; lists if nothing was.
pub(crate) async fn rigs(arguments: RigsArguments) -> Result<ExitCode, Stop> {
    match arguments.command.unwrap_or(RigsCommand::List) {
        RigsCommand::List => list(),
        RigsCommand::Check { rigs } => check(&rigs),
        RigsCommand::Show { rig } => {
            print!("{}", describe(&Rig::find(&rig, &project::root()?)?));
            Ok(ExitCode::Passed)
        }
        RigsCommand::Serve { rig, port } => super::serve::serve(&rig, port).await,
    }
}

fn list() -> Result<ExitCode, Stop> {
    let root = project::root()?;
    let names = Rig::list(&root)?;
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for name in &names {
        let description = match Rig::find(name, &root) {
            Ok(rig) => rig.description,
            // One broken file must not hide the others.
            Err(_) => format!("(has mistakes; see `hil rigs check {name}`)"),
        };
        println!("{}", format!("{name:<width$}  {description}").trim_end());
    }
    Ok(ExitCode::Passed)
}

fn check(rigs: &[String]) -> Result<ExitCode, Stop> {
    let root = project::root()?;
    let mut exit = ExitCode::Passed;
    for name in rigs {
        match Rig::find(name, &root) {
            Ok(rig) => println!("{}: rig `{}` has no mistakes", rig.path.display(), rig.name),
            Err(error) => exit = Stop::from(error).report(),
        }
    }
    Ok(exit)
}

/// What a rig file says, in words.
fn describe(rig: &Rig) -> String {
    let probe = match &rig.probe {
        Probe::Virtual(probe) => format!(
            "virtual, revision {}.{}, {} MiB of flash{}",
            probe.revision.0,
            probe.revision.1,
            probe.flash_bytes / (1024 * 1024),
            if probe.keep_flash {
                ", kept between runs"
            } else {
                ""
            }
        ),
        Probe::Usb(probe) => format!("USB {}", probe.selector),
    };
    let network = match &rig.network {
        Network::Ethernet => "Ethernet".to_owned(),
        Network::Wifi {
            ssid_env,
            passphrase_env,
        } => format!("Wi-Fi, from `{ssid_env}` and `{passphrase_env}`"),
    };
    let broker = match &rig.broker.endpoint {
        BrokerEndpoint::Embedded { port: 0, listen } => {
            format!("embedded, on a free port of {listen}")
        }
        BrokerEndpoint::Embedded { port, listen } => format!("embedded, on {listen}:{port}"),
        BrokerEndpoint::External { host, port, .. } => format!("external, {host}:{port}"),
    };
    let rows = [
        ("rig", rig.name.clone()),
        ("about", rig.description.clone()),
        ("file", rig.path.display().to_string()),
        ("chip", rig.device.chip.clone()),
        ("firmware", rig.device.firmware.display().to_string()),
        ("topic", rig.device.base_topic()),
        ("probe", probe),
        ("network", network),
        ("broker", broker),
    ];
    rows.iter()
        .map(|(key, value)| format!("{}\n", format!("{key:<10} {value}").trim_end()))
        .collect()
}
