//! RTC_CNTL: reset causes, software resets, the RTC timer, the RTC watchdog and the super watchdog.
//!
//! ESP32-C3 Technical Reference Manual, chapters "Low-power Management", "Reset and Clock", "Watchdog Timers".
//! The domain is cleared by a system reset; its eight store registers and the timer only by loss of power.
//!
//! Assumed, where the manual is silent: the super watchdog asks to be fed after 0.5 s and bites after 1 s; a
//! stage of the RTC watchdog begins anew when its settings change while it is off.
//!
//! Not modelled: sleep (noted when tried), brown-out, clock switching times, the watchdogs' reset pulse lengths,
//! the flash-boot mode of the RTC watchdog (the boot loader that would switch it off is emulated).

#![allow(unreachable_pub)] // What bitbybit generates is public.

use std::ops::Range;

use arbitrary_int::u3;
use bitbybit::bitfield;

use crate::peripheral::{Context, Peripheral, ResetCause, ResetKind};
use crate::registers::Registers;
use crate::time::{TICKS_PER_SECOND, Ticks};
use crate::watchdog::{Action, Stage, Watchdog};

const WATCHDOG_KEY: u32 = 0x50D8_3AA1;
const SUPER_WATCHDOG_KEY: u32 = 0x8F1D_312A;
const RTC_CORE_SOURCE: u32 = 27;
const COUNTER_MASK: u64 = (1 << 48) - 1;
/// RC_SLOW, the 32 kHz crystal, RC_FAST / 256: nominal.
const SLOW_CLOCKS_HZ: [u64; 4] = [136_000, 32_768, 68_359, 136_000];
const SUPER_WATCHDOG_ASKS: Ticks = Ticks::from_millis(500);
const SUPER_WATCHDOG_BITES: Ticks = Ticks::from_millis(1_000);
/// How long the second-stage boot loader gives the application to take the watchdog over.
const BOOT_LOADER_WATCHDOG_SECONDS: u64 = 9;

// Offsets.
const OPTIONS0: u32 = 0x00;
const SLP_TIMER0: u32 = 0x04;
const SLP_TIMER1: u32 = 0x08;
const TIME_UPDATE: u32 = 0x0C;
const TIME_LOW0: u32 = 0x10;
const TIME_HIGH0: u32 = 0x14;
const STATE0: u32 = 0x18;
const RESET_STATE: u32 = 0x38;
const INT_ENA: u32 = 0x40;
const INT_RAW: u32 = 0x44;
const INT_ST: u32 = 0x48;
const INT_CLR: u32 = 0x4C;
const STORE0: u32 = 0x50;
const STORE3: u32 = 0x5C;
const CLK_CONF: u32 = 0x70;
const WDTCONFIG0: u32 = 0x90;
const WDTCONFIG1: u32 = 0x94;
const WDTCONFIG4: u32 = 0xA0;
const WDTFEED: u32 = 0xA4;
const WDTWPROTECT: u32 = 0xA8;
const SWD_CONF: u32 = 0xAC;
const SWD_WPROTECT: u32 = 0xB0;
const STORE4: u32 = 0xB8;
const STORE7: u32 = 0xC4;
const INT_ENA_W1TS: u32 = 0x100;
const INT_ENA_W1TC: u32 = 0x104;

const OPTIONS0_SW_SYS_RST: u32 = 1 << 31;
const OPTIONS0_SW_PROCPU_RST: u32 = 1 << 5;
const STATE0_SLEEP_EN: u32 = 1 << 31;
const SLP_TIMER1_MAIN_TIMER_ALARM_EN: u32 = 1 << 16;
const TIME_UPDATE_NOW: u32 = 1 << 31;

const INT_WDT: u32 = 1 << 3;
const INT_MAIN_TIMER: u32 = 1 << 10;
const INT_SWD: u32 = 1 << 15;
const INT_ALL: u32 = 0x001F_FFFF;

const STORED: &[Range<u32>] = &[0x00..0x128, 0x1FC..0x200];
const RESETS: &[(u32, u32)] = &[
    (0x00, 0x1C00_A000),
    (0x1C, 0x2814_0403),
    (0x20, 0x0100_0000),
    (0x24, 0x0A08_0A08),
    (0x28, 0x1020_0A08),
    (0x2C, 0x8000),
    (0x30, 0x0A08_0000),
    (0x34, 0x00C4_0000),
    (0x3C, 0x0006_0000),
    (0x60, 0x0006_6C80),
    (0x70, 0x1158_3218),
    (0x74, 0x0040_0000),
    (0x78, 0x0AB0_BE0A),
    (0x7C, 0x0001_0800),
    (0x80, 0xA000_0000),
    (0x88, 0x0055_5010),
    (0x8C, 0xAA80_5080),
    (0x90, 0x0001_3214),
    (0x94, 200_000),
    (0x98, 80_000),
    (0x9C, 0xFFF),
    (0xA0, 0xFFF),
    (0xAC, 0x04B0_0000),
    (0xD8, 0x43FF_0010),
    (0xE8, 0x0FF0_0000),
    (0xFC, 0xC800),
    (0x108, 0xA0D0_0000),
    (0x10C, 0x07),
    (0x1FC, 0x0200_7270),
];

