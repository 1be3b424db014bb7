//! A request, read from the beginning of a connection.
//!
//! Bodies have a Content-Length (RFC 9112, 6.2); chunked ones are refused, as the limit could not be
//! told before they are read. Where a lenient reading and a strict one could differ, so that a proxy
//! might see another request than the device, the request is refused.

use httparse::{Error, Header};

use crate::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Status};

/// Header fields that are read; a browser sends about fifteen.
const HEADERS_MAX: usize = 32;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// Any other.
    Other,
}

/// A whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'b> {
    /// What is asked for.
    pub method: Method,
    /// Of what: the path without its query.
    pub path: &'b str,
    /// The body; empty without one.
    pub body: &'b [u8],
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'b> {
    /// More bytes belong to it.
    More {
        /// The client waits for [`crate::CONTINUE`] before it sends them.
        asks_to_continue: bool,
    },
    /// It is all there. Bytes behind it are not looked at: one request a connection.
    Whole(Request<'b>),
}

/// Reads the request that `bytes` begin with; all bytes so far, each time.
///
/// # Errors
/// The status with which it is to be refused, as soon as that is known.
pub fn read(bytes: &[u8]) -> Result<Progress<'_>, Status> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let limited = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let head_bytes = match head.parse(limited) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => {
            return Ok(Progress::More {
                asks_to_continue: false,
            });
        }
        Ok(httparse::Status::Partial) | Err(Error::TooManyHeaders) => {
            return Err(Status::HeadTooLarge);
        }
        Err(Error::Version) => return Err(Status::VersionNotSupported),
        Err(_) => return Err(Status::BadRequest),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(Status::BadRequest);
    };
    let length = body_length(head.headers)?;
    check_host(head.headers, version)?;
    let path = target
        .split_once(['?', '#'])
        .map_or(target, |(path, _)| path);
    let Some(body) = bytes.get(head_bytes..head_bytes + length) else {
        let asks = values(head.headers, "expect").any(|v| v.eq_ignore_ascii_case(b"100-continue"));
        return Ok(Progress::More {
            asks_to_continue: asks && version == 1 && bytes.len() == head_bytes,
        });
    };
    Ok(Progress::Whole(Request {
        method: match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            _ => Method::Other,
        },
        path,
        body,
    }))
}

