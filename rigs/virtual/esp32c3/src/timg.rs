//! TIMG 0 and 1: a 54-bit timer with an alarm, a watchdog, and (group 0) the calibration of the slow clocks.
//!
//! ESP32-C3 Technical Reference Manual, chapters "Timer Group" and "Watchdog Timers". The timer's value is worked
//! out from chip time when somebody looks. A divider of 1 means 2, and 0 means 65,536.
//!
//! Not modelled: the clock gate, the lengths of the watchdog's reset pulses, its flash-boot mode (the boot loader
//! that would switch it off is emulated), `WDT_CONF_UPDATE_EN` (a changed configuration counts at once).

#![allow(unreachable_pub)] // What bitbybit generates is public.

use arbitrary_int::{u2, u15};
use bitbybit::bitfield;

use crate::peripheral::{Context, Peripheral, ResetCause, ResetKind};
use crate::time::{TICKS_PER_SECOND, Ticks};
use crate::watchdog::{Action, Stage, Watchdog};

/// Ticks of one crystal cycle.
const XTAL: u64 = 12;
/// Ticks of one cycle of the peripherals' bus at 80 MHz.
const APB_80_MHZ: u64 = 6;
const VALUE_MASK: u64 = (1 << 54) - 1;
/// Interrupt sources: TG0_T0, TG0_WDT, TG1_T0, TG1_WDT.
const FIRST_SOURCE: u32 = 32;
const WATCHDOG_KEY: u32 = 0x50D8_3AA1;
/// RC_SLOW and RC_FAST / 256, nominal.
const SLOW_CLOCK_HZ: u64 = 136_000;
const FAST_CLOCK_D256_HZ: u64 = 68_359;
const XTAL_HZ: u64 = 40_000_000;

// Offsets.
const T0CONFIG: u32 = 0x00;
const T0LO: u32 = 0x04;
const T0HI: u32 = 0x08;
const T0UPDATE: u32 = 0x0C;
const T0ALARMLO: u32 = 0x10;
const T0ALARMHI: u32 = 0x14;
const T0LOADLO: u32 = 0x18;
const T0LOADHI: u32 = 0x1C;
const T0LOAD: u32 = 0x20;
const WDTCONFIG0: u32 = 0x48;
const WDTCONFIG1: u32 = 0x4C;
const WDTCONFIG2: u32 = 0x50;
const WDTCONFIG5: u32 = 0x5C;
const WDTFEED: u32 = 0x60;
const WDTWPROTECT: u32 = 0x64;
const RTCCALICFG: u32 = 0x68;
const RTCCALICFG1: u32 = 0x6C;
const INT_ENA: u32 = 0x70;
const INT_RAW: u32 = 0x74;
const INT_ST: u32 = 0x78;
const INT_CLR: u32 = 0x7C;
const RTCCALICFG2: u32 = 0x80;
const NTIMG_DATE: u32 = 0xF8;
const REGCLK: u32 = 0xFC;

const INT_T0: u32 = 1 << 0;
const INT_WDT: u32 = 1 << 1;

#[bitfield(u32, default = 0x6000_2000)]
struct Config {
    #[bit(31, rw)]
    en: bool,
    #[bit(30, rw)]
    increase: bool,
    #[bit(29, rw)]
    autoreload: bool,
    #[bits(13..=28, rw)]
    divider: u16,
    #[bit(12, rw)]
    divcnt_rst: bool,
    #[bit(10, rw)]
    alarm_en: bool,
    #[bit(9, rw)]
    use_xtal: bool,
}

#[bitfield(u32, default = 0x0004_C000)]
struct WdtConfig0 {
    #[bit(31, rw)]
    en: bool,
    #[bits(29..=30, rw)]
    stg0: u2,
    #[bits(27..=28, rw)]
    stg1: u2,
    #[bits(25..=26, rw)]
    stg2: u2,
    #[bits(23..=24, rw)]
    stg3: u2,
    #[bit(22, w)]
    conf_update_en: bool,
    #[bit(21, rw)]
    use_xtal: bool,
}

