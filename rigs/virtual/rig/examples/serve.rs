//! A virtual rig for stock debug tools: `cargo run -p virtual-rig --example serve -- 127.0.0.1:4444 [flash.bin]`.
//!
//! Prints what to pass to probe-rs, then the rig's events, until it is interrupted.

use std::error::Error;
use std::net::TcpListener;

use virtual_rig::{VirtualRig, VirtualRigSettings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut settings = VirtualRigSettings::new("serve");
    settings.flash_file = arguments.next().map(Into::into);
    let rig = VirtualRig::start(settings)?;
    let server = rig.black_magic_server(TcpListener::bind(address)?)?;
    println!(
        "--probe {} --protocol jtag --chip esp32c3",
        server.selector()
    );
    for event in rig.events() {
        println!("{:>12.6} s  {}", event.at.as_secs_f64(), event.what);
    }
    Ok(())
}
