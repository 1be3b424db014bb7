//! SYSTEM: the CPU clock, the reset bits of other blocks, and four interrupts software gives itself.
//!
//! ESP32-C3 Technical Reference Manual, chapters "System Registers" and "Reset and Clock".
//!
//! Not modelled: clock gates (blocks work without their clock), power-down of memories, RC_FAST's jitter (it runs
//! at 480 MHz / 27 here, 17.8 MHz).

#![allow(unreachable_pub)] // What bitbybit generates is public.

use std::ops::Range;

use arbitrary_int::{u2, u7, u10};
use bitbybit::bitfield;

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

/// Ticks of one crystal cycle.
const XTAL: u64 = 12;
const RC_FAST: u64 = 27;
/// Interrupt source FROM_CPU_INTR0; the other three follow.
const FIRST_SOURCE: u32 = 50;

// Offsets.
const CPU_PER_CONF: u32 = 0x08;
const PERIP_RST_EN0: u32 = 0x18;
const PERIP_RST_EN1: u32 = 0x1C;
const CPU_INTR_FROM_CPU_0: u32 = 0x28;
const CPU_INTR_FROM_CPU_3: u32 = 0x34;
const SYSCLK_CONF: u32 = 0x58;

const STORED: &[Range<u32>] = &[0x00..0x9C, 0xFFC..0x1000];
const RESETS: &[(u32, u32)] = &[
    (0x04, 0xC0),
    (0x08, 0x0C),
    (0x0C, 0x01),
    (0x10, 0xF9C1_E06F),
    (0x14, 0x200),
    (0x1C, 0x1FE),
    (0x20, 0xFF),
    (0x24, 0x0200_1001),
    (0x38, 0x01),
    (0x3C, 0x01),
    (0x40, 0x05),
    (0x48, 0x7FF0_0000),
    (0x54, 0x01),
    (0x58, 0x01),
    (0x5C, 0x03),
    (0x60, 0x03),
    (0xFFC, 0x0200_7150),
];

#[bitfield(u32)]
struct CpuPerConf {
    #[bit(2, r)]
    pll_freq_sel: bool,
    #[bits(0..=1, r)]
    cpuperiod_sel: u2,
}

#[bitfield(u32)]
struct SysclkConf {
    #[bits(12..=18, r)]
    clk_xtal_freq: u7,
    #[bits(10..=11, r)]
    soc_clk_sel: u2,
    #[bits(0..=9, r)]
    pre_div_cnt: u10,
}

/// The SYSTEM block.
pub(crate) struct System {
    registers: Registers,
}

impl System {
    pub(crate) fn new() -> System {
        System {
            registers: Registers::new("system", 0x1000, STORED, RESETS),
        }
    }

    /// Ticks of one CPU cycle, as the clock is chosen now: 3 at 160 MHz.
    pub(crate) fn ticks_per_cycle(&self) -> u64 {
        let sysclk = SysclkConf::new_with_raw_value(self.registers.get(SYSCLK_CONF));
        let divider = u64::from(sysclk.pre_div_cnt().value()) + 1;
        match sysclk.soc_clk_sel().value() {
            1 => match CpuPerConf::new_with_raw_value(self.registers.get(CPU_PER_CONF))
                .cpuperiod_sel()
                .value()
            {
                1 => 3,
                _ => 6,
            },
            2 => RC_FAST * divider,
            _ => XTAL * divider,
        }
    }

    /// Ticks of one cycle of the peripherals' bus: 80 MHz on the PLL, else the CPU's clock.
    pub(crate) fn ticks_per_apb_cycle(&self) -> u64 {
        let sysclk = SysclkConf::new_with_raw_value(self.registers.get(SYSCLK_CONF));
        if sysclk.soc_clk_sel().value() == 1 {
            6
        } else {
            self.ticks_per_cycle()
        }
    }

    /// As the second-stage boot loader leaves it: on the PLL, at 80 MHz.
    pub(crate) fn leave_boot_loader(&mut self) {
        self.registers.set(SYSCLK_CONF, 0x401);
        self.registers.set(CPU_PER_CONF, 0x0C);
    }
}

