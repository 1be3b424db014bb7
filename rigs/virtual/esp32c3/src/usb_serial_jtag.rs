//! USB_DEVICE: the USB-Serial-JTAG block, present enough that firmware printing to it goes on.
//!
//! ESP32-C3 Technical Reference Manual, chapter "USB Serial/JTAG Controller". Bytes written to `EP1` collect in a FIFO
//! of 64 and become console output when `WR_DONE` is written or the FIFO is full. The host side takes them at once, so
//! there is always room.
//!
//! Not modelled: the USB bus itself (no start-of-frame, no reset, no suspend), input to the device, the JTAG bridge (the
//! debugger reaches the chip on another way), the pad tests.

use crate::event::ChipEvent;
use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

const EP1: u32 = 0x00;
const EP1_CONF: u32 = 0x04;
const INT_RAW: u32 = 0x08;
const INT_ST: u32 = 0x0C;
const INT_ENA: u32 = 0x10;
const INT_CLR: u32 = 0x14;

const WR_DONE: u32 = 1 << 0;
const SERIAL_IN_EP_DATA_FREE: u32 = 1 << 1;
const INT_SERIAL_IN_EMPTY: u32 = 1 << 3;
const INT_ALL: u32 = 0xFFF;

/// Interrupt source of the block.
const SOURCE: u32 = 26;
const FIFO_BYTES: usize = 64;

/// The block.
pub(crate) struct UsbSerialJtag {
    registers: Registers,
    fifo: Vec<u8>,
    int_raw: u32,
    int_ena: u32,
}

impl Default for UsbSerialJtag {
    fn default() -> Self {
        UsbSerialJtag {
            registers: Registers::new(
                "usb_device",
                0x1000,
                &[0x018..0x04C, 0x080..0x084],
                &[
                    (0x018, 0x4200),
                    (0x020, 0x44),
                    (0x028, 1),
                    (0x02C, 1),
                    (0x030, 1),
                    (0x034, 1),
                    (0x048, 2),
                    (0x080, 0x0200_7300),
                ],
            ),
            fifo: Vec::new(),
            int_raw: INT_SERIAL_IN_EMPTY,
            int_ena: 0,
        }
    }
}

impl UsbSerialJtag {
    fn flush(&mut self, context: &mut Context<'_>) {
        if !self.fifo.is_empty() {
            context.requests.events.push(ChipEvent::Console {
                at: context.now,
                port: "usb_serial_jtag",
                bytes: std::mem::take(&mut self.fifo),
            });
        }
        self.int_raw |= INT_SERIAL_IN_EMPTY;
    }
}

impl Peripheral for UsbSerialJtag {
    fn name(&self) -> &'static str {
        "usb_device"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            // Nothing ever comes in.
            EP1 => 0,
            EP1_CONF => SERIAL_IN_EP_DATA_FREE,
            INT_RAW => self.int_raw,
            INT_ST => self.int_raw & self.int_ena,
            INT_ENA => self.int_ena,
            INT_CLR => 0,
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        match offset {
            EP1 => {
                self.fifo.push(value as u8);
                if self.fifo.len() >= FIFO_BYTES {
                    self.flush(context);
                }
            }
            EP1_CONF if value & WR_DONE != 0 => self.flush(context),
            EP1_CONF | INT_RAW | INT_ST => {}
            INT_ENA => self.int_ena = value & INT_ALL,
            INT_CLR => self.int_raw &= !value,
            _ => self.registers.write(offset, value, context),
        }
    }

    fn interrupts(&self) -> u64 {
        u64::from(self.int_raw & self.int_ena != 0) << SOURCE
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
        if kind >= ResetKind::Core {
            self.fifo.clear();
            self.int_raw = INT_SERIAL_IN_EMPTY;
            self.int_ena = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn printed(bench: &mut Bench<UsbSerialJtag>) -> Vec<String> {
        std::mem::take(&mut bench.requests.events)
            .into_iter()
            .map(|event| match event {
                ChipEvent::Console { port, bytes, .. } => {
                    format!("{port}: {}", String::from_utf8_lossy(&bytes))
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn bytes_become_console_output() {
        let mut bench = Bench::new(UsbSerialJtag::default());
        for byte in *b"hi" {
            assert_ne!(bench.read(EP1_CONF) & SERIAL_IN_EP_DATA_FREE, 0);
            bench.write(EP1, u32::from(byte));
        }
        assert_eq!(printed(&mut bench), [""; 0]);
        bench.write(EP1_CONF, WR_DONE);
        assert_eq!(printed(&mut bench), ["usb_serial_jtag: hi"]);
        (0..FIFO_BYTES).for_each(|_| bench.write(EP1, 0x2E));
        assert_eq!(
            printed(&mut bench),
            [format!("usb_serial_jtag: {}", ".".repeat(64))]
        );
    }

    #[test]
    fn room_is_an_interrupt() {
        let mut bench = Bench::new(UsbSerialJtag::default());
        assert_eq!(bench.peripheral.interrupts(), 0);
        bench.write(INT_ENA, INT_SERIAL_IN_EMPTY);
        assert_eq!(bench.peripheral.interrupts(), 1 << 26);
        bench.write(INT_CLR, INT_SERIAL_IN_EMPTY);
        assert_eq!(bench.read(INT_ST), 0);
        bench.write(EP1, 0x41);
        bench.write(EP1_CONF, WR_DONE);
        assert_eq!(bench.read(INT_ST), INT_SERIAL_IN_EMPTY);
    }
}
