//! Planted defects: places where the engine does the wrong thing if a test tells it to.
//!
//! `failpoint!("room::what_goes_wrong")` is `false` in an ordinary build and costs nothing. In the tests'
//! build, and with the hidden feature `__internal`, it is `true` in a process whose environment names it in
//! [`VARIABLE`]. Each one is there to be caught: a test runs a proof in such a process and expects a failure.

/// The environment variable that names the failpoint of this process.
#[cfg(any(test, feature = "__internal"))]
pub(crate) const VARIABLE: &str = "FILMSTRIP_FAILPOINT";

/// Whether the failpoint `name` is set in this process.
#[cfg(any(test, feature = "__internal"))]
pub(crate) fn is_set(name: &str) -> bool {
    use std::sync::OnceLock;
    static SET: OnceLock<Option<String>> = OnceLock::new();
    SET.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(name)
}

/// Whether the failpoint `name` is set in this process: never, in an ordinary build.
#[cfg(not(any(test, feature = "__internal")))]
#[inline(always)]
pub(crate) const fn is_set(_name: &str) -> bool {
    false
}

/// Whether this planted defect is set. The name is `room::what_goes_wrong`.
macro_rules! failpoint {
    ($name:literal) => {
        $crate::value::failpoint::is_set($name)
    };
}
pub(crate) use failpoint;
