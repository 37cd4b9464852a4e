//! The store in the browser: the film of each customer, article and order, its view, and what runs.

use crate::shop::{Customer, Email, Order, Stock};
use crate::view::Orders;
use axum::Router;
use filmstrip::Store;
use filmstrip::projection::ProjectionHandle;
use filmstrip_studio::Studio;
use tokio_util::sync::CancellationToken;

/// Put a service's own authentication around it.
pub fn routes<S>(store: &Store, orders: &ProjectionHandle, ends: CancellationToken) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Studio::new(store)
        .aggregate::<Customer>()
        .aggregate::<Email>()
        .aggregate::<Order>()
        .aggregate::<Stock>()
        .projection(orders)
        .past(|| Orders)
        .allow_writes()
        .live_until(ends.cancelled_owned())
        .router()
}
