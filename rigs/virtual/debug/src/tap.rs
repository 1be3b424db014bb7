//! The test access port: IEEE 1149.1 state machine, instruction register and data registers.
//!
//! Two ways in, with one result: [`Tap::clock`] takes one TMS and TDI bit and gives one TDO bit, as a wire would;
//! [`Tap::scan_dr`] does a whole scan at once, for probes that think in words.
//!
//! ```text
//!  Test-Logic-Reset ⟲1
//!   │0
//!  Run-Test/Idle ⟲0 ──1──▶ Select-DR ──1──▶ Select-IR ──1──▶ Test-Logic-Reset
//!   ▲                       │0                │0
//!   │                    Capture-DR        Capture-IR        each column, by TMS:
//!   │                       │0 or 1           │0 or 1          0  stay and shift / pause
//!   │                    Shift ⇄ Exit1 ⇄ Pause ⇄ Exit2         1  go on towards Update
//!   │                       │1
//!   └──────────0──────── Update ──1──▶ Select-DR
//! ```

use crate::module::DebugModule;
use crate::target::DebugTarget;
use crate::transport::{DMI_BITS, DTMCS_BITS, Dtm, DtmRegister};

/// Instructions of the port (section 6.1.2). All others select BYPASS.
pub mod instruction {
    /// Manufacturer, part and version, 32 bits. Selected after a reset.
    pub const IDCODE: u32 = 0x01;
    /// Control and status of the transport module.
    pub const DTMCS: u32 = 0x10;
    /// Debug module interface.
    pub const DMI: u32 = 0x11;
    /// One bit between TDI and TDO.
    pub const BYPASS: u32 = 0x1F;
}

const INSTRUCTION_BITS: u32 = 5;
/// What Capture-IR loads: the standard wants the low two bits to be 01.
const INSTRUCTION_CAPTURE: u32 = 0b00001;

/// The sixteen states of IEEE 1149.1, figure 6-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the standard's.
pub enum TapState {
    TestLogicReset,
    RunTestIdle,
    SelectDr,
    CaptureDr,
    ShiftDr,
    Exit1Dr,
    PauseDr,
    Exit2Dr,
    UpdateDr,
    SelectIr,
    CaptureIr,
    ShiftIr,
    Exit1Ir,
    PauseIr,
    Exit2Ir,
    UpdateIr,
}

impl TapState {
    /// The state after a clock with this TMS.
    pub fn next(self, tms: bool) -> TapState {
        use TapState::*;
        match (self, tms) {
            (TestLogicReset, true) | (SelectIr, true) => TestLogicReset,
            (TestLogicReset | RunTestIdle | UpdateDr | UpdateIr, false) => RunTestIdle,
            (RunTestIdle | UpdateDr | UpdateIr, true) => SelectDr,
            (SelectDr, true) => SelectIr,
            (SelectDr, false) => CaptureDr,
            (CaptureDr | ShiftDr | Exit2Dr, false) => ShiftDr,
            (CaptureDr | ShiftDr, true) => Exit1Dr,
            (Exit1Dr | PauseDr, false) => PauseDr,
            (PauseDr, true) => Exit2Dr,
            (Exit1Dr | Exit2Dr, true) => UpdateDr,
            (SelectIr, false) => CaptureIr,
            (CaptureIr | ShiftIr | Exit2Ir, false) => ShiftIr,
            (CaptureIr | ShiftIr, true) => Exit1Ir,
            (Exit1Ir | PauseIr, false) => PauseIr,
            (PauseIr, true) => Exit2Ir,
            (Exit1Ir | Exit2Ir, true) => UpdateIr,
        }
    }
}

/// What the instruction register selects.
#[derive(Clone, Copy)]
enum DataRegister {
    Idcode,
    Dtm(DtmRegister),
    Bypass,
}

impl DataRegister {
    fn of(instruction: u32) -> DataRegister {
        match instruction {
            instruction::IDCODE => DataRegister::Idcode,
            instruction::DTMCS => DataRegister::Dtm(DtmRegister::Dtmcs),
            instruction::DMI => DataRegister::Dtm(DtmRegister::Dmi),
            _ => DataRegister::Bypass,
        }
    }

