//! The chip's pins and serial lines as the outside sees them: where simulated sensors and relays are connected.
//!
//! Levels for what switches and is switched; whole characters for serial lines, because a 1-Wire bus behind a UART
//! needs to know what is being sent while it is being sent.

use crate::chip::Chip;
use crate::gpio::PinChange;
use crate::map::Block;
use crate::time::Ticks;
use crate::uart::{Sent, Uart};

/// A UART of the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UartPort {
    /// The console.
    Uart0,
    /// The other one.
    Uart1,
}

impl UartPort {
    /// Number of its TXD and RXD signals in the GPIO matrix.
    const fn signal(self) -> u32 {
        match self {
            UartPort::Uart0 => 6,
            UartPort::Uart1 => 9,
        }
    }

    const fn block(self) -> Block {
        match self {
            UartPort::Uart0 => Block::Uart0,
            UartPort::Uart1 => Block::Uart1,
        }
    }
}

impl Chip {
    /// The outside drives `pin` high (`true`) or low, or lets go of it. False when there is no such pin.
    pub fn drive_pin(&mut self, pin: u8, level: Option<bool>) -> bool {
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |peripherals, context| {
            peripherals.gpio.drive(context.now, pin, level)
        })
    }

    /// Level of `pin`, true for high; `None` when there is no such pin.
    pub fn pin_level(&self, pin: u8) -> Option<bool> {
        self.soc.peripherals.gpio.level(pin)
    }

    /// Changes of pin levels since the last call, oldest first. They are kept from the first call on.
    pub fn pin_changes(&mut self) -> Vec<PinChange> {
        let gpio = &mut self.soc.peripherals.gpio;
        gpio.watch();
        gpio.take_changes().collect()
    }

    /// Pins that `port` sends on and receives from, as the GPIO matrix has them now.
    pub fn uart_pins(&self, port: UartPort) -> (Option<u8>, Option<u8>) {
        let gpio = &self.soc.peripherals.gpio;
        (
            gpio.output_pin(port.signal()),
            gpio.input_pin(port.signal()),
        )
    }

    /// Characters that `port` began to send since the last call, oldest first. They are kept from the first call on.
    pub fn uart_sent(&mut self, port: UartPort) -> Vec<Sent> {
        let uart = self.uart(port);
        uart.attach();
        std::iter::from_fn(|| uart.take_sent()).collect()
    }

    /// A character of eight data bits and one stop bit comes in on `port` from `start` on, each bit lasting
    /// `bit_sixteenths` of 1/16 tick: that of [`Sent`] to answer at the sender's rate.
    pub fn uart_receive(&mut self, port: UartPort, start: Ticks, byte: u8, bit_sixteenths: u64) {
        let now = self.now();
        self.soc.touch(port.block(), now, |peripherals, _| {
            let uart = match port {
                UartPort::Uart0 => &mut peripherals.uart0,
                UartPort::Uart1 => &mut peripherals.uart1,
            };
            uart.push_received(start, byte, bit_sixteenths);
        });
    }

    fn uart(&mut self, port: UartPort) -> &mut Uart {
        match port {
            UartPort::Uart0 => &mut self.soc.peripherals.uart0,
            UartPort::Uart1 => &mut self.soc.peripherals.uart1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::testing::{ImageBuilder, flash_with};
    use crate::chip::ChipConfig;
    use crate::flash::Flash;
    use crate::uart::Symbol;

    /// Runs `program` (instructions at 0x4038_0000) after boot until it waits.
    fn run(program: &[u32]) -> Chip {
        let code: Vec<u8> = program.iter().flat_map(|word| word.to_le_bytes()).collect();
        let image = flash_with(&ImageBuilder::new(0x4038_0000).segment(0x4038_0000, &code));
        let mut flash = Flash::new(image.len() as u32).expect("a size that is made");
        flash.preset(0, &image);
        let mut chip = Chip::new(ChipConfig {
            seed: 1,
            mac: [2, 0, 0, 0, 0, 1],
            revision: (0, 4),
            flash,
        });
        assert!(chip.pin_changes().is_empty());
        assert!(chip.uart_sent(UartPort::Uart1).is_empty());
        let limit = Ticks::from_millis(100);
        while chip.run(limit, 1_000_000) == crate::Pause::Reset {}
        chip
    }

    const WFI: u32 = 0x1050_0073;

    #[test]
    fn pins_are_seen_and_driven() {
        let mut chip = run(&[
            0x6000_4537, // lui a0, 0x60004
            0x0040_0593, // li a1, 4
            0x00B5_2423, // sw a1, 8(a0): OUT_W1TS
            0x02B5_2223, // sw a1, 0x24(a0): ENABLE_W1TS
            WFI,
        ]);
        // All pads rest high by their pull-ups, so driving one high changes nothing.
        assert_eq!(chip.pin_changes(), []);
        assert_eq!(chip.pin_level(2), Some(true));
        assert!(chip.drive_pin(2, Some(false)));
        let changes = chip.pin_changes();
        assert_eq!((changes[0].pin, changes[0].level), (2, false));
        assert!(!chip.drive_pin(30, None));
    }

    #[test]
    fn serial_characters_go_out_and_come_in() {
        let mut chip = run(&[
            0x6001_0537, // lui a0, 0x60010
            0x0410_0593, // li a1, 0x41
            0x00B5_2023, // sw a1, 0(a0): FIFO
            WFI,
        ]);
        let sent = chip.uart_sent(UartPort::Uart1);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].symbol, Symbol::Byte(0x41));
        assert_eq!(chip.uart_pins(UartPort::Uart1), (None, None));
        let start = chip.now();
        chip.uart_receive(UartPort::Uart1, start, 0x5A, sent[0].bit_sixteenths);
        assert_eq!(chip.next_event().map(|at| at > start), Some(true));
        chip.run(start + Ticks::from_millis(100), 1_000_000);
        assert_eq!(
            chip.bus_read(0x6001_0000, virtual_hart::Width::Word),
            Ok(0x5A)
        );
    }
}
