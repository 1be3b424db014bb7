//! Mbed TLS's objects and functions behind safe ones: bytes in, bytes out, no socket.
//!
//! The build of Mbed TLS that comes ready for this chip has no clock. So whether a certificate is
//! valid now is checked here, in the function that Mbed TLS calls for each certificate of the chain
//! before it decides.

#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{
    alloc::Layout,
    ffi::{c_int, c_uchar, c_void},
    ptr::{self, NonNull},
    slice,
};

use esp_hal::rng::Rng;
use mbedtls_rs_sys as c;

use super::{NO_MEMORY, Settings, Unsound};

/// Ciphertext on its way, bytes each way: larger records go through in pieces.
const WIRE_BYTES: usize = 1_024;
/// A name of 64 bytes and its zero.
const NAME_BYTES: usize = 65;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Done, with so many bytes.
    Done(usize),
    /// Again, once what is to be sent is sent.
    WantsToSend,
    /// Again, once something was received.
    WantsToReceive,
    /// Failed, with Mbed TLS's code.
    Failed(i32),
}

/// A client's half of one session.
///
/// Mbed TLS keeps pointers from one object to another, so each lives at an address of its own until
/// all are freed: in the order of the fields, those that point before those that are pointed to.
pub(super) struct Engine {
    ssl: Owned<c::mbedtls_ssl_context>,
    config: Owned<c::mbedtls_ssl_config>,
    authority: Certificate,
    client: Option<(Certificate, PrivateKey)>,
    wire: Owned<Wire>,
    clock: Owned<Clock>,
}

impl Engine {
    /// # Errors
    /// What is wrong with the settings, in words.
    pub(super) fn new(settings: Settings<'_>) -> Result<Self, &'static str> {
        let mut name = [0; NAME_BYTES];
        name[..NAME_BYTES - 1]
            .get_mut(..settings.server_name.len())
            .ok_or("the server's name is too long")?
            .copy_from_slice(settings.server_name.as_bytes());
        let authority = Certificate::parse(settings.authority)
            .map_err(|unsound| unsound.or("the authority that is kept is none"))?;
        let client = match settings.client {
            Some((certificate, key)) => Some((
                Certificate::parse(certificate)
                    .map_err(|unsound| unsound.or("the client certificate kept is none"))?,
                PrivateKey::parse(&key)
                    .map_err(|unsound| unsound.or("the client key that is kept is none"))?,
            )),
            None => None,
        };
        let engine = Self {
            ssl: Owned::new().ok_or(NO_MEMORY)?,
            config: Owned::new().ok_or(NO_MEMORY)?,
            authority,
            client,
            wire: Owned::new().ok_or(NO_MEMORY)?,
            clock: Owned::new().ok_or(NO_MEMORY)?,
        };
        // Safety: see `set_up`; the name ends with a zero.
        unsafe { engine.set_up(&name, settings.now_unix_s) }.map_err(words)?;
        Ok(engine)
    }

    /// Ties the objects together.
    ///
    /// # Safety
    /// `name` holds a zero.
    unsafe fn set_up(&self, name: &[u8; NAME_BYTES], now_unix_s: u64) -> Result<(), i32> {
        let (ssl, config) = (self.ssl.0.as_ptr(), self.config.0.as_ptr());
        // Safety: all objects are initialised, live as long as this engine, and are freed after
        // those that point to them, which is the order of its fields. The name is copied.
        unsafe {
            (*self.clock.0.as_ptr()).now_unix_s = now_unix_s;
            succeed(c::psa_crypto_init())?;
            succeed(c::mbedtls_ssl_config_defaults(
                config,
                c::MBEDTLS_SSL_IS_CLIENT as c_int,
                c::MBEDTLS_SSL_TRANSPORT_STREAM as c_int,
                c::MBEDTLS_SSL_PRESET_DEFAULT as c_int,
            ))?;
            c::mbedtls_ssl_conf_authmode(config, c::MBEDTLS_SSL_VERIFY_REQUIRED as c_int);
            let authority = self.authority.object.0.as_ptr();
            c::mbedtls_ssl_conf_ca_chain(config, authority, ptr::null_mut());
            c::mbedtls_ssl_conf_rng(config, Some(random), ptr::null_mut());
            c::mbedtls_ssl_conf_verify(config, Some(check_times), self.clock.0.as_ptr().cast());
            if let Some((certificate, key)) = &self.client {
                succeed(c::mbedtls_ssl_conf_own_cert(
                    config,
                    certificate.object.0.as_ptr(),
                    key.0.0.as_ptr(),
                ))?;
            }
            succeed(c::mbedtls_ssl_setup(ssl, config))?;
            succeed(c::mbedtls_ssl_set_hostname(ssl, name.as_ptr().cast()))?;
            let wire = self.wire.0.as_ptr().cast();
            c::mbedtls_ssl_set_bio(ssl, wire, Some(send), Some(receive), None);
        }
        Ok(())
    }

    /// Negotiates.
    pub(super) fn handshake(&mut self) -> Step {
        // Safety: the context is set up, see `new`.
        step(unsafe { c::mbedtls_ssl_handshake(self.ssl.0.as_ptr()) })
    }

    /// Reads what was received, decrypted; 0 bytes when the server closed the session.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Step {
        // Safety: as above; the buffer is valid for its length.
        let code =
            unsafe { c::mbedtls_ssl_read(self.ssl.0.as_ptr(), buffer.as_mut_ptr(), buffer.len()) };
        match code {
            c::MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY => Step::Done(0),
            code => step(code),
        }
    }