#[bitfield(u32)]
struct WdtConfig0 {
    #[bit(31, rw)]
    en: bool,
    #[bits(28..=30, rw)]
    stg0: u3,
    #[bits(25..=27, rw)]
    stg1: u3,
    #[bits(22..=24, rw)]
    stg2: u3,
    #[bits(19..=21, rw)]
    stg3: u3,
    #[bit(11, rw)]
    procpu_reset_en: bool,
}

#[bitfield(u32)]
struct SwdConf {
    #[bit(31, rw)]
    auto_feed_en: bool,
    #[bit(30, rw)]
    disable: bool,
    #[bit(29, rw)]
    feed: bool,
    #[bit(28, rw)]
    rst_flag_clr: bool,
    #[bit(1, rw)]
    feed_int: bool,
    #[bit(0, rw)]
    reset_flag: bool,
}

/// The RTC controller.
pub(crate) struct RtcCntl {
    registers: Registers,
    /// Causes as the PRO and APP fields show them.
    causes: [ResetCause; 2],
    int_ena: u32,
    int_raw: u32,
    counter: Counter,
    latched: u64,
    alarm_armed: bool,
    watchdog: Watchdog,
    super_watchdog: Watchdog,
}

/// The RTC timer: 48 bits of the slow clock.
struct Counter {
    value: u64,
    since: Ticks,
    hz: u64,
}

impl Counter {
    fn value(&self, now: Ticks) -> u64 {
        let counts = u128::from(now.since(self.since).0) * u128::from(self.hz)
            / u128::from(TICKS_PER_SECOND);
        (self.value + counts as u64) & COUNTER_MASK
    }

    fn set_clock(&mut self, hz: u64, now: Ticks) {
        if hz != self.hz {
            *self = Counter {
                value: self.value(now),
                since: now,
                hz,
            };
        }
    }

    /// When it shows `value`; `since` when that is past.
    fn reaches(&self, value: u64) -> Ticks {
        self.since
            .saturating_add(slow_cycles(value.saturating_sub(self.value), self.hz))
    }
}

/// Ticks of `cycles` of a clock, rounded up.
fn slow_cycles(cycles: u64, hz: u64) -> Ticks {
    let ticks = (u128::from(cycles) * u128::from(TICKS_PER_SECOND)).div_ceil(u128::from(hz));
    Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
}

impl RtcCntl {
    /// As power-on at `now` leaves it.
    pub(crate) fn new(now: Ticks) -> RtcCntl {
        let mut rtc = RtcCntl {
            registers: Registers::new("rtc_cntl", 0x200, STORED, RESETS),
            causes: [ResetCause::PowerOn; 2],
            int_ena: 0,
            int_raw: 0,
            counter: Counter {
                value: 0,
                since: now,
                hz: SLOW_CLOCKS_HZ[0],
            },
            latched: 0,
            alarm_armed: false,
            watchdog: Watchdog::new(),
            super_watchdog: Watchdog::new(),
        };
        rtc.configure_watchdog(now);
        rtc.configure_super_watchdog(now);
        rtc
    }

    /// The chip was reset at `now`: what firmware will read. Called after `reset`.
    pub(crate) fn set_cause(&mut self, cause: ResetCause, now: Ticks) {
        self.causes[0] = cause;
        if cause.kind() >= ResetKind::Core {
            self.causes[1] = cause;
        }
        if cause.kind() == ResetKind::PowerOn {
            self.counter = Counter {
                value: 0,
                since: now,
                hz: self.counter.hz,
            };
        }
        if cause == ResetCause::SystemSuperWatchdog {
            let conf = self.swd_conf().with_reset_flag(true);
            self.registers.set(SWD_CONF, conf.raw_value());
        }
        self.counter.set_clock(self.slow_hz(), now);
        self.configure_watchdog(now);
        self.watchdog.feed(now);
        self.configure_super_watchdog(now);
        self.super_watchdog.feed(now);
    }