impl Peripheral for System {
    fn name(&self) -> &'static str {
        "system"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        self.registers.read(offset, context)
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        let old = self.registers.get(offset);
        match offset {
            CPU_INTR_FROM_CPU_0..=CPU_INTR_FROM_CPU_3 => self.registers.set(offset, value & 1),
            _ => self.registers.write(offset, value, context),
        }
        let rising = u64::from(value & !old);
        match offset {
            PERIP_RST_EN0 => context.requests.peripheral_resets |= rising,
            PERIP_RST_EN1 => context.requests.peripheral_resets |= rising << 32,
            CPU_PER_CONF | SYSCLK_CONF => context.requests.cpu_clock_changed = true,
            _ => {}
        }
    }

    fn interrupts(&self) -> u64 {
        (0..4)
            .map(|n| {
                u64::from(self.registers.get(CPU_INTR_FROM_CPU_0 + n * 4)) << (FIRST_SOURCE + n)
            })
            .sum()
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_cpu_clock_is_chosen() {
        fn check(sysclk: u32, cpu_per: u32, megahertz: u64, apb_megahertz: u64) {
            let mut bench = Bench::new(System::new());
            bench.write(SYSCLK_CONF, sysclk);
            bench.write(CPU_PER_CONF, cpu_per);
            assert!(bench.requests.cpu_clock_changed);
            assert_eq!(
                480 / bench.peripheral.ticks_per_cycle(),
                megahertz,
                "{sysclk:#x} {cpu_per:#x}"
            );
            assert_eq!(
                480 / bench.peripheral.ticks_per_apb_cycle(),
                apb_megahertz,
                "{sysclk:#x} {cpu_per:#x}"
            );
        }
        check(0x401, 0x0C, 80, 80);
        check(0x401, 0x0D, 160, 80);
        check(0x401, 0x08, 80, 80);
        check(0x001, 0x0C, 20, 20);
        check(0x000, 0x0C, 40, 40);
        check(0x003, 0x0D, 10, 10);
        check(0x800, 0x0C, 17, 17);
    }

    #[test]
    fn it_starts_on_the_crystal_and_the_boot_loader_leaves_the_pll() {
        let mut system = System::new();
        assert_eq!(system.ticks_per_cycle(), 24);
        system.leave_boot_loader();
        assert_eq!(system.ticks_per_cycle(), 6);
        system.reset(ResetKind::Cpu);
        assert_eq!(system.ticks_per_cycle(), 6);
        system.reset(ResetKind::Core);
        assert_eq!(system.ticks_per_cycle(), 24);
    }

    #[test]
    fn voltage_monitors_reset_to_the_manuals_values() {
        let mut bench = Bench::new(System::new());
        let values = [0x5C, 0x60, 0x6C].map(|offset| bench.read(offset));
        assert_eq!(values, [3, 3, 0]);
    }

    #[test]
    fn software_interrupts_are_levels() {
        fn check(offset: u32, expected: u64) {
            let mut bench = Bench::new(System::new());
            bench.write(offset, u32::MAX);
            assert_eq!(
                (bench.peripheral.interrupts(), bench.read(offset)),
                (expected, 1)
            );
            bench.write(offset, 0);
            assert_eq!(bench.peripheral.interrupts(), 0);
        }
        check(0x28, 1 << 50);
        check(0x2C, 1 << 51);
        check(0x34, 1 << 53);
    }

    #[test]
    fn reset_bits_ask_once() {
        let mut bench = Bench::new(System::new());
        bench.write(PERIP_RST_EN0, 1 << 13);
        assert_eq!(
            std::mem::take(&mut bench.requests.peripheral_resets),
            1 << 13
        );
        bench.write(PERIP_RST_EN0, 1 << 13 | 1 << 29);
        assert_eq!(
            std::mem::take(&mut bench.requests.peripheral_resets),
            1 << 29
        );
        bench.write(PERIP_RST_EN0, 0);
        assert_eq!(bench.requests.peripheral_resets, 0);
    }
}