#[bitfield(u32, default = 0x0001_3000)]
struct RtcCaliCfg {
    #[bit(31, rw)]
    start: bool,
    #[bits(16..=30, rw)]
    max: u15,
    #[bit(15, rw)]
    rdy: bool,
    #[bits(13..=14, rw)]
    clk_sel: u2,
    #[bit(12, rw)]
    start_cycling: bool,
}

/// One timer group.
pub(crate) struct Timg {
    group: usize,
    /// Ticks of one APB cycle: the timer's and the watchdog's other clock.
    apb: u64,
    timer: Timer,
    watchdog: Watchdog,
    wdt_config0: WdtConfig0,
    wdt_config1: u32,
    wdt_holds: [u32; 4],
    wdt_protect: u32,
    calibration: Calibration,
    int_ena: u32,
    int_raw: u32,
    regclk: u32,
}

struct Timer {
    config: Config,
    /// Value at `since`, or for good when the timer stands still.
    value: u64,
    since: Ticks,
    latched: u64,
    alarm: u64,
    load: u64,
}

/// A calibration counts crystal cycles during `max` cycles of the clock under test.
struct Calibration {
    config: RtcCaliCfg,
    config2: u32,
    /// The measurement under way or over: when it is ready and what it says; `None` when the clock is not there.
    result: Option<(Ticks, u32)>,
    /// When a measurement of a clock that is not there gives up.
    timeout: Option<Ticks>,
}

impl Timer {
    fn new() -> Timer {
        Timer {
            config: Config::DEFAULT,
            value: 0,
            since: Ticks::ZERO,
            latched: 0,
            alarm: 0,
            load: 0,
        }
    }

    /// Ticks of one count.
    fn count(&self, apb: u64) -> u64 {
        let divider = match self.config.divider() {
            0 => 65_536,
            1 => 2,
            divider => divider.into(),
        };
        divider * if self.config.use_xtal() { XTAL } else { apb }
    }

    fn value(&self, now: Ticks, apb: u64) -> u64 {
        if !self.config.en() {
            return self.value;
        }
        let counts = now.since(self.since).0 / self.count(apb);
        let value = if self.config.increase() {
            self.value.wrapping_add(counts)
        } else {
            self.value.wrapping_sub(counts)
        };
        value & VALUE_MASK
    }

    /// Takes the value at `now` as the new start, so that speed and direction may change. The part of a count
    /// that has passed stays.
    fn settle(&mut self, now: Ticks, apb: u64) {
        let value = self.value(now, apb);
        let passed = if self.config.en() {
            now.since(self.since).0 % self.count(apb)
        } else {
            0
        };
        self.value = value;
        self.since = Ticks(now.0 - passed);
    }

    fn set(&mut self, value: u64, now: Ticks) {
        self.value = value & VALUE_MASK;
        self.since = now;
    }

    /// When the alarm fires: at once when the value is already past it.
    fn due(&self, apb: u64) -> Option<Ticks> {
        if !self.config.en() || !self.config.alarm_en() {
            return None;
        }
        let ahead = if self.config.increase() {
            self.alarm.saturating_sub(self.value)
        } else {
            self.value.saturating_sub(self.alarm)
        };
        let ticks = u128::from(ahead) * u128::from(self.count(apb));
        Some(
            self.since
                .saturating_add(Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))),
        )
    }
}

impl Calibration {
    fn new() -> Calibration {
        let config = RtcCaliCfg::DEFAULT;
        // It cycles out of reset; by the time anybody looks, the first cycle is over.
        Calibration {
            config,
            config2: 0xFFFF_FF98,
            result: Self::measure(config, Ticks::ZERO),
            timeout: None,
        }
    }

    fn measure(config: RtcCaliCfg, now: Ticks) -> Option<(Ticks, u32)> {
        let hz = match config.clk_sel().value() {
            0 => SLOW_CLOCK_HZ,
            1 => FAST_CLOCK_D256_HZ,
            // No 32 kHz crystal on the board.
            _ => return None,
        };
        let cycles = u64::from(config.max().value());
        let ready = now + Ticks((cycles * TICKS_PER_SECOND).div_ceil(hz));
        Some((ready, (cycles * XTAL_HZ / hz) as u32 & 0x1FF_FFFF))
    }

