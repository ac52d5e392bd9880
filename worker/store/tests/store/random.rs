//! Random writes and reopenings against the model.
use cloister_chain_primitives::H256;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::{
    model::{Author, Model},
    open, recovered,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn a_store_does_what_the_model_does(seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let directory = TempDir::new().unwrap();
        let (mut store, mut model, mut author) = (open(directory.path()), Model::default(), Author::new(20_000));
        for _ in 0..60 {
            let writes = author.commit(&model, &mut random);
            let result = store.commit(&writes);
            prop_assert_eq!(result.is_ok(), model.commit(&writes), "{:?}", result);
            if random.gen_bool(0.1) {
                drop(store);
                store = open(directory.path());
                model.reopen();
            }
            prop_assert_eq!(recovered(&store), model.recovery());
            let served = model.served();
            if let [(from, _), after @ ..] = served.as_slice() {
                let range = store.range(*from, None, usize::MAX).unwrap();
                prop_assert_eq!(range, after.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>());
            }
            let figures = store.figures().unwrap();
            prop_assert_eq!((figures.newest_block, figures.snapshot_first), (model.newest(), model.first()));
            prop_assert!(store.range(H256::repeat_byte(1), None, 1).is_err());
        }
    }
}
