//! What Mbed TLS wants of C that not every chip's ROM has.

#![allow(unsafe_code)]

use core::{
    ffi::{c_int, c_void},
    ptr,
};

/// C's `memchr` (ISO C 7.26.5.1), which the ROM of the ESP32-C3 has and that of the ESP32-C6 lacks.
// Safety of the name: nothing else in the image defines it (a second definition would not link),
// and this is what C promises of it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memchr(bytes: *const c_void, value: c_int, count: usize) -> *mut c_void {
    for index in 0..count {
        // Safety: the caller promises bytes up to the one it looks for, at most `count`.
        unsafe {
            let place = bytes.cast::<u8>().add(index);
            if c_int::from(*place) == value & 0xFF {
                return place.cast_mut().cast();
            }
        }
    }
    ptr::null_mut()
}
