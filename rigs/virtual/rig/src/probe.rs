//! The simulated debug probe, as a plugin of probe-rs: found, listed and opened like any USB probe.
//!
//! It works on whole scans (`JtagAccess`), not on bits. Nothing above probe-rs's `Probe` knows that the chip is
//! simulated.

use std::fmt;
use std::sync::{Arc, Once};

use bitvec::field::BitField;
use bitvec::prelude::{BitVec, Lsb0};
use probe_rs::architecture::riscv::communication_interface::{RiscvError, RiscvInterfaceBuilder};
use probe_rs::architecture::riscv::dtm::jtag_dtm::JtagDtmBuilder;
use probe_rs::plugin::Plugin;
use probe_rs::probe::list::ProbeListItem;
use probe_rs::probe::{
    DebugProbe, DebugProbeError, DebugProbeInfo, DebugProbeSelector, JtagAccess, JtagSequence,
    ProbeCreationError, ProbeError, ProbeFactory, WireProtocol,
};
use probe_rs_target::ScanChainElement;
use virtual_debug::Tap;

use crate::machine::{IDCODE, Machine};
use crate::registry;
use crate::shared::Shared;

/// USB vendor number the probe pretends to: a prototype range nobody owns.
pub const VENDOR_ID: u16 = 0xF055;
/// USB product number the probe pretends to.
pub const PRODUCT_ID: u16 = 0x00C3;

/// Makes the virtual rigs of this process known to probe-rs, as probes `f055:00c3:<serial>`. Any number of calls is
/// as good as one. Support for Espressif's chips is another plugin: `probe_rs_espressif::register_plugin`.
pub fn register_plugin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        probe_rs::plugin::register_plugin(Plugin {
            probe_drivers: &[&VirtualProbeFactory],
            ..Plugin::default()
        });
    });
}

/// Why a virtual probe could not be opened or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VirtualProbeError {
    /// No rig has this serial number.
    #[error("no virtual rig with serial `{serial}` is running; {}", running_rigs(.running))]
    Unknown {
        /// What was asked for.
        serial: String,
        /// What there is.
        running: Vec<String>,
    },
    /// No rig at all is running.
    #[error("no virtual rig is running in this process; start one first")]
    None,
    /// The selector names no serial number, and several rigs are running.
    #[error("several virtual rigs are running; name one: {}", quoted(.0))]
    Several(Vec<String>),
    /// The debug connector is taken.
    #[error("the probe of virtual rig `{serial}` is in use by {by}; close that first")]
    InUse {
        /// Which rig.
        serial: String,
        /// Who has it.
        by: &'static str,
    },
    /// The rig was stopped while the probe was open.
    #[error("the virtual rig `{0}` has stopped")]
    Stopped(String),
}

impl ProbeError for VirtualProbeError {}

fn quoted(serials: &[String]) -> String {
    let quoted: Vec<String> = serials.iter().map(|serial| format!("`{serial}`")).collect();
    quoted.join(", ")
}

fn running_rigs(serials: &[String]) -> String {
    match serials {
        [] => "none is".to_owned(),
        serials => format!("running: {}", quoted(serials)),
    }
}

/// Finds the probes of the rigs in this process.
#[derive(Debug)]
pub struct VirtualProbeFactory;

impl fmt::Display for VirtualProbeFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("virtual rig")
    }
}

impl ProbeFactory for VirtualProbeFactory {
    fn open(&self, selector: &DebugProbeSelector) -> Result<Box<dyn DebugProbe>, DebugProbeError> {
        if (selector.vendor_id, selector.product_id) != (VENDOR_ID, PRODUCT_ID) {
            return Err(ProbeCreationError::NotFound.into());
        }
        let rig = choose(registry::running(), selector.serial_number.as_deref())
            .map_err(ProbeCreationError::from)?;
        let connector =
            Connector::take(rig, "another probe session").map_err(ProbeCreationError::from)?;
        Ok(Box::new(VirtualProbe::new(connector)))
    }

    fn list_probes(&self) -> Vec<ProbeListItem> {
        let info = |rig: Arc<Shared>| {
            let (serial, factory) = (Some(rig.serial.clone()), &VirtualProbeFactory);
            DebugProbeInfo::new(
                "Virtual ESP32-C3",
                VENDOR_ID,
                PRODUCT_ID,
                serial,
                factory,
                None,
                false,
            )
        };
        registry::running()
            .into_iter()
            .map(info)
            .map(ProbeListItem::accessible)
            .collect()
    }
}

