//! RTT through stock probe-rs, both ways.

use probe_rs::MemoryInterface;
use probe_rs::rtt::{Rtt, ScanRegion};

use crate::support::*;

const BLOCK: u32 = 0x3FC9_0000;
const NAMES: u32 = BLOCK + 0x80;
const UP: u32 = BLOCK + 0x100;
const DOWN: u32 = BLOCK + 0x200;
const RING_BYTES: u32 = 256;

#[test]
fn bytes_go_up_and_down_while_the_program_runs() {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    load(&mut core, &COUNT);
    let words = |text: &[u8; 16]| -> Vec<u32> {
        text.chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    };
    // Identification, counts; then name, buffer, size, write and read offset, flags of each channel.
    let mut block = words(b"SEGGER RTT\0\0\0\0\0\0");
    block.extend([1, 1]);
    block.extend([NAMES, UP, RING_BYTES, 0, 0, 2]);
    block.extend([NAMES + 16, DOWN, RING_BYTES, 0, 0, 0]);
    core.write_32(BLOCK.into(), &block).unwrap();
    core.write_32(NAMES.into(), &words(b"telemetry\0\0\0\0\0\0\0"))
        .unwrap();
    core.write_32(u64::from(NAMES) + 16, &words(b"control\0\0\0\0\0\0\0\0\0"))
        .unwrap();
    core.run().unwrap();

    let mut rtt = Rtt::attach_region(&mut core, &ScanRegion::Exact(BLOCK.into())).unwrap();
    assert_eq!(rtt.up_channels[0].name(), Some("telemetry"));
    assert_eq!(rtt.down_channels[0].name(), Some("control"));

    let mut buffer = [0; 64];
    assert_eq!(
        rtt.up_channel(0)
            .unwrap()
            .read(&mut core, &mut buffer)
            .unwrap(),
        0
    );
    core.write_8(UP.into(), b"hello rig").unwrap();
    core.write_word_32(u64::from(BLOCK) + 36, 9).unwrap();
    let read = rtt
        .up_channel(0)
        .unwrap()
        .read(&mut core, &mut buffer)
        .unwrap();
    assert_eq!(&buffer[..read], b"hello rig");
    assert_eq!(core.read_word_32(u64::from(BLOCK) + 40).unwrap(), 9);

    assert_eq!(
        rtt.down_channel(0)
            .unwrap()
            .write(&mut core, b"ping")
            .unwrap(),
        4
    );
    let mut down = [0; 4];
    core.read_8(DOWN.into(), &mut down).unwrap();
    assert_eq!(
        (&down, core.read_word_32(u64::from(BLOCK) + 60).unwrap()),
        (b"ping", 4)
    );
    assert!(!core.core_halted().unwrap(), "RTT halted the program");
}
