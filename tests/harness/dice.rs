//! Chance that can be repeated.

use super::say;

/// Random numbers that can be had again: the seed is said, and taken from `ETCD_SEAL_TEST_SEED` where that is set.
pub struct Dice(u64);

impl Dice {
    /// Says that `what` is tried with a seed, and with which.
    pub fn new(what: &str) -> Self {
        let given = std::env::var("ETCD_SEAL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes).unwrap();
            u64::from(u32::from_le_bytes(bytes))
        });
        say(&format!("{what}: ETCD_SEAL_TEST_SEED={seed}"));
        Self(seed)
    }

    /// Below `bound`, by splitmix64.
    pub fn roll(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    /// Changes `bytes` in one of the ways in which values are damaged or made up.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.roll(bytes.len() + 1);
        let byte = u8::try_from(self.roll(256)).unwrap();
        let hit = bytes.get_mut(at);
        match (self.roll(8), hit) {
            (0, _) => bytes.truncate(at),
            (1, _) => bytes.insert(at, byte),
            (2, _) => bytes.extend([byte; 3]),
            (3, _) => bytes.clear(),
            (4, Some(_)) => drop(bytes.remove(at)),
            (5, Some(hit)) => *hit = byte,
            // The wire type of a field, or the digit of a version.
            (6, Some(hit)) => *hit ^= byte & 7,
            (_, Some(hit)) => *hit ^= 1 << (byte & 7),
            (_, None) => bytes.push(byte),
        }
    }
}
