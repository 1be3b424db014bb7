//! Tests of `open_eth.rs`.

use super::*;
use crate::testing::Bench;

const BUFFER: u32 = 0x3FC8_1000;
const MAC: [u8; 6] = [2, 0, 0, 0xAA, 0xBB, 0xCC];
const TX0: u32 = DESCRIPTORS;
const RX0: u32 = DESCRIPTORS + 8;

/// One TX descriptor, and `receive` RX descriptors with buffers of 2 KiB.
fn bench(moder: u32, receive: u32) -> Bench<OpenEth> {
    let mut bench = Bench::new(OpenEth::default());
    bench.write(TX_BD_NUM, 1);
    bench.write(TX0 + 4, BUFFER);
    for n in 0..receive {
        bench.write(RX0 + 8 * n + 4, BUFFER + 0x800 * (n + 1));
        let wrap = if n + 1 == receive { BD_WRAP } else { 0 };
        bench.write(RX0 + 8 * n, BD_OWNED | BD_IRQ | wrap);
    }
    bench.write(MAC_ADDR0, 0x00AA_BBCC);
    bench.write(MAC_ADDR1, 0x0200);
    bench.write(INT_MASK, INT_ALL);
    bench.write(MODER, MODER_RXEN | MODER_TXEN | moder);
    bench
}

fn frame(to: [u8; 6], length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length).map(|n| n as u8).collect();
    frame[..6].copy_from_slice(&to);
    frame
}

fn send(bench: &mut Bench<OpenEth>, frame: &[u8], flags: u32) {
    let length = frame.len() as u32;
    bench
        .sram
        .slice_mut(BUFFER, length)
        .unwrap()
        .copy_from_slice(frame);
    bench.write(TX0, length << 16 | BD_OWNED | BD_IRQ | BD_WRAP | flags);
}

#[test]
fn frame_leaves_after_its_time_on_the_wire() {
    let mut bench = bench(0, 1);
    let frame = frame([0xFF; 6], 1514);
    send(&mut bench, &frame, 0);
    // 1514 + 4 FCS + 20 around it: 123.04 µs at 100 Mbit/s.
    let end = Ticks(59_059);
    bench.run_until(Ticks(end.0 - 1));
    assert_ne!(bench.read(TX0) & BD_OWNED, 0);
    assert_eq!(bench.peripheral.transmitted(), None);
    bench.run_until(end);
    assert_eq!(bench.read(TX0), 1514 << 16 | BD_IRQ | BD_WRAP);
    assert_eq!(bench.peripheral.transmitted(), Some(frame));
    assert_eq!(bench.peripheral.transmitted(), None);
    assert_eq!(bench.peripheral.interrupts(), 1);
    assert_eq!(bench.read(INT_SOURCE), INT_TXB);
    bench.write(INT_SOURCE, INT_TXB);
    assert_eq!(bench.peripheral.interrupts(), 0);
}

#[test]
fn short_frames_are_padded_when_asked() {
    let check = |moder, flags, expected: usize| {
        let mut bench = bench(moder, 1);
        send(&mut bench, &frame([1; 6], 42), flags);
        bench.run(Ticks::from_millis(1));
        assert_eq!(bench.peripheral.transmitted().unwrap().len(), expected);
    };
    check(0, 0, 42);
    check(0, TX_PAD, 60);
    check(MODER_PAD, 0, 60);
}

#[test]
fn received_frame_has_its_checksum_and_sets_the_descriptor() {
    let mut bench = bench(0, 2);
    bench.peripheral.receive(Ticks(0), frame(MAC, 70));
    assert_eq!(bench.read(RX0) & BD_OWNED, BD_OWNED);
    bench.run(Ticks::from_millis(1));
    assert_eq!(bench.read(RX0), 74 << 16 | BD_IRQ);
    assert_eq!(bench.read(INT_SOURCE), INT_RXB);
    let buffer = bench.sram.slice(BUFFER + 0x800, 74).unwrap();
    assert_eq!(buffer[..70], frame(MAC, 70)[..]);
    // The CRC over data and FCS is a constant.
    assert_eq!(frame_check(buffer), 0x2144_DF1C);
    // The next one goes to the next descriptor, padded to the shortest frame.
    bench.peripheral.receive(bench.now, frame(MAC, 20));
    bench.run(Ticks::from_millis(1));
    assert_eq!(bench.read(RX0 + 8), 64 << 16 | BD_IRQ | BD_WRAP);
}

