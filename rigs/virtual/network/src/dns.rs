//! DNS server (RFC 1035): answers the names of the rig and says NXDOMAIN to everything else.
//!
//! It forwards nothing: a run must not depend on the outside world, and a device that asks for a name nobody
//! configured should hear so at once. It knows A records; a known name asked for another type gets an empty
//! answer, as RFC 4074 wants for AAAA.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::GatewayConfig;

/// Names that always mean the gateway.
const GATEWAY_NAMES: [&str; 2] = ["gateway", "gateway.rig"];
/// Time to live of answers in seconds. Short: a scenario may move a name.
const TIME_TO_LIVE_SECONDS: u32 = 60;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const NAME_ERROR: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;

/// The names, in lower case and without a trailing dot.
pub(crate) struct Dns {
    names: HashMap<String, Vec<Ipv4Addr>>,
}

impl Dns {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let mut names: HashMap<String, Vec<Ipv4Addr>> = HashMap::new();
        for name in GATEWAY_NAMES {
            names.insert(name.to_owned(), vec![config.subnet.gateway]);
        }
        for (name, address) in &config.names {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            names.entry(name).or_default().push(*address);
        }
        Self { names }
    }

    /// The response to `query`, or nothing when it is no query at all.
    pub(crate) fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let header = query.get(..HEADER_BYTES)?;
        let is_response = header[2] & 0x80 != 0;
        if is_response {
            return None;
        }
        let operation = (header[2] >> 3) & 0b1111;
        let questions = u16::from_be_bytes([header[4], header[5]]);
        if operation != 0 {
            return Some(respond(header, NOT_IMPLEMENTED, &[], &[]));
        }
        let Some(question) = (questions == 1)
            .then(|| Question::parse(&query[HEADER_BYTES..]))
            .flatten()
        else {
            return Some(respond(header, FORMAT_ERROR, &[], &[]));
        };
        let in_class = question.class == CLASS_IN || question.class == CLASS_ANY;
        let Some(addresses) = self.names.get(&question.name).filter(|_| in_class) else {
            return Some(respond(header, NAME_ERROR, question.bytes, &[]));
        };
        let wanted = question.kind == TYPE_A || question.kind == TYPE_ANY;
        let addresses: &[Ipv4Addr] = if wanted { addresses } else { &[] };
        Some(respond(header, NO_ERROR, question.bytes, addresses))
    }
}

/// The question of a query.
struct Question<'a> {
    /// In lower case, dotted, without the root.
    name: String,
    kind: u16,
    class: u16,
    /// As it came, to be repeated in the response.
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut name = String::new();
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // Two high bits would be a compression pointer; in the first question there is nothing to point at.
            if length > 63 {
                return None;
            }
            let label = bytes.get(at..at + length)?;
            at += length;
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(
                label
                    .iter()
                    .map(|byte| char::from(byte.to_ascii_lowercase())),
            );
            if name.len() > 255 {
                return None;
            }
        }
        let tail = bytes.get(at..at + 4)?;
        Some(Self {
            name,
            kind: u16::from_be_bytes([tail[0], tail[1]]),
            class: u16::from_be_bytes([tail[2], tail[3]]),
            bytes: &bytes[..at + 4],
        })
    }
}

fn respond(header: &[u8], code: u8, question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut response = Vec::with_capacity(HEADER_BYTES + question.len() + 16 * addresses.len());
    response.extend_from_slice(&header[..2]);
    let recursion_desired = header[2] & 1;
    let operation = header[2] & 0b0111_1000;
    response.push(0x80 | operation | 0x04 | recursion_desired); // response, authoritative
    response.push(0x80 | code); // recursion available, or stub resolvers complain
    response.extend_from_slice(&u16::from(!question.is_empty()).to_be_bytes());
    let count = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
    response.extend_from_slice(&count.to_be_bytes());
    response.extend_from_slice(&[0; 4]); // no authority, no additional records
    response.extend_from_slice(question);
    for address in addresses.iter().take(usize::from(count)) {
        response.extend_from_slice(&[0xC0, HEADER_BYTES as u8]); // the name of the question
        response.extend_from_slice(&TYPE_A.to_be_bytes());
        response.extend_from_slice(&CLASS_IN.to_be_bytes());
        response.extend_from_slice(&TIME_TO_LIVE_SECONDS.to_be_bytes());
        response.extend_from_slice(&4_u16.to_be_bytes());
        response.extend_from_slice(&address.octets());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns() -> Dns {
        Dns::new(&GatewayConfig {
            names: vec![
                ("Broker.Rig.".into(), Ipv4Addr::new(10, 0, 2, 2)),
                ("two.rig".into(), Ipv4Addr::new(10, 0, 2, 7)),
                ("two.rig".into(), Ipv4Addr::new(10, 0, 2, 8)),
            ],
            ..GatewayConfig::default()
        })
    }

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.push(0);
        query.extend_from_slice(&kind.to_be_bytes());
        query.extend_from_slice(&CLASS_IN.to_be_bytes());
        query
    }

    /// `expected`: response code and addresses.
    fn check(query: &[u8], expected: (u8, &[[u8; 4]])) {
        let response = dns().answer(query).expect("an answer");
        assert_eq!(&response[..2], &query[..2], "transaction id");
        assert_eq!(response[2] & 0x80, 0x80, "is a response");
        assert_eq!(response[3] & 0x0F, expected.0, "code");
        assert_eq!(usize::from(response[7]), expected.1.len(), "count");
        let records = &response[response.len() - 16 * expected.1.len()..];
        let addresses: Vec<&[u8]> = records.chunks(16).map(|record| &record[12..]).collect();
        assert_eq!(addresses, expected.1);
    }

    #[test]
    fn answers_what_it_knows() {
        check(&query("gateway", 1), (NO_ERROR, &[[10, 0, 2, 2]]));
        check(&query("broker.rig", 1), (NO_ERROR, &[[10, 0, 2, 2]]));
        check(&query("BROKER.rig", 1), (NO_ERROR, &[[10, 0, 2, 2]]));
        check(
            &query("two.rig", 1),
            (NO_ERROR, &[[10, 0, 2, 7], [10, 0, 2, 8]]),
        );
    }

    #[test]
    fn answers_another_type_of_a_known_name_with_nothing() {
        check(&query("broker.rig", 28), (NO_ERROR, &[]));
    }

    #[test]
    fn forwards_nothing() {
        check(&query("example.org", 1), (NAME_ERROR, &[]));
        check(&query("example.org", 28), (NAME_ERROR, &[]));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let mut status = query("gateway", 1);
        status[2] = 2 << 3;
        check(&status, (NOT_IMPLEMENTED, &[]));
        let mut two = query("gateway", 1);
        two[5] = 2;
        check(&two, (FORMAT_ERROR, &[]));
        // Cut anywhere behind its header.
        let cut = query("gateway", 1);
        for length in 12..cut.len() {
            check(&cut[..length], (FORMAT_ERROR, &[]));
        }
        let mut pointer = query("gateway", 1);
        pointer[12] = 0xC0;
        check(&pointer, (FORMAT_ERROR, &[]));
        assert_eq!(dns().answer(&cut[..11]), None);
        let mut response = query("gateway", 1);
        response[2] |= 0x80;
        assert_eq!(dns().answer(&response), None);
    }
}