    /// Why the hart was last reset.
    pub(crate) fn cause(&self) -> ResetCause {
        self.causes[0]
    }

    /// As the second-stage boot loader leaves it at `now`: the RTC watchdog guards the application's start.
    pub(crate) fn leave_boot_loader(&mut self, now: Ticks) {
        let config = WdtConfig0::new_with_raw_value(self.registers.get(WDTCONFIG0))
            .with_en(true)
            .with_stg0(u3::new(4))
            .with_stg1(u3::new(0))
            .with_stg2(u3::new(0))
            .with_stg3(u3::new(0));
        self.registers.set(WDTCONFIG0, config.raw_value());
        let hold = BOOT_LOADER_WATCHDOG_SECONDS * self.slow_hz() / 2;
        self.registers.set(WDTCONFIG1, hold as u32);
        self.configure_watchdog(now);
        self.watchdog.feed(now);
    }

    /// The super watchdog feeds itself from `now` on, as the boot loader sets it before it looks at the flash.
    pub(crate) fn feed_super_watchdog_by_itself(&mut self, now: Ticks) {
        let conf = self.swd_conf().with_auto_feed_en(true);
        self.registers.set(SWD_CONF, conf.raw_value());
        self.configure_super_watchdog(now);
    }

    fn slow_hz(&self) -> u64 {
        SLOW_CLOCKS_HZ[(self.registers.get(CLK_CONF) >> 30) as usize]
    }

    fn swd_conf(&self) -> SwdConf {
        SwdConf::new_with_raw_value(self.registers.get(SWD_CONF))
    }

    fn configure_watchdog(&mut self, now: Ticks) {
        let config = WdtConfig0::new_with_raw_value(self.registers.get(WDTCONFIG0));
        let hz = self.slow_hz();
        let actions = [config.stg0(), config.stg1(), config.stg2(), config.stg3()];
        let mut stages = [Stage {
            action: Action::Off,
            length: Ticks(1),
        }; 4];
        for (index, (stage, action)) in stages.iter_mut().zip(actions).enumerate() {
            let mut hold = u64::from(self.registers.get(WDTCONFIG1 + index as u32 * 4));
            if index == 0 {
                // The first stage is stretched by eFuse WDT_DELAY_SEL (0) + 1.
                hold <<= 1;
            }
            stage.action = match Action::from_field(action.value().into()) {
                Action::ResetCpu if !config.procpu_reset_en() => Action::Off,
                action => action,
            };
            stage.length = slow_cycles(hold, hz);
        }
        self.watchdog.configure(config.en(), stages, now);
    }

    fn configure_super_watchdog(&mut self, now: Ticks) {
        let conf = self.swd_conf();
        let off = Stage {
            action: Action::Off,
            length: Ticks(1),
        };
        let stages = [
            Stage {
                action: Action::Interrupt,
                length: SUPER_WATCHDOG_ASKS,
            },
            Stage {
                action: Action::ResetSystem,
                length: SUPER_WATCHDOG_BITES.since(SUPER_WATCHDOG_ASKS),
            },
            off,
            off,
        ];
        // One that feeds itself never gets to its end.
        self.super_watchdog
            .configure(!conf.disable() && !conf.auto_feed_en(), stages, now);
    }

    fn write_super_watchdog(&mut self, value: u32, now: Ticks) {
        if self.registers.get(SWD_WPROTECT) != SUPER_WATCHDOG_KEY {
            return;
        }
        let (old, mut conf) = (self.swd_conf(), SwdConf::new_with_raw_value(value));
        conf = conf.with_reset_flag(old.reset_flag() && !conf.rst_flag_clr());
        conf = conf.with_feed_int(old.feed_int() && !conf.feed());
        if conf.feed() {
            self.super_watchdog.feed(now);
        }
        let kept = conf.with_feed(false).with_rst_flag_clr(false);
        self.registers.set(SWD_CONF, kept.raw_value());
        self.configure_super_watchdog(now);
    }

    fn alarm(&self) -> Option<Ticks> {
        let value = u64::from(self.registers.get(SLP_TIMER1) & 0xFFFF) << 32
            | u64::from(self.registers.get(SLP_TIMER0));
        self.alarm_armed.then(|| self.counter.reaches(value))
    }
}

