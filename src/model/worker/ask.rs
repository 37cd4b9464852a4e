//! The requests of a worker's handles.

/// A request to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask<Own> {
    Pause,
    Resume,
    Stop,
    /// A request that only this kind of worker handles.
    Own(Own),
}
