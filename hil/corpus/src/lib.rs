//! A fuzz target as an ordinary test: over the files of its corpus, whole, cut, and with a byte changed.
//!
//! libFuzzer wants nightly Rust and hours; what it found must stay found in every `cargo test`.

use std::fs;
use std::path::Path;

/// At how many places about each file is cut and spoilt.
const PLACES: usize = 40;

/// Gives `target` every file in `directory`: whole, and at some forty places cut off and with one byte
/// changed.
///
/// # Panics
/// When `target` does; when the directory can't be read, or holds fewer than `at_least` files: then it is
/// not the corpus.
pub fn try_out(directory: impl AsRef<Path>, at_least: usize, target: impl Fn(&[u8])) {
    let directory = directory.as_ref();
    let mut files = 0;
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("can't read `{}`: {error}", directory.display()));
    for entry in entries {
        let bytes = fs::read(entry.expect("an entry").path()).expect("its bytes");
        target(&bytes);
        for at in (0..bytes.len()).step_by((bytes.len() / PLACES).max(1)) {
            target(&bytes[..at]);
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x15;
            target(&spoilt);
        }
        files += 1;
    }
    assert!(
        files >= at_least,
        "{files} files in `{}`",
        directory.display()
    );
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn each_file_is_tried_whole_cut_and_spoilt() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("one"), b"ab").expect("a file");
        let tried = RefCell::new(vec![]);
        try_out(directory.path(), 1, |bytes| {
            tried.borrow_mut().push(bytes.to_vec())
        });
        let expected: [&[u8]; 5] = [b"ab", b"", b"tb", b"a", b"aw"];
        assert_eq!(tried.into_inner(), expected);
    }

    #[test]
    #[should_panic = "1 files in"]
    fn a_directory_that_lost_its_files_is_no_corpus() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("one"), b"ab").expect("a file");
        try_out(directory.path(), 2, |_| ());
    }
}
