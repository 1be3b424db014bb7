//! Abstract commands: registers of the halted hart, and short programs on it (section 3.6).
//!
//! One command type is implemented, Access Register with 32 bits. Its errors are sticky: until the debugger has
//! cleared `cmderr`, further commands are ignored, so a batch of commands fails as a whole.

use crate::target::{DebugTarget, RegisterError};

/// Words for arguments and results.
pub(crate) const DATA_WORDS: usize = 2;
/// Words of program buffer.
pub(crate) const PROGRAM_WORDS: usize = 16;

/// `abstractcs.cmderr` (section 3.14.6). Busy (1), bus (5) and other (7) can't happen here.
mod cmderr {
    pub(super) const NOT_SUPPORTED: u32 = 2;
    pub(super) const EXCEPTION: u32 = 3;
    /// The hart is not in the state the command needs: it runs.
    pub(super) const HALT_RESUME: u32 = 4;
}

/// Fields of `command` for Access Register (section 3.7.1.1).
#[derive(Clone, Copy)]
struct AccessRegister(u32);

impl AccessRegister {
    fn is_access_register(self) -> bool {
        self.0 >> 24 == 0
    }
    fn size(self) -> u32 {
        self.0 >> 20 & 0b111
    }
    fn post_increment(self) -> bool {
        self.0 >> 19 & 1 != 0
    }
    fn post_execute(self) -> bool {
        self.0 >> 18 & 1 != 0
    }
    fn transfer(self) -> bool {
        self.0 >> 17 & 1 != 0
    }
    fn write(self) -> bool {
        self.0 >> 16 & 1 != 0
    }
    fn register(self) -> u16 {
        self.0 as u16
    }
}

const SIZE_32_BIT: u32 = 2;

#[derive(Clone, Debug, Default)]
pub(crate) struct AbstractCommands {
    pub(crate) data: [u32; DATA_WORDS],
    pub(crate) program: [u32; PROGRAM_WORDS],
    /// While not 0, no command is carried out.
    error: u32,
}

impl AbstractCommands {
    pub(crate) fn abstractcs(&self) -> u32 {
        (PROGRAM_WORDS as u32) << 24 | self.error << 8 | DATA_WORDS as u32
    }

    /// A write to `abstractcs`: `cmderr` is cleared by ones, bit by bit.
    pub(crate) fn clear_errors(&mut self, value: u32) {
        self.error &= !(value >> 8);
    }

    /// A write to `command`.
    pub(crate) fn start<T: DebugTarget>(&mut self, target: &mut T, value: u32) {
        if self.error == 0
            && let Err(error) = self.run(target, AccessRegister(value))
        {
            self.error = error;
        }
    }

    fn run<T: DebugTarget>(&mut self, target: &mut T, command: AccessRegister) -> Result<(), u32> {
        if !command.is_access_register() || command.post_increment() {
            return Err(cmderr::NOT_SUPPORTED);
        }
        if command.transfer() && command.size() != SIZE_32_BIT {
            return Err(cmderr::NOT_SUPPORTED);
        }
        if !target.is_halted() {
            return Err(cmderr::HALT_RESUME);
        }
        if command.transfer() {
            let number = command.register();
            if command.write() {
                target.write_register(number, self.data[0]).map_err(code)?;
            } else {
                self.data[0] = target.read_register(number).map_err(code)?;
            }
        }
        if command.post_execute() {
            target
                .execute(&self.program)
                .map_err(|_| cmderr::EXCEPTION)?;
        }
        Ok(())
    }
}

