//! The OpenCores Ethernet MAC, as an embassy-net driver.
//!
//! No ESP32-C3 in silicon has it: Espressif's QEMU machine and our virtual rig map it to 0x600C_D000
//! with the interrupt source that the radio has on the chip. Registers and descriptors: "Ethernet IP
//! Core Specification" (OpenCores, I. Mohor), chapters 3 and 4.

#![allow(unsafe_code)]

use core::{
    sync::atomic::{Ordering, fence},
    task::Context,
};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::waitqueue::AtomicWaker;
use esp_hal::{
    efuse,
    interrupt::{self, InterruptHandler, Priority},
    peripherals::Interrupt,
};
use portable_atomic::{AtomicBool, Ordering::Relaxed};

use crate::{heap, status::FRAMES_DISCARDED};

const BASE: usize = 0x600C_D000;

// Offsets.
const MODER: usize = 0x00;
const INT_SOURCE: usize = 0x04;
const INT_MASK: usize = 0x08;
const TX_BD_NUM: usize = 0x20;
const MIICOMMAND: usize = 0x2C;
const MIIADDRESS: usize = 0x30;
const MIIRX_DATA: usize = 0x38;
const MIISTATUS: usize = 0x3C;
const MAC_ADDR0: usize = 0x40;
const MAC_ADDR1: usize = 0x44;
/// Buffer descriptors, 8 bytes each: status and length, then the buffer's address; TX first.
const DESCRIPTORS: usize = 0x400;

const MODER_RXEN: u32 = 1 << 0;
const MODER_TXEN: u32 = 1 << 1;
const MODER_RST: u32 = 1 << 11;
const MODER_CRCEN: u32 = 1 << 13;
const MODER_PAD: u32 = 1 << 15;
const INT_RXB: u32 = 1 << 2;
const INT_BUSY: u32 = 1 << 4;
const INT_ALL: u32 = 0x7F;
const MIICOMMAND_READ: u32 = 1 << 1;
const MIISTATUS_BUSY: u32 = 1 << 1;

/// TX: the MAC is to send it. RX: the MAC may fill it.
const BD_READY: u32 = 1 << 15;
const BD_INTERRUPT: u32 = 1 << 14;
const BD_WRAP: u32 = 1 << 13;
const BD_TX_PAD: u32 = 1 << 12;
const BD_TX_CRC: u32 = 1 << 11;
/// RX: overrun, invalid symbol, dribble nibble, too long, too short, CRC error, late collision.
const BD_RX_ERRORS: u32 = 0x7F;
const BD_LENGTH_SHIFT: u32 = 16;

/// The PHY's address, and its basic mode status register with the link bit (IEEE 802.3, 22.2.4.2).
const PHY: u32 = 1;
const BMSR: u32 = 1;
const BMSR_LINK: u32 = 1 << 2;
/// How often a busy MII is asked before the link is taken to be down.
const MII_POLLS_MAX: u32 = 10_000;

const TX_BUFFERS: usize = 4;
const RX_BUFFERS: usize = 8;
/// An Ethernet frame of 1,514 bytes, its FCS of 4, rounded up to a multiple of 4.
const BUFFER_BYTES: usize = 1_536;
const FCS_BYTES: usize = 4;
/// An Ethernet frame without its FCS.
const FRAME_BYTES_MAX: usize = 1_514;

static WAKER: AtomicWaker = AtomicWaker::new();
/// The link is taken to be down: a fault on command.
static DROPPED: AtomicBool = AtomicBool::new(false);

#[repr(C, align(4))]
struct Buffers {
    tx: [[u8; BUFFER_BYTES]; TX_BUFFERS],
    rx: [[u8; BUFFER_BYTES]; RX_BUFFERS],
}

