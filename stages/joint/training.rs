//! The default training settings of `joint`.

use learn::training::Training;
use learn::training::schedule::Schedule;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Suitable for about a thousand labelled pairs.
pub fn default() -> Training {
    let schedule = Schedule { rate: 3e-3, ..Schedule::default() };
    Training { epochs: 30, batch: 1024, patience: Some(8), schedule, ..Training::default() }
}

/// Missing fields get these defaults; serde alone would use those for training transformers.
pub fn over_defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Training, D::Error> {
    let written = Value::deserialize(deserializer)?;
    let mut all = serde_json::to_value(default()).map_err(D::Error::custom)?;
    overlay(&mut all, written);
    serde_json::from_value(all).map_err(D::Error::custom)
}

fn overlay(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                overlay(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::{default, over_defaults};
    use serde_json::json;

    #[test]
    fn what_is_written_stands_and_the_rest_is_ours() {
        let found = over_defaults(json!({"epochs": 3, "schedule": {"rate": 0.5}, "clip": null})).unwrap();
        let mut expected = default();
        (expected.epochs, expected.schedule.rate, expected.clip) = (3, 0.5, None);
        assert_eq!(found, expected);
        let error = over_defaults(json!({"epoch": 3})).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `epoch`"), "{error}");
    }
}
