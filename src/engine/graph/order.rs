//! Topological sorting, with a cycle as the explanation of a failure.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A topological order, smallest number first where there is a choice. If there is none: a cycle, in which
/// each member is needed by the next.
pub fn order(needs: &[impl AsRef<[usize]>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut missing: Vec<usize> = needs.iter().map(|needs| needs.as_ref().len()).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (user, needs) in needs.iter().enumerate() {
        for need in needs.as_ref() {
            needed_by[*need].push(user);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..needs.len()).filter(|i| missing[*i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for user in &needed_by[next] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push(Reverse(*user));
            }
        }
    }
    if order.len() == needs.len() { Ok(order) } else { Err(circle(needs, &needed_by, &missing)) }
}

/// A short cycle among the items that are still missing something.
fn circle(needs: &[impl AsRef<[usize]>], needed_by: &[Vec<usize>], missing: &[usize]) -> Vec<usize> {
    // Every such item needs another one, so following the needs must end in a cycle.
    let up = |from: usize| needs[from].as_ref().iter().copied().find(|need| missing[*need] > 0);
    let mut seen = vec![false; needs.len()];
    let mut at = missing.iter().position(|count| *count > 0).unwrap_or(0);
    while !std::mem::replace(&mut seen[at], true) {
        match up(at) {
            Some(above) => at = above,
            None => return vec![at],
        }
    }
    // The shortest path from this item back to itself.
    let mut came_from: Vec<Option<usize>> = vec![None; needs.len()];
    let mut queue = VecDeque::from([at]);
    while let Some(from) = queue.pop_front() {
        for to in needed_by[from].iter().copied().filter(|to| missing[*to] > 0) {
            if to == at {
                let mut way = vec![from];
                while let Some(before) =
                    way.last().copied().filter(|last| *last != at).and_then(|last| came_from[last])
                {
                    way.push(before);
                }
                way.reverse();
                return way;
            }
            if came_from[to].is_none() {
                came_from[to] = Some(from);
                queue.push_back(to);
            }
        }
    }
    vec![at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_after_what_it_needs_in_the_order_of_the_file() {
        assert_eq!(order(&[vec![2], vec![], vec![], vec![0, 1]]), Ok(vec![1, 2, 0, 3]));
    }

    #[test]
    fn a_short_circle_is_found() {
        // 0 depends on the cycle 1 -> 2 -> 3 -> 1, which has the shortcut 2 -> 1.
        assert_eq!(order(&[vec![3], vec![2, 3], vec![1], vec![2]]).unwrap_err().len(), 2);
        assert_eq!(order(&[vec![0]]), Err(vec![0]));
    }

    #[test]
    fn long_chains_and_long_circles_are_no_trouble() {
        let chain: Vec<Vec<usize>> =
            (0..100_000).map(|i| if i == 0 { vec![] } else { vec![i - 1] }).collect();
        assert_eq!(order(&chain).unwrap().len(), 100_000);
        let ring: Vec<Vec<usize>> = (0..100_000).map(|i| vec![(i + 99_999) % 100_000]).collect();
        assert_eq!(order(&ring).unwrap_err().len(), 100_000);
    }
}
