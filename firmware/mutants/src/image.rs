//! Those of the image: bugs in what only runs on the chip, so that no crate with host tests has them.

crate::mutants! {
    1 LeakPerRequest "leak-per-request" "STAB-1"
        "Each request leaves 64 bytes on the heap that nobody frees."
    2 GuardOff "guard-off" "STAB-4"
        "Requests are given the memory that is kept in reserve."
}
