//! What the fuzz target checks, on stable.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library, for the fuzz target")]
mod fuzz;

#[test]
fn nothing_in_the_corpus_does_harm() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frames");
    hil_corpus::try_out(corpus, 3, fuzz::frames);
}
