//! Ending what follows the log from another thread.

use std::sync::Arc;

/// Something that can be stopped.
pub(crate) trait Stops: Send + Sync {
    fn stop(&self);
}

/// Ends a subscription, a consumer or a [`Following`](crate::follow::Following) from another thread. Holding it keeps
/// nothing open.
#[derive(Clone)]
pub struct Stopper(Arc<dyn Stops>);

impl Stopper {
    pub(crate) fn new(stops: Arc<dyn Stops>) -> Stopper {
        Stopper(stops)
    }

    /// Ends it: it returns no more events, not even those already read ahead. A wait in progress ends too. Nobody else
    /// is woken.
    pub fn stop(&self) {
        self.0.stop();
    }
}
