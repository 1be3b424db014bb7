//! A ledger of numbered messages: what was lost, what came twice, what came out of order.
//!
//! Broker and client libraries lose and repeat messages in ways their documentation does not mention, so no
//! scenario may rely on them. Whoever needs to know numbers the messages and enters what arrives here.

use std::collections::BTreeMap;

/// What arrived of a stream numbered by rising numbers.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Numbers seen, as ranges: start to end, both inclusive, never adjacent. Small when little is lost.
    seen: BTreeMap<u64, u64>,
    highest: Option<u64>,
    received: u64,
    duplicated: u64,
    reordered: u64,
}

/// The sum of a [`Ledger`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that arrived, repeated ones included.
    pub received: u64,
    /// Numbers of the expected range that never arrived.
    pub lost: u64,
    /// Messages whose number had arrived before.
    pub duplicated: u64,
    /// Messages that arrived for the first time after one with a higher number.
    pub reordered: u64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters the arrival of message `number`.
    pub fn enter(&mut self, number: u64) {
        self.received += 1;
        if self.has(number) {
            self.duplicated += 1;
            return;
        }
        if self.highest.is_some_and(|highest| number < highest) {
            self.reordered += 1;
        }
        self.highest = Some(self.highest.map_or(number, |highest| highest.max(number)));
        self.insert(number);
    }

    /// Whether message `number` has arrived.
    pub fn has(&self, number: u64) -> bool {
        self.range_before(number)
            .is_some_and(|(_, end)| number <= end)
    }

    /// The sum, when all numbers from `first` to `last` were sent.
    pub fn tally(&self, first: u64, last: u64) -> Tally {
        let expected = last.checked_sub(first).map_or(0, |span| span + 1);
        let there: u64 = self
            .seen
            .iter()
            .map(|(start, end)| ((*start).max(first), (*end).min(last)))
            .filter(|(start, end)| start <= end)
            .map(|(start, end)| end - start + 1)
            .sum();
        Tally {
            received: self.received,
            lost: expected - there,
            duplicated: self.duplicated,
            reordered: self.reordered,
        }
    }

    /// The first `limit` ranges of numbers between `first` and `last` that never arrived, for a report.
    pub fn missing(&self, first: u64, last: u64, limit: usize) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = Some(first);
        for (start, end) in &self.seen {
            let Some(from) = next.filter(|from| *from <= last) else {
                break;
            };
            if *end < from {
                continue;
            }
            if *start > from {
                missing.push((from, (*start - 1).min(last)));
            }
            next = end.checked_add(1);
        }
        if let Some(from) = next.filter(|from| *from <= last) {
            missing.push((from, last));
        }
        missing.truncate(limit);
        missing
    }

    fn range_before(&self, number: u64) -> Option<(u64, u64)> {
        let range = self.seen.range(..=number).next_back();
        range.map(|(start, end)| (*start, *end))
    }

    fn insert(&mut self, number: u64) {
        let mut start = number;
        let mut end = number;
        if let Some((before, before_end)) = self.range_before(number)
            && before_end.checked_add(1) == Some(number)
        {
            start = before;
        }
        if let Some(after) = number.checked_add(1)
            && let Some(after_end) = self.seen.remove(&after)
        {
            end = after_end;
        }
        self.seen.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// `expected`: lost, duplicated, reordered of numbers 1 to 5.
    fn check(numbers: &[u64], expected: (u64, u64, u64)) {
        let mut ledger = Ledger::new();
        numbers.iter().for_each(|number| ledger.enter(*number));
        let tally = ledger.tally(1, 5);
        assert_eq!(
            (tally.lost, tally.duplicated, tally.reordered),
            expected,
            "{numbers:?}"
        );
        assert_eq!(tally.received, numbers.len() as u64);
    }

    #[test]
    fn counts() {
        check(&[1, 2, 3, 4, 5], (0, 0, 0));
        check(&[], (5, 0, 0));
        check(&[1, 2, 4, 5], (1, 0, 0));
        check(&[1, 2, 2, 3, 4, 5], (0, 1, 0));
        check(&[1, 3, 2, 4, 5], (0, 0, 1));
        check(&[5, 4, 3, 2, 1], (0, 0, 4));
        check(&[1, 2, 3, 1, 2, 3], (2, 3, 0));
        check(&[9, 1], (4, 0, 1));
        check(&[u64::MAX, 0], (5, 0, 1));
    }

    #[test]
    fn names_what_is_missing() {
        let mut ledger = Ledger::new();
        [2, 3, 7].iter().for_each(|number| ledger.enter(*number));
        assert_eq!(ledger.missing(1, 9, 9), [(1, 1), (4, 6), (8, 9)]);
        assert_eq!(ledger.missing(1, 9, 2), [(1, 1), (4, 6)]);
        assert_eq!(ledger.missing(2, 3, 9), []);
        assert_eq!(ledger.missing(5, 5, 9), [(5, 5)]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(numbers in prop::collection::vec(0_u64..40, 0..80)) {
            let mut ledger = Ledger::new();
            let mut set = BTreeSet::new();
            for number in &numbers {
                prop_assert_eq!(ledger.has(*number), set.contains(number));
                ledger.enter(*number);
                set.insert(*number);
            }
            let tally = ledger.tally(5, 30);
            let lost: Vec<u64> = (5..=30).filter(|number| !set.contains(number)).collect();
            prop_assert_eq!(tally.lost, lost.len() as u64);
            prop_assert_eq!(tally.duplicated as usize, numbers.len() - set.len());
            let missing: Vec<u64> = ledger
                .missing(5, 30, usize::MAX)
                .into_iter()
                .flat_map(|(start, end)| start..=end)
                .collect();
            prop_assert_eq!(missing, lost);
        }
    }
}