impl Buffers {
    /// In the memory that the radio would have. Call once.
    fn take() -> &'static mut Self {
        let region = heap::take_spare_region();
        assert!(region.len() >= size_of::<Self>(), "room for the buffers");
        let place = region.as_mut_ptr().cast::<Self>();
        // Safety: the region is large enough, aligned to more than these buffers are, lives forever
        // and is nobody else's; bytes of zero are what the buffers are made of.
        unsafe {
            place.write_bytes(0, 1);
            &mut *place
        }
    }
}

fn read(offset: usize) -> u32 {
    // Safety: `offset` is one of the constants above, or of a descriptor: within the MAC's 4 KiB,
    // aligned. Reads change nothing that Rust knows of.
    unsafe { ((BASE + offset) as *const u32).read_volatile() }
}

fn write(offset: usize, value: u32) {
    // Safety: as for `read`; that the MAC writes only to memory that is its own is `OpenEth`'s
    // concern, which gives it the addresses of its `Buffers` and nothing else.
    unsafe { ((BASE + offset) as *mut u32).write_volatile(value) }
}

fn descriptor(index: usize) -> usize {
    DESCRIPTORS + index * 8
}

#[esp_hal::ram]
extern "C" fn on_interrupt() {
    let raised = read(INT_SOURCE);
    write(INT_SOURCE, raised);
    // A frame came while all buffers were full; more than one before this counts as one.
    if raised & INT_BUSY != 0 {
        FRAMES_DISCARDED.increment();
    }
    WAKER.wake();
}

/// Lets the driver look at the link again; the MAC raises no interrupt when it changes.
pub(super) fn look_at_link() {
    WAKER.wake();
}

/// Takes the link to be down, whatever the PHY says, or asks the PHY again.
#[cfg(feature = "test-hooks")]
pub(super) fn set_dropped(dropped: bool) {
    DROPPED.store(dropped, Relaxed);
    WAKER.wake();
}

/// The MAC and its buffers.
pub(super) struct OpenEth {
    buffers: &'static mut Buffers,
    /// The buffer that is sent, or filled, next.
    tx: usize,
    rx: usize,
    address: [u8; 6],
}

impl OpenEth {
    /// Resets and starts the MAC. Call once.
    pub(super) fn start() -> Self {
        write(MODER, MODER_RST);
        write(MODER, 0);
        let buffers = Buffers::take();
        write(TX_BD_NUM, TX_BUFFERS as u32);
        for (i, buffer) in buffers.tx.iter_mut().enumerate() {
            write(descriptor(i) + 4, buffer.as_mut_ptr() as u32);
            write(descriptor(i), 0);
        }
        for (i, buffer) in buffers.rx.iter_mut().enumerate() {
            write(descriptor(TX_BUFFERS + i) + 4, buffer.as_mut_ptr() as u32);
            write(descriptor(TX_BUFFERS + i), rx_ready(i));
        }
        let address = mac_address();
        let [a, b, c, d, e, f] = address;
        write(MAC_ADDR0, u32::from_be_bytes([c, d, e, f]));
        write(MAC_ADDR1, u32::from_be_bytes([0, 0, a, b]));
        interrupt::bind_handler(
            Interrupt::WIFI_MAC,
            InterruptHandler::new(on_interrupt, Priority::Priority1),
        );
        write(INT_SOURCE, INT_ALL);
        write(INT_MASK, INT_RXB | INT_BUSY);
        // Frames for this address and broadcasts: nothing here listens to multicasts.
        write(MODER, MODER_PAD | MODER_CRCEN | MODER_TXEN | MODER_RXEN);
        defmt::info!("Ethernet {=[u8; 6]:02x}", address);
        Self {
            buffers,
            tx: 0,
            rx: 0,
            address,
        }
    }

