//! What the fuzz target checks, on stable: over its corpus, and over that corpus spoilt a little.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library, for the fuzz target")]
mod fuzz;

use std::fs;
use std::path::Path;

#[test]
fn nothing_in_the_corpus_does_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/frames");
    let files = fs::read_dir(&corpus).expect("a corpus");
    let mut count = 0;
    for file in files {
        let bytes = fs::read(file.expect("a file").path()).expect("its bytes");
        fuzz::frames(&bytes);
        // Cut, and with one byte changed, at some forty places.
        for at in (0..bytes.len()).step_by((bytes.len() / 40).max(1)) {
            fuzz::frames(&bytes[..at]);
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x15;
            fuzz::frames(&spoilt);
        }
        count += 1;
    }
    assert!(count >= 3, "only {count} files in the corpus");
}
