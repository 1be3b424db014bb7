//! Requests: good ones by the contract, bad ones from the fixture data and from chance.

use rand::Rng;
use serde::Deserialize;
use serde_json::json;

/// A request over this many bytes is refused; its `cmd_id` is read if it is whole within them.
pub const REQUEST_BYTES_MAX: usize = 1_024;

/// A request that the contract allows. `parameters` is JSON.
#[must_use]
pub fn request(cmd_id: &str, command: &str, parameters: &str) -> Vec<u8> {
    let parameters: serde_json::Value = serde_json::from_str(parameters).unwrap_or_default();
    json!({"cmd_id": cmd_id, "command": command, "parameters": parameters})
        .to_string()
        .into_bytes()
}

/// A request that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// What is wrong with it.
    pub name: String,
    /// The request.
    pub payload: Vec<u8>,
    /// The `cmd_id` that the response must have.
    pub cmd_id: String,
    /// How the response's message must begin.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    request: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: String,
    payload: Option<String>,
    payload_hex: Option<String>,
    message: String,
}

/// Every bad request of the fixture data, with `cmd_id` where one is read.
///
/// # Panics
/// When the fixture data is malformed; a test of this crate reads it.
#[must_use]
pub fn listed(cmd_id: &str) -> Vec<BadRequest> {
    const DATA: &str = include_str!("../../../../fixtures/data/bad-requests.toml");
    let file: File = toml::from_str(DATA).expect("bad-requests.toml is valid");
    file.request
        .into_iter()
        .map(|entry| {
            let text = entry.payload.unwrap_or_default();
            let answered = text.contains("{id}");
            BadRequest {
                name: entry.name,
                payload: match entry.payload_hex {
                    Some(hex) => bytes(&hex).expect("payload-hex holds pairs of hex digits"),
                    None => text.replace("{id}", cmd_id).into_bytes(),
                },
                cmd_id: if answered {
                    cmd_id.to_owned()
                } else {
                    String::new()
                },
                message: entry.message,
            }
        })
        .collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Bad requests made by chance: truncated, nested, over-long, beyond all numbers.
pub fn generated(random: &mut impl Rng, cmd_id: &str) -> Vec<BadRequest> {
    let bad = |name: String, payload: Vec<u8>, cmd_id: &str, message: &str| BadRequest {
        name,
        payload,
        cmd_id: cmd_id.to_owned(),
        message: message.to_owned(),
    };
    let whole = request(cmd_id, "get_point", r#"{"point_id":5}"#);
    // `cmd_id` comes first.
    let end_of_id = json!({"cmd_id": cmd_id}).to_string().len() - 1;
    let mut made = Vec::new();
    for _ in 0..4 {
        let at = random.random_range(1..whole.len());
        made.push(bad(
            format!("cut after {at} bytes"),
            whole[..at].to_vec(),
            if at < end_of_id { "" } else { cmd_id },
            "JSON parse error",
        ));
    }
    let depth = random.random_range(200..400);
    made.push(bad(
        format!("nested {depth} deep"),
        format!("{{\"cmd_id\":\"a\",\"parameters\":{}", "[".repeat(depth)).into_bytes(),
        "a",
        "JSON parse error",
    ));
    let over = REQUEST_BYTES_MAX + 1 + random.random_range(0..500);
    let mut long = request(cmd_id, "get_status", "{}");
    long.resize(over, b' ');
    made.push(bad(
        format!("{over} bytes long"),
        long,
        cmd_id,
        "Request too large",
    ));
    let garbage: Vec<u8> = (0..random.random_range(1..200))
        .map(|_| random.random_range(0x80..=0xFF))
        .collect();
    made.push(bad(
        format!("{} bytes of garbage", garbage.len()),
        garbage,
        "",
        "JSON parse error",
    ));
    let point = 60 + u64::from(random.random::<u32>());
    made.push(BadRequest {
        name: format!("point {point}"),
        payload: request(cmd_id, "get_point", &format!("{{\"point_id\":{point}}}")),
        cmd_id: cmd_id.to_owned(),
        message: "Point ID out of range".to_owned(),
    });
    made
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_fixture_data_is_valid() {
        let requests = listed("id-1");
        assert!(requests.len() > 20);
        let utf8 = requests
            .iter()
            .find(|r| r.name.contains("UTF-8"))
            .expect("listed");
        assert!(std::str::from_utf8(&utf8.payload).is_err());
        let no_command = requests
            .iter()
            .find(|r| r.name == "no command")
            .expect("listed");
        assert_eq!(
            (no_command.payload.as_slice(), no_command.cmd_id.as_str()),
            (&br#"{"cmd_id":"id-1"}"#[..], "id-1")
        );
    }

    #[test]
    fn a_request_that_is_cut_is_answered_by_id_once_the_id_is_whole() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        for _ in 0..50 {
            for case in generated(&mut random, "bad-2") {
                let whole = br#"{"cmd_id":"bad-2""#;
                if case.name.starts_with("cut") {
                    let expected = if case.payload.starts_with(whole) {
                        "bad-2"
                    } else {
                        ""
                    };
                    assert_eq!(case.cmd_id, expected, "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn chance_follows_the_seed() {
        let made = |seed| generated(&mut rand::rngs::StdRng::seed_from_u64(seed), "a");
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }
}
