//! Link arguments that only the on-target tests want.

fn main() {
    // Keeps the list of tests in the ELF, where the runner reads it. `wire` has no such list, and
    // the script does nothing there.
    println!("cargo::rustc-link-arg-tests=-Tembedded-test.x");
    println!("cargo::rerun-if-changed=build.rs");
}
