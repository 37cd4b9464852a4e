//! What the handles of a worker ask of it.

/// What a handle asks of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask<Own> {
    Pause,
    Resume,
    Stop,
    /// What only this kind of worker can be asked.
    Own(Own),
}
