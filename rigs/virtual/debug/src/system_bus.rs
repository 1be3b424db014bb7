//! System bus access: memory and peripherals without the hart, running or not (section 3.10).
//!
//! This is how RTT is read: set an address, then read `sbdata0` again and again, each read fetching the next
//! word. Accesses end within the scan that starts them, so `sbbusy` and `sbbusyerror` never read as ones.

use virtual_hart::{BusFault, Width};

use crate::target::DebugTarget;

mod sbcs {
    pub(super) const VERSION_1: u32 = 1 << 29;
    pub(super) const READ_ON_ADDRESS: u32 = 1 << 20;
    pub(super) const ACCESS: u32 = 0b111 << 17;
    pub(super) const AUTO_INCREMENT: u32 = 1 << 16;
    pub(super) const READ_ON_DATA: u32 = 1 << 15;
    pub(super) const ERROR: u32 = 0b111 << 12;
    pub(super) const ADDRESS_BITS_32: u32 = 32 << 5;
    pub(super) const WIDTHS_8_16_32: u32 = 0b00111;
    /// What a write sets as it is; `ERROR` is cleared by ones, the rest can't be written.
    pub(super) const WRITABLE: u32 = READ_ON_ADDRESS | ACCESS | AUTO_INCREMENT | READ_ON_DATA;
}

/// `sbcs.sberror` (section 3.14.22). Timeout (1) can't happen here.
mod sberror {
    pub(super) const BAD_ADDRESS: u32 = 2;
    pub(super) const MISALIGNED: u32 = 3;
    pub(super) const UNSUPPORTED_SIZE: u32 = 4;
    pub(super) const OTHER: u32 = 7;
}

#[derive(Clone, Debug)]
pub(crate) struct SystemBus {
    /// Written bits of `sbcs`; the error is kept apart.
    control: u32,
    /// While not 0, no access is made.
    error: u32,
    address: u32,
    data: u32,
}

impl Default for SystemBus {
    /// After a reset `sbaccess` is 2, 32 bits.
    fn default() -> SystemBus {
        SystemBus {
            control: 2 << 17,
            error: 0,
            address: 0,
            data: 0,
        }
    }
}

impl SystemBus {
    pub(crate) fn sbcs(&self) -> u32 {
        sbcs::VERSION_1
            | self.control
            | self.error << 12
            | sbcs::ADDRESS_BITS_32
            | sbcs::WIDTHS_8_16_32
    }

    pub(crate) fn control(&mut self, value: u32) {
        self.control = value & sbcs::WRITABLE;
        self.error &= !((value & sbcs::ERROR) >> 12);
    }

    pub(crate) fn address(&self) -> u32 {
        self.address
    }

    pub(crate) fn set_address<T: DebugTarget>(&mut self, target: &mut T, value: u32) {
        self.address = value;
        if self.control & sbcs::READ_ON_ADDRESS != 0 {
            self.load(target);
        }
    }

    /// A read of `sbdata0`: what the last access brought; then, with `sbreadondata`, the next access.
    pub(crate) fn read_data<T: DebugTarget>(&mut self, target: &mut T) -> u32 {
        let value = self.data;
        if self.control & sbcs::READ_ON_DATA != 0 {
            self.load(target);
        }
        value
    }

    pub(crate) fn write_data<T: DebugTarget>(&mut self, target: &mut T, value: u32) {
        self.data = value;
        self.access(|bus, width| target.bus_write(bus.address, width, value));
    }

    fn load<T: DebugTarget>(&mut self, target: &mut T) {
        self.access(|bus, width| {
            bus.data = target.bus_read(bus.address, width)?;
            Ok(())
        });
    }

