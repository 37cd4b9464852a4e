//! Planted defects, as the engine has them: `src/value/failpoint.rs` there.

/// Whether this planted defect is set in this process: never, in an ordinary build.
macro_rules! failpoint {
    ($name:literal) => {
        cfg!(feature = "__internal")
            && std::env::var("FILMSTRIP_FAILPOINT").is_ok_and(|set| set == $name)
    };
}
pub(crate) use failpoint;
