//! Tests of `gpio.rs`.

use super::*;
use crate::testing::Bench;

fn bench() -> Bench<Gpio> {
    let pads = Pads {
        pull_up: 0,
        pull_down: 0,
        input: PINS,
    };
    let mut bench = Bench::new(Gpio::new(pads));
    bench.peripheral.watch(PINS);
    bench
}

fn drive(bench: &mut Bench<Gpio>, pin: u8, level: Option<bool>) -> bool {
    let Bench {
        peripheral, wires, ..
    } = bench;
    peripheral.drive(Ticks(0), pin, level, wires)
}

fn set_pads(bench: &mut Bench<Gpio>, pads: Pads) {
    let Bench {
        peripheral, wires, ..
    } = bench;
    peripheral.set_pads(Ticks(0), pads, wires);
}

fn level(bench: &mut Bench<Gpio>, pin: u8) -> Option<bool> {
    let Bench {
        peripheral, wires, ..
    } = bench;
    peripheral.level(Ticks(0), pin, wires)
}

fn pin_register(pin: u32) -> u32 {
    PIN + 4 * pin
}

fn changes(bench: &mut Bench<Gpio>) -> Vec<(u8, bool)> {
    bench
        .peripheral
        .take_changes()
        .map(|change| (change.pin, change.level))
        .collect()
}

#[test]
fn outputs_are_set_cleared_and_seen() {
    let mut bench = bench();
    bench.write(OUT, 0b101);
    assert_eq!(changes(&mut bench), []);
    bench.write(ENABLE_W1TS, 0b111);
    bench.write(OUT_W1TS, 0b010);
    bench.write(OUT_W1TC, 0b001);
    assert_eq!(bench.read(OUT), 0b110);
    assert_eq!(bench.read(IN), 0b110);
    bench.write(ENABLE_W1TC, 0b100);
    assert_eq!(bench.read(IN), 0b010);
    assert_eq!(
        changes(&mut bench),
        [(0, true), (2, true), (1, true), (0, false), (2, false)]
    );
}

#[test]
fn who_drives_decides_the_level() {
    // Chip: None = off, Some(level); open drain; outside; pull-up.
    let check = |chip: Option<bool>, open_drain, outside, pull_up: bool, expected| {
        let mut bench = bench();
        let pads = Pads {
            pull_up: u32::from(pull_up),
            pull_down: 0,
            input: 1,
        };
        set_pads(&mut bench, pads);
        bench.write(pin_register(0), if open_drain { PIN_PAD_DRIVER } else { 0 });
        if let Some(level) = chip {
            bench.write(OUT, u32::from(level));
            bench.write(ENABLE, 1);
        }
        assert!(drive(&mut bench, 0, outside));
        assert_eq!(level(&mut bench, 0), Some(expected));
    };
    check(None, false, None, false, false);
    check(None, false, None, true, true);
    check(None, false, Some(false), true, false);
    check(Some(true), false, None, false, true);
    check(Some(true), false, Some(false), false, false);
    check(Some(false), false, Some(true), true, false);
    check(Some(true), true, None, false, false);
    check(Some(true), true, None, true, true);
    check(Some(true), true, Some(false), true, false);
    check(Some(false), true, Some(true), true, false);
}

#[test]
fn a_resistor_outside_is_stronger_than_the_pulls_inside() {
    let check = |outside, pull_up: u32, pull_down: u32, expected| {
        let mut bench = bench();
        let pads = Pads {
            pull_up,
            pull_down,
            input: 1,
        };
        set_pads(&mut bench, pads);
        let Bench {
            peripheral, wires, ..
        } = &mut bench;
        assert!(peripheral.pull(Ticks(0), 0, outside, wires));
        assert_eq!(level(&mut bench, 0), Some(expected));
    };
    check(Some(false), 1, 0, false);
    check(Some(true), 0, 1, true);
    check(None, 1, 0, true);
    check(None, 0, 0, false);
}

