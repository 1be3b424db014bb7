//! OPEN_ETH: the OpenCores Ethernet MAC at 0x600C_D000, with a PHY at address 1.
//!
//! OpenCores "Ethernet IP Core Specification" rev. 1.19, chapters 3 (registers) and 4 (operation). The real C3 has no
//! such block: it is where Espressif's own QEMU machine puts it, so that firmware built for one simulator runs on the
//! other. The interrupt is source 0 of the matrix. The PHY answers as a DP83848C.
//!
//! Frames take their time on a 100 Mbit/s wire in both directions. A frame that comes when the driver has no empty
//! descriptor waits; beyond [`RECEIVE_QUEUE_MAX`] frames it is dropped, counted, and reported as BUSY.
//!
//! Not modelled: collisions, half duplex and flow control (registers keep their values), the time an MII command takes,
//! the discard of a frame at the very moment no descriptor is free.

use std::collections::VecDeque;

use crate::memory::Sram;
use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::time::Ticks;

const MODER: u32 = 0x00;
const INT_SOURCE: u32 = 0x04;
const INT_MASK: u32 = 0x08;
const IPGT: u32 = 0x0C;
const IPGR1: u32 = 0x10;
const IPGR2: u32 = 0x14;
const PACKETLEN: u32 = 0x18;
const COLLCONF: u32 = 0x1C;
const TX_BD_NUM: u32 = 0x20;
const CTRLMODER: u32 = 0x24;
const MIIMODER: u32 = 0x28;
const MIICOMMAND: u32 = 0x2C;
const MIIADDRESS: u32 = 0x30;
const MIITX_DATA: u32 = 0x34;
const MIIRX_DATA: u32 = 0x38;
const MIISTATUS: u32 = 0x3C;
const MAC_ADDR0: u32 = 0x40;
const MAC_ADDR1: u32 = 0x44;
const HASH0: u32 = 0x48;
const HASH1: u32 = 0x4C;
const TXCTRL: u32 = 0x50;
/// Registers that only keep their value are held up to here.
const REGISTERS_END: u32 = 0x54;
const DESCRIPTORS: u32 = 0x400;
const DESCRIPTORS_END: u32 = 0x800;
const DESCRIPTORS_MAX: u32 = 128;

const MODER_RXEN: u32 = 1 << 0;
const MODER_TXEN: u32 = 1 << 1;
/// Reject broadcasts.
const MODER_BRO: u32 = 1 << 3;
/// The hash table is for individual addresses too.
const MODER_IAM: u32 = 1 << 4;
/// Promiscuous.
const MODER_PRO: u32 = 1 << 5;
const MODER_LOOPBACK: u32 = 1 << 7;
const MODER_RST: u32 = 1 << 11;
/// Frames longer than PACKETLEN are welcome.
const MODER_HUGEN: u32 = 1 << 14;
/// Short frames are padded.
const MODER_PAD: u32 = 1 << 15;

const INT_TXB: u32 = 1 << 0;
const INT_TXE: u32 = 1 << 1;
const INT_RXB: u32 = 1 << 2;
const INT_RXE: u32 = 1 << 3;
const INT_BUSY: u32 = 1 << 4;
const INT_ALL: u32 = 0x7F;

/// TX: ready to be sent; RX: empty. In both, the MAC's.
const BD_OWNED: u32 = 1 << 15;
const BD_IRQ: u32 = 1 << 14;
const BD_WRAP: u32 = 1 << 13;
const TX_PAD: u32 = 1 << 12;
const TX_STATUS: u32 = 0x1FF;
const TX_UNDERRUN: u32 = 1 << 8;
const TX_CARRIER_LOST: u32 = 1 << 0;
/// Received only because of promiscuous mode.
const RX_MISS: u32 = 1 << 7;
const RX_OVERRUN: u32 = 1 << 6;
const RX_TOO_LONG: u32 = 1 << 3;
const RX_STATUS: u32 = 0xFF;

