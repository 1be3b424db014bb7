//! The bench's kernels compute what they should: a fast wrong answer is no speed.

use virtual_hart::{FlatRam, HaltCause, Hart, Stop, csr_number as csr};

use crate::kernels;

#[test]
fn kernels_end_with_their_checksums() {
    for kernel in kernels::all(3) {
        let mut ram = FlatRam::new(0, kernels::RAM_BYTES);
        let bytes: Vec<u8> = kernel
            .program
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        ram.write(0, &bytes);
        let mut hart = Hart::new();
        hart.set_csr(csr::DCSR, 1 << 15);
        assert_eq!(
            hart.run(&mut ram, 10_000_000),
            Stop::Halted(HaltCause::Ebreak),
            "{}",
            kernel.name
        );
        assert_eq!(hart.x(10), kernel.checksum, "{}", kernel.name);
    }
}
