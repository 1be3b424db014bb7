//! The chip's side of the mask ROM: calls of its functions, and booting.
//!
//! The ROM functions and the boot plan know nothing of the chip; here they get its registers, memory and flash, and
//! here is done what they decide.

use virtual_hart::{Hart, csr_number};

use crate::boot;
use crate::chip::{Chip, State};
use crate::event::ChipEvent;
use crate::extmem::{self, Extmem};
use crate::flash::Flash;
use crate::reset::ResetCause;
use crate::rom::{self, RomFault, RomHost, RomOutcome};
use crate::soc::Soc;
use crate::time::Ticks;

/// What ROM and second-stage boot loader take from reset to the application, about.
const BOOT_TIME: Ticks = Ticks::from_millis(30);
/// Longest a call takes: years. A delay asked for in nonsense must still be a moment that ticks can tell.
const CALL_CYCLES_MAX: u64 = 1 << 56;
/// ROM function of that name.
const ETS_UPDATE_CPU_FREQUENCY: u32 = 0x4000_0588;
/// `mstatus` as the boot loader leaves it: machine mode, interrupts on.
const MSTATUS_AT_ENTRY: u32 = 0x1808;

const MSTATUS_MIE: u32 = 1 << 3;
const MSTATUS_MPIE: u32 = 1 << 7;
const MSTATUS_MPP: u32 = 3 << 11;
const CAUSE_ILLEGAL_INSTRUCTION: u32 = 2;
const CAUSE_LOAD_ACCESS: u32 = 5;
const CAUSE_STORE_ACCESS: u32 = 7;

impl Chip {
    /// Does what the ROM has at `pc`. What takes longer than to cycle `until` is waited for.
    pub(crate) fn emulate(&mut self, pc: u32, until: u64) {
        if pc == rom::ROM_START {
            return self.boot();
        }
        let now = self.now();
        let mut host = Host {
            hart: &mut self.hart,
            soc: &mut self.soc,
            now,
        };
        match self.rom.call(pc, &mut host) {
            RomOutcome::Return { cycles } => {
                self.hart.set_pc(self.hart.x(1));
                // The call may have begun the flash operation that the supply will not last to the end of.
                let fails = self.soc.flash.fails_at().unwrap_or(Ticks::MAX);
                self.pass(cycles, until.min(self.soc.clock.cycle_at(fails)));
            }
            RomOutcome::Fault(RomFault { address, store }) => {
                let cause = if store {
                    CAUSE_STORE_ACCESS
                } else {
                    CAUSE_LOAD_ACCESS
                };
                self.trap(cause, address);
            }
            RomOutcome::Unknown { message } => {
                self.soc.unmodelled.used(&message, pc);
                self.trap(CAUSE_ILLEGAL_INSTRUCTION, 0);
            }
        }
        self.soc.show_flash();
    }

    /// Starts the application that the flash holds, or says why not.
    fn boot(&mut self) {
        let cause = self.soc.peripherals.rtc_cntl.cause();
        self.console(&boot::banner(cause));
        let cycles = BOOT_TIME.0.div_ceil(self.soc.clock.ticks_per_cycle());
        self.hart.advance(cycles);
        let at = self.now();
        let rtc = &mut self.soc.peripherals.rtc_cntl;
        rtc.feed_super_watchdog_by_itself(at);
        self.soc.refresh_all();
        let plan = match boot::plan(self.soc.flash.bytes(), self.revision) {
            Ok(plan) => plan,
            Err(error) => {
                self.console(&error.console());
                self.events.push(ChipEvent::BootFailed {
                    at,
                    reason: error.to_string(),
                });
                self.state = State::Stuck;
                return;
            }
        };
        for refused in &plan.refused {
            self.console(&format!("E (60) esp_image: {refused}\r\n"));
        }
        for load in &plan.image.loads {
            let Soc { flash, sram, .. } = &mut self.soc;
            let bytes = flash.bytes().get(load.flash.clone()).unwrap_or_default();
            if let Some(target) = sram.slice_mut(load.address, bytes.len() as u32) {
                target.copy_from_slice(bytes);
            }
        }
        let mmu = &mut self.soc.peripherals.extmem;
        mmu.unmap_all();
        for mapping in &plan.image.mappings {
            mmu.map(mapping.entry, Some(mapping.page));
        }
        self.soc.show_flash();
        self.soc.peripherals.system.leave_boot_loader();
        self.soc.peripherals.rtc_cntl.leave_boot_loader(at);
        self.apply_clock();
        self.tell_rom_the_frequency();
        self.hart.set_x(2, plan.stack_pointer);
        self.hart.set_csr(csr_number::MSTATUS, MSTATUS_AT_ENTRY);
        self.hart.set_pc(plan.image.entry);
        self.events.push(ChipEvent::Booted {
            at,
            image: plan.image.offset,
            entry: plan.image.entry,
        });
    }