    /// Encrypts bytes to be sent.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Step {
        // Safety: as above.
        step(unsafe { c::mbedtls_ssl_write(self.ssl.0.as_ptr(), bytes.as_ptr(), bytes.len()) })
    }

    /// Ciphertext to be sent.
    pub(super) fn to_send(&self) -> &[u8] {
        let wire = self.wire();
        &wire.out[wire.out_start..wire.out_end]
    }

    /// So many bytes of it were sent.
    pub(super) fn sent(&mut self, count: usize) {
        let wire = self.wire_mut();
        wire.out_start += count;
        if wire.out_start == wire.out_end {
            (wire.out_start, wire.out_end) = (0, 0);
        }
    }

    /// Room for ciphertext that is received, when the engine wants some.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let wire = self.wire_mut();
        // It wants some when it has used up all.
        (wire.in_start, wire.in_end) = (0, 0);
        &mut wire.input
    }

    /// So many bytes were put there.
    pub(super) fn received(&mut self, count: usize) {
        self.wire_mut().in_end = count;
    }

    /// Why a handshake failed with `code`, in words of at most 64 bytes.
    pub(super) fn why(&self, code: i32) -> &'static str {
        if code != c::MBEDTLS_ERR_X509_CERT_VERIFY_FAILED {
            return words(code);
        }
        // Safety: the context is set up.
        let flags = unsafe { c::mbedtls_ssl_get_verify_result(self.ssl.0.as_ptr()) };
        if flags & c::MBEDTLS_X509_BADCERT_NOT_TRUSTED != 0 {
            "the server's certificate is not signed by our authority"
        } else if flags & c::MBEDTLS_X509_BADCERT_CN_MISMATCH != 0 {
            "the server's certificate bears another name"
        } else if flags & c::MBEDTLS_X509_BADCERT_EXPIRED != 0 {
            "the server's certificate has expired"
        } else if flags & c::MBEDTLS_X509_BADCERT_FUTURE != 0 {
            "the server's certificate is not valid yet"
        } else {
            "the server's certificate is not acceptable"
        }
    }

    fn wire(&self) -> &Wire {
        // Safety: Mbed TLS uses it within its own calls only, and none is under way.
        unsafe { self.wire.0.as_ref() }
    }

    fn wire_mut(&mut self) -> &mut Wire {
        // Safety: as above.
        unsafe { self.wire.0.as_mut() }
    }
}

fn succeed(code: c_int) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(code) }
}

fn step(code: c_int) -> Step {
    match code {
        c::MBEDTLS_ERR_SSL_WANT_READ => Step::WantsToReceive,
        // A ticket to resume with later: it is not used, and the call is to be made again.
        c::MBEDTLS_ERR_SSL_WANT_WRITE | c::MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET => {
            Step::WantsToSend
        }
        // Not negative.
        count @ 0.. => Step::Done(count as usize),
        code => Step::Failed(code),
    }
}

fn words(code: i32) -> &'static str {
    match code {
        code if is_shortage(code) => NO_MEMORY,
        c::MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE => "the server ended the TLS handshake",
        _ => "the TLS handshake failed",
    }
}

/// Whether `code` says that there was no memory. Errors of what is parsed are made of two: that of
/// X.509 or of keys, in the higher bits, and that of what lies below it.
fn is_shortage(code: i32) -> bool {
    const LOW_BITS: i32 = 0x7F;
    /// `psa/crypto_values.h`.
    const PSA_ERROR_INSUFFICIENT_MEMORY: i32 = -141;
    matches!(
        code,
        c::MBEDTLS_ERR_SSL_ALLOC_FAILED
            | c::MBEDTLS_ERR_X509_ALLOC_FAILED
            | c::MBEDTLS_ERR_PK_ALLOC_FAILED
            | PSA_ERROR_INSUFFICIENT_MEMORY
    ) || matches!(
        -(-code & LOW_BITS),
        c::MBEDTLS_ERR_ASN1_ALLOC_FAILED | c::MBEDTLS_ERR_MPI_ALLOC_FAILED
    )
}