fn values<'h>(headers: &'h [Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// How long the body is, bytes: at most [`BODY_BYTES_MAX`].
fn body_length(headers: &[Header<'_>]) -> Result<usize, Status> {
    if values(headers, "transfer-encoding").next().is_some() {
        return Err(Status::LengthRequired);
    }
    let mut lengths = values(headers, "content-length");
    let Some(first) = lengths.next() else {
        return Ok(0);
    };
    // Two of them, be they the same: the request may be read in two ways.
    if lengths.next().is_some() || first.is_empty() {
        return Err(Status::BadRequest);
    }
    let mut length = 0_usize;
    for digit in first {
        if !digit.is_ascii_digit() {
            return Err(Status::BadRequest);
        }
        length = length
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'));
    }
    if length > BODY_BYTES_MAX {
        return Err(Status::ContentTooLarge);
    }
    Ok(length)
}

/// RFC 9112, 3.2: one Host in HTTP/1.1, whatever it says.
fn check_host(headers: &[Header<'_>], version: u8) -> Result<(), Status> {
    match values(headers, "host").count() {
        1 => Ok(()),
        0 if version == 0 => Ok(()),
        _ => Err(Status::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn get(path: &str) -> Progress<'_> {
        Progress::Whole(Request {
            method: Method::Get,
            path,
            body: &[],
        })
    }

    #[track_caller]
    fn refused(request: &str, status: Status) {
        assert_eq!(read(request.as_bytes()), Err(status), "{request}");
    }

    const MORE: Progress<'_> = Progress::More {
        asks_to_continue: false,
    };

    #[test]
    fn a_request_is_read_once_it_is_all_there() {
        let text =
            "POST /api/mqtt/config?x=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\n{ }\n";
        for end in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..end]), Ok(MORE), "{end}");
        }
        assert_eq!(
            read(text.as_bytes()),
            Ok(Progress::Whole(Request {
                method: Method::Post,
                path: "/api/mqtt/config",
                body: b"{ }\n",
            }))
        );
    }

    #[test]
    fn methods_paths_and_versions() {
        for (request, path) in [
            ("GET / HTTP/1.1\r\nHost: d\r\n\r\n", "/"),
            ("GET /a#b HTTP/1.1\nhost:d\n\n", "/a"),
            ("GET /a HTTP/1.0\r\n\r\n", "/a"),
            ("\r\nGET /a HTTP/1.1\r\nHOST: d\r\n\r\nGET /b", "/a"),
        ] {
            assert_eq!(read(request.as_bytes()), Ok(get(path)), "{request}");
        }
        let other = read(b"BREW / HTTP/1.1\r\nHost: d\r\n\r\n");
        assert!(matches!(
            other,
            Ok(Progress::Whole(Request {
                method: Method::Other,
                ..
            }))
        ));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for garbage in [
            "hello\r\n\r\n",
            "GET\r\n\r\n",
            "GET  HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: d\r\n folded\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: d\r\nHost: e\r\n\r\n",
        ] {
            refused(garbage, Status::BadRequest);
        }
        refused("GET / HTTP/2.0\r\n\r\n", Status::VersionNotSupported);
    }

    #[test]
    fn lengths_that_can_be_read_in_two_ways_are_refused() {
        for (fields, status) in [
            ("Content-Length: 4\r\nContent-Length: 4", Status::BadRequest),
            ("Content-Length: +4", Status::BadRequest),
            ("Content-Length: 4, 4", Status::BadRequest),
            ("Content-Length: -1", Status::BadRequest),
            ("Content-Length: 0x4", Status::BadRequest),
            ("Content-Length:", Status::BadRequest),
            ("Content-Length: 2049", Status::ContentTooLarge),
            ("Content-Length: 4294967295", Status::ContentTooLarge),
            (
                "Content-Length: 99999999999999999999999999",
                Status::ContentTooLarge,
            ),
            ("Transfer-Encoding: chunked", Status::LengthRequired),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 4",
                Status::LengthRequired,
            ),
        ] {
            refused(
                &format!("POST / HTTP/1.1\r\nHost: d\r\n{fields}\r\n\r\n"),
                status,
            );
        }
    }

    #[test]
    fn heads_and_bodies_have_limits() {
        let head = "GET / HTTP/1.1\r\nHost: d\r\nX: ";
        let padded = |bytes: usize| {
            let fill = "x".repeat(bytes - head.len() - 4);
            format!("{head}{fill}\r\n\r\n")
        };
        assert_eq!(read(padded(HEAD_BYTES_MAX).as_bytes()), Ok(get("/")));
        refused(&padded(HEAD_BYTES_MAX + 1), Status::HeadTooLarge);
        refused(&"x".repeat(HEAD_BYTES_MAX), Status::HeadTooLarge);
        let fields: String = (0..40).map(|i| format!("a{i}: b\r\n")).collect();
        refused(
            &format!("GET / HTTP/1.1\r\nHost: d\r\n{fields}\r\n"),
            Status::HeadTooLarge,
        );
        let body = "y".repeat(BODY_BYTES_MAX);
        let post = format!("POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 2048\r\n\r\n{body}");
        let Ok(Progress::Whole(request)) = read(post.as_bytes()) else {
            panic!("refused");
        };
        assert_eq!(request.body, body.as_bytes());
    }

    #[test]
    fn a_client_that_asks_before_its_body_is_told_to_go_on_once() {
        let head =
            "POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n";
        assert_eq!(
            read(head.as_bytes()),
            Ok(Progress::More {
                asks_to_continue: true
            })
        );
        assert_eq!(read(format!("{head}{{").as_bytes()), Ok(MORE));
        let old = head.replace("1.1", "1.0");
        assert_eq!(read(old.as_bytes()), Ok(MORE));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3_200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn near_requests_are_read_or_refused(
            length in prop_oneof![Just(String::from("4")), "[0-9]{1,30}", "\\PC{0,8}"],
            fields in proptest::collection::vec(("[A-Za-z-]{1,12}", "\\PC{0,20}"), 0..40),
            tail in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut text = format!("POST /api HTTP/1.1\r\nHost: d\r\nContent-Length: {length}\r\n");
            for (name, value) in fields {
                text += &format!("{name}: {value}\r\n");
            }
            text += "\r\n";
            let mut bytes: Vec<u8> = text.into_bytes();
            bytes.extend(tail);
            if let Ok(Progress::Whole(request)) = read(&bytes) {
                prop_assert!(request.body.len() <= BODY_BYTES_MAX);
            }
        }
    }
}