fn choose(
    mut rigs: Vec<Arc<Shared>>,
    serial: Option<&str>,
) -> Result<Arc<Shared>, VirtualProbeError> {
    let serials = |rigs: &[Arc<Shared>]| {
        rigs.iter()
            .map(|rig| rig.serial.clone())
            .collect::<Vec<_>>()
    };
    match serial {
        Some(serial) => match rigs.iter().position(|rig| rig.serial == serial) {
            Some(found) => Ok(rigs.swap_remove(found)),
            None => Err(VirtualProbeError::Unknown {
                serial: serial.to_owned(),
                running: serials(&rigs),
            }),
        },
        None if rigs.len() > 1 => Err(VirtualProbeError::Several(serials(&rigs))),
        None => rigs.pop().ok_or(VirtualProbeError::None),
    }
}

/// The one debug connector of a rig, held by one probe at a time and free again when this is dropped.
///
/// Two debuggers on one debug module would each spoil the other's half-done accesses.
pub(crate) struct Connector {
    rig: Arc<Shared>,
    tap: Tap,
}

impl Connector {
    pub(crate) fn take(
        rig: Arc<Shared>,
        who: &'static str,
    ) -> Result<Connector, VirtualProbeError> {
        match rig.hold(who) {
            Ok(()) => Ok(Connector {
                rig,
                tap: Tap::new(IDCODE),
            }),
            Err(by) => Err(VirtualProbeError::InUse {
                serial: rig.serial.clone(),
                by,
            }),
        }
    }

    /// Does something on the port, ahead of the chip's thread.
    pub(crate) fn operate<R>(
        &mut self,
        operation: impl FnOnce(&mut Machine, &mut Tap) -> R,
    ) -> Result<R, VirtualProbeError> {
        let (rig, tap) = (&self.rig, &mut self.tap);
        rig.operate(|machine| operation(machine, tap))
            .map_err(|_| VirtualProbeError::Stopped(rig.serial.clone()))
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.rig.release();
    }
}

/// An open probe.
pub struct VirtualProbe {
    connector: Connector,
    chain: Vec<ScanChainElement>,
    idle_cycles: u8,
    speed_khz: u32,
}

impl VirtualProbe {
    fn new(connector: Connector) -> VirtualProbe {
        let tap = ScanChainElement {
            name: Some("main".to_owned()),
            ir_len: Some(5),
        };
        VirtualProbe {
            connector,
            chain: vec![tap],
            idle_cycles: 0,
            speed_khz: 40_000,
        }
    }

    fn set_power(&mut self, on: bool) -> Result<(), DebugProbeError> {
        self.connector.operate(|machine, _| machine.set_power(on))?;
        Ok(())
    }

    /// A scan through the data register of any length.
    fn scan(machine: &mut Machine, tap: &mut Tap, data: &[u8], length: u32) -> BitVec {
        let mut out = BitVec::repeat(false, length as usize);
        if length <= 64 {
            let mut value = [0; 8];
            let bytes = data.len().min(8);
            value[..bytes].copy_from_slice(&data[..bytes]);
            let captured = machine.scan_dr(tap, u64::from_le_bytes(value), length);
            if length > 0 {
                out.store_le(captured);
            }
            return out;
        }
        // Longer than any register: bit by bit. Select-DR, Capture-DR, Shift-DR.
        for tms in [false, true, false, false] {
            machine.clock(tap, tms, false);
        }
        for (bit, mut tdo) in out.iter_mut().enumerate() {
            let tdi = data
                .get(bit / 8)
                .is_some_and(|byte| byte >> (bit % 8) & 1 != 0);
            *tdo = machine.clock(tap, bit + 1 == length as usize, tdi);
        }
        // Update-DR, Run-Test/Idle.
        for tms in [true, false] {
            machine.clock(tap, tms, false);
        }
        out
    }
}

impl fmt::Debug for VirtualProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualProbe({})", self.connector.rig.serial)
    }
}

impl DebugProbe for VirtualProbe {
    fn get_name(&self) -> &str {
        "Virtual ESP32-C3"
    }

    fn speed_khz(&self) -> u32 {
        self.speed_khz
    }

    /// Any speed is taken, and none makes a difference.
    fn set_speed(&mut self, speed_khz: u32) -> Result<u32, DebugProbeError> {
        self.speed_khz = speed_khz;
        Ok(speed_khz)
    }

    fn attach(&mut self) -> Result<(), DebugProbeError> {
        self.tap_reset()
    }

