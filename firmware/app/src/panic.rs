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
        let mut message = Cut(heapless::String::<320>::new());
        let _ = write!(message, "{info}");
        defmt::error!("{=str}", message.0.as_str());
        print_path();
        telemetry::send(DeviceBody::Panic { message: message.0 });
        let until = Instant::now() + LAST_WORDS;
        while Instant::now() < until && !(telemetry::is_drained() && log::is_drained()) {
            watchdog::feed();
        }
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

/// Text that is cut at the end when it is longer than fits.
struct Cut(heapless::String<320>);

impl core::fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for character in text.chars() {
            self.0.push(character).map_err(|_| core::fmt::Error)?;
        }
        Ok(())
    }
}
