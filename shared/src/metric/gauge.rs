//! A level that rises and falls, and the least it was since it was last asked. Minima can be summed over agents into a
//! concurrency that is proven: at no moment of the second were fewer open.

/// How many of something are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    now: u64,
    least: u64,
}

impl Level {
    /// Nothing is open.
    #[must_use]
    pub const fn new() -> Self {
        Self { now: 0, least: 0 }
    }

    /// One more is open.
    pub fn rise(&mut self) {
        self.now += 1;
    }

    /// One fewer is open.
    pub fn fall(&mut self) {
        debug_assert!(self.now > 0, "a level falls once for each rise");
        self.now = self.now.saturating_sub(1);
        self.least = self.least.min(self.now);
    }

    /// How many are open now.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The least since the last cut; the next second begins.
    pub fn cut(&mut self) -> u64 {
        std::mem::replace(&mut self.least, self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_gives_the_least_of_its_second() {
        let mut level = Level::new();
        level.rise();
        level.rise();
        assert_eq!(level.cut(), 0, "nothing was open when the second began");
        assert_eq!(level.cut(), 2);
        level.fall();
        level.rise();
        level.rise();
        assert_eq!(level.cut(), 1);
        assert_eq!((level.cut(), level.now()), (3, 3));
    }
}