#[test]
fn frames_wait_for_a_descriptor_and_are_dropped_beyond_the_bound() {
    let mut bench = bench(0, 1);
    for _ in 0..RECEIVE_QUEUE_MAX + 2 {
        bench.peripheral.receive(Ticks(0), frame(MAC, 60));
    }
    assert_eq!(bench.peripheral.dropped(), 2);
    assert_eq!(bench.read(INT_SOURCE), INT_BUSY);
    bench.run(Ticks::from_millis(10));
    assert_eq!(bench.peripheral.next_event(), None);
    assert_eq!(bench.peripheral.waiting.len(), RECEIVE_QUEUE_MAX - 1);
    bench.write(INT_SOURCE, INT_ALL);
    bench.write(RX0, BD_OWNED | BD_IRQ | BD_WRAP);
    assert_eq!(bench.read(RX0) >> 16, 64);
    assert_eq!(bench.read(INT_SOURCE), INT_RXB);
}

#[test]
fn address_filter() {
    let group = [0x01, 0x00, 0x5E, 0x00, 0x00, 0xFB];
    let check = |moder, hash: bool, to: [u8; 6], expected: Option<u32>| {
        let mut bench = bench(moder, 1);
        if hash {
            let index = hash_index(&to);
            bench.write(HASH0 + 4 * (index / 32), 1 << (index % 32));
        }
        bench.peripheral.receive(Ticks(0), frame(to, 60));
        bench.run(Ticks::from_millis(1));
        let flags = bench.read(RX0);
        let got = (flags & BD_OWNED == 0).then_some(flags & RX_MISS);
        assert_eq!(got, expected, "{moder:#x} {to:02x?}");
    };
    check(0, false, MAC, Some(0));
    check(0, false, [2; 6], None);
    check(MODER_PRO, false, [2; 6], Some(RX_MISS));
    check(0, false, [0xFF; 6], Some(0));
    check(MODER_BRO, false, [0xFF; 6], None);
    check(0, false, group, None);
    check(0, true, group, Some(0));
    check(0, true, [2; 6], None);
    check(MODER_IAM, true, [2; 6], Some(0));
}

#[test]
fn too_long_frames_are_cut_and_marked() {
    let check = |moder, expected: u32| {
        let mut bench = bench(moder, 1);
        bench.peripheral.receive(Ticks(0), frame(MAC, 1600));
        bench.run(Ticks::from_millis(1));
        assert_eq!(bench.read(RX0) & !(BD_IRQ | BD_WRAP), expected);
    };
    check(0, 0x600 << 16 | RX_TOO_LONG);
    check(MODER_HUGEN, 1604 << 16);
}

#[test]
fn pointers_outside_memory_are_errors() {
    let mut bench = bench(0, 1);
    bench.write(TX0 + 4, 0x10);
    bench.write(TX0, 60 << 16 | BD_OWNED | BD_IRQ | BD_WRAP);
    bench.write(RX0 + 4, 0x10);
    bench.peripheral.receive(Ticks(0), frame(MAC, 60));
    bench.run(Ticks::from_millis(1));
    assert_eq!(bench.read(TX0) & 0xFFF, TX_UNDERRUN);
    assert_eq!(bench.read(RX0) & 0xFF, RX_OVERRUN);
    assert_eq!(bench.read(INT_SOURCE), INT_TXE | INT_RXE);
    assert_eq!(bench.peripheral.transmitted(), None);
}

