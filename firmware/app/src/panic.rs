//! A panic: its whole message to the host, a mark for the next boot, a reset.
//!
//! In the binary and not in the library, as the on-target tests bring a handler of their own.

use core::{fmt::Write as _, panic::PanicInfo};

use embassy_time::{Duration, Instant};
use firmware_app::{boot_memory, call_path, exception, log, telemetry, watchdog};
use firmware_wire::DeviceBody;
use portable_atomic::{AtomicBool, Ordering::Relaxed};

/// How long the host has to read the last words.
const LAST_WORDS: Duration = Duration::from_millis(200);

static PANICKED: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // Never left: nothing else runs from here on.
    critical_section::with(|_| {
        if PANICKED.swap(true, Relaxed) {
            // A panic within this handler: leave what can be left.
            boot_memory::mark_panic();
            esp_hal::system::software_reset()
        }
        boot_memory::mark_panic();
        log::break_lock();
        let mut words = Words {
            part: heapless::String::new(),
            said: 0,
            until: Instant::now() + LAST_WORDS,
        };
        let _ = write!(words, "{info}");
        words.say();
        print_path();
        words.wait();
        esp_hal::system::software_reset()
    })
}

/// Who called, as return addresses, innermost first: the host knows their names.
fn print_path() {
    let mut path = exception::Path::new();
    if let Some(exception) = exception::last() {
        defmt::error!(
            "mcause {=u32}, mepc {=u32:#010x}, mtval {=u32:#010x}",
            exception.cause,
            exception.pc,
            exception.value
        );
        path = exception.path;
    } else {
        call_path::capture(&mut path);
    }
    for address in &path {
        defmt::error!("  at {=u32:#010x}", address);
    }
}

/// A message of any length, said in parts: each a line of the log and a frame of telemetry.
struct Words {
    part: heapless::String<320>,
    /// Parts said.
    said: u32,
    until: Instant,
}

/// So many parts fit the channels of telemetry and log, of 4 KiB each, with what was in them before.
const PARTS_AT_ONCE: u32 = 8;

impl Words {
    fn say(&mut self) {
        defmt::error!("{=str}", self.part.as_str());
        let message = core::mem::take(&mut self.part);
        telemetry::send(DeviceBody::Panic { message });
        self.said += 1;
        if self.said.is_multiple_of(PARTS_AT_ONCE) {
            self.wait();
        }
    }

    /// Gives the host time to read what was said.
    fn wait(&self) {
        while Instant::now() < self.until && !(telemetry::is_drained() && log::is_drained()) {
            watchdog::feed();
        }
    }
}

impl core::fmt::Write for Words {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for character in text.chars() {
            if self.part.push(character).is_err() {
                self.say();
                let _ = self.part.push(character);
            }
        }
        Ok(())
    }
}