    fn access(&mut self, access: impl FnOnce(&mut SystemBus, Width) -> Result<(), BusFault>) {
        if self.error != 0 {
            return;
        }
        let (width, bytes) = match (self.control & sbcs::ACCESS) >> 17 {
            0 => (Width::Byte, 1),
            1 => (Width::Half, 2),
            2 => (Width::Word, 4),
            _ => {
                self.error = sberror::UNSUPPORTED_SIZE;
                return;
            }
        };
        if !self.address.is_multiple_of(bytes) {
            self.error = sberror::MISALIGNED;
            return;
        }
        match access(self, width) {
            Ok(()) if self.control & sbcs::AUTO_INCREMENT != 0 => {
                self.address = self.address.wrapping_add(bytes);
            }
            Ok(()) => {}
            Err(BusFault::Unmapped) => self.error = sberror::BAD_ADDRESS,
            Err(BusFault::Misaligned) => self.error = sberror::MISALIGNED,
            Err(BusFault::Denied) => self.error = sberror::OTHER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DENIED, FakeTarget, MEMORY_BYTES};

    const READ_ON_ADDRESS: u32 = 1 << 20;
    const INCREMENT: u32 = 1 << 16;
    const READ_ON_DATA: u32 = 1 << 15;
    const SIZE8: u32 = 0;
    const SIZE16: u32 = 1 << 17;
    const SIZE32: u32 = 2 << 17;
    const SIZE64: u32 = 3 << 17;

    fn target() -> FakeTarget {
        let mut target = FakeTarget::default();
        for (index, byte) in target.memory.iter_mut().enumerate() {
            *byte = index as u8;
        }
        target
    }

    fn error(bus: &SystemBus) -> u32 {
        bus.sbcs() >> 12 & 7
    }

    #[test]
    fn reads() {
        /// With this control word: set the address, read the data `reads` times; then the address reads `after`.
        fn check(control: u32, address: u32, reads: &[u32], after: u32) {
            let (mut bus, mut target) = (SystemBus::default(), target());
            bus.control(control);
            bus.set_address(&mut target, address);
            for expected in reads {
                assert_eq!(
                    bus.read_data(&mut target),
                    *expected,
                    "{control:#x} {address:#x}"
                );
            }
            assert_eq!(
                (error(&bus), bus.address()),
                (0, after),
                "{control:#x} {address:#x}"
            );
        }
        check(SIZE32, 0, &[0, 0], 0);
        check(SIZE32 | READ_ON_ADDRESS, 4, &[0x0706_0504, 0x0706_0504], 4);
        check(SIZE16 | READ_ON_ADDRESS, 6, &[0x0706], 6);
        check(SIZE8 | READ_ON_ADDRESS, 7, &[0x07], 7);
        check(SIZE32 | READ_ON_ADDRESS | INCREMENT, 4, &[0x0706_0504], 8);
        let stream = READ_ON_ADDRESS | INCREMENT | READ_ON_DATA;
        check(
            SIZE32 | stream,
            0,
            &[0x0302_0100, 0x0706_0504, 0x0B0A_0908],
            16,
        );
        check(SIZE16 | stream, 2, &[0x0302, 0x0504], 8);
        check(SIZE8 | stream, 1, &[1, 2, 3], 5);
        check(SIZE32 | READ_ON_DATA, 8, &[0, 0x0B0A_0908], 8);
    }

    #[test]
    fn writes() {
        fn check(control: u32, values: &[u32], memory: [u8; 8], after: u32) {
            let (mut bus, mut target) = (SystemBus::default(), FakeTarget::default());
            bus.control(control);
            bus.set_address(&mut target, 0);
            for value in values {
                bus.write_data(&mut target, *value);
            }
            assert_eq!(
                (&target.memory[..8], bus.address()),
                (&memory[..], after),
                "{control:#x}"
            );
        }
        check(
            SIZE32,
            &[0x4433_2211],
            [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0],
            0,
        );
        check(SIZE32 | INCREMENT, &[1, 2], [1, 0, 0, 0, 2, 0, 0, 0], 8);
        check(
            SIZE16 | INCREMENT,
            &[0xAAAA_0201, 0x0403],
            [1, 2, 3, 4, 0, 0, 0, 0],
            4,
        );
        check(
            SIZE8 | INCREMENT,
            &[0x1FF, 2, 3],
            [0xFF, 2, 3, 0, 0, 0, 0, 0],
            3,
        );
    }

    #[test]
    fn errors() {
        fn check(control: u32, address: u32, expected: u32) {
            let (mut bus, mut target) = (SystemBus::default(), target());
            bus.control(control | READ_ON_ADDRESS | INCREMENT);
            bus.set_address(&mut target, address);
            assert_eq!(error(&bus), expected, "{control:#x} {address:#x}");
            if expected != 0 {
                assert_eq!(bus.address(), address, "a failed access moved the address");
            }
        }
        check(SIZE32, 0, 0);
        check(SIZE32, MEMORY_BYTES, 2);
        check(SIZE32, 2, 3);
        check(SIZE16, 1, 3);
        check(SIZE8, 1, 0);
        check(SIZE64, 0, 4);
        check(SIZE32, DENIED, 7);
    }

    #[test]
    fn errors_stick_until_cleared_by_ones() {
        let (mut bus, mut target) = (SystemBus::default(), target());
        bus.control(SIZE32 | READ_ON_ADDRESS);
        bus.set_address(&mut target, MEMORY_BYTES);
        bus.set_address(&mut target, 4);
        assert_eq!((error(&bus), bus.read_data(&mut target)), (2, 0));
        bus.control(SIZE32 | READ_ON_ADDRESS);
        assert_eq!(error(&bus), 2);
        bus.control(SIZE32 | READ_ON_ADDRESS | 7 << 12);
        bus.set_address(&mut target, 4);
        assert_eq!((error(&bus), bus.read_data(&mut target)), (0, 0x0706_0504));
    }

    #[test]
    fn sbcs_tells_what_there_is() {
        let mut bus = SystemBus::default();
        assert_eq!(bus.sbcs(), 0x2004_0407);
        bus.control(u32::MAX);
        assert_eq!(bus.sbcs(), 0x201F_8407);
        bus.control(0);
        assert_eq!(bus.sbcs(), 0x2000_0407);
    }
}