#[test]
fn phy_tells_the_link() {
    let mut bench = bench(0, 1);
    let mut bmsr = |link: Option<bool>| {
        if let Some(up) = link {
            bench.peripheral.set_link(up);
        }
        bench.write(MIIADDRESS, 1 << 8 | 1);
        bench.write(MIICOMMAND, MII_READ);
        bench.read(MIIRX_DATA)
    };
    assert_eq!(bmsr(None), 0x786D);
    assert_eq!(bmsr(Some(false)), 0x7849);
    // A loss is seen once even after the link is back.
    bmsr(Some(true));
    assert_eq!(bmsr(None), 0x786D);
    bench.peripheral.set_link(false);
    assert_eq!(
        {
            bench.peripheral.set_link(true);
            bench.write(MIICOMMAND, MII_READ);
            bench.read(MIIRX_DATA)
        },
        0x7849
    );
    bench.write(MIIADDRESS, 1 << 8 | 7);
    bench.write(MIICOMMAND, MII_READ);
    assert_eq!(bench.read(MIIRX_DATA), 0xFFFF);
}

#[test]
fn no_link_no_frames() {
    let mut bench = bench(0, 1);
    bench.peripheral.set_link(false);
    bench.peripheral.receive(Ticks(0), frame(MAC, 60));
    send(&mut bench, &frame([1; 6], 60), 0);
    bench.run(Ticks::from_millis(1));
    assert_eq!(bench.peripheral.dropped(), 1);
    assert_eq!(bench.peripheral.transmitted(), None);
    assert_eq!(bench.read(TX0) & 0xFFF, TX_CARRIER_LOST);
    assert_eq!(bench.read(INT_SOURCE), INT_TXE);
}

#[test]
fn frames_looped_back_are_a_wires_frames() {
    fn check(length: usize, received: bool) {
        let mut bench = bench(MODER_LOOPBACK | MODER_PRO, 1);
        let moder = bench.read(MODER);
        bench.write(MODER, moder & !MODER_PAD);
        let frame: Vec<u8> = (0..length).map(|n| n as u8).collect();
        send(&mut bench, &frame, 0);
        bench.run(Ticks::from_millis(1));
        assert_eq!(bench.read(RX0) & BD_OWNED == 0, received, "{length}");
    }
    check(64, true);
    check(60, true);
    // A fragment, as a collision leaves them: nobody takes it.
    check(59, false);
    check(5, false);
    check(0, false);
}

#[test]
fn frames_looped_back_do_not_pile_up() {
    let mut bench = bench(MODER_LOOPBACK | MODER_PRO, 0);
    let frame = frame(MAC, 100);
    for _ in 0..3 * RECEIVE_QUEUE_MAX {
        send(&mut bench, &frame, 0);
        bench.run(Ticks::from_millis(1));
    }
    assert_eq!(bench.peripheral.waiting.len(), RECEIVE_QUEUE_MAX);
    assert_eq!(bench.peripheral.dropped(), 2 * RECEIVE_QUEUE_MAX as u64);
    assert_ne!(bench.read(INT_SOURCE) & INT_BUSY, 0);
}

#[test]
fn registers_reset_but_the_cable_stays() {
    let mut bench = bench(0, 1);
    bench.peripheral.set_link(false);
    bench.peripheral.reset(ResetKind::Cpu);
    assert_eq!(bench.read(TX_BD_NUM), 1);
    bench.peripheral.reset(ResetKind::Core);
    assert_eq!((bench.read(MODER), bench.read(TX_BD_NUM)), (0xA000, 0x40));
    assert!(!bench.peripheral.link);
    bench.peripheral.set_link(true);
    bench.peripheral.reset(ResetKind::Core);
    assert!(bench.peripheral.link);
    bench.write(MODER, MODER_RST);
    bench.write(MODER, 0);
    assert_eq!(bench.read(TX_BD_NUM), 0x40);
}