/// What a parser's `code` says of the bytes.
fn sound(code: i32) -> Result<(), Unsound> {
    match code {
        0 => Ok(()),
        code if is_shortage(code) => Err(Unsound::NoMemory),
        _ => Err(Unsound::Malformed),
    }
}

/// Whether these bytes are a certificate.
pub(super) fn check_certificate(bytes: &[u8]) -> Result<(), Unsound> {
    let mut copy =
        crate::heap::vec(bytes.len()).map_err(|crate::heap::Refused| Unsound::NoMemory)?;
    copy.extend_from_slice(bytes);
    Certificate::parse(copy).map(drop)
}

/// Whether these bytes are a private key.
pub(super) fn check_private_key(bytes: &[u8]) -> Result<(), Unsound> {
    PrivateKey::parse(bytes).map(drop)
}

/// A parsed certificate, which points into its bytes.
struct Certificate {
    object: Owned<c::mbedtls_x509_crt>,
    _bytes: Vec<u8>,
}

impl Certificate {
    fn parse(bytes: Vec<u8>) -> Result<Self, Unsound> {
        let object = Owned::<c::mbedtls_x509_crt>::new().ok_or(Unsound::NoMemory)?;
        // Safety: the object is initialised; the bytes live as long as it, at the same address, as
        // the vector is not changed.
        let code = unsafe {
            c::mbedtls_x509_crt_parse_der_nocopy(object.0.as_ptr(), bytes.as_ptr(), bytes.len())
        };
        sound(code)?;
        Ok(Self {
            object,
            _bytes: bytes,
        })
    }
}

struct PrivateKey(Owned<c::mbedtls_pk_context>);

impl PrivateKey {
    fn parse(bytes: &[u8]) -> Result<Self, Unsound> {
        let object = Owned::<c::mbedtls_pk_context>::new().ok_or(Unsound::NoMemory)?;
        // Safety: the object is initialised, and the bytes are copied. A key parsed before PSA is
        // set up, which does nothing the second time, could not be used.
        let code = unsafe {
            match c::psa_crypto_init() {
                0 => c::mbedtls_pk_parse_key(
                    object.0.as_ptr(),
                    bytes.as_ptr(),
                    bytes.len(),
                    ptr::null(),
                    0,
                    Some(random),
                    ptr::null_mut(),
                ),
                code => code,
            }
        };
        sound(code)?;
        Ok(Self(object))
    }
}

/// Ciphertext on its way: the two functions below are given a pointer to it.
struct Wire {
    input: [u8; WIRE_BYTES],
    in_start: usize,
    in_end: usize,
    out: [u8; WIRE_BYTES],
    out_start: usize,
    out_end: usize,
}

/// What Mbed TLS calls to send; takes as much as there is room for.
///
/// # Safety
/// `wire` is the engine's, and `bytes` are `count` bytes.
unsafe extern "C" fn send(wire: *mut c_void, bytes: *const c_uchar, count: usize) -> c_int {
    // Safety: Mbed TLS hands back what it was given in `Engine::new`, within a call of its own.
    let (wire, bytes) = unsafe {
        (
            &mut *wire.cast::<Wire>(),
            slice::from_raw_parts(bytes, count),
        )
    };
    let room = &mut wire.out[wire.out_end..];
    let count = count.min(room.len());
    if count == 0 {
        return c::MBEDTLS_ERR_SSL_WANT_WRITE;
    }
    room[..count].copy_from_slice(&bytes[..count]);
    wire.out_end += count;
    count as c_int
}

/// What Mbed TLS calls to receive; gives what is there.
///
/// # Safety
/// `wire` is the engine's, and `bytes` has room for `count`.
unsafe extern "C" fn receive(wire: *mut c_void, bytes: *mut c_uchar, count: usize) -> c_int {
    // Safety: as in `send`. The bytes there may not have been written yet: they are written, not read.
    let wire = unsafe { &mut *wire.cast::<Wire>() };
    let there = &wire.input[wire.in_start..wire.in_end];
    let count = count.min(there.len());
    if count == 0 {
        return c::MBEDTLS_ERR_SSL_WANT_READ;
    }
    // Safety: both are valid for `count` bytes, and Mbed TLS's buffer is not this one.
    unsafe { ptr::copy_nonoverlapping(there.as_ptr(), bytes, count) };
    wire.in_start += count;
    count as c_int
}

struct Clock {
    now_unix_s: u64,
}