    fn detach(&mut self) -> Result<(), probe_rs::Error> {
        Ok(())
    }

    /// Pulls the chip's enable pin: as good as a power cycle.
    fn target_reset(&mut self) -> Result<(), DebugProbeError> {
        self.target_reset_assert()?;
        self.target_reset_deassert()
    }

    fn target_reset_assert(&mut self) -> Result<(), DebugProbeError> {
        self.set_power(false)
    }

    fn target_reset_deassert(&mut self) -> Result<(), DebugProbeError> {
        self.set_power(true)
    }

    fn select_protocol(&mut self, protocol: WireProtocol) -> Result<(), DebugProbeError> {
        match protocol {
            WireProtocol::Jtag => Ok(()),
            other => Err(DebugProbeError::UnsupportedProtocol(other)),
        }
    }

    fn active_protocol(&self) -> Option<WireProtocol> {
        Some(WireProtocol::Jtag)
    }

    fn try_as_jtag_probe(&mut self) -> Option<&mut dyn JtagAccess> {
        Some(self)
    }

    fn try_get_riscv_interface_builder<'probe>(
        &'probe mut self,
    ) -> Result<Box<dyn RiscvInterfaceBuilder<'probe> + 'probe>, RiscvError> {
        Ok(Box::new(JtagDtmBuilder::new(self)))
    }

    fn has_riscv_interface(&self) -> bool {
        true
    }

    fn into_probe(self: Box<Self>) -> Box<dyn DebugProbe> {
        self
    }

    fn get_target_voltage(&mut self) -> Result<Option<f32>, DebugProbeError> {
        let powered = self.connector.operate(|machine, _| machine.is_powered())?;
        Ok(Some(if powered { 3.3 } else { 0.0 }))
    }
}

impl JtagAccess for VirtualProbe {
    /// The chain is known; what is expected is not looked at.
    fn set_expected_scan_chain(
        &mut self,
        _chain: &[ScanChainElement],
    ) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn set_scan_chain(&mut self, _chain: &[ScanChainElement]) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn scan_chain(&mut self) -> Result<&[ScanChainElement], DebugProbeError> {
        Ok(&self.chain)
    }

    fn shift_raw_sequence(&mut self, sequence: JtagSequence) -> Result<BitVec, DebugProbeError> {
        let tdo = self.connector.operate(|machine, tap| {
            let bits = sequence.data.iter();
            bits.map(|tdi| machine.clock(tap, sequence.tms, *tdi))
                .collect::<BitVec<usize, Lsb0>>()
        })?;
        Ok(if sequence.tdo_capture {
            tdo
        } else {
            BitVec::new()
        })
    }

    fn tap_reset(&mut self) -> Result<(), DebugProbeError> {
        Ok(self.connector.operate(|_, tap| tap.reset())?)
    }

    fn set_idle_cycles(&mut self, idle_cycles: u8) -> Result<(), DebugProbeError> {
        self.idle_cycles = idle_cycles;
        Ok(())
    }

    fn idle_cycles(&self) -> u8 {
        self.idle_cycles
    }

    fn write_register(
        &mut self,
        address: u32,
        data: &[u8],
        length: u32,
    ) -> Result<BitVec, DebugProbeError> {
        Ok(self.connector.operate(|machine, tap| {
            tap.scan_ir(address);
            VirtualProbe::scan(machine, tap, data, length)
        })?)
    }

    fn write_dr(&mut self, data: &[u8], length: u32) -> Result<BitVec, DebugProbeError> {
        Ok(self
            .connector
            .operate(|machine, tap| VirtualProbe::scan(machine, tap, data, length))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_there_is() {
        fn check(error: VirtualProbeError, expected: &str) {
            assert_eq!(error.to_string(), expected);
        }
        let serials = || vec!["a".to_owned(), "b".to_owned()];
        check(
            VirtualProbeError::Unknown {
                serial: "x".to_owned(),
                running: serials(),
            },
            "no virtual rig with serial `x` is running; running: `a`, `b`",
        );
        check(
            VirtualProbeError::Unknown {
                serial: "x".to_owned(),
                running: Vec::new(),
            },
            "no virtual rig with serial `x` is running; none is",
        );
        check(
            VirtualProbeError::Several(serials()),
            "several virtual rigs are running; name one: `a`, `b`",
        );
        check(
            VirtualProbeError::InUse {
                serial: "a".to_owned(),
                by: "another probe session",
            },
            "the probe of virtual rig `a` is in use by another probe session; close that first",
        );
    }
}
