//! The head of a response, and the body of one that refuses.

use core::fmt::{self, Write};

/// The longest head, bytes.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 256;

/// How a request was answered (RFC 9110, 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 400: it could not be understood.
    BadRequest,
    /// 404: there is no such resource.
    NotFound,
    /// 405: the resource can't be asked that.
    MethodNotAllowed,
    /// 408: it did not come to its end in time.
    RequestTimeout,
    /// 411: its body has no length.
    LengthRequired,
    /// 413: its body is too long.
    ContentTooLarge,
    /// 431: its head is too long.
    HeadTooLarge,
    /// 500: the device could not do it.
    InternalServerError,
    /// 505: it is of another version of HTTP.
    VersionNotSupported,
}

impl Status {
    /// Its number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::LengthRequired => 411,
            Self::ContentTooLarge => 413,
            Self::HeadTooLarge => 431,
            Self::InternalServerError => 500,
            Self::VersionNotSupported => 505,
        }
    }

    /// Its name.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::LengthRequired => "Length Required",
            Self::ContentTooLarge => "Content Too Large",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// Writes the head of a response whose body is `body_bytes` of JSON. `allow`: what the resource can
/// be asked, for [`Status::MethodNotAllowed`].
///
/// # Errors
/// What `out` says: [`RESPONSE_HEAD_BYTES_MAX`] bytes are always enough.
pub fn write_head(
    out: &mut impl Write,
    status: Status,
    body_bytes: usize,
    allow: Option<&str>,
) -> fmt::Result {
    write!(out, "HTTP/1.1 {} {}\r\n", status.code(), status.reason())?;
    write!(out, "Content-Type: application/json\r\n")?;
    write!(out, "Content-Length: {body_bytes}\r\n")?;
    if let Some(allow) = allow {
        write!(out, "Allow: {allow}\r\n")?;
    }
    // What a proxy keeps would be shown when it is no longer so.
    write!(out, "Cache-Control: no-store\r\nConnection: close\r\n\r\n")
}

/// Writes the body of a response that refuses for no other reason than its status.
///
/// # Errors
/// What `out` says.
pub fn write_error(out: &mut impl Write, status: Status) -> fmt::Result {
    write!(out, "{{\"error\":\"{}\"}}", status.reason())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;

    use super::*;

    const ALL: [Status; 10] = [
        Status::Ok,
        Status::BadRequest,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::LengthRequired,
        Status::ContentTooLarge,
        Status::HeadTooLarge,
        Status::InternalServerError,
        Status::VersionNotSupported,
    ];

    #[test]
    fn heads_are_what_a_client_reads() {
        let mut head = String::new();
        write_head(&mut head, Status::MethodNotAllowed, 31, Some("GET, POST")).expect("written");
        assert_eq!(
            head,
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\n\
             Content-Length: 31\r\nAllow: GET, POST\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n"
        );
        let mut body = String::new();
        write_error(&mut body, Status::MethodNotAllowed).expect("written");
        assert_eq!(body, r#"{"error":"Method Not Allowed"}"#);
    }

    #[test]
    fn every_head_fits_and_is_one_that_a_client_can_parse() {
        for status in ALL {
            let mut head = String::new();
            write_head(&mut head, status, usize::MAX, Some("GET, POST")).expect("written");
            assert!(head.len() <= RESPONSE_HEAD_BYTES_MAX, "{}", head.len());
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(head.as_bytes()).expect("a head");
            assert!(parsed.is_complete());
            assert_eq!(response.code, Some(status.code()));
        }
    }
}