/// What Mbed TLS calls for each certificate of a chain: marks it when it is not valid now.
///
/// # Safety
/// `clock` is the engine's, `certificate` a parsed one.
unsafe extern "C" fn check_times(
    clock: *mut c_void,
    certificate: *mut c::mbedtls_x509_crt,
    _depth: c_int,
    flags: *mut u32,
) -> c_int {
    // Safety: Mbed TLS hands back what it was given in `Engine::new`, a certificate of its own, and
    // the place where it collects what is wrong with it.
    unsafe {
        let now = (*clock.cast::<Clock>()).now_unix_s;
        if now < unix_s(&(*certificate).valid_from) {
            *flags |= c::MBEDTLS_X509_BADCERT_FUTURE;
        }
        if now > unix_s(&(*certificate).valid_to) {
            *flags |= c::MBEDTLS_X509_BADCERT_EXPIRED;
        }
    }
    0
}

/// Seconds since 1970-01-01T00:00:00Z of a time in a certificate; 0 for one before.
/// Days from the civil date: H. Hinnant, "chrono-compatible low-level date algorithms".
fn unix_s(time: &c::mbedtls_x509_time) -> u64 {
    let year = i64::from(time.year) - i64::from(time.mon <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = (i64::from(time.mon) + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + i64::from(time.day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = i64::from(time.hour) * 3_600 + i64::from(time.min) * 60 + i64::from(time.sec);
    u64::try_from(days * 86_400 + seconds).unwrap_or(0)
}

/// The chip's random numbers (ESP32-C3 Technical Reference Manual, "Random Number Generator"): true
/// ones while the radio is on.
///
/// # Safety
/// `buffer` has room for `count` bytes.
unsafe extern "C" fn random(_: *mut c_void, buffer: *mut c_uchar, count: usize) -> c_int {
    let rng = Rng::new();
    let mut done = 0;
    while done < count {
        let word = rng.random().to_le_bytes();
        let part = word.len().min(count - done);
        // Safety: the caller's promise; `done + part` is at most `count`.
        unsafe { ptr::copy_nonoverlapping(word.as_ptr(), buffer.add(done), part) };
        done += part;
    }
    0
}

/// As [`random`], for PSA: 0 is success there too.
// Safety of the name: this build of Mbed TLS leaves exactly this symbol to whoever uses it, with
// this signature; the context is a type without content.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbedtls_psa_external_get_random(
    _: *mut c_void,
    buffer: *mut u8,
    count: usize,
    length: *mut usize,
) -> i32 {
    // Safety: PSA gives a buffer of `count` bytes and a place for the length.
    unsafe {
        random(ptr::null_mut(), buffer, count);
        *length = count;
    }
    0
}

/// An object that others have pointers to: at an address of its own, freed when this is dropped.
struct Owned<T: Object>(NonNull<T>);

impl<T: Object> Owned<T> {
    /// None when there is no memory for it, which a box would panic at.
    fn new() -> Option<Self> {
        const { assert!(size_of::<T>() > 0) };
        // Safety: the layout's size is not 0.
        let place = unsafe { alloc::alloc::alloc(Layout::new::<T>()) };
        let place = NonNull::new(place)?.cast();
        // Safety: the place is there for this object, which is initialised before anybody reads it.
        unsafe { T::init(place.as_ptr()) };
        Some(Self(place))
    }
}

impl<T: Object> Drop for Owned<T> {
    fn drop(&mut self) {
        // Safety: made by `new`, and given up here once; whoever points to it was dropped before,
        // see `Engine`.
        unsafe {
            T::free(self.0.as_ptr());
            alloc::alloc::dealloc(self.0.as_ptr().cast(), Layout::new::<T>());
        }
    }
}

/// How an object begins and ends.
trait Object {
    /// # Safety
    /// `place` is valid for writes.
    unsafe fn init(place: *mut Self);
    /// # Safety
    /// The object is initialised, and nobody uses it any more.
    unsafe fn free(object: *mut Self);
}

macro_rules! object {
    ($type:ident, $init:ident, $free:ident) => {
        impl Object for c::$type {
            unsafe fn init(place: *mut Self) {
                // Safety: the caller's promise.
                unsafe { c::$init(place) }
            }
            unsafe fn free(object: *mut Self) {
                // Safety: the caller's promise.
                unsafe { c::$free(object) }
            }
        }
    };
}

object!(mbedtls_ssl_context, mbedtls_ssl_init, mbedtls_ssl_free);
object!(
    mbedtls_ssl_config,
    mbedtls_ssl_config_init,
    mbedtls_ssl_config_free
);
object!(
    mbedtls_x509_crt,
    mbedtls_x509_crt_init,
    mbedtls_x509_crt_free
);
object!(mbedtls_pk_context, mbedtls_pk_init, mbedtls_pk_free);

impl Object for Wire {
    unsafe fn init(place: *mut Self) {
        // Safety: the caller's promise.
        unsafe { place.write_bytes(0, 1) };
    }
    unsafe fn free(_: *mut Self) {}
}

impl Object for Clock {
    unsafe fn init(place: *mut Self) {
        // Safety: the caller's promise.
        unsafe { place.write(Self { now_unix_s: 0 }) };
    }
    unsafe fn free(_: *mut Self) {}
}