    fn bits(self) -> u32 {
        match self {
            DataRegister::Idcode => 32,
            DataRegister::Dtm(DtmRegister::Dtmcs) => DTMCS_BITS,
            DataRegister::Dtm(DtmRegister::Dmi) => DMI_BITS,
            DataRegister::Bypass => 1,
        }
    }
}

/// One test access port. Several may share a debug module, as several probes on one chip would.
#[derive(Clone, Debug)]
pub struct Tap {
    state: TapState,
    idcode: u32,
    instruction: u32,
    instruction_shift: u32,
    /// The selected data register while it shifts; never longer than [`DMI_BITS`].
    shift: u64,
    dtm: Dtm,
}

impl Tap {
    /// A port in Test-Logic-Reset that answers with `idcode`.
    pub fn new(idcode: u32) -> Tap {
        Tap {
            state: TapState::TestLogicReset,
            idcode,
            instruction: instruction::IDCODE,
            instruction_shift: 0,
            shift: 0,
            dtm: Dtm::new(),
        }
    }

    /// Where the state machine stands.
    pub fn state(&self) -> TapState {
        self.state
    }

    /// The instruction in force.
    pub fn instruction(&self) -> u32 {
        self.instruction
    }

    /// Test-Logic-Reset, then Run-Test/Idle: selects IDCODE. The transport and debug modules keep their state.
    pub fn reset(&mut self) {
        self.instruction = instruction::IDCODE;
        self.state = TapState::RunTestIdle;
    }

    /// One clock of TCK. Returns TDO; outside of the shift states, where the pin floats, that is `false`.
    pub fn clock<T: DebugTarget>(
        &mut self,
        module: &mut DebugModule,
        target: &mut T,
        tms: bool,
        tdi: bool,
    ) -> bool {
        let mut tdo = false;
        match self.state {
            TapState::CaptureDr => self.shift = self.capture(),
            TapState::ShiftDr => {
                tdo = self.shift & 1 != 0;
                self.shift = self.shift >> 1
                    | u64::from(tdi) << (DataRegister::of(self.instruction).bits() - 1);
            }
            TapState::CaptureIr => self.instruction_shift = INSTRUCTION_CAPTURE,
            TapState::ShiftIr => {
                tdo = self.instruction_shift & 1 != 0;
                self.instruction_shift =
                    self.instruction_shift >> 1 | u32::from(tdi) << (INSTRUCTION_BITS - 1);
            }
            _ => {}
        }
        self.state = self.state.next(tms);
        match self.state {
            TapState::TestLogicReset => self.instruction = instruction::IDCODE,
            TapState::UpdateDr => self.update(module, target, self.shift),
            TapState::UpdateIr => self.instruction = self.instruction_shift,
            _ => {}
        }
        tdo
    }

    /// A whole instruction scan from Run-Test/Idle and back; returns what was captured.
    pub fn scan_ir(&mut self, instruction: u32) -> u32 {
        self.instruction = instruction & ((1 << INSTRUCTION_BITS) - 1);
        self.state = TapState::RunTestIdle;
        INSTRUCTION_CAPTURE
    }

    /// A whole scan of the selected data register from Run-Test/Idle and back: shifts the low `length` bits of
    /// `value` in, returns the `length` bits that came out. Any length from 0 to 64 is as good as on the wire: a
    /// short scan moves the register by that much, a long one gives the first bits of `value` back at the end.
    pub fn scan_dr<T: DebugTarget>(
        &mut self,
        module: &mut DebugModule,
        target: &mut T,
        value: u64,
        length: u32,
    ) -> u64 {
        debug_assert!(length <= 64, "a scan of {length} bits");
        let bits = DataRegister::of(self.instruction).bits();
        let low = |count: u32| (1u128 << count) - 1;
        let line = u128::from(self.capture()) | u128::from(value) << bits;
        self.state = TapState::RunTestIdle;
        self.update(module, target, (line >> length & low(bits)) as u64);
        (line & low(length)) as u64
    }

