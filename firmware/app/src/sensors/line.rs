//! The 1-Wire bus's serial line: UART 1, both of its signals on one open-drain pin.
//!
//! What is sent is heard back as the bus made it, so an exchange is done when as many characters
//! have come back as were sent. They fit the FIFO whole: one interrupt an exchange, however late.

use embassy_time::{Duration, Timer, with_timeout};
use esp_hal::{
    Async,
    gpio::{DriveMode, Flex, InputConfig, OutputConfig, Pull},
    peripherals::UART1,
    uart::{Config, ConfigError, RxConfig, RxError, Uart},
};
use firmware_onewire::{Line, LineError, RESET_BAUD, SLOT_BAUD};

use crate::board::OneWirePin;

/// Bits of a character, start and stop bit among them.
const CHARACTER_BITS: u64 = 10;
/// What a character may still last when it was received: its stop bit. At the slower rate only, where
/// that is a time in which others can work; the driver waits for the transmitter's end by asking it.
const STOP_BIT: Duration = Duration::from_micros(1_000_000_u64.div_ceil(RESET_BAUD as u64));
/// How much longer than its characters an exchange may take: other tasks run, interrupts come.
const LATE_MAX: Duration = Duration::from_millis(100);

/// The line.
#[allow(missing_debug_implementations)]
pub struct OneWireLine {
    uart: Uart<'static, Async>,
    baud: u32,
}

impl OneWireLine {
    /// Takes UART 1 and the bus's pin.
    ///
    /// # Errors
    /// The UART can't be set to 9,600 or 115,200 baud, which is a mistake in this firmware.
    pub fn new(uart: UART1<'static>, pin: OneWirePin<'static>) -> Result<Self, ConfigError> {
        let mut pin = Flex::new(pin);
        // Open drain: the sensors pull the line low as well. The pull-up inside the chip (45 kΩ) holds
        // a short bus alone; a real one has 4.7 kΩ outside (DS18B20 data sheet, figure 10).
        pin.apply_output_config(
            &OutputConfig::default()
                .with_drive_mode(DriveMode::OpenDrain)
                .with_pull(Pull::Up),
        );
        pin.apply_input_config(&InputConfig::default().with_pull(Pull::Up));
        pin.set_high();
        pin.set_output_enable(true);
        let (rx, tx) = pin.split();
        let uart = Uart::new(uart, config(SLOT_BAUD))?
            .with_rx(rx)
            .with_tx(tx)
            .into_async();
        Ok(Self {
            uart,
            baud: SLOT_BAUD,
        })
    }

    /// Forgets what was received, and errors of it.
    fn forget(&mut self) {
        let mut dropped = [0; 32];
        // An error leaves the FIFO as it is, and is gone once it was told.
        while !matches!(self.uart.read_buffered(&mut dropped), Ok(0)) {}
    }
}

fn config(baud: u32) -> Config {
    Config::default()
        .with_baudrate(baud)
        .with_rx(RxConfig::default().with_fifo_full_threshold(64))
}

impl Line for OneWireLine {
    async fn set_baud(&mut self, baud: u32) -> Result<(), LineError> {
        if baud == self.baud {
            return Ok(());
        }
        debug_assert!(baud == RESET_BAUD || baud == SLOT_BAUD);
        if self.baud == RESET_BAUD {
            Timer::after(STOP_BIT).await;
        }
        self.uart
            .flush_async()
            .await
            .map_err(|_| LineError::Driver)?;
        self.uart
            .apply_config(&config(baud))
            .map_err(|_| LineError::Driver)?;
        self.baud = baud;
        Ok(())
    }

    async fn exchange(&mut self, characters: &mut [u8]) -> Result<(), LineError> {
        self.forget();
        let mut sent = 0;
        while sent < characters.len() {
            sent += self
                .uart
                .write_async(&characters[sent..])
                .await
                .map_err(|_| LineError::Driver)?;
        }
        let wire_us = CHARACTER_BITS * 1_000_000 * characters.len() as u64 / u64::from(self.baud);
        let limit = Duration::from_micros(wire_us) + LATE_MAX;
        match with_timeout(limit, self.uart.read_exact_async(characters)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // The rest of what was sent is still on its way, and must not be taken for the next
                // answer.
                Timer::after(Duration::from_micros(wire_us)).await;
                self.forget();
                Err(match error {
                    RxError::FifoOverflowed => LineError::Overrun,
                    RxError::FrameFormatViolated
                    | RxError::GlitchOccurred
                    | RxError::ParityMismatch => LineError::Framing,
                    _ => LineError::Driver,
                })
            }
            Err(_) => Err(LineError::Silent),
        }
    }
}