impl Peripheral for RtcCntl {
    fn name(&self) -> &'static str {
        "rtc_cntl"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            TIME_LOW0 => self.latched as u32,
            TIME_HIGH0 => (self.latched >> 32) as u32,
            RESET_STATE => {
                let [pro, app] = self.causes.map(|cause| u32::from(cause.code()));
                self.registers.get(offset) & !0xFFF | 0x3000 | app << 6 | pro
            }
            INT_ENA => self.int_ena,
            INT_RAW => self.int_raw,
            INT_ST => self.int_raw & self.int_ena,
            INT_CLR | INT_ENA_W1TS | INT_ENA_W1TC | WDTFEED => 0,
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        let now = context.now;
        match offset {
            OPTIONS0 => {
                let resets = OPTIONS0_SW_SYS_RST | OPTIONS0_SW_PROCPU_RST;
                self.registers.set(offset, value & !resets);
                if value & OPTIONS0_SW_SYS_RST != 0 {
                    context.requests.reset = Some(ResetCause::CoreSoftware);
                } else if value & OPTIONS0_SW_PROCPU_RST != 0 {
                    context.requests.reset = Some(ResetCause::CpuSoftware);
                }
            }
            SLP_TIMER1 => {
                self.registers.set(offset, value & 0xFFFF);
                if value & SLP_TIMER1_MAIN_TIMER_ALARM_EN != 0 {
                    self.alarm_armed = true;
                }
            }
            TIME_UPDATE => {
                self.registers.set(offset, value & !TIME_UPDATE_NOW);
                if value & TIME_UPDATE_NOW != 0 {
                    self.latched = self.counter.value(now);
                }
            }
            STATE0 => {
                self.registers.set(offset, value & !STATE0_SLEEP_EN);
                if value & STATE0_SLEEP_EN != 0 {
                    context.unmodelled.used("rtc_cntl: sleep", context.pc);
                }
            }
            INT_ENA => self.int_ena = value & INT_ALL,
            INT_ENA_W1TS => self.int_ena |= value & INT_ALL,
            INT_ENA_W1TC => self.int_ena &= !value,
            INT_CLR => self.int_raw &= !value,
            CLK_CONF => {
                self.registers.set(offset, value);
                self.counter.set_clock(self.slow_hz(), now);
                self.configure_watchdog(now);
            }
            WDTCONFIG0..=WDTCONFIG4 => {
                if self.registers.get(WDTWPROTECT) == WATCHDOG_KEY {
                    self.registers.set(offset, value);
                    self.configure_watchdog(now);
                }
            }
            WDTFEED => {
                if self.registers.get(WDTWPROTECT) == WATCHDOG_KEY && value & 1 << 31 != 0 {
                    self.watchdog.feed(now);
                }
            }
            SWD_CONF => self.write_super_watchdog(value, now),
            TIME_LOW0 | TIME_HIGH0 | INT_RAW | INT_ST => {}
            _ => self.registers.write(offset, value, context),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if self.alarm().is_some_and(|at| at <= context.now) {
            self.alarm_armed = false;
            self.int_raw |= INT_MAIN_TIMER;
        }
        while let Some(action) = self.watchdog.expire(context.now) {
            match action {
                Action::Interrupt => self.int_raw |= INT_WDT,
                Action::ResetCpu => context.requests.reset = Some(ResetCause::CpuRtcWatchdog),
                Action::ResetCore => context.requests.reset = Some(ResetCause::CoreRtcWatchdog),
                Action::ResetSystem => context.requests.reset = Some(ResetCause::SystemRtcWatchdog),
                Action::Off => {}
            }
        }
        while let Some(action) = self.super_watchdog.expire(context.now) {
            if action == Action::Interrupt {
                self.int_raw |= INT_SWD;
                self.registers
                    .set(SWD_CONF, self.swd_conf().with_feed_int(true).raw_value());
            } else {
                context.requests.reset = Some(ResetCause::SystemSuperWatchdog);
            }
        }
    }

    fn next_event(&self) -> Option<Ticks> {
        let watchdogs = self
            .watchdog
            .due()
            .into_iter()
            .chain(self.super_watchdog.due());
        watchdogs.chain(self.alarm()).min()
    }

    fn interrupts(&self) -> u64 {
        u64::from(self.int_raw & self.int_ena != 0) << RTC_CORE_SOURCE
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind < ResetKind::System {
            return;
        }
        let stores = (STORE0..=STORE3)
            .chain(STORE4..=STORE7)
            .step_by(1)
            .filter(|offset| offset % 4 == 0);
        let kept: Vec<(u32, u32)> = stores
            .map(|offset| (offset, self.registers.get(offset)))
            .collect();
        self.registers.reset(kind);
        if kind < ResetKind::PowerOn {
            for (offset, value) in kept {
                self.registers.set(offset, value);
            }
        }
        self.int_ena = 0;
        self.int_raw = 0;
        self.latched = 0;
        self.alarm_armed = false;
    }
}

#[cfg(test)]
mod tests;