    fn set_config(&mut self, value: u32, now: Ticks) {
        let old = self.config;
        self.config = RtcCaliCfg::new_with_raw_value(value).with_rdy(false);
        let starts = (self.config.start() && !old.start())
            || (self.config.start_cycling() && !old.start_cycling());
        if starts {
            self.result = Self::measure(self.config, now);
            // The threshold counts crystal cycles.
            let threshold = u64::from(self.config2 >> 7);
            self.timeout = self
                .result
                .is_none()
                .then_some(now + Ticks(threshold * XTAL));
        }
    }

    fn ready(&self, now: Ticks) -> Option<u32> {
        self.result
            .filter(|(ready, _)| *ready <= now)
            .map(|(_, value)| value)
    }
}

impl Timg {
    /// Timer group 0 or 1.
    pub(crate) fn new(group: usize) -> Timg {
        let mut timg = Timg {
            group,
            apb: APB_80_MHZ,
            timer: Timer::new(),
            watchdog: Watchdog::new(),
            wdt_config0: WdtConfig0::DEFAULT,
            wdt_config1: 0x0001_0000,
            wdt_holds: [26_000_000, 0x07FF_FFFF, 0x000F_FFFF, 0x000F_FFFF],
            wdt_protect: WATCHDOG_KEY,
            calibration: Calibration::new(),
            int_ena: 0,
            int_raw: 0,
            regclk: 0x6000_0000,
        };
        timg.configure_watchdog(Ticks::ZERO);
        timg
    }

    /// The peripherals' bus has another clock from `now` on: `ticks` a cycle.
    pub(crate) fn set_apb(&mut self, ticks: u64, now: Ticks) {
        if ticks != self.apb {
            self.timer.settle(now, self.apb);
            let count = self.timer.count(ticks);
            self.timer.since = self.timer.since.max(Ticks(now.0.saturating_sub(count - 1)));
            self.apb = ticks;
            self.configure_watchdog(now);
        }
    }

    fn configure_watchdog(&mut self, now: Ticks) {
        let config = self.wdt_config0;
        let prescale = u64::from(self.wdt_config1 >> 16).max(1);
        let count = prescale * if config.use_xtal() { XTAL } else { self.apb };
        let actions = [config.stg0(), config.stg1(), config.stg2(), config.stg3()];
        let mut stages = [Stage {
            action: Action::Off,
            length: Ticks(1),
        }; 4];
        for ((stage, action), hold) in stages.iter_mut().zip(actions).zip(self.wdt_holds) {
            stage.action = Action::from_field(action.value().into());
            stage.length = Ticks(u64::from(hold) * count);
        }
        self.watchdog.configure(config.en(), stages, now);
    }

    fn write_watchdog(&mut self, offset: u32, value: u32, now: Ticks) {
        if self.wdt_protect != WATCHDOG_KEY {
            return;
        }
        match offset {
            WDTCONFIG0 => self.wdt_config0 = WdtConfig0::new_with_raw_value(value & !(1 << 22)),
            WDTCONFIG1 => self.wdt_config1 = value & !1,
            WDTCONFIG2..=WDTCONFIG5 => {
                self.wdt_holds[(offset - WDTCONFIG2) as usize / 4] = value;
            }
            _ => return self.watchdog.feed(now),
        }
        self.configure_watchdog(now);
    }

    fn bite(&mut self, action: Action, context: &mut Context<'_>) {
        let (cpu, core) = [
            (ResetCause::CpuWatchdog0, ResetCause::CoreWatchdog0),
            (ResetCause::CpuWatchdog1, ResetCause::CoreWatchdog1),
        ][self.group];
        match action {
            Action::Interrupt => self.int_raw |= INT_WDT,
            Action::ResetCpu => context.requests.reset = Some(cpu),
            Action::ResetCore | Action::ResetSystem => context.requests.reset = Some(core),
            Action::Off => {}
        }
    }
}

