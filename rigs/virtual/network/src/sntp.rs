//! SNTP server (RFC 4330): serves the bench's time, so that the device's timestamps are the run's.

/// Length of an NTP packet without authentication.
const PACKET_BYTES: usize = 48;
/// Seconds from the NTP epoch (1900) to the Unix epoch (1970), RFC 4330 section 3.
const UNIX_EPOCH_NTP_SECONDS: u64 = 2_208_988_800;

/// Answers a client's request with `unix_nanos` as the time now, or nothing when it isn't one.
pub(crate) fn answer(request: &[u8], unix_nanos: u64) -> Option<[u8; PACKET_BYTES]> {
    if request.len() < PACKET_BYTES {
        return None;
    }
    let version = (request[0] >> 3) & 0b111;
    let mode = request[0] & 0b111;
    // RFC 4330 section 5: client requests have mode 3 (symmetric active, 1, is answered with 2).
    let answer_mode = match mode {
        3 => 4,
        1 => 2,
        _ => return None,
    };
    if !(1..=4).contains(&version) {
        return None;
    }
    let now = timestamp(unix_nanos);
    let mut answer = [0; PACKET_BYTES];
    answer[0] = version << 3 | answer_mode; // leap indicator 0: no warning
    answer[1] = 1; // stratum: primary reference
    answer[2] = request[2]; // poll interval, copied
    answer[3] = (-20_i8).cast_unsigned(); // precision: about a microsecond
    answer[12..16].copy_from_slice(b"LOCL"); // reference: uncalibrated local clock
    answer[16..24].copy_from_slice(&now); // reference timestamp
    answer[24..32].copy_from_slice(&request[40..48]); // originate: the client's transmit timestamp
    answer[32..40].copy_from_slice(&now); // receive
    answer[40..48].copy_from_slice(&now); // transmit
    Some(answer)
}

/// 64-bit NTP timestamp: seconds since 1900 (wrapping into the next era in 2036), then a binary fraction.
fn timestamp(unix_nanos: u64) -> [u8; 8] {
    let seconds = unix_nanos / 1_000_000_000 + UNIX_EPOCH_NTP_SECONDS;
    let fraction = ((unix_nanos % 1_000_000_000) << 32) / 1_000_000_000;
    ((seconds & 0xFFFF_FFFF) << 32 | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(first: u8) -> [u8; PACKET_BYTES] {
        let mut request = [0; PACKET_BYTES];
        request[0] = first;
        request[40..48].copy_from_slice(b"whenever");
        request
    }

    #[test]
    fn answers_with_the_time_and_the_clients_own_stamp() {
        // 2026-11-23T00:00:00.5Z
        let answer = answer(&request(0b00_100_011), 1_795_392_000_500_000_000).unwrap();
        assert_eq!(answer[0], 0b00_100_100);
        assert_eq!(answer[1], 1);
        assert_eq!(&answer[24..32], b"whenever");
        let seconds = u32::from_be_bytes(answer[40..44].try_into().unwrap());
        assert_eq!(u64::from(seconds) - UNIX_EPOCH_NTP_SECONDS, 1_795_392_000);
        assert_eq!(&answer[44..48], &[0x80, 0, 0, 0]);
    }

    #[test]
    fn wraps_into_the_era_of_2036() {
        // 2036-02-07T06:28:16Z is second 0 of era 1.
        assert_eq!(timestamp(2_085_978_496_000_000_000), [0; 8]);
    }

    #[test]
    fn answers_clients_only() {
        for first in [0b00_100_100, 0b00_100_101, 0b00_000_011, 0b00_111_011] {
            assert_eq!(answer(&request(first), 0), None, "{first:#010b}");
        }
        assert_eq!(answer(&request(0b00_100_011)[..47], 0), None);
    }
}