    /// The boot loader tells the ROM how long a microsecond is, for its delays.
    fn tell_rom_the_frequency(&mut self) {
        let megahertz = 480 / self.soc.clock.ticks_per_cycle();
        self.hart.set_x(10, megahertz as u32);
        let now = self.now();
        let mut host = Host {
            hart: &mut self.hart,
            soc: &mut self.soc,
            now,
        };
        self.rom.call(ETS_UPDATE_CPU_FREQUENCY, &mut host);
        self.hart.set_x(10, 0);
    }

    fn console(&mut self, text: &str) {
        let event = ChipEvent::Console {
            at: self.now(),
            port: "uart0",
            bytes: text.as_bytes().to_vec(),
        };
        self.soc.requests.events.push(event);
        self.events.append(&mut self.soc.requests.events);
    }

    /// Lets `cycles` pass: at once when nothing is due meanwhile, else event by event.
    fn pass(&mut self, cycles: u64, until: u64) {
        let end = self.hart.cycles() + cycles.min(CALL_CYCLES_MAX);
        if end <= until {
            self.hart.advance(end - self.hart.cycles());
        } else {
            self.state = State::Busy {
                until: self.soc.clock.at(end),
            };
        }
    }

    /// The exception a ROM function raises.
    fn trap(&mut self, cause: u32, value: u32) {
        let csr = |hart: &Hart, number| hart.csr(number).unwrap_or(0);
        let status = csr(&self.hart, csr_number::MSTATUS);
        let was_on = if status & MSTATUS_MIE != 0 {
            MSTATUS_MPIE
        } else {
            0
        };
        let kept = status & !(MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP);
        let hart = &mut self.hart;
        hart.set_csr(csr_number::MSTATUS, kept | was_on | MSTATUS_MPP);
        hart.set_csr(csr_number::MEPC, hart.pc());
        hart.set_csr(csr_number::MCAUSE, cause);
        hart.set_csr(csr_number::MTVAL, value);
        let vector = csr(hart, csr_number::MTVEC) & !0xFF;
        hart.set_pc(vector);
    }
}

/// What a ROM function sees of the chip.
struct Host<'a> {
    hart: &'a mut Hart,
    soc: &'a mut Soc,
    now: Ticks,
}

impl RomHost for Host<'_> {
    fn x(&self, n: u8) -> u32 {
        self.hart.x(n)
    }

    fn set_x(&mut self, n: u8, value: u32) {
        self.hart.set_x(n, value);
    }

    fn read_bytes(&mut self, address: u32, into: &mut [u8]) -> Result<(), RomFault> {
        if let Some(bytes) = self.soc.sram.slice(address, into.len() as u32) {
            into.copy_from_slice(bytes);
            return Ok(());
        }
        for (n, byte) in into.iter_mut().enumerate() {
            let address = address.wrapping_add(n as u32);
            *byte = self.soc.peek(address).ok_or(RomFault {
                address,
                store: false,
            })?;
        }
        Ok(())
    }

    fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<(), RomFault> {
        let target = self.soc.sram.slice_mut(address, bytes.len() as u32);
        target
            .ok_or(RomFault {
                address,
                store: true,
            })?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn flash(&mut self) -> &mut Flash {
        &mut self.soc.flash
    }

    fn extmem(&mut self) -> &mut Extmem {
        &mut self.soc.peripherals.extmem
    }

    fn now(&self) -> Ticks {
        self.now
    }

    fn ticks_per_cycle(&self) -> u64 {
        self.soc.clock.ticks_per_cycle()
    }

    fn console(&mut self, bytes: &[u8]) {
        self.soc.requests.events.push(ChipEvent::Console {
            at: self.now,
            port: "uart0",
            bytes: bytes.to_vec(),
        });
    }

    fn reset_cause(&self) -> ResetCause {
        self.soc.peripherals.rtc_cntl.cause()
    }

    fn request_reset(&mut self, cause: ResetCause) {
        self.soc.requests.reset = Some(cause);
    }
}

impl Soc {
    /// The byte at `address` in any memory, flash window or ROM; `None` for registers and where nothing is.
    fn peek(&self, address: u32) -> Option<u8> {
        if let Some(byte) = self.sram.read_u8(address) {
            return Some(byte);
        }
        if let Some(offset) = self.peripherals.extmem.translate(address) {
            return self.flash.bytes().get(offset as usize).copied();
        }
        let rom = (rom::ROM_START..rom::ROM_END).contains(&address);
        rom.then(|| rom::word(address & !3).to_le_bytes()[address as usize % 4])
    }
}

// Both windows are one size with the MMU table; a mapping beyond it can't be made.
const _: () = assert!(extmem::WINDOW_BYTES == 128 * extmem::PAGE_BYTES);