impl Peripheral for Timg {
    fn name(&self) -> &'static str {
        ["timg0", "timg1"][self.group]
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            T0CONFIG => self.timer.config.raw_value(),
            T0LO => self.timer.latched as u32,
            T0HI => (self.timer.latched >> 32) as u32,
            T0ALARMLO => self.timer.alarm as u32,
            T0ALARMHI => (self.timer.alarm >> 32) as u32,
            T0LOADLO => self.timer.load as u32,
            T0LOADHI => (self.timer.load >> 32) as u32,
            T0UPDATE | T0LOAD | WDTFEED | INT_CLR => 0,
            WDTCONFIG0 => self.wdt_config0.raw_value(),
            WDTCONFIG1 => self.wdt_config1,
            WDTCONFIG2..=WDTCONFIG5 => self.wdt_holds[(offset - WDTCONFIG2) as usize / 4],
            WDTWPROTECT => self.wdt_protect,
            RTCCALICFG => {
                let ready = self.calibration.ready(context.now).is_some();
                self.calibration.config.with_rdy(ready).raw_value()
            }
            RTCCALICFG1 => match self.calibration.ready(context.now) {
                Some(value) => value << 7 | u32::from(self.calibration.config.start_cycling()),
                None => 0,
            },
            INT_ENA => self.int_ena,
            INT_RAW => self.int_raw,
            INT_ST => self.int_raw & self.int_ena,
            RTCCALICFG2 => {
                let over = self.calibration.timeout.is_some_and(|at| at <= context.now);
                self.calibration.config2 & !1 | u32::from(over)
            }
            NTIMG_DATE => 0x0200_6191,
            REGCLK => self.regclk,
            _ => {
                context.unmodelled.read(self.name(), offset, context.pc);
                0
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        let (now, apb) = (context.now, self.apb);
        let high = |old: u64| (old & 0xFFFF_FFFF) | u64::from(value & 0x3F_FFFF) << 32;
        let low = |old: u64| (old & !0xFFFF_FFFF) | u64::from(value);
        let timer = &mut self.timer;
        match offset {
            T0CONFIG => {
                timer.settle(now, apb);
                let config = Config::new_with_raw_value(value);
                if config.divcnt_rst() || config.en() != timer.config.en() {
                    timer.since = now;
                }
                timer.config = config.with_divcnt_rst(false);
                // A faster clock than before must not find more than a count passed.
                timer.since = timer
                    .since
                    .max(Ticks(now.0.saturating_sub(timer.count(apb) - 1)));
            }
            T0UPDATE => timer.latched = timer.value(now, apb),
            T0ALARMLO => timer.alarm = low(timer.alarm),
            T0ALARMHI => timer.alarm = high(timer.alarm),
            T0LOADLO => timer.load = low(timer.load),
            T0LOADHI => timer.load = high(timer.load),
            T0LOAD => timer.set(timer.load, now),
            WDTCONFIG0..=WDTFEED => self.write_watchdog(offset, value, now),
            WDTWPROTECT => self.wdt_protect = value,
            RTCCALICFG => self.calibration.set_config(value, now),
            RTCCALICFG2 => self.calibration.config2 = value & !1,
            INT_ENA => self.int_ena = value & (INT_T0 | INT_WDT),
            INT_CLR => self.int_raw &= !value,
            REGCLK => self.regclk = value,
            T0LO | T0HI | RTCCALICFG1 | INT_RAW | INT_ST | NTIMG_DATE => {}
            _ => context.unmodelled.write(self.name(), offset, context.pc),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(due) = self.timer.due(self.apb).filter(|due| *due <= context.now) {
            self.int_raw |= INT_T0;
            self.timer.config = self.timer.config.with_alarm_en(false);
            if self.timer.config.autoreload() {
                // From the moment of the alarm, so that a late poll loses no time. An alarm that was already past
                // when it was set has its moment now.
                let from = if due < self.timer.since {
                    context.now
                } else {
                    due
                };
                self.timer.set(self.timer.load, from);
            }
        }
        while let Some(action) = self.watchdog.expire(context.now) {
            self.bite(action, context);
        }
    }

    fn next_event(&self) -> Option<Ticks> {
        let timer = self.timer.due(self.apb);
        timer.into_iter().chain(self.watchdog.due()).min()
    }

    fn interrupts(&self) -> u64 {
        u64::from(self.int_raw & self.int_ena) << (FIRST_SOURCE + 2 * self.group as u32)
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind >= ResetKind::Core {
            *self = Timg {
                apb: self.apb,
                ..Timg::new(self.group)
            };
        }
    }
}

#[cfg(test)]
mod tests;
