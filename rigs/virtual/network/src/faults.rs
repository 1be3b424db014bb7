//! What goes wrong on the cable: loss, delay, reordering, duplication, flipped bits, link down.
//!
//! Faults wrap the gateway from outside, so that neither the stack nor the services know of them. All
//! chance comes from the seed: each direction has a generator of its own, and every frame draws the same
//! number of values whatever the plan says, so that turning one fault up does not reshuffle the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Frames a direction holds at most; more are dropped, as a full switch would.
const QUEUE_FRAMES_MAX: usize = 4_096;
/// Where the Ethernet header ends; bits before it are never flipped.
const ETHERNET_HEADER_BYTES: usize = 14;

/// Faults of both directions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// For frames the device sends.
    pub from_device: DirectionFaults,
    /// For frames the device gets.
    pub to_device: DirectionFaults,
    /// The cable is out: every frame is lost, those under way too. The device's PHY does not notice; a rig
    /// that wants it to sets the chip's link as well.
    pub link_down: bool,
}

impl FaultPlan {
    /// The same faults in both directions.
    pub fn both(faults: DirectionFaults) -> Self {
        Self {
            from_device: faults.clone(),
            to_device: faults,
            link_down: false,
        }
    }
}

/// Faults of one direction. Probabilities are per frame, from 0.0 to 1.0; values outside count as the
/// nearer end, NaN as 0.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionFaults {
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Probability that one bit behind the Ethernet header arrives flipped, as if the checksum of the frame
    /// had missed it. ARP, which has no checksum of its own, is lost instead, as a real adapter would do.
    pub corrupt: f64,
    /// Probability that a frame is held back for [`reorder_nanos`](Self::reorder_nanos), while later ones pass.
    pub reorder: f64,
    /// How long a reordered frame is held back, in nanoseconds.
    pub reorder_nanos: u64,
    /// Delay of every frame in nanoseconds.
    pub delay_nanos: u64,
    /// Further delay, evenly spread from 0 to this, in nanoseconds. Keeps the order.
    pub jitter_nanos: u64,
}

impl Default for DirectionFaults {
    /// No fault. A reordered frame, once the probability is set, is held back 5 ms.
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            reorder_nanos: 5_000_000,
            delay_nanos: 0,
            jitter_nanos: 0,
        }
    }
}

/// What became of a frame that was put on the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fate {
    pub(crate) lost: bool,
    pub(crate) overflowed: bool,
    pub(crate) duplicated: bool,
    pub(crate) corrupted: bool,
    pub(crate) reordered: bool,
}

impl Fate {
    /// For a capture's reader; empty when nothing happened.
    pub(crate) fn comment(self) -> String {
        let named = [
            (self.lost, "lost"),
            (self.overflowed, "dropped, queue full"),
            (self.duplicated, "duplicated"),
            (self.corrupted, "corrupted"),
            (self.reordered, "reordered"),
        ];
        let said: Vec<&str> = named
            .iter()
            .filter(|(happened, _)| *happened)
            .map(|(_, name)| *name)
            .collect();
        if said.is_empty() {
            String::new()
        } else {
            format!("fault: {}", said.join(", "))
        }
    }
}

/// One direction of the cable: frames go in, and come out when they are due.
pub(crate) struct Line {
    faults: DirectionFaults,
    down: bool,
    chance: ChaCha8Rng,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    /// When the last frame that kept its place arrives: no later one overtakes it.
    last_due: u64,
    /// Breaks ties between frames due at once.
    sequence: u64,
}

/// Ordered by `due`, then by `sequence`, which is unique: the rest never decides.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: u64,
    sequence: u64,
    frame: Vec<u8>,
    fate: Fate,
}

