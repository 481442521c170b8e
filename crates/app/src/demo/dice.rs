//! Chance that falls the same for the same seed, on every machine.

/// SplitMix64: small, and nothing but whole numbers.
pub(super) struct Dice(u64);

/// How long things take next to how long they usually do, in percent, from the quickest tenth to the slowest.
const SKEW: [i64; 11] = [15, 35, 50, 65, 82, 100, 125, 165, 240, 400, 900];

impl Dice {
    /// Dice for one purpose: what one does more or less often doesn't change what others see.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let name = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(seed ^ name)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 on, below this one; 0 when there is none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number of these, both included.
    pub(super) fn between(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first + 1).max(1) as u64) as i64
    }

    /// Yes, so many times of a hundred.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Which of some shares it falls on; the last when they are all nothing.
    pub(super) fn share(&mut self, shares: &[u64]) -> usize {
        let mut left = self.below(shares.iter().sum());
        for (place, share) in shares.iter().enumerate() {
            match left.checked_sub(*share) {
                Some(rest) => left = rest,
                None => return place,
            }
        }
        shares.len() - 1
    }

    /// A time around the usual one: half of them are shorter, some much longer.
    pub(super) fn around(&mut self, usual: i64) -> i64 {
        let place = self.below(SKEW.len() as u64 - 1) as usize;
        let percent = self.between(SKEW[place], SKEW[place + 1]);
        usual * percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same() {
        let throws = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            (0..100).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(throws(7, "a"), throws(7, "a"));
        assert_ne!(throws(7, "a"), throws(8, "a"));
        assert_ne!(throws(7, "a"), throws(7, "b"));
        assert_eq!(throws(7, "a")[..4], [990, 131, 718, 681], "on every machine, in every version");
    }

    #[test]
    fn throws_stay_where_they_belong() {
        let mut dice = Dice::new(1, "x");
        let mut seen = [0; 3];
        for _ in 0..10_000 {
            assert!((-3..=3).contains(&dice.between(-3, 3)));
            assert!((90..=5_400).contains(&dice.around(600)));
            seen[dice.share(&[1, 0, 3])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((2_200..2_800).contains(&seen[0]), "{seen:?}");
        assert_eq!(dice.below(0), 0);
    }
}
