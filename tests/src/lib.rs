//! Instruments for tests: the simulator, which runs whole federations of the real protocol in
//! virtual time, breaks everything around them from one seed, and checks every invariant after
//! every event. `docs/TESTING.md` explains it; `--bin sweep` runs it by the thousand.

pub mod byzantine;
pub mod coverage;
pub mod faults;
pub mod fuzz;
pub mod invariants;
pub mod lies;
pub mod link;
pub mod model;
pub mod sweep;
pub mod world;
