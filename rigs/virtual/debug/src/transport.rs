//! The debug transport module: from JTAG data registers to the debug module (chapter 6).
//!
//! A debugger reads a debug module register with two scans of DMI: the first asks, the second brings the answer.
//! The debug module answers within the scan, so no idle cycles are needed and no scan is ever told to wait.

use crate::module::DebugModule;
use crate::target::DebugTarget;

/// Length of DTMCS in bits.
pub const DTMCS_BITS: u32 = 32;
/// Length of DMI in bits: two of operation, 32 of data, seven of address.
pub const DMI_BITS: u32 = 2 + 32 + ADDRESS_BITS;

const ADDRESS_BITS: u32 = 7;
const VERSION_0_13: u32 = 1;
const DMIRESET: u32 = 1 << 16;
const DMIHARDRESET: u32 = 1 << 17;

const OPERATION_NOTHING: u64 = 0;
const OPERATION_READ: u64 = 1;
const OPERATION_WRITE: u64 = 2;

/// The two data registers of the transport module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtmRegister {
    /// Control and status, 32 bits.
    Dtmcs,
    /// Debug module interface, 41 bits.
    Dmi,
}

/// `dmistat`, and the operation field of a captured DMI. Busy (3) can't happen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Success = 0,
    /// The reserved operation was asked for. Sticky: nothing is done until `dmireset`.
    Failed = 2,
}

/// State of the transport module: the last access and whether it failed.
#[derive(Clone, Debug, Default)]
pub struct Dtm {
    status: Status,
    address: u32,
    data: u32,
}

impl Dtm {
    /// A transport module after power-on.
    pub fn new() -> Dtm {
        Dtm::default()
    }

    /// What shifts out of `register`: the state before the scan (Capture-DR).
    pub fn capture(&self, register: DtmRegister) -> u64 {
        match register {
            DtmRegister::Dtmcs => {
                u64::from((self.status as u32) << 10 | ADDRESS_BITS << 4 | VERSION_0_13)
            }
            DtmRegister::Dmi => {
                u64::from(self.address) << 34 | u64::from(self.data) << 2 | self.status as u64
            }
        }
    }

    /// Acts on what was shifted into `register` (Update-DR).
    pub fn update<T: DebugTarget>(
        &mut self,
        module: &mut DebugModule,
        target: &mut T,
        register: DtmRegister,
        value: u64,
    ) {
        match register {
            DtmRegister::Dtmcs => self.control(value as u32),
            DtmRegister::Dmi => self.access(module, target, value),
        }
    }

    fn control(&mut self, value: u32) {
        if value & DMIHARDRESET != 0 {
            *self = Dtm::default();
        } else if value & DMIRESET != 0 {
            self.status = Status::Success;
        }
    }

    fn access<T: DebugTarget>(&mut self, module: &mut DebugModule, target: &mut T, value: u64) {
        if self.status != Status::Success {
            return;
        }
        let (operation, data) = (value & 0b11, (value >> 2) as u32);
        let address = (value >> 34) as u32 & ((1 << ADDRESS_BITS) - 1);
        match operation {
            OPERATION_NOTHING => {}
            OPERATION_READ => (self.address, self.data) = (address, module.read(target, address)),
            OPERATION_WRITE => {
                module.write(target, address, data);
                (self.address, self.data) = (address, data);
            }
            _ => self.status = Status::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::register;
    use crate::testing::FakeTarget;

    fn dmi(operation: u64, address: u32, data: u32) -> u64 {
        u64::from(address) << 34 | u64::from(data) << 2 | operation
    }

    /// After these DMI scans, a DMI and a DTMCS capture bring these values.
    fn check(scans: &[u64], expected_dmi: u64, expected_dtmcs: u64) {
        let (mut dtm, mut module, mut target) =
            (Dtm::new(), DebugModule::new(), FakeTarget::default());
        for scan in scans {
            dtm.update(&mut module, &mut target, DtmRegister::Dmi, *scan);
        }
        let captured = (
            dtm.capture(DtmRegister::Dmi),
            dtm.capture(DtmRegister::Dtmcs),
        );
        assert_eq!(captured, (expected_dmi, expected_dtmcs), "{scans:x?}");
    }

    const ON: u64 = (register::DMCONTROL as u64) << 34 | 1 << 2 | 2;

    #[test]
    fn accesses() {
        check(&[], 0, 0x71);
        check(
            &[dmi(1, register::DMSTATUS, 0)],
            dmi(0, register::DMSTATUS, 0x0040_0C82),
            0x71,
        );
        check(
            &[ON, dmi(2, register::DATA0, 9)],
            dmi(0, register::DATA0, 9),
            0x71,
        );
        check(
            &[ON, dmi(2, register::DATA0, 9), dmi(0, 0, 0)],
            dmi(0, register::DATA0, 9),
            0x71,
        );
        let writes = [
            ON,
            dmi(2, register::DATA0, 9),
            dmi(2, register::DATA1, 8),
            dmi(1, register::DATA0, 0),
        ];
        check(&writes, dmi(0, register::DATA0, 9), 0x71);
    }

    #[test]
    fn the_reserved_operation_fails_and_sticks() {
        check(&[dmi(3, 0, 0)], 2, 0x871);
        check(&[dmi(3, 0, 0), dmi(1, register::DMSTATUS, 0)], 2, 0x871);
    }

    #[test]
    fn failures_are_cleared_by_either_reset() {
        fn check(reset: u64, expected_dmi: u64) {
            let (mut dtm, mut module, mut target) =
                (Dtm::new(), DebugModule::new(), FakeTarget::default());
            for scan in [ON, dmi(2, register::DATA0, 9), dmi(3, 0, 0)] {
                dtm.update(&mut module, &mut target, DtmRegister::Dmi, scan);
            }
            dtm.update(&mut module, &mut target, DtmRegister::Dtmcs, reset);
            assert_eq!(dtm.capture(DtmRegister::Dmi), expected_dmi, "{reset:#x}");
        }
        check(0, dmi(2, register::DATA0, 9));
        check(1 << 16, dmi(0, register::DATA0, 9));
        check(1 << 17, 0);
    }
}
