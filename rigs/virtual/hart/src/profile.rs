//! Which optional parts of the architecture a hart has.
//!
//! The product needs the ESP32-C3; the public conformance programs assume a few standard registers that chip left
//! out. Both are described here, so that no model code carries special cases for a test.

/// A set of choices the RISC-V specifications leave to the implementer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HartProfile {
    /// ESP32-C3 (Technical Reference Manual, chapter 1): no `mie`, `mip`, `mcycle`, `minstret`; `mtvec` always
    /// vectored with a base aligned to 256 bytes; Espressif's counter and GPIO registers; action-0 triggers in
    /// machine mode need `tcontrol.mte`.
    #[default]
    Esp32C3,
    /// A plain RV32IMC hart with machine and user mode: `mie` and `mip` exist (nothing is ever pending in `mip`, the
    /// interrupt input is still a single line), the counters of Zicntr exist, `mtvec` takes direct and vectored mode,
    /// no registers of Espressif's, no `tcontrol`.
    Generic,
}