const MII_READ: u32 = 1 << 1;
const MII_WRITE: u32 = 1 << 2;
const PHY_ADDRESS: u32 = 1;
const PHY_BMCR: u32 = 0;
const PHY_BMSR: u32 = 1;
const BMCR_DEFAULT: u16 = 0x3100;
const BMCR_RESET: u16 = 1 << 15;
const BMCR_RESTART: u16 = 1 << 9;
/// Bits that say there is a link: link status, negotiation complete.
const BMSR_LINK: u16 = 1 << 5 | 1 << 2;
const BMSR_ABILITIES: u16 = 0x7849;

const FCS_BYTES: usize = 4;
/// Without the FCS.
const FRAME_BYTES_MIN: usize = 60;
/// Preamble, start delimiter and inter-frame gap.
const WIRE_OVERHEAD_BYTES: u64 = 8 + 12;
/// 80 ns a byte at 480 ticks a microsecond, in tenths.
const TICKS_PER_BYTE_TENTHS: u64 = 384;

/// Frames that may wait for a descriptor.
const RECEIVE_QUEUE_MAX: usize = 64;

/// The MAC, its PHY, and the wire at both.
pub(crate) struct OpenEth {
    registers: [u32; (REGISTERS_END / 4) as usize],
    descriptors: [u32; (DESCRIPTORS_MAX * 2) as usize],
    tx_index: u32,
    rx_index: u32,
    /// The frame on the wire, and when it is over.
    sending: Option<(Ticks, Vec<u8>, u32)>,
    /// Frames on their way in: when the last bit is there.
    waiting: VecDeque<(Ticks, Vec<u8>)>,
    /// When the incoming wire is free again.
    line_free: Ticks,
    /// Frames that left, oldest first.
    sent: VecDeque<Vec<u8>>,
    bmcr: u16,
    /// Outside state: a reset of the chip does not plug a cable.
    link: bool,
    /// BMSR latches a lost link until it is read.
    link_was_lost: bool,
    dropped: u64,
}

impl Default for OpenEth {
    fn default() -> Self {
        let mut mac = OpenEth {
            registers: [0; (REGISTERS_END / 4) as usize],
            descriptors: [0; (DESCRIPTORS_MAX * 2) as usize],
            tx_index: 0,
            rx_index: 0,
            sending: None,
            waiting: VecDeque::new(),
            line_free: Ticks::ZERO,
            sent: VecDeque::new(),
            bmcr: BMCR_DEFAULT,
            link: true,
            link_was_lost: false,
            dropped: 0,
        };
        mac.reset_registers();
        mac
    }
}

fn wire_time(bytes: usize) -> Ticks {
    let bytes = bytes.max(FRAME_BYTES_MIN) as u64 + FCS_BYTES as u64 + WIRE_OVERHEAD_BYTES;
    Ticks(bytes * TICKS_PER_BYTE_TENTHS / 10)
}

/// CRC-32 of Ethernet (IEEE 802.3), as sent: low byte first.
fn frame_check(bytes: &[u8]) -> u32 {
    crate::rom::crc32_le(0, bytes)
}

/// Index into the 64 bits of the hash registers: the top six bits of the CRC register, which shifts left.
fn hash_index(address: &[u8]) -> u32 {
    (!frame_check(address)).reverse_bits() >> 26
}

impl OpenEth {
    /// The oldest frame that left and was not taken yet, without FCS.
    pub(crate) fn transmitted(&mut self) -> Option<Vec<u8>> {
        self.sent.pop_front()
    }

    /// A frame (without FCS) begins to arrive at `now`, or when the wire is free.
    pub(crate) fn receive(&mut self, now: Ticks, mut frame: Vec<u8>) {
        if !self.link {
            self.dropped += 1;
            return;
        }
        if !self.has_room() {
            return;
        }
        if frame.len() < FRAME_BYTES_MIN {
            frame.resize(FRAME_BYTES_MIN, 0);
        }
        let end = now.max(self.line_free) + wire_time(frame.len());
        self.line_free = end;
        self.waiting.push_back((end, frame));
    }