impl Line {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(stream);
        Self {
            faults: DirectionFaults::default(),
            down: false,
            chance,
            under_way: BinaryHeap::new(),
            last_due: 0,
            sequence: 0,
        }
    }

    pub(crate) fn set(&mut self, faults: DirectionFaults, down: bool) {
        self.faults = faults;
        self.down = down;
        if down {
            self.under_way.clear();
        }
    }

    /// Puts a frame on the line at `now`.
    pub(crate) fn send(&mut self, now: u64, mut frame: Vec<u8>) -> Fate {
        let lost = self.happens(self.faults.loss);
        let duplicated = self.happens(self.faults.duplicate);
        let corrupted = self.happens(self.faults.corrupt);
        let reordered = self.happens(self.faults.reorder);
        let jitter = self.below(self.faults.jitter_nanos.saturating_add(1));
        let bit = self.chance.next_u64();

        let is_arp = frame.get(12..14) == Some(&[0x08, 0x06]);
        let mut fate = Fate {
            lost: lost || self.down || (corrupted && is_arp),
            duplicated,
            corrupted,
            reordered,
            overflowed: false,
        };
        if fate.lost {
            return Fate {
                lost: true,
                ..Fate::default()
            };
        }
        if self.under_way.len() >= QUEUE_FRAMES_MAX {
            return Fate {
                overflowed: true,
                ..Fate::default()
            };
        }
        let bits = frame.len().saturating_sub(ETHERNET_HEADER_BYTES) as u64 * 8;
        fate.corrupted &= bits > 0;
        if fate.corrupted {
            let bit = ETHERNET_HEADER_BYTES * 8 + (bit % bits) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let arrival = now
            .saturating_add(self.faults.delay_nanos)
            .saturating_add(jitter);
        let due = if reordered {
            arrival.saturating_add(self.faults.reorder_nanos)
        } else {
            self.last_due = self.last_due.max(arrival);
            self.last_due
        };
        if duplicated {
            self.enqueue(due, frame.clone(), fate);
        }
        self.enqueue(due, frame, fate);
        fate
    }

    /// The next frame that has arrived by `now`, and what happened to it.
    pub(crate) fn arrive(&mut self, now: u64) -> Option<(Vec<u8>, Fate)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(arrived) = self.under_way.pop()?;
        Some((arrived.frame, arrived.fate))
    }

    /// When the next frame arrives.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// Frames under way.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    fn enqueue(&mut self, due: u64, frame: Vec<u8>, fate: Fate) {
        self.sequence += 1;
        self.under_way.push(Reverse(UnderWay {
            due,
            sequence: self.sequence,
            frame,
            fate,
        }));
    }

    fn happens(&mut self, probability: f64) -> bool {
        // 53 bits, as many as an f64 holds exactly: a probability of 1.0 always happens, 0.0 never.
        let draw = (self.chance.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        draw < probability
    }

    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.chance.next_u64()) * u128::from(bound);
        (wide >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = number;
        frame
    }

    /// Sends 200 frames a millisecond apart, gives (arrival, number) of all that come.
    fn run(seed: u64, faults: DirectionFaults) -> Vec<(u64, Vec<u8>)> {
        let mut line = Line::new(seed, 0);
        line.set(faults, false);
        for number in 0..200_u8 {
            line.send(u64::from(number) * 1_000_000, frame(number));
        }
        let mut arrived = Vec::new();
        while let Some(due) = line.next_due() {
            assert!(due == 0 || line.arrive(due - 1).is_none());
            arrived.push((due, line.arrive(due).unwrap().0));
        }
        arrived
    }

    fn numbers(arrived: &[(u64, Vec<u8>)]) -> Vec<u8> {
        arrived.iter().map(|(_, frame)| frame[14]).collect()
    }

    #[test]
    fn without_faults_everything_arrives_at_once_and_in_order() {
        let arrived = run(1, DirectionFaults::default());
        assert_eq!(numbers(&arrived), (0..200).collect::<Vec<u8>>());
        assert_eq!(arrived[7].0, 7_000_000);
    }

    #[test]
    fn the_seed_decides() {
        let faults = DirectionFaults {
            loss: 0.2,
            duplicate: 0.1,
            corrupt: 0.1,
            reorder: 0.1,
            jitter_nanos: 400_000,
            ..DirectionFaults::default()
        };
        assert_eq!(run(7, faults.clone()), run(7, faults.clone()));
        assert_ne!(run(7, faults.clone()), run(8, faults));
    }

    #[test]
    fn one_fault_does_not_reshuffle_another() {
        let loss = DirectionFaults {
            loss: 0.3,
            ..DirectionFaults::default()
        };
        let both = DirectionFaults {
            duplicate: 0.5,
            delay_nanos: 10,
            jitter_nanos: 10,
            ..loss.clone()
        };
        let mut with_duplicates = numbers(&run(3, both));
        with_duplicates.dedup();
        assert_eq!(numbers(&run(3, loss)), with_duplicates);
    }

    #[test]
    fn probabilities_have_the_share_they_say() {
        let lost = 200
            - run(
                5,
                DirectionFaults {
                    loss: 0.25,
                    ..DirectionFaults::default()
                },
            )
            .len();
        assert!((30..=70).contains(&lost), "{lost} of 200 lost at 25 %");
        for (loss, expected) in [(1.0, 0), (0.0, 200), (7.0, 0), (-1.0, 200), (f64::NAN, 200)] {
            let faults = DirectionFaults {
                loss,
                ..DirectionFaults::default()
            };
            assert_eq!(run(5, faults).len(), expected, "{loss}");
        }
    }

    #[test]
    fn a_duplicated_frame_arrives_twice() {
        let faults = DirectionFaults {
            duplicate: 1.0,
            ..DirectionFaults::default()
        };
        let twice: Vec<u8> = (0..200).flat_map(|number| [number; 2]).collect();
        assert_eq!(numbers(&run(6, faults)), twice);
    }

    #[test]
    fn a_reordered_frame_is_overtaken_and_jitter_keeps_the_order() {
        let reordered = run(
            2,
            DirectionFaults {
                reorder: 0.1,
                ..DirectionFaults::default()
            },
        );
        assert!(!numbers(&reordered).is_sorted());
        assert_eq!(reordered.len(), 200);
        let jittered = run(
            2,
            DirectionFaults {
                jitter_nanos: 20_000_000,
                ..DirectionFaults::default()
            },
        );
        assert!(numbers(&jittered).is_sorted());
    }

    #[test]
    fn corruption_flips_one_bit_and_spares_the_ethernet_header() {
        let arrived = run(
            4,
            DirectionFaults {
                corrupt: 1.0,
                ..DirectionFaults::default()
            },
        );
        assert_eq!(arrived.len(), 200);
        for (number, (_, arrived)) in (0..).zip(arrived) {
            let sent = frame(number);
            let flipped: u32 = (arrived.iter().zip(&sent))
                .map(|(arrived, sent)| (arrived ^ sent).count_ones())
                .sum();
            assert_eq!(flipped, 1, "frame {number}");
            assert_eq!(arrived[..14], sent[..14], "frame {number}");
        }
    }

    #[test]
    fn corrupted_arp_is_lost() {
        let mut line = Line::new(0, 0);
        line.set(
            DirectionFaults {
                corrupt: 1.0,
                ..DirectionFaults::default()
            },
            false,
        );
        let mut arp = frame(0);
        arp[13] = 0x06;
        assert!(line.send(0, arp).lost);
    }

    #[test]
    fn link_down_loses_what_is_under_way() {
        let mut line = Line::new(0, 0);
        line.send(0, frame(0));
        line.set(DirectionFaults::default(), true);
        assert!(line.arrive(u64::MAX).is_none());
        assert!(line.send(0, frame(1)).lost);
        line.set(DirectionFaults::default(), false);
        assert_eq!(line.send(0, frame(2)), Fate::default());
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut line = Line::new(0, 0);
        for _ in 0..QUEUE_FRAMES_MAX {
            assert!(!line.send(0, frame(0)).overflowed);
        }
        assert!(line.send(0, frame(0)).overflowed);
    }
}
