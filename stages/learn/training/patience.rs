//! When a training has learned what it can: the best epoch so far, and how long ago it was.

use serde::{Deserialize, Serialize};

/// What validation has said so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// The least validation loss, and the epoch that it comes from.
    pub best: Option<(f64, u64)>,
    /// The epochs since.
    pub waited: usize,
}

impl Patience {
    /// Hears of an epoch; true where it is the best so far. A loss that is no number never is.
    pub fn hear(&mut self, epoch: u64, loss: f64) -> bool {
        let better = !loss.is_nan() && self.best.is_none_or(|(best, _)| loss < best);
        if better {
            *self = Patience { best: Some((loss, epoch)), waited: 0 };
        } else {
            self.waited += 1;
        }
        better
    }

    /// Whether nothing became better for `limit` epochs; never without a limit.
    pub fn is_over(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.waited >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::Patience;

    #[test]
    fn the_best_epoch_is_kept_and_waiting_ends() {
        let mut patience = Patience::default();
        let heard: Vec<bool> = [3.0, 2.0, f64::NAN, 2.0]
            .into_iter()
            .zip(1..)
            .map(|(loss, epoch)| patience.hear(epoch, loss))
            .collect();
        assert_eq!(heard, [true, true, false, false]);
        assert_eq!((patience.best, patience.waited), (Some((2.0, 2)), 2));
        assert!(patience.is_over(Some(2)) && !patience.is_over(Some(3)) && !patience.is_over(None));
    }
}