    fn capture(&self) -> u64 {
        match DataRegister::of(self.instruction) {
            DataRegister::Idcode => u64::from(self.idcode),
            DataRegister::Dtm(register) => self.dtm.capture(register),
            DataRegister::Bypass => 0,
        }
    }

    fn update<T: DebugTarget>(&mut self, module: &mut DebugModule, target: &mut T, value: u64) {
        if let DataRegister::Dtm(register) = DataRegister::of(self.instruction) {
            self.dtm.update(module, target, register, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::FakeTarget;

    const IDCODE: u32 = 0x0000_5C25;

    #[derive(Clone, Debug, Default)]
    struct Chip {
        module: DebugModule,
        target: FakeTarget,
    }

    fn clocks(tap: &mut Tap, chip: &mut Chip, tms: &str) {
        for bit in tms.bytes() {
            tap.clock(&mut chip.module, &mut chip.target, bit == b'1', false);
        }
    }

    /// Shifts `length` bits from Run-Test/Idle and back; `select` leads to the capture state.
    fn shift(tap: &mut Tap, chip: &mut Chip, select: &str, value: u64, length: u32) -> u64 {
        clocks(tap, chip, select);
        let mut out = 0;
        // The clock that leaves the capture state captures; with nothing to shift it goes straight to Exit1.
        tap.clock(&mut chip.module, &mut chip.target, length == 0, false);
        for bit in 0..length {
            let last = bit + 1 == length;
            let tdo = tap.clock(
                &mut chip.module,
                &mut chip.target,
                last,
                value >> bit & 1 != 0,
            );
            out |= u64::from(tdo) << bit;
        }
        clocks(tap, chip, "10");
        assert_eq!(tap.state(), TapState::RunTestIdle);
        out
    }

    #[test]
    fn states() {
        fn check(tms: &str, expected: TapState) {
            let (mut tap, mut chip) = (Tap::new(IDCODE), Chip::default());
            clocks(&mut tap, &mut chip, tms);
            assert_eq!(tap.state(), expected, "{tms}");
        }
        check("", TapState::TestLogicReset);
        check("1", TapState::TestLogicReset);
        check("0", TapState::RunTestIdle);
        check("00", TapState::RunTestIdle);
        check("01", TapState::SelectDr);
        check("010", TapState::CaptureDr);
        check("0100", TapState::ShiftDr);
        check("01000", TapState::ShiftDr);
        check("0101", TapState::Exit1Dr);
        check("01010", TapState::PauseDr);
        check("010100", TapState::PauseDr);
        check("010101", TapState::Exit2Dr);
        check("0101010", TapState::ShiftDr);
        check("0101011", TapState::UpdateDr);
        check("01011", TapState::UpdateDr);
        check("010110", TapState::RunTestIdle);
        check("010111", TapState::SelectDr);
        check("011", TapState::SelectIr);
        check("0111", TapState::TestLogicReset);
        check("0110", TapState::CaptureIr);
        check("01100", TapState::ShiftIr);
        check("011000", TapState::ShiftIr);
        check("01101", TapState::Exit1Ir);
        check("011010", TapState::PauseIr);
        check("0110101", TapState::Exit2Ir);
        check("01101010", TapState::ShiftIr);
        check("01101011", TapState::UpdateIr);
        check("011011", TapState::UpdateIr);
        check("0110110", TapState::RunTestIdle);
        check("0110111", TapState::SelectDr);
    }

    #[test]
    fn five_ones_reset_from_anywhere() {
        for path in 0..64 {
            let (mut tap, mut chip) = (Tap::new(IDCODE), Chip::default());
            clocks(&mut tap, &mut chip, &format!("0{path:06b}11111"));
            assert_eq!(
                (tap.state(), tap.instruction()),
                (TapState::TestLogicReset, instruction::IDCODE)
            );
        }
    }

    #[test]
    fn registers_on_the_wire() {
        fn check(ir: u64, value: u64, length: u32, expected: u64) {
            let (mut tap, mut chip) = (Tap::new(IDCODE), Chip::default());
            clocks(&mut tap, &mut chip, "0");
            assert_eq!(shift(&mut tap, &mut chip, "110", ir, 5), 0b00001);
            assert_eq!(
                shift(&mut tap, &mut chip, "10", value, length),
                expected,
                "{ir:#x} {value:#x}"
            );
        }
        check(0x01, 0, 32, 0x5C25);
        check(0x10, 0, 32, 0x71);
        check(0x11, 0, 41, 0);
        check(0x1F, 0b1011, 4, 0b0110);
        check(0x00, 0b1011, 4, 0b0110);
        check(0x07, 0b1011, 4, 0b0110);
        check(0x01, 0xA, 36, 0xA_0000_5C25);
    }

    #[test]
    fn a_pause_in_the_middle_of_a_scan_changes_nothing() {
        let (mut tap, mut chip) = (Tap::new(IDCODE), Chip::default());
        clocks(&mut tap, &mut chip, "0100");
        let mut out = 0;
        for bit in 0..32 {
            let tdo = tap.clock(&mut chip.module, &mut chip.target, true, false);
            out |= u32::from(tdo) << bit;
            clocks(&mut tap, &mut chip, "0010"); // Pause, Pause, Exit2, Shift
        }
        assert_eq!(out, IDCODE);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reset,
        Instruction(u32),
        Data(u64, u32),
        Dmi {
            operation: u64,
            address: u64,
            data: u64,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let known = prop_oneof![
            Just(0x01),
            Just(0x10),
            Just(0x11),
            Just(0x11),
            Just(0x1F),
            0u32..32
        ];
        let register = prop_oneof![
            Just(0x10u64),
            0x04u64..0x06,
            0x16u64..0x18,
            0x20u64..0x22,
            0x38u64..0x3D,
            0u64..128
        ];
        let data = prop_oneof![
            Just(1),
            Just(0x8000_0001),
            Just(0x4000_0001),
            0u64..0x40,
            0u64..=0xFFFF_FFFF
        ];
        prop_oneof![
            1 => Just(Step::Reset),
            3 => known.prop_map(Step::Instruction),
            3 => (any::<u64>(), 0u32..=64).prop_map(|(value, length)| Step::Data(value, length)),
            9 => (1u64..4, register, data)
                .prop_map(|(operation, address, data)| Step::Dmi { operation, address, data }),
        ]
    }

    proptest! {
        #[test]
        fn whole_scans_equal_bit_by_bit(steps in prop::collection::vec(step(), 1..60)) {
            let (mut words, mut word_chip) = (Tap::new(IDCODE), Chip::default());
            let (mut bits, mut bit_chip) = (Tap::new(IDCODE), Chip::default());
            words.reset();
            clocks(&mut bits, &mut bit_chip, "0");
            for step in steps {
                let scans: &[(Option<u32>, u64, u32)] = match step {
                    Step::Reset => {
                        words.reset();
                        clocks(&mut bits, &mut bit_chip, "111110");
                        &[]
                    }
                    Step::Instruction(ir) => &[(Some(ir), 0, 0)],
                    Step::Data(value, length) => &[(None, value, length)],
                    Step::Dmi { operation, address, data } => {
                        &[(Some(0x11), 0, 0), (None, address << 34 | data << 2 | operation, 41), (None, 0, 41)]
                    }
                };
                for (ir, value, length) in scans {
                    if let Some(ir) = ir {
                        let captured = shift(&mut bits, &mut bit_chip, "110", u64::from(*ir), 5);
                        prop_assert_eq!(u64::from(words.scan_ir(*ir)), captured);
                    } else {
                        let word = words.scan_dr(&mut word_chip.module, &mut word_chip.target, *value, *length);
                        prop_assert_eq!(word, shift(&mut bits, &mut bit_chip, "10", *value, *length));
                    }
                }
                prop_assert_eq!(words.instruction(), bits.instruction());
            }
            prop_assert_eq!(word_chip.target, bit_chip.target);
        }
    }
}