    /// Whether one more frame may wait; if not, it is counted and reported as lost.
    fn has_room(&mut self) -> bool {
        let room = self.waiting.len() < RECEIVE_QUEUE_MAX;
        if !room {
            self.dropped += 1;
            self.raise(INT_BUSY);
        }
        room
    }

    /// Plugs or unplugs the cable.
    pub(crate) fn set_link(&mut self, up: bool) {
        if self.link && !up {
            self.link_was_lost = true;
            self.dropped += self.waiting.len() as u64;
            self.waiting.clear();
        }
        self.link = up;
    }

    /// Frames lost on their way in: no link, or no descriptor for too long.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn register(&self, offset: u32) -> u32 {
        self.registers[offset as usize / 4]
    }

    fn set_register(&mut self, offset: u32, value: u32) {
        self.registers[offset as usize / 4] = value;
    }

    fn raise(&mut self, interrupt: u32) {
        self.registers[INT_SOURCE as usize / 4] |= interrupt;
    }

    fn reset_registers(&mut self) {
        self.registers.fill(0);
        for (offset, value) in [
            (MODER, 0xA000),
            (IPGT, 0x12),
            (IPGR1, 0x0C),
            (IPGR2, 0x12),
            (PACKETLEN, 0x0040_0600),
            (COLLCONF, 0x000F_003F),
            (TX_BD_NUM, 0x40),
            (MIIMODER, 0x64),
        ] {
            self.set_register(offset, value);
        }
        self.descriptors.fill(0);
        self.tx_index = 0;
        self.rx_index = self.tx_descriptors();
        self.sending = None;
        self.waiting.clear();
    }

    /// TX descriptors come first; the rest is for RX.
    fn tx_descriptors(&self) -> u32 {
        self.register(TX_BD_NUM).min(DESCRIPTORS_MAX)
    }

    /// Flags and pointer of descriptor `index`.
    fn descriptor(&self, index: u32) -> (u32, u32) {
        let at = (index % DESCRIPTORS_MAX) as usize * 2;
        (self.descriptors[at], self.descriptors[at + 1])
    }

    fn set_flags(&mut self, index: u32, flags: u32) {
        self.descriptors[(index % DESCRIPTORS_MAX) as usize * 2] = flags;
    }

    /// Puts the next ready frame on the wire.
    fn start_sending(&mut self, now: Ticks, sram: &Sram) {
        if self.sending.is_some()
            || self.register(MODER) & MODER_TXEN == 0
            || self.tx_descriptors() == 0
        {
            return;
        }
        let (flags, pointer) = self.descriptor(self.tx_index);
        if flags & BD_OWNED == 0 {
            return;
        }
        let mut status = 0;
        let mut frame = match sram.slice(pointer, flags >> 16) {
            Some(bytes) => bytes.to_vec(),
            None => {
                status = TX_UNDERRUN;
                Vec::new()
            }
        };
        let pads = flags & TX_PAD != 0 || self.register(MODER) & MODER_PAD != 0;
        if pads && frame.len() < FRAME_BYTES_MIN {
            frame.resize(FRAME_BYTES_MIN, 0);
        }
        if !self.link {
            status |= TX_CARRIER_LOST;
        }
        self.sending = Some((now + wire_time(frame.len()), frame, status));
    }

    /// The frame on the wire is over.
    fn finish_sending(&mut self, now: Ticks) {
        let Some((end, frame, status)) = self.sending.take() else {
            return;
        };
        let index = self.tx_index;
        let (flags, _) = self.descriptor(index);
        self.set_flags(index, flags & !(BD_OWNED | TX_STATUS) | status);
        if flags & BD_IRQ != 0 {
            self.raise(if status == 0 { INT_TXB } else { INT_TXE });
        }
        let last = flags & BD_WRAP != 0 || index + 1 >= self.tx_descriptors();
        self.tx_index = if last { 0 } else { index + 1 };
        if status != 0 {
            return;
        }
        if self.register(MODER) & MODER_LOOPBACK != 0 {
            // A fragment (shorter than a wire's least) is nobody's frame.
            if frame.len() >= FRAME_BYTES_MIN && self.has_room() {
                self.waiting.push_back((now.max(end), frame));
            }
        } else {
            self.sent.push_back(frame);
        }
    }

    /// Whether the MAC takes a frame for `address`, and whether only promiscuous mode makes it.
    fn accepts(&self, address: &[u8]) -> Option<u32> {
        let moder = self.register(MODER);
        let promiscuous = (moder & MODER_PRO != 0).then_some(RX_MISS);
        let hashed = || {
            let table = u64::from(self.register(HASH0)) | u64::from(self.register(HASH1)) << 32;
            table >> hash_index(address) & 1 != 0
        };
        let [low, high] = [self.register(MAC_ADDR0), self.register(MAC_ADDR1)];
        let own = [&high.to_be_bytes()[2..], &low.to_be_bytes()].concat();
        let wanted = if address == [0xFF; 6] {
            moder & MODER_BRO == 0
        } else if address[0] & 1 != 0 {
            hashed()
        } else {
            own == address || (moder & MODER_IAM != 0 && hashed())
        };
        if wanted { Some(0) } else { promiscuous }
    }

    /// Delivers what has arrived, as far as there are descriptors.
    fn deliver(&mut self, now: Ticks, sram: &mut Sram) {
        while self.waiting.front().is_some_and(|(end, _)| *end <= now) {
            if self.register(MODER) & MODER_RXEN == 0 {
                self.waiting.pop_front();
                continue;
            }
            let (flags, pointer) = self.descriptor(self.rx_index);
            if !self.can_deliver() {
                return;
            }
            let Some((_, mut frame)) = self.waiting.pop_front() else {
                return;
            };
            let Some(miss) = self.accepts(&frame[..6]) else {
                continue;
            };
            frame.extend(frame_check(&frame).to_le_bytes());
            let mut status = miss;
            let longest = (self.register(PACKETLEN) & 0xFFFF) as usize;
            if frame.len() > longest && self.register(MODER) & MODER_HUGEN == 0 {
                status |= RX_TOO_LONG;
                frame.truncate(longest);
            }
            match sram.slice_mut(pointer, frame.len() as u32) {
                Some(buffer) => buffer.copy_from_slice(&frame),
                None => status |= RX_OVERRUN,
            }
            let kept = flags & 0xFFFF & !(BD_OWNED | RX_STATUS);
            self.set_flags(self.rx_index, (frame.len() as u32) << 16 | kept | status);
            if flags & BD_IRQ != 0 {
                let bad = status & (RX_OVERRUN | RX_TOO_LONG) != 0;
                self.raise(if bad { INT_RXE } else { INT_RXB });
            }
            let last = flags & BD_WRAP != 0 || self.rx_index + 1 >= DESCRIPTORS_MAX;
            self.rx_index = if last {
                self.tx_descriptors()
            } else {
                self.rx_index + 1
            };
        }
    }

    fn can_deliver(&self) -> bool {
        self.tx_descriptors() < DESCRIPTORS_MAX && self.descriptor(self.rx_index).0 & BD_OWNED != 0
    }

    fn mii_command(&mut self, command: u32) {
        let address = self.register(MIIADDRESS);
        let (phy, register) = (address & 0x1F, address >> 8 & 0x1F);
        if command & MII_READ != 0 {
            let value = if phy == PHY_ADDRESS {
                self.phy_read(register)
            } else {
                u16::MAX
            };
            self.set_register(MIIRX_DATA, u32::from(value));
        }
        if command & MII_WRITE != 0 && phy == PHY_ADDRESS && register == PHY_BMCR {
            let value = self.register(MIITX_DATA) as u16;
            self.bmcr = if value & BMCR_RESET != 0 {
                BMCR_DEFAULT
            } else {
                value & !BMCR_RESTART
            };
        }
    }

    fn phy_read(&mut self, register: u32) -> u16 {
        match register {
            PHY_BMCR => self.bmcr,
            PHY_BMSR => {
                let up = self.link && !std::mem::take(&mut self.link_was_lost);
                BMSR_ABILITIES | if up { BMSR_LINK } else { 0 }
            }
            2 => 0x2000,
            3 => 0x5C90,
            // What we and the other side offer.
            4 => 0x01E1,
            5 if self.link => 0x45E1,
            // PHYSTS: link, full duplex, negotiated.
            16 if self.link => 0x0015,
            _ => 0,
        }
    }
}

