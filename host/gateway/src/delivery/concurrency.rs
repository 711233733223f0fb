//! How many connections a next hop gets at once: more as it takes mail, fewer as it fails. Pure.

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concurrency(f64);

const FIRST: f64 = 4.0;
const MOST: f64 = 20.0;
/// For each mail that is taken.
const GROWTH: f64 = 0.5;

impl Default for Concurrency {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Concurrency {
    pub fn limit(self) -> usize {
        self.0 as usize
    }

    pub fn succeeded(&mut self) {
        self.0 = (self.0 + GROWTH).min(MOST);
    }

    /// A connection broke, or one more than these `open` ones was not let in.
    pub fn failed(&mut self, open: usize) {
        self.0 = (self.0 / 2.0).min(open.max(1) as f64).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_grow_with_success_and_shrink_to_what_the_next_hop_lets_in() {
        let mut concurrency = Concurrency::default();
        for _ in 0..100 {
            concurrency.succeeded();
        }
        assert_eq!(concurrency.limit(), 20);
        concurrency.failed(20);
        assert_eq!(concurrency.limit(), 10);
        concurrency.failed(3);
        assert_eq!(concurrency.limit(), 3);
        for _ in 0..10 {
            concurrency.failed(0);
        }
        assert_eq!(concurrency.limit(), 1, "never none");
    }
}
