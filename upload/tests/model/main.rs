//! Random commands against the rules of one upload, beside a model that keeps no
//! more than a set of bytes. A failing sequence shrinks, and its seed is kept in
//! `proptest-regressions`. `PROPTEST_CASES` asks for more sequences.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod command;
mod ranges;
mod world;

use proptest::prelude::*;
use world::World;

proptest! {
    #[test]
    fn the_rules_agree_with_the_model(
        mode in command::mode(),
        is_declared in any::<bool>(),
        commands in prop::collection::vec(command::command(), 1..120),
    ) {
        let mut world = World::new(mode, is_declared);
        for command in &commands {
            world.apply(command);
            world.check();
        }
    }
}