#[test]
fn interrupts_by_edge_and_level() {
    let check = |kind: u32, levels: &[bool], expected: bool| {
        let mut bench = bench();
        drive(&mut bench, 3, Some(levels[0]));
        bench.write(pin_register(3), kind << 7 | PIN_INT_ENA_CPU);
        bench.write(STATUS_W1TC, PINS);
        for level in levels {
            drive(&mut bench, 3, Some(*level));
        }
        let raised = bench.peripheral.interrupts() == 1 << 16;
        assert_eq!(raised, expected, "type {kind} {levels:?}");
        assert_eq!(bench.read(STATUS) != 0, expected);
    };
    check(0, &[false, true, false], false);
    check(1, &[false, true], true);
    check(1, &[true, false], false);
    check(2, &[true, false], true);
    check(2, &[false, true], false);
    check(3, &[true, false], true);
    check(3, &[true, true], false);
    check(4, &[false, false], true);
    check(4, &[true, true], false);
    check(5, &[true, true], true);
    check(5, &[false, false], false);
}

#[test]
fn an_edge_is_cleared_a_level_is_not() {
    let mut bench = bench();
    bench.write(pin_register(1), 5 << 7 | PIN_INT_ENA_CPU);
    drive(&mut bench, 1, Some(true));
    bench.write(STATUS_W1TC, PINS);
    assert_eq!(bench.read(PCPU_INT), 1 << 1);
    drive(&mut bench, 1, Some(false));
    bench.write(STATUS_W1TC, PINS);
    assert_eq!(bench.peripheral.interrupts(), 0);
}

#[test]
fn a_pad_without_input_shows_low() {
    let mut bench = bench();
    drive(&mut bench, 0, Some(true));
    set_pads(&mut bench, Pads::default());
    assert_eq!(bench.read(IN), 0);
    assert_eq!(level(&mut bench, 0), Some(true));
    // Nor does it have edges.
    bench.write(pin_register(0), 3 << 7 | PIN_INT_ENA_CPU);
    drive(&mut bench, 0, Some(false));
    assert_eq!(bench.peripheral.interrupts(), 0);
}

#[test]
fn only_watched_pins_are_told() {
    let mut bench = bench();
    bench.peripheral.watch(0b10);
    bench.write(ENABLE, 0b11);
    bench.write(OUT, 0b11);
    assert!(bench.requests.pins_changed);
    assert_eq!(changes(&mut bench), [(1, true)]);
}

#[test]
fn the_matrix_says_where_a_uart_listens() {
    fn check(select: u32, input: bool, expected: Ear) {
        let mut bench = bench();
        if !input {
            set_pads(&mut bench, Pads::default());
        }
        bench.write(FUNC_IN_SEL_CFG + 4 * 9, select);
        assert_eq!(bench.peripheral.ear(1), expected, "{select:#x}");
        assert_eq!(bench.peripheral.ear(0), Ear::Level(true));
    }
    let pin = |inverted| Ear::Pin { pin: 7, inverted };
    check(7, true, Ear::Level(true));
    check(IN_SEL_MATRIX | 7, true, pin(false));
    check(IN_SEL_MATRIX | IN_INV | 7, true, pin(true));
    check(IN_SEL_MATRIX | 7, false, Ear::Level(false));
    check(IN_SEL_MATRIX | 0x1E, true, Ear::Level(true));
    check(IN_SEL_MATRIX | 0x1F, true, Ear::Level(false));
    check(IN_SEL_MATRIX | IN_INV | 0x1F, true, Ear::Level(true));
}

#[test]
fn a_pin_that_a_uart_listens_to_has_the_level_of_its_wire() {
    let mut bench = bench();
    bench.write(FUNC_OUT_SEL_CFG + 4 * 7, 9 | OUT_OEN_SEL);
    bench.write(ENABLE, 1 << 7);
    assert_eq!(bench.read(IN), 1 << 7, "a routed line rests high");
    bench.write(FUNC_IN_SEL_CFG + 4 * 9, IN_SEL_MATRIX | 7);
    assert_eq!(bench.wires.pins(), 1 << 7);
    bench.wires.transmit(Ticks(0), 1, false);
    assert_eq!(bench.read(IN), 0);
    assert_eq!(level(&mut bench, 7), Some(false));
    bench.write(FUNC_IN_SEL_CFG + 4 * 9, 0);
    assert_eq!(bench.wires.pins(), 0);
}

#[test]
fn there_are_22_pins() {
    let mut bench = bench();
    assert!(!drive(&mut bench, 22, Some(true)));
    assert_eq!(level(&mut bench, 22), None);
    bench.write(OUT, u32::MAX);
    assert_eq!(bench.read(OUT), PINS);
}