impl Peripheral for OpenEth {
    fn name(&self) -> &'static str {
        "open_eth"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            MIICOMMAND | MIISTATUS => 0,
            0..REGISTERS_END => self.register(offset),
            DESCRIPTORS..DESCRIPTORS_END => self.descriptors[((offset - DESCRIPTORS) / 4) as usize],
            _ => {
                context.unmodelled.read("open_eth", offset, context.pc);
                0
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        match offset {
            MODER => {
                let before = self.register(MODER);
                if value & MODER_RST != 0 {
                    self.reset_registers();
                }
                self.set_register(MODER, value);
                let begun = value & !before;
                if begun & MODER_RXEN != 0 {
                    self.rx_index = self.tx_descriptors();
                }
                if begun & MODER_TXEN != 0 {
                    self.tx_index = 0;
                }
            }
            INT_SOURCE => {
                let raised = self.register(INT_SOURCE);
                self.set_register(INT_SOURCE, raised & !value);
                return;
            }
            INT_MASK => self.set_register(INT_MASK, value & INT_ALL),
            TX_BD_NUM => {
                // The manual: values above 0x80 are ignored.
                if value <= DESCRIPTORS_MAX {
                    self.set_register(TX_BD_NUM, value);
                }
                return;
            }
            MIICOMMAND => return self.mii_command(value),
            MIIRX_DATA | MIISTATUS => return,
            IPGT..=COLLCONF
            | CTRLMODER..=MIIMODER
            | MIIADDRESS
            | MIITX_DATA
            | MAC_ADDR0..=TXCTRL => {
                self.set_register(offset, value);
                return;
            }
            DESCRIPTORS..DESCRIPTORS_END => {
                self.descriptors[((offset - DESCRIPTORS) / 4) as usize] = value;
            }
            _ => return context.unmodelled.write("open_eth", offset, context.pc),
        }
        self.start_sending(context.now, context.sram);
        self.deliver(context.now, context.sram);
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        while let Some((end, _, _)) = &self.sending
            && *end <= context.now
        {
            let end = *end;
            self.finish_sending(context.now);
            self.start_sending(end, context.sram);
        }
        self.deliver(context.now, context.sram);
    }

    fn next_event(&self) -> Option<Ticks> {
        let sent = self.sending.as_ref().map(|(end, _, _)| *end);
        let receiving = self.register(MODER) & MODER_RXEN == 0 || self.can_deliver();
        let received = self
            .waiting
            .front()
            .filter(|_| receiving)
            .map(|(end, _)| *end);
        [sent, received].into_iter().flatten().min()
    }

    /// Source 0, `WIFI_MAC`.
    fn interrupts(&self) -> u64 {
        u64::from(self.register(INT_SOURCE) & self.register(INT_MASK) != 0)
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind >= ResetKind::Core {
            self.reset_registers();
            self.bmcr = BMCR_DEFAULT;
        }
    }
}

#[cfg(test)]
mod tests;