    /// Gives buffers with a damaged frame back until the next is a good one, or none.
    fn received(&mut self) -> Option<usize> {
        loop {
            let status = read(descriptor(TX_BUFFERS + self.rx));
            if status & BD_READY != 0 {
                return None;
            }
            // What the MAC wrote before it gave the buffer up is read after this.
            fence(Ordering::Acquire);
            let length = (status >> BD_LENGTH_SHIFT) as usize;
            if status & BD_RX_ERRORS == 0 && (FCS_BYTES..=BUFFER_BYTES).contains(&length) {
                return Some(length - FCS_BYTES);
            }
            FRAMES_DISCARDED.increment();
            give_back(&mut self.rx);
        }
    }

    fn can_send(&self) -> bool {
        read(descriptor(self.tx)) & BD_READY == 0
    }
}

/// The chip's own address, from its eFuses.
fn mac_address() -> [u8; 6] {
    let mut address = [0; 6];
    address.copy_from_slice(efuse::base_mac_address().as_bytes());
    address
}

/// Gives the buffer that was read back to the MAC.
fn give_back(rx: &mut usize) {
    write(descriptor(TX_BUFFERS + *rx), rx_ready(*rx));
    *rx = (*rx + 1) % RX_BUFFERS;
}

fn rx_ready(index: usize) -> u32 {
    BD_READY | BD_INTERRUPT | wrap(index, RX_BUFFERS)
}

fn wrap(index: usize, count: usize) -> u32 {
    if index + 1 == count { BD_WRAP } else { 0 }
}

fn link_is_up() -> bool {
    write(MIIADDRESS, BMSR << 8 | PHY);
    write(MIICOMMAND, MIICOMMAND_READ);
    let done = (0..MII_POLLS_MAX).any(|_| read(MIISTATUS) & MIISTATUS_BUSY == 0);
    write(MIICOMMAND, 0);
    done && read(MIIRX_DATA) & BMSR_LINK != 0
}

/// A frame that was received, and the number of its buffer.
///
/// A pair of tokens comes from one `&mut OpenEth`, and smoltcp consumes the one for sending while
/// it consumes the other: each holds its half.
pub(super) struct RxToken<'a> {
    buffer: &'a mut [u8],
    rx: &'a mut usize,
}

/// Room for a frame, and the number of its buffer.
pub(super) struct TxToken<'a> {
    buffer: &'a mut [u8; BUFFER_BYTES],
    tx: &'a mut usize,
}

impl Driver for OpenEth {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(RxToken<'_>, TxToken<'_>)> {
        WAKER.register(context.waker());
        let length = self.received()?;
        if !self.can_send() {
            // Sending takes 0.12 ms at most; without an interrupt for its end, ask again.
            WAKER.wake();
            return None;
        }
        let Buffers { tx, rx } = &mut *self.buffers;
        Some((
            RxToken {
                buffer: &mut rx[self.rx][..length],
                rx: &mut self.rx,
            },
            TxToken {
                buffer: &mut tx[self.tx],
                tx: &mut self.tx,
            },
        ))
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<TxToken<'_>> {
        WAKER.register(context.waker());
        if !self.can_send() {
            WAKER.wake();
            return None;
        }
        Some(TxToken {
            buffer: &mut self.buffers.tx[self.tx],
            tx: &mut self.tx,
        })
    }

    fn link_state(&mut self, context: &mut Context<'_>) -> LinkState {
        WAKER.register(context.waker());
        if link_is_up() && !DROPPED.load(Relaxed) {
            LinkState::Up
        } else {
            LinkState::Down
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        capabilities.max_burst_size = Some(TX_BUFFERS);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

impl embassy_net_driver::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        let result = f(self.buffer);
        give_back(self.rx);
        result
    }
}

impl embassy_net_driver::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let result = f(&mut self.buffer[..length]);
        // What was written is there before the MAC is told to send it.
        fence(Ordering::Release);
        write(
            descriptor(*self.tx),
            (length as u32) << BD_LENGTH_SHIFT
                | BD_READY
                | BD_TX_PAD
                | BD_TX_CRC
                | wrap(*self.tx, TX_BUFFERS),
        );
        *self.tx = (*self.tx + 1) % TX_BUFFERS;
        result
    }
}
