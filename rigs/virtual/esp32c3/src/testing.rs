//! A bench for one peripheral: registers, chip time and what it asked for. Tests only.

use crate::flash::Flash;
use crate::memory::Sram;
use crate::peripheral::{Context, Peripheral, Requests, UnmodelledLog};
use crate::time::Ticks;
use crate::wires::Wires;

/// One peripheral with everything a [`Context`] borrows.
pub(crate) struct Bench<P> {
    pub(crate) peripheral: P,
    pub(crate) now: Ticks,
    pub(crate) sram: Sram,
    pub(crate) flash: Flash,
    pub(crate) wires: Wires,
    pub(crate) requests: Requests,
    pub(crate) unmodelled: UnmodelledLog,
}

impl<P: Peripheral> Bench<P> {
    pub(crate) fn new(peripheral: P) -> Bench<P> {
        Bench {
            peripheral,
            now: Ticks::ZERO,
            sram: Sram::new(),
            flash: Flash::new(1 << 18).expect("a size that is made"),
            wires: Wires::default(),
            requests: Requests::default(),
            unmodelled: UnmodelledLog::default(),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut P, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            now: self.now,
            pc: 0x4200_0000,
            sram: &mut self.sram,
            flash: &mut self.flash,
            wires: &mut self.wires,
            requests: &mut self.requests,
            unmodelled: &mut self.unmodelled,
        };
        act(&mut self.peripheral, &mut context)
    }

    pub(crate) fn read(&mut self, offset: u32) -> u32 {
        self.with(|peripheral, context| peripheral.read(offset, context))
    }

    pub(crate) fn write(&mut self, offset: u32, value: u32) {
        self.with(|peripheral, context| peripheral.write(offset, value, context));
    }

    /// Lets time pass to `until`, polling whenever the peripheral wants to be polled.
    pub(crate) fn run_until(&mut self, until: Ticks) {
        while let Some(at) = self.peripheral.next_event().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.with(|peripheral, context| peripheral.poll(context));
            assert!(
                self.peripheral
                    .next_event()
                    .is_none_or(|next| next > at || self.requests.reset.is_some()),
                "{}: the event at {at:?} was not consumed",
                self.peripheral.name()
            );
            if self.requests.reset.is_some() {
                return;
            }
        }
        self.now = self.now.max(until);
    }

    /// Lets `ticks` pass.
    pub(crate) fn run(&mut self, ticks: Ticks) {
        self.run_until(self.now + ticks);
    }
}
