//! CPU exceptions become panics that say what struck where, in one line.
//!
//! esp-hal's own handler prints all registers, which is more than a telemetry frame holds. And an
//! exception may mean that the stack is used up: nothing can be called on what is left of it, so
//! this starts over at the top of the main stack. It never returns to what it leaves behind there,
//! and who called is noted down before.

#![allow(unsafe_code)]

use core::cell::RefCell;

use crate::call_path;
use critical_section::Mutex;
use esp_hal::trapframe::TrapFrame;

static LAST: Mutex<RefCell<Option<Exception>>> = Mutex::new(RefCell::new(None));

/// Return addresses, innermost first; the first few are those of the trap entry.
pub type Path = heapless::Vec<u32, 12>;

/// An exception that struck.
#[derive(Clone, Debug)]
pub struct Exception {
    /// Machine cause register, without its interrupt bit: RISC-V privileged specification,
    /// table "Machine cause register values".
    pub cause: u32,
    /// The instruction that trapped.
    pub pc: u32,
    /// The address or instruction at fault.
    pub value: u32,
    /// Who called: the return addresses from there outwards.
    pub path: Path,
}

/// The exception that ended this boot, if one did.
pub fn last() -> Option<Exception> {
    critical_section::with(|cs| LAST.borrow(cs).try_borrow().ok()?.clone())
}

unsafe extern "C" {
    /// esp-hal's linker script: the guard word of the main stack, one past the stack's highest word.
    static __stack_chk_guard: u32;
    static _stack_start_cpu0: u32;
}

/// esp-hal's trap entry calls this for every exception that is no interrupt.
// Safety of the name: esp-hal's linker script refers to exactly this symbol, and its own definition
// is turned off with its feature `exception-handler`.
#[unsafe(no_mangle)]
extern "C" fn ExceptionHandler(frame: &TrapFrame) -> ! {
    let (cause, pc, value): (u32, u32, u32);
    // Safety: reads three registers that every trap sets, and starts the rest of this handler at the
    // top of the main stack: it never returns, so that whoever ran there is never resumed, and
    // interrupts stay off from the trap on.
    unsafe {
        core::arch::asm!(
            "csrr {0}, mcause", "csrr {1}, mepc", "csrr {2}, mtval",
            out(reg) cause, out(reg) pc, out(reg) value,
            options(nomem, nostack, preserves_flags)
        );
    }
    let mut path = Path::new();
    // A leaf function has not put its return address into a frame of its own.
    let _ = path.push(frame.ra as u32);
    // The trap entry leaves s0 alone, so the chain leads through it to whoever was interrupted.
    call_path::capture(&mut path);
    let exception = Exception {
        cause: cause & 0x1F,
        pc,
        value,
        path,
    };
    critical_section::with(|cs| {
        if let Ok(mut last) = LAST.borrow(cs).try_borrow_mut() {
            *last = Some(exception);
        }
    });
    // Safety: see above.
    unsafe {
        core::arch::asm!(
            "mv sp, {top}", "mv s0, zero", "mv ra, zero", "j {report}",
            top = in(reg) &raw const _stack_start_cpu0,
            report = sym report,
            options(noreturn)
        )
    }
}

/// Runs at the top of the stack.
extern "C" fn report() -> ! {
    let Some(exception) = last() else {
        panic!("an exception struck within an exception");
    };
    let guard = (&raw const __stack_chk_guard) as u32;
    let Exception {
        cause, pc, value, ..
    } = exception;
    // esp-hal reports a stack that is used up in two ways: cause 14 by its bounds check, and a
    // watchpoint on the guard word.
    if cause == 14 || (cause == 3 && value == guard) {
        panic!("stack overflow: mcause {cause}, mepc {pc:#010x}, mtval {value:#010x}");
    }
    panic!(
        "exception: {}, mcause {cause}, mepc {pc:#010x}, mtval {value:#010x}",
        name(cause)
    );
}

fn name(cause: u32) -> &'static str {
    match cause {
        0 => "instruction address misaligned",
        1 => "instruction access fault",
        2 => "illegal instruction",
        3 => "breakpoint or watchpoint",
        4 => "load address misaligned",
        5 => "load access fault",
        6 => "store address misaligned",
        7 => "store access fault",
        8 | 11 => "environment call",
        _ => "unknown",
    }
}
