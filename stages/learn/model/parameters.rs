//! The named tensors of a model, for training, saving and loading.

use anyhow::{Context, Result, ensure};
use tensor::{Tensor, shape, tensor};

/// Whether training changes a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Updated by the optimiser.
    Trained,
    /// Left unchanged.
    Frozen,
}

/// A named tensor of a model.
pub struct Named<'a> {
    /// Unique in the model.
    pub name: String,
    /// The tensor; a vector is stored as one row.
    pub tensor: &'a mut Tensor,
    /// Whether training changes it.
    pub role: Role,
}

/// The trained tensors, in order.
pub fn trained(tensors: Vec<Named<'_>>) -> Vec<&mut Tensor> {
    tensors.into_iter().filter(|named| named.role == Role::Trained).map(|named| named.tensor).collect()
}

/// Loads every tensor from `source`, which returns shape and values for a name.
pub fn load(
    tensors: Vec<Named<'_>>,
    mut source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>,
) -> Result<()> {
    for Named { name, tensor: into, .. } in tensors {
        let (found, values) = source(&name).with_context(|| format!("the weights lack `{name}`"))?;
        let (rows, columns) = shape(into);
        let fits = found == [rows, columns] || (rows == 1 && found == [columns]);
        ensure!(
            fits && values.len() == rows * columns,
            "`{name}` has the shape {found:?}, expected {rows} x {columns}"
        );
        *into = tensor(&into.device().clone(), values, rows, columns);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Named, Role, load, trained};
    use tensor::{Tensor, device, tensor, values};

    #[test]
    fn weights_that_do_not_fit_are_named() {
        fn named(tensor: &mut Tensor) -> Vec<Named<'_>> {
            vec![Named { name: "w".to_owned(), tensor, role: Role::Trained }]
        }
        let mut matrix = tensor(&device(), vec![0.0; 6], 2, 3);
        let error = load(named(&mut matrix), |_| None).unwrap_err();
        assert_eq!(error.to_string(), "the weights lack `w`");
        let error = load(named(&mut matrix), |_| Some((vec![2, 2], vec![0.0; 4]))).unwrap_err();
        assert_eq!(error.to_string(), "`w` has the shape [2, 2], expected 2 x 3");
        load(named(&mut matrix), |_| Some((vec![2, 3], vec![1.0; 6]))).unwrap();
        assert_eq!(values(&matrix), [1.0; 6]);
    }

    #[test]
    fn frozen_tensors_are_not_trained() {
        let mut tensors = [1.0, 2.0].map(|value| tensor(&device(), vec![value], 1, 1));
        let roles = [Role::Frozen, Role::Trained];
        let named = tensors.iter_mut().zip(roles);
        let named = named.map(|(tensor, role)| Named { name: String::new(), tensor, role }).collect();
        let found: Vec<f32> = trained(named).into_iter().map(|tensor| values(tensor)[0]).collect();
        assert_eq!(found, [2.0]);
    }
}