fn code(error: RegisterError) -> u32 {
    match error {
        RegisterError::Unsupported => cmderr::NOT_SUPPORTED,
        RegisterError::Exception => cmderr::EXCEPTION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeTarget, PROGRAM_THAT_TRAPS};

    const TRANSFER: u32 = 1 << 17;
    const WRITE: u32 = 1 << 16;
    const POSTEXEC: u32 = 1 << 18;
    const POSTINCREMENT: u32 = 1 << 19;
    const SIZE32: u32 = 2 << 20;
    const SIZE64: u32 = 3 << 20;

    fn run(halted: bool, data: u32, program: u32, command: u32) -> (AbstractCommands, FakeTarget) {
        let mut target = FakeTarget {
            halted,
            ..FakeTarget::default()
        };
        target.registers.insert(0x1005, 55);
        let mut commands = AbstractCommands::default();
        commands.data[0] = data;
        commands.program[0] = program;
        commands.start(&mut target, command);
        (commands, target)
    }

    fn cmderr(commands: &AbstractCommands) -> u32 {
        commands.abstractcs() >> 8 & 7
    }

    #[test]
    fn errors() {
        fn check(halted: bool, command: u32, expected: u32) {
            let (commands, _) = run(halted, 0, 0, command);
            assert_eq!(cmderr(&commands), expected, "{command:#010x}");
        }
        check(true, SIZE32 | TRANSFER | 0x1005, 0);
        check(true, 0, 0);
        check(true, SIZE64, 0); // the size counts with `transfer` only
        check(true, SIZE64 | TRANSFER | 0x1005, 2);
        check(true, TRANSFER | 0x1005, 2);
        check(true, SIZE32 | POSTINCREMENT | TRANSFER | 0x1005, 2);
        check(true, 1 << 24, 2); // quick access
        check(true, 2 << 24, 2); // access memory
        check(true, SIZE32 | TRANSFER | 0xC000, 2);
        check(true, SIZE32 | TRANSFER | WRITE | 0xC000, 2);
        check(true, SIZE32 | TRANSFER | 0x0FFF, 3);
        check(false, SIZE32 | TRANSFER | 0x1005, 4);
        check(false, POSTEXEC, 4);
    }

    #[test]
    fn registers_are_read_and_written() {
        let (commands, _) = run(true, 1, 0, SIZE32 | TRANSFER | 0x1005);
        assert_eq!(commands.data[0], 55);
        let (_, target) = run(true, 77, 0, SIZE32 | TRANSFER | WRITE | 0x1005);
        assert_eq!(target.registers[&0x1005], 77);
        // Without `transfer`, `write` does nothing.
        let (_, target) = run(true, 77, 0, SIZE32 | WRITE | 0x1005);
        assert_eq!(target.registers[&0x1005], 55);
    }

    #[test]
    fn the_program_runs_after_the_transfer_and_not_after_a_failed_one() {
        fn check(command: u32, executed: usize) {
            let (_, target) = run(true, 0, 0x13, command | POSTEXEC);
            assert_eq!(target.executed.len(), executed, "{command:#010x}");
        }
        check(0, 1);
        check(SIZE32 | TRANSFER | 0x1005, 1);
        check(SIZE32 | TRANSFER | 0xC000, 0);
        let (_, target) = run(true, 0, 0x13, POSTEXEC);
        assert_eq!(target.executed[0].len(), PROGRAM_WORDS);
        assert_eq!(target.executed[0][0], 0x13);
    }

    #[test]
    fn an_exception_in_the_program_is_reported() {
        let (commands, _) = run(true, 0, PROGRAM_THAT_TRAPS, POSTEXEC);
        assert_eq!(cmderr(&commands), 3);
    }

    #[test]
    fn errors_stick_until_cleared_by_ones() {
        let (mut commands, mut target) = run(true, 0, 0, SIZE32 | TRANSFER | 0xC000);
        commands.start(&mut target, SIZE32 | TRANSFER | 0x1005);
        assert_eq!((cmderr(&commands), commands.data[0]), (2, 0));
        commands.clear_errors(0);
        assert_eq!(cmderr(&commands), 2);
        commands.clear_errors(0x700);
        assert_eq!(cmderr(&commands), 0);
        commands.start(&mut target, SIZE32 | TRANSFER | 0x1005);
        assert_eq!(commands.data[0], 55);
    }

    #[test]
    fn the_first_error_is_kept() {
        let (mut commands, mut target) = run(false, 0, 0, POSTEXEC);
        commands.start(&mut target, 1 << 24);
        assert_eq!(cmderr(&commands), 4);
    }
}
