//! A gated mixture on a GPU.

use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// Mixes `a` and `b`; the larger `z`, the more of `a`.
pub fn gate<T: Tape>(card: &Card, [z, a, b]: [Tensor; 3], tape: T) -> Tensor<T> {
    let (share, count) = (z.memory().copy(), z.memory().length());
    let y = card.scratch(count);
    card.launch_each("gate", count, arguments![&y, &share, a.memory(), b.memory(), count]);
    record_on_card(tape, y, shape(&z), move |flowing, _, gradients| {
        let [dz, da, db] = [&z, &a, &b].map(|of| gradients.take_memory(of));
        let all = arguments![&dz, &da, &db, flowing, &share, a.memory(), b.memory(), count];
        flowing.card().launch_each("gate_back", count, all);
        [(&z, dz), (&a, da), (&b, db)].into_iter().for_each(|(of, slope)| gradients.put_memory(of, slope));
    })
}
