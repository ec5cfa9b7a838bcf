//! Early stopping: the best epoch so far, and the number of epochs since.

use serde::{Deserialize, Serialize};

/// The validation results so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// The lowest validation loss and its epoch.
    pub best: Option<(f64, u64)>,
    /// The number of epochs since.
    pub waited: usize,
}

impl Patience {
    /// Records the loss of an epoch; true if it is the best so far. NaN never is.
    pub fn hear(&mut self, epoch: u64, loss: f64) -> bool {
        let better = !loss.is_nan() && self.best.is_none_or(|(best, _)| loss < best);
        if better {
            *self = Patience { best: Some((loss, epoch)), waited: 0 };
        } else {
            self.waited += 1;
        }
        better
    }

    /// Whether there was no improvement for `limit` epochs; always false without a limit.
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
