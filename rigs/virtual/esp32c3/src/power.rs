//! The chip's supply: on, off, and failing at a chosen moment.
//!
//! Firmware that keeps settings through power cuts has to be cut at every moment there is, above all inside a flash
//! write. A moment of chip time is reached by running the chip up to it; the middle of a flash operation that is still
//! to come can't be known from outside, so the chip's supply can be told to fail there, to the cycle.

use crate::chip::{Chip, State};
use crate::flash::FlashOperation;
use crate::io_mux::Pads;
use crate::peripheral::{ResetCause, ResetKind};
use crate::rom;
use crate::time::Ticks;

impl Chip {
    /// Takes the power away: RAM and registers are lost, a flash operation under way is cut in the middle. Whether the
    /// supply was to fail is forgotten.
    pub fn power_off(&mut self) {
        let now = self.now();
        // The hart stops at the next instruction; the flash lost its supply at the very moment.
        let failed = self.soc.flash.fails_at().map_or(now, |at| at.min(now));
        if self.state == State::Off {
            return;
        }
        self.soc.flash.power_cut(failed, self.seed ^ failed.0);
        self.hart.reset(rom::ROM_START);
        self.reset_peripherals(ResetKind::PowerOn);
        self.set_pads(Pads::default());
        self.state = State::Off;
    }

    /// Gives power: a power-on reset. Nothing happens while there is power.
    pub fn power_on(&mut self) {
        if self.state == State::Off {
            self.reset(ResetCause::PowerOn);
        }
    }

    /// True while the chip has power.
    pub fn is_powered(&self) -> bool {
        self.state != State::Off
    }

    /// The supply is to fail during the `nth` such flash operation from now on (1: the next one): `delay` after its
    /// beginning, or, without one, in the middle of it at a moment chosen from the chip's seed. [`Chip::run`] then returns
    /// [`Pause::PowerFailed`](crate::Pause::PowerFailed). Each page programmed counts, and each erase. 0 takes it back.
    pub fn fail_power_in_flash(
        &mut self,
        operation: FlashOperation,
        nth: u32,
        delay: Option<Ticks>,
    ) {
        let seed = self.seed ^ self.now().0;
        self.soc
            .flash
            .fail_in_operation(operation, nth, delay, seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pause;
    use crate::chip::tests::assembler::*;
    use crate::chip::tests::{boot, program, run_to, write};

    const SPI1: u32 = 0x6000_2000;
    const ERASE_SECTOR: u32 = 0x4000_0128;
    const WRITE: u32 = 0x4000_012C;
    /// A sector outside of the image.
    const SECTOR: u32 = 0x80;

    /// Boots, and fills the sector as data would.
    fn with_data(code: &[u8]) -> Chip {
        let mut chip = boot(code);
        assert!(chip.flash_mut().preset(SECTOR << 12, &[0x5A; 4096]));
        chip
    }

    fn sector(chip: &Chip) -> &[u8] {
        &chip.flash().bytes()[(SECTOR << 12) as usize..][..4096]
    }

    /// Calls a ROM function.
    fn call(a: &mut Assembler, address: u32, arguments: &[u32]) {
        for (register, value) in (A0..).zip(arguments) {
            a.li(register, *value);
        }
        a.li(T0, address);
        a.jalr(RA, T0, 0);
    }

    #[test]
    fn the_supply_fails_inside_a_rom_functions_erase() {
        let code = program(|a| call(a, ERASE_SECTOR, &[SECTOR]), |_| {});
        let mut chip = with_data(&code);
        chip.fail_power_in_flash(FlashOperation::Erase, 1, None);
        assert_eq!(run_to(&mut chip, Ticks::MAX), Pause::PowerFailed);
        let begun = Ticks::from_millis(30);
        let end = begun + Ticks::from_millis(46);
        assert!(chip.now() > begun && chip.now() < end, "{}", chip.now());
        assert!(!chip.is_powered());
        assert_ne!(sector(&chip), [0x5A; 4096]);
        assert_ne!(sector(&chip), [0xFF; 4096]);
        chip.power_on();
        let later = chip.now() + Ticks::from_millis(100);
        assert!(matches!(
            run_to(&mut chip, later),
            Pause::Limit | Pause::Idle
        ));
        assert!(chip.is_powered(), "it fails once");
    }

    #[test]
    fn at_the_very_beginning_of_an_operation_nothing_is_done() {
        let code = program(|a| call(a, ERASE_SECTOR, &[SECTOR]), |_| {});
        let mut chip = with_data(&code);
        chip.fail_power_in_flash(FlashOperation::Any, 1, Some(Ticks::ZERO));
        assert_eq!(run_to(&mut chip, Ticks::MAX), Pause::PowerFailed);
        assert_eq!(sector(&chip), [0x5A; 4096]);
    }

    #[test]
    fn the_supply_fails_in_one_page_of_many() {
        let code = program(
            |a| {
                call(a, ERASE_SECTOR, &[SECTOR]);
                call(a, WRITE, &[SECTOR << 12, 0x4038_0000, 1024]);
            },
            |_| {},
        );
        let mut chip = with_data(&code);
        chip.fail_power_in_flash(FlashOperation::Program, 3, None);
        assert_eq!(run_to(&mut chip, Ticks::MAX), Pause::PowerFailed);
        let written = &chip.soc.sram.slice(0x4038_0000, 1024).expect("memory");
        assert_eq!(sector(&chip)[..512], written[..512]);
        assert_ne!(sector(&chip)[512..768], written[512..768]);
        assert_eq!(sector(&chip)[768..], [0xFF; 4096 - 768]);
    }

    #[test]
    fn the_supply_fails_in_an_operation_run_by_registers() {
        let code = program(
            |a| {
                write(a, SPI1, 1 << 30);
                write(a, SPI1 + 4, SECTOR << 12);
                write(a, SPI1, 1 << 24);
                // As a driver does: asks for the status until the flash is done.
                let poll = a.here();
                write(a, SPI1, 1 << 27);
                a.lw(T1, T0, 0x2C);
                a.andi(T1, T1, 1);
                a.bne(T1, ZERO, poll);
            },
            |_| {},
        );
        let mut whole = with_data(&code);
        run_to(&mut whole, Ticks::from_millis(200));
        assert_eq!(sector(&whole), [0xFF; 4096]);
        let mut chip = with_data(&code);
        chip.fail_power_in_flash(FlashOperation::Any, 1, None);
        assert_eq!(run_to(&mut chip, Ticks::MAX), Pause::PowerFailed);
        assert!(chip.now() < Ticks::from_millis(76), "{}", chip.now());
        assert_ne!(sector(&chip), [0xFF; 4096]);
    }

    #[test]
    fn what_is_taken_back_does_not_happen() {
        let code = program(|a| call(a, ERASE_SECTOR, &[SECTOR]), |_| {});
        let mut chip = with_data(&code);
        chip.fail_power_in_flash(FlashOperation::Any, 1, None);
        chip.fail_power_in_flash(FlashOperation::Any, 0, None);
        run_to(&mut chip, Ticks::from_millis(200));
        assert!(chip.is_powered());
        assert_eq!(sector(&chip), [0xFF; 4096]);
    }
}
